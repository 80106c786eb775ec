//! The way to the token endpoint, by the real binary: whatever is wrong with it, nothing was presented, and the next
//! attempt goes out as soon as it is open.

#[path = "wire/authority.rs"]
mod authority;
#[path = "wire/full.rs"]
mod full;
mod harness;

use std::net::SocketAddr;

use authority::{Authority, FAR};
use harness::Bench;
use harness::resolver::Resolver;
use harness::rows::*;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The tokens of this app are fetched there, until the config is written anew.
fn fetch_at(bench: &Bench, app: &str, token_url: &str) {
    let config = std::fs::read_to_string(bench.config()).expect("read");
    let section = format!("[[app]]\nid = \"{app}\"\n");
    let (before, of_app) = config.split_once(&section).expect("in the config");
    let of_app = of_app.replacen(&bench.simulator.token_url(), token_url, 1);
    bench.write_whole_config(&format!("{before}{section}{of_app}"));
}

/// A server that does this with every connection.
async fn server<T: Future<Output = ()> + Send>(play: impl Fn(TcpStream) -> T + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            play(stream).await;
        }
    });
    address
}

/// A server of TLS with such a certificate.
async fn tls_server(authority: &Authority, name: &str, not_after: i32) -> SocketAddr {
    let acceptor = authority.acceptor(name, not_after);
    server(move |stream| {
        let handshake = acceptor.accept(stream);
        async move { drop(handshake.await) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_no_connection_costs_a_token_and_a_bad_certificate_is_an_error() {
    let (trusted, stranger) = (Authority::new(), Authority::new());
    let refusing = TcpSocket::new_v4().expect("a socket");
    refusing.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let (black_hole, _waiting) = full::full_listener().await;
    let resetting = server(|stream| {
        stream.set_zero_linger().expect("a socket");
        async move { drop(stream) }
    });
    let stalling = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let rows = [
        ("refused", "http", refusing.local_addr().expect("an address")),
        ("black hole", "http", black_hole.local_addr().expect("an address")),
        ("reset", "https", resetting.await),
        ("stall inside TLS", "https", stalling.local_addr().expect("an address")),
        ("plaintext peer", "https", server(say_http).await),
        ("bad certificate", "https", tls_server(&stranger, "127.0.0.1", FAR).await),
        ("wrong host", "https", tls_server(&trusted, "oauth.zaloapp.example", FAR).await),
        ("expired certificate", "https", tls_server(&trusted, "127.0.0.1", 2020).await),
    ];
    let bench = Bench::new().await;
    bench.set_extra(&format!("[http]\nca_file = \"{}\"\n", trusted.file().display()));
    bench.set_refresh(&ROOMY.replace("\"3s\"", "\"1s\""));
    for (_, oa) in rows.iter().zip(oas()) {
        bench.add_lone_oa(&oa, A_WHILE).await;
    }
    for ((_, scheme, address), oa) in rows.iter().zip(oas()) {
        fetch_at(&bench, &oa, &format!("{scheme}://{address}/v4/oa/access_token"));
    }
    let mut daemon = bench.start().await;
    for ((what, ..), oa) in rows.iter().zip(oas()) {
        let failed = daemon.wait_for_oa_nth("refresh.failed", &oa, 2).await;
        assert_eq!(failed["class"], "not_presented", "{what}: {failed}");
        bench.assert_is_handed_out(&oa, what).await;
        let refused = daemon.events("endpoint.certificate_refused");
        let is_named =
            refused.iter().any(|event| event["app_id"] == oa.as_str() && event["level"] == "ERROR");
        let is_certificate = ["bad certificate", "wrong host", "expired certificate"].contains(what);
        assert_eq!(is_named, is_certificate, "{what}: {refused:?}");
    }
    assert_eq!(
        bench.simulator.ledger().connections(),
        bench.simulator.ledger().probes(),
        "nobody else was asked"
    );
    bench.set_refresh(ROOMY);
    daemon.reload().await;
    for ((what, ..), oa) in rows.iter().zip(oas()) {
        daemon.wait_for_oa("refresh.succeeded", &oa).await;
        assert_eq!(bench.simulator.ledger().presentations_of(&oa), 1, "{what}");
    }
    assert!(daemon.stop().await.success());
    assert!(daemon.events("refresh.uncertain").is_empty());
    assert_clean(&bench.simulator.ledger());
}

async fn say_http(stream: TcpStream) {
    // Whoever speaks TLS to it may have gone before it is said.
    stream.writable().await.unwrap_or_default();
    stream.try_write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").unwrap_or_default();
    let mut rest = [0; 1_024];
    while stream.readable().await.is_ok() && stream.try_read(&mut rest).is_ok_and(|read| read > 0) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_a_name_that_nobody_resolves_costs_no_token_and_holds_no_stop_up() {
    let bench = Bench::new().await;
    bench.set_refresh(&ROOMY.replace("\"3s\"", "\"1s\""));
    bench.add_lone_oa("7", A_WHILE).await;
    let by_name = bench.simulator.token_url().replace("127.0.0.1", "localhost");
    fetch_at(&bench, "7", &by_name);
    let resolver = Resolver::hanging(&bench).await;
    let mut daemon = bench.start().await;
    let failed = daemon.wait_for_oa_nth("refresh.failed", "7", 2).await;
    assert_eq!(failed["class"], "not_presented", "it hangs: {failed}");
    assert!(daemon.stop().await.success());

    resolver.knows("127.0.0.1 elsewhere").await;
    let mut daemon = bench.start().await;
    let failed = daemon.wait_for_oa_nth("refresh.failed", "7", 2).await;
    assert_eq!(failed["class"], "not_presented", "no such host: {failed}");
    bench.assert_is_handed_out("7", "no such host").await;
    assert_eq!(bench.simulator.ledger().presentations(), 0);

    resolver.knows("127.0.0.1 localhost").await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    assert!(daemon.events("refresh.uncertain").is_empty());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.spends()), (1, 1), "{}", ledger.summary());
    assert_clean(&ledger);
}
