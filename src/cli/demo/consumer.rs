//! A shop's program beside the daemon: it waits at the API for each newer access token of one OA, and sends a message with it.

use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::super::client;
use super::shops::SHOPS;
use super::stage::Stage;
use crate::id::OaId;
use crate::simulator::Simulator;

/// Whose tokens it takes.
pub(super) const CUSTOMER: usize = 1;
/// How long it waits for a newer token before it asks anew.
const WAIT: &str = "20s";
/// Longer than that, and than a report takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// While no daemon answers.
const PAUSE: Duration = Duration::from_millis(100);

/// What it did with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) generation: u64,
    pub(super) is_accepted: bool,
}

impl Used {
    /// In words.
    pub(super) fn told(self) -> String {
        let Used { generation, is_accepted } = self;
        let how = if is_accepted { "accepted by Zalo" } else { "REFUSED by Zalo" };
        format!("a consumer got generation {generation}, {how}")
    }
}

/// At work until dropped.
pub(super) struct Consumer {
    used: mpsc::Receiver<Used>,
    _task: AbortOnDropHandle<()>,
}

impl Consumer {
    pub(super) fn start(stage: &Stage) -> Consumer {
        let (tell, used) = mpsc::channel(16);
        let shop = Shop {
            socket: stage.api_socket(),
            zalo: authority(&stage.simulator),
            oa_id: OaId::from(SHOPS[CUSTOMER].oa_id),
        };
        Consumer { used, _task: AbortOnDropHandle::new(tokio::spawn(shop.work(tell))) }
    }

    /// The next token that it used.
    pub(super) async fn next(&mut self) -> Used {
        match self.used.recv().await {
            Some(used) => used,
            None => std::future::pending().await,
        }
    }
}

/// Host and port of where messages are sent.
fn authority(simulator: &Simulator) -> String {
    simulator.api_url().trim_start_matches("http://").to_owned()
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
    generation: u64,
}

struct Shop {
    socket: PathBuf,
    zalo: String,
    oa_id: OaId,
}

impl Shop {
    async fn work(self, tell: mpsc::Sender<Used>) {
        let mut generation = 0;
        loop {
            let target = format!("/token?after={generation}&wait={WAIT}");
            match self.ask(Request::get(client::route(&self.oa_id, &target)).body(Body::empty())).await {
                Some(token) => {
                    let used = self.put_to_use(token).await;
                    generation = used.generation;
                    if tell.send(used).await.is_err() {
                        return;
                    }
                }
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Sends a message. A token that is refused is reported, and the message sent with the newer one, if there is one.
    async fn put_to_use(&self, token: Token) -> Used {
        let Token { access_token, generation } = token;
        let error = self.send(&access_token).await;
        if error == Some(0) {
            return Used { generation, is_accepted: true };
        }
        let report = json!({ "generation": generation, "error": error }).to_string();
        let request = Request::post(client::route(&self.oa_id, "/token/reject")).body(Body::from(report));
        match self.ask(request).await {
            Some(newer) => {
                let is_accepted = self.send(&newer.access_token).await == Some(0);
                Used { generation: newer.generation, is_accepted }
            }
            None => Used { generation, is_accepted: false },
        }
    }

    /// A token, if the daemon is there and has one to give.
    async fn ask(&self, request: Result<Request<Body>, axum::http::Error>) -> Option<Token> {
        let (status, body) = client::converse(&self.socket, request.ok()?, PATIENCE).await.ok()?;
        if status == StatusCode::OK { serde_json::from_slice(&body).ok() } else { None }
    }

    /// Sends a message to a follower. What Zalo says of it, as its error code.
    async fn send(&self, access_token: &str) -> Option<i64> {
        let message = json!({ "recipient": { "user_id": "1" }, "message": { "text": "Xin chào" } });
        let request = Request::post("/v3.0/oa/message/cs")
            .header(header::HOST, &self.zalo)
            .header("access_token", access_token)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(message.to_string()))
            .ok()?;
        let stream = TcpStream::connect(&self.zalo).await.ok()?;
        let (_, body) = client::exchange(stream, request).await.ok()?;
        serde_json::from_slice::<Value>(&body).ok()?["error"].as_i64()
    }
}
