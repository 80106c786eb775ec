//! Taking in a token set that a person brings. A person's set wins over whatever is under way, unless it is one
//! that was used before or another OA's.

use rusqlite::{Connection, OptionalExtension, params};

use super::apps;
use super::conclude::stored_set;
use super::held;
use super::journal::{self, Outcome, Phase};
use super::rows::{self, Grant, OaRow};
use crate::clock::{Moment, Reading, Time};
use crate::id::{AppId, OaId};
use crate::oauth::GrantedTokens;
use crate::rotation::{Reason, Standing, Timing, refresh_at};
use crate::secret::Digest;

/// A set that a person brings.
#[derive(Debug)]
pub struct Import {
    /// Whose it is said to be.
    pub oa_id: OaId,
    /// The app that it was granted to.
    pub app_id: AppId,
    /// The OA's name in the config.
    pub name: Option<String>,
    /// The tokens; both are there.
    pub tokens: GrantedTokens,
    /// When the set was obtained.
    pub obtained: Moment,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is the current set now.
    Adopted {
        /// Its generation.
        generation: u64,
        /// When it will be refreshed.
        refresh_at: Time,
    },
    /// It was the current set already.
    Unchanged {
        /// Its generation.
        generation: u64,
    },
    /// Its refresh token was presented before; nothing says that it is unspent.
    UsedBefore {
        /// When.
        at: Time,
    },
    /// Its refresh token belongs to another OA.
    OfAnotherOa(OaId),
}

pub(super) fn import(
    tx: &Connection,
    import: &Import,
    timing: &Timing,
    now: &Reading,
) -> rusqlite::Result<Imported> {
    let Import { oa_id, app_id, name, tokens, obtained } = import;
    let refresh_token = tokens.refresh_token.clone();
    let set = stored_set(tokens, refresh_token, app_id.clone(), obtained.clone(), timing);
    let digest = set.refresh_digest();
    let mut row = rows::load(tx, oa_id)?.unwrap_or_else(|| OaRow::new(oa_id.clone()));
    if let Some(refusal) = refusal(tx, &row, digest, app_id)? {
        return Ok(refusal);
    }
    let superseded = Outcome { class: "superseded", detail: "a person imported a set", ..Outcome::default() };
    if let Standing::Uncertain(uncertain) = &row.standing {
        journal::note(tx, uncertain.attempt, Phase::Closed, &superseded, now.time)?;
    }
    if let Some(digest) = digest {
        journal::own(tx, digest, oa_id, now.time)?;
    }
    journal::drop_answers(tx, oa_id)?;
    let lifetimes = set.lifetimes();
    let is_expired = set.access_token_expires_at.is_none_or(|end| end <= now.time);
    let (granted_at, until) = (lifetimes.obtained_at, lifetimes.refresh_token_expires_at);
    if held::is_presenting(tx, oa_id)? {
        // The set of the request under way may be in its slot, and handed out by the next number: that one is taken.
        row.generation += 1;
    }
    row.adopt(set);
    row.grant = Some(Grant { granted_at, until, is_doubt_said: false });
    row.app_id = Some(app_id.clone());
    row.name.clone_from(name);
    row.is_import_unsaid = true;
    row.is_expiry_said = is_expired;
    let refresh_at = refresh_at(timing, &lifetimes, oa_id, now.time);
    row.stand(Standing::Scheduled { refresh_at }, now);
    rows::save(tx, &row)?;
    apps::reconsider(tx, Some(app_id), timing, now.time)?;
    Ok(Imported::Adopted { generation: row.generation, refresh_at })
}

/// Why the set is not taken in, or needs not be.
fn refusal(
    tx: &Connection,
    row: &OaRow,
    digest: Option<Digest>,
    app_id: &AppId,
) -> rusqlite::Result<Option<Imported>> {
    let Some(found) = digest.map(|digest| journal::provenance(tx, digest)).transpose()?.flatten() else {
        return Ok(None);
    };
    if found.oa_id != row.oa_id {
        return Ok(Some(Imported::OfAnotherOa(found.oa_id)));
    }
    let is_current =
        row.set.as_ref().is_some_and(|set| set.refresh_digest() == digest && set.app_id == *app_id);
    let is_latched = matches!(row.standing, Standing::ReauthorizationRequired(_));
    Ok(match found.used_at {
        _ if is_current && !is_latched => Some(Imported::Unchanged { generation: row.generation }),
        Some(at) => Some(Imported::UsedBefore { at }),
        None if is_current && !is_unlocked_by_import(&row.standing) => {
            Some(Imported::Unchanged { generation: row.generation })
        }
        None => None,
    })
}

/// A person who brings the current, unspent set of a latched OA again wants it tried again.
fn is_unlocked_by_import(standing: &Standing) -> bool {
    matches!(standing, Standing::ReauthorizationRequired(Reason::Error(_)))
}

/// The imports that the daemon has not announced yet: their generation and plan. They count as announced from
/// here on.
pub(super) fn take_unsaid(tx: &Connection) -> rusqlite::Result<Vec<(OaId, u64, Option<Time>)>> {
    let unsaid: Vec<_> = tx
        .prepare_cached(
            "SELECT oa_id, generation, next_action_at FROM oa INDEXED BY oa_import WHERE import_unsaid = 1 AND app_id IS NOT NULL",
        )?
        .query_map([], |row| {
            let oa_id = OaId::from(row.get::<_, String>(0)?);
            Ok((oa_id, row.get(1)?, row.get::<_, Option<i64>>(2)?.map(Time::from_millis)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (oa_id, generation, _) in &unsaid {
        tx.prepare_cached("UPDATE oa SET import_unsaid = 0 WHERE oa_id = ?1 AND generation = ?2")?
            .execute(params![oa_id.as_str(), generation])?;
    }
    Ok(unsaid)
}

/// Is there an import that has not been announced?
pub(super) fn has_unsaid(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT 1 FROM oa INDEXED BY oa_import WHERE import_unsaid = 1 AND app_id IS NOT NULL LIMIT 1",
    )?
    .query_row([], |_| Ok(()))
    .optional()
    .map(|found| found.is_some())
}
