//! Claiming an OA and journalling that its refresh token is about to be presented.

use rusqlite::{Connection, params};

use super::apps::{self, Admission, AppStanding};
use super::rows::{self, OaRow};
use super::{consent, journal};
use crate::clock::{Reading, Time};
use crate::id::{AppId, AttemptId, OaId};
use crate::rotation::{Reason, Retrying, Standing, is_due};
use crate::secret::Secret;

/// What one attempt works with: the OA as it stood when it was claimed.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The OA.
    pub oa_id: OaId,
    /// The app that its set was granted to.
    pub app_id: AppId,
    /// The generation of the set.
    pub generation: u64,
    /// The token to present.
    pub refresh_token: Secret,
    /// The access token that this refresh supersedes.
    pub access_token: Option<Secret>,
    /// When that access token ends.
    pub access_token_expires_at: Option<Time>,
    /// An operator wants it to be tried now, whatever its plan is and whatever holds its app back.
    pub is_on_demand: bool,
}

/// Why an attempt's row is written, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journalled {
    /// It is there: once it is durable, the token may be presented.
    Written,
    /// The OA is no longer as it was claimed, or nothing proves its token unspent: present nothing.
    Stale,
    /// The window of its app has no room any more: present nothing now.
    HeldBack,
}

/// What an attempt finds when it reads its OA again.
#[derive(Debug)]
pub enum Claimed {
    /// It is due: this is what the attempt works with.
    Due(Claim),
    /// Nothing is to be done now: an import, an open attempt, a change of app, a verdict or a blocked app came
    /// between.
    NotNow,
    /// Its token was presented before and nothing proves it unspent, although its state says that it may be tried.
    Unproven,
}

/// Reads the OA again and says what an attempt is to work with.
pub(super) fn claim(
    conn: &Connection,
    oa_id: &OaId,
    is_on_demand: bool,
    now: &Reading,
) -> rusqlite::Result<Claimed> {
    let Some(row) = rows::load(conn, oa_id)? else { return Ok(Claimed::NotNow) };
    let plan = match row.standing {
        Standing::Scheduled { refresh_at: at } | Standing::Retrying(Retrying { retry_at: at }) => at,
        Standing::AwaitingGrant | Standing::Uncertain(_) | Standing::ReauthorizationRequired(_) => {
            return Ok(Claimed::NotNow);
        }
    };
    let OaRow { oa_id, app_id, generation, set, planned, .. } = row;
    let Some((set, managing_app)) = set.zip(app_id) else { return Ok(Claimed::NotNow) };
    // Of a blocked app one goes when a trial is due, whatever its own plan.
    let may_go = match apps::load(conn, &managing_app)? {
        _ if is_on_demand => true,
        app if app.refusal.is_some() => app.admission(0, 1, now.time) == Admission::Trial,
        _ => is_due(plan, planned.as_ref(), now),
    };
    let refresh_token = set.refresh_token.filter(|_| may_go && set.app_id == managing_app);
    let Some(refresh_token) = refresh_token else { return Ok(Claimed::NotNow) };
    if has_open_attempt(conn, &oa_id)? || consent::is_presenting(conn, &oa_id)? {
        return Ok(Claimed::NotNow);
    }
    let provenance = journal::provenance(conn, refresh_token.digest())?;
    if provenance.is_some_and(|found| found.used_at.is_some()) {
        return Ok(Claimed::Unproven);
    }
    Ok(Claimed::Due(Claim {
        oa_id,
        app_id: set.app_id,
        generation,
        refresh_token,
        access_token: set.access_token,
        access_token_expires_at: set.access_token_expires_at,
        is_on_demand,
    }))
}

/// Calls a person for an OA whose token was presented before without any proof that it is unspent. A right program
/// never comes here; a wrong one must not leave the OA waiting in silence.
pub(super) fn latch_unproven(tx: &Connection, oa_id: &OaId, now: &Reading) -> rusqlite::Result<bool> {
    if !matches!(claim(tx, oa_id, true, now)?, Claimed::Unproven) {
        return Ok(false);
    }
    let Some(mut row) = rows::load(tx, oa_id)? else { return Ok(false) };
    row.stand(Standing::ReauthorizationRequired(Reason::ResponseLost), now);
    rows::save(tx, &row)?;
    Ok(true)
}

/// Writes the attempt's row, if the OA is still as it was claimed, its token was never presented, or is proven unspent by
/// a proof that nobody used yet, and its app's window has room for one more. The proof is used up by this.
pub(super) fn present(
    tx: &Connection,
    claim: &Claim,
    attempt: AttemptId,
    started_at: Time,
    most: u32,
    now: &Reading,
) -> rusqlite::Result<Journalled> {
    let Claimed::Due(current) = self::claim(tx, &claim.oa_id, claim.is_on_demand, now)? else {
        return Ok(Journalled::Stale);
    };
    if current.generation != claim.generation || current.refresh_token != claim.refresh_token {
        return Ok(Journalled::Stale);
    }
    let under_way = apps::under_way(tx, &claim.app_id)?;
    let app = apps::load(tx, &claim.app_id)?;
    let has_room = match app.standing() {
        // One at a time also then.
        AppStanding::Braked { .. } | AppStanding::Blocked { .. } if claim.is_on_demand => under_way == 0,
        AppStanding::Open | AppStanding::Braked { .. } | AppStanding::Blocked { .. } => {
            app.admission(under_way, most, now.time) != Admission::NONE
        }
    };
    if !has_room {
        return Ok(Journalled::HeldBack);
    }
    let digest = claim.refresh_token.digest();
    if let Some(earlier) = journal::last_presented_by(tx, digest)? {
        let used = tx
            .prepare_cached("UPDATE proof SET used_by = ?2 WHERE attempt_id = ?1 AND used_by IS NULL")?
            .execute(params![earlier.as_bytes(), attempt.as_bytes()])?;
        if used == 0 {
            return Ok(Journalled::Stale);
        }
    }
    tx.prepare_cached(
        "INSERT INTO attempt (attempt_id, oa_id, app_id, generation, token_digest, phase, started_at, presented_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, 'presenting', ?6, ?7)",
    )?
    .execute(params![
        attempt.as_bytes(),
        claim.oa_id.as_str(),
        claim.app_id.as_str(),
        claim.generation,
        digest.as_bytes(),
        started_at.as_millis(),
        now.time.as_millis(),
    ])?;
    journal::mark_presented(tx, digest, &claim.oa_id, attempt, now.time)?;
    Ok(Journalled::Written)
}

pub(super) fn has_open_attempt(conn: &Connection, oa_id: &OaId) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM attempt WHERE oa_id = ?1 AND phase <> 'closed')")?
        .query_row([oa_id.as_str()], |row| row.get(0))
}
