//! From "consent is due" to "consent was given".

use serde_json::json;

use super::vendor::{Reply, Vendor, link, says, stands, willing};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_fetched_when_consent_is_due_exactly_as_the_vendor_wants_to_be_asked() {
    let (bench, vendor) = (bench().await, Vendor::start(willing).await);
    bench.set_extra(&sections(&vendor, "", &[("1", &given(80)), ("2", &given(10))]));
    let mut daemon = bench.start().await;
    let called = daemon.wait_for_oa("oa.reauthorization_required", "1").await;
    assert_eq!(
        (&called["reason"], &called["url"], &called["level"]),
        (&json!("consent_due"), &json!(LINK), &json!("ERROR"))
    );
    let fetched = daemon.wait_for_oa("vendor.link_fetched", "1").await;
    assert_eq!(
        (
            &fetched["vendor"],
            &fetched["url"],
            &fetched["code"],
            &fetched["vendor_message"],
            &fetched["referent_id"]
        ),
        (&json!("v"), &json!(LINK), &json!("0"), &json!("OK"), &json!("r-1"))
    );
    let asked = vendor.links_of("1").remove(0);
    assert_eq!(asked.line, "POST /api/vendor/v1/zalo/refresh-token HTTP/1.1");
    assert_eq!(asked.body, "{\"oa_id\":\"1\"}");
    for (name, value) in [("accept", "*/*"), ("content-type", "application/json"), ("api-key", KEY)] {
        assert_eq!(asked.headers.get(name).map(String::as_str), Some(value));
    }
    let status = bench.status("1").await;
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("reauthorization_required"), &json!("consent_due"))
    );
    assert_eq!((&status["app_id"], &status["vendor"]), (&json!(null), &json!("v")));
    assert_eq!(status["reauthorization"]["url"], LINK);
    assert_eq!(status["reauthorization"]["deadline"], status["refresh_token_expires_at"]);
    let table = harness::text(&bench.run(&["status"]).await.stdout);
    assert!(table.contains(&format!("OA 1: consent is granted at {LINK}\n")), "{table}");
    let other = bench.status("2").await;
    assert_eq!((&other["state"], &other["reauthorization"]), (&json!("scheduled"), &json!(null)));
    assert!(vendor.links_of("2").is_empty(), "it is not due");
    assert!(daemon.stop().await.success());
    assert_eq!(vendor.links_of("1").len(), 1, "asked once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_styles_are_asked_in_their_way() {
    for (style, line) in [
        ("etelecom", "POST /x.Zalo/RefreshToken HTTP/1.1"),
        ("sencloud", "POST /x/v1/shop.Zalo/RefreshToken HTTP/1.1"),
    ] {
        let (bench, vendor) = (bench().await, Vendor::start(|_| says(200, &json!({"url": LINK}))).await);
        let sections = sections(&vendor, &format!("style = \"{style}\""), &[("1", "")]);
        bench.set_extra(
            &sections.replace(&format!("{}\"", vendor.address), &format!("{}/x\"", vendor.address)),
        );
        let daemon = bench.start().await;
        assert_eq!(daemon.wait_for_oa("oa.reauthorization_required", "1").await["url"], LINK);
        let asked = vendor.asked().remove(0);
        assert_eq!(
            (asked.line.as_str(), asked.headers["authorization"].clone()),
            (line, format!("Bearer {KEY}"))
        );
        assert!(!asked.headers.contains_key("api-key"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_of_seconds_is_kept_over_consents_that_a_person_tells_of() {
    let (bench, vendor) = (bench().await, Vendor::start(|_| says(200, &json!({"url": LINK}))).await);
    let clock = "style = \"sencloud\"\nlifetime = \"2s\"\nrenew_before = \"1s\"";
    let authorized_at = format!("authorized_at = \"{}\"", now());
    bench.set_extra(&sections(&vendor, clock, &[("1", &authorized_at)]));
    let daemon = bench.start().await;
    for time in 1..=2 {
        daemon.wait_for_nth("oa.reauthorization_required", time).await;
        let output = bench.run(&["authorized", "1"]).await;
        assert!(output.status.success(), "{}", harness::text(&output.stderr));
        let told = daemon.wait_for_nth("oa.authorized", time).await;
        assert_eq!((&told["by"], told["ends_at"].is_string()), (&json!("person"), true));
        let granted = bench.status("1").await;
        assert!(granted["granted_at"].is_string(), "{granted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_is_noticed_by_asking_how_the_oa_stands_and_the_clock_restarts_by_the_vendors_end() {
    let bench = bench().await;
    let old = now().plus(5 * DAY).to_string();
    let told = old.clone();
    let vendor =
        Vendor::start(move |asked| if asked.is_for_a_link() { link() } else { stands("P", &told) }).await;
    bench.set_extra(&sections(&vendor, "", &[("1", "")]));
    let daemon = bench.start().await;
    assert_eq!(daemon.wait_for_oa("oa.reauthorization_required", "1").await["reason"], "consent_due");
    let first = vendor.asked().remove(0);
    assert_eq!(first.line, "POST /api/vendor/v1/zalo/get-shop-oa HTTP/1.1", "he may know better");
    assert!(first.has_key() && first.body == "{\"oa_id\":\"1\"}");
    assert_eq!(
        bench.status("1").await["refresh_token_expires_at"].as_str().map(|at| &at[..19]),
        Some(&old[..19])
    );
    let before = vendor.asked().len();
    vendor.wait_until(|asked| asked.len() > before).await;
    assert!(daemon.events("oa.authorized").is_empty(), "the same end is no consent");
    let new = now().plus(89 * DAY).to_string();
    let told = new.clone();
    vendor.answer(move |_| stands("P", &told));
    let authorized = daemon.wait_for_oa("oa.authorized", "1").await;
    assert_eq!((&authorized["by"], &authorized["ends_at"]), (&json!("vendor"), &json!(new)));
    let status = bench.status("1").await;
    assert_eq!((&status["state"], &status["refresh_token_expires_at"]), (&json!("scheduled"), &json!(new)));
    assert_eq!(status["reauthorization"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oa_that_the_vendor_calls_disconnected_needs_a_person_now() {
    let bench = bench().await;
    let vendor = Vendor::start(|asked| if asked.is_for_a_link() { link() } else { stands("N", "") }).await;
    bench.set_extra(&sections(&vendor, "", &[("1", &given(1))]));
    let daemon = bench.start().await;
    let called = daemon.wait_for_oa("oa.reauthorization_required", "1").await;
    assert_eq!((&called["reason"], &called["url"]), (&json!("disconnected"), &json!(LINK)));
    assert_eq!(bench.status("1").await["reason"], "disconnected");
    vendor.answer(|_| stands("P", &now().plus(90 * DAY).to_string()));
    daemon.wait_for_oa("oa.authorized", "1").await;
    assert_eq!(bench.status("1").await["state"], "scheduled");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reminder_is_said_once_over_restarts() {
    let (bench, vendor) = (bench().await, Vendor::start(willing).await);
    let one = sections(&vendor, "", &[("1", &given(85))]);
    with_audit(&bench, &one, "\"30d\", \"7d\"");
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("vendor.link_fetched", "1").await;
    let reminded = daemon.wait_for_oa("refresh_token.expiring", "1").await;
    assert_eq!((&reminded["step"], &reminded["level"]), (&json!("7d 0h"), &json!("ERROR")));
    assert!(daemon.stop().await.success());
    // What has to come after it shows that it does not come again.
    let two = sections(&vendor, "", &[("1", &given(85)), ("2", &given(70))]);
    with_audit(&bench, &two, "\"30d\", \"7d\"");
    let daemon = bench.start().await;
    let other = daemon.wait_for_oa("refresh_token.expiring", "2").await;
    assert_eq!((&other["step"], &other["level"]), (&json!("30d 0h"), &json!("WARN")));
    assert!(about(&daemon, "refresh_token.expiring", "1").is_empty(), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_answer_holds_up_neither_a_refresh_nor_a_stop() {
    let (bench, vendor) = (bench().await, Vendor::start(|_| Reply::Stall).await);
    let oas: Vec<String> = (0..20).map(|number| format!("held-{number}")).collect();
    let oas: Vec<(&str, &str)> = oas.iter().map(|oa| (oa.as_str(), "")).collect();
    bench.set_extra(&sections(&vendor, "", &oas));
    bench.add_due_oa("own").await;
    let mut daemon = bench.start().await;
    vendor.wait_until(|asked| asked.len() >= 4).await;
    daemon.wait_for_oa("refresh.succeeded", "own").await;
    assert!(daemon.stop().await.success());
    assert_eq!(vendor.most_at_once(), 4, "a few at once");
}
