//! The doors: listeners, and each connection's way from accept to its end. There are two doors to one Zalo: the
//! token endpoint's, which faults at accept and [`go_down`](super::Simulator::go_down) concern, and the API's,
//! which they do not. Both serve every path. May import nothing of ours but its own room.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::connection::{Connection, Head, Next, NoHead, Reply};
use super::fault::{Fault, Phase};
use super::kind::Kind;
use super::ledger::Subject;
use super::shared::Shared;
use super::{consent, control, message, permission, probe, token_endpoint, vendor};

/// Where tokens are asked for.
pub(super) const TOKEN_PATH: &str = "/v4/oa/access_token";
/// What a probe asks.
const PROBE_PATH: &str = "/v2.0/oa/getoa";
/// Where messages are sent.
const MESSAGE_PATH: &str = "/v3.0/oa/message/cs";
/// Where redirects lead.
pub(super) const REDIRECT_PATH: &str = "/redirect-target";
/// Enough for a fleet that comes all at once.
const BACKLOG: u32 = 4096;
/// When no connection can be taken (no more descriptors), it is tried again after this.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Which door a connection came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Tokens,
    Api,
}

/// Opens a door. An address that was in use a moment ago can be used again at once.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes connections until the task is aborted or the simulator stops; the listener goes with it.
pub(super) fn accept(shared: &Arc<Shared>, listener: TcpListener, door: Door) -> JoinHandle<()> {
    let taking = Arc::clone(shared);
    shared.tasks.spawn(async move {
        loop {
            let taken = tokio::select! {
                taken = listener.accept() => taken,
                () = taking.stop.cancelled() => return,
            };
            let Ok((stream, _)) = taken else {
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            };
            let task = Arc::clone(&taking);
            taking.tasks.spawn(async move {
                tokio::select! {
                    () = converse(&task, stream, door) => {}
                    () = task.stop.cancelled() => {}
                }
            });
        }
    })
}

async fn converse(shared: &Arc<Shared>, stream: TcpStream, door: Door) {
    // Small writes go out at once, so that a dripped answer is one. It only fails on a broken connection, which
    // the first read will show.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let (mut connection, fault) = {
        let mut locked = shared.lock();
        let connection = Connection::new(locked.new_connection(), stream);
        let fault = match door {
            Door::Tokens => locked.core.faults.take(Phase::Accept, None),
            Door::Api => None,
        };
        let described = fault.as_ref().map(|fault| Arc::from(fault.describe()));
        let nobody = Subject::default();
        locked.record(Some(connection.number), &nobody, Kind::Connected, described.as_ref());
        (connection, fault)
    };
    if let Some(fault) = fault {
        return fail_at_accept(shared, connection, &fault).await;
    }
    let mut before = Before::default();
    loop {
        match serve_one(shared, &mut connection, door, &mut before).await {
            Next::KeepOpen => {}
            Next::Close => return,
            Next::Reset => return connection.reset().await,
        }
    }
}

async fn fail_at_accept(shared: &Shared, connection: Connection, fault: &Fault) {
    let described: Arc<str> = Arc::from(fault.describe());
    if *fault == Fault::StallAtAccept {
        connection.gone_unread().await;
    }
    let nobody = Subject::default();
    token_endpoint::record_incomplete(
        &mut shared.lock(),
        &connection,
        &nobody,
        None,
        false,
        Some(&described),
    );
    if *fault == Fault::ResetAtAccept {
        connection.reset().await;
    }
}

/// What a connection has carried so far.
#[derive(Default)]
struct Before {
    anything: bool,
    /// Of requests to Zalo, not to the simulator itself.
    requests: u32,
    tokens_were_asked_for: bool,
}

async fn serve_one(
    shared: &Arc<Shared>,
    connection: &mut Connection,
    door: Door,
    before: &mut Before,
) -> Next {
    let head = match connection.read_head().await {
        Ok(head) => head,
        Err(NoHead::Gone { bytes }) => {
            if !before.anything && (bytes > 0 || door == Door::Tokens) {
                let locked = &mut shared.lock();
                token_endpoint::record_incomplete(locked, connection, &Subject::default(), None, false, None);
            }
            return Next::Close;
        }
        Err(NoHead::Unreadable(why)) => {
            shared.lock().violation(connection.number, &Subject::default(), why);
            return close_with(connection, &Reply::text(400, why)).await;
        }
    };
    before.anything = true;
    if head.path.starts_with(control::PREFIX) {
        return control::serve(shared, connection, &head).await;
    }
    let asks_for_tokens = head.path == TOKEN_PATH && head.method == "POST";
    if before.requests > 0 && (asks_for_tokens || before.tokens_were_asked_for) {
        let text = "Reused: a second request on one connection";
        shared.lock().violation(connection.number, &Subject::default(), text);
    }
    before.requests += 1;
    before.tokens_were_asked_for |= asks_for_tokens;
    tell_code_in_url(shared, connection, &head);
    if asks_for_tokens {
        return token_endpoint::serve(shared, connection, &head).await;
    }
    if head.path == PROBE_PATH && head.method == "GET" {
        return probe::serve(shared, connection, &head).await;
    }
    if head.path == MESSAGE_PATH && head.method == "POST" {
        return message::serve(shared, connection, &head).await;
    }
    if head.path == permission::PATH {
        return permission::serve(shared, connection, &head).await;
    }
    if let Some(asked) = vendor::asking::asked(&head.path) {
        return vendor::asking::serve(shared, connection, &head, asked).await;
    }
    if head.path.starts_with(vendor::page::PREFIX) {
        return vendor::page::serve(shared, connection, &head).await;
    }
    if head.path.starts_with(REDIRECT_PATH) {
        return redirected(shared, connection, &head).await;
    }
    // What Zalo answers on a path that does not exist.
    let body = r#"{"error":"404","error_name":"Not found","message":"Not found"}"#;
    close_with(connection, &Reply::json(200, body)).await
}

fn tell_code_in_url(shared: &Shared, connection: &Connection, head: &Head) {
    let mut locked = shared.lock();
    if let Some(subject) = consent::code_in_url(&locked.core.model, head) {
        locked.violation(connection.number, &subject, "a code is in the URL");
    }
}

async fn redirected(shared: &Shared, connection: &mut Connection, head: &Head) -> Next {
    {
        let mut locked = shared.lock();
        let secret_came_along = head.header("secret_key").is_some();
        let nobody = Subject::default();
        let kind = Kind::RedirectFollowed { secret_came_along };
        locked.record(Some(connection.number), &nobody, kind, None);
        let secret = if secret_came_along { ", with the app secret" } else { "" };
        locked.violation(connection.number, &nobody, format!("a redirect was followed{secret}"));
    }
    close_with(connection, &Reply::text(200, "the target of a redirect\n")).await
}

/// Sends the answer and leaves the connection open, unless the client wants no more: some read until the end.
pub(super) async fn keep_open_with(connection: &mut Connection, head: &Head, reply: &Reply) -> Next {
    let was_written = connection.write(&reply.bytes).await.is_ok();
    let is_last = head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if was_written && !is_last { Next::KeepOpen } else { Next::Close }
}

/// Sends the answer and ends the connection, whether or not the client still wanted it.
pub(super) async fn close_with(connection: &mut Connection, reply: &Reply) -> Next {
    connection.write(&reply.bytes).await.unwrap_or_default();
    Next::Close
}
