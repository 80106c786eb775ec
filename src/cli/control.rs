//! The commands' end of the daemon's control socket.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::{Instant, timeout_at};

use super::socket::{self, Unreached};
use super::{Failure, exit};
use crate::keeper::control::protocol::{Reply, Request};
use crate::keeper::control::socket_path;

/// How long a daemon may take for its first word; it is at once unless the daemon hangs.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// Why there is no reply.
pub(super) enum NoReply {
    /// No daemon listens.
    NotRunning,
    /// This user may not talk to it.
    NotPermitted,
    /// Somebody else listens in its place.
    Stranger(u32),
    /// It listens and says nothing.
    Silent,
    /// It did not come to an end in the time that was given.
    TooLong,
    /// The connection broke.
    Broken(String),
}

impl From<Unreached> for NoReply {
    fn from(why: Unreached) -> NoReply {
        match why {
            Unreached::NotThere => NoReply::NotRunning,
            Unreached::NotPermitted => NoReply::NotPermitted,
            Unreached::Stranger(uid) => NoReply::Stranger(uid),
            Unreached::Silent => NoReply::Silent,
            Unreached::Broken(what) => NoReply::Broken(what),
        }
    }
}

impl From<NoReply> for Failure {
    fn from(why: NoReply) -> Failure {
        let (exit_code, sentence) = match why {
            NoReply::NotRunning => (
                exit::NOT_RUNNING,
                "no daemon works on this store; start it (systemctl start zalo-tokend, or zalo-tokend run), and try again",
            ),
            NoReply::NotPermitted => (
                exit::NOT_PERMITTED,
                "this user may not talk to the daemon; run it as the daemon's user or as root",
            ),
            NoReply::Silent => (
                exit::NOT_NOW,
                "the daemon does not answer, and may still do it: look at its log and at zalo-tokend status before you ask \
                 again, and restart it if it hangs",
            ),
            NoReply::TooLong => (
                exit::NOT_NOW,
                "it is still under way, and goes on; see what becomes of it with zalo-tokend status",
            ),
            NoReply::Stranger(uid) => {
                let sentence = format!(
                    "uid {uid} listens where the daemon of this store should, and is not talked to; keep the store in a \
                     directory of its own"
                );
                return Failure::new(exit::NOT_PERMITTED, sentence);
            }
            NoReply::Broken(what) => {
                let sentence = format!(
                    "the daemon went away before it answered ({what}); look at its log, and try again"
                );
                return Failure::new(exit::NOT_NOW, sentence);
            }
        };
        Failure::new(exit_code, sentence)
    }
}

/// What the daemon says before its last word.
pub(super) enum Meanwhile<'m> {
    /// How far it is.
    Words(&'m str),
    /// A person is to open this address.
    Link(&'m str),
}

/// Asks the daemon, and hears its last word within `patience`. What it says meanwhile goes to `progress`.
pub(super) fn ask(
    store_path: &Path,
    request: &Request,
    patience: Duration,
    mut progress: impl FnMut(&str),
) -> Result<Reply, NoReply> {
    let meanwhile = |said: Meanwhile<'_>| {
        if let Meanwhile::Words(text) = said {
            progress(text);
        }
        true
    };
    let answered = ask_until(store_path, request, patience, meanwhile)?;
    answered.ok_or_else(|| NoReply::Broken("it was not heard to its end".to_owned()))
}

/// The same for what may take the daemon a while before its first word.
pub(super) fn ask_at_length(
    store_path: &Path,
    request: &Request,
    patience: Duration,
) -> Result<Reply, NoReply> {
    let heard = on_a_runtime(converse(store_path, request, patience, patience, |_| true))?;
    heard.ok_or_else(|| NoReply::Broken("it was not heard to its end".to_owned()))
}

/// The same, for whoever wants to hear all of it, and as long as `goes_on` says so. `None`: it does not any more.
pub(super) fn ask_until(
    store_path: &Path,
    request: &Request,
    patience: Duration,
    goes_on: impl FnMut(Meanwhile<'_>) -> bool,
) -> Result<Option<Reply>, NoReply> {
    on_a_runtime(converse(store_path, request, patience, FIRST_WORD, goes_on))
}

fn on_a_runtime<T>(work: impl Future<Output = Result<T, NoReply>>) -> Result<T, NoReply> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| NoReply::Broken(error.to_string()))?.block_on(work)
}

async fn converse(
    store_path: &Path,
    request: &Request,
    patience: Duration,
    first_word: Duration,
    mut goes_on: impl FnMut(Meanwhile<'_>) -> bool,
) -> Result<Option<Reply>, NoReply> {
    let until = Instant::now() + patience;
    let broken = |error: io::Error| NoReply::Broken(error.to_string());
    let believes = |listener| may_be_the_daemon(listener, store_path);
    let stream = socket::connect(&socket_path(store_path), patience, believes).await?;
    let (reader, mut writer) = stream.into_split();
    let mut line = serde_json::to_vec(request).map_err(|error| NoReply::Broken(error.to_string()))?;
    line.push(b'\n');
    match timeout_at(until, writer.write_all(&line)).await {
        Ok(written) => written.map_err(broken)?,
        Err(_) => return Err(NoReply::Silent),
    }
    let mut lines = BufReader::new(reader).lines();
    let mut has_spoken = false;
    loop {
        let wait_until = if has_spoken { until } else { until.min(Instant::now() + first_word) };
        let line = match timeout_at(wait_until, lines.next_line()).await {
            Ok(line) => line.map_err(broken)?,
            Err(_) if has_spoken => return Err(NoReply::TooLong),
            Err(_) => return Err(NoReply::Silent),
        };
        let Some(line) = line else { return Err(NoReply::Broken("it closed the connection".to_owned())) };
        has_spoken = true;
        let goes_on = match serde_json::from_str(&line) {
            Ok(Reply::Progress { text }) => goes_on(Meanwhile::Words(&text)),
            Ok(Reply::Link { url }) => goes_on(Meanwhile::Link(&url)),
            Ok(last) => return Ok(Some(last)),
            Err(_) => return Err(NoReply::Broken("it is of another version".to_owned())),
        };
        if !goes_on {
            return Ok(None);
        }
    }
}

/// What is said here may be a token. Where others may write beside the store, as in /tmp, they may listen too.
fn may_be_the_daemon(listener: u32, store_path: &Path) -> bool {
    let is_the_stores = || std::fs::metadata(store_path).is_ok_and(|store| store.uid() == listener);
    socket::is_root_or_oneself(listener) || (rustix::process::geteuid().is_root() && is_the_stores())
}

/// What a command makes of a reply that is only words.
pub(super) fn words(reply: Reply) -> Result<String, Failure> {
    match reply {
        Reply::Done { text } => Ok(text),
        Reply::Failed { text } => Err(Failure::new(exit::FAILED, text)),
        Reply::NotNow { text } => Err(Failure::new(exit::NOT_NOW, text)),
        Reply::Progress { .. } | Reply::Link { .. } | Reply::Status(_) | Reply::Undurable { .. } => {
            Err(Failure::new(exit::FAILED, "the daemon is of another version; restart it"))
        }
    }
}
