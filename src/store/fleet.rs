//! Questions and notes about all OAs: who is managed, what is due, whose tokens end.

use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use std::time::Duration;

use super::rows::{self, OaRow};
use crate::clock::Time;
use crate::id::{AppId, OaId};
use crate::rotation::{Reminder, Standing, reminder};

/// A plan made this much later than now was made by a clock that has been set back since.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// An OA as the config has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Managed {
    /// Its app.
    pub app_id: AppId,
    /// Its name for people.
    pub name: Option<String>,
}

/// Takes over which OAs the config has. New ones get a row, the rest of the store is left unmanaged; nothing else
/// changes, and no token goes.
pub(super) fn manage(tx: &Connection, oas: &BTreeMap<OaId, Managed>) -> rusqlite::Result<()> {
    let stored: BTreeMap<OaId, Option<AppId>> = tx
        .prepare_cached("SELECT oa_id, app_id FROM oa")?
        .query_map([], |row| {
            Ok((OaId::from(row.get::<_, String>(0)?), row.get::<_, Option<String>>(1)?.map(AppId::from)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for oa_id in stored.iter().filter(|(id, app)| app.is_some() && !oas.contains_key(*id)).map(|(id, _)| id) {
        tx.prepare_cached("UPDATE oa SET app_id = NULL WHERE oa_id = ?1")?.execute([oa_id.as_str()])?;
    }
    for (oa_id, managed) in oas {
        tx.prepare_cached(
            "INSERT INTO oa (oa_id, app_id, name) VALUES (?1, ?2, ?3) ON CONFLICT (oa_id) DO UPDATE \
             SET app_id = excluded.app_id, name = excluded.name \
             WHERE app_id IS NOT excluded.app_id OR name IS NOT excluded.name",
        )?
        .execute(params![oa_id.as_str(), managed.app_id.as_str(), managed.name])?;
    }
    Ok(())
}

/// A start lets each blocked app try again at once.
pub(super) fn allow_trials(tx: &Connection, now: Time) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE app SET trial_at = ?1, refused_since = min(refused_since, ?1) WHERE refused_since IS NOT NULL",
        [now.as_millis()],
    )?;
    Ok(())
}

const REFRESHABLE: &str = "oa.app_id = oa.set_app_id AND oa.state IN ('scheduled', 'retrying') \
     AND oa.refresh_token IS NOT NULL";

/// The OAs whose refresh is due, the most urgent first, at most `limit`. Those of a blocked app are left out but
/// for one, when a trial is due. A plan that was made in the future is due too: the clock was set back.
pub(super) fn due_refreshes(
    conn: &Connection,
    now: Time,
    limit: usize,
) -> rusqlite::Result<Vec<(OaId, AppId)>> {
    let read = |row: &rusqlite::Row<'_>| {
        Ok((OaId::from(row.get::<_, String>(0)?), AppId::from(row.get::<_, String>(1)?)))
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut due: Vec<(OaId, AppId)> = conn
        .prepare_cached(&format!(
            "SELECT oa.oa_id, oa.app_id FROM oa LEFT JOIN app USING (app_id) WHERE oa.next_action_at <= ?1 \
             AND {REFRESHABLE} AND app.refused_since IS NULL ORDER BY oa.next_action_at LIMIT ?2"
        ))?
        .query_map(params![now.as_millis(), limit], read)?
        .collect::<rusqlite::Result<_>>()?;
    let of_the_future = conn
        .prepare_cached(&format!(
            "SELECT oa.oa_id, oa.app_id FROM oa LEFT JOIN app USING (app_id) WHERE oa.planned_at > ?1 \
             AND oa.next_action_at > ?2 AND {REFRESHABLE} AND app.refused_since IS NULL LIMIT ?3"
        ))?
        .query_map(params![now.plus(CLOCK_TOLERANCE).as_millis(), now.as_millis(), limit], read)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let trials = conn
        .prepare_cached(&format!(
            "SELECT (SELECT oa.oa_id FROM oa WHERE oa.app_id = app.app_id AND {REFRESHABLE} \
             AND oa.next_action_at IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM attempt WHERE attempt.oa_id = oa.oa_id AND phase <> 'closed') \
             ORDER BY oa.next_action_at LIMIT 1), app.app_id FROM app \
             WHERE app.refused_since IS NOT NULL AND (app.trial_at <= ?1 OR app.refused_since > ?2)"
        ))?
        .query_map([now.as_millis(), now.plus(CLOCK_TOLERANCE).as_millis()], |row| {
            let oa_id: Option<String> = row.get(0)?;
            Ok(oa_id.map(OaId::from).zip(Some(AppId::from(row.get::<_, String>(1)?))))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    due.extend(of_the_future);
    due.extend(trials.into_iter().flatten());
    Ok(due)
}

/// Is this app blocked?
pub(super) fn is_blocked(conn: &Connection, app_id: &AppId) -> rusqlite::Result<bool> {
    refused_since(conn, app_id).map(|since| since.is_some())
}

/// Since when the app's credentials are refused, if they are.
pub(super) fn refused_since(conn: &Connection, app_id: &AppId) -> rusqlite::Result<Option<Time>> {
    conn.prepare_cached("SELECT refused_since FROM app WHERE app_id = ?1")?
        .query_row([app_id.as_str()], |row| row.get::<_, Option<i64>>(0))
        .optional()
        .map(|found| found.flatten().map(Time::from_millis))
}

/// May an OA of this app be refreshed now?
pub(super) fn admission(conn: &Connection, app_id: &AppId, now: Time) -> rusqlite::Result<Admission> {
    let is_trial_due = conn
        .prepare_cached(
            "SELECT coalesce(trial_at <= ?2, 0) OR refused_since > ?3 FROM app \
             WHERE app_id = ?1 AND refused_since IS NOT NULL",
        )?
        .query_row(params![app_id.as_str(), now.as_millis(), now.plus(CLOCK_TOLERANCE).as_millis()], |row| {
            row.get::<_, bool>(0)
        })
        .optional()?;
    Ok(match is_trial_due {
        None => Admission::Open,
        Some(true) => Admission::Trial,
        Some(false) => Admission::Blocked,
    })
}

/// Whether an app's OAs may be refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// All that are due.
    Open,
    /// One, due or not.
    Trial,
    /// None.
    Blocked,
}

/// Is a plan due that was made at `planned_at` for `at`? One that was made in the future is: the clock was set back.
pub(super) fn is_due(at: Time, planned_at: Option<Time>, now: Time) -> bool {
    at <= now || planned_at.is_some_and(|planned_at| planned_at > now.plus(CLOCK_TOLERANCE))
}

/// The uncertain OAs about which Zalo is to be asked. When, the daemon's own clock decides.
pub(super) fn uncertain(conn: &Connection) -> rusqlite::Result<Vec<OaId>> {
    conn.prepare_cached(
        "SELECT oa_id FROM oa WHERE state = 'uncertain' AND next_action_at IS NOT NULL AND app_id IS NOT NULL",
    )?
    .query_map([], |row| Ok(OaId::from(row.get::<_, String>(0)?)))?
    .collect()
}

/// When the next thing falls due that is not due yet.
pub(super) fn next_due(conn: &Connection, now: Time) -> rusqlite::Result<Option<Time>> {
    conn.prepare_cached(
        "SELECT min(next_action_at) FROM oa WHERE next_action_at > ?1 AND app_id IS NOT NULL \
         AND state <> 'uncertain'",
    )?
    .query_row([now.as_millis()], |row| row.get::<_, Option<i64>>(0))
    .map(|millis| millis.map(Time::from_millis))
}

/// The managed OAs whose access token has ended and of whom that was not said yet. It counts as said from here on.
pub(super) fn take_expired(tx: &Connection, now: Time) -> rusqlite::Result<Vec<(OaId, Time)>> {
    let expired = expired(tx, now)?;
    for (oa_id, _) in &expired {
        tx.prepare_cached("UPDATE oa SET expiry_said = 1 WHERE oa_id = ?1")?.execute([oa_id.as_str()])?;
    }
    Ok(expired)
}

/// The managed OAs whose access token has ended and of whom that was not said yet.
pub(super) fn expired(conn: &Connection, now: Time) -> rusqlite::Result<Vec<(OaId, Time)>> {
    conn.prepare_cached(
        "SELECT oa_id, access_token_expires_at FROM oa WHERE expiry_said = 0 AND access_token_expires_at <= ?1 \
         AND app_id IS NOT NULL",
    )?
    .query_map([now.as_millis()], |row| {
        Ok((OaId::from(row.get::<_, String>(0)?), Time::from_millis(row.get(1)?)))
    })?
    .collect()
}

/// The reminders that are due for refresh tokens that nobody is renewing. They count as said from here on.
pub(super) fn take_reminders(
    tx: &Connection,
    ladder: &[Duration],
    now: Time,
) -> rusqlite::Result<Vec<(OaId, Reminder)>> {
    let mut due = Vec::new();
    for mut row in rows::load_all(tx)? {
        let Some(set) = row.set.as_ref().filter(|_| is_neglected(&row)) else { continue };
        if let Some(reminder) = reminder(ladder, set.refresh_token_expires_at, row.reminded_step, now) {
            row.reminded_step = Some(reminder.step);
            rows::save(tx, &row)?;
            due.push((row.oa_id, reminder));
        }
    }
    Ok(due)
}

/// Managed, and yet not on the way to a new set.
fn is_neglected(row: &OaRow) -> bool {
    row.app_id.is_some() && !matches!(row.standing, Standing::Scheduled { .. })
        || row.set.as_ref().is_some_and(|set| row.app_id.as_ref().is_some_and(|app| *app != set.app_id))
}

/// Writes as much as a refresh does and erases it again, to see whether the disk takes it.
pub(super) fn exercise(tx: &Connection) -> rusqlite::Result<()> {
    tx.execute("INSERT INTO exercise (content) VALUES (zeroblob(16384))", [])?;
    tx.execute("DELETE FROM exercise", [])?;
    Ok(())
}
