//! What is known at this moment: the OAs as the store shows them, their last events, and the ledger's counts.

use std::time::Duration;

use tokio::time::Instant;

use super::super::table::Tone;
use super::consumer::Used;
use super::script::Script;
use super::shops::{SHOPS, branches, place_of};
use super::words::Event;
use crate::clock::{Clock, SystemClock, Time};
use crate::simulator::Ledger;
use crate::store::{OaStatus, State};

/// One OA.
#[derive(Default)]
pub(super) struct Row {
    /// None while the config does not have it.
    pub(super) status: Option<OaStatus>,
    /// Its last event: when, which, and how it is meant.
    pub(super) last: Option<(Duration, String, Tone)>,
    /// An outcome was unknown, and no refresh has succeeded since: one more would brake its app.
    pub(super) has_strike: bool,
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
    /// When the braked chain may try next.
    trial_at: Option<Time>,
    /// What the consumer did with its tokens.
    pub(super) used: Vec<Used>,
    /// What the demo itself said last.
    pub(super) told: String,
}

impl Board {
    pub(super) fn new(length: Duration) -> Board {
        Board {
            begun: Instant::now(),
            length,
            rows: SHOPS.iter().map(|_| Row::default()).collect(),
            counts: Counts::default(),
            script: Script::new(length),
            trial_at: None,
            used: Vec::new(),
            told: String::new(),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What the OA is called at this moment.
    pub(super) fn name(&self, place: usize) -> &str {
        let status = self.rows[place].status.as_ref();
        status.and_then(|status| status.name.as_deref()).unwrap_or(SHOPS[place].name)
    }

    /// The OAs that the config has.
    pub(super) fn on_stage(&self) -> impl Iterator<Item = (usize, &OaStatus)> {
        self.rows.iter().enumerate().filter_map(|(place, row)| Some((place, row.status.as_ref()?)))
    }

    /// Takes in what the store shows. Returns how long the braked chain waits for its next trial, if a trial has
    /// just failed.
    pub(super) fn see(&mut self, statuses: Vec<OaStatus>, trial_at: Option<Time>) -> Option<Duration> {
        for status in statuses {
            if let Some(place) = place_of(status.oa_id.as_str()) {
                self.rows[place].status = Some(status);
            }
        }
        let before = std::mem::replace(&mut self.trial_at, trial_at);
        let has_failed = before.is_some() && before != trial_at;
        trial_at.filter(|_| has_failed).map(|at| at.since(SystemClock::new().now()))
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
        self.script.staged.iter_mut().for_each(|staged| staged.hear(event));
        if let (Some(place), true) = (event.place, spoken.is_some()) {
            let last = Some((self.elapsed(), event.name.clone(), event.tone()));
            let row = &mut self.rows[place];
            row.last = last;
            row.has_strike = match event.name.as_str() {
                "refresh.uncertain" => true,
                "refresh.succeeded" => false,
                _ => row.has_strike,
            };
        }
        spoken
    }

    pub(super) fn are_all_scheduled(&self) -> bool {
        self.on_stage().all(|(_, status)| status.state == State::Scheduled)
    }

    /// What is left of the access token of the branch that is nearest to its end.
    pub(super) fn least_left_of_branches(&self) -> Duration {
        let now = SystemClock::new().now();
        let ends = branches().filter_map(|place| self.rows[place].status.as_ref()?.access_token_expires_at);
        ends.map(|end| end.since(now)).min().unwrap_or_default()
    }
}
