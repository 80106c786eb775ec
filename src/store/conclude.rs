//! Concluding an attempt: one transaction stores the new set, closes the attempt and plans what is next.
//!
//! The transaction is idempotent: repeated after a COMMIT of which nobody knows whether it held, it finds the
//! attempt closed, changes nothing, and says what had come of it. It is guarded by the generation: a set that comes
//! after a person imported another is kept aside with its attempt, never adopted over it.

use rusqlite::Connection;

use super::apps::{self, AppChange, AppStanding, Heard};
use super::ends;
use super::journal::{self, AttemptRow, Outcome, Phase};
use super::present::{Claim, has_open_attempt};
use super::rows::{self, OaRow, StoredSet};
use crate::clock::{Moment, Reading, Time};
use crate::id::{AppId, AttemptId};
use crate::oauth::{GrantedTokens, Oddity};
use crate::rotation::{
    self, AttemptEnd, Proof, Reason, Retrying, Roll, Standing, Successor, Timing, Uncertain, Verdict,
    refresh_at,
};
use crate::secret::Secret;

/// Everything that is known of an attempt when it ends. Without `Debug`: the raw answer is as secret as a token.
pub struct Attempted {
    /// The attempt.
    pub attempt: AttemptId,
    /// What it worked with; `None` for one that an earlier run of the program began.
    pub claim: Option<Claim>,
    /// When it began.
    pub started_at: Time,
    /// When a set that it brought counts as obtained: the moment the gate opened, by both clocks.
    pub obtained: Moment,
    /// What the exchange means.
    pub verdict: Verdict,
    /// The HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// The raw answer, if there was one.
    pub answer: Option<Vec<u8>>,
}

/// What became of the OA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A new set is the current one.
    Adopted {
        /// Its generation.
        generation: u64,
        /// When its access token ends.
        expires_at: Option<Time>,
        /// When it will be refreshed; `None` if a person has to act first.
        refresh_at: Option<Time>,
        /// Why a person has to act.
        reason: Option<Reason>,
        /// What was odd about the answer.
        oddities: Vec<Oddity>,
    },
    /// The same token will be presented again.
    Retry {
        /// When.
        retry_at: Time,
    },
    /// Nobody knows yet.
    Uncertain {
        /// When Zalo will be asked.
        probe_at: Time,
    },
    /// A person has to grant consent again.
    Reauthorize {
        /// Why.
        reason: Reason,
    },
    /// A person imported another set meanwhile; what came was kept with the attempt.
    KeptAside,
    /// The attempt had been concluded before, and how is not for this conclusion to tell; nothing changed.
    AlreadyConcluded,
}

/// What a conclusion changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concluded {
    /// For the OA.
    pub effect: Effect,
    /// For its app.
    pub app: AppChange,
}

const NOTHING: Concluded = Concluded { effect: Effect::AlreadyConcluded, app: AppChange::None };

/// Concludes the attempt.
pub(super) fn conclude(
    tx: &Connection,
    attempted: &Attempted,
    timing: &Timing,
    now: &Reading,
    roll: Roll,
) -> rusqlite::Result<Concluded> {
    let id = attempted.attempt;
    let journalled = journal::load(tx, id)?;
    let is_journalled = journalled.is_some();
    let Some(attempt) = journalled.or_else(|| attempted.claim.as_ref().map(unjournalled)) else {
        return Ok(NOTHING);
    };
    // An answer with tokens is taken in as long as its attempt is open, also if nobody waited for it any more.
    let is_open = match attempt.phase {
        Phase::Presenting => true,
        Phase::Uncertain => matches!(attempted.verdict, Verdict::Granted(_)),
        Phase::Closed => false,
    };
    if is_journalled && !is_open {
        return concluded_before(tx, attempted, &attempt, now);
    }
    let Some(mut row) = rows::load(tx, &attempt.oa_id)? else { return Ok(NOTHING) };
    let verdict = &attempted.verdict;
    let detail = verdict.detail();
    let outcome = outcome_of(attempted, &detail);
    let successor = successor_of(tx, verdict, &attempt)?;
    let conclusion = rotation::conclude(verdict, id, successor, row.failures, timing, now.time, roll);
    let began_at = attempt.started_at.unwrap_or(attempted.started_at);
    let heard = |next_at| Heard { app_id: &attempt.app_id, news: conclusion.app, began_at, next_at };
    if row.generation != attempt.generation || !is_journalled && is_anothers(tx, &row)? {
        let effect = set_aside(tx, attempted, &attempt, is_journalled, outcome, now.time)?;
        let app = apps::hear(tx, &heard(None), timing, now.time, roll)?;
        return Ok(Concluded { effect, app });
    }
    match conclusion.attempt {
        _ if !is_journalled => {
            journal::note_unjournalled(tx, id, &attempt, attempted.started_at, &outcome, now.time)?;
        }
        AttemptEnd::Uncertain => journal::note(tx, id, Phase::Uncertain, &outcome, now.time)?,
        AttemptEnd::Concluded if conclusion.proof == Some(Proof::GateBarred) => {
            journal::note_barred(tx, id, &outcome, now.time)?;
        }
        AttemptEnd::Concluded => journal::note(tx, id, Phase::Closed, &outcome, now.time)?,
    }
    if let (Some(proof), true) = (conclusion.proof, is_journalled) {
        journal::prove(tx, id, proof, now.time)?;
    }
    let mut effect = match (verdict, conclusion.standing) {
        (Verdict::Granted(tokens), standing) => {
            adopt(tx, &mut row, tokens, successor, standing, &attempt.app_id, attempted, timing, now)?
        }
        (_, standing) => fail(&mut row, standing, detail, now),
    };
    rows::save(tx, &row)?;
    if !matches!(effect, Effect::Adopted { .. }) {
        journal::forget_surplus(tx, &row.oa_id)?;
    }
    let next_at = match &effect {
        Effect::Retry { retry_at: at } | Effect::Uncertain { probe_at: at } => Some(*at),
        Effect::Adopted { .. }
        | Effect::Reauthorize { .. }
        | Effect::KeptAside
        | Effect::AlreadyConcluded => None,
    };
    let app = apps::hear(tx, &heard(next_at), timing, now.time, roll)?;
    if let Effect::Retry { retry_at } = &mut effect {
        // While its app is held back the OA is not tried before the app's next trial; that of a blocked app takes one
        // whatever its own plan is.
        *retry_at = match apps::load(tx, &attempt.app_id)?.standing() {
            AppStanding::Open => *retry_at,
            AppStanding::Braked { trial_at, .. } => trial_at.max(*retry_at),
            AppStanding::Blocked { trial_at, .. } => trial_at,
        };
    }
    Ok(Concluded { effect, app })
}

/// What had become of the OA by an earlier conclusion of this attempt, if that is how it still stands. A COMMIT may have held
/// of which its caller never heard: by the repetition it is told after all.
fn concluded_before(
    tx: &Connection,
    attempted: &Attempted,
    attempt: &AttemptRow,
    now: &Reading,
) -> rusqlite::Result<Concluded> {
    // What an earlier run began was told by it, or is in the journal.
    if attempted.claim.is_none() {
        return Ok(NOTHING);
    }
    let Some(row) = rows::load(tx, &attempt.oa_id)? else { return Ok(NOTHING) };
    let effect = match &attempted.verdict {
        Verdict::Granted(tokens) => {
            let is_current = row.generation == attempt.generation + 1
                && row.set.as_ref().is_some_and(|set| is_of(set, tokens));
            is_current.then(|| adopted(&row, tokens))
        }
        verdict @ (Verdict::NotPresented { .. }
        | Verdict::Throttled { .. }
        | Verdict::Dead(_)
        | Verdict::AppRefused(_)
        | Verdict::Unknown { .. }) => {
            let is_newest =
                row.generation == attempt.generation && row.last_error.as_ref() == Some(&verdict.detail());
            is_newest.then(|| failed(&row.standing, now))
        }
    };
    Ok(effect.map_or(NOTHING, |effect| Concluded { effect, app: AppChange::None }))
}

/// Is this the set that these tokens were stored as?
fn is_of(set: &StoredSet, tokens: &GrantedTokens) -> bool {
    set.access_token == tokens.access_token
        && (tokens.access_token.is_some() || set.refresh_token == tokens.refresh_token)
}

/// What the journal notes of it.
fn outcome_of<'a>(attempted: &'a Attempted, detail: &'a str) -> Outcome<'a> {
    Outcome {
        class: attempted.verdict.class(),
        detail,
        code: match &attempted.verdict {
            Verdict::Unknown { code, .. } => *code,
            Verdict::Dead(code) | Verdict::AppRefused(code) => Some(*code),
            Verdict::Granted(_) | Verdict::NotPresented { .. } | Verdict::Throttled { .. } => None,
        },
        status: attempted.status,
        answer: kept_answer(attempted),
    }
}

/// How the OA stands is for another attempt to say, or for a person: one that never came to the journal leaves it so.
/// Of one daemon each OA has one attempt, so it takes two that believe that they may work.
fn is_anothers(tx: &Connection, row: &OaRow) -> rusqlite::Result<bool> {
    match row.standing {
        Standing::Scheduled { .. } | Standing::Retrying(_) => has_open_attempt(tx, &row.oa_id),
        Standing::AwaitingGrant | Standing::Uncertain(_) | Standing::ReauthorizationRequired(_) => Ok(true),
    }
}

/// Another set was imported meanwhile, or another attempt is at it: what came is kept with the attempt and changes
/// nothing else.
fn set_aside(
    tx: &Connection,
    attempted: &Attempted,
    attempt: &AttemptRow,
    is_journalled: bool,
    outcome: Outcome<'_>,
    now: Time,
) -> rusqlite::Result<Effect> {
    let id = attempted.attempt;
    if !is_journalled {
        journal::note_unjournalled(tx, id, attempt, attempted.started_at, &outcome, now)?;
        return Ok(Effect::AlreadyConcluded);
    }
    let aside = Outcome { class: "superseded", answer: attempted.answer.as_deref(), ..outcome };
    journal::note(tx, id, Phase::Closed, &aside, now)?;
    if let Verdict::Granted(GrantedTokens { refresh_token: Some(late), .. }) = &attempted.verdict {
        journal::own(tx, late.digest(), &attempt.oa_id, now)?;
    }
    Ok(Effect::KeptAside)
}

fn unjournalled(claim: &Claim) -> AttemptRow {
    AttemptRow {
        oa_id: claim.oa_id.clone(),
        app_id: claim.app_id.clone(),
        generation: claim.generation,
        digest: claim.refresh_token.digest(),
        phase: Phase::Presenting,
        code: None,
        started_at: None,
    }
}

/// The raw bytes are kept of every answer that is not adopted whole, but of those that prove that nothing was
/// spent: no successor can be in them.
fn kept_answer(attempted: &Attempted) -> Option<&[u8]> {
    let is_needless = match &attempted.verdict {
        Verdict::Granted(tokens) => tokens.access_token.is_some() && tokens.refresh_token.is_some(),
        Verdict::NotPresented { .. } | Verdict::Throttled { .. } | Verdict::AppRefused(_) => true,
        Verdict::Dead(_) | Verdict::Unknown { .. } => false,
    };
    attempted.answer.as_deref().filter(|bytes| !is_needless && !bytes.is_empty())
}

pub(super) fn successor_of(
    tx: &Connection,
    verdict: &Verdict,
    attempt: &AttemptRow,
) -> rusqlite::Result<Successor> {
    let Verdict::Granted(GrantedTokens { refresh_token: Some(refresh_token), .. }) = verdict else {
        return Ok(Successor::Missing);
    };
    let digest = refresh_token.digest();
    if digest == attempt.digest {
        return Ok(Successor::SameAgain);
    }
    Ok(match journal::provenance(tx, digest)? {
        None => Successor::New,
        Some(found) if found.oa_id == attempt.oa_id && found.used_at.is_none() => Successor::New,
        Some(_) => Successor::Known,
    })
}

#[expect(clippy::too_many_arguments, reason = "the parts of one transaction, all of different types")]
pub(super) fn adopt(
    tx: &Connection,
    row: &mut OaRow,
    tokens: &GrantedTokens,
    successor: Successor,
    standing: Option<Standing>,
    app_id: &AppId,
    attempted: &Attempted,
    timing: &Timing,
    now: &Reading,
) -> rusqlite::Result<Effect> {
    ends::note_renewal(tx, row, now)?;
    let (refresh_token, has_successor) = match successor {
        Successor::New | Successor::SameAgain => (tokens.refresh_token.clone(), true),
        // The old one stays where it is: nothing here deletes a token. Without proof it is never presented again.
        Successor::Known | Successor::Missing => {
            (row.set.as_ref().and_then(|set| set.refresh_token.clone()), false)
        }
    };
    let mut set = stored_set(tokens, refresh_token, app_id.clone(), attempted.obtained.clone(), timing);
    if let (false, Some(old)) = (has_successor, &row.set) {
        set.refresh_token_expires_at = old.refresh_token_expires_at;
    }
    let is_whole = set.access_token.is_some() && has_successor;
    if is_whole {
        journal::drop_answers(tx, &row.oa_id)?;
    } else if let Some(answer) = &attempted.answer {
        let detail = &attempted.verdict.detail();
        let outcome = Outcome { class: "granted", detail, answer: Some(answer), ..Outcome::default() };
        journal::note(tx, attempted.attempt, Phase::Closed, &outcome, now.time)?;
    }
    if let Some(digest) = set.refresh_digest() {
        journal::own(tx, digest, &row.oa_id, now.time)?;
    }
    let has_access_token = set.access_token_expires_at.is_some();
    let lifetimes = set.lifetimes();
    // The second in a row without an access token: no endpoint is asked on and on as fast as it answers.
    let is_fruitless =
        !has_access_token && row.set.as_ref().is_some_and(|before| before.access_token.is_none());
    let earliest = if is_fruitless { now.time.plus(timing.retry_max) } else { now.time };
    row.adopt(set);
    row.last_refresh_at = Some(now.time);
    let standing = standing.unwrap_or_else(|| Standing::Scheduled {
        refresh_at: refresh_at(timing, &lifetimes, &row.oa_id, now.time).max(earliest),
    });
    row.stand(standing, now);
    Ok(adopted(row, tokens))
}

/// How an OA stands whose current set is of these tokens.
fn adopted(row: &OaRow, tokens: &GrantedTokens) -> Effect {
    let (refresh_at, reason) = match &row.standing {
        Standing::Scheduled { refresh_at } => (Some(*refresh_at), None),
        Standing::Retrying(Retrying { retry_at }) => (Some(*retry_at), None),
        Standing::ReauthorizationRequired(reason) => (None, Some(*reason)),
        Standing::AwaitingGrant | Standing::Uncertain(_) => (None, None),
    };
    let expires_at = row.set.as_ref().and_then(|set| set.access_token_expires_at);
    let oddities = tokens.oddities.clone();
    Effect::Adopted { generation: row.generation, expires_at, refresh_at, reason, oddities }
}

/// The set as it is stored: with the ends of its tokens, counted from when it was obtained.
pub(super) fn stored_set(
    tokens: &GrantedTokens,
    refresh_token: Option<Secret>,
    app_id: AppId,
    obtained: Moment,
    timing: &Timing,
) -> StoredSet {
    let refresh_life = tokens.refresh_token_life.unwrap_or(timing.refresh_token_lifetime);
    StoredSet {
        app_id,
        access_token: tokens.access_token.clone(),
        refresh_token,
        access_token_expires_at: tokens
            .access_token
            .as_ref()
            .map(|_| obtained.time.plus(tokens.access_token_life)),
        refresh_token_expires_at: obtained.time.plus(refresh_life),
        obtained,
    }
}

fn fail(row: &mut OaRow, standing: Option<Standing>, detail: String, now: &Reading) -> Effect {
    let Some(standing) = standing else { return Effect::AlreadyConcluded };
    let effect = failed(&standing, now);
    row.failures = row.failures.saturating_add(1);
    row.last_error = Some(detail);
    row.stand(standing, now);
    effect
}

/// What it is to the OA that a failure left it so.
fn failed(standing: &Standing, now: &Reading) -> Effect {
    match standing {
        Standing::Retrying(Retrying { retry_at }) => Effect::Retry { retry_at: *retry_at },
        Standing::Uncertain(Uncertain { probe_at, .. }) => {
            Effect::Uncertain { probe_at: probe_at.unwrap_or(now.time) }
        }
        Standing::ReauthorizationRequired(reason) => Effect::Reauthorize { reason: *reason },
        Standing::AwaitingGrant | Standing::Scheduled { .. } => Effect::AlreadyConcluded,
    }
}
