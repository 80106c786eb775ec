//! The token endpoint: takes a request in as far as the faults let it, has the model judge it, and hands over to
//! `answer`. Decides what happens when, and writes the ledger accordingly. May import id and secret.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::connection::{Connection, Head, Next, Reply};
use super::fault::{Answer, Fault, Phase, Spend};
use super::kind::Kind;
use super::ledger::Subject;
use super::model::{Outcome, Presented, Request};
use super::shared::{Locked, Shared};
use super::{answer, server, token_request};
use crate::secret::Secret;

/// A whole request that was presented, on its way to an answer.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) subject: Subject,
    pub(super) fault: Option<Arc<str>>,
    /// The refresh token or code as it was presented.
    pub(super) presented: Secret,
    /// The access token of the set presented, if there is such a set.
    pub(super) access: Option<Secret>,
}

/// How far the judging of a request has come.
pub(super) enum Judging {
    /// It was judged.
    Known(Outcome),
    /// It will be, and this tells.
    Awaited(oneshot::Receiver<Outcome>),
    /// It never will be.
    NotLookedAt,
}

/// Serves one request for tokens, the head of which has been read.
pub(super) async fn serve(shared: &Arc<Shared>, connection: &mut Connection, head: &Head) -> Next {
    let length = match head.body_length() {
        Ok(length) => length,
        Err(why) => {
            shared.lock().violation(connection.number, &Subject::default(), why);
            return server::close_with(connection, &Reply::text(400, why)).await;
        }
    };
    let all_but_one = length.saturating_sub(1);
    if connection.fill_to(all_but_one).await.is_err() {
        let nobody = Subject::default();
        record_incomplete(&mut shared.lock(), connection, &nobody, Some(length), false, None);
        return Next::Close;
    }
    let so_far = token_request::presented_so_far(&connection.arrived()[..all_but_one]);
    let fault = {
        let mut locked = shared.lock();
        let known = so_far.and_then(|stem| locked.core.model.recognise_stem(&stem));
        let oa = known.map(|known| known.oa);
        let fault = locked.core.faults.take(Phase::BeforeLastByte, oa.as_ref());
        fault.map(|fault| (fault, Subject { oa_id: oa, ..Subject::default() }))
    };
    if let Some((fault, subject)) = fault {
        return before_last_byte(shared, connection, head, length, fault, subject).await;
    }
    if connection.fill_to(length).await.is_err() {
        let nobody = Subject::default();
        record_incomplete(&mut shared.lock(), connection, &nobody, Some(length), false, None);
        return Next::Close;
    }
    present(shared, connection, head, length).await
}

/// Writes down that a request ended before it was whole.
pub(super) fn record_incomplete(
    locked: &mut Locked<'_>,
    connection: &Connection,
    subject: &Subject,
    of: Option<usize>,
    answered: bool,
    fault: Option<&Arc<str>>,
) {
    let kind = Kind::Incomplete { body_bytes: of.map_or(0, |_| connection.arrived().len()), of, answered };
    locked.record(Some(connection.number), subject, kind, fault);
}

async fn before_last_byte(
    shared: &Shared,
    connection: &mut Connection,
    head: &Head,
    length: usize,
    fault: Fault,
    subject: Subject,
) -> Next {
    let described: Arc<str> = Arc::from(fault.describe());
    let next = if fault == Fault::ResetBeforeLastByte { Next::Reset } else { Next::Close };
    let early = if let Fault::AnswerBeforeLastByte { status, headers, body } = &fault {
        Some(Reply::new(*status, headers, &body.0))
    } else {
        None
    };
    // A client without a gate sends all of it at once: then the last byte is here, and it was presented.
    connection.take_in();
    let mut answered = false;
    if connection.arrived().len() < length {
        if let Some(reply) = &early {
            answered = connection.write(&reply.bytes).await.is_ok();
        }
        let waits = matches!(next, Next::Close);
        if !(waits && connection.fill_to(length).await.is_ok()) {
            let locked = &mut shared.lock();
            record_incomplete(locked, connection, &subject, Some(length), answered, Some(&described));
            return next;
        }
    }
    let body = connection.take(length);
    let number = connection.number;
    let exchange = {
        let mut locked = shared.lock();
        let (exchange, _) = begin(&mut locked, connection, head, &body, |_, _| Some(fault));
        if let Some(reply) = early.as_ref().filter(|_| answered) {
            answer::record(&mut locked, number, &exchange, None, Some(reply), &reply.bytes);
        }
        exchange
    };
    let unsent = early.filter(|_| !answered);
    match (unsent, &next) {
        (Some(reply), _) => answer::send_unjudged(shared, connection, &exchange, &reply).await,
        (None, Next::Close) => {
            connection.gone().await;
            if !answered {
                answer::conclude_unsent(shared, connection, &exchange, None);
            }
        }
        (None, Next::Reset | Next::KeepOpen) => {
            answer::conclude_unsent(shared, connection, &exchange, None);
        }
    }
    next
}

/// Writes down that a whole request came, and what is wrong with its form.
fn begin(
    locked: &mut Locked<'_>,
    connection: &Connection,
    head: &Head,
    body: &[u8],
    fault: impl FnOnce(&mut Locked<'_>, &Subject) -> Option<Fault>,
) -> (Exchange, (Request, Option<Fault>)) {
    let read = token_request::read(head, body);
    let presented = read.request.presented.clone();
    let known = if read.request.is_code() {
        locked.core.model.recognise_code(&presented)
    } else {
        locked.core.model.recognise(&presented)
    };
    let subject = subject_of(&read.request, known.as_ref());
    let fault = fault(locked, &subject);
    let described = fault.as_ref().map(|fault| Arc::from(fault.describe()));
    locked.record(Some(connection.number), &subject, Kind::Presented, described.as_ref());
    for violation in read.violations {
        locked.violation(connection.number, &subject, violation);
    }
    let exchange =
        Exchange { subject, fault: described, presented, access: known.and_then(|known| known.access) };
    (exchange, (read.request, fault))
}

fn subject_of(request: &Request, known: Option<&Presented>) -> Subject {
    Subject {
        oa_id: known.map(|known| known.oa.clone()),
        app_id: Some(request.app.clone()),
        token: Some(request.presented.digest()),
        was_spent: known.map(|known| known.spent),
        is_code: request.is_code(),
        family: known.and_then(|known| known.family),
        generation: known.and_then(|known| known.generation),
    }
}

async fn present(shared: &Arc<Shared>, connection: &mut Connection, head: &Head, length: usize) -> Next {
    let body = connection.take(length);
    // Before the request is written down, so that a release that follows it cannot be missed.
    let released = shared.released.subscribe();
    let (exchange, judging, plan) = {
        let mut locked = shared.lock();
        let take = |locked: &mut Locked<'_>, subject: &Subject| {
            locked.core.faults.take(Phase::AfterRequest, subject.oa_id.as_ref())
        };
        let (exchange, (request, fault)) = begin(&mut locked, connection, head, &body, take);
        let (spend, plan) = match fault {
            Some(Fault::AfterRequest { spend, answer }) => (spend, answer),
            Some(
                Fault::CloseAtAccept
                | Fault::ResetAtAccept
                | Fault::StallAtAccept
                | Fault::ResetBeforeLastByte
                | Fault::StallBeforeLastByte
                | Fault::AnswerBeforeLastByte { .. },
            )
            | None => (Spend::Yes, Answer::Normal),
        };
        let number = Some(connection.number);
        let judging = match spend {
            Spend::Yes => Judging::Known(judge(&mut locked, number, &exchange, &request, true)),
            Spend::WithoutRotation => Judging::Known(judge(&mut locked, number, &exchange, &request, false)),
            Spend::No => Judging::NotLookedAt,
            Spend::Later(after) => Judging::Awaited(judge_later(shared, &exchange, request, after)),
        };
        (exchange, judging, plan)
    };
    answer::give(shared, connection, exchange, judging, plan, released).await
}

/// Has the model judge the request, and writes down what it said. On no connection: some time later.
fn judge(
    locked: &mut Locked<'_>,
    connection: Option<u64>,
    exchange: &Exchange,
    request: &Request,
    rotates: bool,
) -> Outcome {
    let now = locked.now;
    // A code is never handed out again, so there is nothing to keep.
    let rotates = rotates || request.is_code();
    let outcome = locked.core.model.exchange(request, rotates, now);
    let kind = match &outcome {
        Outcome::Granted { .. } if !rotates => return outcome,
        Outcome::Granted { refresh, .. } => {
            Kind::Spent { late: connection.is_none(), successor: refresh.digest() }
        }
        Outcome::Refused { code, .. } => Kind::Refused { code: *code },
    };
    locked.record(connection, &exchange.subject, kind, exchange.fault.as_ref());
    outcome
}

/// Has the request judged some time later, whether or not the client is still there by then.
fn judge_later(
    shared: &Arc<Shared>,
    exchange: &Exchange,
    request: Request,
    after: Duration,
) -> oneshot::Receiver<Outcome> {
    let (tell, told) = oneshot::channel();
    let exchange = exchange.clone();
    let task = Arc::clone(shared);
    shared.tasks.spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(after) => {}
            () = task.stop.cancelled() => return,
        }
        let mut locked = task.lock();
        let outcome = judge(&mut locked, None, &exchange, &request, true);
        // Whoever waits for the answer holds the other end; if nobody does, the answer is lost.
        if let Err(outcome) = tell.send(outcome)
            && let Outcome::Granted { .. } = outcome
        {
            answer::record_lost(&mut locked, &exchange);
        }
    });
    told
}
