//! A server that is told of events: it writes down what it gets, and answers as a test wants it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::harness::{DEADLINE, assert_no_secret, lock};

/// What was told.
#[derive(Clone, Debug)]
pub struct Told {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Told {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub fn delivery(&self) -> &str {
        &self.headers["x-zalo-tokend-delivery"]
    }

    pub fn is_about(&self, oa: &str) -> bool {
        self.json()["oa_id"] == oa
    }
}

/// Says with what the n-th (from 0) is answered: a status line and more headers; `None`: not at all.
type Answer = dyn Fn(usize, &Told) -> Option<String> + Send + Sync;

pub struct Receiver {
    pub address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Receiver {
    pub async fn start(answer: impl Fn(usize, &Told) -> Option<String> + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let (told, answer) = (Arc::<Mutex<Vec<Told>>>::default(), Arc::<Box<Answer>>::new(Box::new(answer)));
        let own = Arc::clone(&told);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&own), Arc::clone(&answer)));
            }
        });
        Receiver { address, told }
    }

    /// One that takes everything.
    pub async fn willing() -> Receiver {
        Receiver::start(|_, _| taken()).await
    }

    pub fn told(&self) -> Vec<Told> {
        lock(&self.told).clone()
    }

    /// Waits until it was told so often.
    pub async fn wait_for(&self, count: usize) -> Vec<Told> {
        super::until(&format!("{count} are told"), || self.told().len() >= count).await;
        self.told()
    }

    /// The section of the config, for these events of all OAs.
    pub fn section(&self, events: &str) -> String {
        let address = self.address;
        format!(
            "[[publish]]\noas = [\"*\"]\nwebhook = \"http://{address}/hook?key=1\"\nevents = [{events}]\n\
             secret_file = \"webhook.secret\"\n"
        )
    }
}

pub fn taken() -> Option<String> {
    Some("204 No Content".to_owned())
}

async fn serve(stream: TcpStream, told: Arc<Mutex<Vec<Told>>>, answer: Arc<Box<Answer>>) {
    let mut stream = BufReader::new(stream);
    let Ok(Some(request)) = tokio::time::timeout(DEADLINE, read(&mut stream)).await else { return };
    assert_no_secret(format!("{request:?}").as_bytes(), "a webhook");
    let number = {
        let mut told = lock(&told);
        told.push(request.clone());
        told.len() - 1
    };
    match answer(number, &request) {
        Some(head) => {
            let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            // It may have gone away.
            stream.write_all(answer.as_bytes()).await.ok();
        }
        None => drop(stream),
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Told> {
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
    Some(Told { line: lines[0].clone(), headers, body: String::from_utf8(body).ok()? })
}
