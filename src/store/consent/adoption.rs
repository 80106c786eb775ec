//! Taking in what came for a code, once Zalo has said whose it is.

use rusqlite::{Connection, params};
use std::time::Duration;

use super::{Consent, ConsentId, ConsentStage, GRANTED, Said, close, of_attempt};
use crate::clock::{Moment, Reading, Time, Uptime};
use crate::id::{AppId, AttemptId, OaId};
use crate::oauth::{Answer, GrantedTokens, read_token_answer};
use crate::rotation::{CodeEnd, Timing};
use crate::secret::Secret;
use crate::store::import::{self, Import, Imported};
use crate::store::rows;

/// A set that came for a code and that does not count yet.
#[derive(Clone, Debug)]
pub struct Unverified {
    /// The consent that it came of.
    pub consent: ConsentId,
    /// The exchange that brought it.
    pub attempt: AttemptId,
    /// The OA that it should be for.
    pub oa_id: OaId,
    /// The app that it was granted to.
    pub app_id: AppId,
    /// Its access token.
    pub access_token: Secret,
}

/// What became of a set that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// It is the current set now, or was already.
    Granted {
        /// Its generation.
        generation: u64,
    },
    /// It is not; why, in a stable word.
    Refused(&'static str),
    /// There is no such set that waits.
    Gone,
}

/// The sets that came for codes and do not count yet, the newest first.
pub(in crate::store) fn unverified(conn: &Connection) -> rusqlite::Result<Vec<Unverified>> {
    let waiting: Vec<(ConsentId, AttemptId, OaId, AppId, Vec<u8>)> = conn
        .prepare_cached(
            "SELECT attempt_id, oa_id, app_id, answer, consent_id FROM consent WHERE phase = 'answered' \
             ORDER BY obtained_at DESC, consent_id DESC",
        )?
        .query_map([], |row| {
            let (oa_id, app_id) = (row.get::<_, String>(1)?, row.get::<_, String>(2)?);
            let (consent, attempt) = (ConsentId(row.get(4)?), AttemptId::from_bytes(row.get(0)?));
            Ok((consent, attempt, OaId::from(oa_id), AppId::from(app_id), row.get(3)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let with_token = |(consent, attempt, oa_id, app_id, answer): (_, _, _, _, Vec<u8>)| {
        let access_token = tokens_of(&answer)?.access_token?;
        Some(Unverified { consent, attempt, oa_id, app_id, access_token })
    };
    Ok(waiting.into_iter().filter_map(with_token).collect())
}

fn tokens_of(answer: &[u8]) -> Option<GrantedTokens> {
    match read_token_answer(answer) {
        Answer::Granted(tokens) => Some(tokens),
        Answer::Error(_) | Answer::Unreadable(_) => None,
    }
}

/// Zalo has said that this set is the OA's: it is taken in as a person's import is, unless a person brought another one
/// since it came.
pub(in crate::store) fn adopt(
    tx: &Connection,
    attempt: AttemptId,
    name: Option<&str>,
    timing: &Timing,
    now: &Reading,
) -> rusqlite::Result<Adopted> {
    let Some(consent) = answered(tx, attempt)? else { return Ok(Adopted::Gone) };
    let (answer, obtained, grant_before) = tx
        .prepare_cached(
            "SELECT answer, obtained_at, obtained_uptime, obtained_boot, grant_before FROM consent WHERE consent_id = ?1",
        )?
        .query_row([consent.id.0], |row| {
            let uptime = row.get::<_, Option<u64>>(2)?.map(|millis| Uptime(Duration::from_millis(millis)));
            let obtained = Moment { time: Time::from_millis(row.get(1)?), uptime: uptime.zip(row.get(3)?) };
            Ok((row.get::<_, Vec<u8>>(0)?, obtained, row.get::<_, Option<i64>>(4)?))
        })?;
    let granted_at = rows::load(tx, &consent.oa_id)?.and_then(|row| row.grant).map(|grant| grant.granted_at);
    let refuse = |word: &'static str, detail: &str| {
        let said = Said { class: word, detail, status: None };
        close(tx, &consent, attempt, word, None, &said, now.time).map(|_| Adopted::Refused(word))
    };
    if granted_at.map(Time::as_millis) != grant_before {
        return refuse("superseded", "a person brought another set meanwhile");
    }
    let Some(tokens) = tokens_of(&answer) else {
        return refuse(CodeEnd::NotWhole.word(), "the answer that was kept cannot be read");
    };
    let import = Import {
        oa_id: consent.oa_id.clone(),
        app_id: consent.app_id.clone(),
        name: name.map(str::to_owned),
        tokens,
        obtained,
    };
    let granted_at = import.obtained.time;
    match import::import(tx, &import, timing, now)? {
        Imported::Adopted { generation, .. } | Imported::Unchanged { generation } => {
            let said = Said { class: GRANTED, detail: "a person granted consent", status: None };
            close(tx, &consent, attempt, GRANTED, Some(generation), &said, now.time)?;
            tx.prepare_cached("UPDATE consent SET answer = NULL WHERE consent_id = ?1")?
                .execute([consent.id.0])?;
            // Of what people granted the newest wins, in whichever order Zalo says whose it is.
            tx.prepare_cached(
                "UPDATE consent SET grant_before = ?2 WHERE oa_id = ?1 AND phase = 'answered' AND obtained_at > ?2",
            )?
            .execute(params![consent.oa_id.as_str(), granted_at.as_millis()])?;
            Ok(Adopted::Granted { generation })
        }
        Imported::UsedBefore { .. } => refuse("used_before", "its refresh token was presented before"),
        Imported::OfAnotherOa(_) => refuse("of_another_oa", "its refresh token belongs to another OA"),
    }
}

/// Zalo has said that this set is not the OA's, or is none that lives. It is kept and does not count. `false`: it does not
/// wait any more.
pub(in crate::store) fn refuse(
    tx: &Connection,
    attempt: AttemptId,
    outcome: &'static str,
    detail: &str,
    now: Time,
) -> rusqlite::Result<bool> {
    let Some(consent) = answered(tx, attempt)? else { return Ok(false) };
    let said = Said { class: outcome, detail, status: None };
    close(tx, &consent, attempt, outcome, None, &said, now)?;
    Ok(true)
}

fn answered(conn: &Connection, attempt: AttemptId) -> rusqlite::Result<Option<Consent>> {
    Ok(of_attempt(conn, attempt)?.filter(|consent| consent.stage == ConsentStage::Answered(attempt)))
}
