//! OAs that a program manages, and not the config.

use serde_json::json;

use zalo_tokend::simulator::{Answer, Fault, Rule};

use super::harness::QUICK;
use super::harness::together::all;
use super::{healthy, section};

#[tokio::test(flavor = "multi_thread")]
async fn a_program_manages_an_oa_from_beginning_to_end_and_no_reload_or_restart_takes_it_away() {
    let (bench, mut daemon) = healthy().await;
    let answer = bench.send("PUT", "/v1/oas/8", r#"{"app_id": "app", "name": "Shop"}"#).await;
    assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("awaiting_grant")));
    assert_eq!(daemon.wait_for("oa.enlisted").await["oa_id"], "8");
    let grant = bench.simulator.grant("app", "8").to_string();
    let answer = bench.send("PUT", "/v1/oas/8/token-set", &grant).await;
    assert_eq!(answer.json(), json!({"oa_id": "8", "generation": 1, "unchanged": false}));
    let answer = bench.send("PUT", "/v1/oas/8/token-set", &grant).await;
    assert_eq!(answer.json(), json!({"oa_id": "8", "generation": 1, "unchanged": true}));
    daemon.wait_for_oa("oa.imported", "8").await;

    daemon.reload().await;
    assert_eq!(bench.get("/v1/oas/8").await.json()["state"], "scheduled");
    assert!(daemon.stop().await.success());
    let mut daemon = bench.start().await;
    let status = bench.get("/v1/oas/8").await.json();
    assert_eq!((&status["state"], &status["name"]), (&json!("scheduled"), &json!("Shop")));
    assert_eq!(bench.status("8").await["state"], "scheduled", "the commands see it as well");
    assert_eq!(bench.send("POST", "/v1/oas/8/refresh", "").await.json()["generation"], 2);

    assert_eq!(bench.send("DELETE", "/v1/oas/8", "").await.status, 204);
    assert_eq!(bench.get("/v1/oas/8").await.json()["state"], "unmanaged");
    assert_eq!(bench.get("/v1/oas/8/token").await.json()["generation"], 2, "its tokens stay");
    assert_eq!(bench.send("DELETE", "/v1/oas/8", "").await.problem(), "no_such_oa");
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_config_is_changed_there_and_what_was_used_before_is_refused() {
    let (bench, mut daemon) = healthy().await;
    let problem = async |method: &str, target: &str, body: &str| {
        let answer = bench.send(method, target, body).await;
        (answer.status, answer.problem())
    };
    let said = |status: u16, word: &str| (status, word.to_owned());
    let put = r#"{"app_id": "app"}"#;
    assert_eq!(problem("PUT", "/v1/oas/7", put).await, said(409, "in_config"));
    assert_eq!(problem("DELETE", "/v1/oas/7", "").await, said(409, "in_config"));
    assert_eq!(problem("PUT", "/v1/oas/8", r#"{"app_id": "other"}"#).await, said(409, "no_such_app"));
    assert_eq!(problem("PUT", "/v1/oas/8", r#"{"app": "app"}"#).await, said(400, "bad_request"));
    assert_eq!(problem("PUT", "/v1/oas/a%20b", put).await, said(400, "bad_request"));
    assert_eq!(
        problem("PUT", "/v1/oas/8", r#"{"app_id": "app", "name": " "}"#).await,
        said(400, "bad_request")
    );
    let grant = bench.simulator.grant("app", "8").to_string();
    assert_eq!(problem("PUT", "/v1/oas/8/token-set", &grant).await, said(404, "no_such_oa"));
    assert_eq!(bench.send("PUT", "/v1/oas/8", put).await.status, 200);
    let of_seven = bench.simulator.grant("app", "7").to_string();
    assert_eq!(bench.send("PUT", "/v1/oas/7/token-set", &of_seven).await.status, 200);
    assert_eq!(problem("PUT", "/v1/oas/8/token-set", &of_seven).await, said(409, "of_another_oa"));
    assert_eq!(bench.send("POST", "/v1/oas/7/refresh", "").await.status, 200);
    assert_eq!(problem("PUT", "/v1/oas/7/token-set", &of_seven).await, said(409, "used_before"));
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oa_that_comes_into_the_config_is_the_configs_from_then_on() {
    let (bench, mut daemon) = healthy().await;
    assert_eq!(bench.send("PUT", "/v1/oas/8", r#"{"app_id": "app"}"#).await.status, 200);
    bench.add_oa("8");
    daemon.reload().await;
    assert_eq!(bench.send("DELETE", "/v1/oas/8", "").await.problem(), "in_config");
    bench.remove_oa("8");
    daemon.reload().await;
    assert_eq!(bench.get("/v1/oas/8").await.json()["state"], "unmanaged");
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_over_other_rights_and_refuses_another_socket() {
    let (bench, mut daemon) = healthy().await;
    bench.set_extra(&section("rate = 1"));
    assert_eq!(daemon.reload().await["sections"], "api");
    let answers = all((0..8).map(|_| bench.get("/v1/oas/7"))).await;
    assert!(answers.iter().any(|answer| answer.status == 429), "the rate is in force");
    bench.set_extra("[api]\nsocket = \"other.sock\"\n");
    let problems = daemon.reload_in_vain().await["problems"].to_string();
    assert!(problems.contains("restart the daemon"), "{problems}");
    assert!(daemon.stop().await.success());
    assert!(!bench.api().exists(), "the socket goes with the daemon");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_refresh_that_will_not_come_is_told_so() {
    let (bench, mut daemon) = healthy().await;
    bench.set_refresh(&format!("{QUICK}max_in_flight = 1\n"));
    daemon.reload().await;
    assert!(daemon.stop().await.success());
    let mut daemon = bench.start().await;
    assert_eq!(bench.send("PUT", "/v1/oas/8", r#"{"app_id": "app"}"#).await.status, 200);
    let grant = || bench.simulator.grant("app", "8").to_string();
    assert_eq!(bench.send("PUT", "/v1/oas/8/token-set", &grant()).await.status, 200);
    // As long as this one is under way, no other begins.
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)).for_oa("7"));
    let held = bench.send("POST", "/v1/oas/7/refresh", "");
    let meanwhile = async {
        bench.ledger_until(|ledger| ledger.presentations() == 1).await;
        let asked = async || bench.send("POST", "/v1/oas/8/refresh", "").await;
        let later = async |method: &str, target: &str, body: &str| {
            // It waits in there: nothing that can be seen says so.
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            bench.send(method, target, body).await
        };
        let newer = grant();
        let (answer, _) = tokio::join!(asked(), later("PUT", "/v1/oas/8/token-set", &newer));
        assert_eq!((answer.status, &answer.json()["generation"]), (200, &json!(2)), "another set came");
        let (answer, _) = tokio::join!(asked(), later("DELETE", "/v1/oas/8", ""));
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (503, "not_now"),
            "nobody manages it any more"
        );
        bench.simulator.release();
    };
    let (answer, ()) = tokio::join!(held, meanwhile);
    assert_eq!(answer.status, 200);
    assert_eq!(bench.simulator.ledger().presentations(), 1);
    assert!(daemon.stop().await.success());
}
