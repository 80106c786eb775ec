//! What one peer can ask for, and for how long.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::harness::http::{Request, Response, ask, parse};
use super::harness::{Bench, DEADLINE};
use super::{healthy, section};

/// A connection that is kept for one request after the other.
pub(super) struct Kept<S>(S);

impl Kept<TcpStream> {
    pub(super) async fn to(address: &str) -> Kept<TcpStream> {
        Kept(TcpStream::connect(address).await.expect("the API listens"))
    }
}

impl Kept<UnixStream> {
    pub(super) async fn to_socket(bench: &Bench) -> Kept<UnixStream> {
        Kept(UnixStream::connect(bench.api()).await.expect("the API listens"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Kept<S> {
    pub(super) async fn ask(&mut self, request: Request<'_>) -> Response {
        let text = String::from_utf8(request.bytes()).expect("text");
        self.say(text.replace("Connection: close\r\n", "").as_bytes()).await;
        self.hear().await.expect("an answer")
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("sent");
    }

    /// The next answer, with what its length says. `None`: the connection has ended.
    pub(super) async fn hear(&mut self) -> Option<Response> {
        let hearing = async {
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"\r\n\r\n") {
                bytes.push(self.0.read_u8().await.ok()?);
            }
            let mut answer = parse(&bytes);
            let length =
                answer.header("content-length").map_or(0, |length| length.parse().expect("a number"));
            answer.body = vec![0; length];
            self.0.read_exact(&mut answer.body).await.ok()?;
            Some(answer)
        };
        tokio::time::timeout(DEADLINE, hearing).await.expect("an answer in time")
    }
}

/// A connection that has been let in says something; one that was turned away ends.
async fn is_let_in(connection: &mut Kept<impl AsyncRead + AsyncWrite + Unpin>) -> bool {
    let request = b"GET /v1/oas/7 HTTP/1.1\r\nHost: x\r\n\r\n";
    connection.0.write_all(request).await.is_ok() && connection.hear().await.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_peer_takes_more_than_half_of_the_connections_and_who_comes_beyond_that_is_turned_away_at_once() {
    let bench = Bench::new().await;
    bench.write_secret("shop", "0123456789abcdef0123456789abcdef");
    bench.set_extra(&section(
        "max_connections = 8\nlisten = \"127.0.0.1:0\"\n[[access]]\ntoken_file = \"shop.secret\"\noas = [\"*\"]\n\
         verbs = [\"read\"]\n",
    ));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    let address = daemon.wait_for("api.listening").await["address"].as_str().expect("named").to_owned();
    let mut own = Vec::new();
    for n in 0..8 {
        let mut connection = Kept::to_socket(&bench).await;
        assert_eq!(is_let_in(&mut connection).await, n < 4, "connection {n}");
        own.push(connection);
    }
    // Nobody of TCP is the peer that has all its places.
    let mut other = Kept::to(&address).await;
    assert!(is_let_in(&mut other).await, "another peer gets in");
    drop(own.remove(0));
    let again = async {
        while !is_let_in(&mut Kept::to_socket(&bench).await).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, again).await.expect("a place that is left is free");
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_token_takes_nothing_from_the_rate_of_who_has_one() {
    let bench = Bench::new().await;
    let token = "0123456789abcdef0123456789abcdef";
    bench.write_secret("shop", token);
    bench.set_extra(&section(
        "rate = 1\nlisten = \"127.0.0.1:0\"\n[[access]]\ntoken_file = \"shop.secret\"\noas = [\"*\"]\nverbs = [\"read\"]\n",
    ));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    let address = daemon.wait_for("api.listening").await["address"].as_str().expect("named").to_owned();
    let mut connection = Kept::to(&address).await;
    let mut refused = Vec::new();
    for n in 0..20 {
        let wrong = format!("Bearer {n}-wrong-0123456789abcdef0123456789");
        let headers = [("Authorization", wrong.as_str())];
        let request = Request { headers: &headers[..n % 2], ..Request::get("/v1/oas/7/token") };
        refused.push(connection.ask(request).await.status);
    }
    assert!(refused.iter().all(|status| matches!(status, 401 | 403 | 429)), "{refused:?}");
    assert!(refused.contains(&429), "{refused:?}");
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let own = connection.ask(Request { headers: &headers, ..Request::get("/v1/oas/7/token") }).await;
    assert_eq!(own.status, 200, "{own:?}");
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_not_read_of_who_may_not_bring_it_and_a_web_page_changes_nothing() {
    let (bench, mut daemon) = healthy().await;
    for origin in ["http://evil.example", "null", "http://localhost"] {
        let request = Request {
            method: "POST",
            target: "/v1/oas/7/refresh",
            headers: &[("Origin", origin), ("Content-Type", "text/plain")],
            body: "",
        };
        let answer = ask(&bench.api(), request).await;
        assert_eq!((answer.status, answer.problem().as_str()), (403, "access_denied"));
        assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control")), "{answer:?}");
    }
    assert_eq!(bench.simulator.ledger().presentations(), 0);
    let mut connection = Kept::to_socket(&bench).await;
    connection.say(b"PUT /v1/oas/%00 HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n").await;
    assert_eq!(connection.hear().await.expect("an answer before the body").status, 400);
    assert!(daemon.stop().await.success());
}
