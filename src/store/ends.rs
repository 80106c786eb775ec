//! The ends of tokens, as far as a person has to be told: access tokens that ended without a successor, the ladder of
//! reminders before a refresh token ends, and grants of which nobody knows whether renewals move their end.

use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;
use std::time::Duration;

use super::apps;
use super::rows::{self, OaRow, StoredSet};
use super::writer::{StoreError, classify};
use crate::clock::{CLOCK_TOLERANCE, Reading, Time};
use crate::id::{AppId, OaId};
use crate::rotation::{Reminder, Standing, reminder};

/// A refresh token was still good after the end of the grant that it came from: renewals move that end.
const RENEWALS_MOVE_THE_END: &str = "renewals_move_the_end";
/// So long after a grant it is said that nobody knows whether renewals move its end: two weeks before the three months
/// are over that Zalo's documents give a refresh token.
const DOUBT_AFTER: Duration = Duration::from_secs(76 * 86_400);

/// The managed OAs whose access token has ended and of whom that was not said yet. It counts as said from here on.
pub(super) fn take_expired(tx: &Connection, now: &Reading) -> rusqlite::Result<Vec<(OaId, Time)>> {
    let expired = expired(tx, now)?;
    for (oa_id, _) in &expired {
        tx.prepare_cached("UPDATE oa SET expiry_said = 1 WHERE oa_id = ?1")?.execute([oa_id.as_str()])?;
    }
    Ok(expired)
}

/// The managed OAs whose access token has ended and of whom that was not said yet. Of a healthy OA a wall clock that
/// jumped says nothing as long as the clock that nobody sets speaks against it: it is being refreshed.
pub(super) fn expired(conn: &Connection, now: &Reading) -> rusqlite::Result<Vec<(OaId, Time)>> {
    conn.prepare_cached(
        "SELECT oa_id, access_token_expires_at FROM oa INDEXED BY oa_expiry WHERE expiry_said = 0 AND access_token_expires_at <= ?1 \
         AND app_id IS NOT NULL AND (state <> 'scheduled' OR obtained_boot IS NOT ?2 \
         OR obtained_uptime + access_token_expires_at - obtained_at <= ?3)",
    )?
    .query_map(params![now.time.as_millis(), &*now.boot, rows::millis(now.uptime.0)], |row| {
        Ok((OaId::from(row.get::<_, String>(0)?), Time::from_millis(row.get(1)?)))
    })?
    .collect()
}

/// The reminders that are due for refresh tokens that nobody is renewing. They count as said from here on.
pub(super) fn take_reminders(
    tx: &Connection,
    ladder: &[Duration],
    now: &Reading,
) -> rusqlite::Result<Vec<(OaId, Reminder)>> {
    let held: BTreeSet<AppId> = apps::held(tx)?.into_iter().map(|app| app.app_id).collect();
    let longest = ladder.iter().copied().max().unwrap_or_default();
    // Of a large fleet most end later than any step, and are not looked at.
    let ending: Vec<String> = tx
        .prepare_cached(
            "SELECT oa_id FROM oa WHERE refresh_token_expires_at <= ?1 AND app_id IS NOT NULL ORDER BY oa_id",
        )?
        .query_map([now.time.plus(longest).as_millis()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut due = Vec::new();
    for oa_id in ending {
        let Some(mut row) = readable(tx, &OaId::from(oa_id))? else { continue };
        let Some(set) = row.set.as_ref().filter(|_| is_neglected(&row, &held)) else { continue };
        if !is_time_certain(set, now) {
            continue;
        }
        if let Some(reminder) = reminder(ladder, set.refresh_token_expires_at, row.reminded_step, now.time) {
            row.reminded_step = Some(reminder.step);
            rows::save(tx, &row)?;
            due.push((row.oa_id, reminder));
        }
    }
    Ok(due)
}

/// Nothing is said by a clock that was set since: it would count as said for good.
fn is_time_certain(set: &StoredSet, now: &Reading) -> bool {
    set.obtained.step_since(now).is_none_or(|(_, step)| step <= CLOCK_TOLERANCE)
}

/// Managed, and yet not on the way to a new set.
fn is_neglected(row: &OaRow, held: &BTreeSet<AppId>) -> bool {
    let Some(app_id) = &row.app_id else { return false };
    let is_of_another_app = row.set.as_ref().is_some_and(|set| set.app_id != *app_id);
    !matches!(row.standing, Standing::Scheduled { .. }) || is_of_another_app || held.contains(app_id)
}

/// A grant that is old enough for its end to be near, if renewals do not move it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldGrant {
    /// Whose.
    pub oa_id: OaId,
    /// When a person granted it.
    pub granted_at: Time,
    /// When it ends, if renewals do not move its end.
    pub until: Time,
}

/// The grants that are old enough to be doubted and of which that was not said yet. They count as said from here on.
/// Once a single OA has lived past the end of its grant there is nothing to doubt any more.
pub(super) fn take_old_grants(tx: &Connection, now: &Reading) -> rusqlite::Result<Vec<OldGrant>> {
    if is_seen(tx, RENEWALS_MOVE_THE_END)? {
        return Ok(Vec::new());
    }
    let old: Vec<String> = tx
        .prepare_cached(
            "SELECT oa_id FROM oa WHERE granted_at <= ?1 AND grant_doubt_said = 0 AND app_id IS NOT NULL \
             AND state <> 'reauthorization_required' ORDER BY oa_id",
        )?
        .query_map([now.time.minus(DOUBT_AFTER).as_millis()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut told = Vec::new();
    for oa_id in old.into_iter().map(OaId::from) {
        let Some(mut row) = readable(tx, &oa_id)? else { continue };
        let is_certain = row.set.as_ref().is_some_and(|set| is_time_certain(set, now));
        let Some(grant) = row.grant.as_mut().filter(|_| is_certain) else { continue };
        grant.is_doubt_said = true;
        told.push(OldGrant { oa_id, granted_at: grant.granted_at, until: grant.until });
        rows::save(tx, &row)?;
    }
    Ok(told)
}

/// A refresh has just succeeded: was its refresh token older than the grant that it came from? That counts only with a
/// second witness to the time since the set before was obtained. Where the wall clock was set meanwhile, the dates of
/// the grant, which came from the clock before, are set with it.
pub(super) fn note_renewal(tx: &Connection, row: &mut OaRow, now: &Reading) -> rusqlite::Result<()> {
    let (Some(grant), Some(set)) = (&mut row.grant, &row.set) else { return Ok(()) };
    match set.obtained.step_since(now) {
        None => {}
        Some((_, step)) if step <= CLOCK_TOLERANCE && now.time <= grant.until => {}
        Some((_, step)) if step <= CLOCK_TOLERANCE => {
            tx.prepare_cached("INSERT OR IGNORE INTO fact (name, since) VALUES (?1, ?2)")?
                .execute(params![RENEWALS_MOVE_THE_END, now.time.as_millis()])?;
        }
        Some((is_back, step)) => {
            let moved = |at: Time| if is_back { at.minus(step) } else { at.plus(step) };
            (grant.granted_at, grant.until) = (moved(grant.granted_at), moved(grant.until));
        }
    }
    Ok(())
}

/// A row that cannot be read takes what is to be said from no other. A disk that fails is not passed over: by then the
/// transaction may be undone.
fn readable(conn: &Connection, oa_id: &OaId) -> rusqlite::Result<Option<OaRow>> {
    match rows::load(conn, oa_id) {
        Err(error) if matches!(classify(&error), StoreError::Broken(_)) => Ok(None),
        loaded => loaded,
    }
}

fn is_seen(conn: &Connection, fact: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM fact WHERE name = ?1")?
        .query_row([fact], |_| Ok(()))
        .optional()
        .map(|found| found.is_some())
}
