//! What people and programs see of an OA: its status and its history.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::apps::{self, AppStanding};
use super::held::{is_valid, set_in_slot};
use super::reauthorization::{self, Reauthorization};
use super::rows::{self, OaRow, StoredSet};
use super::slots::Slots;
use super::vendor;
use crate::clock::{Reading, Time};
use crate::id::{AppId, AttemptId, Fleet, Managed, OaId, VendorId};
use crate::rotation::{Reason, Retrying, Standing, Uncertain};

/// The state of an OA as the outside sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No tokens yet.
    AwaitingGrant,
    /// Healthy.
    Scheduled,
    /// Proven unspent, the next try is planned.
    Retrying,
    /// A request is under way.
    Presenting,
    /// A request may have spent the token.
    Uncertain,
    /// A person must grant again.
    ReauthorizationRequired,
    /// The app's credentials are refused.
    Blocked,
    /// In the store, not in the config.
    Unmanaged,
}

impl State {
    /// All of them, in the order of the contract.
    pub const ALL: [State; 8] = [
        State::AwaitingGrant,
        State::Scheduled,
        State::Retrying,
        State::Presenting,
        State::Uncertain,
        State::ReauthorizationRequired,
        State::Blocked,
        State::Unmanaged,
    ];

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            State::AwaitingGrant => "awaiting_grant",
            State::Scheduled => "scheduled",
            State::Retrying => "retrying",
            State::Presenting => "presenting",
            State::Uncertain => "uncertain",
            State::ReauthorizationRequired => "reauthorization_required",
            State::Blocked => "blocked",
            State::Unmanaged => "unmanaged",
        }
    }
}

/// One OA's status: the fields of the outward contract, in its order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OaStatus {
    /// The OA.
    pub oa_id: OaId,
    /// Its app in the config, else the one that its set was granted to.
    pub app_id: Option<AppId>,
    /// The vendor who holds it and keeps its tokens; null: this daemon keeps them.
    #[serde(default)]
    pub vendor: Option<VendorId>,
    /// Its name in the config.
    pub name: Option<String>,
    /// Its state.
    pub state: State,
    /// Why, in a stable word.
    pub reason: Option<String>,
    /// Counts token sets; the first imported is 1.
    pub generation: u64,
    /// When its access token ends.
    pub access_token_expires_at: Option<Time>,
    /// When its refresh token ends.
    pub refresh_token_expires_at: Option<Time>,
    /// When something will be done about it next.
    pub next_refresh_at: Option<Time>,
    /// When a refresh last succeeded.
    pub last_refresh_at: Option<Time>,
    /// Can its access token be used now?
    pub access_token_valid: bool,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// What went wrong last; never a secret.
    pub last_error: Option<String>,
    /// When a person last granted consent.
    pub granted_at: Option<Time>,
    /// What a person is asked to do; null: nothing.
    #[serde(default)]
    pub reauthorization: Option<Reauthorization>,
}

impl OaStatus {
    /// Where a person is asked for consent and nothing says where it is given, this says it.
    pub fn point_to(&mut self, link: impl FnOnce(&OaId) -> Option<String>) {
        if let Some(asked) = self.reauthorization.as_mut().filter(|asked| asked.url.is_none()) {
            asked.url = link(&self.oa_id);
        }
    }
}

/// One attempt of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The attempt.
    pub attempt_id: AttemptId,
    /// The generation of the set whose refresh token it presented.
    pub generation: u64,
    /// `presenting`, `uncertain` or `closed`.
    pub phase: String,
    /// What came of it: `granted`, `not_presented`, `throttled`, `unknown`, `unspent`, `spent`, `dead`, …
    pub class: Option<String>,
    /// The same in words.
    pub detail: Option<String>,
    /// When it began.
    pub started_at: Time,
    /// When its refresh token was released; null if it never was.
    pub presented_at: Option<Time>,
    /// When its verdict was stored.
    pub concluded_at: Option<Time>,
    /// The HTTP status of the answer.
    pub status: Option<u16>,
    /// Zalo's error code.
    pub error: Option<i64>,
    /// What proves that the token was unspent.
    pub proof: Option<String>,
    /// A raw answer is kept for an operator.
    pub answer_kept: bool,
}

/// A part of the fleet, by id.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// Those that come after this one; `None`: from the first.
    pub(super) after: Option<OaId>,
    /// So many at most.
    pub(super) limit: usize,
}

impl Page {
    /// The whole fleet.
    pub(super) const WHOLE: Page = Page { after: None, limit: usize::MAX };
}

/// The status of the OAs of the store and of the config, by id.
pub(super) fn statuses(
    conn: &Connection,
    slots: Option<&Slots>,
    managed: &Fleet,
    page: Page,
    now: &Reading,
) -> rusqlite::Result<Vec<OaStatus>> {
    let Page { after, limit } = page;
    let presenting = presenting(conn)?;
    let held: BTreeMap<AppId, AppStanding> =
        apps::held(conn)?.into_iter().map(|app| (app.app_id.clone(), app.standing())).collect();
    let mut rows: BTreeMap<OaId, OaRow> = rows::load_page(conn, after.as_ref(), limit)?
        .into_iter()
        .map(|row| (row.oa_id.clone(), row))
        .collect();
    let mut of_vendors = vendor::page(conn, after.as_ref(), limit, now)?.into_iter().peekable();
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    for oa_id in managed.range((start, Bound::Unbounded)).map(|(oa_id, _)| oa_id).take(limit) {
        rows.entry(oa_id.clone()).or_insert_with(|| OaRow::new(oa_id.clone()));
    }
    let mut statuses = Vec::with_capacity(rows.len().min(limit));
    for (oa_id, row) in rows.into_iter().take(limit) {
        let row = as_managed(row, managed.get(&oa_id));
        let app =
            row.app_id.as_ref().and_then(|app_id| held.get(app_id)).copied().unwrap_or(AppStanding::Open);
        let is_presenting = presenting.contains(&oa_id);
        let in_slot = if is_presenting { set_in_slot(conn, slots, &row)? } else { None };
        while let Some(before) = of_vendors.next_if(|status| status.oa_id < oa_id) {
            statuses.push(before);
        }
        let of_app = status_of(row, in_slot, is_presenting, app, now);
        // One that went over from an app to a vendor, or back, has a row of each.
        let of_vendor = of_vendors.next_if(|status| status.oa_id == oa_id);
        let is_vendors =
            |other: &OaStatus| of_app.state == State::Unmanaged && other.state != State::Unmanaged;
        statuses.push(of_vendor.filter(is_vendors).unwrap_or(of_app));
    }
    statuses.extend(of_vendors);
    statuses.truncate(limit);
    Ok(statuses)
}

/// The managed OAs without tokens, of another app, or with a row that lacks a part.
pub(super) fn helpless(conn: &Connection, managed: &Fleet, now: &Reading) -> rusqlite::Result<Vec<OaStatus>> {
    let candidates: Vec<String> = conn
        .prepare_cached(
            "SELECT oa_id FROM oa WHERE app_id IS NOT NULL AND (state = 'awaiting_grant' OR set_app_id <> app_id \
             OR state <> 'awaiting_grant' AND (set_app_id IS NULL OR obtained_at IS NULL \
             OR refresh_token_expires_at IS NULL OR state IN ('scheduled', 'retrying') AND next_action_at IS NULL)) \
             ORDER BY oa_id",
        )?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut helpless = Vec::new();
    for oa_id in candidates.into_iter().map(OaId::from) {
        helpless.extend(status(conn, None, &oa_id, managed.get(&oa_id), now)?);
    }
    Ok(helpless)
}

/// The row as this config has it, or the program that manages it.
pub(super) fn as_managed(row: OaRow, managed: Option<&Managed>) -> OaRow {
    if managed.is_none() && row.is_by_program {
        return row;
    }
    let name = managed.map_or(row.name.clone(), |managed| managed.name.as_deref().map(str::to_owned));
    OaRow { app_id: managed.map(|managed| managed.app_id.clone()), name, ..row }
}

/// The status of one OA, if the store has it.
pub(super) fn status(
    conn: &Connection,
    slots: Option<&Slots>,
    oa_id: &OaId,
    managed: Option<&Managed>,
    now: &Reading,
) -> rusqlite::Result<Option<OaStatus>> {
    let row = rows::load(conn, oa_id)?.map(|row| as_managed(row, managed));
    if row.as_ref().is_none_or(|row| row.app_id.is_none())
        && let Some(of_vendor) = vendor::shown(conn, oa_id, now)?
        && (row.is_none() || of_vendor.state != State::Unmanaged)
    {
        return Ok(Some(of_vendor));
    }
    let Some(row) = row else { return Ok(None) };
    let app = standing_of_app(conn, &row)?;
    let is_presenting = presenting(conn)?.contains(oa_id);
    let in_slot = if is_presenting { set_in_slot(conn, slots, &row)? } else { None };
    Ok(Some(status_of(row, in_slot, is_presenting, app, now)))
}

pub(super) fn standing_of_app(conn: &Connection, row: &OaRow) -> rusqlite::Result<AppStanding> {
    let app = row.app_id.as_ref().map(|app_id| apps::load(conn, app_id)).transpose()?;
    Ok(app.map_or(AppStanding::Open, |app| app.standing()))
}

pub(super) fn presenting(conn: &Connection) -> rusqlite::Result<BTreeSet<OaId>> {
    conn.prepare_cached("SELECT oa_id FROM attempt WHERE phase <> 'closed' AND phase = 'presenting'")?
        .query_map([], |row| Ok(OaId::from(row.get::<_, String>(0)?)))?
        .collect()
}

fn status_of(
    row: OaRow,
    in_slot: Option<StoredSet>,
    is_presenting: bool,
    app: AppStanding,
    now: &Reading,
) -> OaStatus {
    let (state, reason) = seen_state(&row, is_presenting, app, now.time);
    let next_refresh_at = match (&row.standing, state) {
        (_, State::AwaitingGrant | State::Unmanaged | State::Blocked) => None,
        (Standing::Scheduled { refresh_at: at } | Standing::Retrying(Retrying { retry_at: at }), _) => {
            Some(*at)
        }
        (Standing::Uncertain(Uncertain { probe_at, .. }), _) => *probe_at,
        (Standing::AwaitingGrant | Standing::ReauthorizationRequired(_), _) => None,
    };
    let next_refresh_at = match (app, reason) {
        (AppStanding::Braked { trial_at, .. }, Some(Reason::AppBraked)) => {
            next_refresh_at.max(Some(trial_at))
        }
        _ => next_refresh_at,
    };
    let reauthorization = reauthorization::of(&row, state, reason, now.time);
    let generation = row.generation + u64::from(in_slot.is_some());
    let set_app = row.set.as_ref().map(|set| set.app_id.clone());
    let set = in_slot.or(row.set);
    OaStatus {
        oa_id: row.oa_id,
        app_id: row.app_id.or(set_app),
        vendor: None,
        name: row.name,
        state,
        reason: reason.map(|reason| reason.to_string()),
        generation,
        access_token_expires_at: set.as_ref().and_then(|set| set.access_token_expires_at),
        refresh_token_expires_at: set.as_ref().map(|set| set.refresh_token_expires_at),
        next_refresh_at,
        last_refresh_at: row.last_refresh_at,
        access_token_valid: set.as_ref().is_some_and(|set| is_valid(set, now)),
        consecutive_failures: row.failures,
        last_error: row.last_error,
        granted_at: row.grant.map(|grant| grant.granted_at),
        reauthorization,
    }
}

pub(super) fn seen_state(
    row: &OaRow,
    is_presenting: bool,
    app: AppStanding,
    now: Time,
) -> (State, Option<Reason>) {
    let Some(app_id) = &row.app_id else { return (State::Unmanaged, None) };
    if is_presenting {
        return (State::Presenting, None);
    }
    if row.set.as_ref().is_some_and(|set| set.app_id != *app_id) {
        return (State::AwaitingGrant, Some(Reason::AppChanged));
    }
    match &row.standing {
        Standing::AwaitingGrant => (State::AwaitingGrant, None),
        Standing::Scheduled { .. } | Standing::Retrying(_) if matches!(app, AppStanding::Blocked { .. }) => {
            (State::Blocked, Some(Reason::AppRefused))
        }
        Standing::Scheduled { refresh_at } => (State::Scheduled, held_back(app, *refresh_at, now)),
        Standing::Retrying(Retrying { retry_at }) => (State::Retrying, held_back(app, *retry_at, now)),
        Standing::Uncertain(Uncertain { probe_at, .. }) => {
            (State::Uncertain, probe_at.is_none().then_some(Reason::Unprovable))
        }
        Standing::ReauthorizationRequired(reason) => (State::ReauthorizationRequired, Some(*reason)),
    }
}

/// It is due, and waits because its app is braked.
fn held_back(app: AppStanding, at: Time, now: Time) -> Option<Reason> {
    (at <= now && matches!(app, AppStanding::Braked { .. })).then_some(Reason::AppBraked)
}

/// The OA's attempts, newest first.
pub(super) fn history(conn: &Connection, oa_id: &OaId) -> rusqlite::Result<Vec<HistoryEntry>> {
    let time = |millis: Option<i64>| millis.map(Time::from_millis);
    conn.prepare_cached(
        "SELECT attempt_id, generation, phase, class, detail, started_at, presented_at, concluded_at, status, code, \
         (SELECT kind FROM proof WHERE proof.attempt_id = attempt.attempt_id), answer IS NOT NULL \
         FROM attempt WHERE oa_id = ?1 ORDER BY seq DESC",
    )?
    .query_map(params![oa_id.as_str()], |row| {
        Ok(HistoryEntry {
            attempt_id: AttemptId::from_bytes(row.get(0)?),
            generation: row.get(1)?,
            phase: row.get(2)?,
            class: row.get(3)?,
            detail: row.get(4)?,
            started_at: Time::from_millis(row.get(5)?),
            presented_at: time(row.get(6)?),
            concluded_at: time(row.get(7)?),
            status: row.get(8)?,
            error: row.get(9)?,
            proof: row.get(10)?,
            answer_kept: row.get(11)?,
        })
    })?
    .collect()
}
