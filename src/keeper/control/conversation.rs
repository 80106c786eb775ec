//! One conversation: a request in, replies out, each within its time.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::super::Keeper;
use super::protocol::{DaemonStatus, HeldToken, LONGEST_REQUEST, Reply, Request};
use super::refresh::{self, Asker, Wish};
use super::{consent, resolve};
use crate::clock::Time;
use crate::id::OaId;
use crate::store::Health;

/// How long a request may take to come, and a reply to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// A program that talks to us.
pub(super) struct Conversation {
    reader: BufReader<tokio::io::Take<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl Conversation {
    pub(super) fn new(stream: UnixStream) -> Conversation {
        let (reader, writer) = stream.into_split();
        Conversation { reader: BufReader::new(reader.take(LONGEST_REQUEST)), writer }
    }

    /// From the request to the last reply, or until the other side stalls or goes away.
    pub(super) async fn hold(mut self, keeper: Arc<Keeper>) {
        let Some(line) = self.read_request().await else { return };
        let reply = match serde_json::from_str::<Request>(&line) {
            Ok(Request::Status {}) => Reply::Status(status(&keeper)),
            Ok(Request::Undurable { oa_id }) => Reply::Undurable { held: undurable(&keeper, &oa_id) },
            Ok(Request::Refresh { oa_id, trial }) => {
                let wish = Wish { trial, ..Wish::default() };
                refresh::run(&keeper, &OaId::from(oa_id), wish, &mut self).await
            }
            Ok(Request::Resolve { oa_id, decision }) => {
                resolve::run(&keeper, &OaId::from(oa_id), decision).await
            }
            Ok(Request::Authorize { oa_id }) => consent::begin(&keeper, &OaId::from(oa_id), &mut self).await,
            Ok(Request::Bring { oa_id, brought }) => {
                consent::bring(&keeper, &OaId::from(oa_id), brought).await
            }
            Ok(Request::Authorized { oa_id, at_ms }) => {
                let at = at_ms.map(Time::from_millis);
                said(keeper.authorized_by_person(&OaId::from(oa_id), at).await)
            }
            Ok(Request::VendorLink { oa_id }) => {
                self.say(&Reply::Progress { text: "asked for".to_owned() }).await;
                said(keeper.vendor_link(&OaId::from(oa_id)).await)
            }
            // Without the parser's words: it repeats what it read.
            Err(_) => Reply::Failed {
                text: "the daemon does not understand this request; it is of another version: restart it"
                    .to_owned(),
            },
        };
        self.say(&reply).await;
    }

    async fn read_request(&mut self) -> Option<String> {
        let mut line = String::new();
        match tokio::time::timeout(PATIENCE, self.reader.read_line(&mut line)).await {
            Ok(Ok(_)) if line.ends_with('\n') => Some(line),
            Ok(_) | Err(_) => None,
        }
    }

    /// Says it. `false`: the other side does not listen any more.
    pub(super) async fn say(&mut self, reply: &Reply) -> bool {
        let Ok(mut line) = serde_json::to_vec(reply) else { return false };
        line.push(b'\n');
        matches!(tokio::time::timeout(PATIENCE, self.writer.write_all(&line)).await, Ok(Ok(())))
    }
}

impl Asker for Conversation {
    async fn tell(&mut self, text: &str) {
        // Whoever went away is noticed while waiting.
        if !self.say(&Reply::Progress { text: text.to_owned() }).await {
            tracing::debug!("a program went away before it was answered");
        }
    }

    async fn gone(&mut self) {
        let mut rest = [0; 64];
        while matches!(self.reader.read(&mut rest).await, Ok(read) if read > 0) {}
    }
}

fn said(done: Result<String, String>) -> Reply {
    match done {
        Ok(text) => Reply::Done { text },
        Err(text) => Reply::Failed { text },
    }
}

fn status(keeper: &Keeper) -> DaemonStatus {
    DaemonStatus {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: keeper.started.time.to_string(),
        in_flight: keeper.claims.count_attempts(),
        store: match &*keeper.store.health().borrow() {
            Health::Well => "well".to_owned(),
            Health::Failed(detail) => detail.clone(),
        },
        undurable: keeper.undurable.oas().iter().map(ToString::to_string).collect(),
        lines_dropped: keeper.log.lines_dropped(),
    }
}

fn undurable(keeper: &Keeper, oa_id: &str) -> Option<HeldToken> {
    let valid = keeper.undurable.of(&OaId::from(oa_id)).filter(|valid| valid.expires_at > keeper.now())?;
    Some(HeldToken {
        access_token: valid.access_token.expose().to_owned(),
        expires_at_ms: valid.expires_at.as_millis(),
        generation: valid.generation,
    })
}
