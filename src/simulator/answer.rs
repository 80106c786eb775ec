//! What the client gets: turns an outcome and a fault's answer into bytes, waits and endings, and writes down
//! whether a set that was made has reached the client. May import secret.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::connection::{Connection, Gone, Next, Reply, content_type};
use super::fault::{Answer, Body, Ending, Length};
use super::kind::{Kind, Said};
use super::model::Outcome;
use super::shared::{Locked, Shared};
use super::token_endpoint::{Exchange, Judging};
use crate::secret::Secret;

const PLACEHOLDERS: [&str; 3] = ["{access_token}", "{refresh_token}", "{old_refresh_token}"];

/// Bytes to be sent, and how.
struct Plan {
    /// The whole answer.
    reply: Reply,
    /// How much of it is sent.
    send: usize,
    pace: Option<Duration>,
    then: Next,
}

impl Plan {
    fn whole(reply: Reply) -> Plan {
        Plan { send: reply.bytes.len(), reply, pace: None, then: Next::KeepOpen }
    }
}

/// Answers a request that was presented.
pub(super) async fn give(
    shared: &Shared,
    connection: &mut Connection,
    exchange: Exchange,
    judging: Judging,
    answer: Answer,
    released: watch::Receiver<u64>,
) -> Next {
    let outcome = if tells_the_result(&answer) {
        match known(connection, judging).await {
            Ok(outcome) => outcome,
            Err(outcome) => {
                conclude_unsent(shared, connection, &exchange, outcome.as_ref());
                return Next::Close;
            }
        }
    } else {
        match judging {
            Judging::Known(outcome) => Some(outcome),
            Judging::Awaited(told) => {
                // Whoever judges it later finds nobody waiting, and writes down what was lost.
                drop(told);
                None
            }
            Judging::NotLookedAt => None,
        }
    };
    if !wait(connection, &answer, released).await {
        conclude_unsent(shared, connection, &exchange, outcome.as_ref());
        return Next::Close;
    }
    let plan = match answer {
        Answer::CloseWithoutAnswer | Answer::Stall => {
            conclude_unsent(shared, connection, &exchange, outcome.as_ref());
            return Next::Close;
        }
        Answer::Reset => {
            conclude_unsent(shared, connection, &exchange, outcome.as_ref());
            return Next::Reset;
        }
        Answer::Endless => {
            send_without_end(connection).await;
            conclude_unsent(shared, connection, &exchange, outcome.as_ref());
            return Next::Close;
        }
        Answer::Normal | Answer::Delayed(_) | Answer::Held => Plan::whole(reply(outcome.as_ref())),
        Answer::Truncated { after, ending, length } => truncated(outcome.as_ref(), after, ending, length),
        Answer::TruncatedHead { after, ending } => {
            let plan = Plan::whole(reply(outcome.as_ref()));
            Plan { send: after.min(plan.reply.head_length), then: next(ending), ..plan }
        }
        Answer::Dripped { per_byte } => Plan { pace: Some(per_byte), ..Plan::whole(reply(outcome.as_ref())) },
        Answer::HugeHeader { bytes } => {
            let filler = ("X-Filler".to_owned(), "f".repeat(bytes));
            let (headers, body) = parts(outcome.as_ref());
            let headers: Vec<_> = std::iter::once(filler).chain(headers).collect();
            Plan::whole(Reply::new(200, &headers, body.as_bytes()))
        }
        Answer::Redirect { status, location } => {
            let to = location.unwrap_or_else(|| shared.redirect_target.clone());
            Plan::whole(Reply::new(status, &[("Location".to_owned(), to)], b""))
        }
        Answer::Custom { status, headers, body } => match filled(&body, outcome.as_ref(), &exchange) {
            Some(body) => Plan::whole(Reply::new(status, &headers, &body)),
            None => Plan::whole(reply(outcome.as_ref())),
        },
    };
    send(shared, connection, &exchange, outcome.as_ref(), plan).await
}

fn tells_the_result(answer: &Answer) -> bool {
    match answer {
        Answer::Normal
        | Answer::Delayed(_)
        | Answer::Held
        | Answer::Truncated { .. }
        | Answer::TruncatedHead { .. }
        | Answer::Dripped { .. }
        | Answer::HugeHeader { .. } => true,
        Answer::Custom { body, .. } => has_placeholder(body),
        Answer::CloseWithoutAnswer
        | Answer::Reset
        | Answer::Stall
        | Answer::Endless
        | Answer::Redirect { .. } => false,
    }
}

/// The outcome, waited for if need be; `Err` if the client went first, with what had been decided by then.
async fn known(connection: &mut Connection, judging: Judging) -> Result<Option<Outcome>, Option<Outcome>> {
    let mut awaited = match judging {
        Judging::Known(outcome) => return Ok(Some(outcome)),
        Judging::NotLookedAt => return Ok(None),
        Judging::Awaited(awaited) => awaited,
    };
    tokio::select! {
        outcome = &mut awaited => Ok(outcome.ok()),
        () = connection.gone() => {
            awaited.close();
            Err(awaited.try_recv().ok())
        }
    }
}

/// Waits as long as the answer wants; `false` if the client went meanwhile.
async fn wait(connection: &mut Connection, answer: &Answer, mut released: watch::Receiver<u64>) -> bool {
    match answer {
        Answer::Delayed(by) => tokio::select! {
            () = tokio::time::sleep(*by) => true,
            () = connection.gone() => false,
        },
        Answer::Held => tokio::select! {
            released = released.changed() => released.is_ok(),
            () = connection.gone() => false,
        },
        Answer::Stall => {
            connection.gone().await;
            false
        }
        Answer::Normal
        | Answer::CloseWithoutAnswer
        | Answer::Reset
        | Answer::Truncated { .. }
        | Answer::TruncatedHead { .. }
        | Answer::Dripped { .. }
        | Answer::Custom { .. }
        | Answer::Endless
        | Answer::HugeHeader { .. }
        | Answer::Redirect { .. } => true,
    }
}

/// The answer as it should be; for a request that was not looked at, a gateway's.
fn reply(outcome: Option<&Outcome>) -> Reply {
    let (headers, body) = parts(outcome);
    let status = if outcome.is_some() { 200 } else { 503 };
    Reply::new(status, &headers, body.as_bytes())
}

fn parts(outcome: Option<&Outcome>) -> (Vec<(String, String)>, String) {
    match outcome {
        Some(Outcome::Granted { body, .. } | Outcome::Refused { code: Some(_), body }) => {
            (vec![content_type("application/json;charset=UTF-8")], body.clone())
        }
        Some(Outcome::Refused { code: None, body }) => (Vec::new(), body.clone()),
        None => (vec![content_type("text/html")], "<html><body>Service Unavailable</body></html>".to_owned()),
    }
}

fn truncated(outcome: Option<&Outcome>, after: usize, ending: Ending, length: Length) -> Plan {
    let whole = match length {
        Length::Told => reply(outcome),
        Length::CloseDelimited => {
            let (headers, body) = parts(outcome);
            Reply::close_delimited(if outcome.is_some() { 200 } else { 503 }, &headers, body.as_bytes())
        }
    };
    let send = whole.head_length.saturating_add(after).min(whole.bytes.len());
    Plan { send, reply: whole, pace: None, then: next(ending) }
}

fn next(ending: Ending) -> Next {
    match ending {
        Ending::Fin => Next::Close,
        Ending::Rst => Next::Reset,
    }
}

fn has_placeholder(body: &Body) -> bool {
    PLACEHOLDERS.iter().any(|name| position(&body.0, name.as_bytes()).is_some())
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The body with its placeholders filled in; `None` if there is nothing to fill them with.
fn filled(body: &Body, outcome: Option<&Outcome>, exchange: &Exchange) -> Option<Vec<u8>> {
    if !has_placeholder(body) {
        return Some(body.0.clone());
    }
    let old = &exchange.presented;
    let (access, refresh) = match outcome {
        Some(Outcome::Granted { access, refresh, .. }) => (access, refresh),
        Some(Outcome::Refused { .. }) => return None,
        None => (exchange.access.as_ref()?, old),
    };
    let mut filled = body.0.clone();
    for (name, token) in PLACEHOLDERS.iter().zip([access, refresh, old]) {
        filled = replaced(&filled, name.as_bytes(), token.expose().as_bytes());
    }
    Some(filled)
}

fn replaced(bytes: &[u8], name: &[u8], by: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = position(rest, name) {
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(by);
        rest = &rest[at + name.len()..];
    }
    result.extend_from_slice(rest);
    result
}

async fn send(
    shared: &Shared,
    connection: &mut Connection,
    exchange: &Exchange,
    outcome: Option<&Outcome>,
    plan: Plan,
) -> Next {
    let number = connection.number;
    let bytes = &plan.reply.bytes[..plan.send];
    let mut sent = true;
    shared
        .write_and_record(connection, bytes, plan.pace, |locked, written| {
            sent = written.is_ok();
            let arrived = if sent { bytes } else { &[] };
            record(locked, number, exchange, outcome, Some(&plan.reply), arrived);
        })
        .await;
    if sent { plan.then } else { Next::Close }
}

async fn send_without_end(connection: &mut Connection) {
    let headers = [content_type("application/json")];
    let mut chunk = Reply::close_delimited(200, &headers, b"{\"filler\":\"").bytes;
    while connection.write(&chunk).await.is_ok() {
        chunk = vec![b'x'; 16 * 1024];
    }
}

/// Sends an answer to a presentation that is never judged.
pub(super) async fn send_unjudged(
    shared: &Shared,
    connection: &mut Connection,
    exchange: &Exchange,
    reply: &Reply,
) {
    let number = connection.number;
    let recording = |locked: &mut Locked<'_>, written: Result<(), Gone>| {
        let arrived = if written.is_ok() { &reply.bytes[..] } else { &[] };
        record(locked, number, exchange, None, Some(reply), arrived);
    };
    shared.write_and_record(connection, &reply.bytes, None, recording).await;
}

/// Writes down that a presentation ended without a byte of an answer that could count.
pub(super) fn conclude_unsent(
    shared: &Shared,
    connection: &Connection,
    exchange: &Exchange,
    outcome: Option<&Outcome>,
) {
    record(&mut shared.lock(), connection.number, exchange, outcome, None, &[]);
}

/// Writes down that a set was made when nobody waited for it any more.
pub(super) fn record_lost(locked: &mut Locked<'_>, exchange: &Exchange) {
    let kind = Kind::AnswerLost { status: None, says: Said::Nothing };
    locked.record(None, &exchange.subject, kind, exchange.fault.as_ref());
}

/// Writes down how a presentation ended: `arrived` is how much of `reply` was sent.
pub(super) fn record(
    locked: &mut Locked<'_>,
    connection: u64,
    exchange: &Exchange,
    outcome: Option<&Outcome>,
    reply: Option<&Reply>,
    arrived: &[u8],
) {
    let head = reply.filter(|reply| arrived.len() >= reply.head_length);
    let status = head.map(|reply| reply.status);
    let body = head.map_or(&[][..], |reply| &arrived[reply.head_length..]);
    let says = status.map_or(Said::Nothing, |status| what_it_says(status, body, &exchange.presented));
    let whole = reply.is_some_and(|reply| arrived.len() == reply.bytes.len());
    let kind = match (outcome, status) {
        (Some(Outcome::Granted { access, refresh, .. }), Some(status)) if whole => {
            let has = |token: &Secret| position(body, token.expose().as_bytes()).is_some();
            if has(access) && has(refresh) {
                Kind::AnswerSent { status, says }
            } else {
                Kind::AnswerLost { status: Some(status), says }
            }
        }
        (Some(Outcome::Granted { .. }), status) => Kind::AnswerLost { status, says },
        (Some(Outcome::Refused { .. }) | None, Some(status)) if whole => Kind::AnswerSent { status, says },
        (Some(Outcome::Refused { .. }) | None, status) => Kind::Unanswered { status, says },
    };
    locked.record(Some(connection), &exchange.subject, kind, exchange.fault.as_ref());
}

/// What a client can read from this much of an answer.
fn what_it_says(status: u16, body: &[u8], presented: &Secret) -> Said {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let text = |field: &str| value.as_ref()?.get(field)?.as_str().filter(|text| !text.is_empty());
    match (text("access_token"), text("refresh_token")) {
        (_, Some(refresh)) if refresh == presented.expose() => return Said::SameTokenAgain,
        (Some(_), _) | (_, Some(_)) => return Said::NewTokens,
        (None, None) => {}
    }
    if value.is_none() && position(body, format!("\"{}\"", presented.expose()).as_bytes()).is_some() {
        return Said::SameTokenAgain;
    }
    if status == 429 {
        return Said::Throttled;
    }
    let error = value.as_ref().and_then(|value| value.get("error"));
    let code = error.and_then(|error| error.as_i64().or_else(|| error.as_str()?.trim().parse().ok()));
    match code {
        Some(-14_002 | -14_004) => Said::AppRefused,
        Some(0) | None => Said::Nothing,
        Some(code) => Said::Error(code),
    }
}
