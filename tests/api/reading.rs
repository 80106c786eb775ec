//! Reading: tokens, states, and waiting for a newer set.

use std::time::Duration;

use serde_json::json;
use zalo_tokend::simulator::{Answer, Fault, Rule};

use super::harness::http::{Request, ask};
use super::harness::together::all;
use super::harness::{Bench, text};
use super::{healthy, section};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_handed_out_as_the_command_prints_it_and_known_by_its_generation() {
    let (bench, mut daemon) = healthy().await;
    let answer = bench.get("/v1/oas/7/token").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!((answer.header("etag"), answer.header("cache-control")), (Some("\"1\""), Some("no-store")));
    let record = answer.json();
    assert_eq!(record["access_token"], json!(bench.token("7").await.expect("valid")));
    assert_eq!((&record["oa_id"], &record["generation"]), (&json!("7"), &json!(1)));
    assert!(record["expires_in"].as_u64().is_some_and(|left| left > 80_000), "{}", record["expires_in"]);
    assert!(record.get("durable").is_none() && record.get("refresh_token").is_none());
    let known = Request { headers: &[("If-None-Match", "\"1\"")], ..Request::get("/v1/oas/7/token") };
    let answer = ask(&bench.api(), known).await;
    assert_eq!((answer.status, answer.body.len(), answer.header("etag")), (304, 0, Some("\"1\"")));
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn states_are_shown_as_the_command_shows_them() {
    let (bench, mut daemon) = healthy().await;
    bench.add_oa("8");
    daemon.reload().await;
    let list = bench.get("/v1/oas").await.json();
    let output = bench.run(&["status", "--json"]).await;
    let printed: serde_json::Value = serde_json::from_str(&text(&output.stdout)).expect("JSON");
    assert_eq!(list["oas"], printed["oas"]);
    assert_eq!(list["next"], json!(null));
    assert_eq!(bench.get("/v1/oas/8").await.json(), list["oas"][1]);
    let first = bench.get("/v1/oas?limit=1").await.json();
    assert_eq!((first["oas"][0]["oa_id"].as_str(), first["next"].as_str()), (Some("7"), Some("7")));
    let second = bench.get("/v1/oas?limit=5&after=7").await.json();
    assert_eq!((&second["oas"][0]["oa_id"], &second["next"]), (&json!("8"), &json!(null)));
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_wrongly_or_not_there_is_said_in_a_stable_word() {
    let (bench, mut daemon) = healthy().await;
    bench.add_oa("8");
    daemon.reload().await;
    for (method, target, body, status, word) in [
        ("GET", "/v1/oas/9/token", "", 404, "no_such_oa"),
        ("GET", "/v1/oas/9", "", 404, "no_such_oa"),
        ("GET", "/v1/oas/9/token?after=0&wait=1h", "", 404, "no_such_oa"),
        ("GET", "/v1/oas/8/token", "", 503, "no_valid_token"),
        ("GET", "/v1/oas/7/token?wait=soon&after=1", "", 400, "bad_request"),
        ("GET", "/v1/oas/7/token?min_ttl=x", "", 400, "bad_request"),
        ("GET", "/v1/oas/7/token?proof=CANARY", "", 400, "bad_request"),
        ("GET", "/v1/oas?limit=many", "", 400, "bad_request"),
        ("GET", "/elsewhere", "", 404, "no_such_route"),
        ("POST", "/v1/oas/7/token", "", 405, "method_not_allowed"),
        ("POST", "/v1/oas/7/token/reject", "{\"CANARY\": 1}", 400, "bad_request"),
        ("POST", "/v1/oas/7/token/reject", "{\"generation\": 2}", 409, "no_such_generation"),
        ("PUT", "/v1/oas/7/token-set", "{\"access_token\": \"CANARY\"}", 400, "bad_request"),
    ] {
        let answer = bench.send(method, target, body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, word), "{method} {target}");
        assert!(!text(&answer.body).contains("CANARY"), "what was sent is not repeated: {target}");
    }
    let awaited = bench.get("/v1/oas/8/token").await.json();
    assert_eq!((&awaited["state"], &awaited["status"]), (&json!("awaiting_grant"), &json!(503)));
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_newer_set_has_it_as_soon_as_it_is_durable() {
    let (bench, mut daemon) = healthy().await;
    assert_eq!(bench.get("/v1/oas/7/token?after=0&wait=1h").await.json()["generation"], 1);
    let answer = bench.get("/v1/oas/7/token?after=1").await;
    assert_eq!((answer.status, answer.header("etag")), (304, Some("\"1\"")));
    assert_eq!(bench.get("/v1/oas/7/token?after=1&wait=50ms").await.status, 304);
    let (waited, refreshed) =
        tokio::join!(bench.get("/v1/oas/7/token?after=1&wait=1h"), bench.run(&["refresh", "7"]));
    assert!(refreshed.status.success());
    assert_eq!(waited.json()["generation"], 2);
    assert!(bench.simulator.is_valid_access_token(waited.json()["access_token"].as_str().expect("text")));
    // One that waits does not hold up the stop.
    let (last, ended) = tokio::join!(bench.get("/v1/oas/7/token?after=2&wait=1h"), async {
        daemon.wait_for_text("api.listening").await;
        bench.get("/v1/oas/7").await;
        daemon.stop().await
    });
    assert!(ended.success());
    assert_eq!((last.status, last.problem().as_str()), (503, "not_now"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_another_process_imports_is_handed_out_by_the_time_it_is_announced() {
    let (bench, mut daemon) = healthy().await;
    assert_eq!(bench.get("/v1/oas/7/token").await.json()["generation"], 1);
    bench.import("7", &bench.simulator.grant("app", "7")).await;
    daemon.wait_for_nth("oa.imported", 2).await;
    assert_eq!(bench.get("/v1/oas/7/token").await.json()["generation"], 2);
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_life_than_a_token_has_left_is_got_by_one_refresh_and_never_by_one_a_call() {
    let bench = Bench::new().await;
    bench.set_extra(&section(""));
    // Ten minutes are left, and five minutes before the end it would be refreshed.
    bench.add_lone_oa("7", Duration::from_secs(600)).await;
    let mut daemon = bench.start().await;
    assert_eq!(bench.get("/v1/oas/7/token?min_ttl=5m").await.json()["generation"], 1);
    let answers = all((0..8).map(|_| bench.get("/v1/oas/7/token?min_ttl=1h"))).await;
    assert!(answers.iter().all(|answer| answer.json()["generation"] == 2), "all have the new one");
    // More than any token lives.
    for _ in 0..3 {
        assert_eq!(bench.get("/v1/oas/7/token?min_ttl=90d").await.json()["generation"], 2);
    }
    assert_eq!(bench.simulator.ledger().presentations(), 1);
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_fails_costs_no_caller_the_token_that_still_lives() {
    let bench = Bench::new().await;
    bench.set_extra(&section(""));
    bench.add_lone_oa("7", Duration::from_secs(600)).await;
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::custom(429, "{}"))));
    let mut daemon = bench.start().await;
    let answer = bench.get("/v1/oas/7/token?min_ttl=1h").await;
    assert_eq!((answer.status, &answer.json()["generation"]), (200, &json!(1)));
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_of_the_app_secret_comes_without_the_secret() {
    let (bench, mut daemon) = healthy().await;
    let record = bench.get("/v1/oas/7/token?proof=true").await.json();
    let proof = record["appsecret_proof"].as_str().expect("a proof");
    assert!(proof.len() == 64 && proof.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(bench.get("/v1/oas/7/token").await.json().get("appsecret_proof").is_none());
    assert!(daemon.stop().await.success());
}
