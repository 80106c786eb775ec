//! Settling an uncertain attempt: each verb names the attempt it is about and changes nothing if that attempt is
//! no longer open.

use rusqlite::Connection;
use std::sync::Arc;

use super::Store;
use super::apps::{self, AppChange, Heard};
use super::journal::{self, AttemptRow, Outcome, Phase};
use super::rows::{self, OaRow};
use super::writer::{StoreError, classify};
use crate::clock::{Moment, Reading, Time};
use crate::id::{AppId, AttemptId, OaId};
use crate::rotation::{
    self, AppNews, Evidence, Premise, Proof, Reason, Retrying, Roll, Settling, Standing, Testimony, Timing,
    Uncertain, remaining_life, whole_life,
};
use crate::secret::Secret;

/// What is known when Zalo is to be asked about an uncertain attempt.
#[derive(Clone, Debug)]
pub struct Doubt {
    /// The attempt.
    pub attempt: AttemptId,
    /// The OA.
    pub oa_id: OaId,
    /// The app whose token endpoint was asked.
    pub app_id: AppId,
    /// The access token that the attempt would have superseded.
    pub access_token: Option<Secret>,
    /// When that token ends.
    pub access_token_expires_at: Option<Time>,
    /// When its set was obtained.
    pub obtained: Moment,
    /// What is known of this app's old tokens.
    pub premise: Premise,
    /// Acceptance was believed in this generation already, so that believing it again could be a second mistake
    /// about one lost answer. Attempts that were all answered with an error code do not count against each other.
    pub was_believed_before: bool,
}

impl Doubt {
    /// Everything that decides, with what Zalo said just now and the questions before.
    pub fn evidence(&self, testimony: Testimony, settling: Settling, now: &Reading) -> Evidence {
        Evidence {
            testimony,
            settling,
            premise: self.premise,
            was_believed_before: self.was_believed_before,
            life: whole_life(self.access_token_expires_at, &self.obtained),
            remaining: remaining_life(self.access_token_expires_at, &self.obtained, now),
            clocks_agree: self.obtained.agrees_with(now),
        }
    }
}

/// How an uncertain OA stands after it was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The attempt is no longer open: something else settled it.
    Gone,
    /// Proven unspent: it is tried again.
    Retry {
        /// When.
        retry_at: Time,
    },
    /// A person has to grant consent again.
    Reauthorize {
        /// Why.
        reason: Reason,
    },
    /// An operator has to decide.
    Held,
}

impl Store {
    /// What is known about an OA's uncertain attempt.
    pub async fn doubt(&self, oa_id: OaId) -> Result<Option<Doubt>, StoreError> {
        self.writer.call(false, move |conn| doubt(conn, &oa_id)).await
    }

    /// The uncertain attempt's token is proven unspent.
    pub async fn prove_unspent(
        &self,
        attempt: AttemptId,
        proof: Proof,
        timing: Arc<Timing>,
        now: Reading,
        roll: Roll,
    ) -> Result<Settled, StoreError> {
        self.writer.call(true, move |tx| prove_unspent(tx, attempt, proof, &timing, &now, roll)).await
    }

    /// The uncertain attempt's token is proven spent.
    pub async fn prove_spent(
        &self,
        attempt: AttemptId,
        timing: Arc<Timing>,
        now: Reading,
    ) -> Result<Settled, StoreError> {
        self.writer.call(true, move |tx| prove_spent(tx, attempt, &timing, &now)).await
    }

    /// Nothing can prove any more what became of the uncertain attempt.
    pub async fn hold(
        &self,
        attempt: AttemptId,
        present_once: bool,
        timing: Arc<Timing>,
        now: Reading,
        roll: Roll,
    ) -> Result<Settled, StoreError> {
        self.writer.call(true, move |tx| hold(tx, attempt, present_once, &timing, &now, roll)).await
    }
}

/// Reads what is known about the OA's uncertain attempt. `None`: there is none, or an operator is to decide it.
pub(super) fn doubt(conn: &Connection, oa_id: &OaId) -> rusqlite::Result<Option<Doubt>> {
    let Some(row) = rows::load(conn, oa_id)? else { return Ok(None) };
    let (Standing::Uncertain(Uncertain { attempt, probe_at: Some(_) }), Some(set)) = (&row.standing, row.set)
    else {
        return Ok(None);
    };
    let Some(journalled) = journal::load(conn, *attempt)? else { return Ok(None) };
    let only_unanswered = journalled.code.is_some();
    let believed = journal::has_proof(conn, oa_id, row.generation, Proof::OldTokenAccepted, only_unanswered)?;
    Ok(Some(Doubt {
        attempt: *attempt,
        was_believed_before: believed,
        premise: apps::premise(conn, &journalled.app_id)?.0,
        oa_id: oa_id.clone(),
        app_id: journalled.app_id,
        access_token: set.access_token,
        access_token_expires_at: set.access_token_expires_at,
        obtained: set.obtained,
    }))
}

/// Proven unspent: the OA is tried again.
pub(super) fn prove_unspent(
    tx: &Connection,
    attempt: AttemptId,
    proof: Proof,
    timing: &Timing,
    now: &Reading,
    roll: Roll,
) -> rusqlite::Result<Settled> {
    let Some((journalled, mut row)) = open(tx, attempt)? else { return Ok(Settled::Gone) };
    let outcome =
        Outcome { class: "unspent", detail: "the refresh token is proven unspent", ..Outcome::default() };
    journal::note(tx, attempt, Phase::Closed, &outcome, now.time)?;
    journal::prove(tx, attempt, proof, now.time)?;
    if proof == Proof::OldTokenAccepted {
        apps::learn(tx, &journalled.app_id, false, timing, now.time)?;
    }
    row.slow_tries = if journalled.code.is_some() { row.slow_tries + 1 } else { 0 };
    let failures = row.failures.saturating_sub(1);
    let standing = rotation::after_proof(journalled.code, row.slow_tries, failures, timing, now.time, roll);
    let settled = match &standing {
        Standing::ReauthorizationRequired(reason) => Settled::Reauthorize { reason: *reason },
        Standing::Retrying(Retrying { retry_at }) => Settled::Retry { retry_at: *retry_at },
        Standing::AwaitingGrant | Standing::Scheduled { .. } | Standing::Uncertain(_) => Settled::Gone,
    };
    row.stand(standing, now);
    rows::save(tx, &row)?;
    journal::forget_surplus(tx, &row.oa_id)?;
    Ok(settled)
}

/// Proven spent: its answer is lost.
pub(super) fn prove_spent(
    tx: &Connection,
    attempt: AttemptId,
    timing: &Timing,
    now: &Reading,
) -> rusqlite::Result<Settled> {
    let Some((journalled, mut row)) = open(tx, attempt)? else { return Ok(Settled::Gone) };
    let detail = "the refresh token was spent, and the answer is lost";
    journal::note(
        tx,
        attempt,
        Phase::Closed,
        &Outcome { class: "spent", detail, ..Outcome::default() },
        now.time,
    )?;
    row.last_error = Some(detail.to_owned());
    // Zalo refused it: it is kept, and no longer called valid.
    if let Some(set) = &mut row.set {
        set.access_token_expires_at = set.access_token_expires_at.map(|end| end.min(now.time));
    }
    row.stand(rotation::give_up(), now);
    rows::save(tx, &row)?;
    // After this OA stands as it does: it is no longer the one that is nearest to its end.
    apps::learn(tx, &journalled.app_id, true, timing, now.time)?;
    Ok(Settled::Reauthorize { reason: Reason::ResponseLost })
}

/// Nothing can prove it any more. With `present_once` the token is presented once more without proof, but only
/// once in a generation; else, and after that, the OA is held for an operator.
pub(super) fn hold(
    tx: &Connection,
    attempt: AttemptId,
    present_once: bool,
    timing: &Timing,
    now: &Reading,
    roll: Roll,
) -> rusqlite::Result<Settled> {
    let Some((_, mut row)) = open(tx, attempt)? else { return Ok(Settled::Gone) };
    let may_present =
        present_once && !journal::has_proof(tx, &row.oa_id, row.generation, Proof::Policy, false)?;
    if may_present {
        return prove_unspent(tx, attempt, Proof::Policy, timing, now, roll);
    }
    row.stand(Standing::Uncertain(Uncertain { attempt, probe_at: None }), now);
    rows::save(tx, &row)?;
    Ok(Settled::Held)
}

/// An attempt whose answer nobody waits for any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    /// Whose it is.
    pub oa_id: OaId,
    /// The app whose endpoint was asked.
    pub app_id: AppId,
    /// The attempt.
    pub attempt: AttemptId,
    /// Its OA is uncertain now; else a person had imported another set meanwhile.
    pub is_uncertain: bool,
    /// What became of the app.
    pub app: AppChange,
}

/// Every attempt that is open and presented: nobody is waiting for its answer any more. Those of an OA whose set was
/// replaced meanwhile are closed; the others leave their OA uncertain. To their app all of them are outcomes that nobody
/// knows.
pub(super) fn abandon_presenting(
    tx: &Connection,
    timing: &Timing,
    now: &Reading,
    roll: &mut dyn FnMut() -> Roll,
) -> rusqlite::Result<Vec<Abandoned>> {
    let open: Vec<[u8; 16]> = tx
        .prepare_cached("SELECT attempt_id FROM attempt WHERE phase <> 'closed' AND phase = 'presenting'")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut abandoned = Vec::new();
    for attempt in open.into_iter().map(AttemptId::from_bytes) {
        let Some(journalled) = journal::load(tx, attempt)? else { continue };
        let probe_at = now.time.plus(timing.settle);
        let is_uncertain = leave_uncertain(tx, attempt, &journalled, probe_at, now)?;
        // After its OA stands as it does: it is no longer the one that is nearest to its end.
        let heard = Heard {
            app_id: &journalled.app_id,
            news: AppNews::Lost,
            began_at: journalled.started_at.unwrap_or(now.time),
            next_at: Some(probe_at),
        };
        let app = apps::hear(tx, &heard, timing, now.time, roll())?;
        let AttemptRow { oa_id, app_id, .. } = journalled;
        abandoned.push(Abandoned { oa_id, app_id, attempt, is_uncertain, app });
    }
    apps::leave_time_to_ask(tx, timing, now.time)?;
    Ok(abandoned)
}

/// `false`: a person imported another set meanwhile, or the OA's row cannot be read, which is told elsewhere.
fn leave_uncertain(
    tx: &Connection,
    attempt: AttemptId,
    journalled: &AttemptRow,
    probe_at: Time,
    now: &Reading,
) -> rusqlite::Result<bool> {
    let detail = "the program ended before an answer came";
    let unknown = Outcome { class: "unknown", detail, ..Outcome::default() };
    let row = match rows::load(tx, &journalled.oa_id) {
        Err(error) if matches!(classify(&error), StoreError::Broken(_)) => {
            journal::note(tx, attempt, Phase::Uncertain, &unknown, now.time)?;
            return Ok(false);
        }
        row => row?,
    };
    let Some(mut row) = row.filter(|row| row.generation == journalled.generation) else {
        let outcome = Outcome { class: "superseded", ..Outcome::default() };
        journal::note(tx, attempt, Phase::Closed, &outcome, now.time)?;
        return Ok(false);
    };
    journal::note(tx, attempt, Phase::Uncertain, &unknown, now.time)?;
    row.failures = row.failures.saturating_add(1);
    row.last_error = Some(detail.to_owned());
    row.stand(Standing::Uncertain(Uncertain { attempt, probe_at: Some(probe_at) }), now);
    rows::save(tx, &row)?;
    Ok(true)
}

/// The open, uncertain attempt with the row of its OA.
fn open(tx: &Connection, attempt: AttemptId) -> rusqlite::Result<Option<(AttemptRow, OaRow)>> {
    let Some(journalled) = journal::load(tx, attempt)?.filter(|row| row.phase == Phase::Uncertain) else {
        return Ok(None);
    };
    let row = rows::load(tx, &journalled.oa_id)?;
    Ok(row.map(|row| (journalled, row)))
}
