//! A program says that its access token was refused.

use serde_json::json;
use zalo_tokend::simulator::{Answer, Fault, Rule};

use super::harness::together::all;
use super::harness::{Bench, QUICK};
use super::{healthy, section};

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_who_report_the_same_dead_token_cause_one_question_and_one_refresh() {
    let (bench, mut daemon) = healthy().await;
    // What the first refresh of an app asks by itself is over before anything is counted.
    assert!(bench.run(&["refresh", "7"]).await.status.success());
    bench.ledger_until(|ledger| ledger.probes() == 2).await;
    bench.simulator.kill_access_token("7");
    let before = bench.simulator.ledger().probes();
    let report = || bench.send("POST", "/v1/oas/7/token/reject", r#"{"generation": 2, "error": -216}"#);
    let answers = all((0..64).map(|_| report())).await;
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        let record = answer.json();
        assert_eq!(record["generation"], 3);
        assert!(record["verdict"] == "refreshed" || record["verdict"] == "newer", "{}", record["verdict"]);
    }
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.probes() - before), (2, 1));
    // Who comes late has the newer one at once.
    assert_eq!(report().await.json()["verdict"], "newer");
    assert_eq!(daemon.wait_for("token.reported").await["error"], -216);
    assert!(daemon.stop().await.success());
    assert!(bench.simulator.ledger().is_clean(), "{}", bench.simulator.ledger().summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_lives_is_not_refreshed_because_somebody_says_that_it_does_not() {
    let (bench, mut daemon) = healthy().await;
    let report = || bench.send("POST", "/v1/oas/7/token/reject", r#"{"generation": 1}"#);
    let answer = report().await;
    assert_eq!((answer.status, &answer.json()["verdict"]), (200, &json!("alive")));
    let probes = bench.simulator.ledger().probes();
    let answer = report().await;
    assert_eq!((answer.status, answer.problem().as_str()), (429, "too_many_requests"));
    let wait: u64 = answer.header("retry-after").expect("a wait").parse().expect("seconds");
    assert!((1..=30).contains(&wait), "{wait}");
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.probes()), (0, probes));
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_whose_refresh_fails_says_so_and_the_refresh_token_is_kept() {
    let (bench, mut daemon) = healthy().await;
    bench.simulator.kill_access_token("7");
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::custom(429, "{}"))));
    let answer = bench.send("POST", "/v1/oas/7/token/reject", r#"{"generation": 1}"#).await;
    assert_eq!((answer.status, answer.problem().as_str()), (502, "refresh_failed"));
    // The plan goes on, and brings a new set.
    daemon.wait_for("refresh.succeeded").await;
    assert_eq!(bench.get("/v1/oas/7/token").await.json()["generation"], 2);
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_has_an_oa_refreshed() {
    let (bench, mut daemon) = healthy().await;
    let answer = bench.send("POST", "/v1/oas/7/refresh", "").await;
    assert_eq!((answer.status, &answer.json()["generation"]), (200, &json!(2)));
    let answer = bench.send("POST", "/v1/oas/8/refresh", "").await;
    assert_eq!((answer.status, answer.problem().as_str()), (404, "no_such_oa"));
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_readers_nor_reports_have_a_wrong_secret_tried_again_and_again() {
    let (bench, daemon) = healthy().await;
    // Both kinds, of OAs of their own; and one by whose refresh it shows that the secret is wrong.
    for oa in ["8", "9"] {
        bench.add_oa(oa);
        bench.import_due(oa).await;
    }
    bench.simulator.add_app("app", "another secret");
    daemon.reload().await;
    daemon.wait_for("app.refused").await;
    bench.simulator.kill_access_token("7");
    let before = bench.simulator.ledger().presentations();
    let answer = bench.send("POST", "/v1/oas/7/token/reject", r#"{"generation": 1}"#).await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "not_now"));
    assert!(answer.json()["detail"].as_str().is_some_and(|what| what.contains("credentials")), "{answer:?}");
    for oa in ["8", "9"] {
        let answer = bench.get(&format!("/v1/oas/{oa}/token?min_ttl=10h")).await;
        assert_eq!(
            (answer.status, &answer.json()["generation"]),
            (200, &json!(1)),
            "what lives is handed out"
        );
    }
    assert_eq!(bench.simulator.ledger().presentations(), before);
    // An administrator may.
    let answer = bench.send("POST", "/v1/oas/7/refresh", "").await;
    assert_eq!((answer.status, answer.problem().as_str()), (502, "refresh_failed"));
    assert_eq!(bench.simulator.ledger().presentations(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_more_life_than_there_is_waits_for_the_retry_as_zalo_wants_it() {
    let bench = Bench::new().await;
    bench.set_extra(&section(""));
    bench.add_due_oa("7").await;
    bench.set_refresh(&QUICK.replace("400ms", "1h").replace("50ms", "1h"));
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::custom(429, "{}"))));
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.failed", "7").await;
    for _ in 0..2 {
        let answer = bench.get("/v1/oas/7/token?min_ttl=10h").await;
        assert_eq!((answer.status, &answer.json()["generation"]), (200, &json!(1)), "{answer:?}");
    }
    assert_eq!(bench.simulator.ledger().presentations(), 1);
    assert!(daemon.stop().await.success());
}
