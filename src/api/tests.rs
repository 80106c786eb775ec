//! The API without a socket: what a connection may do, on virtual time, and what garbage does to the router.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use axum::routing::{get, post};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::routes::Entrance;
use super::*;
use crate::authorize::NoConsent;
use crate::clock::{Moment, SystemClock, Time};
use crate::id::{AppId, Fleet, Managed, VendorId};
use crate::oauth::{Answer, GrantedTokens, read_token_answer};
use crate::rotation::{Roll, Timing};
use crate::secret::Secret;
use crate::store::{AtVendors, Held, Import, Imported, Opened, Recovered, Store, ValidToken};
use crate::web::{Answers, Peer, SILENCE, talk};

/// Longer than any answer in these tests.
const LONG: usize = 1024 * 1024;

/// A router of a test's own, for whoever asks.
impl Answers for Router {
    async fn answer(mut self, _: Arc<Peer>, request: Request<Body>) -> Response {
        self.call(request).await.unwrap_or_else(|never| match never {})
    }
}

/// A connection to a router that has no store, on a clock that runs when nothing else does.
fn connected(size: usize) -> DuplexStream {
    let router = Router::new()
        .route("/", get(async || "here"))
        .route("/long", get(async || "x".repeat(LONG)))
        .route("/slow", get(async || tokio::time::sleep(10 * SILENCE).await))
        .route("/body", post(async |body: Body| body::whole(body).await.map(|body| body.len().to_string())));
    let (here, there) = tokio::io::duplex(size);
    let peer = Peer::Process { uid: 1, groups: Vec::new() };
    tokio::spawn(async move { talk(there, peer, router, &CancellationToken::new()).await });
    here
}

async fn said(connection: &mut DuplexStream, bytes: &[u8]) -> String {
    connection.write_all(bytes).await.expect("sent");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed_also_after_a_request() {
    let begun = Instant::now();
    let mut connection = connected(LONG);
    assert_eq!(said(&mut connection, b"").await, "");
    assert!(begun.elapsed() <= 2 * SILENCE, "{:?}", begun.elapsed());

    let begun = Instant::now();
    let mut connection = connected(LONG);
    assert_eq!(status(&said(&mut connection, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await), "200");
    assert!(begun.elapsed() <= 2 * SILENCE, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_does_not_come_to_its_end() {
    let (begun, mut connection) = (Instant::now(), connected(LONG));
    let head = b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
    for byte in head {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if connection.write_all(&[*byte]).await.is_err() {
            break;
        }
        assert!(begun.elapsed() <= 2 * SILENCE, "it is still listened to");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_refused_and_so_is_one_that_never_comes() {
    let (begun, mut connection) = (Instant::now(), connected(LONG));
    connection
        .write_all(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        .await
        .expect("sent");
    let (mut reading, mut writing) = tokio::io::split(connection);
    let dripping = tokio::spawn(async move {
        while writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let mut answer = String::new();
    reading.read_to_string(&mut answer).await.expect("an answer, and the end");
    dripping.abort();
    assert!(status(&answer) == "408" && answer.contains("too_slow"), "{answer}");
    assert!(begun.elapsed() < SILENCE, "{:?}", begun.elapsed());

    let mut connection = connected(LONG);
    let expecting = b"POST /body HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let answer = said(&mut connection, expecting).await;
    assert!(answer.contains("100 Continue") && answer.contains("HTTP/1.1 408"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_read_the_answers_is_not_kept() {
    for requests in [
        "GET /long HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(10_000),
    ] {
        let (begun, mut connection) = (Instant::now(), connected(1_024));
        let mut is_open = connection.write_all(requests.as_bytes()).await.is_ok();
        while is_open {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(begun.elapsed() <= 3 * SILENCE, "it is still waited for");
            is_open = connection.write_all(b"x").await.is_ok();
        }
        assert!(begun.elapsed() >= SILENCE, "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_while_he_waits_leaves_nothing_behind() {
    let (here, there) = tokio::io::duplex(LONG);
    let left = CancellationToken::new();
    let leaving = left.clone();
    let waiting = move || {
        let guard = leaving.clone().drop_guard();
        async move {
            std::future::pending::<()>().await;
            drop(guard);
        }
    };
    let router = Router::new().route("/", get(waiting));
    let peer = Peer::Process { uid: 1, groups: Vec::new() };
    let talking = tokio::spawn(async move { talk(there, peer, router, &CancellationToken::new()).await });
    let mut here = here;
    here.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(here);
    tokio::time::timeout(Duration::from_secs(1), talking).await.expect("it ends").expect("no panic");
    assert!(left.is_cancelled(), "the handler is gone");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_is_said_to_be_and_at_once() {
    let head = |headers: &str| format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    let body = |headers: &str, body: &str| {
        format!("POST /body HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n{body}")
    };
    let many = |count: usize| (0..count).map(|n| format!("X-{n}: x\r\n")).collect::<String>();
    let chunks = |count: usize| format!("400\r\n{}\r\n", "x".repeat(1_024)).repeat(count) + "0\r\n\r\n";
    let begun = Instant::now();
    for (what, request, expected) in [
        ("nothing special", head(""), "200"),
        ("62 headers and two", head(&many(62)), "200"),
        ("63 headers and two", head(&many(63)), "431"),
        ("a head of 12 KiB", head(&format!("X: {}\r\n", "x".repeat(12 * 1_024))), "200"),
        ("a head of 17 KiB", head(&format!("X: {}\r\n", "x".repeat(17 * 1_024))), "431"),
        ("a path of 17 KiB", format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(17 * 1_024)), "431"),
        ("a body of 64 KiB", body("Content-Length: 65536\r\n", &"x".repeat(65_536)), "200"),
        ("one byte more", body("Content-Length: 65537\r\n", &"x".repeat(65_537)), "413"),
        ("a length that nothing has", body("Content-Length: 9223372036854775807\r\n", "x"), "413"),
        ("one that no number has", body("Content-Length: 18446744073709551616\r\n", "x"), "400"),
        ("chunks of 64 KiB", body("Transfer-Encoding: chunked\r\n", &chunks(64)), "200"),
        ("chunks of 65 KiB", body("Transfer-Encoding: chunked\r\n", &chunks(65)), "413"),
    ] {
        let answer = said(&mut connected(LONG), request.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{what}: {answer}");
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// A desk that does whatever it is asked to do, and manages these.
struct Willing(Arc<Fleet>);

fn at_once<'f, T: Send + 'f>(what: T) -> BoxFuture<'f, T> {
    Box::pin(std::future::ready(what))
}

impl Desk for Willing {
    fn managed(&self, oa_id: &OaId) -> Option<Managed> {
        self.0.get(oa_id).cloned()
    }

    fn vendor_of(&self, oa_id: &OaId) -> Option<VendorId> {
        (oa_id.as_str() == "held").then(|| VendorId::from("v"))
    }

    fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.0)
    }

    fn undurable(&self, _: &OaId) -> Option<ValidToken> {
        None
    }

    fn consent_link(&self, _: &OaId) -> Option<String> {
        None
    }

    fn appsecret_proof(&self, _: &OaId, _: &Secret) -> Option<String> {
        Some("proof".to_owned())
    }

    fn started_at(&self) -> Time {
        Time::from_millis(0)
    }

    fn store_failure(&self) -> Option<String> {
        None
    }

    fn refresh(&self, _: OaId, _: Option<u64>, _: Occasion) -> BoxFuture<'_, Asked> {
        at_once(Asked::Refreshed)
    }

    fn probe(&self, _: OaId, _: Arc<Held>) -> BoxFuture<'_, Alive> {
        at_once(Alive::Yes)
    }

    fn enlist(&self, _: OaId, _: AppId, _: Option<String>) -> BoxFuture<'_, Result<Enlisted, StoreError>> {
        at_once(Ok(Enlisted::Done))
    }

    fn dismiss(&self, _: OaId) -> BoxFuture<'_, Result<Dismissed, StoreError>> {
        at_once(Ok(Dismissed::Done))
    }

    fn consent(&self, oa_id: OaId) -> BoxFuture<'_, Result<url::Url, NoConsent>> {
        let address = format!("https://consent.example/{oa_id}?state=1").parse();
        at_once(address.map_err(|_| NoConsent::Impossible("no address".to_owned())))
    }

    fn consent_origins(&self) -> Vec<String> {
        vec!["https://consent.example".to_owned()]
    }

    fn import(&self, _: OaId, _: GrantedTokens) -> BoxFuture<'_, Result<Option<Imported>, StoreError>> {
        at_once(Ok(Some(Imported::Unchanged { generation: 1 })))
    }
}

/// The whole API over a store with OA 7, and what keeps the store.
pub(super) struct Whole {
    pub(super) api: Arc<Api>,
    router: Entrance,
    peer: Peer,
    stop: CancellationToken,
    log: LogControl,
    _store: Store,
    _directory: tempfile::TempDir,
}

/// The config of an API with these rights.
pub(super) fn config(access: Vec<config::Access>) -> config::Api {
    config::Api {
        socket: "/".into(),
        mode: 0o600,
        group: None,
        listen: None,
        rate: 1_000_000,
        max_connections: 1_000,
        oa_metrics: false,
        access,
    }
}

impl Whole {
    async fn new() -> Whole {
        let seven = (OaId::from("7"), Managed { app_id: "1".into(), name: None });
        Whole::with([seven].into(), Vec::new()).await
    }

    /// With these OAs, of which 7 has tokens, and these rights.
    pub(super) async fn with(fleet: Fleet, access: Vec<config::Access>) -> Whole {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(SystemClock::new());
        let now = clock.read();
        let opened = Opened::open(&directory.path().join("tokens.db")).expect("opened");
        let mut recovered = Recovered::default();
        opened.recover(2, &Timing::default(), &now, &mut || Roll(0.5), &mut recovered).expect("recovered");
        let (store, _) = opened.start().expect("started");
        let body = br#"{"access_token":"CANARY-access","refresh_token":"CANARY-refresh","expires_in":90000}"#;
        let Answer::Granted(tokens) = read_token_answer(body) else { panic!("a grant") };
        let obtained = Moment::at(&now);
        let import = Import { oa_id: "7".into(), app_id: "1".into(), name: None, tokens, obtained };
        store.import(Arc::new(import), Arc::default(), now).await.expect("imported");
        let (fleet, apps) = (Arc::new(fleet), Arc::default());
        store.manage(Arc::clone(&fleet), AtVendors::default(), apps, clock.read()).await.expect("managed");
        let (stop, log) = (CancellationToken::new(), LogControl::of_no_log());
        let parts = Parts {
            desk: Arc::new(Willing(fleet)),
            reader: store.reader().expect("a reader"),
            clock,
            log: log.clone(),
            stop: stop.clone(),
        };
        let api = Api::new(parts, &config(access));
        let router = Entrance::of(&api);
        let peer = Peer::Process { uid: 0, groups: Vec::new() };
        Whole { api, router, peer, stop, log, _store: store, _directory: directory }
    }

    /// The whole answer to one request of this peer, which ends the connection.
    pub(super) async fn answer(&self, peer: Peer, request: &[u8]) -> String {
        let (mut here, there) = tokio::io::duplex(LONG);
        let (router, stop) = (self.router.clone(), self.stop.clone());
        let talking = tokio::spawn(async move { talk(there, peer, router, &stop).await });
        let answer = said(&mut here, request).await;
        talking.await.expect("no panic");
        answer
    }

    /// What is answered to these bytes, among which are so many requests that have an answer, and a moment longer.
    async fn answers(&self, bytes: &[u8], requests: usize) -> String {
        self.answers_to(self.peer.clone(), bytes, |answers| count_whole(answers) >= requests).await
    }

    /// What is answered to these bytes of this peer, until it is enough, and a moment longer.
    pub(super) async fn answers_to(
        &self,
        peer: Peer,
        bytes: &[u8],
        is_enough: impl Fn(&[u8]) -> bool,
    ) -> String {
        let (mut here, there) = tokio::io::duplex(LONG);
        let (router, stop) = (self.router.clone(), self.stop.clone());
        let talking = tokio::spawn(async move { talk(there, peer, router, &stop).await });
        // What is refused early is not read to its end.
        here.write_all(bytes).await.ok();
        let mut answers = Vec::new();
        let mut some = vec![0; 4_096];
        loop {
            let patience =
                if is_enough(&answers) { Duration::from_millis(30) } else { Duration::from_secs(60) };
            let Ok(Ok(count @ 1..)) = tokio::time::timeout(patience, here.read(&mut some)).await else {
                break;
            };
            answers.extend_from_slice(&some[..count]);
        }
        drop(here);
        talking.await.expect("no panic");
        String::from_utf8_lossy(&answers).into_owned()
    }
}

/// How many whole answers these bytes are. That to a HEAD has no body, and is the only one.
fn count_whole(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(length)) = head.parse(bytes) else { return count };
        let told = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let told = told.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
        let rest = &bytes[length..];
        match told {
            Some(body) if body > rest.len() && !rest.is_empty() => return count,
            told => bytes = &rest[told.unwrap_or_default().min(rest.len())..],
        }
        count += 1;
    }
}

// On one thread, so that nothing is read while the events are said.
#[tokio::test]
async fn whoever_reads_events_too_slowly_is_told_of_the_gap_and_nothing_is_kept_for_him() {
    let whole = Whole::new().await;
    let (mut here, there) = tokio::io::duplex(1_024);
    let (router, peer, stop) = (whole.router.clone(), whole.peer.clone(), whole.stop.clone());
    let talking = tokio::spawn(async move { talk(there, peer, router, &stop).await });
    here.write_all(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let mut read = String::new();
    let mut read_until = async |wanted: &str| {
        while !read.contains(wanted) {
            let mut some = vec![0; 4_096];
            let count = tokio::time::timeout(Duration::from_secs(60), here.read(&mut some)).await;
            let count = count.expect("in time").expect("readable");
            assert!(count > 0, "it ends: {read}");
            read.push_str(&String::from_utf8_lossy(&some[..count]));
        }
        std::mem::take(&mut read)
    };
    read_until("retry: ").await;
    whole.log.feed().hear(|| (0..20_000).for_each(|_| tracing::info!(event = "daemon.ready", "x")));
    let before = read_until("event: gap").await;
    assert!(before.matches("event: daemon.ready").count() < 1_000, "nearly nothing was on its way");
    whole.log.feed().hear(|| tracing::info!(event = "daemon.stopping", "x"));
    let after = read_until("event: daemon.stopping").await;
    assert_eq!(after.matches("event: gap").count(), 0, "once");
    whole.stop.cancel();
    talking.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_requests_have_an_answer_that_fits_or_none() {
    let whole = Whole::new().await;
    let long = "7".repeat(10_000);
    for (request, expected) in [
        ("GET /v1/oas/7/token HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("GET /v1/oas/7/token HTTP/1.1\r\n\r\n", "200"),
        ("GET /v1/oas/7/token HTTP/1.0\r\n\r\n", "200"),
        ("GET http://elsewhere/v1/oas/7/token HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("HEAD /v1/oas/7/token HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("GET /v1/oas/%37/token HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("GET /v1/oas/%2e%2e/token HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("GET /v1/oas/%00/token HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("GET /v1/oas/%ff/token HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("GET /v1/oas/7%2ftoken HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("GET /v1/oas/7%0a/token HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        (&format!("GET /v1/oas/{long}/token HTTP/1.1\r\nHost: x\r\n\r\n"), "400"),
        ("GET /v1/oas/../oas/7/token HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET //v1/oas/7 HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET /v1/oas/ HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET * HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("OPTIONS /v1/oas/7/token HTTP/1.1\r\nHost: x\r\nOrigin: http://evil\r\n\r\n", "403"),
        ("TRACE /v1/oas/7/token HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("BREW /v1/oas/7/token HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("GET /v1/oas/7/token HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "200"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "none"),
        ("GET /v1/oas/7/token HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
        (
            "POST /v1/oas/7/refresh HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
            "200",
        ),
        ("POST /v1/oas/7/refresh HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "400"),
        ("POST /v1/oas/7/refresh HTTP/1.1\r\nHost: x\r\nOrigin: null\r\nContent-Length: 0\r\n\r\n", "403"),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0", "400"),
        ("GET /v1/oas/7/token HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n", "400"),
    ] {
        let answers = whole.answers(request.as_bytes(), usize::from(expected != "none")).await;
        let shown: String = request.chars().take(100).collect();
        assert_eq!(status(&answers), expected, "{shown}: {answers}");
        assert!(!answers.contains("CANARY-refresh"), "{shown}");
        let is_problem = !matches!(expected, "200" | "none") && !answers.contains("content-length: 0");
        assert!(!is_problem || answers.contains("application/problem+json"), "{shown}: {answers}");
    }
    let two = "GET /v1/oas/7 HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2);
    assert_eq!(
        whole.answers(two.as_bytes(), 2).await.matches("HTTP/1.1 200").count(),
        2,
        "one after the other"
    );
    let hidden = "GET /v1/oas/7 HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\nDELETE /v1/oas/7 HTTP/1.1\r\nHost: x\r\n\r\n  ";
    let answers = whole.answers(hidden.as_bytes(), 1).await;
    assert!(!answers.contains("204"), "what is in a body is no request: {answers}");
}

/// Pieces of requests, in an order that makes sense now and then.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let word = proptest::sample::select(vec![
        "GET ",
        "PUT ",
        "POST ",
        "DELETE ",
        "HEAD ",
        "/v1/oas",
        "/7",
        "/token",
        "/token/reject",
        "/token-set",
        "/refresh",
        "?after=",
        "?min_ttl=10m",
        "&wait=5ms",
        "?proof=true",
        "?limit=",
        "9",
        "%",
        "%00",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        "Host: x\r\n",
        "Content-Length: ",
        "Transfer-Encoding: chunked\r\n",
        "Authorization: Bearer ",
        "If-None-Match: ",
        "Expect: 100-continue\r\n",
        "5\r\n",
        "\"1\"",
        "*",
        "\r\n",
        "\r\n\r\n",
        "{\"generation\": ",
        "1",
        "}",
        "{\"app_id\": \"1\"}",
        "{\"access_token\":\"CANARY\",\"refresh_token\":\"CANARY\",\"expires_in\":\"9\"}",
    ]);
    prop_oneof![
        12 => word.prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

/// A request that is whole, with odd things in the places where something may stand.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let method = proptest::sample::select(vec!["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "X"]);
    let path = proptest::sample::select(vec![
        "/v1/oas",
        "/v1/oas/7",
        "/v1/oas/8",
        "/v1/oas/7/token",
        "/v1/oas/8/token",
        "/v1/oas/7/token/reject",
        "/v1/oas/7/token-set",
        "/v1/oas/7/history",
        "/v1/oas/8/refresh",
        "/v1/oas/%zz/token",
        "/metrics",
        "/healthz",
    ]);
    let query =
        "(\\?[a-z_]{1,8}=[ -~&&[^ #]]{0,12}|\\?(after|limit)=[0-9]{0,25}|\\?after=[0-9]&wait=[0-9]{1,3}ms|)";
    let header = "(If-None-Match|Authorization|X|Origin|Range|Accept): [ -~]{0,30}\r\n|";
    let body = prop_oneof![
        Just("{\"app_id\": \"1\"}".to_owned()),
        "\\{\"generation\": [0-9]{1,22}\\}",
        "[ -~]{0,60}",
        Just("[".repeat(10_000)),
    ];
    (method, path, query, header, body).prop_map(|(method, path, query, header, body)| {
        let length = body.len();
        format!(
            "{method} {path}{query} HTTP/1.1\r\nHost: x\r\n{header}Content-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    })
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = proptest::collection::vec(piece(), 1..16).prop_map(|pieces| pieces.concat());
    prop_oneof![request(), proptest::collection::vec(request(), 2..4).prop_map(|all| all.concat()), pieces]
}

#[test]
fn no_bytes_make_the_api_fail_or_say_a_secret() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let whole = runtime.block_on(Whole::new());
    let cases =
        std::env::var("ZALO_TOKEND_GARBAGE").map_or(100, |text| text.parse().expect("a whole number"));
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&any_bytes(), |bytes| {
            let answers = runtime.block_on(whole.answers(&bytes, 0));
            for answer in answers.split("HTTP/1.").skip(1) {
                prop_assert!(!answer.starts_with("1 5"), "{}", answer);
            }
            prop_assert!(answers.is_empty() || answers.starts_with("HTTP/1."), "{}", answers);
            prop_assert!(!answers.contains("CANARY-refresh"), "{}", answers);
            Ok(())
        })
        .expect("nothing fails");
}
