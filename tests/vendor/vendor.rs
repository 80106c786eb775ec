//! A vendor: he writes down what he is asked, and answers as a test wants it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::harness::{DEADLINE, lock};
use super::{KEY, LINK};

/// A question.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The first line.
    pub line: String,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Asked {
    pub fn oa(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).expect("JSON");
        body["oa_id"].as_str().expect("an OA").to_owned()
    }

    pub fn is_for_a_link(&self) -> bool {
        self.line.contains("/refresh-token ") || self.line.contains("/RefreshToken ")
    }

    pub fn has_key(&self) -> bool {
        let bearer = format!("Bearer {KEY}");
        self.headers.get("api-key").is_some_and(|key| key == KEY)
            || self.headers.get("authorization").is_some_and(|key| *key == bearer)
    }
}

/// How a question is answered.
pub enum Reply {
    /// A status, and a body.
    Says(u16, String),
    /// The connection is cut.
    Cut,
    /// Nothing, for as long as it is waited for.
    Stall,
}

/// A link in the first style.
pub fn link() -> Reply {
    says(200, &json!({"code": 0, "data": {"url": LINK}, "message": "OK", "referentId": "r-1"}))
}

pub fn says(status: u16, body: &Value) -> Reply {
    Reply::Says(status, body.to_string())
}

/// How an OA stands.
pub fn stands(status: &str, expires_at: &str) -> Reply {
    let data = json!({"oa_id": "1", "name": "A", "status": status, "expires_at": expires_at});
    says(200, &json!({"code": 200, "data": data, "message": "", "referentId": ""}))
}

/// Nothing is known of how OAs stand, and whoever asks for a link gets one.
pub fn willing(asked: &Asked) -> Reply {
    if asked.is_for_a_link() { link() } else { says(404, &json!({})) }
}

/// Says with what a question is answered.
type Answer = dyn Fn(&Asked) -> Reply + Send + Sync;

pub struct Vendor {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    answer: Arc<Mutex<Box<Answer>>>,
    changed: watch::Receiver<usize>,
    at_once: Arc<AtOnce>,
}

/// How many questions there are at once.
#[derive(Default)]
struct AtOnce {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Vendor {
    pub async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Vendor {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let answer: Arc<Mutex<Box<Answer>>> = Arc::new(Mutex::new(Box::new(answer)));
        let (tell, changed) = watch::channel(0);
        let (own_asked, own_answer, tell) = (Arc::clone(&asked), Arc::clone(&answer), Arc::new(tell));
        let at_once = Arc::<AtOnce>::default();
        let own_at_once = Arc::clone(&at_once);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (asked, answer, tell) =
                    (Arc::clone(&own_asked), Arc::clone(&own_answer), Arc::clone(&tell));
                let at_once = Arc::clone(&own_at_once);
                tokio::spawn(async move {
                    let now = at_once.now.fetch_add(1, Ordering::SeqCst) + 1;
                    at_once.most.fetch_max(now, Ordering::SeqCst);
                    serve(stream, asked, answer, tell).await;
                    at_once.now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Vendor { address, asked, answer, changed, at_once }
    }

    /// From now on it is answered so.
    pub fn answer(&self, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *lock(&self.answer) = Box::new(answer);
    }

    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.asked).clone()
    }

    /// The most questions that there were at once.
    pub fn most_at_once(&self) -> usize {
        self.at_once.most.load(Ordering::SeqCst)
    }

    /// The questions for a link for this OA.
    pub fn links_of(&self, oa: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.is_for_a_link() && asked.oa() == oa).collect()
    }

    /// Waits until what he was asked is as wanted.
    pub async fn wait_until(&self, wanted: impl Fn(&[Asked]) -> bool) {
        let mut changed = self.changed.clone();
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                changed.borrow_and_update();
                if wanted(&self.asked()) {
                    return;
                }
                changed.changed().await.expect("he listens");
            }
        });
        waited.await.unwrap_or_else(|_| panic!("he is not asked so: {:?}", self.asked()));
    }
}

async fn serve(
    stream: TcpStream,
    all: Arc<Mutex<Vec<Asked>>>,
    answer: Arc<Mutex<Box<Answer>>>,
    tell: Arc<watch::Sender<usize>>,
) {
    let mut stream = BufReader::new(stream);
    let Ok(Some(asked)) = tokio::time::timeout(DEADLINE, read(&mut stream)).await else { return };
    let reply = lock(&answer)(&asked);
    lock(&all).push(asked);
    tell.send_modify(|count| *count += 1);
    match reply {
        Reply::Says(status, body) => {
            let length =
                if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
            let body = if status == 204 { "" } else { &body };
            let answer = format!("HTTP/1.1 {status} X\r\n{length}Connection: close\r\n\r\n{body}");
            // It may have gone away.
            stream.write_all(answer.as_bytes()).await.ok();
        }
        Reply::Cut => drop(stream),
        Reply::Stall => {
            let mut rest = [0; 1];
            stream.read_exact(&mut rest).await.ok();
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|count| *count > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: BTreeMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    Some(Asked { line: lines[0].clone(), headers, body: String::from_utf8(body).ok()? })
}
