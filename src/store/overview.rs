//! What people and programs see of the fleet as a whole: counts by state, and the apps that are held back.

use rusqlite::{Connection, Rows};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

use super::apps::{self, AppStanding};
use super::vendor;
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

/// The OAs that an app holds, or nobody: what a vendor holds is counted among his.
const OF_APPS: &str =
    "(app_id IS NOT NULL OR oa_id NOT IN (SELECT oa_id FROM vendor_oa WHERE is_managed = 1))";

/// Counts the OAs as [`statuses`](super::view::statuses) would show them, those of apps without looking at each.
pub(super) fn counts(conn: &Connection, now: Time) -> rusqlite::Result<Counts> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {SEEN} AS seen, count(*), min(next_action_at) FROM oa WHERE {OF_APPS} GROUP BY seen"
    ))?;
    let mut counts = read_counts(statement.query([])?)?;
    let (of_vendors, next) = vendor::count(conn, now)?;
    for (state, count) in of_vendors {
        *counts.by_state.entry(state).or_default() += count;
    }
    counts.next_refresh_at = counts.next_refresh_at.into_iter().chain(next).min();
    Ok(counts)
}

/// What is to be seen of the fleet at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// How many OAs are in each state.
    pub counts: BTreeMap<State, u64>,
    /// How many of the managed ones have no access token that can be used now, by the wall clock.
    pub unserved: BTreeMap<State, u64>,
    /// When the first access token of a managed OA ends, or ended.
    pub first_ends: BTreeMap<State, Time>,
}

/// Looks at the fleet, as [`counts`] counts it, in one go over it.
pub(super) fn overview(conn: &Connection, now: &Reading) -> rusqlite::Result<Overview> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {SEEN} AS seen, count(*), count(*) FILTER (WHERE app_id IS NOT NULL AND (access_token IS NULL OR \
         access_token_expires_at IS NULL OR access_token_expires_at <= ?1)), min(access_token_expires_at) FILTER \
         (WHERE app_id IS NOT NULL AND access_token IS NOT NULL) FROM oa WHERE {OF_APPS} GROUP BY seen"
    ))?;
    let mut rows = statement.query([now.time.as_millis()])?;
    let mut overview = Overview::default();
    while let Some(row) = rows.next()? {
        let Some(state) = state_of(&row.get::<_, String>(0)?) else { continue };
        let Overview { counts, unserved, first_ends } = &mut overview;
        counts.insert(state, row.get(1)?);
        let lacking: u64 = row.get(2)?;
        unserved.extend((lacking > 0).then_some((state, lacking)));
        let first_end = row.get::<_, Option<i64>>(3)?.map(Time::from_millis);
        first_ends.extend(first_end.map(|at| (state, at)));
    }
    // A vendor keeps their tokens: nobody misses any here.
    for (state, count) in vendor::count(conn, now.time)?.0 {
        *overview.counts.entry(state).or_default() += count;
    }
    Ok(overview)
}

fn state_of(word: &str) -> Option<State> {
    State::ALL.into_iter().find(|state| state.word() == word)
}

fn read_counts(mut rows: Rows<'_>) -> rusqlite::Result<Counts> {
    let mut counts = Counts::default();
    while let Some(row) = rows.next()? {
        let Some(state) = state_of(&row.get::<_, String>(0)?) else { continue };
        counts.by_state.insert(state, row.get(1)?);
        let next = row.get::<_, Option<i64>>(2)?.map(Time::from_millis);
        if !matches!(state, State::AwaitingGrant | State::Unmanaged | State::Blocked) {
            counts.next_refresh_at = counts.next_refresh_at.into_iter().chain(next).min();
        }
    }
    Ok(counts)
}
