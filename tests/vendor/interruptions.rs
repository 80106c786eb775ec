//! Ends at the wrong moment.

use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_answer_and_the_store_the_link_is_simply_fetched_again() {
    let bench = holding("", &[("1", 10, &given(80))]).await;
    for time in 1..=3 {
        let mut daemon = bench.spawn_with_failpoint("vendor.asked", "kill", 1);
        daemon.ended().await;
        assert_eq!(links_asked(&bench, "1"), time);
        let status = bench.status("1").await;
        let url = &status["reauthorization"]["url"];
        assert_eq!((&status["state"], url), (&json!("scheduled"), &json!(null)), "{status}");
    }
    let daemon = bench.start().await;
    assert_is_link(&daemon.wait_for_oa("oa.reauthorization_required", "1").await["url"]);
    assert_asked_well(&bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_store_took_it_the_link_is_out() {
    let bench = holding("", &[("1", 10, &given(80))]).await;
    let mut daemon = bench.spawn_with_failpoint("vendor.stored", "kill", 1);
    daemon.ended().await;
    assert_is_link(&bench.status("1").await["reauthorization"]["url"]);
    let mut daemon = bench.start().await;
    assert!(daemon.stop().await.success());
    assert_eq!(links_asked(&bench, "1"), 1);
    assert_asked_well(&bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_a_vendor_is_asked_costs_no_other_oa_anything() {
    let bench = holding("style = \"etelecom\"", &[("1", 10, &given(80)), ("2", 10, "")]).await;
    let mut daemon = bench.spawn_with_failpoint("vendor.asked", "panic", 1);
    daemon.wait_for("program.panicked").await;
    let unreadable = daemon.wait_for("oa.unreadable").await;
    let other = if unreadable["oa_id"] == "1" { "2" } else { "1" };
    daemon.wait_for_oa("oa.reauthorization_required", other).await;
    assert!(daemon.stop().await.success());
    assert_asked_well(&bench);
}
