//! The commands' end of the API's socket: one request a connection, and a whole answer within a time.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use super::{Failure, exit};
use crate::id::OaId;
use crate::keeper::control::address_of;
use crate::store::State;

/// How long a daemon may take to be reached; it is at once unless the daemon hangs.
const REACHED: Duration = Duration::from_secs(5);
/// The longest answer in bytes: a thousand OAs, or the journal of one, fit in many times.
const LONGEST_ANSWER: usize = 64 << 20;

/// Why there is nothing from the API to go by.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// No daemon listens.
    NotThere,
    /// This user may not connect.
    NotPermitted,
    /// Somebody else may listen in its place.
    Stranger(u32),
    /// It did not answer in time.
    Silent,
    /// The connection broke, or what came is not understood.
    Broken(String),
    /// It says that it cannot now. In its words.
    NotNow(String),
}

impl Unanswered {
    /// What is the matter with the API at this socket.
    pub(super) fn told(&self, socket: &Path) -> String {
        let socket = socket.display();
        match self {
            Unanswered::NotThere => format!("no daemon listens at {socket}"),
            Unanswered::NotPermitted => {
                format!("this user may not connect to {socket}: let it join the group of that socket")
            }
            Unanswered::Stranger(uid) => format!(
                "uid {uid} listens at {socket}, where anybody could, and is not talked to; keep the socket in a \
                 directory of the daemon's own"
            ),
            Unanswered::Silent => format!("the daemon at {socket} does not answer in time"),
            Unanswered::Broken(what) => format!("the daemon at {socket} gave no answer: {what}"),
            Unanswered::NotNow(detail) => detail.clone(),
        }
    }
}

/// What the API says instead of what was asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    /// The stable word.
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    status: u16,
    /// A sentence.
    pub(super) detail: String,
    /// How the OA stands, where it has no token.
    pub(super) state: Option<State>,
    /// The vendor who keeps the OA's tokens.
    pub(super) vendor: Option<String>,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        let exit_code = match problem.status {
            401 | 403 => exit::NOT_PERMITTED,
            429 | 503 => exit::NOT_NOW,
            _ => exit::FAILED,
        };
        Failure::new(exit_code, problem.detail)
    }
}

/// Why a request did not bring what it asked for.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The API cannot tell.
    Unanswered(Unanswered),
    /// It told something else.
    Problem(Problem),
}

/// The path of a route of this OA, whatever the OA is called.
pub(super) fn route(oa_id: &OaId, rest: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let id: String = oa_id.as_str().bytes().map(|byte| escaped(byte, plain(byte))).collect();
    format!("/v1/oas/{id}{rest}")
}

fn escaped(byte: u8, is_plain: bool) -> String {
    if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

/// Asks for what a route has to tell.
pub(super) fn get<T: DeserializeOwned>(
    socket: &Path,
    target: &str,
    patience: Duration,
) -> Result<T, Trouble> {
    ask(socket, Method::GET, target, patience)
}

/// Asks the daemon to do something.
pub(super) fn post<T: DeserializeOwned>(
    socket: &Path,
    target: &str,
    patience: Duration,
) -> Result<T, Trouble> {
    ask(socket, Method::POST, target, patience)
}

fn ask<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    target: &str,
    patience: Duration,
) -> Result<T, Trouble> {
    let broken = |what: String| Trouble::Unanswered(Unanswered::Broken(what));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| broken(error.to_string()))?;
    let request = Request::builder().method(method).uri(target).header(header::HOST, "localhost");
    let request = request.body(Body::empty()).map_err(|error| broken(error.to_string()))?;
    let answer = runtime.block_on(converse(socket, request, patience));
    let (status, body) = answer.map_err(Trouble::Unanswered)?;
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(|_| broken("it is of another version".to_owned()));
    }
    let problem: Problem = serde_json::from_slice(&body)
        .map_err(|_| broken(format!("it is not zalo-tokend's, and answers with {status}")))?;
    match problem.kind.as_str() {
        "not_now" | "store_unavailable" | "too_many_requests" => {
            Err(Trouble::Unanswered(Unanswered::NotNow(problem.detail)))
        }
        "no_such_route" | "method_not_allowed" => Err(broken("it is of another version".to_owned())),
        _ => Err(Trouble::Problem(problem)),
    }
}

/// Asks at the socket. The whole answer comes within `patience`, or none.
pub(super) async fn converse(
    socket: &Path,
    request: Request<Body>,
    patience: Duration,
) -> Result<(StatusCode, Vec<u8>), Unanswered> {
    let (address, _directory) = address_of(socket).map_err(|error| unreachable(&error))?;
    let connecting = tokio::time::timeout(REACHED.min(patience), UnixStream::connect(&address));
    let stream = connecting.await.map_err(|_| Unanswered::Silent)?;
    let stream = stream.map_err(|error| unreachable(&error))?;
    let listener = stream.peer_cred().map_err(|error| unreachable(&error))?.uid();
    if !may_be_the_daemon(listener, socket) {
        return Err(Unanswered::Stranger(listener));
    }
    let answered = tokio::time::timeout(patience, exchange(stream, request)).await;
    answered.unwrap_or(Err(Unanswered::Silent))
}

/// Sends one request over a connection of its own, and takes the whole answer.
pub(super) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
) -> Result<(StatusCode, Vec<u8>), Unanswered> {
    let broken = |error: &dyn std::fmt::Display| Unanswered::Broken(error.to_string());
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    // It ends with this.
    let _talk = AbortOnDropHandle::new(tokio::spawn(connection));
    let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let (head, body) = answer.into_parts();
    let body = axum::body::to_bytes(Body::new(body), LONGEST_ANSWER).await.map_err(|error| broken(&error))?;
    Ok((head.status, body.to_vec()))
}

/// What is handed out here is sent to Zalo by whoever asks. Where anybody may write, as in /tmp, anybody may listen.
fn may_be_the_daemon(listener: u32, socket: &Path) -> bool {
    if listener == 0 || listener == rustix::process::geteuid().as_raw() {
        return true;
    }
    let directory = socket.parent().and_then(|directory| std::fs::metadata(directory).ok());
    directory.is_some_and(|directory| directory.mode() & 0o002 == 0)
}

fn unreachable(error: &io::Error) -> Unanswered {
    let kind = error.kind();
    if matches!(
        kind,
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory
    ) {
        Unanswered::NotThere
    } else if kind == io::ErrorKind::PermissionDenied {
        Unanswered::NotPermitted
    } else if kind == io::ErrorKind::WouldBlock {
        // The queue of those who want to talk is full.
        Unanswered::Silent
    } else {
        Unanswered::Broken(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oa_has_one_route_however_it_is_written() {
        let route = |id: &str| route(&OaId::from(id), "/token");
        assert_eq!(route("579745863508352884"), "/v1/oas/579745863508352884/token");
        assert_eq!(route(".."), "/v1/oas/%2E%2E/token");
        assert_eq!(route("a/b?c d"), "/v1/oas/a%2Fb%3Fc%20d/token");
    }

    #[test]
    fn where_anybody_may_write_only_root_and_oneself_are_believed() {
        let own = rustix::process::geteuid().as_raw();
        let everybodys = Path::new("/tmp/api.sock");
        assert!(may_be_the_daemon(own, everybodys) && may_be_the_daemon(0, everybodys));
        assert!(!may_be_the_daemon(own + 1, everybodys));
        assert!(may_be_the_daemon(own + 1, Path::new("/usr/api.sock")));
        assert!(!may_be_the_daemon(own + 1, Path::new("/no/such/place/api.sock")));
    }
}
