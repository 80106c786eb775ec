//! A server played by hand, and an attempt whose journal the test holds in its hand.
//!
//! Nothing here knows HTTP beyond the end of a head: what goes over the wire is what the test says, byte by byte.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use zalo_tokend::clock::{Clock, Reading, Time, Uptime};
use zalo_tokend::id::AppId;
use zalo_tokend::oauth::refresh_form;
use zalo_tokend::rotation::{AnswerBytes, Ending, Exchange};
use zalo_tokend::secret::Secret;
use zalo_tokend::zalo::{Caps, Door, Gate, JournalFailure, Presentation, Presented, Received};

/// Far more than anything here takes: only a defect waits so long.
pub const SOON: Duration = Duration::from_secs(20);
/// How long a silence is listened to. That a byte does *not* come cannot be known over a wire, so the wait is
/// bounded: a byte that was released is here within a millisecond.
pub const SILENCE: Duration = Duration::from_millis(300);
/// A cap that a test waits for.
pub const SHORT: Duration = Duration::from_secs(2);
/// A cap that no test waits for.
pub const LONG: Duration = Duration::from_secs(60);

/// Sunday, 22 November 2026, 01:00:00 UTC: what the tests' clock says for ever.
pub const NOW: Time = Time::from_millis(1_795_309_200_000);
pub const REFRESH_TOKEN: &str = "CANARY-refresh/token+1";
pub const APP_SECRET: &str = "CANARY-app-secret";
pub const TOKEN_SET: &str =
    r#"{"access_token":"CANARY-new-access","refresh_token":"CANARY-new-refresh","expires_in":"90000"}"#;

struct StoppedClock;

impl Clock for StoppedClock {
    fn read(&self) -> Reading {
        Reading { time: NOW, uptime: Uptime(Duration::from_secs(7)), boot: Arc::from("boot") }
    }
}

/// A door without proxy; with `ca_file` it has a client for `https` too.
pub fn door(proxy: Option<&Url>, ca_file: Option<&Path>) -> Door {
    Door::new(proxy, ca_file, ca_file.is_some(), LONG, Arc::new(StoppedClock)).expect("a door")
}

pub fn plain_door() -> Door {
    door(None, None)
}

/// Waits for what must come.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("this comes soon")
}

/// A whole answer with this body.
pub fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A listener whose connections the test takes one by one.
pub struct Server {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Server {
    pub async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        Server { listener, address }
    }

    pub fn url(&self, scheme: &str) -> Url {
        token_url(scheme, &self.address.to_string())
    }

    pub async fn accept(&self) -> Wire {
        let (stream, _) = soon(self.listener.accept()).await.expect("a connection");
        Wire::new(stream)
    }

    /// No connection came but those that were taken: connections are handed out in the order in which they came,
    /// so the next must be the one that is made here.
    pub async fn assert_nobody_else_came(&self) {
        let last = TcpStream::connect(self.address).await.expect("it listens");
        let (_, next) = soon(self.listener.accept()).await.expect("a connection");
        assert_eq!(next, last.local_addr().expect("an address"), "one more connection came");
    }
}

pub fn token_url(scheme: &str, authority: &str) -> Url {
    format!("{scheme}://{authority}/v4/oa/access_token").parse().expect("an address")
}

/// A request as it came.
#[derive(Debug)]
pub struct Request {
    pub first_line: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    /// As much of it as was waited for.
    pub body: String,
}

/// One connection, from the server's side.
pub struct Wire<S = TcpStream> {
    /// `None` once it was reset.
    stream: Option<S>,
    seen: Vec<u8>,
}

impl Wire {
    /// RST instead of FIN: a close that drops what was not read and says so.
    pub fn reset(&mut self) {
        let stream = self.stream.take().expect("not reset yet");
        stream.set_zero_linger().expect("a socket");
    }

    /// The connection as it is, for a handshake.
    pub fn into_stream(self) -> TcpStream {
        self.stream.expect("not reset yet")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(stream: S) -> Wire<S> {
        Wire { stream: Some(stream), seen: Vec::new() }
    }

    fn stream(&mut self) -> &mut S {
        self.stream.as_mut().expect("not reset yet")
    }

    /// Reads the head and the body, but for the last `missing` bytes of it. What comes beyond is a defect.
    async fn read(&mut self, missing: usize) -> Request {
        loop {
            if let Some((head, body)) = self.seen.split_at_checked(end_of_head(&self.seen)) {
                let request = parse(head, body);
                let length =
                    request.headers.get("content-length").map_or(0, |n| n.parse().expect("a number"));
                let wanted = usize::saturating_sub(length, missing);
                assert!(body.len() <= wanted, "{} bytes too many came", body.len() - wanted);
                if body.len() == wanted {
                    return request;
                }
            }
            let stream = self.stream.as_mut().expect("not reset yet");
            let read = soon(stream.read_buf(&mut self.seen)).await.expect("the request");
            assert_ne!(read, 0, "it ended after {} bytes", self.seen.len());
        }
    }

    pub async fn read_all_but_the_last_byte(&mut self) -> Request {
        self.read(1).await
    }

    pub async fn read_request(&mut self) -> Request {
        self.read(0).await
    }

    /// Nothing comes for a while, neither a byte nor the end.
    pub async fn assert_silent(&mut self) {
        let read = timeout(SILENCE, self.stream().read_u8()).await;
        assert!(read.is_err(), "not silent: {read:?}");
    }

    /// Nothing comes for a while but the end.
    pub async fn assert_silent_or_ended(&mut self) {
        let Some(stream) = self.stream.as_mut() else { return };
        let read = timeout(SILENCE, stream.read_u8()).await;
        assert!(!matches!(read, Ok(Ok(_))), "a byte came");
    }

    /// Whatever still comes, until the other side closes or resets.
    pub async fn rest(&mut self) -> Vec<u8> {
        let Some(stream) = self.stream.as_mut() else { return Vec::new() };
        let mut rest = Vec::new();
        // A reset is an end like any other.
        soon(stream.read_to_end(&mut rest)).await.unwrap_or_default();
        rest
    }

    /// Says something. `false`: the other side does not listen any more.
    pub async fn say(&mut self, text: impl AsRef<[u8]>) -> bool {
        let stream = self.stream();
        soon(stream.write_all(text.as_ref())).await.is_ok() && soon(stream.flush()).await.is_ok()
    }

    /// Has said everything.
    pub async fn finish(&mut self) {
        soon(self.stream().shutdown()).await.expect("a connection");
    }
}

fn end_of_head(bytes: &[u8]) -> usize {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(usize::MAX, |at| at + 4)
}

fn parse(head: &[u8], body: &[u8]) -> Request {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let head = text(head);
    let (first_line, headers) = head.split_once("\r\n").expect("a line");
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_ascii_lowercase(), value.to_owned())
    };
    let headers: Vec<_> = headers.split("\r\n").filter(|line| !line.is_empty()).map(pair).collect();
    let distinct: BTreeMap<_, _> = headers.iter().cloned().collect();
    assert_eq!(distinct.len(), headers.len(), "a header came twice");
    Request { first_line: first_line.to_owned(), headers: distinct, body: text(body) }
}

/// A presentation under way. Its journal ends when the test says so.
pub struct Attempt {
    pub gate: Arc<Gate>,
    pub stop: CancellationToken,
    polled: oneshot::Receiver<()>,
    verdict: Option<oneshot::Sender<Result<(), JournalFailure>>>,
    task: JoinHandle<Presented>,
}

impl Attempt {
    pub fn start(door: &Door, token_url: Url, answer: Duration) -> Attempt {
        Attempt::start_under(door, token_url, answer, CancellationToken::new())
    }

    pub fn start_under(door: &Door, token_url: Url, answer: Duration, stop: CancellationToken) -> Attempt {
        let (poll, polled) = oneshot::channel();
        let (verdict, journalled) = oneshot::channel();
        let journal = async move {
            poll.send(()).expect("the test listens");
            journalled.await.expect("the test decides")
        };
        let presentation = Presentation {
            token_url,
            secret_key: Secret::new(APP_SECRET.to_owned()),
            form: refresh_form(&AppId::from("4242"), &Secret::new(REFRESH_TOKEN.to_owned())),
            caps: Caps { answer },
        };
        let gate = Arc::new(Gate::default());
        let task = tokio::spawn({
            let (door, gate, stop) = (door.clone(), Arc::clone(&gate), stop.clone());
            async move { door.present(presentation, &gate, &Received::default(), journal, &stop).await }
        });
        Attempt { gate, stop, polled, verdict: Some(verdict), task }
    }

    /// Waits until the journal is polled. `false`: it was dropped and never was.
    pub async fn journal_is_polled(&mut self) -> bool {
        soon(&mut self.polled).await.is_ok()
    }

    /// The journal has not been polled up to now.
    pub fn assert_journal_is_unpolled(&mut self) {
        assert_eq!(
            self.polled.try_recv(),
            Err(oneshot::error::TryRecvError::Empty),
            "the journal was polled"
        );
    }

    /// Ends the journal. `false`: nobody waits for it, it was dropped.
    pub fn commit(&mut self, result: Result<(), JournalFailure>) -> bool {
        self.verdict.take().expect("not ended yet").send(result).is_ok()
    }

    /// Waits until the gate is no longer as a new one.
    pub async fn gate_is_decided(&self) {
        let new = format!("{:?}", Gate::default());
        let decided = async {
            while format!("{:?}", self.gate) == new {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        soon(decided).await;
    }

    pub fn assert_under_way(&self) {
        assert!(!self.task.is_finished());
    }

    /// What happened, and what holds of everything that can happen.
    pub async fn end(self) -> Presented {
        let presented = soon(self.task).await.expect("no panic");
        assert_no_secret(&presented);
        match &presented.exchange {
            Exchange::NotPresented { .. } => {
                assert!(!self.gate.open(), "the gate was not barred for good");
                assert_eq!(presented.opened_at, None);
            }
            Exchange::Answered(_) | Exchange::NoAnswer { .. } => {
                assert!(!self.gate.bar(), "the gate was not open");
                assert_eq!(presented.opened_at, Some(StoppedClock.read()));
                assert_eq!(presented.journal_failure, None);
                assert!(presented.may_be_journalled);
                assert!(!presented.was_stopped && !presented.is_certificate_fault);
            }
        }
        presented
    }
}

pub fn assert_no_secret(thing: &impl Debug) {
    let shown = format!("{thing:?}");
    assert!(!shown.contains("CANARY"), "{shown}");
}

/// How long the service asked to wait, of an attempt that never went through the gate.
pub fn not_presented(presented: &Presented) -> Option<Duration> {
    let Exchange::NotPresented { retry_after, .. } = &presented.exchange else { panic!("{presented:?}") };
    *retry_after
}

pub fn assert_no_answer(presented: &Presented) {
    assert!(matches!(presented.exchange, Exchange::NoAnswer { .. }), "{presented:?}");
}

pub fn answered(presented: &Presented) -> &AnswerBytes {
    let Exchange::Answered(answer) = &presented.exchange else { panic!("{presented:?}") };
    answer
}

/// The status and the body of an answer that ended as announced.
pub fn whole(presented: &Presented) -> (u16, &str) {
    let answer = answered(presented);
    assert_eq!(answer.ending, Ending::Whole);
    (answer.status, std::str::from_utf8(&answer.body).expect("text"))
}

/// What had come of an answer that broke off.
pub fn cut_off(presented: &Presented) -> &[u8] {
    let answer = answered(presented);
    assert!(matches!(answer.ending, Ending::CutOff(_)), "{answer:?}");
    &answer.body
}
