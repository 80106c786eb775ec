//! Consents that people are sent to give: from the address with its state to the set that is adopted.
//!
//! ```text
//!  begin ──► open ──► presenting ──► answered ──► closed
//!             ▲           │             whose is it?   granted, or why not
//!             └───────────┤ proven unspent             ▲
//!                         └────────────────────────────┘ refused, lost, not whole
//! ```
//!
//! A code is presented by the laws of a refresh token: its row is durable before its last byte leaves, each code is
//! presented once unless it is proven unspent, and an answer that came is kept until a set of the OA is adopted. What was
//! answered counts only once Zalo has said whose it is, and then as an import does: a person's grant wins.

pub(super) mod adoption;
pub(super) mod exchange;
mod shell;

use rusqlite::{Connection, OptionalExtension, Row, params};
use std::time::Duration;

use super::{journal, rows};
use crate::clock::{Moment, Reading, Time, Uptime};
use crate::id::{AppId, AttemptId, OaId};
use crate::secret::{Digest, Secret};

pub use adoption::{Adopted, Unverified};
pub use exchange::{AbandonedCode, CodeAttempted};

/// How many consents of one OA may be open at once. Whoever has a link can begin any number.
const MOST_OPEN: u32 = 16;
/// How long consents that are over are remembered, with the digests of their codes: far longer than a code lives.
const REMEMBER_CODES: Duration = Duration::from_secs(2 * 86_400);

/// How many rows are deleted at once.
const PRUNE_STEP: u32 = 1_000;

/// The outcome of a consent that is adopted.
pub const GRANTED: &str = "granted";

/// Names a consent in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsentId(i64);

/// A consent that a person is about to be sent to give.
#[derive(Clone, Debug)]
pub struct NewConsent {
    /// The OA that it is for, and no other.
    pub oa_id: OaId,
    /// The app that is to be granted.
    pub app_id: AppId,
    /// Where the person comes back to.
    pub redirect_uri: String,
    /// The SHA-256 of its state.
    pub state: Digest,
    /// The verifier of its challenge.
    pub verifier: Secret,
}

/// A consent as the store has it.
#[derive(Clone, Debug)]
pub struct Consent {
    /// Its name.
    pub id: ConsentId,
    /// The OA that it is for, and no other.
    pub oa_id: OaId,
    /// The app that is to be granted.
    pub app_id: AppId,
    /// When it was begun.
    pub made: Moment,
    /// The verifier of its challenge, as long as it is of use.
    pub verifier: Option<Secret>,
    /// How far it is.
    pub stage: ConsentStage,
}

/// How far a consent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsentStage {
    /// Nobody came back yet, or what he brought is proven unspent.
    Open,
    /// Its code is being presented.
    Presenting,
    /// A set came; whose it is has to be asked.
    Answered(AttemptId),
    /// It is over.
    Closed {
        /// [`GRANTED`], or why not, in a stable word.
        outcome: String,
        /// The generation of the set that was adopted.
        generation: Option<u64>,
    },
}

const COLUMNS: &str = "consent_id, oa_id, app_id, verifier, phase, made_at, made_uptime, made_boot, attempt_id, outcome, \
     generation";

fn read(row: &Row<'_>) -> rusqlite::Result<Consent> {
    let uptime = row.get::<_, Option<u64>>(6)?.map(|millis| Uptime(Duration::from_millis(millis)));
    let attempt = row.get::<_, Option<[u8; 16]>>(8)?.map(AttemptId::from_bytes);
    let stage = match (row.get::<_, String>(4)?.as_str(), attempt) {
        ("open", _) => ConsentStage::Open,
        ("presenting", Some(_)) => ConsentStage::Presenting,
        ("answered", Some(attempt)) => ConsentStage::Answered(attempt),
        _ => ConsentStage::Closed {
            outcome: row.get::<_, Option<String>>(9)?.unwrap_or_default(),
            generation: row.get(10)?,
        },
    };
    Ok(Consent {
        id: ConsentId(row.get(0)?),
        oa_id: OaId::from(row.get::<_, String>(1)?),
        app_id: AppId::from(row.get::<_, String>(2)?),
        verifier: row.get::<_, Option<String>>(3)?.map(Secret::new),
        made: Moment { time: Time::from_millis(row.get(5)?), uptime: uptime.zip(row.get(7)?) },
        stage,
    })
}

fn find(conn: &Connection, condition: &str, value: &[u8]) -> rusqlite::Result<Option<Consent>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM consent WHERE {condition} = ?1"))?
        .query_row([value], read)
        .optional()
}

/// Begins a consent. Of those that nobody came back from, only the newest are kept.
pub(super) fn begin(tx: &Connection, new: &NewConsent, now: &Reading) -> rusqlite::Result<ConsentId> {
    let NewConsent { oa_id, app_id, redirect_uri, state, verifier } = new;
    tx.prepare_cached(
        "DELETE FROM consent WHERE oa_id = ?1 AND phase = 'open' AND consent_id NOT IN (SELECT consent_id FROM consent \
         WHERE oa_id = ?1 AND phase = 'open' ORDER BY consent_id DESC LIMIT ?2)",
    )?
    .execute(params![oa_id.as_str(), MOST_OPEN - 1])?;
    tx.prepare_cached(
        "INSERT INTO consent (oa_id, app_id, state_digest, verifier, redirect_uri, phase, made_at, made_uptime, made_boot) \
         VALUES (?1, ?2, ?3, ?4, ?5, 'open', ?6, ?7, ?8)",
    )?
    .execute(params![
        oa_id.as_str(),
        app_id.as_str(),
        state.as_bytes(),
        verifier.expose(),
        redirect_uri,
        now.time.as_millis(),
        rows::millis(now.uptime.0),
        &*now.boot,
    ])?;
    Ok(ConsentId(tx.last_insert_rowid()))
}

/// The consent that this state belongs to.
pub(super) fn of_state(conn: &Connection, state: Digest) -> rusqlite::Result<Option<Consent>> {
    find(conn, "state_digest", state.as_bytes())
}

/// The consent whose code this exchange presents or presented.
pub(super) fn of_attempt(conn: &Connection, attempt: AttemptId) -> rusqlite::Result<Option<Consent>> {
    find(conn, "attempt_id", attempt.as_bytes())
}

fn load(conn: &Connection, id: ConsentId) -> rusqlite::Result<Option<Consent>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM consent WHERE consent_id = ?1"))?
        .query_row([id.0], read)
        .optional()
}

/// The newest consent of this OA that somebody may come back from.
pub(super) fn newest_open(conn: &Connection, oa_id: &OaId) -> rusqlite::Result<Option<Consent>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM consent WHERE oa_id = ?1 AND phase = 'open' ORDER BY consent_id DESC LIMIT 1"
    ))?
    .query_row([oa_id.as_str()], read)
    .optional()
}

/// Is a code of this OA being presented?
pub(super) fn is_presenting(conn: &Connection, oa_id: &OaId) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM consent WHERE phase = 'presenting' AND oa_id = ?1")?
        .exists([oa_id.as_str()])
}

/// Ends a consent that somebody came back from without a code. `false`: it was no longer open. Of those that ended so only
/// the newest are kept: each costs nobody more than a click.
pub(super) fn decline(tx: &Connection, id: ConsentId, now: Time) -> rusqlite::Result<bool> {
    let declined = tx
        .prepare_cached(
            "UPDATE consent SET phase = 'closed', outcome = 'declined', verifier = NULL, concluded_at = ?2 \
             WHERE consent_id = ?1 AND phase = 'open'",
        )?
        .execute(params![id.0, now.as_millis()])?;
    const DECLINED: &str = "oa_id = (SELECT oa_id FROM consent WHERE consent_id = ?1) AND phase = 'closed' AND outcome = 'declined'";
    tx.prepare_cached(&format!(
        "DELETE FROM consent WHERE {DECLINED} AND consent_id NOT IN \
         (SELECT consent_id FROM consent WHERE {DECLINED} ORDER BY concluded_at DESC, consent_id DESC LIMIT ?2)"
    ))?
    .execute(params![id.0, MOST_OPEN])?;
    Ok(declined > 0)
}

/// What the journal says of an exchange.
struct Said<'a> {
    class: &'static str,
    detail: &'a str,
    status: Option<u16>,
}

fn close(
    tx: &Connection,
    consent: &Consent,
    attempt: AttemptId,
    outcome: &'static str,
    generation: Option<u64>,
    said: &Said<'_>,
    now: Time,
) -> rusqlite::Result<ConsentStage> {
    journal_of(tx, attempt, consent, said, now)?;
    tx.prepare_cached(
        "UPDATE consent SET phase = 'closed', outcome = ?2, detail = ?3, generation = ?4, concluded_at = ?5, \
         verifier = NULL WHERE consent_id = ?1",
    )?
    .execute(params![consent.id.0, outcome, said.detail, generation, now.as_millis()])?;
    Ok(ConsentStage::Closed { outcome: outcome.to_owned(), generation })
}

/// Writes the exchange into the OA's journal, closed: there a person looks for what became of it.
fn journal_of(
    tx: &Connection,
    attempt: AttemptId,
    consent: &Consent,
    said: &Said<'_>,
    now: Time,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT OR IGNORE INTO attempt (attempt_id, oa_id, app_id, generation, token_digest, phase, started_at, \
         presented_at, concluded_at, class, detail, status) \
         SELECT ?1, oa_id, app_id, coalesce((SELECT oa.generation FROM oa WHERE oa.oa_id = consent.oa_id), 0), code_digest, \
         'closed', made_at, CASE ?3 WHEN 'not_presented' THEN NULL ELSE presented_at END, ?2, ?3, ?4, ?5 \
         FROM consent WHERE consent_id = ?6",
    )?
    .execute(params![attempt.as_bytes(), now.as_millis(), said.class, said.detail, said.status, consent.id.0])?;
    journal::forget_surplus(tx, &consent.oa_id)
}

/// Deletes one step of the consents that have long been over, or that nobody came back from: what came of their codes
/// stands in the journal. Returns how many went; none means that nothing is left to do.
pub(super) fn prune(tx: &Connection, day: Time) -> rusqlite::Result<usize> {
    let old = day.minus(REMEMBER_CODES).as_millis();
    let mut deleted = 0;
    for which in
        ["phase = 'closed' AND concluded_at < ?1 AND answer IS NULL", "phase = 'open' AND made_at < ?1"]
    {
        deleted += tx.execute(
            &format!(
                "DELETE FROM consent WHERE consent_id IN (SELECT consent_id FROM consent WHERE {which} LIMIT ?2)"
            ),
            params![old, PRUNE_STEP],
        )?;
    }
    Ok(deleted)
}
