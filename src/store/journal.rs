//! The journal's own rows: attempts, proofs, and the digests of all refresh tokens that were ever held.

use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

use crate::clock::Time;
use crate::id::{AppId, AttemptId, OaId};
use crate::oauth::ErrorCode;
use crate::rotation::Proof;
use crate::secret::Digest;

/// How long the digest of a refresh token is remembered: longer than any token lives.
const REMEMBER_TOKENS: Duration = Duration::from_secs(400 * 86_400);
/// How many attempts that were never presented are kept for each OA; an outage makes many of them.
const KEEP_NOT_PRESENTED: u32 = 20;

/// An attempt's row, as far as decisions need it.
#[derive(Debug)]
pub(super) struct AttemptRow {
    pub(super) oa_id: OaId,
    pub(super) app_id: AppId,
    pub(super) generation: u64,
    pub(super) digest: Digest,
    pub(super) phase: Phase,
    pub(super) code: Option<ErrorCode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Presenting,
    Uncertain,
    Closed,
}

/// What is written into an attempt's row when it ends, or stays without verdict.
#[derive(Debug, Default)]
pub(super) struct Outcome<'a> {
    pub(super) class: &'static str,
    pub(super) detail: &'a str,
    pub(super) code: Option<ErrorCode>,
    pub(super) status: Option<u16>,
    pub(super) answer: Option<&'a [u8]>,
}

pub(super) fn load(conn: &Connection, attempt: AttemptId) -> rusqlite::Result<Option<AttemptRow>> {
    conn.prepare_cached(
        "SELECT oa_id, app_id, generation, token_digest, phase, code FROM attempt \
         WHERE attempt_id = ?1",
    )?
    .query_row([attempt.as_bytes()], |row| {
        Ok(AttemptRow {
            oa_id: OaId::from(row.get::<_, String>(0)?),
            app_id: AppId::from(row.get::<_, String>(1)?),
            generation: row.get(2)?,
            digest: Digest::from_bytes(row.get(3)?),
            phase: match row.get::<_, String>(4)?.as_str() {
                "presenting" => Phase::Presenting,
                "uncertain" => Phase::Uncertain,
                _ => Phase::Closed,
            },
            code: row.get::<_, Option<i64>>(5)?.map(ErrorCode),
        })
    })
    .optional()
}

/// Notes the outcome. The raw answer is kept where one is given, and one kept earlier stays.
pub(super) fn note(
    tx: &Connection,
    attempt: AttemptId,
    phase: Phase,
    outcome: &Outcome<'_>,
    now: Time,
) -> rusqlite::Result<()> {
    let (phase, concluded_at) = match phase {
        Phase::Presenting => ("presenting", None),
        Phase::Uncertain => ("uncertain", None),
        Phase::Closed => ("closed", Some(now.as_millis())),
    };
    tx.prepare_cached(
        "UPDATE attempt SET phase = ?2, concluded_at = ?3, class = ?4, detail = ?5, code = coalesce(?6, code), \
         status = coalesce(?7, status), answer = coalesce(?8, answer) WHERE attempt_id = ?1",
    )?
    .execute(params![
        attempt.as_bytes(),
        phase,
        concluded_at,
        outcome.class,
        outcome.detail,
        outcome.code.map(|code| code.0),
        outcome.status,
        outcome.answer,
    ])?;
    Ok(())
}

/// Writes the row of an attempt that never came to the gate, closed; keeps only the newest of such rows.
pub(super) fn note_unjournalled(
    tx: &Connection,
    attempt: AttemptId,
    row: &AttemptRow,
    started_at: Time,
    outcome: &Outcome<'_>,
    now: Time,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO attempt (attempt_id, oa_id, app_id, generation, token_digest, phase, started_at, concluded_at, \
         class, detail) VALUES (?1, ?2, ?3, ?4, ?5, 'closed', ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        attempt.as_bytes(),
        row.oa_id.as_str(),
        row.app_id.as_str(),
        row.generation,
        row.digest.as_bytes(),
        started_at.as_millis(),
        now.as_millis(),
        outcome.class,
        outcome.detail,
    ])?;
    tx.prepare_cached(
        "DELETE FROM attempt WHERE oa_id = ?1 AND presented_at IS NULL AND phase = 'closed' AND seq NOT IN \
         (SELECT seq FROM attempt WHERE oa_id = ?1 AND presented_at IS NULL AND phase = 'closed' \
          ORDER BY seq DESC LIMIT ?2)",
    )?
    .execute(params![row.oa_id.as_str(), KEEP_NOT_PRESENTED])?;
    Ok(())
}

/// Records a proof about the token that `attempt` presented.
pub(super) fn prove(tx: &Connection, attempt: AttemptId, proof: Proof, now: Time) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT OR IGNORE INTO proof (attempt_id, kind, made_at) VALUES (?1, ?2, ?3)")?
        .execute(params![attempt.as_bytes(), proof.word(), now.as_millis()])?;
    Ok(())
}

/// Is there a proof of this kind in this generation? With `only_unanswered`, only about attempts that brought no
/// error code.
pub(super) fn has_proof(
    conn: &Connection,
    oa_id: &OaId,
    generation: u64,
    proof: Proof,
    only_unanswered: bool,
) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM proof JOIN attempt USING (attempt_id) \
         WHERE oa_id = ?1 AND generation = ?2 AND kind = ?3 AND (code IS NULL OR NOT ?4))",
    )?
    .query_row(params![oa_id.as_str(), generation, proof.word(), only_unanswered], |row| row.get(0))
}

/// Whose a refresh token is, and whether it may be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Provenance {
    pub(super) oa_id: OaId,
    /// When it was presented, if nothing proves that it is unspent.
    pub(super) used_at: Option<Time>,
}

pub(super) fn provenance(conn: &Connection, digest: Digest) -> rusqlite::Result<Option<Provenance>> {
    conn.prepare_cached(
        "SELECT t.oa_id, t.presented_at, EXISTS (SELECT 1 FROM proof p WHERE p.attempt_id = t.presented_by \
         AND p.used_by IS NULL) FROM refresh_token t WHERE t.digest = ?1",
    )?
    .query_row([digest.as_bytes()], |row| {
        let presented_at = row.get::<_, Option<i64>>(1)?.map(Time::from_millis);
        let is_proven_unspent: bool = row.get(2)?;
        Ok(Provenance {
            oa_id: OaId::from(row.get::<_, String>(0)?),
            used_at: presented_at.filter(|_| !is_proven_unspent),
        })
    })
    .optional()
}

/// Remembers that this refresh token is this OA's.
pub(super) fn own(tx: &Connection, digest: Digest, oa_id: &OaId, now: Time) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT OR IGNORE INTO refresh_token (digest, oa_id, first_seen_at) VALUES (?1, ?2, ?3)",
    )?
    .execute(params![digest.as_bytes(), oa_id.as_str(), now.as_millis()])?;
    Ok(())
}

/// Drops the raw answers that were kept for a person: a whole set has been adopted since.
pub(super) fn drop_answers(tx: &Connection, oa_id: &OaId) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE attempt SET answer = NULL WHERE oa_id = ?1 AND answer IS NOT NULL")?
        .execute([oa_id.as_str()])?;
    Ok(())
}

/// Deletes journal rows older than `keep`, but none that is open, holds an answer or is about a token still held.
/// Forgets refresh tokens that can no longer be alive. Returns how many journal rows went.
pub(super) fn prune(tx: &Connection, keep: Duration, now: Time) -> rusqlite::Result<usize> {
    let gone = tx.execute(
        "DELETE FROM attempt WHERE phase = 'closed' AND answer IS NULL AND concluded_at < ?1 AND NOT EXISTS \
         (SELECT 1 FROM oa WHERE oa.oa_id = attempt.oa_id AND oa.generation = attempt.generation)",
        [now.minus(keep).as_millis()],
    )?;
    tx.execute("DELETE FROM proof WHERE attempt_id NOT IN (SELECT attempt_id FROM attempt)", [])?;
    tx.execute(
        "DELETE FROM refresh_token WHERE first_seen_at < ?1 AND NOT EXISTS (SELECT 1 FROM oa \
         JOIN attempt USING (oa_id, generation) WHERE attempt.token_digest = refresh_token.digest)",
        [now.minus(REMEMBER_TOKENS).as_millis()],
    )?;
    Ok(gone)
}
