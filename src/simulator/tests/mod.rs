//! The simulator seen from outside: a client that writes bytes by hand, so that nothing of the daemon's helps it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

mod consent;
mod control;
mod faults;
mod judging;
mod plain;
mod vendor;

/// Far more than anything here takes: only a defect waits so long.
const SOON: Duration = Duration::from_secs(20);
const APP_SECRET: &str = "CANARY-app-secret";

/// A simulator with one app and one OA, and the last set that a client was given.
struct Play {
    simulator: Simulator,
    access: String,
    refresh: String,
}

impl Play {
    async fn new() -> Play {
        let simulator = Simulator::start(anywhere(), Variant::default()).await.expect("a free port");
        simulator.add_app("app", APP_SECRET);
        let granted = simulator.grant("app", "oa");
        Play { access: text(&granted, "access_token"), refresh: text(&granted, "refresh_token"), simulator }
    }

    async fn with(fault: Fault) -> Play {
        let play = Play::new().await;
        play.simulator.fault(Rule::once(fault));
        play
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.simulator.addr()).await.expect("it listens")
    }

    fn request(&self) -> Vec<u8> {
        request("app", APP_SECRET, &self.refresh)
    }

    /// Presents the refresh token and reads whatever comes.
    async fn present(&self) -> Got {
        let mut stream = self.connect().await;
        send(&mut stream, &self.request()).await;
        read_answer(&mut stream).await
    }

    /// Presents the refresh token, and goes without waiting for the answer once the ledger shows it.
    async fn present_and_go(&self) {
        let before = self.simulator.ledger().presentations();
        let mut stream = self.connect().await;
        send(&mut stream, &self.request()).await;
        self.until(|ledger| ledger.presentations() > before).await;
    }

    async fn probe(&self) -> i64 {
        let got = self.probe_raw().await;
        got.json()["error"].as_i64().expect("a code")
    }

    async fn probe_raw(&self) -> Got {
        let address = self.simulator.api_url().replace("http://", "");
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request =
            format!("GET /v2.0/oa/getoa HTTP/1.1\r\nHost: z\r\naccess_token: {}\r\n\r\n", self.access);
        send(&mut stream, request.as_bytes()).await;
        read_answer(&mut stream).await
    }

    /// After so many violations there are others that say this, or none.
    fn assert_said_since(&self, before: usize, wanted: Option<&str>) {
        let violations = self.simulator.ledger().violations();
        let said = format!("{:?}", &violations[before..]);
        match wanted {
            Some(wanted) => assert!(said.contains(wanted), "{wanted}: {said}"),
            None => assert_eq!(violations.len(), before, "{said}"),
        }
    }

    async fn until(&self, wanted: impl Fn(&Ledger) -> bool) -> Ledger {
        self.simulator.wait_until(wanted, SOON).await.expect("it comes to pass")
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is a string in {value}")).to_owned()
}

fn request(app: &str, secret: &str, refresh: &str) -> Vec<u8> {
    with_body(secret, &format!("grant_type=refresh_token&app_id={app}&refresh_token={refresh}"))
}

fn with_body(secret: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "POST /v4/oa/access_token HTTP/1.1\r\nHost: z\r\nsecret_key: {secret}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    format!("{head}{body}").into_bytes()
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("it can be sent");
}

/// What came back, and how it ended.
#[derive(Debug)]
struct Got {
    status: Option<u16>,
    head: String,
    body: Vec<u8>,
    end: End,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    /// As much as `Content-Length` says came, and the connection stands.
    Whole,
    Fin,
    Rst,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("JSON: {self:?}"))
    }
}

async fn read_answer(stream: &mut TcpStream) -> Got {
    let mut bytes = Vec::new();
    let reading = async {
        loop {
            if is_whole(&bytes) {
                return End::Whole;
            }
            match stream.read_buf(&mut bytes).await {
                Ok(0) => return End::Fin,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return End::Rst,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let end = tokio::time::timeout(SOON, reading).await.expect("an end in time");
    let head_length = head_length(&bytes).unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..head_length]).into_owned();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Got { status, head, body: bytes[head_length..].to_vec(), end }
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some(head_length) = head_length(bytes) else { return false };
    let head = String::from_utf8_lossy(&bytes[..head_length]).to_ascii_lowercase();
    let told = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    told.is_some_and(|told: usize| bytes.len() - head_length >= told)
}

/// The kinds of entries of one connection, in order.
fn kinds(ledger: &Ledger, connection: u64) -> Vec<Kind> {
    let of_it = |entry: &&Entry| entry.connection == Some(connection);
    ledger.entries().iter().filter(of_it).map(|entry| entry.kind.clone()).collect()
}

fn has_ended(ledger: &Ledger) -> bool {
    ledger.entries().iter().any(|entry| {
        matches!(
            entry.kind,
            Kind::AnswerSent { .. }
                | Kind::AnswerLost { .. }
                | Kind::Unanswered { .. }
                | Kind::Incomplete { .. }
        )
    })
}
