//! Which OAs are managed, and which refreshes are to begin.

use rusqlite::types::Value;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::apps::{self, Admission, AppStanding};
use super::present::{self, Claim, Claimed};
use super::rows::OaRow;
use super::{ends, import, rows};
use crate::clock::{CLOCK_TOLERANCE, Reading, Time, Uptime};
use crate::id::{AppId, Fleet, Managed, OaId};
use crate::rotation::{Retrying, Standing, Timing};

/// Takes over which OAs the config has. New ones get a row, the rest of the store is left unmanaged, but for what programs
/// manage, which is returned; nothing else changes, and no token goes. What the config has is no program's any more.
pub(super) fn manage(tx: &Connection, oas: &Fleet, timing: &Timing, now: Time) -> rusqlite::Result<Fleet> {
    let Compared { gone, other, missing } = compare(tx, oas)?;
    for oa_id in gone {
        tx.prepare_cached("UPDATE oa SET app_id = NULL WHERE oa_id = ?1")?.execute([oa_id])?;
    }
    for (oa_id, managed) in other {
        tx.prepare_cached("UPDATE oa SET app_id = ?2, name = ?3, by_program = 0 WHERE oa_id = ?1")?
            .execute(params![oa_id.as_str(), managed.app_id.as_str(), managed.name])?;
    }
    for (oa_id, managed) in missing {
        tx.prepare_cached("INSERT INTO oa (oa_id, app_id, name) VALUES (?1, ?2, ?3)")?.execute(params![
            oa_id.as_str(),
            managed.app_id.as_str(),
            managed.name
        ])?;
    }
    // A program of the first version that still ran when the store was brought to the second left none.
    tx.execute(
        "UPDATE oa SET granted_at = obtained_at, granted_until = refresh_token_expires_at \
         WHERE granted_at IS NULL AND obtained_at IS NOT NULL",
        [],
    )?;
    apps::reconsider(tx, None, timing, now)?;
    by_program(tx)
}

/// The OAs that programs manage.
fn by_program(conn: &Connection) -> rusqlite::Result<Fleet> {
    conn.prepare_cached(
        "SELECT oa_id, app_id, name FROM oa INDEXED BY oa_by_program WHERE by_program = 1 AND app_id IS NOT NULL",
    )?
    .query_map([], |row| {
        let managed = Managed {
            app_id: AppId::from(row.get::<_, String>(1)?),
            name: row.get::<_, Option<String>>(2)?.map(String::into_boxed_str),
        };
        Ok((OaId::from(row.get::<_, String>(0)?), managed))
    })?
    .collect()
}

/// A program wants this OA to be managed so. One of the config is none of its business: `false`.
pub(super) fn enlist(
    tx: &Connection,
    oa_id: &OaId,
    managed: &Managed,
    timing: &Timing,
    now: Time,
) -> rusqlite::Result<bool> {
    let mut row = rows::load(tx, oa_id)?.unwrap_or_else(|| OaRow::new(oa_id.clone()));
    if row.app_id.is_some() && !row.is_by_program {
        return Ok(false);
    }
    row.app_id = Some(managed.app_id.clone());
    row.name = managed.name.as_deref().map(str::to_owned);
    row.is_by_program = true;
    rows::save(tx, &row)?;
    apps::reconsider(tx, None, timing, now)?;
    Ok(true)
}

/// A program does not want this OA to be managed any more: its tokens stay. `false`: no program manages it.
pub(super) fn dismiss(tx: &Connection, oa_id: &OaId) -> rusqlite::Result<bool> {
    let changed = tx
        .prepare_cached("UPDATE oa SET app_id = NULL, by_program = 0 WHERE oa_id = ?1 AND by_program = 1")?
        .execute([oa_id.as_str()])?;
    Ok(changed > 0)
}

/// What is different between the store and the config: of a large fleet that is little, and only that is kept.
struct Compared<'c> {
    /// Managed, and not in the config any more.
    gone: Vec<String>,
    /// There, with another app or name or not managed.
    other: Vec<(&'c OaId, &'c Managed)>,
    /// Not in the store.
    missing: Vec<(&'c OaId, &'c Managed)>,
}

fn compare<'c>(conn: &Connection, oas: &'c Fleet) -> rusqlite::Result<Compared<'c>> {
    let (mut gone, mut other) = (Vec::new(), Vec::new());
    let mut missing: HashSet<&str> = oas.keys().map(OaId::as_str).collect();
    let mut statement = conn.prepare_cached("SELECT oa_id, app_id, name, by_program FROM oa")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text = |index| Ok::<_, rusqlite::Error>(row.get_ref(index)?.as_str_or_null()?);
        let (oa_id, app_id, name) = (row.get_ref(0)?.as_str()?, text(1)?, text(2)?);
        let is_by_program: bool = row.get(3)?;
        missing.remove(oa_id);
        match oas.get_key_value(oa_id) {
            None if app_id.is_some() && !is_by_program => gone.push(oa_id.to_owned()),
            None => {}
            Some((_, managed))
                if app_id == Some(managed.app_id.as_str())
                    && name == managed.name.as_deref()
                    && !is_by_program => {}
            Some(found) => other.push(found),
        }
    }
    let missing = oas.iter().filter(|(oa_id, _)| missing.contains(oa_id.as_str())).collect();
    Ok(Compared { gone, other, missing })
}

/// What a refresh presupposes of an OA's row.
pub(super) const REFRESHABLE: &str = "oa.app_id = oa.set_app_id AND oa.state IN ('scheduled', 'retrying') \
     AND oa.refresh_token IS NOT NULL AND oa.obtained_at IS NOT NULL AND oa.refresh_token_expires_at IS NOT NULL";

/// An OA whose refresh is to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The OA.
    pub oa_id: OaId,
    /// Its app.
    pub app_id: AppId,
    /// At most so many of its app may be worked on, this one included.
    pub most_of_app: u32,
    /// An operator wants it to be tried now, whatever its plan is and whatever holds its app back.
    pub is_on_demand: bool,
}

/// Why plans are due, each with how it is found: by the wall clock; by the clock that nobody sets; because it was made
/// in the future, by a wall clock that has been set back over a restart of the machine. The index is named, because
/// without statistics SQLite chooses another one, and looks at the whole fleet with each sweep.
const DUE: [Why; 3] = [
    Why { index: "oa_due", condition: "next_action_at <= :now", first: "next_action_at" },
    Why {
        index: "oa_due_by_uptime",
        condition: "planned_boot = :boot AND next_action_uptime <= :uptime",
        first: "next_action_uptime",
    },
    Why {
        index: "oa_planned",
        condition: "planned_at > :future AND planned_boot IS NOT :boot",
        first: "planned_at",
    },
];

struct Why {
    index: &'static str,
    condition: &'static str,
    /// What the most urgent has the least of.
    first: &'static str,
}

/// What a sweep begins with.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The OAs under way, each with its app.
    pub under_way: BTreeMap<OaId, AppId>,
    /// The OAs that are to be left alone.
    pub passed_over: BTreeSet<OaId>,
    /// The apps whose OAs may go.
    pub apps: Arc<BTreeSet<AppId>>,
    /// How many more may be begun.
    pub free: usize,
    /// How many may be under way at once.
    pub most: u32,
}

/// The OAs whose refresh is to begin, the most urgent first, as far as the windows of their apps have room. Of a blocked
/// app one goes, due or not, when a trial is due. Those that are to be left alone take nobody's place.
pub(super) fn due_refreshes(conn: &Connection, sweep: &Sweep, now: &Reading) -> rusqlite::Result<Vec<Due>> {
    let Sweep { under_way, passed_over, apps, free, most } = sweep;
    let (free, most) = (*free, *most);
    let mut rooms = Rooms { conn, under_way, most, now: now.time, known: BTreeMap::new(), full: Vec::new() };
    let mut due = Vec::new();
    for app in apps::held(conn)?.into_iter().filter(|app| apps.contains(&app.app_id)) {
        match app.admission(rooms.count(&app.app_id), most, now.time) {
            Admission::Open(0) => rooms.full.push(app.app_id),
            Admission::Open(_) => {}
            Admission::Trial => {
                if let Some(oa_id) = trial_of(conn, &app.app_id, passed_over)? {
                    let app_id = app.app_id.clone();
                    due.push(Due { oa_id, app_id, most_of_app: 1, is_on_demand: false });
                }
                rooms.full.push(app.app_id);
            }
        }
    }
    for why in &DUE {
        while due.len() < free {
            let most_found = free + under_way.len() + passed_over.len();
            let found = find_due(conn, why, &rooms.full, most_found, now)?;
            let mut is_news = false;
            for (oa_id, app_id) in found {
                let is_taken = under_way.contains_key(&oa_id) || due.iter().any(|due| due.oa_id == oa_id);
                if is_taken
                    || passed_over.contains(&oa_id)
                    || due.len() >= free
                    || rooms.full.contains(&app_id)
                {
                    continue;
                }
                is_news = true;
                let has_app = apps.contains(&app_id);
                if !has_app {
                    rooms.full.push(app_id);
                } else if let Some(most_of_app) = rooms.enter(&app_id)? {
                    due.push(Due { oa_id, app_id, most_of_app, is_on_demand: false });
                }
            }
            if !is_news {
                break;
            }
        }
    }
    due.truncate(free);
    Ok(due)
}

/// What a look at the store finds, all of it at one moment.
#[derive(Debug, Default)]
pub struct Look {
    /// The OAs whose refresh is to begin, the most urgent first. With each what its attempt is to work with, where that
    /// could be read.
    pub due: Vec<(Due, Option<Claim>)>,
    /// The uncertain OAs about which Zalo is to be asked.
    pub uncertain: Vec<OaId>,
    /// Somebody imported a set that was not announced yet.
    pub has_imports: bool,
    /// An access token has ended of which that was not said yet.
    pub has_expired: bool,
    /// How long until the next refresh falls due that is not due yet.
    pub until_next: Option<Duration>,
}

/// Looks what there is to do. Without `sweep` no refresh is to begin.
pub(super) fn look(conn: &Connection, sweep: Option<&Sweep>, now: &Reading) -> rusqlite::Result<Look> {
    let mut look = Look {
        due: Vec::new(),
        uncertain: uncertain(conn)?,
        has_imports: import::has_unsaid(conn)?,
        has_expired: !ends::expired(conn, now)?.is_empty(),
        until_next: until_next_due(conn, now)?,
    };
    for due in sweep.map_or(Ok(Vec::new()), |sweep| due_refreshes(conn, sweep, now))? {
        let claim = match present::claim(conn, &due.oa_id, due.is_on_demand, now) {
            Ok(Claimed::Due(claim)) => Some(claim),
            Ok(Claimed::NotNow) => continue,
            // Its attempt reads it once more, and says what is the matter. What cannot be read of one OA delays no other.
            Ok(Claimed::Unproven) | Err(_) => None,
        };
        look.due.push((due, claim));
    }
    Ok(look)
}

/// How much room the windows of the apps have left, as it is used up.
struct Rooms<'r> {
    conn: &'r Connection,
    under_way: &'r BTreeMap<OaId, AppId>,
    most: u32,
    now: Time,
    /// What is left, and what it was in all.
    known: BTreeMap<AppId, (u32, u32)>,
    full: Vec<AppId>,
}

impl Rooms<'_> {
    fn count(&self, app_id: &AppId) -> u32 {
        let count = self.under_way.values().filter(|app| *app == app_id).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Takes one place, if there is one; else notes that the app is full.
    fn enter(&mut self, app_id: &AppId) -> rusqlite::Result<Option<u32>> {
        if !self.known.contains_key(app_id) {
            let under_way = self.count(app_id);
            let room = match apps::load(self.conn, app_id)?.admission(under_way, self.most, self.now) {
                Admission::Open(room) => room,
                Admission::Trial => 0,
            };
            self.known.insert(app_id.clone(), (room, room.saturating_add(under_way)));
        }
        Ok(match self.known.get_mut(app_id) {
            Some((left, in_all)) if *left > 0 => {
                *left -= 1;
                Some(*in_all)
            }
            Some(_) | None => {
                self.full.push(app_id.clone());
                None
            }
        })
    }
}

fn find_due(
    conn: &Connection,
    why: &Why,
    full: &[AppId],
    limit: usize,
    now: &Reading,
) -> rusqlite::Result<Vec<(OaId, AppId)>> {
    let full =
        serde_json::to_string(full).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let Why { index, condition, first } = why;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT oa_id, app_id FROM oa INDEXED BY {index} WHERE {condition} AND next_action_at IS NOT NULL AND app_id IS NOT NULL \
         AND app_id NOT IN (SELECT value FROM json_each(:full)) AND {REFRESHABLE} ORDER BY {first} LIMIT :limit"
    ))?;
    // Each condition names its own parameters.
    for (name, value) in [
        (":now", Value::from(now.time.as_millis())),
        (":future", Value::from(now.time.plus(CLOCK_TOLERANCE).as_millis())),
        (":uptime", Value::from(rows::millis(now.uptime.0))),
        (":boot", Value::from(now.boot.to_string())),
        (":full", Value::from(full)),
        (":limit", Value::from(i64::try_from(limit).unwrap_or(i64::MAX))),
    ] {
        if let Some(index) = statement.parameter_index(name)? {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    let mut found = Vec::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        found.push((OaId::from(row.get::<_, String>(0)?), AppId::from(row.get::<_, String>(1)?)));
    }
    Ok(found)
}

/// The OA of a blocked app that tries: the one that is due first.
fn trial_of(
    conn: &Connection,
    app_id: &AppId,
    passed_over: &BTreeSet<OaId>,
) -> rusqlite::Result<Option<OaId>> {
    let limit = i64::try_from(passed_over.len()).unwrap_or(i64::MAX).saturating_add(1);
    let candidates: Vec<String> = conn
        .prepare_cached(&format!(
        "SELECT oa_id FROM oa WHERE app_id = ?1 AND {REFRESHABLE} AND next_action_at IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM attempt WHERE attempt.oa_id = oa.oa_id AND phase <> 'closed') ORDER BY next_action_at LIMIT ?2"
    ))?
    .query_map(params![app_id.as_str(), limit], |row| row.get(0))?
    .collect::<rusqlite::Result<_>>()?;
    Ok(candidates.into_iter().map(OaId::from).find(|oa_id| !passed_over.contains(oa_id)))
}

/// The uncertain OAs about which Zalo is to be asked. When, the daemon's own clock decides.
pub(super) fn uncertain(conn: &Connection) -> rusqlite::Result<Vec<OaId>> {
    conn.prepare_cached(
        "SELECT oa_id FROM oa INDEXED BY oa_uncertain WHERE state = 'uncertain' AND next_action_at IS NOT NULL AND app_id IS NOT NULL",
    )?
    .query_map([], |row| Ok(OaId::from(row.get::<_, String>(0)?)))?
    .collect()
}

/// How long until the next thing falls due that is not due yet: a refresh, by whichever clock comes first, or a trial of
/// an app that is held back.
pub(super) fn until_next_due(conn: &Connection, now: &Reading) -> rusqlite::Result<Option<Duration>> {
    let plan = conn
        .prepare_cached(
            "SELECT min(next_action_at) FROM oa INDEXED BY oa_due WHERE next_action_at > ?1 AND app_id IS NOT NULL \
             AND state <> 'uncertain'",
        )?
        .query_row([now.time.as_millis()], |row| row.get::<_, Option<i64>>(0))?
        .map(|millis| Time::from_millis(millis).since(now.time));
    let by_uptime = conn
        .prepare_cached(
            "SELECT min(next_action_uptime) FROM oa INDEXED BY oa_due_by_uptime WHERE planned_boot = ?1 AND next_action_uptime > ?2 \
             AND next_action_at IS NOT NULL AND app_id IS NOT NULL AND state <> 'uncertain'",
        )?
        .query_row(params![&*now.boot, rows::millis(now.uptime.0)], |row| row.get::<_, Option<u64>>(0))?
        .map(|millis| Uptime(Duration::from_millis(millis)).since(now.uptime));
    let trials = apps::held(conn)?.into_iter().filter_map(|app| match app.standing() {
        AppStanding::Open => None,
        AppStanding::Braked { trial_at, .. } | AppStanding::Blocked { trial_at, .. } => Some(trial_at),
    });
    let trials = trials.filter(|at| *at > now.time).map(|at| at.since(now.time));
    Ok(trials.chain(plan).chain(by_uptime).min())
}

/// What became of the wish to refresh an OA now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hurried {
    /// Its plan is due.
    Due,
    /// It has a newer set than the one that was to be refreshed.
    IsNewer,
    /// It has no plan.
    HasNoPlan,
}

/// An operator wants this OA, which he saw in `generation`, to be refreshed now: its plan is due.
pub(super) fn hurry(
    tx: &Connection,
    oa_id: &OaId,
    generation: u64,
    now: &Reading,
) -> rusqlite::Result<Hurried> {
    let Some(mut row) = rows::load(tx, oa_id)? else { return Ok(Hurried::HasNoPlan) };
    if row.generation != generation {
        return Ok(Hurried::IsNewer);
    }
    let standing = match row.standing {
        Standing::Scheduled { .. } => Standing::Scheduled { refresh_at: now.time },
        Standing::Retrying(_) => Standing::Retrying(Retrying { retry_at: now.time }),
        Standing::AwaitingGrant | Standing::Uncertain(_) | Standing::ReauthorizationRequired(_) => {
            return Ok(Hurried::HasNoPlan);
        }
    };
    row.stand(standing, now);
    rows::save(tx, &row)?;
    Ok(Hurried::Due)
}

/// Writes as much as a refresh does and erases it again, to see whether the disk takes it.
pub(super) fn exercise(tx: &Connection) -> rusqlite::Result<()> {
    tx.execute("INSERT INTO exercise (content) VALUES (zeroblob(16384))", [])?;
    tx.execute("DELETE FROM exercise", [])?;
    Ok(())
}
