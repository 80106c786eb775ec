//! An operator's decision about an attempt whose outcome nobody knows, or whose answer is said to be lost.
//!
//! A decision names the attempt that it is about and changes nothing if that attempt is no longer to be decided.

use rusqlite::{Connection, OptionalExtension, params};

use super::conclude::{Attempted, Effect, adopt, successor_of};
use super::journal::{self, AttemptRow, Outcome, Phase};
use super::rows::{self, OaRow};
use crate::clock::{Moment, Reading, Time};
use crate::id::{AttemptId, OaId};
use crate::oauth::GrantedTokens;
use crate::rotation::{self, Proof, Reason, Retrying, Roll, Standing, Successor, Timing, Uncertain, Verdict};

/// What an operator decides.
#[derive(Clone, Debug)]
pub enum Decision {
    /// The refresh token is presented once more.
    Present,
    /// The answer is lost: a person grants consent again.
    GiveUp,
    /// These tokens were read out of the answer that was kept.
    Adopt(GrantedTokens),
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// There is nothing to decide any more.
    Gone,
    /// The refresh token is presented once more.
    Retry {
        /// When.
        retry_at: Time,
    },
    /// A person has to grant consent again.
    GivenUp,
    /// The tokens are the current set.
    Adopted {
        /// Its generation.
        generation: u64,
        /// When it will be refreshed; `None` if a person has to act first.
        refresh_at: Option<Time>,
        /// Why a person has to act.
        reason: Option<Reason>,
    },
    /// The tokens are those that were presented, or others that were used before.
    Old,
}

/// The attempt that an operator may decide about, if the OA is uncertain or its answer is lost.
pub(super) fn undecided(conn: &Connection, oa_id: &OaId) -> rusqlite::Result<Option<AttemptId>> {
    let Some(row) = rows::load(conn, oa_id)? else { return Ok(None) };
    match row.standing {
        Standing::Uncertain(Uncertain { attempt, .. }) => Ok(Some(attempt)),
        Standing::ReauthorizationRequired(Reason::ResponseLost) => {
            let Some(digest) = row.set.as_ref().and_then(rows::StoredSet::refresh_digest) else {
                return Ok(None);
            };
            journal::last_presented_by(conn, digest)
        }
        Standing::AwaitingGrant
        | Standing::Scheduled { .. }
        | Standing::Retrying(_)
        | Standing::ReauthorizationRequired(_) => Ok(None),
    }
}

/// Carries the decision out.
pub(super) fn resolve(
    tx: &Connection,
    oa_id: &OaId,
    attempt: AttemptId,
    decision: &Decision,
    timing: &Timing,
    now: &Reading,
    roll: Roll,
) -> rusqlite::Result<Resolved> {
    if undecided(tx, oa_id)? != Some(attempt) {
        return Ok(Resolved::Gone);
    }
    let (Some(row), Some(journalled)) = (rows::load(tx, oa_id)?, journal::load(tx, attempt)?) else {
        return Ok(Resolved::Gone);
    };
    match decision {
        Decision::Present => present(tx, row, attempt, now),
        Decision::GiveUp => give_up(tx, row, attempt, now),
        Decision::Adopt(tokens) => take_in(tx, row, attempt, &journalled, tokens, timing, now, roll),
    }
}

fn present(tx: &Connection, mut row: OaRow, attempt: AttemptId, now: &Reading) -> rusqlite::Result<Resolved> {
    let detail = "an operator decided that the refresh token is presented again";
    close(tx, attempt, "unspent", detail, now)?;
    journal::prove(tx, attempt, Proof::Operator, now.time)?;
    row.stand(Standing::Retrying(Retrying { retry_at: now.time }), now);
    rows::save(tx, &row)?;
    journal::forget_surplus(tx, &row.oa_id)?;
    Ok(Resolved::Retry { retry_at: now.time })
}

fn give_up(tx: &Connection, mut row: OaRow, attempt: AttemptId, now: &Reading) -> rusqlite::Result<Resolved> {
    close(tx, attempt, "given_up", "an operator decided that the answer is lost", now)?;
    row.stand(rotation::give_up(), now);
    rows::save(tx, &row)?;
    Ok(Resolved::GivenUp)
}

#[expect(clippy::too_many_arguments, reason = "the parts of one transaction, all of different types")]
fn take_in(
    tx: &Connection,
    mut row: OaRow,
    attempt: AttemptId,
    journalled: &AttemptRow,
    tokens: &GrantedTokens,
    timing: &Timing,
    now: &Reading,
    roll: Roll,
) -> rusqlite::Result<Resolved> {
    let verdict = Verdict::Granted(tokens.clone());
    let successor = successor_of(tx, &verdict, journalled)?;
    let held = row.set.as_ref().and_then(|set| set.access_token.as_ref());
    let is_old_access_token = tokens.access_token.is_some() && tokens.access_token.as_ref() == held;
    // Handed in by a person the token that was presented proves nothing: it may be a copy of the answer before.
    if matches!(successor, Successor::SameAgain | Successor::Known) || is_old_access_token {
        return Ok(Resolved::Old);
    }
    let standing =
        rotation::conclude(&verdict, attempt, successor, row.failures, timing, now.time, roll).standing;
    close(tx, attempt, "granted", "an operator took the kept answer in", now)?;
    let attempted = Attempted {
        attempt,
        claim: None,
        started_at: now.time,
        obtained: Moment::of_wall_clock(presented_at(tx, attempt)?.unwrap_or(now.time)),
        verdict,
        status: None,
        answer: None,
    };
    let app_id = &journalled.app_id;
    let effect = adopt(tx, &mut row, tokens, successor, standing, app_id, &attempted, timing, now)?;
    rows::save(tx, &row)?;
    Ok(match effect {
        Effect::Adopted { generation, refresh_at, reason, .. } => {
            Resolved::Adopted { generation, refresh_at, reason }
        }
        Effect::Retry { .. }
        | Effect::Uncertain { .. }
        | Effect::Reauthorize { .. }
        | Effect::KeptAside
        | Effect::AlreadyConcluded => Resolved::Gone,
    })
}

fn close(
    tx: &Connection,
    attempt: AttemptId,
    class: &'static str,
    detail: &str,
    now: &Reading,
) -> rusqlite::Result<()> {
    journal::note(tx, attempt, Phase::Closed, &Outcome { class, detail, ..Outcome::default() }, now.time)
}

fn presented_at(conn: &Connection, attempt: AttemptId) -> rusqlite::Result<Option<Time>> {
    conn.prepare_cached("SELECT presented_at FROM attempt WHERE attempt_id = ?1")?
        .query_row([attempt.as_bytes()], |row| row.get::<_, Option<i64>>(0))
        .optional()
        .map(|found| found.flatten().map(Time::from_millis))
}

/// The raw answer that was kept with an attempt of this OA, for a person to read.
pub(super) fn kept_answer(
    conn: &Connection,
    oa_id: &OaId,
    attempt: AttemptId,
) -> rusqlite::Result<Option<Vec<u8>>> {
    conn.prepare_cached("SELECT answer FROM attempt WHERE oa_id = ?1 AND attempt_id = ?2")?
        .query_row(params![oa_id.as_str(), attempt.as_bytes()], |row| row.get::<_, Option<Vec<u8>>>(0))
        .optional()
        .map(Option::flatten)
}
