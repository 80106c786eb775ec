//! What is known at this moment: the OAs as the store shows them, their last events, the ledger's counts, and
//! when the next fault is due.

use std::time::Duration;

use tokio::time::Instant;

use super::super::Failure;
use super::super::table::Tone;
use super::script::Script;
use super::stage::{SHOPS, Stage};
use super::words::Event;
use crate::clock::{Clock, SystemClock, Time};
use crate::simulator::Ledger;
use crate::store::{OaStatus, State};

/// Faults come no faster than a person can follow …
const FASTEST: Duration = Duration::from_millis(1_200);
/// … and no more slowly than is worth watching.
const SLOWEST: Duration = Duration::from_secs(5);
/// The last fault comes this long before the end: room for a question, a person and a new consent.
const LAST_FAULT: Duration = Duration::from_secs(6);
/// How long an OA may take to be due while a fault waits for it; kept free when a round is planned.
const SLACK: Duration = Duration::from_secs(3);
/// A fault is set up this long before the refresh that it is meant for: from, to.
const AHEAD: (Duration, Duration) = (Duration::from_millis(400), Duration::from_millis(1_200));

/// One OA.
#[derive(Default)]
pub(super) struct Row {
    pub(super) status: Option<OaStatus>,
    /// Its last event: when, which, and how it is meant.
    pub(super) last: Option<(Duration, String, Tone)>,
}

/// The ledger in numbers.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) presentations: usize,
    pub(super) spends: usize,
    pub(super) probes: usize,
    pub(super) answers_lost: usize,
    pub(super) without_proof: usize,
    pub(super) violations: usize,
}

pub(super) struct Board {
    begun: Instant,
    /// How long the demo is to run.
    pub(super) length: Duration,
    /// In the order of the shops.
    pub(super) rows: Vec<Row>,
    pub(super) counts: Counts,
    pub(super) script: Script,
    /// Once faults have begun.
    pace: Option<Pace>,
}

/// How the faults follow one another.
#[derive(Clone, Copy)]
struct Pace {
    first: Duration,
    apart: Duration,
    most: u32,
}

impl Board {
    pub(super) fn new(length: Duration) -> Board {
        Board {
            begun: Instant::now(),
            length,
            rows: SHOPS.iter().map(|_| Row::default()).collect(),
            counts: Counts::default(),
            script: Script::default(),
            pace: None,
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Takes in what the store shows.
    pub(super) fn see(&mut self, statuses: Vec<OaStatus>) {
        for status in statuses {
            let place = SHOPS.iter().position(|shop| shop.oa_id == status.oa_id.as_str());
            if let Some(place) = place {
                self.rows[place].status = Some(status);
            }
        }
    }

    pub(super) fn count(&mut self, ledger: &Ledger) {
        self.counts = Counts {
            presentations: ledger.presentations(),
            spends: ledger.spends(),
            probes: ledger.probes(),
            answers_lost: ledger.answers_lost(),
            without_proof: ledger.presented_again_without_proof().len(),
            violations: ledger.violations().len(),
        };
    }

    /// Takes in an event. Returns it in words if it is worth a line.
    pub(super) fn hear(&mut self, event: &Event) -> Option<String> {
        let spoken = event.spoken();
        if let Some(place) = event.place {
            self.script.follow(place, event);
            if spoken.is_some() {
                self.rows[place].last = Some((self.elapsed(), event.name.clone(), event.tone()));
            }
        }
        spoken
    }

    pub(super) fn are_all_scheduled(&self) -> bool {
        self.rows.iter().all(|row| row.status.as_ref().is_some_and(|status| status.state == State::Scheduled))
    }

    /// Sets up the next fault if it is time to and an OA is about to refresh. Returns what is to be told.
    pub(super) async fn next_fault(&mut self, stage: &Stage) -> Result<Option<String>, Failure> {
        let now = self.elapsed();
        if self.script.come_up(&stage.simulator, now).await? {
            return Ok(Some("the token endpoint takes connections again".to_owned()));
        }
        let Some(Pace { first, apart, most }) = self.pace.or_else(|| self.plan_pace(now)) else {
            return Ok(None);
        };
        self.pace = Some(Pace { first, apart, most });
        let set_up = u32::try_from(self.script.staged.len()).unwrap_or(u32::MAX);
        let is_due = set_up < most && now >= first + apart * set_up && now + LAST_FAULT <= self.length;
        match self.next_victim() {
            Some(place) if is_due => Ok(Some(self.script.stage(&stage.simulator, place, now).await)),
            Some(_) | None => Ok(None),
        }
    }

    /// Faults begin when every OA was refreshed once. One round of them is spread over the time; where there is
    /// more time than that, they begin anew.
    fn plan_pace(&self, now: Duration) -> Option<Pace> {
        let was_refreshed = |row: &Row| row.status.as_ref().is_some_and(|status| status.generation >= 2);
        if !self.rows.iter().all(was_refreshed) {
            return None;
        }
        let room = self.length.saturating_sub(now + LAST_FAULT + SLACK);
        let apart = (room / Script::ROUND).clamp(FASTEST, SLOWEST);
        let fit = room.as_millis() / apart.as_millis();
        Some(Pace { first: now, apart, most: u32::try_from(fit).unwrap_or(u32::MAX).max(Script::ROUND) })
    }

    /// Of the OAs that had the fewest faults, one that is about to refresh.
    fn next_victim(&self) -> Option<usize> {
        let now = SystemClock::new().now();
        let counts: Vec<Option<usize>> = (0..SHOPS.len()).map(|place| self.script.count_for(place)).collect();
        let fewest = counts.iter().flatten().min()?;
        (0..SHOPS.len())
            .filter(|place| counts[*place] == Some(*fewest))
            .find(|place| self.rows[*place].status.as_ref().is_some_and(|status| is_about_to(status, now)))
    }
}

fn is_about_to(status: &OaStatus, now: Time) -> bool {
    let ahead = status.next_refresh_at.map(|at| at.since(now));
    status.state == State::Scheduled && ahead.is_some_and(|ahead| (AHEAD.0..=AHEAD.1).contains(&ahead))
}
