//! OAs that vendors hold: their rows, and the verbs that move them along their course.
//!
//! Each verb is one transaction. What changes a course is decided in [`vendor::course`](crate::vendor::Course); here it is
//! read, guarded against what happened while the vendor was asked, and written. No token is in any of this.

mod answers;
mod due;
mod manage;
mod rows;
mod shell;
#[cfg(test)]
mod tests;
mod told;
mod view;

pub use answers::{Asked, LinkEffect, LinkNews, LookEffect, LookNews, TakenUp};
pub use due::{VendorDue, VendorRoom};
pub(super) use manage::manage;
pub use told::VendorReminder;
pub(super) use view::{as_configured, count, page, shown};

use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Time;
use crate::id::{OaId, VendorId};
use crate::vendor::{Terms, VendorOas};

/// Which OAs vendors hold, and by what their clocks run, as the config has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtVendors {
    /// The OAs.
    pub oas: Arc<VendorOas>,
    /// The terms of each vendor.
    pub terms: Arc<BTreeMap<VendorId, Terms>>,
}

impl AtVendors {
    /// By what the clock of this OA runs; `None`: no vendor holds it.
    pub fn terms_of(&self, oa_id: &OaId) -> Option<Terms> {
        self.terms.get(&self.oas.get(oa_id)?.vendor_id).copied()
    }
}

/// How long a vendor who refuses his key is left alone before one of his OAs tries again.
const TRIAL_WAIT: Duration = Duration::from_secs(3_600);

/// A vendor refuses his key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused {
    since: Time,
    trial_at: Time,
}

fn refused(conn: &Connection, vendor_id: &VendorId) -> rusqlite::Result<Option<Refused>> {
    conn.prepare_cached("SELECT refused_since, trial_at FROM vendor WHERE vendor_id = ?1")?
        .query_row([vendor_id.as_str()], |row| {
            Ok(Refused { since: Time::from_millis(row.get(0)?), trial_at: Time::from_millis(row.get(1)?) })
        })
        .optional()
}

/// The vendor refuses his key. Is that news?
fn refuse(tx: &Connection, vendor_id: &VendorId, now: Time) -> rusqlite::Result<bool> {
    let is_news = refused(tx, vendor_id)?.is_none();
    tx.prepare_cached(
        "INSERT INTO vendor (vendor_id, refused_since, trial_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT (vendor_id) DO UPDATE SET trial_at = excluded.trial_at",
    )?
    .execute(params![vendor_id.as_str(), now.as_millis(), now.plus(TRIAL_WAIT).as_millis()])?;
    Ok(is_news)
}

/// The vendor took his key. Is that news?
fn release(tx: &Connection, vendor_id: &VendorId) -> rusqlite::Result<bool> {
    let released =
        tx.prepare_cached("DELETE FROM vendor WHERE vendor_id = ?1")?.execute([vendor_id.as_str()])?;
    Ok(released > 0)
}
