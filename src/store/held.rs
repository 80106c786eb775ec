//! The access token that is handed out: that of the newest durable set, in every state.
//!
//! A set is durable in the store or in a spill slot, and may be handed out from either.

use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

use super::rows::{self, OaRow, StoredSet};
use super::slots::Slots;
use super::view::{State, as_managed, presenting, seen_state, standing_of_app};
use crate::clock::{CLOCK_TOLERANCE, Moment, Reading, Time};
use crate::id::{AttemptId, Fleet, OaId};
use crate::oauth::GrantedTokens;
use crate::rotation::Verdict;
use crate::secret::Secret;

/// An access token that can be used now.
#[derive(Clone, Debug)]
pub struct ValidToken {
    /// The token.
    pub access_token: Secret,
    /// When it ends.
    pub expires_at: Time,
    /// The generation of its set.
    pub generation: u64,
}

/// The access token of an OA's newest durable set, whether it can be used or not.
#[derive(Clone, Debug)]
pub struct Held {
    /// The token.
    pub access_token: Secret,
    /// When it ends, by the clock by which it was obtained.
    pub ends: Time,
    /// When it was obtained.
    pub obtained: Moment,
    /// The generation of its set.
    pub generation: u64,
}

impl Held {
    fn of(set: &StoredSet, generation: u64) -> Option<Held> {
        Some(Held {
            access_token: set.access_token.clone()?,
            ends: set.access_token_expires_at?,
            obtained: set.obtained.clone(),
            generation,
        })
    }

    /// When the access token ends, if it can be used now. The clock that nobody sets is believed where it was read;
    /// where the wall clock was set since, the end is told as the wall clock has it now.
    pub fn valid_until(&self, now: &Reading) -> Option<Time> {
        valid_until(self.ends, &self.obtained, now)
    }

    /// How long it was given for.
    pub fn life(&self) -> Duration {
        self.ends.since(self.obtained.time)
    }
}

/// What the store says to somebody who wants an OA's token.
#[derive(Clone, Debug)]
pub enum TokenAnswer {
    /// The store does not know this OA.
    NoSuchOa,
    /// It has no access token that can be used now.
    NoneValid(State),
    /// Here it is.
    Valid(ValidToken),
}

/// The OA's access token, if it can be used now: in every state.
pub(super) fn token(
    conn: &Connection,
    slots: Option<&Slots>,
    managed: &Fleet,
    oa_id: &OaId,
    now: &Reading,
) -> rusqlite::Result<TokenAnswer> {
    let Some(row) = rows::load(conn, oa_id)? else {
        let is_known = managed.contains_key(oa_id);
        return Ok(if is_known {
            TokenAnswer::NoneValid(State::AwaitingGrant)
        } else {
            TokenAnswer::NoSuchOa
        });
    };
    let row = as_managed(row, managed.get(oa_id));
    let valid = held_by(conn, slots, &row)?.and_then(|held| {
        let expires_at = held.valid_until(now)?;
        Some(ValidToken { access_token: held.access_token, expires_at, generation: held.generation })
    });
    Ok(match valid {
        Some(valid) => TokenAnswer::Valid(valid),
        None => {
            let app = standing_of_app(conn, &row)?;
            let is_presenting = presenting(conn)?.contains(oa_id);
            TokenAnswer::NoneValid(seen_state(&row, is_presenting, app, now.time).0)
        }
    })
}

/// The OA's newest durable set, in the store or in a slot; and whether that has to be looked for again. A slot is no part of
/// the store's snapshot: where a request is under way and its slot is empty, its set may have come into the store since the
/// snapshot, and gone out of the slot after that. A later snapshot has it then.
pub(super) fn held(
    conn: &Connection,
    slots: Option<&Slots>,
    oa_id: &OaId,
) -> rusqlite::Result<(Option<Held>, bool)> {
    let Some(row) = rows::load(conn, oa_id)? else { return Ok((None, false)) };
    let held = held_by(conn, slots, &row)?;
    let is_newer = held.as_ref().is_some_and(|held| held.generation > row.generation);
    Ok((held, !is_newer && is_presenting(conn, oa_id)?))
}

/// Is a request of this OA under way?
pub(super) fn is_presenting(conn: &Connection, oa_id: &OaId) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT 1 FROM attempt WHERE oa_id = ?1 AND phase <> 'closed' AND phase = 'presenting'",
    )?
    .exists([oa_id.as_str()])
}

pub(super) fn held_by(
    conn: &Connection,
    slots: Option<&Slots>,
    row: &OaRow,
) -> rusqlite::Result<Option<Held>> {
    let in_slot = set_in_slot(conn, slots, row)?;
    let generation = row.generation + u64::from(in_slot.is_some());
    Ok(in_slot.as_ref().or(row.set.as_ref()).and_then(|set| Held::of(set, generation)))
}

/// A set in a spill slot: it reached the program and is not in the store yet. One that a person's import overtook
/// does not count.
pub(super) fn set_in_slot(
    conn: &Connection,
    slots: Option<&Slots>,
    row: &OaRow,
) -> rusqlite::Result<Option<StoredSet>> {
    let Some(slots) = slots else { return Ok(None) };
    let open = conn
        .prepare_cached(
            "SELECT attempt_id FROM attempt WHERE oa_id = ?1 AND phase <> 'closed' AND phase = 'presenting' \
             AND generation = ?2",
        )?
        .query_row(params![row.oa_id.as_str(), row.generation], |row| row.get::<_, [u8; 16]>(0))
        .optional()?;
    let Some(slot) = open.and_then(|id| slots.filled_by(AttemptId::from_bytes(id))) else { return Ok(None) };
    let Verdict::Granted(tokens) = slot.verdict() else { return Ok(None) };
    let GrantedTokens { access_token, refresh_token, access_token_life, .. } = tokens;
    Ok(row.set.as_ref().map(|old| StoredSet {
        app_id: old.app_id.clone(),
        access_token_expires_at: access_token.as_ref().map(|_| slot.obtained.time.plus(access_token_life)),
        access_token,
        refresh_token,
        obtained: slot.obtained.clone(),
        refresh_token_expires_at: old.refresh_token_expires_at,
    }))
}

/// Can its access token be used now?
pub(super) fn is_valid(set: &StoredSet, now: &Reading) -> bool {
    set.access_token_expires_at.is_some_and(|end| valid_until(end, &set.obtained, now).is_some())
}

/// See [`Held::valid_until`].
fn valid_until(end: Time, obtained: &Moment, now: &Reading) -> Option<Time> {
    let is_set = |step: Option<(bool, Duration)>| step.is_some_and(|(_, step)| step > CLOCK_TOLERANCE);
    let end = match obtained.uptime_since(now) {
        Some(elapsed) if is_set(obtained.step_since(now)) => {
            now.time.plus(end.since(obtained.time).saturating_sub(elapsed))
        }
        Some(_) | None => end,
    };
    (end > now.time).then_some(end)
}
