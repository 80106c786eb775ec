//! The gate, seen from the other end of the socket: what has to be true before the last byte comes (I1, I7).

#[path = "wire/full.rs"]
mod full;
mod wire;

use std::time::Duration;

use full::full_listener;
use tokio::net::TcpSocket;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::*;
use zalo_tokend::zalo::{JournalFailure, Presented};

/// An attempt of which the server has all but the last byte, and whose journal is under way.
struct AtTheGate {
    server: Server,
    wire: Wire,
    attempt: Attempt,
}

impl AtTheGate {
    async fn new(answer: Duration) -> AtTheGate {
        let server = Server::start().await;
        let mut attempt = Attempt::start(&plain_door(), server.url("http"), answer);
        let mut wire = server.accept().await;
        wire.read_all_but_the_last_byte().await;
        assert!(attempt.journal_is_polled().await);
        AtTheGate { server, wire, attempt }
    }

    /// The journal ends well, and too late: it was awaited, and the byte does not come.
    async fn commits_too_late(mut self) -> Presented {
        self.attempt.gate_is_decided().await;
        self.wire.assert_silent_or_ended().await;
        self.attempt.assert_under_way();
        assert!(self.attempt.commit(Ok(())), "the journal was not awaited to its end");
        self.ends_one_byte_short().await
    }

    async fn ends_one_byte_short(mut self) -> Presented {
        let presented = self.attempt.end().await;
        assert_eq!(self.wire.rest().await, b"", "the last byte came");
        self.server.assert_nobody_else_came().await;
        presented
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_byte_waits_for_the_journal_and_the_request_is_as_zalo_wants_it() {
    let AtTheGate { server, mut wire, mut attempt } = AtTheGate::new(LONG).await;
    wire.assert_silent().await;
    attempt.assert_under_way();
    assert!(!attempt.gate.is_open());

    assert!(attempt.commit(Ok(())));
    let request = wire.read_request().await;
    assert!(attempt.gate.is_open());
    wire.say(answer("200 OK", TOKEN_SET)).await;
    assert_eq!(whole(&attempt.end().await), (200, TOKEN_SET));
    assert_eq!(wire.rest().await, b"", "more than one request came");
    server.assert_nobody_else_came().await;

    assert_eq!(request.first_line, "POST /v4/oa/access_token HTTP/1.1");
    let header = |name| request.headers.get(name).map(String::as_str);
    assert_eq!(header("content-length"), Some(request.body.len().to_string().as_str()));
    assert_eq!(header("transfer-encoding"), None);
    assert_eq!(header("expect"), None);
    assert_eq!(header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(header("secret_key"), Some(APP_SECRET));
    assert_eq!(header("host"), Some(server.address.to_string().as_str()));
    let form: Vec<_> = form_urlencoded::parse(request.body.as_bytes()).into_owned().collect();
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [
        field("app_id", "4242"),
        field("grant_type", "refresh_token"),
        field("refresh_token", REFRESH_TOKEN),
    ];
    assert_eq!(form, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_else_is_on_the_wire_when_the_journal_is_polled() {
    let server = Server::start().await;
    let mut attempt = Attempt::start(&plain_door(), server.url("http"), LONG);
    let mut wire = server.accept().await;
    assert!(attempt.journal_is_polled().await);
    // Nothing moves the attempt on any more, so what is read now was sent before the journal.
    wire.read_all_but_the_last_byte().await;
    assert!(attempt.commit(Ok(())));
    wire.read_request().await;
    wire.say(answer("200 OK", "{}")).await;
    assert_eq!(whole(&attempt.end().await).0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_connection_nothing_is_journalled() {
    // Bound and not listening: the port is refused, and nobody else gets it meanwhile.
    let refusing = TcpSocket::new_v4().expect("a socket");
    refusing.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let refusing_address = refusing.local_addr().expect("an address");
    let (full, _waiting) = full_listener().await;
    let full_address = full.local_addr().expect("an address");
    for (what, authority) in [
        ("refused", refusing_address.to_string()),
        ("no such name", "zalo-tokend.invalid".to_owned()),
        ("nobody accepts", full_address.to_string()),
    ] {
        let mut attempt = Attempt::start(&plain_door(), token_url("http", &authority), SHORT);
        assert!(!attempt.journal_is_polled().await, "{what}: the journal was polled");
        let presented = attempt.end().await;
        assert_eq!(not_presented(&presented), None, "{what}");
        assert!(!presented.may_be_journalled && !presented.was_stopped, "{what}: {presented:?}");
        assert_eq!(presented.journal_failure, None, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_without_a_client_bars_the_gate() {
    let server = Server::start().await;
    let mut attempt = Attempt::start(&plain_door(), server.url("https"), LONG);
    assert!(!attempt.journal_is_polled().await);
    let presented = attempt.end().await;
    assert_eq!(not_presented(&presented), None);
    assert!(!presented.may_be_journalled);
    server.assert_nobody_else_came().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_a_reset_at_accept_leaves_the_token_unpresented() {
    for _ in 0..20 {
        let server = Server::start().await;
        let mut attempt = Attempt::start(&plain_door(), server.url("http"), LONG);
        server.accept().await.reset();
        attempt.gate_is_decided().await;
        attempt.commit(Ok(()));
        // The reset races with the first bytes: whether it is noticed before the journal or during it, the
        // report has to fit.
        let was_polled = attempt.journal_is_polled().await;
        let presented = attempt.end().await;
        assert_eq!(not_presented(&presented), None);
        assert_eq!(presented.may_be_journalled, was_polled);
        server.assert_nobody_else_came().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_a_connection_that_dies_during_the_commit_leaves_the_token_unpresented() {
    for is_reset in [false, true] {
        let mut at = AtTheGate::new(LONG).await;
        if is_reset {
            at.wire.reset();
        } else {
            at.wire.finish().await;
        }
        let presented = at.commits_too_late().await;
        assert_eq!(not_presented(&presented), None);
        assert!(presented.may_be_journalled && !presented.was_stopped);
        assert_eq!(presented.journal_failure, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_a_commit_that_failed_holds_the_byte_back_for_good() {
    let full = JournalFailure::Unavailable("disk full".to_owned());
    for (failure, may_be_journalled) in [(full, true), (JournalFailure::Stale, false)] {
        let mut at = AtTheGate::new(LONG).await;
        assert!(at.attempt.commit(Err(failure.clone())));
        let presented = at.ends_one_byte_short().await;
        assert_eq!(not_presented(&presented), None);
        assert_eq!(presented.journal_failure, Some(failure));
        assert_eq!(presented.may_be_journalled, may_be_journalled);
        assert!(!presented.was_stopped);
    }
}

/// What no server should say before it has the whole request, and how long it asks to wait.
fn early_answers() -> [(String, Option<Duration>); 4] {
    let throttled = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n";
    [
        (throttled.to_owned(), Some(Duration::from_secs(30))),
        (answer("503 Service Unavailable", "<html>"), None),
        (answer("200 OK", TOKEN_SET), None),
        ("HTTP/1.1 307 x\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".to_owned(), None),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_an_answer_during_the_commit_bars_the_gate() {
    for (early, wait) in early_answers() {
        let mut at = AtTheGate::new(LONG).await;
        assert!(at.wire.say(early).await);
        let presented = at.commits_too_late().await;
        assert_eq!(not_presented(&presented), wait);
        assert!(presented.may_be_journalled && !presented.was_stopped);
        assert_eq!(presented.journal_failure, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_early_answer_the_journal_still_says_whether_there_is_a_row() {
    for (end, may_be_journalled) in
        [(JournalFailure::Stale, false), (JournalFailure::Unavailable("nobody knows".to_owned()), true)]
    {
        let mut at = AtTheGate::new(LONG).await;
        at.wire.say(answer("503 x", "")).await;
        at.attempt.gate_is_decided().await;
        assert!(at.attempt.commit(Err(end)));
        let presented = at.ends_one_byte_short().await;
        assert_eq!(not_presented(&presented), None);
        assert_eq!(presented.may_be_journalled, may_be_journalled);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_anything_was_read_bars_the_gate() {
    for (early, _) in early_answers() {
        let server = Server::start().await;
        let mut attempt = Attempt::start(&plain_door(), server.url("http"), LONG);
        let mut wire = server.accept().await;
        wire.say(early).await;
        attempt.gate_is_decided().await;
        attempt.commit(Ok(()));
        let was_polled = attempt.journal_is_polled().await;
        let presented = attempt.end().await;
        // An answer that is there before the request is none: it may be refused or read, so its wait is not
        // asked for here.
        not_presented(&presented);
        assert_eq!(presented.may_be_journalled, was_polled);
        let came = String::from_utf8(wire.rest().await).expect("text");
        let token = form_urlencoded::byte_serialize(REFRESH_TOKEN.as_bytes()).collect::<String>();
        assert!(!came.contains(&token), "the last byte came");
        server.assert_nobody_else_came().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interim_answer_decides_nothing() {
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"] {
        let AtTheGate { server, mut wire, mut attempt } = AtTheGate::new(LONG).await;
        wire.say(interim).await;
        wire.assert_silent().await;
        assert!(attempt.commit(Ok(())));
        wire.read_request().await;
        wire.say(answer("200 OK", TOKEN_SET)).await;
        assert_eq!(whole(&attempt.end().await), (200, TOKEN_SET));
        server.assert_nobody_else_came().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_a_cap_that_ends_during_the_commit_bars_the_gate() {
    let at = AtTheGate::new(SHORT).await;
    let presented = at.commits_too_late().await;
    assert_eq!(not_presented(&presented), None);
    assert!(presented.may_be_journalled && !presented.was_stopped);
    assert_eq!(presented.journal_failure, None);
}

/// One thread, whose clock jumps to the next timer once it stands still: the ten seconds take none.
#[tokio::test]
async fn a_commit_has_ten_seconds_however_long_an_answer_may_take() {
    let started = Instant::now();
    let at = AtTheGate::new(Duration::from_secs(300)).await;
    tokio::time::pause();
    at.attempt.gate_is_decided().await;
    tokio::time::resume();
    let waited = started.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_secs(15)).contains(&waited), "{waited:?}");
    assert_eq!(not_presented(&at.commits_too_late().await), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_its_owner_barred_during_the_commit_stays_shut() {
    let at = AtTheGate::new(LONG).await;
    assert!(at.attempt.gate.bar());
    let presented = at.commits_too_late().await;
    assert_eq!(not_presented(&presented), None);
    assert!(presented.may_be_journalled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_during_the_commit_bars_the_gate() {
    let at = AtTheGate::new(LONG).await;
    at.attempt.stop.cancel();
    let presented = at.commits_too_late().await;
    assert_eq!(not_presented(&presented), None);
    assert!(presented.was_stopped && presented.may_be_journalled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_a_stop_before_the_gate_bars_it_unjournalled() {
    // Before the call, and while nobody accepts.
    let (full, _waiting) = full_listener().await;
    let url = token_url("http", &full.local_addr().expect("an address").to_string());
    for is_before in [true, false] {
        let stop = CancellationToken::new();
        if is_before {
            stop.cancel();
        }
        let mut attempt = Attempt::start_under(&plain_door(), url.clone(), LONG, stop);
        if !is_before {
            tokio::time::sleep(SILENCE).await;
            attempt.assert_journal_is_unpolled();
            attempt.stop.cancel();
        }
        assert!(!attempt.journal_is_polled().await);
        let presented = attempt.end().await;
        assert_eq!(not_presented(&presented), None);
        assert!(presented.was_stopped && !presented.may_be_journalled);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_after_the_gate_opened_cancels_nothing() {
    let AtTheGate { server, mut wire, mut attempt } = AtTheGate::new(LONG).await;
    assert!(attempt.commit(Ok(())));
    wire.read_request().await;
    attempt.stop.cancel();
    wire.assert_silent().await;
    let (head, body) = TOKEN_SET.split_at(20);
    wire.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", TOKEN_SET.len())).await;
    wire.assert_silent().await;
    attempt.assert_under_way();
    wire.say(body).await;
    assert_eq!(whole(&attempt.end().await), (200, TOKEN_SET));
    server.assert_nobody_else_came().await;
}
