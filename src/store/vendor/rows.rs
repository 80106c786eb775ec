//! The row of an OA that a vendor holds, taken apart and put together whole.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::time::Duration;

use super::super::rows::millis;
use crate::clock::{CLOCK_TOLERANCE, Moment, Reading, Time, Uptime};
use crate::id::{OaId, VendorId};
use crate::vendor::{Course, End, Link, Trouble};

/// An OA that a vendor holds, as the store keeps it.
#[derive(Clone, Debug)]
pub(super) struct VendorOaRow {
    pub(super) oa_id: OaId,
    pub(super) vendor_id: VendorId,
    pub(super) is_managed: bool,
    pub(super) name: Option<String>,
    pub(super) course: Course,
    pub(super) planned: Moment,
    pub(super) reminded_step: Option<Duration>,
}

impl VendorOaRow {
    pub(super) fn new(oa_id: OaId, vendor_id: VendorId, now: &Reading) -> VendorOaRow {
        VendorOaRow {
            oa_id,
            vendor_id,
            is_managed: true,
            name: None,
            course: Course::default(),
            planned: Moment::at(now),
            reminded_step: None,
        }
    }

    /// The ladder begins anew once the end is further off than the step that was said last.
    pub(super) fn forget_reminders_of_another_end(&mut self, now: Time) {
        let left = self.course.end.map(|end| end.at.since(now));
        self.reminded_step = self.reminded_step.filter(|step| left.is_some_and(|left| left <= *step));
    }

    /// Was the wall clock set back since it was planned?
    pub(super) fn is_from_the_future(&self, now: &Reading) -> bool {
        self.planned.time > now.time.plus(CLOCK_TOLERANCE)
    }
}

const COLUMNS: &str = "oa_id, vendor_id, is_managed, name, written_at, authorized_at, ends_at, is_end_told, due_at, \
     is_disconnected, link, link_since, needed_since, trouble, failures, polls, look_failures, last_error, ask_at, poll_at, \
     planned_at, planned_uptime, planned_boot, reminded_step, outdated_end";

pub(super) fn load(conn: &Connection, oa_id: &OaId) -> rusqlite::Result<Option<VendorOaRow>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM vendor_oa WHERE oa_id = ?1"))?
        .query_row([oa_id.as_str()], read)
        .optional()
}

/// The rows that come after this one, by id, `limit` of them at most.
pub(super) fn load_page(
    conn: &Connection,
    after: Option<&OaId>,
    limit: usize,
) -> rusqlite::Result<Vec<VendorOaRow>> {
    let after = after.map_or("", OaId::as_str);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM vendor_oa WHERE oa_id > ?1 ORDER BY oa_id LIMIT ?2"))?
        .query_map(params![after, limit], read)?
        .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<VendorOaRow> {
    let text = |index| row.get::<_, Option<String>>(index);
    let time = |index| row.get::<_, Option<i64>>(index).map(|millis| millis.map(Time::from_millis));
    let uptime = row.get::<_, Option<u64>>(21)?.map(|millis| Uptime(Duration::from_millis(millis)));
    let course = Course {
        written: time(4)?,
        authorized_at: time(5)?,
        end: match time(6)? {
            Some(at) => Some(End { at, is_told: row.get(7)? }),
            None => None,
        },
        outdated_end: time(24)?,
        due_at: time(8)?,
        is_disconnected: row.get(9)?,
        link: text(10)?.zip(time(11)?).map(|(url, since)| Link { url, since }),
        needed_since: time(12)?,
        trouble: text(13)?.as_deref().and_then(trouble),
        failures: row.get(14)?,
        polls: row.get(15)?,
        look_failures: row.get(16)?,
        last_error: text(17)?,
        ask_at: time(18)?,
        poll_at: time(19)?,
    };
    Ok(VendorOaRow {
        oa_id: OaId::from(row.get::<_, String>(0)?),
        vendor_id: VendorId::from(row.get::<_, String>(1)?),
        is_managed: row.get(2)?,
        name: text(3)?,
        course,
        planned: Moment { time: Time::from_millis(row.get(20)?), uptime: uptime.zip(text(22)?) },
        reminded_step: row.get::<_, Option<u64>>(23)?.map(Duration::from_secs),
    })
}

/// Writes it, as planned now.
pub(super) fn save(tx: &Connection, row: &VendorOaRow, now: &Reading) -> rusqlite::Result<()> {
    let VendorOaRow { oa_id, vendor_id, is_managed, name, course, planned: _, reminded_step } = row;
    let Course {
        written,
        authorized_at,
        end,
        outdated_end,
        due_at,
        is_disconnected,
        link,
        needed_since,
        trouble,
        failures,
        polls,
        look_failures,
        last_error,
        ask_at,
        poll_at,
    } = course;
    let millis_of = |time: &Option<Time>| time.map(Time::as_millis);
    tx.prepare_cached(&format!(
        "INSERT OR REPLACE INTO vendor_oa ({COLUMNS}) VALUES (:oa_id, :vendor_id, :is_managed, :name, :written_at, \
         :authorized_at, :ends_at, :is_end_told, :due_at, :is_disconnected, :link, :link_since, :needed_since, :trouble, \
         :failures, :polls, :look_failures, :last_error, :ask_at, :poll_at, :planned_at, :planned_uptime, :planned_boot, \
         :reminded_step, :outdated_end)"
    ))?
    .execute(named_params! {
        ":oa_id": oa_id.as_str(),
        ":vendor_id": vendor_id.as_str(),
        ":is_managed": is_managed,
        ":name": name,
        ":written_at": millis_of(written),
        ":authorized_at": millis_of(authorized_at),
        ":ends_at": end.map(|end| end.at.as_millis()),
        ":is_end_told": end.is_some_and(|end| end.is_told),
        ":due_at": millis_of(due_at),
        ":is_disconnected": is_disconnected,
        ":link": link.as_ref().map(|link| &link.url),
        ":link_since": link.as_ref().map(|link| link.since.as_millis()),
        ":needed_since": millis_of(needed_since),
        ":trouble": trouble.map(word),
        ":failures": failures,
        ":polls": polls,
        ":look_failures": look_failures,
        ":last_error": last_error,
        ":ask_at": millis_of(ask_at),
        ":poll_at": millis_of(poll_at),
        ":planned_at": now.time.as_millis(),
        ":planned_uptime": millis(now.uptime.0),
        ":planned_boot": &*now.boot,
        ":outdated_end": millis_of(outdated_end),
        ":reminded_step": reminded_step.map(|step| step.as_secs()),
    })?;
    Ok(())
}

fn word(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Failing => "failing",
        Trouble::Nothing => "nothing",
        Trouble::Misconfigured => "misconfigured",
    }
}

fn trouble(word: &str) -> Option<Trouble> {
    [Trouble::Failing, Trouble::Nothing, Trouble::Misconfigured]
        .into_iter()
        .find(|trouble| self::word(*trouble) == word)
}
