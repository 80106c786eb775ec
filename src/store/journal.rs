//! The journal's own rows: attempts, proofs, and the digests of all refresh tokens that were ever held.

use rusqlite::{Connection, OptionalExtension, ToSql, params};
use std::time::Duration;

use super::day;
use crate::clock::Time;
use crate::id::{AppId, AttemptId, OaId};
use crate::oauth::ErrorCode;
use crate::rotation::Proof;
use crate::secret::Digest;

/// How long the digest of a refresh token is remembered: longer than any token lives.
const REMEMBER_TOKENS: Duration = Duration::from_secs(400 * 86_400);
/// How many failures that leave nothing open are kept for each OA.
const KEEP_FAILURES: u32 = 20;
/// How many raw answers are kept for each OA until the next whole set. The newest are those that may hold it.
const KEEP_ANSWERS: u32 = 3;
/// How many rows one step of pruning deletes, so that it holds nobody up.
const PRUNE_STEP: u32 = 1_000;

/// An attempt's row, as far as decisions need it.
#[derive(Debug)]
pub(super) struct AttemptRow {
    pub(super) oa_id: OaId,
    pub(super) app_id: AppId,
    pub(super) generation: u64,
    pub(super) digest: Digest,
    pub(super) phase: Phase,
    pub(super) code: Option<ErrorCode>,
    /// When it began, if it is journalled.
    pub(super) started_at: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Presenting,
    Uncertain,
    Closed,
}

/// What is written into an attempt's row when it ends, or stays without verdict.
#[derive(Default)]
pub(super) struct Outcome<'a> {
    pub(super) class: &'static str,
    pub(super) detail: &'a str,
    pub(super) code: Option<ErrorCode>,
    pub(super) status: Option<u16>,
    pub(super) answer: Option<&'a [u8]>,
}

pub(super) fn load(conn: &Connection, attempt: AttemptId) -> rusqlite::Result<Option<AttemptRow>> {
    conn.prepare_cached(
        "SELECT oa_id, app_id, generation, token_digest, phase, code, started_at FROM attempt \
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
            started_at: Some(Time::from_millis(row.get(6)?)),
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
    forget_surplus(tx, &row.oa_id)
}

/// Closes a journalled attempt whose gate was barred: its token was never presented.
pub(super) fn note_barred(
    tx: &Connection,
    attempt: AttemptId,
    outcome: &Outcome<'_>,
    now: Time,
) -> rusqlite::Result<()> {
    note(tx, attempt, Phase::Closed, outcome, now)?;
    tx.prepare_cached("UPDATE attempt SET presented_at = NULL WHERE attempt_id = ?1")?
        .execute([attempt.as_bytes()])?;
    Ok(())
}

/// Of the failures that leave nothing open (never presented, throttled, app refused) only the newest are kept: an
/// outage makes many of them. Of the raw answers to attempts that were then proven unspent too: no successor can be
/// in them. Neither touches the attempt that presented a token last.
pub(super) fn forget_surplus(tx: &Connection, oa_id: &OaId) -> rusqlite::Result<()> {
    const FAILURES: &str =
        "oa_id = ?1 AND phase = 'closed' AND class IN ('not_presented', 'throttled', 'app_refused')";
    const ANSWERS: &str = "oa_id = ?1 AND answer IS NOT NULL AND class = 'unspent'";
    let surplus = format!(
        "{FAILURES} AND seq NOT IN (SELECT seq FROM attempt WHERE {FAILURES} ORDER BY seq DESC LIMIT ?2) \
         AND NOT EXISTS (SELECT 1 FROM refresh_token t WHERE t.digest = attempt.token_digest \
         AND t.presented_by = attempt.attempt_id)"
    );
    delete_attempts(tx, &surplus, params![oa_id.as_str(), KEEP_FAILURES])?;
    tx.prepare_cached(&format!(
        "UPDATE attempt SET answer = NULL WHERE {ANSWERS} AND seq NOT IN \
         (SELECT seq FROM attempt WHERE {ANSWERS} ORDER BY seq DESC LIMIT ?2)"
    ))?
    .execute(params![oa_id.as_str(), KEEP_ANSWERS])?;
    Ok(())
}

/// Deletes attempts together with their proofs; returns how many.
fn delete_attempts(tx: &Connection, which: &str, parameters: &[&dyn ToSql]) -> rusqlite::Result<usize> {
    let proofs =
        format!("DELETE FROM proof WHERE attempt_id IN (SELECT attempt_id FROM attempt WHERE {which})");
    tx.prepare_cached(&proofs)?.execute(parameters)?;
    tx.prepare_cached(&format!("DELETE FROM attempt WHERE {which}"))?.execute(parameters)
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

/// The attempt that presented this refresh token last.
pub(super) fn last_presented_by(conn: &Connection, digest: Digest) -> rusqlite::Result<Option<AttemptId>> {
    conn.prepare_cached("SELECT presented_by FROM refresh_token WHERE digest = ?1")?
        .query_row([digest.as_bytes()], |row| row.get::<_, Option<[u8; 16]>>(0))
        .optional()
        .map(|found| found.flatten().map(AttemptId::from_bytes))
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
    .execute(params![digest.as_bytes(), oa_id.as_str(), day::today(tx, now)?.as_millis()])?;
    Ok(())
}

/// Notes that this attempt presents the token.
pub(super) fn mark_presented(
    tx: &Connection,
    digest: Digest,
    oa_id: &OaId,
    attempt: AttemptId,
    now: Time,
) -> rusqlite::Result<()> {
    let mut mark =
        tx.prepare_cached("UPDATE refresh_token SET presented_by = ?2, presented_at = ?3 WHERE digest = ?1")?;
    let values = params![digest.as_bytes(), attempt.as_bytes(), now.as_millis()];
    if mark.execute(values)? == 0 {
        own(tx, digest, oa_id, now)?;
        mark.execute(values)?;
    }
    Ok(())
}

/// Drops the raw answers that were kept for a person: a whole set has been adopted since.
pub(super) fn drop_answers(tx: &Connection, oa_id: &OaId) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE attempt SET answer = NULL WHERE oa_id = ?1 AND answer IS NOT NULL")?
        .execute([oa_id.as_str()])?;
    // Not of a consent whose set waits to be taken in.
    tx.prepare_cached(
        "UPDATE consent SET answer = NULL WHERE oa_id = ?1 AND answer IS NOT NULL AND phase = 'closed'",
    )?
    .execute([oa_id.as_str()])?;
    Ok(())
}

/// Deletes one step of journal rows older than `keep`, but none that is open, holds an answer or is about a refresh
/// token still held: its proof may still be needed. Forgets refresh tokens that can no longer be alive. Returns how
/// many rows went; none means that nothing is left to do.
pub(super) fn prune(tx: &Connection, keep: Duration, day: Time) -> rusqlite::Result<usize> {
    const STILL_HELD: &str =
        "EXISTS (SELECT 1 FROM oa WHERE oa.oa_id = old.oa_id AND oa.refresh_token_digest =";
    let old = format!(
        "seq IN (SELECT seq FROM attempt old WHERE phase = 'closed' AND concluded_at < ?1 AND answer IS NULL \
         AND NOT {STILL_HELD} old.token_digest) ORDER BY seq LIMIT ?2)"
    );
    let attempts = delete_attempts(tx, &old, params![day.minus(keep).as_millis(), PRUNE_STEP])?;
    let tokens = tx.execute(
        &format!(
            "DELETE FROM refresh_token WHERE digest IN (SELECT digest FROM refresh_token old \
             WHERE first_seen_at < ?1 AND NOT {STILL_HELD} old.digest) LIMIT ?2)"
        ),
        params![day.minus(REMEMBER_TOKENS).as_millis(), PRUNE_STEP],
    )?;
    Ok(attempts + tokens)
}

/// Keeps an answer whose attempt is not in the journal.
pub(super) fn keep_orphan(
    tx: &Connection,
    attempt: AttemptId,
    answer: &[u8],
    now: Time,
) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT OR IGNORE INTO orphan_answer (attempt_id, received_at, answer) VALUES (?1, ?2, ?3)",
        params![attempt.as_bytes(), now.as_millis(), answer],
    )?;
    Ok(())
}
