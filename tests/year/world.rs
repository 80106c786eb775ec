//! The scenario: one machine with its disk, one run of the program after the other, a Zalo, and persons.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use faulty_disk::Disk;
use zalo_tokend::id::{AppId, OaId};
use zalo_tokend::rotation::{Roll, Timing, Unprovable};
use zalo_tokend::store::{Direct, Managed, Store};

use crate::chaos::Weather;
use crate::clocks::{Clocks, DAY, HOUR, MINUTE, millis};
use crate::coverage::Coverage;
use crate::ledger::{Ledger, Rules};
use crate::process::Process;
use crate::queue::{Event, Queue, Step};
use crate::trace::Trace;
use crate::truth::Truth;
use crate::zalo::{OldToken, Variant, Zalo};

/// How long an answer is waited for.
pub const TIMEOUT: u64 = MINUTE;

/// What a scenario comes to.
#[derive(Default)]
pub struct Outcome {
    pub rotations: u64,
    presentations: u64,
    lost: u64,
    mistaken: u64,
    runs: u64,
    events: u64,
    /// Of everything that happened, in order.
    pub fingerprint: u64,
}

impl Outcome {
    pub fn add(&mut self, other: &Outcome) {
        self.rotations += other.rotations;
        self.presentations += other.presentations;
        self.lost += other.lost;
        self.mistaken += other.mistaken;
        self.runs += other.runs;
        self.events += other.events;
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Outcome { rotations, presentations, lost, mistaken, runs, events, .. } = self;
        write!(
            f,
            "{rotations} rotations, {presentations} presentations, {lost} answers lost at Zalo's side, {mistaken} spent \
             tokens presented on Zalo's word, {runs} runs of the program, {events} events"
        )
    }
}

/// The config, as the program has it.
pub struct Fleet {
    pub oas: BTreeMap<OaId, Managed>,
    pub apps: Arc<BTreeSet<AppId>>,
    pub timing: Arc<Timing>,
}

pub struct World {
    pub dice: Rng,
    pub clocks: Clocks,
    pub queue: Queue,
    pub zalo: Zalo,
    pub ledger: Ledger,
    pub disk: Disk,
    pub fleet: Fleet,
    pub weather: Weather,
    pub process: Option<Process>,
    pub runs: u32,
    pub truth: Truth,
    pub coverage: Coverage,
    pub trace: Trace,
    pub rotations: u64,
    /// How a consumer reads.
    pub reader: Option<Direct>,
    /// Of so many presentations it was seen that the journal knows them.
    pub judged: usize,
    /// Since when nothing was wrong that could keep an OA waiting.
    pub well_since: Option<u64>,
    pub is_disk_harmed: bool,
    /// Nothing goes wrong any more.
    pub is_calm: bool,
}

pub const APPS: [&str; 2] = ["app-a", "app-b"];

impl World {
    /// A scenario is its seed.
    pub fn new(seed: u64, is_told: bool) -> World {
        let mut dice = Rng::with_seed(seed);
        let old_token = match dice.u32(..6) {
            0..3 => OldToken::AtOnce,
            3 => OldToken::After([5_000, 10 * MINUTE][dice.usize(..2)]),
            4 => OldToken::AtItsEnd,
            _ => OldToken::Never,
        };
        let variant = Variant { old_token, reuse_revokes_family: dice.bool(), spent_is_empty: dice.bool() };
        let count = dice.u32(3..=24);
        let oas = (1..=count).map(|number| {
            let app_id = AppId::from(APPS[(number % 2) as usize]);
            (OaId::from(format!("oa-{number}")), Managed { app_id, name: None })
        });
        let unprovable = if dice.u32(..4) == 0 { Unprovable::Present } else { Unprovable::Hold };
        let timing = Timing { unprovable, max_in_flight: dice.u32(1..=4), ..Timing::default() };
        let fleet = Fleet {
            oas: oas.collect(),
            apps: Arc::new(APPS.iter().map(|app| AppId::from(*app)).collect()),
            timing: Arc::new(timing),
        };
        World {
            clocks: Clocks::new(),
            queue: Queue::default(),
            zalo: Zalo::new(variant),
            ledger: Ledger::default(),
            disk: Disk::new(),
            weather: Weather::default(),
            process: None,
            runs: 0,
            truth: Truth::default(),
            coverage: Coverage::default(),
            trace: Trace::new(is_told),
            rotations: 0,
            reader: None,
            judged: 0,
            well_since: None,
            is_disk_harmed: false,
            is_calm: false,
            fleet,
            dice,
        }
    }

    /// A year with everything in it, and then some calm days, after which all must be well.
    ///
    /// # Errors
    /// What was broken, in words.
    pub async fn live(&mut self) -> Result<Outcome, String> {
        self.note(|world| {
            format!(
                "{:?}, {} OAs, {:?}",
                world.zalo.variant,
                world.fleet.oas.len(),
                world.fleet.timing.unprovable
            )
        });
        self.queue.push(self.clocks.truth, Event::Start);
        self.queue.push(self.clocks.truth + MINUTE, Event::Round);
        self.queue.push(self.clocks.truth + DAY, Event::Mishap { is_regular: true });
        let end = 366 * DAY;
        let mut events = 0;
        while self.clocks.truth < end {
            self.happen().await?;
            events += 1;
        }
        self.calm_down();
        // The machine may sleep for four more, and an attempt may be asked about for one.
        let calm = self.clocks.truth + 10 * DAY;
        while self.clocks.truth < calm {
            self.happen().await?;
            events += 1;
        }
        self.all_is_well()?;
        Ok(Outcome {
            rotations: self.rotations,
            presentations: self.ledger.presentations.len() as u64,
            lost: self.ledger.lost,
            mistaken: self.ledger.mistaken,
            runs: u64::from(self.runs),
            events,
            fingerprint: self.trace.fingerprint(),
        })
    }

    /// The next thing happens, and everything that has to hold is looked at.
    async fn happen(&mut self) -> Result<(), String> {
        let Some((at, event)) = self.queue.pop() else {
            return Err("I8: nothing will ever happen".to_owned());
        };
        self.clocks.truth = self.clocks.truth.max(at);
        match event {
            Event::Step(run, step) if self.is_running(run) => self.step(step).await?,
            Event::Step(..) => {}
            Event::WorkedOn { attempt, refresh, app_id, fate } => {
                self.work_on(attempt, &refresh, &app_id, fate);
            }
            Event::Mishap { is_regular: true } => self.regular_mishap().await?,
            Event::Mishap { is_regular: false } => self.mishap().await?,
            Event::Relief(relief) => self.relieve(relief).await?,
            Event::Round => self.round().await?,
            Event::Start => self.start().await?,
        }
        if self.disk.is_down() {
            self.go_down();
        }
        Ok(())
    }

    async fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Sweep => self.sweep().await,
            Step::Gate(attempt) => self.reach_gate(attempt).await,
            Step::Heard(attempt, exchange, delivered) => self.hear(attempt, exchange, delivered).await,
            Step::Conclude(attempt) => self.conclude(attempt).await,
            Step::Measure(claim, was_alive, obtained) => {
                self.measure(&claim, was_alive, &obtained).await;
                Ok(())
            }
            Step::Duties => {
                self.duties().await;
                Ok(())
            }
        }
    }

    fn is_running(&self, run: u32) -> bool {
        self.process.as_ref().is_some_and(|process| process.run == run)
    }

    pub fn store(&self) -> Option<Store> {
        self.process.as_ref().map(|process| process.store.clone())
    }

    pub fn rules(&self) -> Rules {
        Rules {
            settle: millis(self.fleet.timing.settle),
            presents_unprovable: self.fleet.timing.unprovable == Unprovable::Present,
        }
    }

    pub fn roll(&mut self) -> Roll {
        Roll(self.dice.f64())
    }

    /// One in so many.
    pub fn happens(&mut self, one_in: u32) -> bool {
        !self.is_calm && self.dice.u32(..one_in) == 0
    }

    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        self.dice.u64(least..=most)
    }

    /// A step of the program that runs now.
    pub fn later(&mut self, after: u64, step: Step) {
        if let Some(process) = &self.process {
            self.queue.push(self.clocks.truth + after, Event::Step(process.run, step));
        }
    }

    pub fn note(&mut self, words: impl FnOnce(&World) -> String) {
        let words = words(self);
        self.trace.note(self.clocks.truth, &words);
    }
}

/// What nobody would wait for: a duration as milliseconds, of an hour at the most.
pub fn within_an_hour(wait: Duration) -> u64 {
    millis(wait).min(HOUR)
}
