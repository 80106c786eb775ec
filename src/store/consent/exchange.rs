//! The exchange of a code: journalled before it is presented, and concluded whatever came.

use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::{
    COLUMNS, Consent, ConsentId, ConsentStage, Said, close, is_presenting, journal_of, of_attempt, read,
};
use crate::clock::{Moment, Reading, Time};
use crate::id::{AttemptId, OaId};
use crate::rotation::{CodeEnd, Verdict, code_end, is_too_old};
use crate::secret::Digest;
use crate::store::{held, rows};

/// What is known of the exchange of a code when it ends. Without `Debug`: the raw answer is as secret as a token.
pub struct CodeAttempted {
    /// The attempt.
    pub attempt: AttemptId,
    /// When a set that it brought counts as obtained: the moment the gate opened, by both clocks.
    pub obtained: Moment,
    /// What the exchange means.
    pub verdict: Verdict,
    /// The HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// The raw answer, if there was one.
    pub answer: Option<Vec<u8>>,
}

/// A code whose answer nobody waits for any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbandonedCode {
    /// The OA that it was for.
    pub oa_id: OaId,
    /// The exchange.
    pub attempt: AttemptId,
}

/// Writes that this code is about to be presented: once that is durable, it may be. `false`: it must not be, because its
/// consent is over or too old, the code was presented before, or another request of this OA is under way.
pub(in crate::store) fn present(
    tx: &Connection,
    id: ConsentId,
    code: Digest,
    attempt: AttemptId,
    now: &Reading,
) -> rusqlite::Result<bool> {
    let consent = tx
        .prepare_cached(&format!("SELECT {COLUMNS} FROM consent WHERE consent_id = ?1 AND phase = 'open'"))?
        .query_row([id.0], read)
        .optional()?;
    let Some(consent) = consent.filter(|consent| !is_too_old(&consent.made, now)) else { return Ok(false) };
    if held::is_presenting(tx, &consent.oa_id)? || is_presenting(tx, &consent.oa_id)? {
        return Ok(false);
    }
    let presented = tx
        .prepare_cached(
            "UPDATE consent SET phase = 'presenting', attempt_id = ?2, code_digest = ?3, presented_at = ?4 \
             WHERE consent_id = ?1 AND NOT EXISTS (SELECT 1 FROM consent WHERE code_digest = ?3)",
        )?
        .execute(params![id.0, attempt.as_bytes(), code.as_bytes(), now.time.as_millis()])?;
    Ok(presented > 0)
}

/// Concludes the exchange of a code: idempotent, as the conclusion of a refresh is. Returns how far its consent is then;
/// `None`: there is none that this exchange is of.
pub(in crate::store) fn conclude(
    tx: &Connection,
    attempted: &CodeAttempted,
    now: &Reading,
) -> rusqlite::Result<Option<ConsentStage>> {
    let CodeAttempted { attempt, obtained, verdict, status, answer } = attempted;
    let Some(consent) = of_attempt(tx, *attempt)? else { return Ok(None) };
    if consent.stage != ConsentStage::Presenting {
        return Ok(Some(consent.stage));
    }
    let end = code_end(verdict);
    let detail = verdict.detail();
    let said = Said { class: verdict_class(&end, verdict), detail: &detail, status: *status };
    match end {
        CodeEnd::Answered(_) => {
            let grant_before = rows::load(tx, &consent.oa_id)?.and_then(|row| row.grant);
            tx.prepare_cached(
                "UPDATE consent SET phase = 'answered', verifier = NULL, answer = :answer, obtained_at = :at, \
                 obtained_uptime = :uptime, obtained_boot = :boot, grant_before = :before WHERE consent_id = :id",
            )?
            .execute(named_params! {
                ":id": consent.id.0,
                ":answer": answer,
                ":at": obtained.time.as_millis(),
                ":uptime": obtained.uptime.as_ref().map(|(uptime, _)| rows::millis(uptime.0)),
                ":boot": obtained.uptime.as_ref().map(|(_, boot)| boot.as_str()),
                ":before": grant_before.map(|grant| grant.granted_at.as_millis()),
            })?;
            return Ok(Some(ConsentStage::Answered(*attempt)));
        }
        CodeEnd::Unspent => {
            journal_of(tx, *attempt, &consent, &said, now.time)?;
            tx.prepare_cached(
                "UPDATE consent SET phase = 'open', attempt_id = NULL, code_digest = NULL, presented_at = NULL \
                 WHERE consent_id = ?1",
            )?
            .execute([consent.id.0])?;
            return Ok(Some(ConsentStage::Open));
        }
        CodeEnd::Refused(_) | CodeEnd::NotWhole | CodeEnd::Lost => {}
    }
    let kept = answer.as_deref().filter(|bytes| !bytes.is_empty() && !matches!(end, CodeEnd::Refused(_)));
    if let Some(kept) = kept {
        tx.prepare_cached("UPDATE consent SET answer = ?2 WHERE consent_id = ?1")?
            .execute(params![consent.id.0, kept])?;
    }
    close(tx, &consent, *attempt, end.word(), None, &said, now.time).map(Some)
}

/// The journal's word: for what leaves the code unspent the verdict's own, by which only the newest of such rows are kept.
fn verdict_class(end: &CodeEnd<'_>, verdict: &Verdict) -> &'static str {
    match end {
        CodeEnd::Unspent => verdict.class(),
        CodeEnd::Answered(_) | CodeEnd::Refused(_) | CodeEnd::NotWhole | CodeEnd::Lost => end.word(),
    }
}

/// Every code that was being presented when an earlier run ended: nobody waits for its answer any more.
pub(in crate::store) fn abandon_presenting(
    tx: &Connection,
    now: Time,
) -> rusqlite::Result<Vec<AbandonedCode>> {
    let presenting: Vec<(Consent, AttemptId)> = tx
        .prepare_cached(&format!("SELECT {COLUMNS} FROM consent WHERE phase = 'presenting'"))?
        .query_map([], |row| Ok((read(row)?, AttemptId::from_bytes(row.get(8)?))))?
        .collect::<rusqlite::Result<_>>()?;
    let mut abandoned = Vec::new();
    for (consent, attempt) in presenting {
        let word = CodeEnd::Lost.word();
        let said = Said { class: word, detail: "the program ended before an answer came", status: None };
        close(tx, &consent, attempt, word, None, &said, now)?;
        abandoned.push(AbandonedCode { oa_id: consent.oa_id, attempt });
    }
    Ok(abandoned)
}
