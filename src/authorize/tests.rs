//! What browsers are answered, without a keeper: every end has its page, and nothing that comes in gets out as more than text.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use url::Url;

use super::server::Server;
use super::{Back, BadLink, BoxFuture, Desk, Guest, NoConsent};
use crate::id::OaId;
use crate::oauth::Callback;
use crate::web::{Answers, Peer};

/// Says what it is told to say, and keeps what it was asked.
struct Scripted {
    back: Back,
    guest: Result<Guest, BadLink>,
    begins: Result<Url, NoConsent>,
    asked: Mutex<Vec<&'static str>>,
}

impl Default for Scripted {
    fn default() -> Scripted {
        let guest =
            Guest { oa_id: OaId::from("7"), name: Some(HOSTILE.to_owned()), deadline: None, is_done: false };
        Scripted {
            back: Back::UnknownState,
            guest: Ok(guest),
            begins: Ok("https://oauth.zaloapp.com/v4/oa/permission?state=s".parse().expect("a URL")),
            asked: Mutex::default(),
        }
    }
}

const HOSTILE: &str = "\"><script>alert(1)</script>\u{202e}<a href='javascript:x'>";

impl Scripted {
    fn note(&self, what: &'static str) {
        self.asked.lock().expect("no panic").push(what);
    }
}

impl Desk for Scripted {
    fn guest<'d>(&'d self, _: &'d str) -> BoxFuture<'d, Result<Guest, BadLink>> {
        self.note("guest");
        Box::pin(std::future::ready(self.guest.clone()))
    }

    fn begin(&self, _: OaId) -> BoxFuture<'_, Result<Url, NoConsent>> {
        self.note("begin");
        Box::pin(std::future::ready(self.begins.clone()))
    }

    fn name_of(&self, _: &OaId) -> Option<String> {
        Some(HOSTILE.to_owned())
    }

    fn come_back(&self, _: Callback) -> BoxFuture<'_, Back> {
        self.note("come_back");
        Box::pin(std::future::ready(self.back.clone()))
    }

    fn origins(&self) -> Vec<String> {
        vec!["https://oauth.zaloapp.com".to_owned()]
    }
}

async fn ask(desk: &Arc<Scripted>, method: Method, target: &str) -> Response {
    let peer = Arc::new(Peer::Address(IpAddr::from([127, 0, 0, 1])));
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, "evil.example")
        .header("x-forwarded-host", "evil.example")
        .body(Body::empty());
    Server::of(Arc::clone(desk) as Arc<dyn Desk>).answer(peer, request.expect("a request")).await
}

async fn page(response: Response) -> String {
    let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    String::from_utf8(body.to_vec()).expect("text")
}

#[tokio::test]
async fn every_end_has_a_page_of_its_own_under_the_same_strict_policy() {
    let oa_id = || OaId::from("7");
    let ends = [
        (Back::Granted { oa_id: oa_id(), generation: 1, next_refresh_at: None }, StatusCode::OK),
        (Back::AlreadyGranted { oa_id: oa_id() }, StatusCode::OK),
        (Back::Checking { oa_id: oa_id() }, StatusCode::ACCEPTED),
        (Back::InProgress { oa_id: oa_id() }, StatusCode::ACCEPTED),
        (Back::Declined { oa_id: oa_id() }, StatusCode::CONFLICT),
        (Back::OtherOa { wanted: oa_id(), got: Some(OaId::from("8")) }, StatusCode::CONFLICT),
        (Back::OtherOa { wanted: oa_id(), got: None }, StatusCode::CONFLICT),
        (Back::UnknownState, StatusCode::NOT_FOUND),
        (Back::StateExpired { oa_id: oa_id() }, StatusCode::GONE),
        (Back::CodeRefused { oa_id: oa_id() }, StatusCode::CONFLICT),
        (Back::AnswerLost { oa_id: oa_id() }, StatusCode::BAD_GATEWAY),
        (Back::NotReached { oa_id: oa_id(), detail: HOSTILE.to_owned() }, StatusCode::BAD_GATEWAY),
        (Back::AppRefused { oa_id: oa_id() }, StatusCode::BAD_GATEWAY),
        (Back::SetRefused { oa_id: oa_id(), why: HOSTILE.to_owned() }, StatusCode::CONFLICT),
        (Back::Stopping, StatusCode::SERVICE_UNAVAILABLE),
        (Back::NotNow(HOSTILE.to_owned()), StatusCode::SERVICE_UNAVAILABLE),
    ];
    for (back, status) in ends {
        let word = back.word().to_owned();
        let desk = Arc::new(Scripted { back, ..Scripted::default() });
        let response = ask(&desk, Method::GET, "/anywhere?code=c&state=s").await;
        assert_eq!(response.status(), status, "{word}");
        let policy = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{word}: {policy}");
        assert!(!response.headers().contains_key(header::LOCATION), "{word}");
        let html = page(response).await;
        assert!(!html.contains("<script>alert") && !html.contains("<a href='javascript"), "{word}: {html}");
        assert!(html.matches("<h1>").count() == 1 && !html.contains("evil.example"), "{word}: {html}");
    }
}

#[tokio::test]
async fn only_a_post_begins_a_consent_and_it_leads_where_the_keeper_says_and_nowhere_else() {
    let desk = Arc::new(Scripted::default());
    for method in [Method::GET, Method::HEAD] {
        let shown = ask(&desk, method.clone(), "/zalo/callback?link=7.1.2.x").await;
        assert_eq!(shown.status(), StatusCode::OK, "{method}");
    }
    assert!(!desk.asked.lock().expect("no panic").contains(&"begin"), "looking begins nothing");
    let hostile =
        "/x?link=7.1.2.x&url=https://evil.example&redirect_uri=https://evil.example&next=//evil.example";
    let sent = ask(&desk, Method::POST, hostile).await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    assert_eq!(sent.headers()[header::LOCATION], "https://oauth.zaloapp.com/v4/oa/permission?state=s");
    let html = page(ask(&desk, Method::GET, hostile).await).await;
    assert!(html.contains("action=\"?link=7.1.2.x\"") && !html.contains("evil.example"), "{html}");
    assert!(!html.contains("<script>alert"), "{html}");
}

#[tokio::test]
async fn whoever_may_not_be_sent_away_is_told_why_and_a_link_that_is_none_begins_nothing() {
    for (guest, begins, status) in [
        (Err(BadLink::Forged), None, StatusCode::NOT_FOUND),
        (Err(BadLink::Ended), None, StatusCode::NOT_FOUND),
        (
            Scripted::default().guest,
            Some(NoConsent::NotNow(HOSTILE.to_owned())),
            StatusCode::SERVICE_UNAVAILABLE,
        ),
        (
            Scripted::default().guest,
            Some(NoConsent::Impossible(HOSTILE.to_owned())),
            StatusCode::SERVICE_UNAVAILABLE,
        ),
    ] {
        let is_good = guest.is_ok();
        let begins = begins.map_or(Scripted::default().begins, Err);
        let desk = Arc::new(Scripted { guest, begins, ..Scripted::default() });
        let response = ask(&desk, Method::POST, "/?link=x").await;
        assert_eq!(response.status(), status);
        assert!(!page(response).await.contains("<script>alert"));
        assert_eq!(desk.asked.lock().expect("no panic").contains(&"begin"), is_good);
    }
}

#[tokio::test]
async fn what_is_no_callback_and_no_link_reaches_nobody() {
    let desk = Arc::new(Scripted::default());
    let long = format!("/?state={}", "s".repeat(9_000));
    for (method, target) in [
        (Method::GET, "/"),
        (Method::GET, "/favicon.ico"),
        (Method::GET, "/?error=access_denied"),
        (Method::GET, long.as_str()),
        (Method::POST, "/?code=c&state=s"),
        (Method::HEAD, "/?code=c&state=s"),
        (Method::PUT, "/?link=x"),
        (Method::DELETE, "/?code=c&state=s"),
        (Method::OPTIONS, "/?link=x"),
    ] {
        assert_eq!(
            ask(&desk, method.clone(), target).await.status(),
            StatusCode::NOT_FOUND,
            "{method} {target}"
        );
    }
    assert!(desk.asked.lock().expect("no panic").is_empty());
}
