//! Which vendors are to be asked now, and about which OAs.

use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Refused;
use crate::clock::{CLOCK_TOLERANCE, Reading, Time};
use crate::id::{OaId, VendorId};

/// An OA about which its vendor is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorDue {
    /// The OA.
    pub oa_id: OaId,
    /// Who holds it.
    pub vendor_id: VendorId,
    /// The vendor refused his key: it is tried with this OA.
    pub is_trial: bool,
}

/// For what there is room.
#[derive(Clone, Debug, Default)]
pub struct VendorRoom {
    /// So much at most.
    pub limit: usize,
    /// So much of one vendor, with what is under way of his: one who never answers holds up no other's OAs.
    pub most_of_one: usize,
    /// How much is under way of each.
    pub under_way: BTreeMap<VendorId, usize>,
    /// The OAs that are to be left alone.
    pub left_alone: BTreeSet<OaId>,
}

/// What is due, as far as there is room; and how long until there is more. Of a vendor who refuses his key one OA goes when a
/// trial is due, and not while one of his is under way.
pub(super) fn due(
    conn: &Connection,
    room: &VendorRoom,
    now: &Reading,
) -> rusqlite::Result<(Vec<VendorDue>, Option<Duration>)> {
    let VendorRoom { limit, most_of_one, under_way, left_alone } = room;
    let (limit, most_of_one, mut of_each) = (*limit, *most_of_one, under_way.clone());
    let refused = all_refused(conn)?;
    let mut due: Vec<VendorDue> = Vec::new();
    for (vendor_id, Refused { trial_at, .. }) in &refused {
        if *trial_at > now.time {
            continue;
        }
        let (is_under_way, first) = trial_of(conn, vendor_id, left_alone)?;
        if let Some(oa_id) = first.filter(|_| !is_under_way) {
            due.push(VendorDue { oa_id, vendor_id: vendor_id.clone(), is_trial: true });
        }
    }
    let future = now.time.plus(CLOCK_TOLERANCE);
    for (condition, at) in
        [("ask_at <= ?1", now.time), ("poll_at <= ?1", now.time), ("planned_at > ?1", future)]
    {
        let (column, _) = condition.split_once(' ').unwrap_or((condition, ""));
        // Each time around one vendor more is full, or it was the last.
        while due.len() < limit {
            let full = of_each.iter().filter(|(_, count)| **count >= most_of_one);
            let full: BTreeSet<VendorId> = full.map(|(vendor_id, _)| vendor_id.clone()).collect();
            let most = limit.saturating_add(left_alone.len()).saturating_add(due.len());
            let mut has_filled_one = false;
            for (oa_id, vendor_id) in found(conn, condition, column, at, most, &full)? {
                let is_taken = left_alone.contains(&oa_id) || due.iter().any(|due| due.oa_id == oa_id);
                let of_one = of_each.entry(vendor_id.clone()).or_default();
                if !is_taken && due.len() < limit && *of_one < most_of_one {
                    *of_one += 1;
                    has_filled_one |= *of_one == most_of_one;
                    due.push(VendorDue { oa_id, vendor_id, is_trial: false });
                }
            }
            if !has_filled_one {
                break;
            }
        }
    }
    due.truncate(limit);
    Ok((due, until_next(conn, &refused, now.time)?))
}

fn all_refused(conn: &Connection) -> rusqlite::Result<BTreeMap<VendorId, Refused>> {
    conn.prepare_cached("SELECT vendor_id, refused_since, trial_at FROM vendor")?
        .query_map([], |row| {
            let refused =
                Refused { since: Time::from_millis(row.get(1)?), trial_at: Time::from_millis(row.get(2)?) };
            Ok((VendorId::from(row.get::<_, String>(0)?), refused))
        })?
        .collect()
}

const NOT_REFUSED: &str = "vendor_id NOT IN (SELECT vendor_id FROM vendor)";

fn found(
    conn: &Connection,
    condition: &str,
    column: &str,
    at: Time,
    limit: usize,
    full: &BTreeSet<VendorId>,
) -> rusqlite::Result<Vec<(OaId, VendorId)>> {
    let full: Vec<&str> = full.iter().map(VendorId::as_str).collect();
    let full = serde_json::to_string(&full)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    conn.prepare_cached(&format!(
        "SELECT oa_id, vendor_id FROM vendor_oa WHERE is_managed = 1 AND {column} IS NOT NULL AND {condition} AND {NOT_REFUSED} \
         AND vendor_id NOT IN (SELECT value FROM json_each(?3)) ORDER BY {column} LIMIT ?2"
    ))?
    .query_map(params![at.as_millis(), i64::try_from(limit).unwrap_or(i64::MAX), full], |row| {
        Ok((OaId::from(row.get::<_, String>(0)?), VendorId::from(row.get::<_, String>(1)?)))
    })?
    .collect()
}

/// Is one of this vendor's OAs under way or left alone, and which of the others tries: the one that is due first.
fn trial_of(
    conn: &Connection,
    vendor_id: &VendorId,
    left_alone: &BTreeSet<OaId>,
) -> rusqlite::Result<(bool, Option<OaId>)> {
    let candidates: Vec<OaId> = conn
        .prepare_cached(
            "SELECT oa_id FROM vendor_oa WHERE vendor_id = ?1 AND is_managed = 1 ORDER BY ask_at IS NULL, ask_at, oa_id",
        )?
        .query_map([vendor_id.as_str()], |row| Ok(OaId::from(row.get::<_, String>(0)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let is_under_way = candidates.iter().any(|oa_id| left_alone.contains(oa_id));
    Ok((is_under_way, candidates.into_iter().next()))
}

fn until_next(
    conn: &Connection,
    refused: &BTreeMap<VendorId, Refused>,
    now: Time,
) -> rusqlite::Result<Option<Duration>> {
    let mut next: Vec<Time> =
        refused.values().map(|refused| refused.trial_at).filter(|at| *at > now).collect();
    for column in ["ask_at", "poll_at"] {
        let at = conn
            .prepare_cached(&format!(
                "SELECT min({column}) FROM vendor_oa WHERE is_managed = 1 AND {column} IS NOT NULL AND {column} > ?1 AND {NOT_REFUSED}"
            ))?
            .query_row([now.as_millis()], |row| row.get::<_, Option<i64>>(0))?;
        next.extend(at.map(Time::from_millis));
    }
    Ok(next.into_iter().min().map(|at| at.since(now)))
}
