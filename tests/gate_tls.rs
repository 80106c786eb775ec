//! The way to the gate over TLS and through proxies: whom the door trusts, and where it goes (I6).

#[path = "wire/authority.rs"]
mod authority;
mod wire;

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use authority::{Authority, FAR};
use reqwest::Url;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use wire::*;
use zalo_tokend::zalo::{JournalFailure, Presented};

async fn handshake(wire: Wire, acceptor: &TlsAcceptor) -> std::io::Result<Wire<TlsStream<TcpStream>>> {
    soon(acceptor.accept(wire.into_stream())).await.map(Wire::new)
}

/// Never journalled, never presented.
async fn ends_at_the_connection(mut attempt: Attempt) -> Presented {
    assert!(!attempt.journal_is_polled().await, "the journal was polled");
    let presented = attempt.end().await;
    assert_eq!(not_presented(&presented), None);
    assert!(!presented.may_be_journalled);
    presented
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_tls_the_journal_waits_for_the_handshake_and_the_last_byte_for_the_journal() {
    let (server, authority) = (Server::start().await, Authority::new());
    let door = door(None, Some(&authority.file()));
    let mut attempt = Attempt::start(&door, server.url("https"), LONG);
    let wire = server.accept().await;
    tokio::time::sleep(SILENCE).await;
    attempt.assert_journal_is_unpolled();
    let mut wire = handshake(wire, &authority.acceptor("127.0.0.1", FAR)).await.expect("a handshake");
    wire.read_all_but_the_last_byte().await;
    assert!(attempt.journal_is_polled().await);
    wire.assert_silent().await;
    assert!(attempt.commit(Ok(())));
    let request = wire.read_request().await;
    assert_eq!(request.first_line, "POST /v4/oa/access_token HTTP/1.1");
    wire.say(answer("200 OK", TOKEN_SET)).await;
    assert_eq!(whole(&attempt.end().await), (200, TOKEN_SET));
    server.assert_nobody_else_came().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_tls_a_commit_that_failed_holds_the_byte_back() {
    let (server, authority) = (Server::start().await, Authority::new());
    let door = door(None, Some(&authority.file()));
    let mut attempt = Attempt::start(&door, server.url("https"), LONG);
    let acceptor = authority.acceptor("127.0.0.1", FAR);
    let mut wire = handshake(server.accept().await, &acceptor).await.expect("a handshake");
    wire.read_all_but_the_last_byte().await;
    assert!(attempt.journal_is_polled().await);
    assert!(attempt.commit(Err(JournalFailure::Stale)));
    assert_eq!(not_presented(&attempt.end().await), None);
    assert_eq!(wire.rest().await, b"", "the last byte came");
    server.assert_nobody_else_came().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_a_certificate_that_is_not_trusted_is_named_as_the_fault() {
    let (trusted, stranger) = (Authority::new(), Authority::new());
    for (what, acceptor) in [
        ("another authority", stranger.acceptor("127.0.0.1", FAR)),
        ("another name", trusted.acceptor("oauth.zaloapp.example", FAR)),
        ("expired", trusted.acceptor("127.0.0.1", 2020)),
    ] {
        let server = Server::start().await;
        let door = door(None, Some(&trusted.file()));
        let attempt = Attempt::start(&door, server.url("https"), LONG);
        assert!(handshake(server.accept().await, &acceptor).await.is_err(), "{what}: trusted");
        let presented = ends_at_the_connection(attempt).await;
        assert!(presented.is_certificate_fault, "{what}: {presented:?}");
        server.assert_nobody_else_came().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_a_peer_that_does_not_speak_tls_is_no_certificate_fault() {
    let authority = Authority::new();
    let door = door(None, Some(&authority.file()));
    for peer in ["plaintext", "close", "reset"] {
        let server = Server::start().await;
        let attempt = Attempt::start(&door, server.url("https"), LONG);
        let mut wire = server.accept().await;
        match peer {
            "plaintext" => assert!(wire.say(answer("400 Bad Request", "speak http")).await),
            "close" => wire.finish().await,
            _ => wire.reset(),
        }
        let presented = ends_at_the_connection(attempt).await;
        assert!(!presented.is_certificate_fault, "{peer}: {presented:?}");
        server.assert_nobody_else_came().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_a_handshake_that_stalls_ends_at_the_cap_unjournalled() {
    let (server, authority) = (Server::start().await, Authority::new());
    let door = door(None, Some(&authority.file()));
    let attempt = Attempt::start(&door, server.url("https"), SHORT);
    let mut wire = server.accept().await;
    let presented = ends_at_the_connection(attempt).await;
    assert!(!presented.is_certificate_fault && !presented.was_stopped);
    assert!(!wire.rest().await.is_empty(), "there was no ClientHello");
    server.assert_nobody_else_came().await;
}

/// One thread, whose clock jumps to the next timer once it stands still: the ten seconds take none.
#[tokio::test]
async fn a_connection_has_ten_seconds_however_long_an_answer_may_take() {
    let (server, authority) = (Server::start().await, Authority::new());
    let door = door(None, Some(&authority.file()));
    let started = Instant::now();
    let attempt = Attempt::start(&door, server.url("https"), Duration::from_secs(300));
    let _wire = server.accept().await;
    tokio::time::pause();
    ends_at_the_connection(attempt).await;
    let waited = started.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_secs(15)).contains(&waited), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_during_the_handshake_bars_the_gate() {
    let (server, authority) = (Server::start().await, Authority::new());
    let door = door(None, Some(&authority.file()));
    let attempt = Attempt::start(&door, server.url("https"), LONG);
    let _wire = server.accept().await;
    attempt.stop.cancel();
    assert!(ends_at_the_connection(attempt).await.was_stopped);
    server.assert_nobody_else_came().await;
}

fn origin(address: SocketAddr) -> Url {
    format!("http://{address}").parse().expect("an address")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configured_proxy_is_used_and_the_gate_holds_through_it() {
    let proxy = Server::start().await;
    let door = door(Some(&origin(proxy.address)), None);
    let mut attempt = Attempt::start(&door, token_url("http", "zalo.invalid"), LONG);
    let mut wire = proxy.accept().await;
    wire.read_all_but_the_last_byte().await;
    assert!(attempt.journal_is_polled().await);
    wire.assert_silent().await;
    assert!(attempt.commit(Ok(())));
    let request = wire.read_request().await;
    assert_eq!(request.first_line, "POST http://zalo.invalid/v4/oa/access_token HTTP/1.1");
    wire.say(answer("200 OK", TOKEN_SET)).await;
    assert_eq!(whole(&attempt.end().await), (200, TOKEN_SET));
    proxy.assert_nobody_else_came().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_sees_of_a_secure_request_no_more_than_where_it_goes() {
    let (proxy, authority) = (Server::start().await, Authority::new());
    let door = door(Some(&origin(proxy.address)), Some(&authority.file()));
    let mut attempt = Attempt::start(&door, token_url("https", "zalo.invalid"), LONG);
    assert!(attempt.commit(Ok(())));
    let mut wire = proxy.accept().await;
    let request = wire.read_request().await;
    assert_eq!(request.first_line, "CONNECT zalo.invalid:443 HTTP/1.1");
    assert_no_secret(&request);
    assert!(wire.say("HTTP/1.1 200 Connection established\r\n\r\n").await);
    let acceptor = authority.acceptor("zalo.invalid", FAR);
    let mut wire = handshake(wire, &acceptor).await.expect("a handshake");
    assert_eq!(wire.read_request().await.first_line, "POST /v4/oa/access_token HTTP/1.1");
    wire.say(answer("200 OK", TOKEN_SET)).await;
    assert_eq!(whole(&attempt.end().await), (200, TOKEN_SET));
    proxy.assert_nobody_else_came().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_refuses_leaves_the_token_unpresented() {
    let (proxy, authority) = (Server::start().await, Authority::new());
    let door = door(Some(&origin(proxy.address)), Some(&authority.file()));
    let attempt = Attempt::start(&door, token_url("https", "zalo.invalid"), LONG);
    let mut wire = proxy.accept().await;
    wire.read_request().await;
    wire.say(answer("407 Proxy Authentication Required", "")).await;
    ends_at_the_connection(attempt).await;
    proxy.assert_nobody_else_came().await;
}

/// Says to a process that it is the one with the proxies in its environment.
const CHILD: &str = "ZALO_TOKEND_TEST_UNDER_PROXIES";
const NAMES: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// An environment belongs to a whole process, so the test runs itself again in one of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_of_the_environment_are_ignored() {
    if std::env::var_os(CHILD).is_some() {
        return goes_straight_to_zalo().await;
    }
    let proxy = Server::start().await;
    let this_program = std::env::current_exe().expect("this program");
    let mut child = tokio::process::Command::new(this_program);
    child.args(["--exact", "proxies_of_the_environment_are_ignored"]).env(CHILD, "1");
    child.envs(NAMES.map(|name| (name, origin(proxy.address).to_string())));
    child.env_remove("NO_PROXY").env_remove("no_proxy").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(3 * SOON, child.output()).await.expect("it ends").expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    proxy.assert_nobody_else_came().await;
}

async fn goes_straight_to_zalo() {
    let (server, authority) = (Server::start().await, Authority::new());
    let door = door(None, Some(&authority.file()));
    let mut attempt = Attempt::start(&door, server.url("http"), LONG);
    assert!(attempt.commit(Ok(())));
    let mut wire = server.accept().await;
    wire.read_request().await;
    wire.say(answer("200 OK", TOKEN_SET)).await;
    assert_eq!(whole(&attempt.end().await), (200, TOKEN_SET));

    let mut attempt = Attempt::start(&door, server.url("https"), LONG);
    assert!(attempt.commit(Ok(())));
    let acceptor = authority.acceptor("127.0.0.1", FAR);
    let mut wire = handshake(server.accept().await, &acceptor).await.expect("a handshake");
    wire.read_request().await;
    wire.say(answer("200 OK", TOKEN_SET)).await;
    assert_eq!(whole(&attempt.end().await), (200, TOKEN_SET));
    server.assert_nobody_else_came().await;
}
