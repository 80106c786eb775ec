//! What people and programs see of the fleet as a whole: counts by state, and the apps that are held back.

use rusqlite::{Connection, Rows};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

use super::apps::{self, AppStanding};
use super::view::State;
use crate::clock::{Reading, Time};
use crate::id::AppId;

/// An app that is held back, as the outside sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AppStatus {
    /// The app.
    pub app_id: AppId,
    /// `braked` or `blocked`.
    pub state: Cow<'static, str>,
    /// Since when.
    pub since: Time,
    /// When one of its OAs may try.
    pub trial_at: Time,
}

/// The apps that are held back, by id.
pub(super) fn held_apps(conn: &Connection) -> rusqlite::Result<Vec<AppStatus>> {
    let held = apps::held(conn)?.into_iter().filter_map(|app| {
        let (state, since, trial_at) = match app.standing() {
            AppStanding::Open => return None,
            AppStanding::Braked { since, trial_at } => ("braked", since, trial_at),
            AppStanding::Blocked { since, trial_at, is_braked: _ } => ("blocked", since, trial_at),
        };
        Some(AppStatus { app_id: app.app_id, state: Cow::Borrowed(state), since, trial_at })
    });
    Ok(held.collect())
}

/// How many OAs are in each state, and when the next of them is refreshed or asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By state; one that no OA is in is not there.
    pub by_state: BTreeMap<State, u64>,
    /// When something happens next.
    pub next_refresh_at: Option<Time>,
}

impl Counts {
    /// How many are in this state.
    pub fn of(&self, state: State) -> u64 {
        self.by_state.get(&state).copied().unwrap_or(0)
    }
}

/// How an OA is seen, as [`seen_state`](super::view) has it.
const SEEN: &str = "CASE WHEN app_id IS NULL THEN 'unmanaged' \
     WHEN oa_id IN (SELECT oa_id FROM attempt WHERE phase = 'presenting') THEN 'presenting' \
     WHEN set_app_id <> app_id THEN 'awaiting_grant' \
     WHEN state IN ('scheduled', 'retrying') AND app_id IN (SELECT app_id FROM app WHERE refused_since IS NOT NULL) \
     THEN 'blocked' ELSE state END";

/// Counts the OAs as [`statuses`](super::view::statuses) would show them, without looking at each.
pub(super) fn counts(conn: &Connection) -> rusqlite::Result<Counts> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {SEEN} AS seen, count(*), min(next_action_at) FROM oa GROUP BY seen"
    ))?;
    read_counts(statement.query([])?)
}

/// Counts the managed OAs without an access token that can be used now, by the wall clock, as [`counts`] counts them.
pub(super) fn unserved(conn: &Connection, now: &Reading) -> rusqlite::Result<Counts> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {SEEN} AS seen, count(*), min(next_action_at) FROM oa WHERE app_id IS NOT NULL AND \
         (access_token IS NULL OR access_token_expires_at IS NULL OR access_token_expires_at <= ?1) GROUP BY seen"
    ))?;
    read_counts(statement.query([now.time.as_millis()])?)
}

fn read_counts(mut rows: Rows<'_>) -> rusqlite::Result<Counts> {
    let mut counts = Counts::default();
    while let Some(row) = rows.next()? {
        let word: String = row.get(0)?;
        let Some(state) = State::ALL.into_iter().find(|state| state.word() == word) else { continue };
        counts.by_state.insert(state, row.get(1)?);
        let next = row.get::<_, Option<i64>>(2)?.map(Time::from_millis);
        if !matches!(state, State::AwaitingGrant | State::Unmanaged | State::Blocked) {
            counts.next_refresh_at = counts.next_refresh_at.into_iter().chain(next).min();
        }
    }
    Ok(counts)
}
