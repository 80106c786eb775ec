//! Which OAs vendors hold, as the config has it.

use rusqlite::{Connection, params};

use super::AtVendors;
use super::rows::{self, VendorOaRow};
use crate::clock::Reading;

/// Takes over which OAs vendors hold. New ones begin their course, those that are gone stay as they are and are left alone.
/// What a vendor holds is no program's any more.
pub(in super::super) fn manage(tx: &Connection, config: &AtVendors, now: &Reading) -> rusqlite::Result<()> {
    let AtVendors { oas, terms } = config;
    for row in rows::load_page(tx, None, usize::MAX)? {
        if row.is_managed && !oas.contains_key(&row.oa_id) {
            tx.prepare_cached("UPDATE vendor_oa SET is_managed = 0 WHERE oa_id = ?1")?
                .execute([row.oa_id.as_str()])?;
        }
    }
    for (oa_id, oa) in oas.iter() {
        let Some(terms) = terms.get(&oa.vendor_id) else { continue };
        // Another vendor knows nothing of the consent that was given to the one before.
        let known = rows::load(tx, oa_id)?.filter(|row| row.vendor_id == oa.vendor_id);
        let is_new = known.is_none();
        let mut row = known.unwrap_or_else(|| VendorOaRow::new(oa_id.clone(), oa.vendor_id.clone(), now));
        row.is_managed = true;
        row.name = oa.name.as_deref().map(str::to_owned);
        if !is_new && row.is_from_the_future(now) {
            row.course.plan_after_setback(terms, now.time);
        }
        row.course.take_over(oa.authorized_at, terms, now.time);
        row.forget_reminders_of_another_end(now.time);
        rows::save(tx, &row, now)?;
        tx.prepare_cached("UPDATE oa SET app_id = NULL, by_program = 0 WHERE oa_id = ?1 AND by_program = 1")?
            .execute([oa_id.as_str()])?;
    }
    // One that holds nothing any more is forgotten, and its key with it.
    tx.prepare_cached(
        "DELETE FROM vendor WHERE vendor_id NOT IN (SELECT vendor_id FROM vendor_oa WHERE is_managed = 1)",
    )?
    .execute([])?;
    allow_trials(tx, now)
}

/// Lets each vendor who refuses his key be tried at once: it may be another one now.
fn allow_trials(tx: &Connection, now: &Reading) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE vendor SET trial_at = min(trial_at, ?1)")?
        .execute(params![now.time.as_millis()])?;
    Ok(())
}
