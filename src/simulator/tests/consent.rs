//! Consent on the permission page, and codes at the token endpoint.

use std::collections::HashMap;

use super::*;
use crate::simulator::codes::challenge_of;

const VERIFIER: &str = "CANARY-verifier-0123456789-0123456789-01234";
const CALLBACK: &str = "http://127.0.0.1:8788/callback?shop=a%26b";

fn query(app: &str, redirect_uri: &str, state: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("app_id", app).append_pair("redirect_uri", redirect_uri);
    query.append_pair("code_challenge", &challenge_of(VERIFIER));
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    query.finish()
}

fn exchange(app: &str, code: &str, verifier: &str) -> Vec<u8> {
    let body = format!("app_id={app}&grant_type=authorization_code&code_verifier={verifier}&code={code}");
    with_body(APP_SECRET, &body)
}

/// The query of an address, by name.
fn told(address: &str) -> HashMap<String, String> {
    let url = url::Url::parse(address).expect("an address");
    url.query_pairs().into_owned().collect()
}

fn location(got: &Got) -> String {
    assert_eq!(got.status, Some(302), "{got:?}");
    let line = got.head.lines().find_map(|line| line.strip_prefix("Location: "));
    line.expect("a Location").to_owned()
}

/// What a browser would send of the page's form.
fn hidden_fields(page: &str) -> Vec<(String, String)> {
    let fields = page.split("<input type=\"hidden\" name=\"").skip(1);
    fields
        .map(|rest| {
            let (name, rest) = rest.split_once("\" value=\"").expect("a value");
            (name.to_owned(), unescaped(rest.split_once("\">").expect("an end").0))
        })
        .collect()
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

impl Play {
    async fn ask(&self, address: &str, bytes: &[u8]) -> Got {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        send(&mut stream, bytes).await;
        read_answer(&mut stream).await
    }

    async fn open(&self, query: &str) -> Got {
        let request = format!("GET /v4/oa/permission?{query} HTTP/1.1\r\nHost: z\r\n\r\n");
        self.ask(&self.simulator.addr().to_string(), request.as_bytes()).await
    }

    async fn submit(&self, fields: &[(String, String)]) -> Got {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let head =
            "POST /v4/oa/permission HTTP/1.1\r\nHost: z\r\nContent-Type: application/x-www-form-urlencoded";
        let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.ask(&self.simulator.addr().to_string(), request.as_bytes()).await
    }

    /// A code that was just made for the OA.
    fn code(&self, oa: &str) -> String {
        let url = format!("{}?{}", self.simulator.permission_url(), query("app", CALLBACK, None));
        told(&self.simulator.consent(&url, oa))["code"].clone()
    }

    async fn exchange(&self, code: &str) -> Got {
        self.ask(&self.simulator.addr().to_string(), &exchange("app", code, VERIFIER)).await
    }

    async fn refused(&self, bytes: &[u8]) -> i64 {
        let got = self.ask(&self.simulator.addr().to_string(), bytes).await;
        assert_eq!(got.status, Some(200));
        got.json()["error"].as_i64().expect("a code")
    }
}

#[tokio::test]
async fn consent_in_a_browser_gives_a_code_and_the_code_gives_tokens() {
    let play = Play::new().await;
    let state = "\"><script>alert('&')</script>";
    let page = play.open(&query("app", CALLBACK, Some(state))).await;
    assert_eq!(page.status, Some(200));
    assert!(page.head.contains("text/html; charset=utf-8"));
    let html = String::from_utf8(page.body).expect("UTF-8");
    assert!(html.contains("<title>Zalo (simulator)</title>") && !html.contains("<script"), "{html}");
    assert!(html.contains("value=\"oa\" required checked"), "the only OA is chosen already: {html}");

    let mut fields = hidden_fields(&html);
    fields.extend([("oa_id", "oa"), ("decision", "allow")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    let sent_to = location(&play.submit(&fields).await);
    assert!(sent_to.starts_with("http://127.0.0.1:8788/callback?shop=a%26b&"), "{sent_to}");
    let told = told(&sent_to);
    assert_eq!((told["shop"].as_str(), told["oa_id"].as_str(), told["state"].as_str()), ("a&b", "oa", state));
    assert!(told["code"].len() >= 32 && told["code"].contains(MARKER));

    let answer = play.exchange(&told["code"]).await.json();
    assert_eq!(answer["expires_in"], "90000");
    let current = play.simulator.current_set("oa").expect("an OA");
    assert_eq!(
        (current.generation, current.refresh_token.expose()),
        (0, text(&answer, "refresh_token").as_str())
    );
    let play =
        Play { refresh: text(&answer, "refresh_token"), access: text(&answer, "access_token"), ..play };
    assert_eq!(play.probe().await, 0);
    assert_eq!(play.present().await.status, Some(200));
    let ledger = play.simulator.ledger();
    assert!(ledger.is_clean(), "{}", ledger.summary());
    assert_eq!((ledger.codes_made(), ledger.codes_spent(), ledger.spends_of("oa")), (1, 1, 2));
    assert!(ledger.codes_presented_again().is_empty());
}

#[tokio::test]
async fn the_page_is_at_both_doors_and_shows_all_oas_of_the_administrator() {
    let play = Play::new().await;
    play.simulator.administers("app", "declared");
    play.simulator.add_app("second", APP_SECRET);
    let request =
        format!("GET /v4/oa/permission?{} HTTP/1.1\r\nHost: z\r\n\r\n", query("app", CALLBACK, None));
    for address in [play.simulator.permission_url(), play.simulator.api_url()] {
        let url = url::Url::parse(&address).expect("an address");
        let authority = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
        let text = String::from_utf8(play.ask(&authority, request.as_bytes()).await.body).expect("UTF-8");
        for oa in ["oa", "declared"] {
            assert!(text.contains(&format!("name=\"oa_id\" value=\"{oa}\" required>")), "{text}");
        }
        assert!(!text.contains("name=\"state\""), "none was given");
    }
    let text = String::from_utf8(play.open(&query("second", CALLBACK, None)).await.body).expect("UTF-8");
    assert!(text.contains("You administer no Official Account") && !text.contains("allow"), "{text}");
}

#[tokio::test]
async fn consent_can_be_declined_on_the_page_and_from_a_test() {
    let play = Play::new().await;
    let asked = query("app", CALLBACK, Some("s&t"));
    let mut fields: Vec<_> = form_urlencoded::parse(asked.as_bytes()).into_owned().collect();
    fields.push(("decision".to_owned(), "decline".to_owned()));
    let url = format!("{}?{asked}", play.simulator.permission_url());
    for sent_to in [location(&play.submit(&fields).await), play.simulator.decline(&url)] {
        let told = told(&sent_to);
        assert_eq!((told["error"].as_str(), told["state"].as_str()), ("access_denied", "s&t"));
        assert_eq!(told.get("code"), None);
    }
    let ledger = play.simulator.ledger();
    assert_eq!((ledger.declined(), ledger.codes_made()), (2, 0));
}

#[tokio::test]
async fn what_zalo_would_not_ask_for_is_a_page_that_says_so_and_makes_no_code() {
    let play = Play::new().await;
    play.simulator.add_app("strict", APP_SECRET);
    play.simulator.register_redirect_uri("strict", CALLBACK);
    play.simulator.administers("strict", "oa");
    let no_challenge = "app_id=app&redirect_uri=http%3A%2F%2Fa%2F";
    for (asked, wanted) in [
        (query("nobody", CALLBACK, None), "-14002"),
        (query("strict", "http://127.0.0.1:8788/callback", None), "-14003"),
        (query("app", "javascript:alert(1)", None), "-14003"),
        (query("app", "", None), "-14003"),
        (no_challenge.to_owned(), "Code challenge is missing"),
        (format!("{}&oa_id=another&decision=allow", query("app", CALLBACK, None)), "none of yours"),
        (format!("{}&decision=later", query("app", CALLBACK, None)), "Nothing was decided"),
    ] {
        let mut fields: Vec<_> = form_urlencoded::parse(asked.as_bytes()).into_owned().collect();
        if !asked.contains("decision") {
            let opened = play.open(&asked).await;
            let text = String::from_utf8_lossy(&opened.body).into_owned();
            assert!(opened.status == Some(200) && text.contains(wanted), "{wanted}: {text}");
            fields.extend([("oa_id", "oa"), ("decision", "allow")].map(|(a, b)| (a.into(), b.into())));
        }
        let got = play.submit(&fields).await;
        let text = String::from_utf8_lossy(&got.body).into_owned();
        assert!(got.status == Some(200) && text.contains(wanted), "{wanted}: {text}");
    }
    assert_eq!(play.simulator.ledger().codes_made(), 0);
    let good = play.open(&query("strict", CALLBACK, None)).await;
    assert!(String::from_utf8_lossy(&good.body).contains("decision"), "where it was registered");
}

#[tokio::test]
#[should_panic(expected = "Zalo refuses this permission URL: App id is invalid (-14002)")]
async fn a_test_that_opens_a_bad_permission_url_fails_there() {
    let play = Play::new().await;
    let url = format!("{}?{}", play.simulator.permission_url(), query("nobody", CALLBACK, None));
    play.simulator.consent(&url, "oa");
}

#[tokio::test]
async fn codes_are_checked_in_zalos_order() {
    let play = Play::new().await;
    play.simulator.add_app("second", APP_SECRET);
    let code = play.code("oa");
    let other = VERIFIER.replace('0', "1");
    let wrong_secret = exchange("app", &code, VERIFIER);
    let wrong_secret =
        String::from_utf8(wrong_secret).expect("UTF-8").replace(APP_SECRET, "CANARY-wrong-sec");
    let body = format!("app_id=app&grant_type=password&refresh_token={code}");
    for (bytes, refusal) in [
        (with_body(APP_SECRET, &body), -14001),
        (exchange("nobody", &code, VERIFIER), -14002),
        (wrong_secret.into_bytes(), -14004),
        (exchange("app", "none", VERIFIER), -14005),
        (exchange("second", &code, VERIFIER), -14005),
        (request("app", APP_SECRET, &code), -14014),
        (exchange("app", &play.refresh, VERIFIER), -14005),
        (exchange("app", &code, &other), -14010),
    ] {
        assert_eq!(play.refused(&bytes).await, refusal);
    }
    assert_eq!(play.simulator.ledger().codes_spent(), 0, "none of them spent it");
    assert!(play.exchange(&code).await.json()["refresh_token"].is_string());
    assert_eq!(play.refused(&exchange("app", &code, VERIFIER)).await, -14005, "it was used");
    play.simulator.with_variant(|variant| variant.spent_code_answer = SpentCodeAnswer::Empty);
    let empty = play.exchange(&code).await;
    assert_eq!((empty.status, empty.body.len()), (Some(200), 0));
    let ledger = play.simulator.ledger();
    assert_eq!((ledger.codes_spent(), ledger.spent_tokens_presented().len()), (1, 2));
}

#[tokio::test]
async fn a_code_past_its_life_is_refused_as_expired() {
    let play = Play::new().await;
    let in_time = play.code("oa");
    play.simulator.with_variant(|variant| variant.code_life = Duration::ZERO);
    let late = play.code("oa");
    assert_eq!(play.refused(&exchange("app", &late, VERIFIER)).await, -14019);
    assert!(play.exchange(&in_time).await.json()["refresh_token"].is_string(), "it kept its own life");
}

#[tokio::test]
async fn a_consent_by_code_can_end_the_families_before_it() {
    let play = Play::new().await;
    play.exchange(&play.code("oa")).await;
    assert_eq!(play.probe().await, 0, "the older grant stays, unless the variant says otherwise");
    play.simulator.with_variant(|variant| variant.grant_revokes_older_families = true);
    let newest = play.exchange(&play.code("oa")).await.json();
    let newer = play.exchange(&play.code("oa")).await.json();
    assert!(!play.simulator.is_valid_access_token(&text(&newest, "access_token")));
    assert!(play.simulator.is_valid_access_token(&text(&newer, "access_token")));
}

#[tokio::test]
async fn every_breach_of_form_with_a_code_is_a_violation() {
    let play = Play::new().await;
    let start = "app_id=app&grant_type=authorization_code";
    for (body, wanted) in [
        (format!("{start}&code_verifier={VERIFIER}&code=none"), None),
        (format!("{start}&code={VERIFIER}&code_verifier={VERIFIER}"), Some("code is not the last field")),
        (format!("{start}&code=none"), Some("code_verifier is missing")),
        (format!("{start}&code_verifier={VERIFIER}"), Some("the field code is missing")),
        (format!("{start}&code_verifier={}&code=none", "v".repeat(42)), Some("43 to 128")),
        (format!("{start}&code_verifier={}&code=none", "v".repeat(129)), Some("43 to 128")),
        (format!("{start}&code_verifier={VERIFIER}%2F&code=none"), Some("43 to 128")),
        (format!("{start}&code_verifier={VERIFIER}&code=none&code=none"), Some("2 times")),
    ] {
        let before = play.simulator.ledger().violations().len();
        play.ask(&play.simulator.addr().to_string(), &with_body(APP_SECRET, &body)).await;
        play.assert_said_since(before, wanted);
    }
}

#[tokio::test]
async fn a_code_in_a_url_is_a_violation_wherever_it_is_sent() {
    let play = Play::new().await;
    let code = play.code("oa");
    for place in [format!("/v2.0/oa/getoa?a=b&code={code}"), format!("/callback/{code}")] {
        let before = play.simulator.ledger().violations().len();
        let request = format!("GET {place} HTTP/1.1\r\nHost: z\r\n\r\n");
        play.ask(&play.simulator.addr().to_string(), request.as_bytes()).await;
        play.assert_said_since(before, Some("a code is in the URL"));
    }
}

#[tokio::test]
async fn a_fault_of_an_oa_before_the_last_byte_knows_its_code_and_leaves_it_good() {
    let play = Play::new().await;
    let code = play.code("oa");
    play.simulator.fault(Rule::once(Fault::ResetBeforeLastByte).for_oa("oa"));
    let bytes = exchange("app", &code, VERIFIER);
    let (_, before) = bytes.split_last().expect("a request");
    assert_eq!(play.ask(&play.simulator.addr().to_string(), before).await.end, End::Rst);
    let ledger = play.until(has_ended).await;
    let entry = ledger.entries_of("oa").last().expect("the OA was recognised by the code without its end");
    assert_eq!(entry.fault.as_deref(), Some("reset before the last byte"));
    assert_eq!(ledger.presentations(), 0);
    assert!(play.exchange(&code).await.json()["refresh_token"].is_string());
    let ledger = play.simulator.ledger();
    assert!(ledger.is_clean() && ledger.codes_presented_again().is_empty(), "{}", ledger.summary());
}

#[tokio::test]
async fn a_code_is_presented_again_only_after_an_answer_that_proves_it_unspent() {
    for (answer, wanted) in [
        (Answer::custom(429, ""), 0),
        (Answer::custom(200, r#"{"error":-14002}"#), 0),
        (Answer::custom(200, r#"{"error":-14004}"#), 0),
        (Answer::custom(200, r#"{"error":-14005}"#), 1),
        (Answer::custom(502, "<html>"), 1),
        (Answer::Normal, 1),
        (Answer::CloseWithoutAnswer, 1),
    ] {
        let play = Play::new().await;
        let code = play.code("oa");
        play.simulator.fault(Rule::once(Fault::unspent(answer.clone())).for_oa("oa"));
        play.exchange(&code).await;
        // An accepted access token of the OA says nothing of its code.
        assert_eq!((play.probe().await, play.probe().await), (0, 0));
        assert!(play.exchange(&code).await.json()["refresh_token"].is_string(), "{answer:?}");
        let ledger = play.simulator.ledger();
        assert_eq!(ledger.codes_presented_again().len(), wanted, "{answer:?}");
        assert_eq!((ledger.is_clean(), ledger.codes_spent()), (wanted == 0, 1), "{answer:?}");
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_code_is_told_until_consent_is_given_anew() {
    let play = Play::new().await;
    let code = play.code("oa");
    play.simulator.fault(Rule::once(Fault::spent(Answer::Reset)).for_oa("oa"));
    assert_eq!(play.exchange(&code).await.end, End::Rst);
    let ledger = play.simulator.ledger();
    assert_eq!((ledger.codes_spent(), ledger.answers_lost()), (1, 1));
    assert_eq!(ledger.lost_answers()[0].settled, Settlement::StillOpen);
    let again = play.code("oa");
    assert_eq!(play.simulator.ledger().lost_answers()[0].settled, Settlement::StillOpen, "no tokens yet");
    play.exchange(&again).await;
    let ledger = play.simulator.ledger();
    assert_eq!(ledger.lost_answers()[0].settled, Settlement::Reauthorized);
    assert!(ledger.is_clean(), "{}", ledger.summary());
}

#[tokio::test]
async fn a_code_can_be_spent_late_and_is_spent_where_a_refresh_token_would_be_kept() {
    let play = Play::new().await;
    let code = play.code("oa");
    play.simulator.fault(Rule::once(Fault::spent_later(Duration::from_millis(50), Answer::Reset)));
    assert_eq!(play.exchange(&code).await.end, End::Rst);
    let ledger = play.until(|ledger| ledger.answers_lost() == 1).await;
    assert_eq!(ledger.codes_spent(), 1);
    let late = |entry: &Entry| matches!(entry.kind, Kind::Spent { late: true, .. }) && entry.subject.is_code;
    assert!(ledger.entries_of("oa").any(late));

    let code = play.code("oa");
    let kept = Fault::AfterRequest { spend: Spend::WithoutRotation, answer: Answer::Normal };
    play.simulator.fault(Rule::once(kept));
    assert!(play.exchange(&code).await.json()["refresh_token"].is_string());
    assert_eq!(play.simulator.ledger().codes_spent(), 2);
    assert_eq!(play.refused(&exchange("app", &code, VERIFIER)).await, -14005);
}

#[tokio::test]
async fn a_code_and_a_refresh_token_of_one_oa_at_once_are_a_violation() {
    let play = Play::with(Fault::spent(Answer::Held)).await;
    let code = play.code("oa");
    let mut first = play.connect().await;
    send(&mut first, &play.request()).await;
    play.until(|ledger| ledger.presentations() == 1).await;
    play.exchange(&code).await;
    play.simulator.release();
    read_answer(&mut first).await;
    let ledger = play.simulator.ledger();
    assert_eq!((ledger.max_under_way_of("oa"), ledger.violations().len()), (2, 1));
}

#[tokio::test]
async fn the_ledger_tells_codes_only_where_there_were_any_and_shows_none() {
    let play = Play::new().await;
    assert!(!play.simulator.ledger().summary().contains("code"));
    play.exchange(&play.code("oa")).await;
    let ledger = play.simulator.ledger();
    let summary = ledger.summary();
    assert!(summary.contains("codes spent                             1\n"), "{summary}");
    let json = serde_json::to_string(&ledger).expect("JSON");
    assert!(json.contains(r#""codes_spent":1"#) && json.contains(r#""is_code":true"#), "{json}");
    assert!(!format!("{ledger:?}{summary}{json}").contains(MARKER));
}
