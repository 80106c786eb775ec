//! The question about an access token, at the socket: what is asked, and what the answers testify.

mod wire;

use std::time::Duration;

use reqwest::Url;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wire::*;
use zalo_tokend::id::OaId;
use zalo_tokend::oauth::ErrorCode;
use zalo_tokend::rotation::Testimony;
use zalo_tokend::secret::Secret;
use zalo_tokend::zalo::Door;

const ACCESS_TOKEN: &str = "CANARY-access-token";

fn api_url(server: &Server, path: &str) -> Url {
    format!("http://{}{path}", server.address).parse().expect("an address")
}

fn ask(door: &Door, api_url: Url) -> JoinHandle<Testimony> {
    let door = door.clone();
    tokio::spawn(async move {
        door.probe(&api_url, &Secret::new(ACCESS_TOKEN.to_owned()), &OaId::from("42")).await
    })
}

/// What a server testifies that says this and closes. One request may come, and one connection.
async fn testimony_of(text: impl AsRef<[u8]>) -> Testimony {
    let server = Server::start().await;
    let question = ask(&plain_door(), api_url(&server, ""));
    let mut wire = server.accept().await;
    wire.read_request().await;
    // The client may hang up before a long answer ends.
    if wire.say(text).await {
        wire.finish().await;
    }
    let testimony = soon(question).await.expect("no panic");
    assert_no_secret(&testimony);
    assert_eq!(wire.rest().await, b"", "more than one request came");
    server.assert_nobody_else_came().await;
    testimony
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_goes_in_a_header_to_the_probe_s_path_below_api_url() {
    for (prefix, path) in
        [("", ""), ("/", ""), ("/openapi", "/openapi"), ("/openapi/", "/openapi"), ("/a/b", "/a/b")]
    {
        let server = Server::start().await;
        let question = ask(&plain_door(), api_url(&server, prefix));
        let mut wire = server.accept().await;
        let request = wire.read_request().await;
        assert_eq!(request.first_line, format!("GET {path}/v2.0/oa/getoa HTTP/1.1"));
        assert_eq!(request.headers.get("access_token").map(String::as_str), Some(ACCESS_TOKEN));
        assert_eq!(request.headers.get("secret_key"), None);
        assert_eq!(request.headers.get("host"), Some(&server.address.to_string()));
        wire.say(answer("200 OK", r#"{"error":0,"data":{"oa_id":"42"}}"#)).await;
        assert_eq!(soon(question).await.expect("no panic"), Testimony::Accepted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_oa_s_own_name_accepts_and_only_a_dead_token_s_code_refuses() {
    for status in ["200 OK", "401 Unauthorized", "500 Internal Server Error"] {
        let testimony = async |body| testimony_of(answer(status, body)).await;
        assert_eq!(testimony(r#"{"error":0,"data":{"oa_id":42}}"#).await, Testimony::Accepted);
        let dead = testimony(r#"{"error":-216,"message":"Access token has expired"}"#).await;
        assert_eq!(dead, Testimony::Refused(ErrorCode(-216)));
        for unclear in [
            r#"{"error":0,"data":{"oa_id":"43"}}"#,
            r#"{"error":-32,"message":"limit"}"#,
            r#"{"error":0}"#,
            "<html><body>-216</body></html>",
            "",
        ] {
            let testimony = testimony(unclear).await;
            assert!(matches!(testimony, Testimony::Unclear(_)), "{unclear}: {testimony:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_did_not_come_whole_testifies_nothing() {
    let accepted = r#"{"error":0,"data":{"oa_id":"42"}}"#;
    for text in [
        String::new(),
        "HTTP/1.1 200 OK\r\ncontent-le".to_owned(),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{accepted}"),
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{accepted}\r\n",
            accepted.len()
        ),
        "not HTTP at all\r\n\r\n".to_owned(),
        answer("200 OK", &format!("{accepted}{}", " ".repeat(300 << 10))),
    ] {
        let testimony = testimony_of(&text).await;
        assert!(matches!(testimony, Testimony::Unclear(_)), "{testimony:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_and_a_refused_connection_testify_nothing() {
    let server = Server::start().await;
    let question = ask(&plain_door(), api_url(&server, ""));
    let mut wire = server.accept().await;
    wire.read_request().await;
    wire.reset();
    let reset = soon(question).await.expect("no panic");
    server.assert_nobody_else_came().await;
    let refusing = tokio::net::TcpSocket::new_v4().expect("a socket");
    refusing.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let nowhere =
        format!("http://{}", refusing.local_addr().expect("an address")).parse().expect("an address");
    let refused = soon(ask(&plain_door(), nowhere)).await.expect("no panic");
    for testimony in [reset, refused] {
        assert!(matches!(testimony, Testimony::Unclear(_)), "{testimony:?}");
        assert_no_secret(&testimony);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_takes_the_token_nowhere() {
    let elsewhere = Server::start().await;
    for status in [301, 302, 303, 307, 308] {
        let location = api_url(&elsewhere, "/v2.0/oa/getoa");
        let text = format!("HTTP/1.1 {status} x\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        assert!(matches!(testimony_of(text).await, Testimony::Unclear(_)));
    }
    elsewhere.assert_nobody_else_came().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_has_a_connection_of_its_own() {
    let (server, door) = (Server::start().await, plain_door());
    let mut wires = Vec::new();
    for _ in 0..3 {
        let question = ask(&door, api_url(&server, ""));
        let mut wire = server.accept().await;
        wire.read_request().await;
        wire.say(answer("200 OK", r#"{"error":0,"data":{"oa_id":"42"}}"#)).await;
        assert_eq!(soon(question).await.expect("no panic"), Testimony::Accepted);
        wires.push(wire);
    }
    server.assert_nobody_else_came().await;
}

/// One thread, whose clock jumps to the next timer once it stands still: the wait takes no time.
#[tokio::test]
async fn silence_is_given_up_after_fifteen_seconds() {
    let server = Server::start().await;
    let started = Instant::now();
    let question = ask(&plain_door(), api_url(&server, ""));
    let mut wire = server.accept().await;
    wire.read_request().await;
    tokio::time::pause();
    let testimony = question.await.expect("no panic");
    let waited = started.elapsed();
    assert!(matches!(testimony, Testimony::Unclear(_)), "{testimony:?}");
    assert!((Duration::from_secs(15)..Duration::from_secs(20)).contains(&waited), "{waited:?}");
}
