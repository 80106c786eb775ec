//! What people and programs see of an OA that a vendor holds.

use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};

use super::answers::reason;
use super::rows::{self, VendorOaRow};
use super::{AtVendors, refused};
use crate::clock::{Reading, Time};
use crate::id::{Fleet, OaId, VendorId};
use crate::rotation::Reason;
use crate::store::reauthorization::Reauthorization;
use crate::store::view::{OaStatus, State};
use crate::vendor::{Need, Trouble};

/// How it is seen.
struct Seen {
    state: State,
    reason: Option<Reason>,
}

/// The state of an OA, and why.
fn seen(row: &VendorOaRow, is_refused: bool, now: Time) -> Seen {
    let is = |state, reason| Seen { state, reason };
    if !row.is_managed {
        return is(State::Unmanaged, None);
    }
    if is_refused {
        return is(State::Blocked, Some(Reason::VendorRefused));
    }
    let course = &row.course;
    let is_over = course.end.is_some_and(|end| end.at <= now);
    let Some(need) = course.need(now) else { return is(State::Scheduled, None) };
    let called = |reason| is(State::ReauthorizationRequired, Some(reason));
    match (need, course.trouble) {
        _ if course.link.is_some() => called(reason(need)),
        (_, Some(Trouble::Misconfigured)) => called(Reason::VendorMisconfigured),
        (Need::Disconnected, _) => called(Reason::Disconnected),
        (Need::Due, _) if is_over => called(Reason::ConsentDue),
        (_, Some(Trouble::Failing)) => is(State::Retrying, None),
        (Need::Unknown, Some(Trouble::Nothing) | None) => is(State::AwaitingGrant, None),
        (Need::Due, Some(Trouble::Nothing) | None) => is(State::Scheduled, None),
    }
}

/// What a person is asked to do. A link that he asked for before it is time is told as well.
fn reauthorization(row: &VendorOaRow, seen: &Seen, now: Time) -> Option<Reauthorization> {
    let course = &row.course;
    let url = course.link.as_ref().map(|link| link.url.clone());
    let need = course.need(now);
    let word = match seen.state {
        State::Unmanaged => return None,
        State::AwaitingGrant => State::AwaitingGrant.word().to_owned(),
        State::ReauthorizationRequired => seen.reason?.to_string(),
        State::Scheduled | State::Retrying | State::Presenting | State::Uncertain | State::Blocked
            if url.is_some() || need.is_some() =>
        {
            reason(need.unwrap_or(Need::Due)).to_string()
        }
        State::Scheduled | State::Retrying | State::Presenting | State::Uncertain | State::Blocked
            if row.reminded_step.is_some() =>
        {
            "refresh_token_expiring".to_owned()
        }
        State::Scheduled | State::Retrying | State::Presenting | State::Uncertain | State::Blocked => {
            return None;
        }
    };
    let deadline = course.end.map(|end| end.at).filter(|at| *at > now);
    Some(Reauthorization { reason: word, since: course.needed_since, url, deadline })
}

fn status_of(row: VendorOaRow, is_refused: bool, now: &Reading) -> OaStatus {
    let seen = seen(&row, is_refused, now.time);
    let reauthorization = reauthorization(&row, &seen, now.time);
    let next = match seen.state {
        State::Scheduled | State::Retrying => row.course.ask_at,
        State::AwaitingGrant
        | State::Presenting
        | State::Uncertain
        | State::ReauthorizationRequired
        | State::Blocked
        | State::Unmanaged => None,
    };
    OaStatus {
        oa_id: row.oa_id,
        app_id: None,
        vendor: Some(row.vendor_id),
        name: row.name,
        state: seen.state,
        reason: seen.reason.map(|reason| reason.to_string()),
        generation: 0,
        access_token_expires_at: None,
        refresh_token_expires_at: row.course.end.map(|end| end.at),
        next_refresh_at: next,
        last_refresh_at: None,
        access_token_valid: false,
        consecutive_failures: row.course.failures,
        last_error: row.course.last_error,
        granted_at: row.course.authorized_at,
        reauthorization,
    }
}

/// The status of an OA that the store has as one of a vendor's.
pub(in super::super) fn shown(
    conn: &Connection,
    oa_id: &OaId,
    now: &Reading,
) -> rusqlite::Result<Option<OaStatus>> {
    let Some(row) = rows::load(conn, oa_id)? else { return Ok(None) };
    let is_refused = refused(conn, &row.vendor_id)?.is_some();
    Ok(Some(status_of(row, is_refused, now)))
}

/// The OAs of the store that vendors hold and that come after this one, `limit` at most, by id.
pub(in super::super) fn page(
    conn: &Connection,
    after: Option<&OaId>,
    limit: usize,
    now: &Reading,
) -> rusqlite::Result<Vec<OaStatus>> {
    let refused = all_refused(conn)?;
    let rows = rows::load_page(conn, after, limit)?.into_iter();
    Ok(rows
        .map(|row| {
            let is_refused = refused.contains(&row.vendor_id);
            status_of(row, is_refused, now)
        })
        .collect())
}

/// The OAs as this config has them: those of vendors that the store does not have yet begin, and those that the config does
/// not have are not managed.
pub(in super::super) fn as_configured(
    shown: Vec<OaStatus>,
    managed: &Fleet,
    at_vendors: &AtVendors,
    now: &Reading,
) -> Vec<OaStatus> {
    let mut shown: BTreeMap<OaId, OaStatus> =
        shown.into_iter().map(|status| (status.oa_id.clone(), status)).collect();
    for (oa_id, status) in shown.iter_mut().filter(|(_, status)| status.vendor.is_some()) {
        if !at_vendors.oas.contains_key(oa_id) && !managed.contains_key(oa_id) {
            (status.state, status.reason, status.reauthorization) = (State::Unmanaged, None, None);
        }
    }
    for (oa_id, oa) in at_vendors.oas.iter() {
        let known = shown.get(oa_id).filter(|status| status.vendor.as_ref() == Some(&oa.vendor_id));
        if known.is_none_or(|status| status.state == State::Unmanaged) {
            let mut row = VendorOaRow::new(oa_id.clone(), oa.vendor_id.clone(), now);
            row.name = oa.name.as_deref().map(str::to_owned);
            if let Some(terms) = at_vendors.terms.get(&oa.vendor_id) {
                row.course.take_over(oa.authorized_at, terms, now.time);
            }
            shown.insert(oa_id.clone(), status_of(row, false, now));
        }
    }
    shown.into_values().collect()
}

fn all_refused(conn: &Connection) -> rusqlite::Result<BTreeSet<VendorId>> {
    conn.prepare_cached("SELECT vendor_id FROM vendor")?
        .query_map([], |row| Ok(VendorId::from(row.get::<_, String>(0)?)))?
        .collect()
}

/// The OAs that vendors hold, by state, and when the first of them is asked about next.
pub(in super::super) fn count(
    conn: &Connection,
    now: Time,
) -> rusqlite::Result<(BTreeMap<State, u64>, Option<Time>)> {
    let refused = all_refused(conn)?;
    let (mut counts, mut next) = (BTreeMap::new(), None);
    for row in rows::load_page(conn, None, usize::MAX)? {
        let Seen { state, .. } = seen(&row, refused.contains(&row.vendor_id), now);
        if state == State::Unmanaged {
            continue;
        }
        *counts.entry(state).or_default() += 1;
        if matches!(state, State::Scheduled | State::Retrying) {
            next = next.into_iter().chain(row.course.ask_at).min();
        }
    }
    Ok((counts, next))
}
