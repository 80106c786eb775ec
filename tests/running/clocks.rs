//! Wall clocks that jump, creep and are wrong from the start, and a process that stands still: by the real binary under
//! libfaketime. Whatever they do, no token ends that could have been renewed, and nothing is taken for proven.

use std::time::Duration;

use rustix::process::Signal;
use zalo_tokend::clock::{Clock, SystemClock};
use zalo_tokend::simulator::{Answer, Fault, Rule};

use crate::harness::fake_clock::FakeClock;
use crate::harness::rows::*;
use crate::harness::{Bench, QUICK, text};

const FORWARD: &str = "+3650d";
const BACK: &str = "-3650d";

/// A bench whose commands have a clock that can be set, and a pacemaker that beats by whatever clock.
async fn bench_with_a_clock() -> Option<(Bench, FakeClock)> {
    let bench = Bench::new().await;
    let clock = FakeClock::under(&bench)?;
    bench.add_pacemaker().await;
    Some((bench, clock))
}

fn presentations(bench: &Bench, oas: &[&str]) -> Vec<usize> {
    let ledger = bench.simulator.ledger();
    oas.iter().map(|oa| ledger.presentations_of(oa)).collect()
}

async fn assert_all_are_handed_out(bench: &Bench, oas: &[&str], what: &str) {
    for oa in oas {
        bench.assert_is_handed_out(oa, what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f02_a_wall_clock_that_jumps_by_ten_years_makes_one_early_refresh_and_no_loop() {
    let oas = ["1", "2", "3"];
    let Some((bench, clock)) = bench_with_a_clock().await else { return };
    for oa in oas {
        bench.add_granted_oa(oa).await;
    }
    let mut daemon = bench.start().await;
    bench.beats(2).await;
    assert_eq!(presentations(&bench, &oas), [0, 0, 0]);
    clock.set(FORWARD);
    for oa in oas {
        daemon.wait_for_oa("refresh.succeeded", oa).await;
    }
    for jump in [FORWARD, "+0", FORWARD, BACK, FORWARD, "+0", BACK] {
        clock.set(jump);
        bench.beats(2).await;
        assert_eq!(presentations(&bench, &oas), [1, 1, 1], "{jump}");
        assert_all_are_handed_out(&bench, &oas, jump).await;
    }
    assert!(daemon.stop().await.success());
    for oa in oas {
        for never in ["refresh.uncertain", "access_token.expired"] {
            assert_eq!(daemon.events_of(never, oa).len(), 0, "{never}:\n{}", daemon.log());
        }
    }
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn f02_a_wall_clock_that_creeps_by_an_hour_makes_nothing_due_early() {
    let oas = ["1", "2"];
    let Some((bench, clock)) = bench_with_a_clock().await else { return };
    for oa in oas {
        bench.add_granted_oa(oa).await;
    }
    let mut daemon = bench.start().await;
    for minutes in [20, 40, 60, 40, 20, 0, -20, -40, -60, -40, -20, 0] {
        clock.set(&format!("{minutes:+}m"));
        bench.beats(1).await;
        assert_eq!(presentations(&bench, &oas), [0, 0], "{minutes} minutes");
    }
    assert_all_are_handed_out(&bench, &oas, "after all").await;
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn f02_a_token_is_renewed_before_its_end_although_the_wall_clock_was_set_back() {
    const LIFE: Duration = Duration::from_secs(8);
    let bench = Bench::new().await;
    let Some(clock) = FakeClock::under(&bench) else { return };
    bench.simulator.with_variant(|variant| variant.access_token_life = LIFE);
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    for setback in ["-1h", BACK] {
        let spends = bench.simulator.ledger().spends_of("7");
        clock.set(setback);
        bench.ledger_until(|ledger| ledger.spends_of("7") == spends + 1).await;
        daemon.wait_for_oa_nth("refresh.succeeded", "7", spends + 1).await;
        bench.assert_is_handed_out("7", setback).await;
    }
    assert!(daemon.stop().await.success());
    assert!(daemon.events("access_token.expired").is_empty());
    let ledger = bench.simulator.ledger();
    let made = ledger.entries_of("7").filter(|entry| entry.kind == zalo_tokend::simulator::Kind::GrantMade);
    let obtained: Vec<u64> =
        made.map(|entry| entry.at_ms).chain(moments(&ledger, "7", is_presented)).collect();
    let life = u64::try_from(LIFE.as_millis()).expect("small");
    assert!(obtained.windows(2).all(|pair| pair[1] - pair[0] < life), "{obtained:?}");
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f02_a_refusal_is_no_proof_while_the_clocks_disagree_and_is_one_when_they_agree_again() {
    let Some((bench, clock)) = bench_with_a_clock().await else { return };
    bench.add_app("other");
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Reset)).for_oa("1"));
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::Reset)).for_oa("2"));
    bench.add_granted_oa("1").await;
    bench.add_oa_of("other", "2");
    bench.import("2", &bench.simulator.grant("other", "2")).await;
    let mut daemon = bench.start().await;
    clock.set(FORWARD);
    daemon.wait_for_oa("refresh.uncertain", "1").await;
    for n in 1..=3 {
        let probed = daemon.wait_for_oa_nth("refresh.probed", "1", n).await;
        assert_eq!(probed["verdict"], "inconclusive", "{probed}");
    }
    // What is accepted lives, whatever the clocks say.
    daemon.wait_for_oa("refresh.succeeded", "2").await;
    clock.set("+0");
    let required = daemon.wait_for_oa("oa.reauthorization_required", "1").await;
    assert_eq!(required["reason"], "response_lost");
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations_of("1"), ledger.presentations_of("2")), (1, 2));
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f02_a_token_that_died_of_age_while_the_clock_was_set_back_is_not_taken_for_spent() {
    let bench = Bench::new().await;
    let Some(clock) = FakeClock::under(&bench) else { return };
    bench.set_refresh(&QUICK.replace("settle = \"300ms\"", "settle = \"4s\""));
    bench.simulator.with_variant(|variant| variant.access_token_life = Duration::from_secs(6));
    bench.simulator.fault(Rule::forever(Fault::unspent(Answer::Reset)));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    clock.set("-1h");
    // Presented after three seconds, asked about after seven, when the token is dead of age.
    let needed = daemon.wait_for_oa("oa.decision_needed", "7").await;
    assert_eq!(needed["reason"], "unprovable");
    assert!(daemon.events("refresh.probed").iter().all(|probed| probed["verdict"] == "inconclusive"));
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.spends()), (1, 0));
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f02_a_start_with_a_clock_far_in_the_past_or_the_future_costs_one_early_refresh_at_most() {
    let oas = ["1", "2"];
    let bench = Bench::new().await;
    bench.set_extra("[schedule]\nheartbeat = \"* * * * * *\"\n");
    let Some(clock) = FakeClock::under(&bench) else { return };
    for oa in oas {
        bench.add_granted_oa(oa).await;
    }
    for (offset, presented) in [(BACK, 0), (FORWARD, 1), (BACK, 1), ("+0", 1)] {
        clock.set(offset);
        let mut daemon = bench.start().await;
        daemon.wait_for_nth("fleet.heartbeat", 2).await;
        assert_all_are_handed_out(&bench, &oas, offset).await;
        assert_eq!(presentations(&bench, &oas), [presented; 2], "{offset}");
        assert!(daemon.stop().await.success());
    }
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn f02_duties_go_on_after_the_wall_clock_was_set_forward_and_back() {
    let bench = Bench::new().await;
    bench.set_extra("[schedule]\nheartbeat = \"* * * * * *\"\n");
    let Some(clock) = FakeClock::under(&bench) else { return };
    let mut daemon = bench.start().await;
    daemon.wait_for_nth("fleet.heartbeat", 2).await;
    clock.set(FORWARD);
    daemon.wait_for_nth("fleet.heartbeat", 4).await;
    clock.set("+0");
    // The sweep has a tick of its own: what a person brings is taken up.
    bench.add_oa("7");
    bench.import_due("7").await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    let before = daemon.events("fleet.heartbeat").len();
    daemon.wait_for_nth("fleet.heartbeat", before + 2).await;
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn f09_a_clock_that_jumped_ahead_forgets_no_token_that_was_used() {
    let bench = Bench::new().await;
    bench.set_extra("[schedule]\nheartbeat = \"* * * * * *\"\nprune = \"* * * * * *\"\n");
    let Some(clock) = FakeClock::under(&bench) else { return };
    bench.add_oa("7");
    let first = bench.simulator.grant("app", "7");
    bench.import("7", &first).await;
    let mut daemon = bench.start().await;
    clock.set(FORWARD);
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    let seen = daemon.events("fleet.heartbeat").len();
    daemon.wait_for_nth("fleet.heartbeat", seen + 3).await;
    clock.set("+0");
    let again = bench.run_with_input(&["import", "7"], &first.to_string()).await;
    assert_eq!(again.status.code(), Some(1), "it was presented before: {}", text(&again.stdout));
    assert_eq!(bench.history("7").await.len(), 1, "nor is the journal forgotten");
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!(ledger.presentations(), 1);
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f03_a_process_that_stood_still_past_its_plans_makes_one_attempt_an_oa_on_waking() {
    let oas = ["1", "2", "3"];
    let bench = Bench::new().await;
    bench.simulator.with_variant(|variant| variant.access_token_life = Duration::from_secs(6));
    for oa in oas {
        bench.add_granted_oa(oa).await;
    }
    let mut daemon = bench.start().await;
    daemon.stand_still().await;
    // So that the successors outlive the rest of the test.
    bench.simulator.with_variant(|variant| variant.access_token_life = Duration::from_secs(90_000));
    let before = presentations(&bench, &oas);
    let ended = time(&bench.status("3").await, "access_token_expires_at");
    tokio::time::sleep(ended.since(SystemClock::new().now())).await;
    daemon.signal(Signal::CONT);
    for (oa, presented) in oas.iter().zip(&before) {
        daemon.wait_for_oa_nth("refresh.succeeded", oa, presented + 1).await;
        bench.assert_is_handed_out(oa, "awake").await;
    }
    bench.add_pacemaker().await;
    assert!(daemon.stop().await.success());
    let mut daemon = bench.start().await;
    bench.beats(2).await;
    assert!(daemon.stop().await.success());
    let after: Vec<usize> = before.iter().map(|presented| presented + 1).collect();
    assert_eq!(presentations(&bench, &oas), after);
    assert_clean(&bench.simulator.ledger());
}
