//! One OA's row, taken apart and put together whole, so that a new column cannot be forgotten.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::time::Duration;

use crate::clock::{Moment, Reading, Time, Uptime};
use crate::id::{AppId, AttemptId, OaId};
use crate::rotation::{Lifetimes, Reason, Retrying, Standing, Uncertain};
use crate::secret::{Digest, Secret};

/// An OA as the store keeps it.
#[derive(Debug)]
pub(super) struct OaRow {
    pub(super) oa_id: OaId,
    pub(super) app_id: Option<AppId>,
    pub(super) name: Option<String>,
    /// A program manages it over the API, and not the config.
    pub(super) is_by_program: bool,
    pub(super) generation: u64,
    pub(super) set: Option<StoredSet>,
    pub(super) standing: Standing,
    pub(super) planned: Option<Moment>,
    pub(super) failures: u32,
    pub(super) slow_tries: u32,
    pub(super) last_error: Option<String>,
    pub(super) last_refresh_at: Option<Time>,
    pub(super) reminded_step: Option<Duration>,
    pub(super) is_expiry_said: bool,
    pub(super) is_import_unsaid: bool,
    pub(super) grant: Option<Grant>,
}

/// What a person granted last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) granted_at: Time,
    /// When it ends, if renewals do not move its end.
    pub(super) until: Time,
    /// That nobody knows whether they do was said.
    pub(super) is_doubt_said: bool,
}

/// A token set as the store keeps it.
#[derive(Clone, Debug)]
pub(super) struct StoredSet {
    pub(super) app_id: AppId,
    pub(super) access_token: Option<Secret>,
    pub(super) refresh_token: Option<Secret>,
    pub(super) obtained: Moment,
    pub(super) access_token_expires_at: Option<Time>,
    pub(super) refresh_token_expires_at: Time,
}

impl StoredSet {
    pub(super) fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            obtained_at: self.obtained.time,
            access_token_expires_at: self.access_token_expires_at,
            refresh_token_expires_at: self.refresh_token_expires_at,
        }
    }

    pub(super) fn refresh_digest(&self) -> Option<Digest> {
        self.refresh_token.as_ref().map(Secret::digest)
    }
}

const COLUMNS: &str = "oa_id, app_id, name, generation, set_app_id, access_token, refresh_token, obtained_at, \
     obtained_uptime, obtained_boot, access_token_expires_at, refresh_token_expires_at, state, reason, \
     next_action_at, planned_at, failures, slow_tries, last_error, last_refresh_at, reminded_step, expiry_said, \
     import_unsaid, planned_uptime, planned_boot, granted_at, granted_until, grant_doubt_said, (SELECT attempt_id FROM attempt \
     WHERE attempt.oa_id = oa.oa_id AND phase <> 'closed' AND phase = 'uncertain'), by_program";

pub(super) fn load(conn: &Connection, oa_id: &OaId) -> rusqlite::Result<Option<OaRow>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM oa WHERE oa_id = ?1"))?
        .query_row([oa_id.as_str()], read_row)
        .optional()
}

/// The rows that come after this one, by id, `limit` of them at most.
pub(super) fn load_page(
    conn: &Connection,
    after: Option<&OaId>,
    limit: usize,
) -> rusqlite::Result<Vec<OaRow>> {
    let after = after.map_or("", OaId::as_str);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM oa WHERE oa_id > ?1 ORDER BY oa_id LIMIT ?2"))?
        .query_map(params![after, limit], |row| read_row(row).or_else(|_| unreadable(row)))?
        .collect()
}

/// One row that cannot be read takes nothing from the others: it looks like one that a person has to look at.
fn unreadable(row: &Row<'_>) -> rusqlite::Result<OaRow> {
    let mut stub = OaRow::new(OaId::from(row.get::<_, String>(0)?));
    stub.app_id = row.get::<_, Option<String>>(1)?.map(AppId::from);
    stub.is_by_program = row.get::<_, Option<i64>>(29)? == Some(1);
    stub.standing = Standing::ReauthorizationRequired(Reason::RowUnreadable);
    Ok(stub)
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<OaRow> {
    let text = |index| row.get::<_, Option<String>>(index);
    let time = |index| row.get::<_, Option<i64>>(index).map(|millis| millis.map(Time::from_millis));
    let uptime = |index| {
        row.get::<_, Option<u64>>(index)
            .map(|millis| millis.map(|millis| Uptime(Duration::from_millis(millis))))
    };
    let grant = match (time(25)?, time(26)?) {
        (Some(granted_at), Some(until)) => Some(Grant { granted_at, until, is_doubt_said: row.get(27)? }),
        _ => None,
    };
    let planned_uptime = uptime(23)?.zip(text(24)?);
    let set = match (text(4)?, time(7)?, time(11)?) {
        (Some(app_id), Some(obtained_at), Some(refresh_token_expires_at)) => Some(StoredSet {
            app_id: AppId::from(app_id),
            access_token: text(5)?.map(Secret::new),
            refresh_token: text(6)?.map(Secret::new),
            obtained: Moment { time: obtained_at, uptime: uptime(8)?.zip(text(9)?) },
            access_token_expires_at: time(10)?,
            refresh_token_expires_at,
        }),
        _ => None,
    };
    Ok(OaRow {
        oa_id: OaId::from(row.get::<_, String>(0)?),
        app_id: text(1)?.map(AppId::from),
        name: text(2)?,
        generation: row.get(3)?,
        set,
        standing: read_standing(row)?,
        planned: time(15)?.map(|time| Moment { time, uptime: planned_uptime }),
        failures: row.get(16)?,
        slow_tries: row.get(17)?,
        last_error: text(18)?,
        last_refresh_at: time(19)?,
        reminded_step: row.get::<_, Option<u64>>(20)?.map(Duration::from_secs),
        is_expiry_said: row.get(21)?,
        is_import_unsaid: row.get(22)?,
        grant,
        is_by_program: row.get(29)?,
    })
}

fn read_standing(row: &Row<'_>) -> rusqlite::Result<Standing> {
    let state: String = row.get(12)?;
    let reason = row.get::<_, Option<String>>(13)?.as_deref().and_then(Reason::parse);
    let next = row.get::<_, Option<i64>>(14)?.map(Time::from_millis);
    let open = row.get::<_, Option<[u8; 16]>>(28)?.map(AttemptId::from_bytes);
    let standing = match (state.as_str(), next, reason, open) {
        ("awaiting_grant", _, _, _) => Standing::AwaitingGrant,
        ("scheduled", Some(refresh_at), _, _) => Standing::Scheduled { refresh_at },
        ("retrying", Some(retry_at), _, _) => Standing::Retrying(Retrying { retry_at }),
        ("uncertain", probe_at, _, Some(attempt)) => Standing::Uncertain(Uncertain { attempt, probe_at }),
        ("reauthorization_required", _, Some(reason), _) => Standing::ReauthorizationRequired(reason),
        // A row that lacks a part of its state: its tokens are kept and handed out, and a person has to look.
        _ => Standing::ReauthorizationRequired(Reason::RowUnreadable),
    };
    Ok(standing)
}

const UPDATE: &str = "UPDATE oa SET app_id = :app_id, name = :name, by_program = :by_program, generation = :generation, set_app_id = :set_app_id, \
     access_token = :access_token, refresh_token = :refresh_token, refresh_token_digest = :refresh_token_digest, \
     obtained_at = :obtained_at, obtained_uptime = :obtained_uptime, obtained_boot = :obtained_boot, \
     access_token_expires_at = :access_token_expires_at, refresh_token_expires_at = :refresh_token_expires_at, \
     state = :state, reason = :reason, next_action_at = :next_action_at, planned_at = :planned_at, \
     failures = :failures, slow_tries = :slow_tries, last_error = :last_error, last_refresh_at = :last_refresh_at, \
     reminded_step = :reminded_step, expiry_said = :expiry_said, import_unsaid = :import_unsaid, \
     planned_uptime = :planned_uptime, planned_boot = :planned_boot, next_action_uptime = :next_action_uptime, \
     granted_at = :granted_at, granted_until = :granted_until, grant_doubt_said = :grant_doubt_said \
     WHERE oa_id = :oa_id";

const INSERT: &str = "INSERT INTO oa (oa_id, app_id, name, by_program, generation, set_app_id, access_token, refresh_token, \
     refresh_token_digest, obtained_at, obtained_uptime, obtained_boot, access_token_expires_at, \
     refresh_token_expires_at, state, reason, next_action_at, planned_at, failures, slow_tries, last_error, \
     last_refresh_at, reminded_step, expiry_said, import_unsaid, planned_uptime, planned_boot, next_action_uptime, \
     granted_at, granted_until, grant_doubt_said) VALUES (:oa_id, :app_id, :name, :by_program, :generation, :set_app_id, \
     :access_token, :refresh_token, :refresh_token_digest, :obtained_at, :obtained_uptime, :obtained_boot, \
     :access_token_expires_at, :refresh_token_expires_at, :state, :reason, :next_action_at, :planned_at, :failures, \
     :slow_tries, :last_error, :last_refresh_at, :reminded_step, :expiry_said, :import_unsaid, :planned_uptime, \
     :planned_boot, :next_action_uptime, :granted_at, :granted_until, :grant_doubt_said)";

/// Writes the row whole.
pub(super) fn save(conn: &Connection, row: &OaRow) -> rusqlite::Result<()> {
    let OaRow {
        oa_id,
        app_id,
        name,
        is_by_program,
        generation,
        set,
        standing,
        planned,
        failures,
        slow_tries,
        last_error,
        last_refresh_at,
        reminded_step,
        is_expiry_said,
        is_import_unsaid,
        grant,
    } = row;
    let set = set.as_ref();
    let uptime = set.and_then(|set| set.obtained.uptime.as_ref());
    let (state, reason, next_action_at) = standing_columns(standing);
    let planned_uptime = planned.as_ref().and_then(|planned| planned.uptime.as_ref());
    let next_action_uptime = next_action_at
        .zip(planned.as_ref())
        .zip(planned_uptime)
        .map(|((next, planned), (uptime, _))| millis(uptime.plus(next.since(planned.time)).0));
    let parameters = named_params! {
        ":oa_id": oa_id.as_str(),
        ":app_id": app_id.as_ref().map(AppId::as_str),
        ":name": name,
        ":by_program": is_by_program,
        ":generation": generation,
        ":set_app_id": set.map(|set| set.app_id.as_str()),
        ":access_token": set.and_then(|set| set.access_token.as_ref()).map(Secret::expose),
        ":refresh_token": set.and_then(|set| set.refresh_token.as_ref()).map(Secret::expose),
        ":refresh_token_digest": set.and_then(StoredSet::refresh_digest).map(|digest| *digest.as_bytes()),
        ":obtained_at": set.map(|set| set.obtained.time.as_millis()),
        ":obtained_uptime": uptime.map(|(uptime, _)| millis(uptime.0)),
        ":obtained_boot": uptime.map(|(_, boot)| boot.as_str()),
        ":access_token_expires_at": set.and_then(|set| set.access_token_expires_at).map(Time::as_millis),
        ":refresh_token_expires_at": set.map(|set| set.refresh_token_expires_at.as_millis()),
        ":state": state,
        ":reason": reason.map(|reason| reason.to_string()),
        ":next_action_at": next_action_at.map(Time::as_millis),
        ":planned_at": planned.as_ref().map(|planned| planned.time.as_millis()),
        ":failures": failures,
        ":slow_tries": slow_tries,
        ":last_error": last_error,
        ":last_refresh_at": last_refresh_at.map(Time::as_millis),
        ":reminded_step": reminded_step.map(|step| step.as_secs()),
        ":expiry_said": is_expiry_said,
        ":import_unsaid": is_import_unsaid,
        ":planned_uptime": planned_uptime.map(|(uptime, _)| millis(uptime.0)),
        ":planned_boot": planned_uptime.map(|(_, boot)| boot.as_str()),
        ":next_action_uptime": next_action_uptime,
        ":granted_at": grant.map(|grant| grant.granted_at.as_millis()),
        ":granted_until": grant.map(|grant| grant.until.as_millis()),
        ":grant_doubt_said": grant.is_some_and(|grant| grant.is_doubt_said),
    };
    // Replaced instead, it would move to another place, and with it all that its indexes say of it.
    if conn.prepare_cached(UPDATE)?.execute(parameters)? == 0 {
        conn.prepare_cached(INSERT)?.execute(parameters)?;
    }
    Ok(())
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn standing_columns(standing: &Standing) -> (&'static str, Option<Reason>, Option<Time>) {
    match standing {
        Standing::AwaitingGrant => ("awaiting_grant", None, None),
        Standing::Scheduled { refresh_at } => ("scheduled", None, Some(*refresh_at)),
        Standing::Retrying(Retrying { retry_at }) => ("retrying", None, Some(*retry_at)),
        Standing::Uncertain(Uncertain { attempt: _, probe_at }) => {
            let reason = probe_at.is_none().then_some(Reason::Unprovable);
            ("uncertain", reason, *probe_at)
        }
        Standing::ReauthorizationRequired(reason) => ("reauthorization_required", Some(*reason), None),
    }
}

impl OaRow {
    /// A row without tokens.
    pub(super) fn new(oa_id: OaId) -> OaRow {
        OaRow {
            oa_id,
            app_id: None,
            name: None,
            is_by_program: false,
            generation: 0,
            set: None,
            standing: Standing::AwaitingGrant,
            planned: None,
            failures: 0,
            slow_tries: 0,
            last_error: None,
            last_refresh_at: None,
            reminded_step: None,
            is_expiry_said: false,
            is_import_unsaid: false,
            grant: None,
        }
    }

    /// Sets how the OA stands and notes when that was decided.
    pub(super) fn stand(&mut self, standing: Standing, now: &Reading) {
        self.standing = standing;
        self.planned = Some(Moment::at(now));
    }

    /// Makes `set` the current one and forgets what was said and counted about the one before.
    pub(super) fn adopt(&mut self, set: StoredSet) {
        self.generation += 1;
        self.set = Some(set);
        self.failures = 0;
        self.slow_tries = 0;
        self.last_error = None;
        self.reminded_step = None;
        self.is_expiry_said = false;
    }
}
