//! From "consent is due" to "consent was given".

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_fetched_when_consent_is_due() {
    let bench = holding("", &[("1", 10, &given(80)), ("2", 80, &given(10))]).await;
    let mut daemon = bench.start().await;
    let fetched = daemon.wait_for_oa("vendor.link_fetched", "1").await;
    assert_is_link(&fetched["url"]);
    assert_eq!(
        (
            &fetched["vendor"],
            &fetched["code"],
            &fetched["vendor_message"],
            fetched["referent_id"].is_string()
        ),
        (&json!("v"), &json!("200"), &json!("OK"), true)
    );
    let link = &fetched["url"];
    let called = daemon.wait_for_oa("oa.reauthorization_required", "1").await;
    assert_eq!(
        (&called["reason"], &called["url"], &called["level"]),
        (&json!("consent_due"), link, &json!("ERROR"))
    );
    let status = bench.status("1").await;
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("reauthorization_required"), &json!("consent_due"))
    );
    assert_eq!((&status["app_id"], &status["vendor"]), (&json!(null), &json!("v")));
    assert_eq!(&status["reauthorization"]["url"], link);
    assert_eq!(status["reauthorization"]["deadline"], status["refresh_token_expires_at"]);
    let table = harness::text(&bench.run(&["status"]).await.stdout);
    let line = format!("OA 1: consent is granted at {}\n", link.as_str().expect("text"));
    assert!(table.contains(&line), "{table}");
    let other = bench.status("2").await;
    assert_eq!((&other["state"], &other["reauthorization"]), (&json!("scheduled"), &json!(null)));
    assert!(daemon.stop().await.success());
    assert_eq!((links_asked(&bench, "1"), links_asked(&bench, "2")), (1, 0), "once, and only what is due");
    assert_asked_well(&bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_styles_give_a_link_that_stands_alone() {
    for style in ["etelecom", "sencloud"] {
        let bench = bench().await;
        let (url, more) = (bench.simulator.vendor_url(), format!("style = \"{style}\""));
        let sections = sections(&bench, &more, &[("1", 10, "")]);
        bench.set_extra(&sections.replace(&format!("{url}\""), &format!("{url}/x\"")));
        let daemon = bench.start().await;
        assert_is_link(&daemon.wait_for_oa("oa.reauthorization_required", "1").await["url"]);
        assert_eq!(bench.simulator.ledger().vendor_requests(), 1);
        assert_asked_well(&bench);
    }
}

/// Word by word, which the simulator does not tell: it takes more than one path, and writes no key down.
#[tokio::test(flavor = "multi_thread")]
async fn each_style_is_asked_exactly_as_its_documents_have_it() {
    let bearer = format!("authorization: Bearer {KEY}");
    for (style, path, key) in [
        ("interits", "/x/api/vendor/v1/zalo/refresh-token", format!("api-key: {KEY}")),
        ("etelecom", "/x.Zalo/RefreshToken", bearer.clone()),
        ("sencloud", "/x/v1/shop.Zalo/RefreshToken", bearer),
    ] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let bench = bench().await;
        let sections = sections(&bench, &format!("style = \"{style}\""), &[("1", 10, "")]);
        let url = bench.simulator.vendor_url();
        bench.set_extra(&sections.replace(&url, &format!("http://{address}/x")));
        let _daemon = bench.start().await;
        let heard = loop {
            let heard = first_request(&listener).await;
            if !heard.starts_with("POST /x/api/vendor/v1/zalo/get-shop-oa ") {
                break heard;
            }
        };
        assert!(heard.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{heard}");
        assert!(heard.ends_with("\r\n\r\n{\"oa_id\":\"1\"}"), "{heard}");
        for line in [key.as_str(), "accept: */*", "content-type: application/json", "content-length: 13"] {
            let is_line = |said: &str| said.eq_ignore_ascii_case(line);
            assert_eq!(heard.split("\r\n").filter(|said| is_line(said)).count(), 1, "{line}: {heard}");
        }
    }
}

/// What whoever comes first says; he gets no answer.
async fn first_request(listener: &TcpListener) -> String {
    let hearing = tokio::time::timeout(harness::DEADLINE, async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut heard = String::new();
        while !heard.ends_with('}') {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).await.expect("read");
            assert!(count > 0, "it ends early: {heard}");
            heard.push_str(&harness::text(&bytes[..count]));
        }
        heard
    });
    hearing.await.expect("the vendor is asked")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_of_seconds_is_kept_over_consents_that_a_person_tells_of() {
    let bench = bench().await;
    let clock = "style = \"sencloud\"\nlifetime = \"2s\"\nrenew_before = \"1s\"";
    let authorized_at = format!("authorized_at = \"{}\"", now());
    hold(&bench, clock, &[("1", 10, &authorized_at)]);
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
    let bench = holding("", &[("1", 5, "")]).await;
    let daemon = bench.start().await;
    assert_eq!(daemon.wait_for_oa("oa.reauthorization_required", "1").await["reason"], "consent_due");
    let ledger = bench.simulator.ledger();
    let first = ledger.entries_of("1").find(|entry| matches!(entry.kind, Kind::VendorAsked { .. }));
    let known_better = Kind::VendorAsked { what: VendorQuestion::ShopOa, status: Some(200) };
    assert_eq!(first.map(|entry| &entry.kind), Some(&known_better), "he may know better");
    let end_of = |status: &Value| {
        Time::parse(status["refresh_token_expires_at"].as_str().expect("text")).expect("a time")
    };
    assert!(end_of(&bench.status("1").await) < now().plus(5 * DAY), "as the vendor told it");
    let before = asked(&ledger, VendorQuestion::ShopOa, "1");
    bench.ledger_until(|ledger| asked(ledger, VendorQuestion::ShopOa, "1") > before).await;
    assert!(daemon.events("oa.authorized").is_empty(), "the same end is no consent");
    assert!(bench.simulator.vendor_consent("1"));
    let authorized = daemon.wait_for_oa("oa.authorized", "1").await;
    let status = bench.status("1").await;
    assert_eq!(
        (&authorized["by"], &authorized["ends_at"]),
        (&json!("vendor"), &status["refresh_token_expires_at"])
    );
    assert!(end_of(&status) > now().plus(89 * DAY), "{status}");
    assert_eq!((&status["state"], &status["reauthorization"]), (&json!("scheduled"), &json!(null)));
    assert_asked_well(&bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oa_that_the_vendor_calls_disconnected_needs_a_person_now() {
    let bench = holding("", &[("1", 89, &given(1))]).await;
    assert!(bench.simulator.vendor_disconnect("1"));
    let daemon = bench.start().await;
    let called = daemon.wait_for_oa("oa.reauthorization_required", "1").await;
    assert_eq!(called["reason"], "disconnected");
    assert_is_link(&called["url"]);
    assert_eq!(bench.status("1").await["reason"], "disconnected");
    assert!(bench.simulator.vendor_consent("1"));
    daemon.wait_for_oa("oa.authorized", "1").await;
    assert_eq!(bench.status("1").await["state"], "scheduled");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reminder_is_said_once_over_restarts() {
    let bench = bench().await;
    let one = sections(&bench, "", &[("1", 5, &given(85))]);
    with_audit(&bench, &one, "\"30d\", \"7d\"");
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("vendor.link_fetched", "1").await;
    let reminded = daemon.wait_for_oa("refresh_token.expiring", "1").await;
    assert_eq!((&reminded["step"], &reminded["level"]), (&json!("7d 0h"), &json!("ERROR")));
    assert!(daemon.stop().await.success());
    // What has to come after it shows that it does not come again.
    let two = sections(&bench, "", &[("1", 5, &given(85)), ("2", 20, &given(70))]);
    with_audit(&bench, &two, "\"30d\", \"7d\"");
    let daemon = bench.start().await;
    let other = daemon.wait_for_oa("refresh_token.expiring", "2").await;
    assert_eq!((&other["step"], &other["level"]), (&json!("30d 0h"), &json!("WARN")));
    assert!(about(&daemon, "refresh_token.expiring", "1").is_empty(), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_answer_holds_up_neither_a_refresh_nor_a_stop() {
    let oas: Vec<String> = (0..20).map(|number| format!("held-{number}")).collect();
    let oas: Vec<(&str, u32, &str)> = oas.iter().map(|oa| (oa.as_str(), 10, "")).collect();
    let bench = holding("", &oas).await;
    bench.simulator.vendor_fault(VendorRule::forever(VendorFault::Stall));
    bench.add_due_oa("own").await;
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.vendor_requests() >= 4).await;
    daemon.wait_for_oa("refresh.succeeded", "own").await;
    assert!(daemon.stop().await.success());
    // On a slow machine some were given up by then, of which each first one is told.
    let given_up = daemon.events("vendor.failed").len();
    let asked = bench.simulator.ledger().vendor_requests();
    assert!((4..=4 + given_up).contains(&asked), "a few at once: {asked} asked, {given_up} given up");
    assert_asked_well(&bench);
}
