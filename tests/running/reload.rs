//! SIGHUP: the config is taken over as a whole or not at all, and nothing that is under way is lost by it.

use std::time::Duration;

use rustix::process::Signal;
use zalo_tokend::simulator::{Answer, Fault, Kind, MARKER, Rule};

use crate::harness::rows::*;
use crate::harness::small_disk::SmallDisk;
use crate::harness::{Bench, Daemon, QUICK};

/// The state of an OA and its reason.
async fn stands(bench: &Bench, oa: &str) -> (String, Option<String>) {
    let status = bench.status(oa).await;
    let text = |field: &str| status[field].as_str().map(str::to_owned);
    (text("state").expect("a state"), text("reason"))
}

fn state(state: &str, reason: Option<&str>) -> (String, Option<String>) {
    (state.to_owned(), reason.map(str::to_owned))
}

/// What a reload brings, and how the OA stands after its answer came.
async fn reload_while_an_answer_is_held(
    what: &str,
    change: impl FnOnce(&Bench),
    is_good: bool,
    stands_then: (String, Option<String>),
) {
    let bench = Bench::new().await;
    bench.add_app("other");
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)).for_oa("7"));
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    change(&bench);
    if is_good {
        daemon.reload().await
    } else {
        daemon.reload_in_vain().await
    };
    bench.simulator.release();
    assert_eq!(daemon.wait_for_oa("refresh.succeeded", "7").await["generation"], 2, "{what}");
    if !is_good {
        // So that the commands have a config to read.
        bench.write_config();
    }
    assert_eq!(stands(&bench, "7").await, stands_then, "{what}");
    bench.assert_is_handed_out("7", what).await;
    assert!(daemon.stop().await.success(), "{what}");
    bench.assert_is_handed_out("7", what).await;
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.answers_sent()), (1, 1), "{what}: {}", ledger.summary());
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f24_a_request_under_way_is_not_touched_by_a_reload_and_its_set_is_kept() {
    let scheduled = || state("scheduled", None);
    tokio::join!(
        reload_while_an_answer_is_held("nothing changed", |_| {}, true, scheduled()),
        reload_while_an_answer_is_held(
            "a shorter timeout",
            |bench| bench.set_refresh(&QUICK.replace("timeout = \"3s\"", "timeout = \"1s\"")),
            true,
            scheduled(),
        ),
        reload_while_an_answer_is_held(
            "a broken file",
            |bench| bench.write_whole_config("[[oa]]\nid = "),
            false,
            scheduled(),
        ),
        reload_while_an_answer_is_held(
            "another secret",
            |bench| bench.write_secret("app", &format!("{MARKER}-mistyped")),
            true,
            scheduled(),
        ),
        reload_while_an_answer_is_held(
            "the OA is removed",
            |bench| bench.remove_oa("7"),
            true,
            state("unmanaged", None),
        ),
        reload_while_an_answer_is_held(
            "the OA is another app's",
            |bench| bench.move_oa("7", "other"),
            true,
            state("awaiting_grant", Some("app_changed")),
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn f24_a_broken_file_changes_nothing_tells_every_problem_and_a_later_good_one_is_taken() {
    let bench = Bench::new().await;
    bench.add_pacemaker().await;
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    let good = std::fs::read_to_string(bench.config()).expect("read");
    let broken = [
        "retry_first = \"a while\"",
        "max_in_flight = 0",
        "[[oa]]\nid = \"8\"\napp = \"nobody\"",
        "colour = \"red\"",
    ];
    let text = good
        .replace("retry_first = \"50ms\"", broken[0])
        .replace("settle = \"300ms\"", &format!("settle = \"300ms\"\n{}", broken[1]));
    bench.write_whole_config(&format!("{text}{}\n{}\n", broken[2], broken[3]));
    let rejected = daemon.reload_in_vain().await;
    assert_eq!(rejected["level"], "ERROR");
    let problems = rejected["problems"].as_str().expect("a text").to_owned();
    for what in ["retry_first", "max_in_flight", "nobody", "colour"] {
        assert!(problems.contains(what), "{what}: {problems}");
    }
    assert_eq!(problems.matches("config.toml:").count(), broken.len(), "with their places: {problems}");

    bench.beats(2).await;
    bench.write_secret("app", "two\nlines");
    bench.write_whole_config(&good);
    let rejected = daemon.reload_in_vain().await;
    assert!(rejected["problems"].as_str().expect("a text").contains("secret_key_file"), "{rejected}");
    std::fs::remove_file(bench.config()).expect("removed");
    let rejected = daemon.reload_in_vain().await;
    assert!(rejected["problems"].as_str().expect("a text").contains("config.toml"), "{rejected}");
    bench.beats(2).await;

    bench.write_secret("app", &format!("{MARKER}-secret-of-app"));
    bench.add_oa("8");
    let reloaded = daemon.reload().await;
    assert_eq!(
        (&reloaded["added"], &reloaded["changed"], &reloaded["removed"]),
        (&1.into(), &0.into(), &0.into())
    );
    daemon.wait_for_oa("oa.awaiting_grant", "8").await;
    bench.beats(2).await;
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oa_that_is_added_removed_and_added_again_is_kept_while_it_is_in_the_config() {
    let bench = Bench::new().await;
    bench.add_pacemaker().await;
    let mut daemon = bench.start().await;
    bench.add_oa("7");
    assert_eq!(daemon.reload().await["added"], 1);
    assert_eq!(daemon.wait_for_oa("oa.awaiting_grant", "7").await["level"], "WARN");
    bench.import_due("7").await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;

    bench.remove_oa("7");
    assert_eq!(daemon.reload().await["removed"], 1);
    assert_eq!(stands(&bench, "7").await, state("unmanaged", None));
    bench.assert_is_handed_out("7", "removed").await;

    // It falls due four seconds after it was taken in, and nothing is done for it then.
    bench.add_oa("7");
    daemon.reload().await;
    let kept = bench.import_with("app", "7", Duration::from_secs(304)).await;
    bench.remove_oa("7");
    daemon.reload().await;
    assert_eq!(stands(&bench, "7").await, state("unmanaged", None));
    let presented = bench.simulator.ledger().presentations_of("7");
    let ledger = bench.beats(12).await;
    assert_eq!(ledger.presentations_of("7"), presented, "{}", ledger.summary());
    assert_eq!(bench.token("7").await, Some(kept));

    bench.add_oa("7");
    daemon.reload().await;
    daemon.wait_for_oa_nth("refresh.succeeded", "7", presented + 1).await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oa_that_is_moved_to_another_app_waits_for_a_grant_and_goes_on_when_it_is_moved_back() {
    let bench = Bench::new().await;
    bench.add_app("other");
    bench.add_pacemaker().await;
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    bench.move_oa("7", "other");
    assert_eq!(daemon.reload().await["changed"], 1);
    assert_eq!(daemon.wait_for_oa("oa.app_changed", "7").await["level"], "ERROR");
    assert_eq!(stands(&bench, "7").await, state("awaiting_grant", Some("app_changed")));
    bench.assert_is_handed_out("7", "moved").await;
    let asked = bench.run(&["refresh", "7"]).await;
    assert_eq!(asked.status.code(), Some(75));

    bench.move_oa("7", "app");
    daemon.reload().await;
    assert_eq!(stands(&bench, "7").await, state("scheduled", None));
    assert!(bench.run(&["refresh", "7"]).await.status.success());
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations_of("7"), ledger.spends_of("7")), (1, 1));
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_corrected_releases_its_app_by_the_reloads_trial() {
    let bench = Bench::new().await;
    bench.write_secret("app", &format!("{MARKER}-mistyped"));
    for oa in ["1", "2", "3"] {
        bench.add_due_oa(oa).await;
    }
    let mut daemon = bench.start().await;
    daemon.wait_for_app("app.refused", "app").await;
    bench.write_secret("app", &format!("{MARKER}-secret-of-app"));
    assert_eq!(daemon.reload().await["changed"], 1);
    daemon.wait_for_app("app.released", "app").await;
    for oa in ["1", "2", "3"] {
        daemon.wait_for_oa("refresh.succeeded", oa).await;
    }
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!(ledger.spends(), 3);
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_cron_expression_sets_the_pace_from_the_reload_on() {
    let never = "[schedule]\nheartbeat = \"0 0 0 29 2 *\"\n";
    let bench = Bench::new().await;
    bench.set_extra(never);
    bench.add_pacemaker().await;
    let mut daemon = bench.start().await;
    bench.beats(LONG_AFTER).await;
    assert!(daemon.events("fleet.heartbeat").is_empty());
    bench.set_extra("[schedule]\nheartbeat = \"* * * * * *\"\n");
    assert_eq!(daemon.reload().await["sections"], "schedule");
    daemon.wait_for_nth("fleet.heartbeat", 2).await;
    bench.set_extra(never);
    daemon.reload().await;
    let before = daemon.events("fleet.heartbeat").len();
    // Seven beats are more than three seconds.
    bench.beats(7).await;
    assert!(daemon.events("fleet.heartbeat").len() <= before + 1, "one may have been on its way");
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn new_timings_count_from_the_next_plan_on() {
    let hour = Duration::from_secs(3_600);
    let bench = Bench::new().await;
    bench.set_refresh(&QUICK.replace("\"5m\"", "\"2h\""));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    let lead = |status: &serde_json::Value| {
        time(status, "access_token_expires_at").since(time(status, "next_refresh_at"))
    };
    let planned = bench.status("7").await;
    assert_eq!(lead(&planned), 2 * hour);
    bench.set_refresh(&QUICK.replace("\"5m\"", "\"5h\""));
    assert_eq!(daemon.reload().await["sections"], "refresh");
    assert_eq!(bench.status("7").await["next_refresh_at"], planned["next_refresh_at"]);
    assert!(bench.run(&["refresh", "7"]).await.status.success());
    assert_eq!(lead(&bench.status("7").await), 5 * hour);
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn max_in_flight_is_raised_and_lowered_while_requests_are_under_way() {
    let most = |n: usize| format!("{QUICK}max_in_flight = {n}\n").replace("\"3s\"", "\"1m\"");
    let bench = Bench::new().await;
    bench.set_refresh(&most(2));
    bench.simulator.fault(Rule::times(7, Fault::spent(Answer::Held)));
    for oa in oas().take(10) {
        bench.add_lone_oa(&oa, A_WHILE).await;
    }
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.presentations() == 2).await;
    bench.set_refresh(&most(5));
    daemon.reload().await;
    bench.ledger_until(|ledger| ledger.presentations() == 5).await;

    bench.set_refresh(&most(1));
    daemon.reload().await;
    bench.simulator.release();
    let ledger = bench.ledger_until(|ledger| ledger.presentations() == 6).await;
    assert_eq!(ledger.max_under_way(), 5, "those that were under way are finished");
    let before = ledger.entries().len();
    bench.simulator.release();
    bench.ledger_until(|ledger| ledger.presentations() == 7).await;
    bench.simulator.release();
    daemon.wait_for_nth("refresh.succeeded", 10).await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    let since = ledger.entries()[before..].iter().map(|entry| &entry.kind);
    let since: Vec<bool> = since
        .filter(|kind| is_presented(kind) || matches!(kind, Kind::AnswerSent { .. }))
        .map(is_presented)
        .collect();
    assert_eq!(since, [false, true, false, true, false, true, false, true, false], "one after another");
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn level_and_form_of_the_log_are_changed_by_a_reload() {
    let bench = Bench::new().await;
    bench.set_extra("[log]\nformat = \"json\"\nlevel = \"error\"\n");
    let mut daemon = bench.spawn(&[]);
    // At this level nothing says that it is ready; its socket does.
    wait_until_it_answers(&bench).await;
    assert_eq!(daemon.log(), "");
    bench.set_extra("[log]\nformat = \"text\"\nlevel = \"info\"\n");
    daemon.signal(Signal::HUP);
    daemon.wait_for_text("the config was read again").await;
    assert!(daemon.events("config.reloaded").is_empty(), "as text: {}", daemon.log());
    bench.set_extra("[log]\nformat = \"json\"\nlevel = \"warn\"\n");
    bench.add_oa("7");
    daemon.signal(Signal::HUP);
    daemon.wait_for_oa("oa.awaiting_grant", "7").await;
    let lines = daemon.log().lines().filter(|line| line.contains("config.reloaded")).count();
    assert_eq!(lines, 1, "what is below the level is not said: {}", daemon.log());
    assert!(daemon.stop().await.success());
}

async fn wait_until_it_answers(bench: &Bench) {
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while bench.report().await["daemon"].is_null() {
        tick.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_store_is_refused_with_a_sentence_and_nothing_else_of_the_file_is_taken() {
    let bench = Bench::new().await;
    bench.add_pacemaker().await;
    let mut daemon = bench.start().await;
    bench.add_oa("7");
    bench.write_config_with_store(&bench.path("elsewhere/tokens.db"));
    let rejected = daemon.reload_in_vain().await;
    let problems = rejected["problems"].as_str().expect("a text");
    assert!(problems.contains("[store]") && problems.contains("restart"), "{problems}");
    bench.beats(2).await;
    assert!(!bench.path("elsewhere").exists());
    bench.write_config();
    assert_eq!(daemon.reload().await["added"], 1, "the OA was not taken before");
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_reloads_in_a_row_end_in_the_state_of_the_last_file() {
    let bench = Bench::new().await;
    bench.add_pacemaker().await;
    let mut daemon = bench.start().await;
    for n in 0..10 {
        bench.add_oa(&format!("added-{n}"));
        bench.remove_oa(&format!("added-{}", n - 1));
        daemon.signal(Signal::HUP);
    }
    daemon.wait_for_oa("oa.awaiting_grant", "added-9").await;
    // Were one of an earlier file still to come, it would be after this.
    assert_eq!(daemon.reload().await["sections"], "");
    bench.import_due("added-9").await;
    daemon.wait_for_oa("refresh.succeeded", "added-9").await;
    let report = bench.report().await;
    for status in report["oas"].as_array().expect("an array") {
        let is_last = ["added-9", PACEMAKER].contains(&status["oa_id"].as_str().expect("a text"));
        assert_eq!(status["state"] == "unmanaged", !is_last, "{status}");
    }
    let answered = daemon.events("config.reloaded").len();
    assert!((2..=11).contains(&answered), "{answered}");
    assert!(daemon.events("config.rejected").is_empty());
    bench.beats(2).await;
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sighup_during_the_start_is_a_reload_after_it() {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    let mut daemon = bench.spawn(&[]);
    daemon.wait_for("daemon.started").await;
    bench.add_oa("8");
    daemon.signal(Signal::HUP);
    daemon.wait_for("daemon.ready").await;
    assert_eq!(daemon.wait_for("config.reloaded").await["added"], 1);
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_a_sighup_during_the_stop_changes_nothing_and_the_answer_is_stored() {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    daemon.signal(Signal::TERM);
    daemon.wait_for("daemon.stopping").await;
    bench.remove_oa("7");
    daemon.signal(Signal::HUP);
    daemon.signal(Signal::HUP);
    bench.simulator.release();
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert!(daemon.events("config.reloaded").is_empty());
    assert_eq!(daemon.events("refresh.succeeded").len(), 1);
    bench.add_oa("7");
    bench.assert_is_handed_out("7", "stored").await;
    assert_clean(&bench.simulator.ledger());
}

/// Adds so many OAs to the config.
fn add_oas(bench: &Bench, count: usize) {
    oas().take(count).for_each(|oa| bench.add_oa(&oa));
}

async fn assert_nothing_was_taken(bench: &Bench, daemon: &Daemon, rejected: &serde_json::Value) {
    assert_eq!(rejected["level"], "ERROR");
    assert!(rejected["problems"].as_str().expect("a text").contains("free"), "says what to do: {rejected}");
    assert!(daemon.events("config.reloaded").is_empty());
    let asked = bench.run(&["refresh", "100"]).await;
    assert_eq!(asked.status.code(), Some(1), "the daemon does not know the new OAs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_no_writes_rejects_the_reload_and_nothing_changes() {
    let bench = Bench::new().await;
    let disk = SmallDisk::under(&bench).await;
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    // No room for the answers of so many requests.
    add_oas(&bench, 1);
    bench.set_refresh(&format!("{QUICK}max_in_flight = 256\n"));
    let rejected = daemon.reload_in_vain().await;
    assert!(rejected["problems"].as_str().expect("a text").contains("max_in_flight"), "{rejected}");
    assert_nothing_was_taken(&bench, &daemon, &rejected).await;

    // No room for the rows of so many OAs.
    bench.remove_oa("100");
    add_oas(&bench, 2_000);
    bench.set_refresh(QUICK);
    disk.fill().await;
    let rejected = daemon.reload_in_vain().await;
    assert_nothing_was_taken(&bench, &daemon, &rejected).await;
    daemon.wait_for("store.failed").await;
    disk.free().await;
    daemon.wait_for("store.recovered").await;
    assert_eq!(daemon.reload().await["added"], 2_000);
    assert!(bench.run(&["refresh", "7"]).await.status.success());
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!(ledger.presentations(), 1);
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f24_an_oa_that_is_uncertain_when_it_is_removed_or_its_app_gone_is_settled_when_it_is_back() {
    let bench = Bench::new().await;
    bench.add_pacemaker().await;
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::Reset)).for_oa("7"));
    bench.set_refresh(&QUICK.replace("settle = \"300ms\"", "settle = \"1s\""));
    bench.add_due_oa("7").await;
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.uncertain", "7").await;
    bench.remove_oa("7");
    daemon.reload().await;
    let asked = bench.simulator.ledger().probes_of("7");
    bench.beats(LONG_AFTER).await;
    assert!(bench.simulator.ledger().probes_of("7") <= asked + 1, "one may have been under way");
    bench.add_oa("7");
    daemon.reload().await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations_of("7"), ledger.spends_of("7")), (2, 1), "{}", ledger.summary());
    assert_clean(&ledger);
}
