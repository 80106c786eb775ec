//! Which act comes next, when, and for whom. An act begins when its time has come and the OAs are in the right place
//! for it; nothing else is counted on. What comes of it is `staged`'s.

use std::time::Duration;

use super::act::{Act, ROUND, Whom};
use super::board::Row;
use super::shops::{SHOPS, branches, is_branch};
use super::staged::Staged;
use crate::clock::{Clock, SystemClock, Time};
use crate::simulator::Ledger;
use crate::store::State;

/// From this length on a demo shows all acts, however long that takes.
pub(super) const FULL_LENGTH: Duration = Duration::from_secs(30);
/// Acts come no faster than a person can follow …
const FASTEST: Duration = Duration::from_secs(1);
/// … and no more slowly than is worth watching.
const SLOWEST: Duration = Duration::from_secs(5);
/// Kept free at the end when a round is planned.
const CLOSING: Duration = Duration::from_secs(9);
/// An act is set up this long before the refresh that it is meant for: from, to.
const AHEAD: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(2));
/// Two branches that are due within this time meet an outage together.
const TOGETHER: Duration = Duration::from_secs(2);

pub(super) struct Script {
    /// The acts so far.
    pub(super) staged: Vec<Staged>,
    /// How long the demo is to run.
    length: Duration,
    /// The place of the next act, counted over all rounds.
    next: usize,
    /// Once acts have begun.
    pace: Option<Pace>,
}

/// How the acts follow one another.
#[derive(Clone, Copy)]
struct Pace {
    first: Duration,
    apart: Duration,
}

/// An act whose time has come.
pub(super) struct Cue {
    pub(super) act: Act,
    /// For whom, if that is one shop.
    pub(super) place: Option<usize>,
    number: usize,
}

impl Script {
    pub(super) fn new(length: Duration) -> Script {
        Script { staged: Vec::new(), length, next: 0, pace: None }
    }

    pub(super) fn has_open(&self) -> bool {
        self.open().next().is_some()
    }

    fn open(&self) -> impl Iterator<Item = &Staged> {
        self.staged.iter().filter(|staged| !staged.is_settled)
    }

    /// Everything that a demo of this length has to show has begun.
    pub(super) fn is_played(&self) -> bool {
        !self.is_full() || self.staged.len() >= ROUND.len()
    }

    fn is_full(&self) -> bool {
        self.length >= FULL_LENGTH
    }

    /// The act of this kind that is open, if there is one.
    pub(super) fn open_act(&mut self, whom: Whom) -> Option<&mut Staged> {
        self.staged.iter_mut().find(|staged| !staged.is_settled && staged.act.whom() == whom)
    }

    /// The act that is to begin now.
    pub(super) fn cue(&mut self, now: Duration, rows: &[Row]) -> Option<Cue> {
        let Pace { first, apart } = self.pace.or_else(|| self.plan_pace(now, rows))?;
        self.pace = Some(Pace { first, apart });
        let planned = first + apart * u32::try_from(self.staged.len()).unwrap_or(u32::MAX);
        let soonest = self.staged.last().map_or(Duration::ZERO, |last| last.at + FASTEST);
        let (number, act) = self.next(now)?;
        if now < planned.max(soonest) || !self.has_room_for(act) {
            return None;
        }
        let place = match act.whom() {
            Whom::Shop | Whom::ShopAndDaemon => Some(self.victim(rows)?),
            Whom::Chain if are_branches_due(rows) => None,
            Whom::Chain => return None,
            Whom::Config => None,
        };
        Some(Cue { act, place, number })
    }

    /// The act has begun.
    pub(super) fn begin(&mut self, cue: &Cue, whose: String, at: Duration, ledger: &Ledger) {
        self.next = cue.number + 1;
        self.staged.push(Staged::new(cue.act, cue.place, whose, at, ledger));
    }

    /// The next act that can come to its end in time. The config changes in the first round only.
    fn next(&self, now: Duration) -> Option<(usize, Act)> {
        let numbered =
            (self.next..self.next + ROUND.len()).map(|number| (number, ROUND[number % ROUND.len()]));
        let mut fitting = numbered.filter(|(number, act)| match *number < ROUND.len() {
            true => self.is_full() || now + act.length() <= self.length,
            false => act.whom() != Whom::Config && now + act.length() <= self.length,
        });
        fitting.next()
    }

    /// Acts of several shops go side by side. A kill concerns everybody: it comes when nothing else is open, and the
    /// next act when the daemon is there again.
    fn has_room_for(&self, act: Act) -> bool {
        let whom = act.whom();
        let is_beside = |staged: &Staged| match staged.act.whom() {
            Whom::Shop => true,
            Whom::ShopAndDaemon => staged.is_over,
            other @ (Whom::Chain | Whom::Config) => other != whom,
        };
        if whom == Whom::ShopAndDaemon { !self.has_open() } else { self.open().all(is_beside) }
    }

    /// Acts begin when every OA was refreshed once. One round of them is spread over the time; where there is more
    /// time than that, they begin anew.
    fn plan_pace(&self, now: Duration, rows: &[Row]) -> Option<Pace> {
        let mut statuses = rows.iter().filter_map(|row| row.status.as_ref()).peekable();
        statuses.peek()?;
        if !statuses.all(|status| status.generation >= 2) {
            return None;
        }
        let room = self.length.saturating_sub(now + CLOSING);
        let acts = u32::try_from(ROUND.len()).unwrap_or(u32::MAX);
        Some(Pace { first: now, apart: (room / acts).clamp(FASTEST, SLOWEST) })
    }

    /// Of the shops with an app of their own that are about to refresh, the one that had the fewest acts.
    fn victim(&self, rows: &[Row]) -> Option<usize> {
        let now = SystemClock::new().now();
        let had = |place: usize| self.staged.iter().filter(move |staged| staged.place == Some(place));
        (0..SHOPS.len())
            .filter(|place| !is_branch(*place) && !rows[*place].has_strike)
            .filter(|place| had(*place).all(|staged| staged.is_settled))
            .filter(|place| {
                ahead(&rows[*place], now).is_some_and(|ahead| (AHEAD.0..=AHEAD.1).contains(&ahead))
            })
            .min_by_key(|place| had(*place).count())
    }
}

/// Is one branch about to refresh, and another soon after it?
fn are_branches_due(rows: &[Row]) -> bool {
    let now = SystemClock::new().now();
    let mut due: Vec<Duration> = branches().filter_map(|place| ahead(&rows[place], now)).collect();
    due.sort_unstable();
    match due.as_slice() {
        [first, second, ..] => (AHEAD.0..=AHEAD.1).contains(first) && *second <= *first + TOGETHER,
        [_] | [] => false,
    }
}

/// How long until a healthy OA is refreshed.
fn ahead(row: &Row, now: Time) -> Option<Duration> {
    let status = row.status.as_ref().filter(|status| status.state == State::Scheduled)?;
    status.next_refresh_at.map(|at| at.since(now))
}
