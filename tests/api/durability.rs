//! What is handed out is durable, and never older than what was handed out before.

use std::time::Duration;

use zalo_tokend::simulator::{Answer, Fault, Rule};

use super::harness::frozen::Frozen;
use super::harness::small_disk::bench_with_an_answer_held;
use super::harness::{Bench, DEADLINE};
use super::section;

/// The OA is refreshed on and on.
const ON_AND_ON: &str = "before_expiry = \"30d\"\njitter = \"0s\"\nretry_first = \"50ms\"\nretry_max = \"200ms\"\n\
     settle = \"100ms\"\ntimeout = \"5s\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn i5_what_was_handed_out_a_moment_before_kill_9_is_there_after_it() {
    let kills = std::env::var("ZALO_TOKEND_KILLS").map_or(4, |count| count.parse().expect("a whole number"));
    let bench = Bench::new().await;
    bench.set_extra(&section(""));
    bench.set_refresh(ON_AND_ON);
    bench.simulator.with_variant(|variant| variant.access_token_life = Duration::from_secs(2));
    bench.add_granted_oa("7").await;
    let mut seen = 1;
    for kill in 0..kills {
        let mut daemon = bench.start().await;
        let target = format!("/v1/oas/7/token?after={}&wait=1m", seen + kill % 2);
        let answer = bench.get(&target).await;
        daemon.kill().await;
        let record = answer.json();
        let generation = record["generation"].as_u64().unwrap_or_else(|| panic!("kill {kill}: {record}"));
        assert!(generation > seen, "kill {kill}: {record}");
        let status = bench.status("7").await;
        assert!(status["generation"].as_u64() >= Some(generation), "kill {kill}: {status}");
        seen = generation;
        // An answer that was on its way is lost with the process; a person grants again.
        if status["state"] != "scheduled" {
            let grant = bench.simulator.grant("app", "7");
            bench.import("7", &grant).await;
            seen = bench.status("7").await["generation"].as_u64().expect("a number");
        }
    }
    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean() && ledger.spent_tokens_presented().is_empty(), "{}", ledger.summary());
}

/// Asks until the set of this generation is handed out.
async fn until_handed_out(bench: &Bench, generation: u64) -> super::Response {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let handed_out = tokio::time::timeout(DEADLINE, async {
        loop {
            let answer = bench.get("/v1/oas/7/token").await;
            if answer.status == 200 && answer.json()["generation"] == generation {
                return answer;
            }
            tick.tick().await;
        }
    });
    handed_out.await.expect("it is handed out")
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_set_that_is_in_its_slot_alone_is_durable_and_is_handed_out() {
    let (bench, disk) = bench_with_an_answer_held().await;
    bench.set_extra(&section(""));
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    assert_eq!(bench.get("/v1/oas/7/token").await.json()["generation"], 1);
    disk.fill().await;
    let (waited, ()) = tokio::join!(bench.get("/v1/oas/7/token?after=1&wait=1m"), async {
        bench.simulator.release();
    });
    assert_eq!((waited.status, waited.header("etag")), (200, Some("\"2\"")), "{waited:?}");
    assert!(daemon.events("refresh.succeeded").is_empty(), "the store does not have it");
    let record = bench.get("/v1/oas/7/token").await.json();
    assert_eq!((&record["generation"], record.get("durable")), (&2.into(), None));
    assert!(bench.simulator.is_valid_access_token(record["access_token"].as_str().expect("a text")));
    assert_eq!(bench.get("/v1/oas/7").await.json()["generation"], 2);
    disk.free().await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert_eq!(bench.get("/v1/oas/7/token").await.json()["access_token"], record["access_token"]);
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_set_that_no_disk_takes_is_handed_out_and_said_not_to_be_durable() {
    let (bench, disk) = bench_with_an_answer_held().await;
    bench.set_extra(&section(""));
    let mut daemon = bench.start().await;
    disk.take_no_answer(&bench).await;
    let answer = until_handed_out(&bench, 2).await;
    let record = answer.json();
    assert_eq!((&record["durable"], answer.header("etag")), (&false.into(), None), "{answer:?}");
    let token = record["access_token"].as_str().expect("a text");
    assert!(bench.simulator.is_valid_access_token(token));
    disk.free().await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    let answer = bench.get("/v1/oas/7/token").await;
    assert_eq!((answer.json().get("durable"), answer.header("etag")), (None, Some("\"2\"")));
    assert_eq!(answer.json()["access_token"], token);
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_overtakes_one_that_was_handed_out_already_has_a_number_of_its_own() {
    let bench = Bench::new().await;
    bench.set_extra(&section(""));
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    let hanging = Frozen::thread(daemon.pid, "store");
    bench.simulator.release();
    let overtaken = until_handed_out(&bench, 2).await.json();
    let grant = bench.simulator.grant("app", "7");
    bench.import("7", &grant).await;
    drop(hanging);
    daemon.wait_for_oa("oa.imported", "7").await;
    // Whoever waits for a newer one than the second is told.
    let newest = bench.get("/v1/oas/7/token?after=2&wait=1m").await.json();
    assert_eq!((&newest["access_token"], &newest["generation"]), (&grant["access_token"], &3.into()));
    assert_ne!(newest["access_token"], overtaken["access_token"]);
    assert!(daemon.stop().await.success());
    assert!(bench.simulator.ledger().is_clean());
}
