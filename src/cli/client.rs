//! The commands' end of the API's socket: one request a connection, and a whole answer within a time.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::socket::{self, Unreached};
use super::{Failure, exit};
use crate::id::OaId;
use crate::store::State;

/// The longest answer in bytes: a thousand OAs, or the journal of one, fit in many times.
const LONGEST_ANSWER: usize = 64 << 20;
/// What does not stand in a path as it is: also the dot, of which two lead elsewhere.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

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

impl From<Unreached> for Unanswered {
    fn from(why: Unreached) -> Unanswered {
        match why {
            Unreached::NotThere => Unanswered::NotThere,
            Unreached::NotPermitted => Unanswered::NotPermitted,
            Unreached::Stranger(uid) => Unanswered::Stranger(uid),
            Unreached::Silent => Unanswered::Silent,
            Unreached::Broken(what) => Unanswered::Broken(what),
        }
    }
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
    format!("/v1/oas/{}{rest}", utf8_percent_encode(oa_id.as_str(), ESCAPED))
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
    let stream = socket::connect(socket, patience, |listener| may_be_the_daemon(listener, socket)).await?;
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
    if socket::is_root_or_oneself(listener) {
        return true;
    }
    let directory = socket.parent().and_then(|directory| std::fs::metadata(directory).ok());
    directory.is_some_and(|directory| directory.mode() & 0o002 == 0)
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
