//! The pages' routes, without a socket: who sees what, and what no other page and no text can do there.

use super::*;
use crate::api::tests::{Whole, config};
use crate::config::{Access, Who};
use crate::id::{Fleet, Managed};
use crate::secret::Secret;
use crate::web::Peer;
use std::time::Duration;

const READER: &str = "reader-0123456789abcdef0123456789";
const ADMIN: &str = "admin-0123456789abcdef0123456789ab";
const REPORTER: &str = "reporter-0123456789abcdef01234567";

/// The rights of three tokens: one reads OA 7, one does everything with it, one only reports.
fn access() -> Vec<Access> {
    let rule = |token: &str, verbs: &[Verb]| Access {
        who: Who::Bearer(Some(Secret::new(token.to_owned()))),
        oas: Some(["7".into()].into()),
        verbs: verbs.iter().copied().collect(),
    };
    vec![
        rule(READER, &[Verb::Read]),
        rule(ADMIN, &[Verb::Read, Verb::Report, Verb::Admin]),
        rule(REPORTER, &[Verb::Report]),
    ]
}

/// OA 7 is well, 8 was never granted.
async fn whole() -> Whole {
    let named = |oa: &str, name: &str| (oa.into(), Managed { app_id: "1".into(), name: Some(name.into()) });
    let fleet: Fleet = [named("7", "Shop <b>7</b>"), named("8", "Shop 8")].into();
    Whole::with(fleet, access()).await
}

fn remote() -> Peer {
    Peer::Address([127, 0, 0, 1].into())
}

fn root() -> Peer {
    Peer::Process { uid: 0, groups: Vec::new() }
}

fn nobody() -> Peer {
    Peer::Process { uid: 64_999, groups: vec![64_999] }
}

struct Answer(String);

impl Answer {
    fn status(&self) -> &str {
        self.0.split(' ').nth(1).unwrap_or("none")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let head = self.0.split("\r\n\r\n").next().unwrap_or_default();
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// The token of its forms.
    fn csrf(&self) -> String {
        let field = self.body().split("name=\"csrf\" value=\"").nth(1).expect("a form");
        field.split('"').next().expect("a value").to_owned()
    }

    /// What the cookie holds that it sets.
    fn session(&self) -> String {
        let cookie = self.header("set-cookie").expect("a cookie");
        cookie.split(';').next().expect("a pair").to_owned()
    }
}

impl Whole {
    /// What is answered to this request of this peer, with these lines of a head.
    async fn ask(&self, peer: Peer, request: &str, headers: &[&str], body: &str) -> Answer {
        let mut text = format!("{request} HTTP/1.1\r\nHost: here:8787\r\nConnection: close\r\n");
        headers.iter().for_each(|line| text.push_str(&format!("{line}\r\n")));
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        let answer = Answer(self.answer(peer, text.as_bytes()).await);
        let route = request.split([' ', '?']).nth(1).expect("a path");
        if route == "/"
            || ["/oas/", "/login", "/logout", "/assets/"].iter().any(|start| route.starts_with(start))
        {
            is_guarded(&answer, request);
        }
        answer
    }

    async fn get(&self, path: &str, headers: &[&str]) -> Answer {
        self.ask(remote(), &format!("GET {path}"), headers, "").await
    }

    /// The cookie of who has shown this token.
    async fn signed_in(&self, token: &str) -> String {
        let csrf = self.get("/login", &[]).await.csrf();
        let answer = self.ask(remote(), "POST /login", &[], &format!("csrf={csrf}&token={token}")).await;
        assert_eq!((answer.status(), answer.header("location")), ("303", Some("/")), "{}", answer.0);
        format!("Cookie: {}", answer.session())
    }
}

/// Has it the headers that every answer of a page has?
fn is_guarded(answer: &Answer, request: &str) {
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
        base-uri 'none'; frame-ancestors 'none'; form-action 'self' https://consent.example";
    for (name, value) in [
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{request}: {}", answer.0);
    }
    let is_asset = request.contains("/assets/page-");
    assert_eq!(answer.header("cache-control") == Some("no-store"), !is_asset, "{request}");
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_what_he_may_read_and_who_may_nothing_is_asked_for_a_token() {
    let whole = whole().await;
    let (reader, admin) = (bearer(READER), bearer(ADMIN));
    let (reporter, wrong) = (bearer(REPORTER), bearer("nobodys-0123456789abcdef0123456789"));
    for (who, peer, head, expected) in [
        // GET /, GET /oas/7, GET /oas/8, GET /oas/9, GET /login, POST /oas/7/authorize
        ("root", root(), None, "200 200 200 404 200 303"),
        ("nobody", nobody(), None, "303 303 303 303 200 303"),
        ("somebody remote", remote(), None, "303 303 303 303 200 303"),
        ("a reader", remote(), Some(&reader), "200 200 403 403 200 403"),
        ("an administrator", remote(), Some(&admin), "200 200 403 403 200 303"),
        ("one who reports", remote(), Some(&reporter), "303 303 303 303 200 303"),
        ("one with a wrong token", remote(), Some(&wrong), "401 401 401 401 200 401"),
    ] {
        let head: Vec<&str> = head.into_iter().map(|head: &String| head.as_str()).collect();
        let ask = async |request: &str, body: &str| whole.ask(peer.clone(), request, &head, body).await;
        let form = ask("GET /login", "").await;
        let mut statuses = Vec::new();
        for path in ["/", "/oas/7", "/oas/8", "/oas/9", "/login"] {
            let answer = ask(&format!("GET {path}"), "").await;
            statuses.push(answer.status().to_owned());
            let sent_to = answer.header("location").unwrap_or("/login");
            assert!(
                sent_to == "/login" || *path == format!("/oas/{}", &sent_to["/login?oa=".len()..]),
                "{sent_to}"
            );
            let shows_8 = answer.body().contains("Shop 8");
            assert!(!shows_8 || who == "root", "{who} {path}");
        }
        let csrf = format!("csrf={}", form.csrf());
        let sent_out = ask("POST /oas/7/authorize", &csrf).await;
        statuses.push(sent_out.status().to_owned());
        assert_eq!(statuses.join(" "), expected, "{who}");
        let is_sent_out = sent_out.header("location") == Some("https://consent.example/7?state=1");
        assert_eq!(is_sent_out, matches!(who, "root" | "an administrator"), "{who}: {}", sent_out.0);
    }
    let page = whole.get("/", &[&bearer(READER)]).await;
    assert!(!page.body().contains("/authorize"), "who may not, has no button");
    let back = whole.ask(root(), "GET /oas/7/authorize", &[], "").await;
    assert_eq!(
        (back.status(), back.header("location")),
        ("303", Some("/oas/7")),
        "nothing is begun by looking"
    );
    let page = whole.ask(root(), "GET /", &[], "").await;
    assert!(
        page.body().contains("Cần bạn xử lý (1)") && page.body().contains("/oas/8/authorize"),
        "{}",
        page.0
    );
    assert!(page.body().contains("Shop &lt;b&gt;7&lt;/b&gt;"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_does_nothing_unless_it_is_of_a_page_that_this_caller_got_from_here() {
    let whole = whole().await;
    let session = whole.signed_in(ADMIN).await;
    let csrf = whole.get("/oas/7", &[&session]).await.csrf();
    let readers = whole.get("/login", &[&bearer(READER)]).await.csrf();
    let strangers = whole.get("/login", &[]).await.csrf();
    let caller = Caller {
        peer: remote().into(),
        bearer: Some(Secret::new(ADMIN.to_owned()).digest()),
        has_session: true,
    };
    let long_ago = whole.api.clock.now().minus(Duration::from_secs(2 * 3_600));
    let old = whole.api.seal.csrf(&caller, long_ago);
    let own = format!("csrf={csrf}");
    for (what, origin, body, status) in [
        ("ours", None, own.clone(), "303"),
        ("ours, from here", Some("http://here:8787"), own.clone(), "303"),
        ("ours, from here over TLS", Some("https://HERE:8787"), own.clone(), "303"),
        ("no token", None, String::new(), "403"),
        ("an empty one", None, "csrf=".to_owned(), "403"),
        ("a wrong one", None, format!("csrf={}", "0".repeat(64)), "403"),
        ("another's", None, format!("csrf={readers}"), "403"),
        ("that of somebody without a session", None, format!("csrf={strangers}"), "403"),
        ("an old one", None, format!("csrf={old}"), "403"),
        ("from another page", Some("https://evil.example"), own.clone(), "403"),
        ("from another port", Some("http://here:1"), own.clone(), "403"),
        ("from a page whose name begins so", Some("http://here:8787.evil.example"), own.clone(), "403"),
        ("from nowhere", Some("null"), own.clone(), "403"),
        ("from an empty origin", Some(""), own.clone(), "403"),
        ("from a host without a scheme", Some("here:8787"), own.clone(), "403"),
    ] {
        let origin = origin.map(|origin| format!("Origin: {origin}"));
        let headers: Vec<&str> = [Some(session.as_str()), origin.as_deref()].into_iter().flatten().collect();
        for (route, end) in
            [("/oas/7/authorize", Some("https://consent.example/7?state=1")), ("/logout", Some("/login"))]
        {
            let answer = whole.ask(remote(), &format!("POST {route}"), &headers, &body).await;
            assert_eq!(answer.status(), status, "{what}: {}", answer.0);
            assert_eq!(answer.header("location"), end.filter(|_| status == "303"), "{what}");
        }
    }
    let two = ["Origin: http://here:8787", "Origin: https://evil.example", &session];
    assert_eq!(whole.ask(remote(), "POST /logout", &two, &own).await.status(), "403");
    // The same for who is known by his user, and for who signs in.
    let answer = whole.ask(root(), "POST /oas/7/authorize", &[], &own).await;
    assert_eq!(answer.status(), "403", "{}", answer.0);
    let answer = whole.ask(remote(), "POST /login", &[], &format!("token={ADMIN}")).await;
    assert_eq!((answer.status(), answer.header("set-cookie")), ("403", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_button_leads_to_consent_for_an_oa_that_a_vendor_holds_and_nowhere_for_one_that_nobody_has() {
    let whole = whole().await;
    let csrf = whole.ask(root(), "GET /", &[], "").await.csrf();
    for (oa, end) in [("held", ("303", Some("https://consent.example/held?state=1"))), ("no", ("404", None))]
    {
        let route = format!("POST /oas/{oa}/authorize");
        let answer = whole.ask(root(), &route, &[], &format!("csrf={csrf}")).await;
        assert_eq!((answer.status(), answer.header("location")), end, "{}", answer.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_as_good_as_its_token_for_reading_and_ends_with_it() {
    let whole = whole().await;
    let session = whole.signed_in(ADMIN).await;
    assert!(!session.contains(ADMIN), "it holds no token");
    assert_eq!(whole.get("/", &[&session]).await.status(), "200");
    assert_eq!(whole.get("/v1/oas/7", &[&session]).await.status(), "200");
    assert_eq!(whole.get("/v1/oas/8", &[&session]).await.status(), "403");
    let stream = format!("GET /v1/events?oa_id=7 HTTP/1.1\r\nHost: here\r\n{session}\r\n\r\n");
    let stream = whole
        .answers_to(remote(), stream.as_bytes(), |answers| answers.windows(4).any(|end| end == b"\r\n\r\n"))
        .await;
    assert!(stream.starts_with("HTTP/1.1 200") && stream.contains("text/event-stream"), "{stream}");
    // What changes something over the API wants the token itself.
    for request in
        ["POST /v1/oas/7/refresh", "DELETE /v1/oas/7", "PUT /v1/oas/7", "POST /v1/oas/7/token/reject"]
    {
        assert_eq!(whole.ask(remote(), request, &[&session], "{}").await.status(), "403", "{request}");
    }
    assert_eq!(whole.ask(remote(), "POST /v1/oas/7/refresh", &[&bearer(ADMIN)], "").await.status(), "200");
    // A token that is shown goes before.
    let answer = whole.get("/oas/7", &[&session, &bearer("nobodys-0123456789abcdef0123456789")]).await;
    assert_eq!(answer.status(), "401");

    let readers = whole.signed_in(READER).await;
    let left = access().into_iter().filter(|access| !access.verbs.contains(&Verb::Admin)).collect();
    whole.api.go_over_to(&config(left));
    let answer = whole.get("/", &[&session]).await;
    assert_eq!((answer.status(), answer.header("location")), ("303", Some("/login")), "its token is gone");
    assert_eq!(whole.get("/v1/oas/7", &[&session]).await.status(), "403");
    assert_eq!(whole.get("/", &[&readers]).await.status(), "200", "the others go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_in_gets_a_cookie_that_no_script_and_no_other_page_can_use() {
    let whole = whole().await;
    let csrf = whole.get("/login?oa=7", &[]).await.csrf();
    let ask = async |headers: &[&str], body: &str| {
        let body = format!("csrf={csrf}&{body}");
        whole.ask(remote(), "POST /login", headers, &body).await
    };
    let answer = ask(&[], &format!("token=+{ADMIN}%0A&oa=7")).await;
    assert_eq!((answer.status(), answer.header("location")), ("303", Some("/oas/7")));
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
    let answer = ask(&["X-Forwarded-Proto: https"], &format!("token={ADMIN}")).await;
    assert!(answer.header("set-cookie").expect("a cookie").ends_with("; SameSite=Strict; Secure"));
    // It leads to a page of ours, whatever is asked for.
    for oa in ["//evil.example", "..%2f..", "https://evil.example", "7%0d%0aX: y", ""] {
        let answer = ask(&[], &format!("token={ADMIN}&oa={oa}")).await;
        assert_eq!((answer.status(), answer.header("location")), ("303", Some("/")), "{oa}");
    }
    for wrong in ["", "token=", "token=wrong", &format!("token={ADMIN}0"), "token=%ff%fe"] {
        let answer = ask(&[], wrong).await;
        assert_eq!((answer.status(), answer.header("set-cookie")), ("403", None), "{wrong}");
        assert!(answer.body().contains("role=\"alert\""), "{wrong}");
    }
    let answer = ask(&[], &format!("token={REPORTER}")).await;
    assert_eq!((answer.status(), answer.header("set-cookie")), ("403", None), "it may not read");
    assert!(!answer.body().contains("role=\"alert\""), "{}", answer.0);
    assert_eq!(ask(&[], &format!("token={}", "x".repeat(70_000))).await.status(), "413");

    let session = whole.signed_in(ADMIN).await;
    let csrf = whole.get("/", &[&session]).await.csrf();
    let answer = whole.ask(remote(), "POST /logout", &[&session], &format!("csrf={csrf}")).await;
    assert!(answer.header("set-cookie").expect("a cookie").starts_with("zalo_tokend=; Path=/; Max-Age=0;"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_language_is_that_of_the_query_then_of_the_cookie_then_of_the_browser() {
    let whole = whole().await;
    for (query, headers, lang) in [
        ("", &[][..], "vi"),
        ("", &["Accept-Language: en-GB,en;q=0.9"], "en"),
        ("", &["Accept-Language: en", "Cookie: lang=vi"], "vi"),
        ("?lang=en", &["Accept-Language: vi", "Cookie: lang=vi"], "en"),
        ("?lang=xx", &["Accept-Language: en"], "en"),
    ] {
        for path in ["/login", "/oas/7", "/oas/9", "/oas/%00"] {
            let answer = whole.ask(root(), &format!("GET {path}{query}"), headers, "").await;
            assert!(answer.body().contains(&format!("<html lang=\"{lang}\">")), "{path} {query} {headers:?}");
            let is_kept =
                answer.header("set-cookie").is_some_and(|cookie| cookie.starts_with("lang=en; Path=/;"));
            assert_eq!(is_kept, query == "?lang=en", "{path} {query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_request_says_of_itself_gets_into_a_page_or_a_head() {
    let whole = whole().await;
    let tag = "\"><script>alert(1)</script>";
    let long = "en;q=0.1,".repeat(1_000);
    let headers = [
        format!("Accept-Language: {tag}"),
        format!("Accept-Language: {long}"),
        format!("Cookie: lang={tag}; zalo_tokend={tag}"),
        format!("Cookie: zalo_tokend={}", ".".repeat(5_000)),
        format!("X-Forwarded-Proto: {tag}"),
        format!("X-Forwarded-Host: {tag}"),
        format!("Host: {tag}"),
        format!("Origin: {tag}"),
        format!("Referer: https://evil.example/{tag}"),
    ];
    let queries = [
        "?lang=%22%3E%3Cscript%3E",
        "?after=%0d%0aX:y",
        "?oa=%22%3E%3Cscript%3E",
        "?after=%ff",
        "?=&&;",
        "?next=//evil",
    ];
    for path in ["/", "/oas/7", "/login", "/oas/9", "/oas/%3Cscript%3E", "/oas/%0d%0aX:y"] {
        for header in &headers {
            let answer = whole.ask(root(), &format!("GET {path}"), &[header], "").await;
            let answer_is_odd = answer.0.contains("alert(1)") || answer.0.contains("<script>");
            assert!(!answer_is_odd && answer.header("set-cookie").is_none(), "{path} {header}: {}", answer.0);
        }
        for query in queries {
            let answer = whole.ask(root(), &format!("GET {path}{query}"), &[], "").await;
            assert!(
                !answer.0.contains("<script>") && answer.header("x").is_none(),
                "{path}{query}: {}",
                answer.0
            );
            assert_ne!(&answer.status()[..1], "5", "{path}{query}");
            assert!(answer.header("location").is_none(), "{path}{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_the_pages_are_for_anybody_and_may_be_kept() {
    let whole = whole().await;
    let page = whole.get("/login", &[]).await;
    let style = page.body().split("rel=\"stylesheet\" href=\"").nth(1).expect("a style");
    let style = style.split('"').next().expect("an address");
    let answer = whole.get(style, &[]).await;
    assert_eq!((answer.status(), answer.header("content-type")), ("200", Some("text/css; charset=utf-8")));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
    let etag = answer.header("etag").expect("a tag");
    let answer = whole.get(style, &[&format!("If-None-Match: \"x\", {etag}")]).await;
    assert_eq!((answer.status(), answer.body()), ("304", ""));
    assert_eq!(whole.get(style, &["If-None-Match: \"x\""]).await.status(), "200");
    for path in ["/assets/page.css", "/assets/..%2fCargo.toml", "/assets/%00"] {
        assert_eq!(whole.ask(root(), &format!("GET {path}"), &[], "").await.status(), "404", "{path}");
    }
}
