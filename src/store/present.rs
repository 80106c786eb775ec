//! Claiming an OA and journalling that its refresh token is about to be presented.

use rusqlite::{Connection, OptionalExtension, params};

use super::journal;
use super::rows::{self, OaRow};
use crate::clock::Time;
use crate::id::{AppId, AttemptId, OaId};
use crate::rotation::Standing;
use crate::secret::{Digest, Secret};

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
}

/// Why an attempt's row is written, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journalled {
    /// It is there: once it is durable, the token may be presented.
    Written,
    /// The OA is no longer as it was claimed, or nothing proves its token unspent: present nothing.
    Stale,
}

/// Reads the OA again and says what an attempt is to work with. `None`: nothing is to be done, because an import,
/// an open attempt, a change of app or a latched state came between, or nothing proves that the token is unspent.
pub(super) fn claim(conn: &Connection, oa_id: &OaId) -> rusqlite::Result<Option<Claim>> {
    let Some(row) = rows::load(conn, oa_id)? else { return Ok(None) };
    if has_open_attempt(conn, oa_id)? {
        return Ok(None);
    }
    let is_claimable = match row.standing {
        Standing::Scheduled { .. } | Standing::Retrying(_) => true,
        Standing::AwaitingGrant | Standing::Uncertain(_) | Standing::ReauthorizationRequired(_) => false,
    };
    let OaRow { oa_id, app_id, generation, set, .. } = row;
    let Some((set, managing_app)) = set.zip(app_id) else { return Ok(None) };
    let Some(refresh_token) = set.refresh_token.filter(|_| is_claimable && set.app_id == managing_app) else {
        return Ok(None);
    };
    let provenance = journal::provenance(conn, refresh_token.digest())?;
    if provenance.is_some_and(|found| found.used_at.is_some()) {
        return Ok(None);
    }
    Ok(Some(Claim {
        oa_id,
        app_id: set.app_id,
        generation,
        refresh_token,
        access_token: set.access_token,
        access_token_expires_at: set.access_token_expires_at,
    }))
}

/// Writes the attempt's row, if the OA is still as it was claimed and its token was never presented, or is proven
/// unspent by a proof that nobody used yet. The proof is used up by this.
pub(super) fn present(
    tx: &Connection,
    claim: &Claim,
    attempt: AttemptId,
    started_at: Time,
    now: Time,
) -> rusqlite::Result<Journalled> {
    let current = self::claim(tx, &claim.oa_id)?;
    let is_as_claimed = current.is_some_and(|current| {
        current.generation == claim.generation && current.refresh_token == claim.refresh_token
    });
    let digest = claim.refresh_token.digest();
    let presented_by = last_presented_by(tx, digest)?;
    if !is_as_claimed {
        return Ok(Journalled::Stale);
    }
    if let Some(earlier) = presented_by {
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
        now.as_millis(),
    ])?;
    tx.prepare_cached(
        "INSERT INTO refresh_token (digest, oa_id, first_seen_at, presented_by, presented_at) \
         VALUES (?1, ?2, ?4, ?3, ?4) \
         ON CONFLICT (digest) DO UPDATE SET presented_by = ?3, presented_at = ?4",
    )?
    .execute(params![digest.as_bytes(), claim.oa_id.as_str(), attempt.as_bytes(), now.as_millis()])?;
    Ok(Journalled::Written)
}

pub(super) fn has_open_attempt(conn: &Connection, oa_id: &OaId) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM attempt WHERE oa_id = ?1 AND phase <> 'closed')")?
        .query_row([oa_id.as_str()], |row| row.get(0))
}

fn last_presented_by(conn: &Connection, digest: Digest) -> rusqlite::Result<Option<AttemptId>> {
    conn.prepare_cached("SELECT presented_by FROM refresh_token WHERE digest = ?1")?
        .query_row([digest.as_bytes()], |row| row.get::<_, Option<[u8; 16]>>(0))
        .optional()
        .map(|found| found.flatten().map(AttemptId::from_bytes))
}
