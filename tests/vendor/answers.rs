//! What each kind of answer makes of an OA.

use serde_json::json;

use super::vendor::{Reply, Vendor, link, says, willing};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_holds_all_oas_of_the_vendor_back_until_it_is_corrected() {
    let bench = bench().await;
    let refusing = |asked: &vendor::Asked| match asked.has_key() {
        true => says(401, &json!({"code": 401, "message": "no"})),
        false => willing(asked),
    };
    let vendor = Vendor::start(refusing).await;
    bench.set_extra(&sections(&vendor, "", &[("1", &given(80)), ("2", &given(81)), ("3", &given(1))]));
    let daemon = bench.start().await;
    let refused = daemon.wait_for("vendor.refused").await;
    assert_eq!((&refused["vendor"], &refused["vendor_message"]), (&json!("v"), &json!("no")));
    for oa in ["1", "2", "3"] {
        let status = bench.status(oa).await;
        assert_eq!(
            (&status["state"], &status["reason"]),
            (&json!("blocked"), &json!("vendor_refused")),
            "{oa}"
        );
    }
    let before = vendor.asked().len();
    assert!(before <= 4, "each that was under way, and none after that: {before}");
    // A wrong one again: one trial, and no second ERROR.
    daemon.reload().await;
    vendor.wait_until(|asked| asked.len() > before).await;
    bench.write_secret("vendor", "CANARY-another-key");
    daemon.reload().await;
    daemon.wait_for("vendor.released").await;
    for oa in ["1", "2"] {
        assert_eq!(daemon.wait_for_oa("oa.reauthorization_required", oa).await["url"], LINK);
    }
    assert_eq!(daemon.events("vendor.refused").len(), 1, "{}", daemon.log());
    assert_eq!(bench.status("3").await["state"], "scheduled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_until_there_is_a_link() {
    let bench = bench().await;
    let count = std::sync::atomic::AtomicUsize::new(0);
    let replies = move |asked: &vendor::Asked| {
        if !asked.is_for_a_link() {
            return says(404, &json!({}));
        }
        match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => says(500, &json!({"code": 9, "message": "later"})),
            1 => says(502, &json!({})),
            2 => Reply::Says(503, "<html>".to_owned()),
            3 => says(504, &json!({})),
            4 => Reply::Cut,
            5 => Reply::Says(200, "<html>".to_owned()),
            6 => Reply::Says(200, "x".repeat(70_000)),
            7 => Reply::Says(302, String::new()),
            8 => Reply::Says(204, String::new()),
            9 => says(200, &json!({"code": 0, "data": null})),
            10 => says(201, &json!({"code": 0, "data": {}})),
            _ => link(),
        }
    };
    let vendor = Vendor::start(replies).await;
    bench.set_extra(&sections(&vendor, "", &[("1", &given(80))]));
    let daemon = bench.start().await;
    let first = daemon.wait_for("vendor.failed").await;
    assert_eq!((&first["asked"], &first["vendor_message"]), (&json!("refresh-token"), &json!("later")));
    assert!(first["retry_at"].is_string() && first["detail"] == "the vendor answers 500", "{first}");
    daemon.wait_for_oa("oa.reauthorization_required", "1").await;
    let details: Vec<String> = daemon
        .events("vendor.failed")
        .iter()
        .map(|event| event["detail"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(details.len(), 8, "{details:?}");
    assert_eq!(details[6], "the answer is longer than 64 KiB");
    assert_eq!(details[7], "the vendor answers 302");
    assert_eq!(daemon.events("vendor.asked_in_vain").len(), 1, "said once in a row");
    assert_eq!(vendor.links_of("1").len(), 12);
    assert_eq!(bench.status("1").await["consecutive_failures"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_has_to_correct_is_asked_again_after_a_reload_alone() {
    let bench = bench().await;
    for status in [400, 404, 405] {
        let vendor = Vendor::start(move |_| says(status, &json!({"code": 1, "message": "which OA?"}))).await;
        bench.set_extra(&sections(&vendor, "style = \"etelecom\"", &[(&format!("oa-{status}"), "")]));
        let oa = format!("oa-{status}");
        let mut daemon = bench.start().await;
        let told = daemon.wait_for_oa("vendor.misconfigured", &oa).await;
        assert_eq!((&told["level"], &told["vendor_message"]), (&json!("ERROR"), &json!("which OA?")));
        let seen = bench.status(&oa).await;
        assert_eq!(
            (&seen["state"], &seen["reason"]),
            (&json!("reauthorization_required"), &json!("vendor_misconfigured"))
        );
        assert_eq!(vendor.asked().len(), 1);
        vendor.answer(|_| says(200, &json!({"url": LINK})));
        daemon.reload().await;
        daemon.wait_for_oa("oa.reauthorization_required", &oa).await;
        assert_eq!(vendor.asked().len(), 2);
        assert!(daemon.stop().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_answer_changes_nothing_and_shows_nothing() {
    let bench = bench().await;
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
    let own_urls = urls.clone();
    let vendor = Vendor::start(move |asked| {
        let place: usize = asked.oa().parse().expect("a number");
        let data = json!({"url": own_urls[place]});
        says(200, &json!({"code": KEY, "data": data, "message": message, "referentId": "a\nb"}))
    })
    .await;
    let names: Vec<String> = (0..urls.len()).map(|place| place.to_string()).collect();
    let oas: Vec<(&str, &str)> = names.iter().map(|oa| (oa.as_str(), "")).collect();
    bench.set_extra(&sections(&vendor, "style = \"interits\"", &oas));
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
}
