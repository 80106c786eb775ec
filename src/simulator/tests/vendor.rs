//! The vendor that holds OAs for others, as a customer's program and a person's browser meet it.

use serde_json::json;

use super::*;

const KEY: &str = "CANARY-vendor-key";
const LINK_PATH: &str = "/api/vendor/v1/zalo/refresh-token";
const SHOP_PATH: &str = "/api/vendor/v1/zalo/get-shop-oa";
/// 2100-01-01T00:00:00Z
const FAR: i64 = 4_102_444_800_000;

async fn vendor() -> Play {
    let play = Play::new().await;
    play.simulator.add_vendor_key(KEY);
    play.simulator.vendor_oa("88", "Shop \"B\"", FAR);
    play
}

fn asking(path: &str, oa: &str) -> String {
    with_headers(path, &format!("accept: */*\r\nAPI-KEY: {KEY}\r\n"), &json!({ "oa_id": oa }).to_string())
}

fn bearing(path: &str, oa: &str) -> String {
    let headers = format!("Authorization: Bearer {KEY}\r\n");
    with_headers(path, &headers, &json!({ "oa_id": oa }).to_string())
}

fn with_headers(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: v\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

impl Play {
    async fn put(&self, url: &str, bytes: &str) -> Got {
        let address = url.replace("http://", "");
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        send(&mut stream, bytes.as_bytes()).await;
        read_answer(&mut stream).await
    }

    async fn vendor(&self, bytes: &str) -> Got {
        self.put(&self.simulator.vendor_url(), bytes).await
    }

    async fn link(&self) -> Got {
        self.vendor(&asking(LINK_PATH, "88")).await
    }

    async fn shop(&self) -> Value {
        self.vendor(&asking(SHOP_PATH, "88")).await.json()["data"].clone()
    }

    fn statuses(&self) -> Vec<Option<u16>> {
        let ledger = self.simulator.ledger();
        ledger.entries().iter().filter_map(status).collect()
    }
}

fn status(entry: &Entry) -> Option<Option<u16>> {
    if let Kind::VendorAsked { status, .. } = entry.kind { Some(status) } else { None }
}

#[tokio::test]
async fn a_customer_gets_a_link_at_both_doors_in_the_form_of_the_vendors_document() {
    let play = vendor().await;
    let mut links = Vec::new();
    for door in [play.simulator.vendor_url(), format!("http://{}", play.simulator.addr())] {
        let got = play.put(&door, &asking(LINK_PATH, "88")).await;
        assert_eq!(got.status, Some(200));
        let answer = got.json();
        assert_eq!((&answer["code"], &answer["message"]), (&json!(200), &json!("OK")));
        assert!(answer["referentId"].is_string());
        let link = text(&answer["data"], "url");
        assert!(link.starts_with("https://oauth.zaloapp.com/v4/oa/permission?app_id="), "{link}");
        links.push(link);
    }
    assert_ne!(links[0], links[1], "each link is new");
    let ledger = play.simulator.ledger();
    assert!(ledger.is_clean(), "{}", ledger.summary());
    assert_eq!((ledger.vendor_requests(), ledger.vendor_requests_of("88")), (2, 2));
    assert_eq!(ledger.vendor_requests_of("89"), 0);
    let asked = Kind::VendorAsked { what: VendorQuestion::ConsentLink, status: Some(200) };
    assert_eq!(ledger.entries_of("88").map(|entry| &entry.kind).collect::<Vec<_>>(), [&asked, &asked]);
    assert!(!format!("{ledger:?}{}", serde_json::to_string(&ledger).expect("JSON")).contains(KEY));
}

#[tokio::test]
async fn the_other_style_has_any_path_a_bearer_and_a_bare_url() {
    let play = vendor().await;
    for path in ["/v1/shop.Zalo/RefreshToken", "/api/etop.Zalo/RefreshToken"] {
        let got = play.vendor(&bearing(path, "88")).await;
        let answer = got.json();
        assert_eq!((got.status, answer.as_object().expect("fields").len()), (Some(200), 1));
        assert!(text(&answer, "url").starts_with("https://"));
    }
    let unknown = play.vendor(&bearing("/v1/shop.Zalo/RefreshToken", "89")).await;
    assert_eq!((unknown.status, unknown.json().get("url")), (Some(404), None));
    let stranger = bearing("/v1/shop.Zalo/RefreshToken", "88").replace(KEY, "CANARY-other-key1");
    assert_eq!(play.vendor(&stranger).await.status, Some(401));
    assert!(play.simulator.ledger().is_clean());
}

#[tokio::test]
async fn a_stranger_is_refused_and_an_unknown_oa_is_not_found() {
    let play = vendor().await;
    let stranger = asking(LINK_PATH, "88").replace(KEY, "CANARY-other-key1");
    assert_eq!(play.vendor(&stranger).await.status, Some(401));
    let unknown = play.vendor(&asking(SHOP_PATH, "89")).await;
    assert_eq!((unknown.status, &unknown.json()["data"]), (Some(404), &Value::Null));
    let ledger = play.simulator.ledger();
    assert!(ledger.is_clean(), "a wrong key is no breach of form: {}", ledger.summary());
    assert_eq!((play.statuses(), ledger.vendor_requests_of("89")), (vec![Some(401), Some(404)], 1));
}

#[tokio::test]
async fn every_breach_of_form_to_a_vendor_is_a_violation() {
    let play = vendor().await;
    let good = asking(LINK_PATH, "88");
    let bearer = bearing("/v1/shop.Zalo/RefreshToken", "88");
    let body = |body: &str| with_headers(LINK_PATH, &format!("accept: */*\r\nAPI-KEY: {KEY}\r\n"), body);
    for (bytes, status, wanted) in [
        (good.replace("POST", "PUT"), 405, "not POST"),
        (good.replace("refresh-token", "refresh-token?k=1"), 200, "query"),
        (good.replace("API-KEY", "X-KEY"), 401, "api-key is missing"),
        (
            good.replace("API-KEY: ", "Authorization: Bearer x\r\nAPI-KEY: "),
            200,
            "authorization has no business",
        ),
        (good.replace("API-KEY: ", "secret_key: x\r\nAPI-KEY: "), 200, "secret_key has no business"),
        (good.replace("application/json", "text/plain"), 200, "Content-Type"),
        (good.replace("accept: */*\r\n", ""), 200, "accept"),
        (body("{}"), 400, "the body"),
        (body(r#"{"oa_id":"88","app_id":"1"}"#), 400, "the body"),
        (body(r#"{"oa_id":88}"#), 400, "the body"),
        (body(""), 400, "the body"),
        (bearer.replace("Bearer ", "Basic "), 401, "kind Bearer"),
        (bearer.replace("Authorization", "API-KEY"), 401, "authorization is missing"),
    ] {
        let before = play.simulator.ledger().violations().len();
        let got = play.vendor(&bytes).await;
        assert_eq!(got.status, Some(status), "{bytes}");
        play.assert_said_since(before, Some(wanted));
    }
}

#[tokio::test]
async fn each_status_of_the_vendors_table_can_be_had_with_and_without_a_link() {
    let play = vendor().await;
    for status in [200, 201, 204, 400, 401, 403, 404, 405, 500, 502, 503, 504] {
        play.simulator.vendor_fault(VendorRule::once(VendorFault::status(status)));
        let bare = play.link().await;
        let data = VendorData::Usual;
        let with_link = VendorAnswer { status, data, ..VendorAnswer::default() };
        play.simulator.vendor_fault(VendorRule::once(VendorFault::Answer(with_link)));
        let linked = play.link().await;
        assert_eq!((bare.status, linked.status), (Some(status), Some(status)));
        if status == 204 {
            assert!(bare.body.is_empty() && linked.body.is_empty(), "no content");
            continue;
        }
        assert_eq!((&bare.json()["code"], &bare.json()["data"]), (&json!(status), &Value::Null));
        assert!(linked.json()["data"]["url"].is_string());
        let entry = play.simulator.ledger().entries().last().cloned().expect("entries");
        assert_eq!(entry.fault.as_deref(), Some(format!("answered {status}").as_str()));
    }
    assert_eq!(play.link().await.status, Some(200), "the faults are used up");
    assert!(play.simulator.ledger().is_clean(), "none of it is the client's fault");
}

#[tokio::test]
async fn an_answer_may_say_whatever_it_likes() {
    let play = vendor().await;
    let evil = "javascript:alert(1)\r\nX: \"><script>";
    let answer = VendorAnswer {
        headers: vec![("Retry-After".to_owned(), "7".to_owned())],
        data: VendorData::Link(evil.to_owned()),
        code: Some(json!("0")),
        message: Some(evil.to_owned()),
        referent_id: Some(String::new()),
        ..VendorAnswer::default()
    };
    play.simulator.vendor_fault(VendorRule::once(VendorFault::Answer(answer.clone())));
    let got = play.link().await;
    assert!(got.head.contains("Retry-After: 7\r\n"));
    let wanted = json!({ "code": "0", "data": { "url": evil }, "message": evil, "referentId": "" });
    assert_eq!(got.json(), wanted);
    play.simulator.vendor_fault(VendorRule::once(VendorFault::Answer(answer)));
    let bare = play.vendor(&bearing("/v1/shop.Zalo/RefreshToken", "88")).await;
    assert_eq!(text(&bare.json(), "url"), evil);
    play.simulator.vendor_fault(VendorRule::once(VendorFault::link("http://a/")));
    assert_eq!(play.link().await.json()["data"]["url"], "http://a/");
    let data = VendorData::Json(json!({ "status": "P", "expires_at": 1_900_000_000 }));
    let odd = VendorFault::Answer(VendorAnswer { data, ..VendorAnswer::default() });
    play.simulator.vendor_fault(VendorRule::once(odd));
    assert_eq!(play.shop().await["expires_at"], 1_900_000_000);
}

#[tokio::test]
async fn an_answer_may_not_come_at_all_or_be_none() {
    let play = vendor().await;
    let fault = |fault| play.simulator.vendor_fault(VendorRule::once(fault));
    fault(VendorFault::Reset);
    assert_eq!(play.link().await.end, End::Rst);
    fault(VendorFault::Close);
    assert_eq!(play.link().await.end, End::Fin);
    fault(VendorFault::garbage());
    let garbage = play.link().await;
    assert!(garbage.status == Some(200) && serde_json::from_slice::<Value>(&garbage.body).is_err());
    fault(VendorFault::Raw { status: 502, body: Body::from("<html>") });
    assert_eq!(play.link().await.body, b"<html>");
    fault(VendorFault::Huge { bytes: 1_000_000 });
    let huge = play.link().await;
    assert!(huge.body.len() > 1_000_000 && huge.json()["data"]["url"].is_string());

    fault(VendorFault::Stall);
    let address = play.simulator.vendor_url().replace("http://", "");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    send(&mut stream, asking(LINK_PATH, "88").as_bytes()).await;
    play.until(|ledger| ledger.vendor_requests() == 6).await;
    let said = tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await;
    assert!(said.is_err(), "nothing came, and the connection stands");
    assert_eq!(play.statuses(), [None, None, Some(200), Some(502), Some(200), None]);
}

#[tokio::test]
async fn a_fault_can_be_for_one_oa_and_for_one_question() {
    let play = vendor().await;
    play.simulator.vendor_oa("99", "Shop C", FAR);
    let rule = VendorRule::times(2, VendorFault::status(503)).for_oa("88");
    play.simulator.vendor_fault(rule.when_asked(VendorQuestion::ConsentLink));
    assert_eq!(play.vendor(&asking(LINK_PATH, "99")).await.status, Some(200));
    assert_eq!(play.shop().await["oa_id"], "88");
    assert_eq!((play.link().await.status, play.link().await.status), (Some(503), Some(503)));
    assert_eq!(play.link().await.status, Some(200));
    play.simulator.vendor_fault(VendorRule::forever(VendorFault::status(401)));
    assert_eq!((play.link().await.status, play.link().await.status), (Some(401), Some(401)));
    play.simulator.clear_vendor_faults();
    assert_eq!(play.link().await.status, Some(200));
}

#[test]
fn a_fault_with_no_status_that_ends_a_request_is_refused() {
    let rule = |status| VendorRule::once(VendorFault::status(status));
    assert!(rule(100).objection().is_some_and(|why| why.contains("100 is no HTTP status")));
    assert!(rule(599).objection().is_none());
}

#[test]
fn every_fault_of_the_vendor_reads_back_as_it_was_written() {
    let answers = [
        VendorData::Usual,
        VendorData::Missing,
        VendorData::Link("x".to_owned()),
        VendorData::Json(json!({ "a": [1] })),
    ];
    let odd =
        |data| VendorAnswer { data, headers: vec![("A".into(), "b".into())], ..VendorAnswer::default() };
    let faults = answers.map(|data| VendorFault::Answer(odd(data))).into_iter().chain([
        VendorFault::Stall,
        VendorFault::Close,
        VendorFault::Reset,
        VendorFault::garbage(),
        VendorFault::Huge { bytes: 9 },
    ]);
    for fault in faults {
        let rule = VendorRule::once(fault.clone()).for_oa("1").when_asked(VendorQuestion::ShopOa);
        for rule in [rule, VendorRule::forever(fault)] {
            let written = serde_json::to_string(&rule).expect("JSON");
            assert_eq!(serde_json::from_str::<VendorRule>(&written).expect("a rule"), rule, "{written}");
        }
    }
}

#[tokio::test]
async fn an_oa_is_connected_until_its_end_and_again_by_consent() {
    let play = vendor().await;
    let shop = play.shop().await;
    assert_eq!((&shop["oa_id"], &shop["name"]), (&json!("88"), &json!("Shop \"B\"")));
    assert_eq!((&shop["status"], &shop["expires_at"]), (&json!("P"), &json!("2100-01-01T00:00:00Z")));
    assert!(play.simulator.vendor_disconnect("88") && !play.simulator.vendor_disconnect("89"));
    assert_eq!(play.shop().await["status"], "N");
    play.simulator.vendor_oa("88", "Shop B", 1_000);
    let shop = play.shop().await;
    assert_eq!((&shop["status"], &shop["expires_at"]), (&json!("N"), &json!("1970-01-01T00:00:01Z")));

    assert!(play.simulator.vendor_consent("88") && !play.simulator.vendor_consent("89"));
    let shop = play.shop().await;
    let time = |field: &str| crate::clock::Time::parse(&text(&shop, field)).expect("RFC 3339");
    assert_eq!(shop["status"], "P");
    assert_eq!(time("expires_at").since(time("updated_at")), Duration::from_secs(90 * 86_400));
    let consented = |entry: &&Entry| entry.kind == Kind::VendorConsented;
    assert_eq!(play.simulator.ledger().entries_of("88").filter(consented).count(), 1);
}

#[tokio::test]
async fn a_person_who_follows_the_link_consents_in_the_browser() {
    let play = vendor().await;
    let oa = "8 8/\"<";
    play.simulator.vendor_oa(oa, "Shop D", 1_000);
    let base = play.simulator.vendor_url();
    play.simulator.with_variant(|variant| variant.vendor_link_base = Some(base.clone()));
    let link = text(&play.vendor(&asking(LINK_PATH, oa)).await.json()["data"], "url");
    let path = link.strip_prefix(&base).expect("a page of the simulator's");
    let open = |method: &str| format!("{method} {path} HTTP/1.1\r\nHost: v\r\nContent-Length: 0\r\n\r\n");
    let page = play.vendor(&open("GET")).await;
    let shown = String::from_utf8_lossy(&page.body).into_owned();
    assert!(shown.contains(&format!("<form method=\"post\" action=\"{path}\">")), "{shown}");
    assert!(shown.contains("OA <b>8 8/&quot;&lt;</b>") && !shown.contains("<script"), "{shown}");
    let stands = || async {
        let shop = play.vendor(&asking(SHOP_PATH, oa)).await.json();
        text(&shop["data"], "status")
    };
    assert_eq!(stands().await, "N", "to look is not to consent");
    assert_eq!(play.vendor(&open("POST")).await.status, Some(200));
    assert_eq!(stands().await, "P");
    let elsewhere = open("POST").replace(path, "/vendor/consent/77");
    assert_eq!(play.vendor(&elsewhere).await.status, Some(404));
    assert!(play.simulator.ledger().is_clean());
}
