//! What the store keeps of an app: whether its credentials are refused, its window and brake, and what was measured of
//! its old access tokens.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::time::Duration;

use super::fleet::REFRESHABLE;
use super::rows;
use crate::clock::{CLOCK_TOLERANCE, Time};
use crate::id::{AppId, OaId};
use crate::rotation::{AppNews, Brake, Premise, Roll, Shift, Timing, Window, last_call};

/// How long a blocked app waits before one of its OAs may try again.
pub(super) const TRIAL_INTERVAL: Duration = Duration::from_secs(3_600);
/// Only so often is it written down that nothing but time has changed.
const MOVED_AT_GRAIN: Duration = Duration::from_secs(10);

/// What became of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppChange {
    /// Nothing.
    None,
    /// Its credentials are refused from now on.
    Blocked,
    /// Its endpoint leaves outcomes unknown: one request at a time from now on.
    Braked {
        /// When the first may go.
        trial_at: Time,
    },
    /// All its OAs go on.
    Released,
}

/// How an app stands, as the outside sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppStanding {
    /// All its OAs go on.
    Open,
    /// It is braked.
    Braked {
        /// Since when.
        since: Time,
        /// When one of its OAs may try.
        trial_at: Time,
    },
    /// Its credentials are refused.
    Blocked {
        /// Since when.
        since: Time,
        /// When one of its OAs may try.
        trial_at: Time,
        /// It is braked as well.
        is_braked: bool,
    },
}

/// May OAs of an app be refreshed now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// So many that are due.
    Open(u32),
    /// One, due or not.
    Trial,
}

impl Admission {
    pub(super) const NONE: Admission = Admission::Open(0);
}

/// An app as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AppRow {
    pub(super) app_id: AppId,
    pub(super) refusal: Option<Refusal>,
    pub(super) window: Window,
    pub(super) premise: Premise,
    pub(super) premise_measured_at: Option<Time>,
}

/// Its credentials are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) since: Time,
    /// When one OA may try again.
    pub(super) trial_at: Time,
}

impl Refusal {
    /// No trial is further off than an hour: one that is was noted by a clock that has been set back since.
    fn is_trial_due(&self, now: Time) -> bool {
        self.trial_at <= now || self.trial_at > now.plus(TRIAL_INTERVAL).plus(CLOCK_TOLERANCE)
    }
}

impl AppRow {
    fn new(app_id: AppId) -> AppRow {
        AppRow {
            app_id,
            refusal: None,
            window: Window::default(),
            premise: Premise::Unmeasured,
            premise_measured_at: None,
        }
    }

    /// How many may be begun beside those under way.
    pub(super) fn admission(&self, under_way: u32, most: u32, now: Time) -> Admission {
        let Some(refusal) = &self.refusal else {
            return Admission::Open(self.window.room(under_way, most, now));
        };
        let is_braked = self.window.brake.as_ref().is_some_and(|brake| !brake.is_trial_due(now));
        if under_way == 0 && !is_braked && refusal.is_trial_due(now) {
            Admission::Trial
        } else {
            Admission::NONE
        }
    }

    pub(super) fn standing(&self) -> AppStanding {
        let brake = self.window.brake.as_ref();
        match &self.refusal {
            Some(refusal) => AppStanding::Blocked {
                since: refusal.since,
                trial_at: brake.map_or(refusal.trial_at, |brake| brake.trial_at().max(refusal.trial_at)),
                is_braked: brake.is_some(),
            },
            None => brake.map_or(AppStanding::Open, |brake| AppStanding::Braked {
                since: brake.since,
                trial_at: brake.trial_at(),
            }),
        }
    }
}

const COLUMNS: &str = "app_id, refused_since, trial_at, window_size, strikes, window_moved_at, braked_since, \
     failed_trials, brake_wait_until, brake_hold_until, brake_decided_at, premise, premise_measured_at";

/// Reads the app's row; one that is not there yet looks like a new one.
pub(super) fn load(conn: &Connection, app_id: &AppId) -> rusqlite::Result<AppRow> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM app WHERE app_id = ?1"))?
        .query_row([app_id.as_str()], read_row)
        .optional()
        .map(|found| found.unwrap_or_else(|| AppRow::new(app_id.clone())))
}

/// The apps that are blocked or braked.
pub(super) fn held(conn: &Connection) -> rusqlite::Result<Vec<AppRow>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM app WHERE refused_since IS NOT NULL OR braked_since IS NOT NULL"
    ))?
    .query_map([], read_row)?
    .collect()
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<AppRow> {
    let time = |index| row.get::<_, Option<i64>>(index).map(|millis| millis.map(Time::from_millis));
    let refusal = time(1)?.map(|since| -> rusqlite::Result<Refusal> {
        Ok(Refusal { since, trial_at: time(2)?.unwrap_or(since) })
    });
    let brake = time(6)?.map(|since| -> rusqlite::Result<Brake> {
        Ok(Brake {
            since,
            failed_trials: row.get(7)?,
            wait_until: time(8)?.unwrap_or(since),
            hold_until: time(9)?,
            decided_at: time(10)?.unwrap_or(since),
        })
    });
    Ok(AppRow {
        app_id: AppId::from(row.get::<_, String>(0)?),
        refusal: refusal.transpose()?,
        window: Window {
            size: row.get(3)?,
            strikes: row.get(4)?,
            moved_at: time(5)?,
            brake: brake.transpose()?,
        },
        premise: match row.get::<_, String>(11)?.as_str() {
            "dies" => Premise::OldTokenDies,
            "outlives" => Premise::OldTokenOutlives,
            _ => Premise::Unmeasured,
        },
        premise_measured_at: time(12)?,
    })
}

/// Writes the row whole.
pub(super) fn save(tx: &Connection, app: &AppRow) -> rusqlite::Result<()> {
    let AppRow { app_id, refusal, window, premise, premise_measured_at } = app;
    let Window { size, strikes, moved_at, brake } = window;
    let brake = brake.as_ref();
    let millis = Time::as_millis;
    tx.prepare_cached(&format!(
        "INSERT OR REPLACE INTO app ({COLUMNS}) VALUES (:app_id, :refused_since, :trial_at, :size, :strikes, \
         :moved_at, :braked_since, :failed_trials, :wait_until, :hold_until, :decided_at, :premise, :measured_at)"
    ))?
    .execute(named_params! {
        ":app_id": app_id.as_str(),
        ":refused_since": refusal.map(|refusal| millis(refusal.since)),
        ":trial_at": refusal.map(|refusal| millis(refusal.trial_at)),
        ":size": size,
        ":strikes": strikes,
        ":moved_at": moved_at.map(millis),
        ":braked_since": brake.map(|brake| millis(brake.since)),
        ":failed_trials": brake.map_or(0, |brake| brake.failed_trials),
        ":wait_until": brake.map(|brake| millis(brake.wait_until)),
        ":hold_until": brake.and_then(|brake| brake.hold_until).map(millis),
        ":decided_at": brake.map(|brake| millis(brake.decided_at)),
        ":premise": match premise {
            Premise::Unmeasured => "unmeasured",
            Premise::OldTokenDies => "dies",
            Premise::OldTokenOutlives => "outlives",
        },
        ":measured_at": premise_measured_at.map(millis),
    })?;
    Ok(())
}

/// How many requests of this app have passed the gate and have no verdict yet.
pub(super) fn under_way(conn: &Connection, app_id: &AppId) -> rusqlite::Result<u32> {
    conn.prepare_cached("SELECT count(*) FROM attempt WHERE app_id = ?1 AND phase = 'presenting'")?
        .query_row([app_id.as_str()], |row| row.get(0))
}

/// Lets each blocked app try again at once.
pub(super) fn allow_trials(tx: &Connection, now: Time) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE app SET trial_at = ?1, refused_since = min(refused_since, ?1) WHERE refused_since IS NOT NULL",
        [now.as_millis()],
    )?;
    Ok(())
}

/// After a start the questions about attempts of braked apps begin anew: their next trials wait for that.
pub(super) fn leave_time_to_ask(tx: &Connection, timing: &Timing, now: Time) -> rusqlite::Result<()> {
    for mut app in held(tx)? {
        let is_asked_about: bool = tx
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM oa WHERE state = 'uncertain' AND app_id = ?1)")?
            .query_row([app.app_id.as_str()], |row| row.get(0))?;
        if is_asked_about {
            app.window.leave_time_to_ask(timing, now);
            save(tx, &app)?;
        }
    }
    Ok(())
}

/// The OAs of this app, or of all, are not those that they were: which of them is nearest to its end?
pub(super) fn reconsider(
    tx: &Connection,
    only: Option<&AppId>,
    timing: &Timing,
    now: Time,
) -> rusqlite::Result<()> {
    let concerned = |app: &AppRow| app.window.is_spending() && only.is_none_or(|only| app.app_id == *only);
    for mut app in held(tx)?.into_iter().filter(concerned) {
        hold_back(tx, &mut app, timing, now)?;
        save(tx, &app)?;
    }
    Ok(())
}

/// What an attempt said, and what its OA waits for now.
pub(super) struct Heard<'h> {
    pub(super) app_id: &'h AppId,
    pub(super) news: AppNews,
    /// When the attempt began.
    pub(super) began_at: Time,
    /// When something is done about its OA next.
    pub(super) next_at: Option<Time>,
}

/// Writes down what an attempt says about its app. While an app is blocked, every attempt of it is a trial: one that
/// says nothing about the credentials is followed by the next when its OA may try again.
pub(super) fn hear(
    tx: &Connection,
    heard: &Heard<'_>,
    timing: &Timing,
    now: Time,
    roll: Roll,
) -> rusqlite::Result<AppChange> {
    let Heard { app_id, news, began_at, next_at } = *heard;
    let before = load(tx, app_id)?;
    let mut app = before.clone();
    let shift = app.window.hear(news, began_at, timing, now, roll);
    if news == AppNews::Lost && app.window.is_spending() {
        hold_back(tx, &mut app, timing, now)?;
    }
    app.refusal = match (news, before.refusal) {
        // A trial was allowed after this attempt began, as by a reload: what it says may be of credentials before.
        (AppNews::Refused, Some(refusal)) if began_at < refusal.trial_at && refusal.trial_at <= now => {
            Some(refusal)
        }
        (AppNews::Refused, refusal) => Some(Refusal {
            since: refusal.map_or(now, |refusal| refusal.since.min(now)),
            trial_at: now.plus(TRIAL_INTERVAL),
        }),
        (AppNews::Granted, _) => None,
        // Under way already when the app was refused: no trial.
        (_, Some(refusal)) if refusal.since <= now && began_at <= refusal.since => Some(refusal),
        (_, refusal) => refusal.map(|refusal| Refusal {
            since: refusal.since.min(now),
            trial_at: next_at.unwrap_or(Time::from_millis(i64::MAX)).min(now.plus(TRIAL_INTERVAL)),
        }),
    };
    if is_worth_writing(&before, &app) {
        save(tx, &app)?;
    }
    Ok(match (news, shift) {
        (AppNews::Refused, _) if before.refusal.is_none() => AppChange::Blocked,
        (AppNews::Granted, shift) if before.refusal.is_some() || shift == Shift::Released => {
            AppChange::Released
        }
        (_, Shift::Braked { .. }) => {
            AppChange::Braked { trial_at: app.window.brake.as_ref().map_or(now, Brake::trial_at) }
        }
        (_, Shift::None | Shift::Released) => AppChange::None,
    })
}

fn is_worth_writing(before: &AppRow, after: &AppRow) -> bool {
    let moved = |app: &AppRow| app.window.moved_at;
    let same_time = |app: &AppRow| {
        let window = Window { moved_at: None, ..app.window.clone() };
        AppRow { window, ..app.clone() }
    };
    let is_later = moved(after)
        .is_some_and(|now| moved(before).is_none_or(|then| then > now || now.since(then) >= MOVED_AT_GRAIN));
    is_later || same_time(before) != same_time(after)
}

/// Zalo was asked about an attempt of this app: it was spent, or it was not.
pub(super) fn learn(
    tx: &Connection,
    app_id: &AppId,
    was_spent: bool,
    timing: &Timing,
    now: Time,
) -> rusqlite::Result<()> {
    let mut app = load(tx, app_id)?;
    if app.window.brake.is_none() {
        return Ok(());
    }
    if was_spent {
        hold_back(tx, &mut app, timing, now)?;
    } else {
        app.window.hold(None, now);
    }
    save(tx, &app)
}

/// Puts the next trial off until the OA nearest to its end has a quarter of its lead left. One that cannot send any more
/// is not put at risk for that: it has time.
fn hold_back(tx: &Connection, app: &mut AppRow, timing: &Timing, now: Time) -> rusqlite::Result<()> {
    let nearest = tx
        .prepare_cached(&format!(
            "SELECT oa_id FROM oa WHERE access_token_expires_at > ?1 AND app_id = ?2 AND {REFRESHABLE} \
             ORDER BY min(access_token_expires_at, refresh_token_expires_at) LIMIT 1"
        ))?
        .query_row(params![now.as_millis(), app.app_id.as_str()], |row| row.get::<_, String>(0))
        .optional()?
        .map(OaId::from);
    let row = nearest.map(|oa_id| rows::load(tx, &oa_id)).transpose()?.flatten();
    let set = row.as_ref().and_then(|row| Some((&row.oa_id, row.set.as_ref()?)));
    let call = set.map_or(now, |(oa_id, set)| last_call(timing, &set.lifetimes(), oa_id));
    app.window.hold(Some(call), now);
    Ok(())
}

/// What is known of an app's old tokens, and when it was measured.
pub(super) fn premise(conn: &Connection, app_id: &AppId) -> rusqlite::Result<(Premise, Option<Time>)> {
    let app = load(conn, app_id)?;
    Ok((app.premise, app.premise_measured_at))
}

/// Notes what was measured.
pub(super) fn record_premise(
    tx: &Connection,
    app_id: &AppId,
    premise: Premise,
    now: Time,
) -> rusqlite::Result<()> {
    let measured = AppRow { premise, premise_measured_at: Some(now), ..load(tx, app_id)? };
    save(tx, &measured)
}
