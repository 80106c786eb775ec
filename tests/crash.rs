//! kill -9 at any moment, over and over, judged by the ledger.

#[path = "wire/full.rs"]
mod full;
mod harness;

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{Bench, DEADLINE, Daemon};
use serde_json::Value;
use zalo_tokend::simulator::{Answer, Fault, Ledger, Rule};

const OAS: [&str; 8] = ["1", "2", "3", "4", "5", "6", "7", "8"];
const KILLS: usize = 50;

/// Where in the life of a refresh the n-th kill comes.
async fn moment(bench: &Bench, daemon: &Daemon, before: &Ledger, n: usize) {
    match n % 5 {
        // The answer is made and not delivered.
        0 => drop(bench.ledger_until(|now| now.spends() > before.spends() + n % 3).await),
        // A request has just arrived whole.
        1 => drop(bench.ledger_until(|now| now.presentations() > before.presentations()).await),
        // A connection has just come.
        2 => drop(bench.ledger_until(|now| now.connections() > before.connections() + n % 4).await),
        // A set has just been stored, others are on the way.
        3 => drop(daemon.wait_for("refresh.succeeded").await),
        // During the recovery.
        _ => drop(daemon.wait_for("daemon.started").await),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_under_load_lose_nothing_that_was_received_and_present_nothing_twice() {
    let bench = Bench::new().await;
    bench.set_refresh(
        "before_expiry = \"30d\"\njitter = \"1s\"\nsettle = \"100ms\"\nretry_first = \"50ms\"\nretry_max = \"200ms\"\ntimeout = \"5s\"\n",
    );
    bench.simulator.with_variant(|variant| variant.access_token_life = Duration::from_secs(4));
    bench.simulator.fault(Rule::forever(Fault::spent(Answer::Delayed(Duration::from_millis(15)))));
    for oa in OAS {
        bench.add_granted_oa(oa).await;
    }
    let mut stored = BTreeMap::new();
    for n in 0..KILLS {
        let before = bench.simulator.ledger();
        let mut daemon = bench.spawn(&[]);
        tokio::select! {
            () = moment(&bench, &daemon, &before, n) => {}
            () = all_need_a_person(&daemon) => {}
        }
        daemon.kill().await;
        let ledger = bench.simulator.ledger();
        assert!(ledger.is_clean(), "after kill {n}: {}", ledger.summary());
        for event in daemon.events("refresh.succeeded") {
            let oa = event["oa_id"].as_str().expect("named").to_owned();
            stored.insert(oa, event["generation"].as_u64().expect("a number"));
        }
        // A person grants again where an answer was lost, so that the load goes on.
        for oa in OAS {
            let status = bench.status(oa).await;
            let generation = status["generation"].as_u64().expect("a number");
            assert!(generation >= stored.get(oa).copied().unwrap_or(0), "what was said to be stored is gone");
            if needs_a_person(&status) {
                let answer = bench.simulator.grant("app", oa);
                bench.import(oa, &answer).await;
            }
        }
    }

    let mut daemon = bench.start().await;
    let settled = tokio::time::timeout(DEADLINE, async {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        for oa in OAS {
            while !is_settled(&bench.status(oa).await) {
                tick.tick().await;
            }
        }
    });
    settled.await.unwrap_or_else(|_| panic!("an OA stays unsettled:\n{}", daemon.log()));
    assert!(daemon.stop().await.success());

    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean(), "{}", ledger.summary());
    assert_eq!(ledger.spent_tokens_presented().len(), 0, "{}", ledger.summary());
    assert!(OAS.iter().all(|oa| ledger.max_under_way_of(oa) <= 1));
    assert!(ledger.spends() >= KILLS / 5, "there was no load: {}", ledger.summary());
    for oa in OAS {
        let status = bench.status(oa).await;
        if status["state"] == "scheduled" {
            let held = bench.simulator.current_set(oa).expect("granted").access_token;
            let token = bench.token(oa).await;
            assert!(token.is_none_or(|token| token == held.expose()), "OA {oa} holds an older set");
        }
    }
}

/// Every OA's answer was lost by one kill: nothing will be refreshed any more.
async fn all_need_a_person(daemon: &Daemon) {
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let calls = |event| daemon.events(event).len();
    while calls("oa.reauthorization_required") + calls("oa.decision_needed") < OAS.len() {
        tick.tick().await;
    }
}

fn needs_a_person(status: &Value) -> bool {
    status["state"] == "reauthorization_required" || status["reason"] == "unprovable"
}

fn is_settled(status: &Value) -> bool {
    status["state"] == "scheduled" || needs_a_person(status)
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_killed_before_the_gate_the_token_is_presented_right_after_the_restart() {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    // Nothing answers there, so that the attempt is still connecting when it is killed.
    let (silent, _waiting) = full::full_listener().await;
    let silent_url = format!("http://{}/", silent.local_addr().expect("an address"));
    let config = std::fs::read_to_string(bench.config()).expect("read");
    let elsewhere = config.replace(&bench.simulator.token_url(), &silent_url);
    std::fs::write(bench.config(), elsewhere).expect("written");
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.started", "7").await;
    daemon.kill().await;
    bench.write_config();
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    assert!(daemon.events("refresh.uncertain").is_empty());
    assert!(bench.simulator.ledger().is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn f19_killed_after_the_spend_the_answer_is_known_to_be_lost_and_a_person_is_called() {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    daemon.kill().await;
    let mut daemon = bench.start().await;
    assert_eq!(daemon.wait_for_oa("refresh.probed", "7").await["verdict"], "spent");
    let required = daemon.wait_for_oa("oa.reauthorization_required", "7").await;
    assert_eq!((&required["reason"], &required["level"]), (&"response_lost".into(), &"ERROR".into()));
    bench.import_due("7").await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean() && ledger.spent_tokens_presented().is_empty(), "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn f18_killed_after_the_gate_with_nothing_spent_the_token_is_proven_unspent_and_presented_again() {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::Stall)));
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.presentations() == 1).await;
    daemon.kill().await;
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.uncertain", "7").await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert_eq!(daemon.events("refresh.probed").len(), 2);
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!(ledger.presentations(), 2);
    assert!(ledger.is_clean(), "{}", ledger.summary());
}
