//! The control socket, by the commands that use it: `refresh`, `resolve`, and what `status` and `token` learn there.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use zalo_tokend::simulator::{Answer, Fault, Rule};

use crate::harness::small_disk::bench_with_an_answer_held;
use crate::harness::{Bench, Daemon, text};

/// Nothing is asked about an uncertain attempt while a test looks at it.
const LONG_SETTLE: &str = "before_expiry = \"5m\"\njitter = \"0s\"\nretry_first = \"50ms\"\nretry_max = \"400ms\"\nsettle = \"1h\"\ntimeout = \"3s\"\n";

impl Bench {
    /// A command's exit code, what it printed, and what it complained of.
    async fn said(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.run(arguments).await;
        (output.status.code().expect("it ended by itself"), text(&output.stdout), text(&output.stderr))
    }

    fn socket(&self) -> PathBuf {
        self.path("state/tokens.db-control")
    }
}

/// A daemon with one healthy OA that is not due for hours.
async fn healthy() -> (Bench, Daemon) {
    let bench = Bench::new().await;
    bench.add_granted_oa("7").await;
    let daemon = bench.start().await;
    (bench, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_is_asked_for_is_waited_for_and_its_outcome_told() {
    let (bench, mut daemon) = healthy().await;
    let (code, out, err) = bench.said(&["refresh", "7"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(
        out.starts_with("OA 7: refreshed (generation 2), valid until ") && out.lines().count() == 1,
        "{out}"
    );
    assert!(err.contains("OA 7: asked for") && err.contains("OA 7: the request begins"), "{err}");
    assert_eq!(bench.status("7").await["generation"], 2);
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.spends()), (1, 1));
    assert!(ledger.is_clean(), "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_cannot_be_is_refused_with_the_reason_and_presents_nothing() {
    let bench = Bench::new().await;
    bench.set_refresh(LONG_SETTLE);
    for oa in ["dead", "doubt", "down"] {
        bench.add_lone_oa(oa, Duration::from_secs(7_200)).await;
    }
    bench.add_oa("new");
    assert_eq!(bench.said(&["refresh", "dead"]).await.0, 69, "no daemon");
    assert_eq!(bench.said(&["resolve", "dead", "--present"]).await.0, 69, "no daemon");
    bench
        .simulator
        .fault(Rule::once(Fault::unspent(Answer::custom(200, r#"{"error":-14014}"#))).for_oa("dead"));
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::CloseWithoutAnswer)).for_oa("doubt"));
    let mut daemon = bench.start().await;

    let (code, _, err) = bench.said(&["refresh", "dead"]).await;
    assert!(code == 75 && err.contains("refresh_token_rejected"), "the outcome: {code} {err}");
    let (code, _, err) = bench.said(&["refresh", "dead"]).await;
    assert!(code == 75 && err.contains("grant consent again"), "latched: {code} {err}");
    let (code, _, err) = bench.said(&["refresh", "doubt"]).await;
    assert!(code == 75 && err.contains("nobody knows"), "the outcome: {code} {err}");
    let (code, _, err) = bench.said(&["refresh", "doubt"]).await;
    assert!(code == 75 && err.contains("uncertain"), "uncertain: {code} {err}");
    let (code, _, err) = bench.said(&["refresh", "new"]).await;
    assert!(code == 75 && err.contains("import new"), "no tokens: {code} {err}");
    let (code, _, err) = bench.said(&["refresh", "nobody"]).await;
    assert!(code == 1 && err.contains("config"), "unknown: {code} {err}");
    assert_eq!(bench.said(&["refresh", "7", "--timeout", "soon"]).await.0, 2);
    assert_eq!(bench.said(&["resolve", "doubt"]).await.0, 2, "one of the three");
    assert_eq!(bench.said(&["resolve", "doubt", "--present", "--give-up"]).await.0, 2, "one of the three");

    bench.simulator.go_down().await;
    let (code, _, err) = bench.said(&["refresh", "down"]).await;
    assert!(code == 1 && err.contains("unspent") && err.contains("tries again at"), "failed: {code} {err}");
    bench.simulator.come_up().await.expect("the same port");
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!(["dead", "doubt"].map(|oa| ledger.presentations_of(oa)), [1, 1]);
    assert!(ledger.is_clean(), "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_while_a_request_is_under_way_waits_for_that_one_and_may_go_away() {
    let (bench, mut daemon) = healthy().await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let (code, _, err) = bench.said(&["refresh", "7", "--timeout", "1s"]).await;
    assert!(code == 75 && err.contains("still under way"), "{code} {err}");
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    assert_eq!(bench.status("7").await["state"], "presenting");
    let (code, _, err) = bench.said(&["refresh", "7", "--timeout", "1s"]).await;
    assert!(code == 75 && err.contains("a request is under way already"), "{code} {err}");
    bench.simulator.release();
    assert_eq!(daemon.wait_for_oa("refresh.succeeded", "7").await["generation"], 2);
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.max_under_way_of("7")), (1, 1));
    assert_eq!(ledger.answers_lost(), 0, "the first caller went away and cancelled nothing");
    assert!(ledger.is_clean(), "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_blocked_app_a_refresh_is_the_trial() {
    let bench = Bench::new().await;
    bench.add_lone_oa("a", Duration::from_secs(7_200)).await;
    bench.add_oa_of("a", "b");
    bench.import_with("a", "b", Duration::from_secs(7_000)).await;
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::custom(200, r#"{"error":-14004}"#))));
    let mut daemon = bench.start().await;
    assert_eq!(bench.said(&["refresh", "a"]).await.0, 1);
    daemon.wait_for("app.refused").await;
    assert_eq!(bench.status("b").await["state"], "blocked");
    let (code, out, err) = bench.said(&["refresh", "b"]).await;
    assert!(code == 0 && out.contains("generation 2"), "{out}{err}");
    daemon.wait_for("app.released").await;
    // What was refused is unspent, and still asked for.
    daemon.wait_for_oa("refresh.succeeded", "a").await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations_of("a"), ledger.presentations_of("b")), (2, 1));
    assert!(ledger.is_clean(), "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_braked_app_a_refresh_is_the_trial_only_if_the_operator_says_so() {
    let bench = Bench::new().await;
    bench.set_refresh(&LONG_SETTLE.replace("400ms", "1h").replace("50ms", "30m"));
    for oa in ["1", "2", "3"] {
        bench.add_granted_oa(oa).await;
    }
    bench.simulator.fault(Rule::times(2, Fault::unspent(Answer::custom(502, "<html>"))));
    let mut daemon = bench.start().await;
    assert_eq!(bench.said(&["refresh", "1"]).await.0, 75);
    assert_eq!(bench.said(&["refresh", "2"]).await.0, 75);
    daemon.wait_for("app.braked").await;
    let (code, _, err) = bench.said(&["refresh", "3"]).await;
    assert!(code == 75 && err.contains("braked") && err.contains("--trial"), "{code} {err}");
    assert_eq!(bench.simulator.ledger().presentations(), 2);
    assert_eq!(bench.report().await["held_apps"][0]["state"], "braked");
    let (code, out, err) = bench.said(&["refresh", "3", "--trial"]).await;
    assert!(code == 0 && out.contains("generation 2"), "{out}{err}");
    daemon.wait_for("app.released").await;
    assert_eq!(bench.report().await["held_apps"], json!([]));
    assert!(daemon.stop().await.success());
    assert!(bench.simulator.ledger().is_clean(), "{}", bench.simulator.ledger().summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_decides_about_an_attempt_whose_outcome_nobody_knows() {
    let bench = Bench::new().await;
    bench.set_refresh(LONG_SETTLE);
    for oa in ["again", "over"] {
        bench.simulator.fault(Rule::once(Fault::unspent(Answer::CloseWithoutAnswer)).for_oa(oa));
        bench.add_lone_oa(oa, Duration::from_secs(120)).await;
    }
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.uncertain", "again").await;
    daemon.wait_for_oa("refresh.uncertain", "over").await;
    // The ledger knows of no operator: it is told.
    assert!(bench.simulator.allow_last_presented("again"));
    let (code, out, err) = bench.said(&["resolve", "again", "--present"]).await;
    assert!(code == 0 && out.contains("presented once more"), "{out}{err}");
    let resolved = daemon.wait_for_oa("oa.resolved", "again").await;
    assert_eq!((&resolved["decision"], &resolved["level"]), (&"present".into(), &"INFO".into()));
    assert_eq!(daemon.wait_for_oa("refresh.succeeded", "again").await["generation"], 2);
    assert_eq!(bench.said(&["resolve", "again", "--present"]).await.0, 1, "nothing to decide any more");

    let (code, out, _) = bench.said(&["resolve", "over", "--give-up"]).await;
    assert!(code == 0 && out.contains("grant consent again"), "{out}");
    let required = daemon.wait_for_oa("oa.reauthorization_required", "over").await;
    assert_eq!(required["reason"], "response_lost");
    assert_eq!(bench.history("over").await[0]["class"], "given_up");
    assert!(bench.token("over").await.is_some(), "I10");
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!(["again", "over"].map(|oa| ledger.presentations_of(oa)), [2, 1]);
    assert!(ledger.is_clean(), "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_an_answer_that_the_program_did_not_understand_is_read_and_taken_in_by_a_person() {
    let bench = Bench::new().await;
    bench.set_refresh(LONG_SETTLE);
    let odd = r#"{"v5":[{"a":"{access_token}","r":"{refresh_token}"}]}"#;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::custom(200, odd))));
    bench.add_due_oa("7").await;
    let mut daemon = bench.start().await;
    let uncertain = daemon.wait_for_oa("refresh.uncertain", "7").await;
    let attempt = uncertain["attempt_id"].as_str().expect("a text");
    let (_, out, _) = bench.said(&["history", "7"]).await;
    assert!(out.contains("(answer kept)"), "{out}");
    // `token` is not searched for secrets by the harness, and neither must this be.
    let kept = tokio::process::Command::new(env!("CARGO_BIN_EXE_zalo-tokend"))
        .arg("--config")
        .arg(bench.config())
        .args(["history", "7", "--answer", attempt])
        .output()
        .await
        .expect("the binary runs");
    assert!(kept.status.success(), "{}", text(&kept.stderr));
    let kept: Value = serde_json::from_slice(&kept.stdout).expect("as it came");
    let read = json!({
        "access_token": kept["v5"][0]["a"], "refresh_token": kept["v5"][0]["r"], "expires_in": "90000",
    });
    let half = r#"{"access_token":"x","refresh_tok"#;
    for (file, code) in [("", 1), ("no json", 1), (half, 1), (r#"{"error":-14014}"#, 1)] {
        let output = bench.run_with_input(&["resolve", "7", "--adopt-answer", "-"], file).await;
        assert_eq!(output.status.code(), Some(code), "{file}: {}", text(&output.stderr));
        assert_eq!(bench.status("7").await["generation"], 1, "{file}: nothing was changed");
    }
    let output = bench.run_with_input(&["resolve", "7", "--adopt-answer", "-"], &read.to_string()).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let token = bench.token("7").await.expect("handed out");
    assert!(bench.simulator.is_valid_access_token(&token));
    let status = bench.status("7").await;
    assert_eq!((&status["state"], &status["generation"]), (&"scheduled".into(), &2.into()));
    assert_eq!(
        bench.said(&["history", "7", "--answer", attempt]).await.0,
        1,
        "the set is whole: nothing is kept"
    );
    assert_eq!(bench.said(&["refresh", "7"]).await.0, 0, "and its refresh token is the right one");
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert!(ledger.spent_tokens_presented().is_empty(), "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_set_that_no_disk_takes_is_handed_out_by_the_daemon_alone_and_survives_a_stop() {
    let (bench, disk) = bench_with_an_answer_held().await;
    let mut daemon = bench.start().await;
    disk.take_no_answer(&bench).await;
    daemon.wait_for("store.failed").await;
    let record = until_undurable(&bench).await;
    let token = record["access_token"].as_str().expect("a text");
    assert!(bench.simulator.is_valid_access_token(token), "the new one, and not the dead one of the store");
    assert_eq!((&record["durable"], &record["generation"]), (&false.into(), &2.into()));
    assert_eq!(bench.report().await["daemon"]["undurable"], json!(["7"]));
    assert!(daemon.events("refresh.succeeded").is_empty(), "not before it is durable");
    daemon.signal(Signal::TERM);
    daemon.wait_for("daemon.stopping").await;
    assert!(until_undurable(&bench).await["access_token"] == token, "also while it stops");
    disk.free().await;
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert_eq!(bench.token("7").await.as_deref(), Some(token));
    assert_eq!(bench.status("7").await["generation"], 2);
    assert!(bench.simulator.ledger().is_clean());
}

/// Waits until `token --json` hands out what only the daemon has.
async fn until_undurable(bench: &Bench) -> Value {
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let found = tokio::time::timeout(crate::harness::DEADLINE, async {
        loop {
            let output = bench.run(&["token", "7", "--json"]).await;
            let record = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
            if record["durable"] == false {
                return record;
            }
            tick.tick().await;
        }
    });
    found.await.expect("handed out by the daemon")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_the_daemons_own_and_a_stale_one_is_no_obstacle() {
    let (bench, mut daemon) = healthy().await;
    let found = std::fs::symlink_metadata(bench.socket()).expect("there");
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let report = bench.report().await;
    assert_eq!(report["daemon"]["pid"], daemon.pid);
    assert_eq!((&report["daemon"]["store"], &report["daemon"]["in_flight"]), (&"well".into(), &0.into()));
    let (_, table, _) = bench.said(&["status"]).await;
    assert!(table.contains(&format!("daemon: running (pid {}", daemon.pid)), "{table}");

    daemon.kill().await;
    assert!(bench.socket().exists(), "kill -9 leaves it behind");
    assert_eq!(bench.said(&["refresh", "7"]).await.0, 69);
    assert_eq!(bench.report().await["daemon"], Value::Null);
    let mut daemon = bench.start().await;
    assert_eq!(bench.said(&["refresh", "7"]).await.0, 0);
    assert!(daemon.stop().await.success());
    assert!(!bench.socket().exists(), "a stop takes it away");
    let (_, table, _) = bench.said(&["status"]).await;
    assert!(table.contains("daemon: not running"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_where_no_socket_can_be_made_is_no_reason_not_to_refresh() {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    std::fs::create_dir_all(bench.socket().join("in the way")).expect("made");
    let mut daemon = bench.start().await;
    assert_eq!(daemon.wait_for("control.unavailable").await["level"], "WARN");
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    std::fs::remove_dir_all(bench.socket()).expect("removed");
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let answers = tokio::time::timeout(crate::harness::DEADLINE, async {
        while bench.said(&["refresh", "7"]).await.0 != 0 {
            tick.tick().await;
        }
    });
    answers.await.expect("the socket is made once there is room for it");
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_hangs_leaves_the_store_to_those_who_read() {
    let (bench, mut daemon) = healthy().await;
    daemon.stand_still().await;
    let (code, _, err) = bench.said(&["refresh", "7"]).await;
    assert!(code == 75 && err.contains("does not answer"), "{code} {err}");
    assert!(bench.token("7").await.is_some());
    let (code, table, _) = bench.said(&["status"]).await;
    assert!(code == 0 && table.contains("daemon: running, and does not answer"), "{table}");
    daemon.signal(Signal::CONT);
    // What was asked meanwhile is answered to nobody; it is no reason to fail.
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    assert!(bench.simulator.ledger().is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_stall_or_talk_nonsense_hold_nobody_up() {
    let (bench, mut daemon) = healthy().await;
    let stalled: Vec<UnixStream> =
        (0..300).filter_map(|_| UnixStream::connect(bench.socket()).ok()).collect();
    assert!(stalled.len() > 100, "{} connected", stalled.len());
    bench.add_due_oa("8").await;
    daemon.signal(Signal::HUP);
    daemon.wait_for_oa("refresh.succeeded", "8").await;
    drop(stalled);
    for nonsense in ["", "\n", "{}\n", "{\"do\":\"dance\"}\n", "\u{0}\u{1}\n", &"x".repeat(600_000)] {
        let mut stream = UnixStream::connect(bench.socket()).expect("connected");
        // It may hang up before all is said.
        std::io::Write::write_all(&mut stream, nonsense.as_bytes()).ok();
    }
    assert_eq!(bench.said(&["refresh", "7"]).await.0, 0);
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_a_long_path_has_its_socket_too() {
    let bench = Bench::new().await;
    let deep = bench.path(&"d".repeat(120)).join("tokens.db");
    bench.add_oa("7");
    bench.write_config_with_store(&deep);
    bench.import("7", &bench.simulator.grant("app", "7")).await;
    let mut daemon = bench.start().await;
    assert_eq!(bench.said(&["refresh", "7"]).await.0, 0);
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_not_answered_also_where_he_can_reach_the_socket() {
    if !rustix::process::geteuid().is_root() {
        // Only root can become another user here; CI is.
        return;
    }
    let (bench, mut daemon) = healthy().await;
    let open_up = |path: PathBuf, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
    };
    open_up(bench.directory.path().to_owned(), 0o755);
    open_up(bench.path("state"), 0o755);
    open_up(bench.config(), 0o644);
    open_up(bench.socket(), 0o666);
    // The binary may stand where that user cannot go.
    let copy = bench.path("zalo-tokend");
    // By another process: a program that this one has open for writing cannot be run, and each child that another test
    // starts meanwhile has it open for a moment.
    let copied = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_zalo-tokend")).arg(&copy).status();
    assert!(copied.expect("cp runs").success());
    let ask = |user: &'static [&'static str]| {
        let mut command = tokio::process::Command::new(user[0]);
        command.args(&user[1..]).arg(&copy).arg("--config").arg(bench.config()).args(["refresh", "7"]);
        command.output()
    };
    let stranger =
        ask(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]).await.expect("setpriv runs");
    assert_eq!(stranger.status.code(), Some(75), "{}", text(&stranger.stderr));
    assert_eq!(bench.simulator.ledger().presentations(), 0);
    open_up(bench.socket(), 0o600);
    let stranger =
        ask(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]).await.expect("setpriv runs");
    assert_eq!(stranger.status.code(), Some(77), "{}", text(&stranger.stderr));
    let root = ask(&["env"]).await.expect("env runs");
    assert!(root.status.success(), "{}", text(&root.stderr));
    assert!(daemon.stop().await.success());
}
