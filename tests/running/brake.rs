//! The window and the brake: what a sick gateway, a wrong secret and a crash loop cost a fleet, over the wire, by the real
//! binary, judged by the simulator's ledger.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use zalo_tokend::clock::{Clock, SystemClock};
use zalo_tokend::simulator::{Answer, Fault, MARKER, Rule};

use crate::harness::herd::*;
use crate::harness::rows::*;
use crate::harness::{Bench, text};

/// `retry_first`, as the ledger counts.
const RETRY_FIRST_MS: u64 = 200;
/// A lead of five minutes has a quarter left, this long before the end.
const LAST_QUARTER: Duration = Duration::from_secs(75);
/// Long enough for the herd to live through a test, short enough for it to be due.
const DUE: Duration = Duration::from_secs(280);

const SETTINGS: &str = r#"before_expiry = "5m"
jitter = "0s"
retry_first = "200ms"
retry_max = "10s"
settle = "200ms"
timeout = "10s"
max_in_flight = 8
"#;

/// A gateway that lets requests through and loses what comes back.
fn spends_and_says_502() -> Rule {
    Rule::forever(Fault::spent(Answer::custom(502, "<html>Bad Gateway</html>")))
}

fn held_apps(report: &Value) -> Vec<(&str, &str)> {
    let held = report["held_apps"].as_array().expect("an array");
    held.iter()
        .map(|app| (app["app_id"].as_str().expect("text"), app["state"].as_str().expect("text")))
        .collect()
}

fn of_oa<'r>(report: &'r Value, oa: &str) -> &'r Value {
    report["oas"]
        .as_array()
        .expect("an array")
        .iter()
        .find(|status| status["oa_id"] == oa)
        .expect("in the report")
}

#[tokio::test(flavor = "multi_thread")]
async fn f04_five_hundred_oas_due_at_once_enter_by_the_window_and_are_all_refreshed() {
    let bench = Bench::new().await;
    bench.set_refresh(SETTINGS);
    bench.simulator.fault(Rule::forever(Fault::spent(Answer::Delayed(Duration::from_millis(15)))));
    bench.add_herd("app", &names("", 500), DUE);
    let mut daemon = bench.start().await;
    let ledger = bench.ledger_until(|ledger| ledger.answers_sent() == 500).await;
    daemon.wait_for_nth("refresh.succeeded", 500).await;
    assert!(daemon.stop().await.success());
    assert_eq!((ledger.presentations(), ledger.spends()), (500, 500), "{}", ledger.summary());
    assert_window_held(&ledger, "app", 8);
    assert_eq!(ledger.max_under_way(), 8, "and the window opens all the way");
    assert!(daemon.events("access_token.expired").is_empty());
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f47_a_gateway_that_spends_and_says_502_costs_two_oas_and_then_one_a_wait_until_it_is_well() {
    const TRIALS: usize = 4;
    const LOST: usize = 2 + TRIALS;
    const FAR: usize = 500 - LOST - 1;
    let bench = Bench::new().await;
    bench.set_refresh(SETTINGS);
    let ledger_began = SystemClock::new().now();
    bench.add_pacemaker().await;
    bench.add_herd("app", &names("far", FAR), DUE);
    // Those that end first go first: two to the gateway, one for each trial, and the one that succeeds.
    bench.add_herd("app", &names("near", LOST + 1), LAST_QUARTER + Duration::from_secs(4));
    bench.simulator.fault(spends_and_says_502());
    let mut daemon = bench.start().await;

    let braked = daemon.wait_for_app("app.braked", "app").await;
    assert_eq!(braked["level"], "WARN");
    for spent in ["near000", "near001"] {
        assert_eq!(daemon.wait_for_oa("refresh.probed", spent).await["verdict"], "spent");
    }
    // What the questions found puts the next trial off: until the OA that ends next has a quarter of its lead left.
    let report = bench.report().await;
    assert_eq!(held_apps(&report), [("app", "braked")]);
    let last_call = time(of_oa(&report, "near002"), "access_token_expires_at").minus(LAST_QUARTER);
    assert!(time(&report["held_apps"][0], "trial_at") >= last_call, "{}", report["held_apps"]);
    let waiting = of_oa(&report, "far000");
    assert_eq!((&waiting["state"], &waiting["reason"]), (&"scheduled".into(), &"app_braked".into()));
    assert_eq!(waiting["access_token_valid"], true);
    // Meanwhile another app's OA goes on.
    let beats = bench.simulator.ledger().spends_of(PACEMAKER);
    bench.beats(2).await;

    let ledger = bench.ledger_until(|ledger| requests_of_app(ledger, "app").1.len() == LOST).await;
    bench.simulator.clear_faults();
    let (presented, over) = requests_of_app(&ledger, "app");
    assert_eq!(presented.len(), LOST);
    assert!(ledger_began.plus(Duration::from_millis(presented[2] + 1_000)) >= last_call, "{presented:?}");
    for (failed, step) in over[1..presented.len() - 1].iter().zip(0..) {
        let wait = presented[2 + step] - failed;
        assert!(wait >= (RETRY_FIRST_MS << step) / 2, "wait {step}: {presented:?} {over:?}");
    }
    assert!(ledger.spends_of(PACEMAKER) > beats + 1);

    daemon.wait_for_app("app.released", "app").await;
    let ledger = bench.ledger_until(|ledger| requests_of_app(ledger, "app").1.len() == 500).await;
    for oa in names("far", FAR) {
        daemon.wait_for_oa("refresh.succeeded", &oa).await;
    }
    for oa in names("far", FAR) {
        assert_eq!((ledger.presentations_of(&oa), ledger.spends_of(&oa)), (1, 1), "{oa}");
    }
    assert_window_held(&ledger, "app", 8);
    let report = bench.report().await;
    assert!(held_apps(&report).is_empty());
    assert!(names("far", FAR).iter().all(|oa| of_oa(&report, oa)["access_token_valid"] == true));
    assert!(daemon.stop().await.success());
    for said_once in ["app.braked", "app.released"] {
        assert_eq!(daemon.events(said_once).len(), 1, "{said_once}");
    }
    let gone = daemon.events("access_token.expired");
    assert!(
        gone.iter().all(|event| event["oa_id"].as_str().is_some_and(|oa| oa.starts_with("near"))),
        "{gone:?}"
    );
    assert!(ledger.spent_tokens_presented().is_empty());
    assert_clean(&ledger);
}

/// A daemon that says each second that it is alive, and nothing tried again for a minute.
async fn bench_with_a_patient_herd() -> Bench {
    let bench = Bench::new().await;
    bench.set_refresh(&SETTINGS.replace("400ms", "2m").replace("\"10s\"", "\"10m\""));
    bench.set_extra("[schedule]\nheartbeat = \"* * * * * *\"\n");
    bench.add_herd("app", &names("", 60), DUE);
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn f48_kills_in_a_loop_under_a_sick_gateway_cost_no_more_than_the_window_over_all_starts() {
    let bench = bench_with_a_patient_herd().await;
    bench.simulator.fault(Rule::forever(Fault::spent(Answer::Stall)));
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 2).await;
    daemon.kill().await;
    let mut brakes = Vec::new();
    let mut said = 0;
    for start in 0..6 {
        let mut daemon = bench.spawn(&[]);
        // At its first word, when it is ready, and when it has been at work for a while.
        match start % 3 {
            0 => drop(daemon.wait_for_nth("fleet.heartbeat", 2).await),
            1 => drop(daemon.wait_for("daemon.ready").await),
            _ => drop(daemon.wait_for("daemon.started").await),
        }
        daemon.kill().await;
        said += daemon.events("app.braked").len();
        let held = bench.report().await["held_apps"].clone();
        assert_eq!((&held[0]["app_id"], &held[0]["state"]), (&"app".into(), &"braked".into()), "{held}");
        brakes.push(held[0]["since"].clone());
        let ledger = bench.simulator.ledger();
        assert_eq!(ledger.presentations(), 2, "after start {start}: {}", ledger.summary());
    }
    assert_eq!(said, 1, "over all starts");
    assert!(brakes.iter().all(|since| *since == brakes[0]), "one brake, kept over all starts: {brakes:?}");
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn f48_a_window_that_one_lost_answer_made_narrow_is_as_narrow_after_a_restart() {
    let bench = bench_with_a_patient_herd().await;
    // One outcome that nobody knows; the next answer is held, so that a second request beside it would be seen.
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::custom(502, ""))));
    bench.simulator.fault(Rule::forever(Fault::spent(Answer::Held)));
    let mut daemon = bench.start().await;
    daemon.wait_for("refresh.uncertain").await;
    bench.ledger_until(|ledger| ledger.presentations() == 2).await;
    daemon.wait_for_nth("fleet.heartbeat", 2).await;
    bench.simulator.release();
    daemon.wait_for("refresh.succeeded").await;
    bench.ledger_until(|ledger| ledger.presentations() == 4).await;
    daemon.kill().await;

    // Two were under way: two outcomes that nobody knows, in a row.
    let mut daemon = bench.start().await;
    daemon.wait_for_app("app.braked", "app").await;
    daemon.wait_for_nth("fleet.heartbeat", 2).await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!(ledger.presentations(), 4, "{}", ledger.summary());
    assert_window_held(&ledger, "app", 8);
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f48_a_wrong_secret_costs_the_window_and_one_trial_at_a_start_a_reload_and_a_command() {
    let bench = bench_with_a_patient_herd().await;
    // It is the block that holds them back, and nothing else.
    bench.set_refresh(SETTINGS);
    bench.simulator.add_app("app", &format!("{MARKER}-another-secret"));
    let presented = |bench: &Bench| bench.simulator.ledger().presentations();
    let mut daemon = bench.start().await;
    assert_eq!(daemon.wait_for_app("app.refused", "app").await["level"], "ERROR");
    let beats = daemon.events("fleet.heartbeat").len();
    daemon.wait_for_nth("fleet.heartbeat", beats + 3).await;
    let at_first = presented(&bench);
    assert!((1..=2).contains(&at_first), "{at_first}");
    assert_eq!(daemon.events("app.refused").len(), 1);
    assert_eq!(held_apps(&bench.report().await), [("app", "blocked")]);

    daemon.signal(Signal::HUP);
    daemon.wait_for("config.reloaded").await;
    bench.ledger_until(|ledger| ledger.presentations() == at_first + 1).await;
    daemon.wait_for_nth("refresh.failed", at_first + 1).await;
    let beats = daemon.events("fleet.heartbeat").len();
    daemon.wait_for_nth("fleet.heartbeat", beats + 2).await;
    assert_eq!(presented(&bench), at_first + 1, "a reload is one trial");

    let asked = bench.run(&["refresh", "042"]).await;
    assert_ne!(asked.status.code(), Some(0), "{}", text(&asked.stderr));
    let ledger = bench.simulator.ledger();
    assert_eq!(
        (ledger.presentations(), ledger.presentations_of("042")),
        (at_first + 2, 1),
        "that OA and no other"
    );
    assert!(daemon.stop().await.success());

    let mut daemon = bench.start().await;
    daemon.wait_for("refresh.failed").await;
    daemon.wait_for_nth("fleet.heartbeat", 3).await;
    assert_eq!(presented(&bench), at_first + 3, "a start is one trial");
    assert!(daemon.events("app.refused").is_empty(), "it was said");

    // The right secret is taken up by a reload, whose trial releases the app.
    bench.simulator.add_app("app", &format!("{MARKER}-secret-of-app"));
    daemon.signal(Signal::HUP);
    daemon.wait_for_app("app.released", "app").await;
    daemon.wait_for_nth("refresh.succeeded", 60).await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!(ledger.spends(), 60);
    assert_eq!(bench.report().await["held_apps"], json!([]));
    assert_clean(&ledger);
}
