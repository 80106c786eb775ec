//! The three months of a grant, by the real binary: whether a renewal moves their end nobody knows, and when they pass
//! without one, a person has to be told in time.

use std::time::Duration;

use zalo_tokend::clock::{Clock, SystemClock, Time};
use zalo_tokend::simulator::{Answer, Fault, Rule};

use crate::harness::fake_clock::FakeClock;
use crate::harness::rows::*;
use crate::harness::{Bench, QUICK, text};

const DAY: Duration = Duration::from_secs(86_400);

/// Looks at the grants each second, and says that it did.
const AUDITS: &str = "[schedule]\naudit = \"* * * * * *\"\nheartbeat = \"* * * * * *\"\n";

/// Imports a grant of so long ago, and says when that was.
async fn import_aged(bench: &Bench, oa: &str, age: Duration) -> Time {
    bench.add_oa(oa);
    let answer = bench.simulator.grant_aged("app", oa, age).to_string();
    let obtained_at = SystemClock::new().now().minus(age);
    let arguments = ["import", oa, "--obtained-at", &obtained_at.to_string()];
    let output = bench.run_with_input(&arguments, &answer).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    obtained_at
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_77_days_ago_is_renewed_and_its_end_is_doubted_once_also_over_a_restart() {
    let bench = Bench::new().await;
    bench.set_extra(AUDITS);
    let granted_at = import_aged(&bench, "7", 77 * DAY).await;
    import_aged(&bench, "8", 75 * DAY).await;
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    let doubted = daemon.wait_for_oa("refresh_token.end_unproven", "7").await;
    assert_eq!(doubted["level"], "WARN");
    assert_eq!(time(&doubted, "granted_at"), granted_at);
    assert_eq!(time(&doubted, "until"), granted_at.plus(90 * DAY));
    daemon.wait_for_oa("refresh.succeeded", "8").await;
    let seen = daemon.events("fleet.heartbeat").len();
    daemon.wait_for_nth("fleet.heartbeat", seen + 2).await;
    assert_eq!(daemon.events("refresh_token.end_unproven").len(), 1, "OA 8 is younger");
    assert!(daemon.events("refresh_token.expiring").is_empty(), "both are being renewed");
    assert!(daemon.stop().await.success());
    let status = bench.status("7").await;
    assert_eq!((&status["state"], &status["generation"]), (&"scheduled".into(), &2.into()));
    assert_eq!(time(&status, "granted_at"), granted_at, "a renewal is no grant");

    let mut daemon = bench.start().await;
    daemon.wait_for_nth("fleet.heartbeat", 2).await;
    assert!(daemon.events("refresh_token.end_unproven").is_empty(), "it was said before the restart");
    // A person grants again: the three months begin anew.
    let answer = bench.simulator.grant("app", "7");
    bench.import("7", &answer).await;
    assert!(time(&bench.status("7").await, "granted_at") > granted_at.plus(76 * DAY));
    let seen = daemon.events("fleet.heartbeat").len();
    daemon.wait_for_nth("fleet.heartbeat", seen + 2).await;
    assert!(daemon.events("refresh_token.end_unproven").is_empty());
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations_of("7"), ledger.spends_of("7")), (1, 1));
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ladder_is_climbed_over_three_months_and_restarts_one_step_at_a_time() {
    let bench = Bench::new().await;
    let Some(clock) = FakeClock::under(&bench) else { return };
    bench.set_extra(AUDITS);
    bench.set_refresh(&QUICK.replace("timeout = \"3s\"", "timeout = \"10s\""));
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::custom(200, r#"{"error":-14014}"#))).for_oa("7"));
    bench.add_due_oa("7").await;
    bench.add_granted_oa("8").await;
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("oa.reauthorization_required", "7").await;
    let mut said_before = None;
    for (offset, step, level) in [
        ("+61d", "30d 0h", "WARN"),
        ("+77d", "14d 0h", "WARN"),
        ("+84d", "7d 0h", "WARN"),
        ("+2150h", "1d 0h", "ERROR"),
    ] {
        // What was said before a restart is not said after it.
        daemon.wait_for_nth("fleet.heartbeat", 2).await;
        assert!(daemon.events("refresh_token.expiring").is_empty(), "after {said_before:?}");
        clock.set(offset);
        let expiring = daemon.wait_for("refresh_token.expiring").await;
        assert_eq!((&expiring["oa_id"], &expiring["step"]), (&"7".into(), &step.into()), "{expiring}");
        assert_eq!(expiring["level"], level);
        assert!(daemon.stop().await.success());
        assert_eq!(daemon.events("refresh_token.expiring").len(), 1, "{}", daemon.log());
        said_before = Some(step);
        daemon = bench.start().await;
    }
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!(ledger.presentations_of("7"), 1);
    assert_clean(&ledger);
}
