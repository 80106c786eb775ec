//! The ladder of reminders before the consent to a vendor ends.

use rusqlite::{Connection, params};
use std::time::Duration;

use super::rows;
use crate::clock::{CLOCK_TOLERANCE, Reading};
use crate::id::{OaId, VendorId};
use crate::rotation::{Reminder, reminder};

/// A step of the ladder that is to be said now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorReminder {
    /// Whose consent ends.
    pub oa_id: OaId,
    /// To whom it was given.
    pub vendor_id: VendorId,
    /// The step.
    pub reminder: Reminder,
    /// Where consent is given, if a link is out.
    pub url: Option<String>,
}

/// The reminders that are due. They count as said from here on. Nothing is said by a clock that was set since the OA was
/// looked at last: it would count as said for good.
pub(super) fn take_reminders(
    tx: &Connection,
    ladder: &[Duration],
    now: &Reading,
) -> rusqlite::Result<Vec<VendorReminder>> {
    let longest = ladder.iter().copied().max().unwrap_or_default();
    let ending: Vec<OaId> = tx
        .prepare_cached("SELECT oa_id FROM vendor_oa WHERE is_managed = 1 AND ends_at <= ?1 ORDER BY oa_id")?
        .query_map([now.time.plus(longest).as_millis()], |row| Ok(OaId::from(row.get::<_, String>(0)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut due = Vec::new();
    for oa_id in ending {
        let Some(row) = rows::load(tx, &oa_id)? else { continue };
        let is_certain = row.planned.step_since(now).is_none_or(|(_, step)| step <= CLOCK_TOLERANCE);
        let Some(end) = row.course.end.filter(|_| is_certain) else { continue };
        let Some(reminder) = reminder(ladder, end.at, row.reminded_step, now.time) else { continue };
        tx.prepare_cached("UPDATE vendor_oa SET reminded_step = ?2 WHERE oa_id = ?1")?
            .execute(params![oa_id.as_str(), reminder.step.as_secs()])?;
        let url = row.course.link.map(|link| link.url);
        due.push(VendorReminder { oa_id, vendor_id: row.vendor_id, reminder, url });
    }
    Ok(due)
}
