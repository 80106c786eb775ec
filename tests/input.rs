//! Bad input: one plain sentence, the right exit code, nothing changed.

mod harness;

use std::os::unix::fs::{PermissionsExt, symlink};

use harness::{Bench, assert_no_secret, text};
use zalo_tokend::simulator::MARKER;

/// Runs `import 7` with this input; it has to fail with one sentence that holds `phrase`, and to change nothing.
async fn refused_import(bench: &Bench, input: &str, phrase: &str) {
    let before = std::fs::read(bench.store()).ok();
    let output = bench.run_with_input(&["import", "7"], input).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(phrase), "{phrase:?} is not in {said:?}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(std::fs::read(bench.store()).ok(), before, "the store changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_anything_but_a_token_response_is_refused_and_changes_nothing() {
    let bench = Bench::new().await;
    bench.add_oa("7");
    for (input, phrase) in [
        (String::new(), "nothing came"),
        (r#"{"error":-14014,"error_name":"Invalid"}"#.to_owned(), "Zalo's error -14014"),
        (format!(r#"{{"access_token":"{MARKER}"}}"#), "refresh_token is missing"),
        (format!(r#"{{"refresh_token":"{MARKER}"}}"#), "access_token is missing"),
        (format!(r#"{{"access_token":"{MARKER} x","refresh_token":"{MARKER}"}}"#), "blanks"),
        (
            format!(r#"{{"access_token":"{MARKER}","refresh_token":"{MARKER}2","expires_in":"9"#),
            "not a whole JSON object",
        ),
        (format!("garbage {MARKER}"), "not a whole JSON object"),
        ("{}".to_owned(), "no token is in it"),
        (MARKER.repeat(10 * 1024 * 1024 / MARKER.len()), "longer than 64 KiB"),
    ] {
        refused_import(&bench, &input, phrase).await;
    }
    assert!(!bench.store().exists(), "a refused import makes no store");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_for_an_oa_that_is_not_configured_says_what_to_add() {
    let bench = Bench::new().await;
    let answer = bench.simulator.grant("app", "7").to_string();
    refused_import(&bench, &answer, "add an [[oa]] section with id = \"7\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_with_verify_refuses_another_oas_token() {
    let bench = Bench::new().await;
    bench.add_oa("7");
    let foreign = bench.simulator.grant("app", "8").to_string();
    let output = bench.run_with_input(&["import", "7", "--verify"], &foreign).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("belongs to OA 8"), "{}", text(&output.stderr));
    assert_eq!(bench.status("7").await["state"], "awaiting_grant");
    let own = bench.simulator.grant("app", "7").to_string();
    assert!(bench.run_with_input(&["import", "7", "--verify"], &own).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_takes_a_file_and_a_time_and_refuses_one_of_the_future() {
    let bench = Bench::new().await;
    bench.add_oa("7");
    let file = bench.path("answer.json");
    std::fs::write(&file, bench.simulator.grant("app", "7").to_string()).expect("written");
    let file = file.display().to_string();
    let future = bench.run(&["import", "7", "--file", &file, "--obtained-at", "2999-01-01T00:00:00Z"]).await;
    assert_eq!(future.status.code(), Some(1));
    assert!(text(&future.stderr).contains("lies in the future"));
    let wrong = bench.run(&["import", "7", "--file", &file, "--obtained-at", "yesterday"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    let past =
        bench.run(&["import", "7", "--file", &file, "--obtained-at", "2026-01-01T07:00:00+07:00"]).await;
    assert!(past.status.success(), "{}", text(&past.stderr));
    let status = bench.status("7").await;
    assert_eq!(status["access_token_expires_at"], "2026-01-02T01:00:00Z");
    assert_eq!(status["access_token_valid"], false);
    assert_eq!(bench.run(&["token", "7"]).await.status.code(), Some(75));
    let missing = bench.run(&["import", "7", "--file", "/nowhere"]).await;
    assert_eq!(missing.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_config_is_refused_by_every_command_with_all_its_problems() {
    let bench = Bench::new().await;
    std::fs::write(
        bench.config(),
        "[refresh]\nsettel = \"1s\"\ntimeout = \"soon\"\n[[oa]]\nid = \"7\"\napp = \"none\"\n",
    )
    .expect("written");
    for arguments in
        [&["check"][..], &["run"], &["status"], &["token", "7"], &["history", "7"], &["import", "7"]]
    {
        let output = bench.run(arguments).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {said}");
        for place in ["config.toml:2:1: ", "config.toml:3:11: ", "config.toml:6:7: "] {
            assert!(said.contains(place), "{place} is not in {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i10_a_valid_token_is_handed_out_while_the_config_has_mistakes() {
    let bench = Bench::new().await;
    bench.add_granted_oa("7").await;
    let good = std::fs::read_to_string(bench.config()).expect("read");
    let token = bench.token("7").await.expect("granted");
    for mistake in ["[schedule]\nsweap = \"1s\"\n", "[[oa]]\nid = \"8\"\napp = \"none\"\n"] {
        bench.write_whole_config(&format!("{good}\n{mistake}"));
        let output = bench.run(&["token", "7"]).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{mistake}: {said}");
        assert!(said.contains("has mistakes") && !text(&output.stdout).contains("mistakes"), "{said}");
        assert_eq!(bench.token("7").await.as_deref(), Some(token.as_str()), "{mistake}");
        for arguments in [&["token", "8"][..], &["status"]] {
            assert_eq!(bench.run(arguments).await.status.code(), Some(78), "{arguments:?}: {mistake}");
        }
    }
    // Where the store is, is not sure any more: the default, though there is one, may be another one.
    let default = bench.store().parent().expect("a directory").display().to_string();
    *bench.prefix.lock().expect("whole") = vec!["env".to_owned(), format!("STATE_DIRECTORY={default}")];
    let twice = format!("{good}\n[store]\npath = \"other.db\"\n");
    let elsewhere = good.replace("[store]\n", "[log]\n");
    assert!(elsewhere != good, "{good}");
    for unsure in [good.replace("[store]", "[stoer]"), good.replace("[store]", "[store"), twice, elsewhere] {
        bench.write_whole_config(&unsure);
        assert_eq!(bench.run(&["token", "7"]).await.status.code(), Some(78), "{unsure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_and_unknown_oas_have_their_exit_codes() {
    let bench = Bench::new().await;
    bench.add_oa("7");
    assert_eq!(bench.run(&["frobnicate"]).await.status.code(), Some(2));
    assert_eq!(bench.run(&["token"]).await.status.code(), Some(2));
    assert_eq!(bench.run(&["token", "7"]).await.status.code(), Some(75));
    for command in ["token", "status", "history"] {
        let output = bench.run(&[command, "8"]).await;
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(text(&output.stderr).contains("neither in"), "{}", text(&output.stderr));
    }
}

/// A store that must not be touched, what the sentence about it says, and the exit code.
struct Unfit {
    prepare: fn(&Bench),
    phrase: &'static str,
    exit_code: i32,
}

#[tokio::test(flavor = "multi_thread")]
async fn f06_a_store_that_is_not_fit_is_refused_with_one_sentence_and_nothing_is_sent() {
    let cases = [
        Unfit {
            prepare: |bench| {
                std::fs::write(bench.store(), "x".repeat(5_000)).expect("written");
                mode(bench, 0o600);
            },
            phrase: "is not a SQLite database",
            exit_code: 78,
        },
        Unfit {
            prepare: |bench| sql(bench, "PRAGMA application_id = 7; CREATE TABLE theirs (x)"),
            phrase: "another application's database",
            exit_code: 78,
        },
        Unfit {
            prepare: |bench| sql(bench, "PRAGMA application_id = 1515481956; PRAGMA user_version = 99"),
            phrase: "schema 99",
            exit_code: 78,
        },
        Unfit {
            prepare: |bench| {
                std::fs::write(bench.path("elsewhere"), "").expect("written");
                symlink(bench.path("elsewhere"), bench.store()).expect("linked");
            },
            phrase: "is a symbolic link",
            exit_code: 78,
        },
        Unfit {
            prepare: |bench| {
                std::fs::write(bench.store().with_file_name("tokens.db-slots"), "left").expect("written");
            },
            phrase: "is missing while",
            exit_code: 78,
        },
        Unfit {
            prepare: |bench| {
                std::fs::write(bench.store(), "").expect("written");
                mode(bench, 0o644);
            },
            phrase: "chmod 600",
            exit_code: 77,
        },
        Unfit {
            prepare: |bench| {
                let directory = bench.store().parent().expect("has one").to_owned();
                std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777))
                    .expect("mode set");
            },
            phrase: "chmod go-w",
            exit_code: 77,
        },
    ];
    for Unfit { prepare, phrase, exit_code } in cases {
        let bench = Bench::new().await;
        bench.add_oa("7");
        std::fs::create_dir(bench.path("state")).expect("made");
        prepare(&bench);
        let output = bench.run(&["run"]).await;
        let said = text(&output.stderr);
        assert!(said.contains(phrase), "{phrase:?} is not in {said:?}");
        assert_eq!(output.status.code(), Some(exit_code), "{said}");
        assert_eq!(bench.simulator.ledger().connections(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f06_a_corrupt_store_is_refused() {
    let bench = Bench::new().await;
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    assert!(daemon.stop().await.success());
    let mut bytes = std::fs::read(bench.store()).expect("read");
    let length = bytes.len();
    bytes[4_096..length].fill(0x5a);
    std::fs::write(bench.store(), bytes).expect("written");
    let output = bench.run(&["run"]).await;
    assert_eq!(output.status.code(), Some(78), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("corrupt"), "{}", text(&output.stderr));
}

fn sql(bench: &Bench, statements: &str) {
    let conn = rusqlite::Connection::open(bench.store()).expect("opened");
    conn.execute_batch(statements).expect("executed");
    mode(bench, 0o600);
}

fn mode(bench: &Bench, mode: u32) {
    std::fs::set_permissions(bench.store(), std::fs::Permissions::from_mode(mode)).expect("mode set");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_for_its_owner_only_and_holds_the_only_secrets_there_are() {
    let bench = Bench::new().await;
    bench.set_extra("[log]\nlevel = \"trace\"\n");
    bench.add_due_oa("7").await;
    bench.add_due_oa("8").await;
    bench.simulator.fault(
        zalo_tokend::simulator::Rule::once(zalo_tokend::simulator::Fault::unspent(
            zalo_tokend::simulator::Answer::custom(
                200,
                format!("{{\"error\":-99,\"message\":\"{MARKER}\"}}"),
            ),
        ))
        .for_oa("8"),
    );
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    daemon.wait_for_oa("refresh.probed", "8").await;
    for file in std::fs::read_dir(bench.path("state")).expect("read") {
        let file = file.expect("read");
        assert_eq!(file.metadata().expect("metadata").permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    for proc_file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{}/{proc_file}", daemon.pid)).expect("read");
        assert_no_secret(&bytes, proc_file);
    }
    for command in
        [&["status"][..], &["status", "--json"], &["history", "7"], &["history", "8", "--json"], &["check"]]
    {
        assert!(bench.run(command).await.status.success());
    }
    assert!(daemon.stop().await.success());
    assert!(daemon.log().lines().any(|line| line.contains("\"TRACE\"")), "level trace is on");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_a_table_for_people_and_token_prints_nothing_but_the_token() {
    let bench = Bench::new().await;
    bench.add_granted_oa("7").await;
    bench.add_oa("8");
    let table = text(&bench.run(&["status"]).await.stdout);
    assert!(table.starts_with("OA  NAME  STATE"), "{table}");
    assert!(table.contains("scheduled") && table.contains("awaiting_grant"), "{table}");
    let output = bench.run(&["token", "7"]).await;
    let current = bench.simulator.current_set("7").expect("granted");
    assert_eq!(text(&output.stdout), format!("{}\n", current.access_token.expose()));
    let record: serde_json::Value =
        serde_json::from_slice(&bench.run(&["token", "7", "--json"]).await.stdout).expect("JSON");
    let mut keys: Vec<_> = record.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["access_token", "expires_at", "expires_in", "generation", "oa_id"]);
}
