//! What other answers than those of the vendor's table make of an OA, and what no answer at all does.

use serde_json::json;
use zalo_tokend::simulator::{Body, VendorData};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_holds_all_oas_of_the_vendor_back_until_it_is_corrected() {
    let bench = holding("", &[("1", 10, &given(80)), ("2", 9, &given(81)), ("3", 89, &given(1))]).await;
    bench.write_secret("vendor", "CANARY-a-key-of-somebody-else");
    let daemon = bench.start().await;
    let refused = daemon.wait_for("vendor.refused").await;
    assert_eq!((&refused["vendor"], &refused["vendor_message"]), (&json!("v"), &json!("Unauthorized")));
    for oa in ["1", "2", "3"] {
        let status = bench.status(oa).await;
        assert_eq!(
            (&status["state"], &status["reason"]),
            (&json!("blocked"), &json!("vendor_refused")),
            "{oa}"
        );
    }
    let before = bench.simulator.ledger().vendor_requests();
    assert!(before <= 4, "each that was under way, and none after that: {before}");
    // A wrong one again: one trial, and no second ERROR.
    daemon.reload().await;
    bench.ledger_until(|ledger| ledger.vendor_requests() > before).await;
    bench.write_secret("vendor", KEY);
    daemon.reload().await;
    daemon.wait_for("vendor.released").await;
    for oa in ["1", "2"] {
        assert_is_link(&daemon.wait_for_oa("oa.reauthorization_required", oa).await["url"]);
    }
    assert_eq!(daemon.events("vendor.refused").len(), 1, "{}", daemon.log());
    assert_eq!(bench.status("3").await["state"], "scheduled");
    assert_asked_well(&bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_until_there_is_a_link() {
    let raw = |status, body: &str| VendorFault::Raw { status, body: Body::from(body) };
    let redirect = VendorAnswer {
        status: 302,
        headers: vec![("Location".to_owned(), "/redirect-target".to_owned())],
        ..VendorAnswer::default()
    };
    let data = VendorData::Json(json!({}));
    let failing = [
        (saying(500, "later"), "the vendor answers 500"),
        (raw(503, "<html>"), "the vendor answers 503"),
        (VendorFault::Close, "connection"),
        (VendorFault::Reset, "connection"),
        (raw(200, "<html>"), "the answer is no JSON"),
        (VendorFault::garbage(), "the answer is no JSON"),
        (VendorFault::Huge { bytes: 70_000 }, "the answer is longer than 64 KiB"),
        (VendorFault::Huge { bytes: 20_000_000 }, "the answer is longer than 64 KiB"),
        (VendorFault::Answer(redirect), "the vendor answers 302"),
    ];
    let vain = [
        VendorFault::status(204),
        raw(200, ""),
        VendorFault::status(200),
        VendorFault::Answer(VendorAnswer { status: 201, data, ..VendorAnswer::default() }),
    ];
    let bench = holding("", &[("1", 10, &given(80))]).await;
    let details = failing.each_ref().map(|(_, detail)| *detail);
    link_faults(&bench, failing.into_iter().map(|(fault, _)| fault).chain(vain));
    let daemon = bench.start().await;
    let first = daemon.wait_for("vendor.failed").await;
    assert_eq!((&first["asked"], &first["vendor_message"]), (&json!("refresh-token"), &json!("later")));
    assert!(first["retry_at"].is_string(), "{first}");
    daemon.wait_for_oa("oa.reauthorization_required", "1").await;
    let failed = daemon.events("vendor.failed");
    assert_eq!(failed.len(), details.len(), "{failed:?}");
    for (event, detail) in failed.iter().zip(details) {
        assert!(event["detail"].as_str().is_some_and(|said| said.contains(detail)), "{detail}: {event}");
    }
    assert_eq!(daemon.events("vendor.asked_in_vain").len(), 1, "said once in a row");
    assert_eq!(links_asked(&bench, "1"), 14);
    assert_eq!(bench.status("1").await["consecutive_failures"], 0);
    assert_asked_well(&bench);
}

/// It takes as long as the daemon waits: `timeout`.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_answers_is_asked_again() {
    let bench = holding("style = \"etelecom\"", &[("1", 10, "")]).await;
    link_faults(&bench, [VendorFault::Stall]);
    let daemon = bench.start().await;
    let failed = daemon.wait_for("vendor.failed").await;
    assert!(failed["retry_at"].is_string() && failed["level"] == "WARN", "{failed}");
    assert_is_link(&daemon.wait_for("oa.reauthorization_required").await["url"]);
    assert_eq!(links_asked(&bench, "1"), 2);
    assert_asked_well(&bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_an_oa_stands_is_asked_again_where_the_answer_is_none() {
    let bench = holding("", &[("1", 10, "")]).await;
    let once = |fault| VendorRule::once(fault).when_asked(VendorQuestion::ShopOa);
    bench.simulator.vendor_fault(once(VendorFault::garbage()));
    let daemon = bench.start().await;
    let failed = daemon.wait_for("vendor.failed").await;
    assert_eq!(
        (&failed["asked"], &failed["detail"], &failed["retry_at"]),
        (&json!("get-shop-oa"), &json!("the answer is no JSON"), &json!(null))
    );
    // It holds up no link, and while that is out it is looked again soon.
    assert_is_link(&daemon.wait_for("oa.reauthorization_required").await["url"]);
    bench.ledger_until(|ledger| asked(ledger, VendorQuestion::ShopOa, "1") >= 2).await;
    assert!(bench.simulator.vendor_consent("1"));
    daemon.wait_for_oa("oa.authorized", "1").await;
    assert_asked_well(&bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_answer_changes_nothing_and_shows_nothing() {
    let urls = [
        "javascript:alert(1)",
        "http://oauth.zaloapp.com/x",
        "https://evil.example/x",
        "https://oauth.zaloapp.com@evil.example/x",
        "https://user:pw@oauth.zaloapp.com/x",
        "https://oauth.zaloapp.com/\r\nSet-Cookie: a=b",
        "https://oauth.zaloapp.com/\"><script>alert(1)</script>",
        "https://oauth.zaloapp.com/?key=CANARY-key-of-the-vendor",
        "https://oauth.zaloapp.com\\@evil.example/",
    ];
    let long = format!("https://oauth.zaloapp.com/{}", "x".repeat(60_000));
    let urls: Vec<String> = urls.into_iter().map(str::to_owned).chain([long]).collect();
    let message =
        format!("\r\n{{\"event\":\"forged\"}} \" ' \u{1b}[31m \u{202e} {KEY} {}", "y".repeat(1_000));
    let names: Vec<String> = (0..urls.len()).map(|place| place.to_string()).collect();
    let oas: Vec<(&str, u32, &str)> = names.iter().map(|oa| (oa.as_str(), 10, "")).collect();
    let bench = holding("style = \"interits\"", &oas).await;
    for (oa, url) in names.iter().zip(urls) {
        let hostile = VendorAnswer {
            data: VendorData::Link(url),
            code: Some(json!(KEY)),
            message: Some(message.clone()),
            referent_id: Some("a\nb".to_owned()),
            ..VendorAnswer::default()
        };
        bench.simulator.vendor_fault(VendorRule::forever(VendorFault::Answer(hostile)).for_oa(oa));
    }
    let daemon = bench.start().await;
    for oa in &names {
        let told = daemon.wait_for_oa("vendor.misconfigured", oa).await;
        let said = told["vendor_message"].as_str().expect("text");
        assert!(said.chars().count() <= 200 && said.contains("[key]"), "{told}");
        assert!(!said.chars().any(|c| c.is_control() || c == '\u{202e}'), "{told}");
        assert_eq!((&told["code"], &told["referent_id"]), (&json!("[key]"), &json!("ab")));
        let status = bench.status(oa).await;
        assert_eq!(status["reauthorization"]["url"], json!(null), "{status}");
        assert_eq!(status["reason"], "vendor_misconfigured");
    }
    assert!(daemon.events("forged").is_empty() && daemon.events("vendor.link_fetched").is_empty());
    let log = daemon.log();
    assert!(!log.contains("<script") && !log.contains("javascript:") && !log.contains("pw@"), "{log}");
    let shown = harness::text(&bench.run(&["status"]).await.stdout);
    assert!(!shown.contains("<script") && !shown.contains("javascript:"), "{shown}");
    assert_asked_well(&bench);
}
