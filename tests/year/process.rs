//! One run of the program: its start, its sweeps, its end. The rules and the store's verbs are the program's own; what
//! stands here is the order in which its keeper calls them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use faulty_disk::Loss;
use zalo_tokend::clock::Uptime;
use zalo_tokend::id::{AppId, AttemptId, OaId};
use zalo_tokend::rotation::Roll;
use zalo_tokend::store::{AtVendors, Direct, Effect, Health, Opened, Recovered, Store, StoreError, Sweep};

use crate::attempt::Attempt;
use crate::clocks::{DAY, HOUR, MINUTE, SECOND, millis};
use crate::doubts::Asking;
use crate::memory_store::{medium, settled_medium};
use crate::queue::{Event, Step};
use crate::world::{World, within_an_hour};

pub struct Process {
    pub run: u32,
    pub store: Store,
    /// What works on an OA, with its app if it is an attempt.
    pub claims: BTreeMap<OaId, Option<AppId>>,
    pub attempts: BTreeMap<AttemptId, Attempt>,
    pub doubts: BTreeMap<OaId, Asking>,
    pub measuring: BTreeSet<AppId>,
    pub is_stopping: bool,
    day_turned: Uptime,
    /// When a sweep is planned.
    sweep_at: u64,
}

impl World {
    /// A command opens the store. `None`: the disk does not let it.
    pub fn direct(&self) -> Option<Direct> {
        Direct::open_on(medium(&self.disk).ok()?).ok()
    }

    /// The program is started; where the disk does not let it, once more after a while.
    pub async fn start(&mut self) -> Result<(), String> {
        if self.process.is_some() {
            return Ok(());
        }
        match self.recover() {
            Ok(store) => self.go_to_work(store).await,
            Err(why) => {
                self.note(|_| format!("the start waits: {why}"));
                let wait = self.between(5 * SECOND, 5 * MINUTE);
                self.queue.push(self.clocks.truth + wait, Event::Start);
                Ok(())
            }
        }
    }

    fn recover(&mut self) -> Result<Store, String> {
        let medium = settled_medium(&self.disk).map_err(|error| error.to_string())?;
        let opened = Opened::open_on(medium).map_err(|error| error.to_string())?;
        let (slots, now) = (self.fleet.timing.max_in_flight as usize, self.clocks.read());
        let timing = self.fleet.timing.clone();
        let mut recovered = Recovered::default();
        let dice = &mut self.dice;
        let mut roll = || Roll(dice.f64());
        let outcome = opened.recover(slots, &timing, &now, &mut roll, &mut recovered);
        self.tell_recovered(&recovered)?;
        outcome.map_err(|error| error.to_string())?;
        Ok(opened.on_this_thread())
    }

    fn tell_recovered(&mut self, recovered: &Recovered) -> Result<(), String> {
        for taken_in in &recovered.taken_in {
            self.note(|_| {
                format!("{}: taken in from a slot: {:?}", taken_in.oa_id, taken_in.concluded.effect)
            });
            self.concluded(taken_in.attempt, &taken_in.oa_id, &taken_in.concluded.effect)?;
        }
        for abandoned in &recovered.abandoned {
            self.note(|_| format!("{}: {} has no end", abandoned.oa_id, abandoned.attempt));
        }
        if !recovered.orphans.is_empty() {
            return Err(format!("I4: answers to attempts that nobody knows: {:?}", recovered.orphans));
        }
        Ok(())
    }

    async fn go_to_work(&mut self, store: Store) -> Result<(), String> {
        let now = self.clocks.read();
        let managed = store
            .manage(self.fleet.oas.clone(), AtVendors::default(), self.fleet.timing.clone(), now.clone())
            .await;
        let ready = match managed {
            Ok(_) => store.allow_trials(now.time).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ready {
            drop(store);
            self.note(|_| format!("the start waits: {error}"));
            self.queue.push(self.clocks.truth + MINUTE, Event::Start);
            return Ok(());
        }
        self.runs += 1;
        self.process = Some(Process {
            run: self.runs,
            store,
            claims: BTreeMap::new(),
            attempts: BTreeMap::new(),
            doubts: BTreeMap::new(),
            measuring: BTreeSet::new(),
            is_stopping: false,
            day_turned: now.uptime,
            sweep_at: u64::MAX,
        });
        self.note(|world| format!("run {} is at work", world.runs));
        self.journal_knows_every_presentation()?;
        self.look_at_all()?;
        self.later(DAY / 2, Step::Duties);
        self.sweep_in(0);
        Ok(())
    }

    /// The program is gone in the middle of whatever it did.
    pub fn crash(&mut self, why: &str) {
        self.note(|_| format!("the program is gone: {why}"));
        self.process = None;
        self.reader = None;
        self.ledger.all_ended();
        self.truth.died();
        let wait =
            if self.happens(10) { self.between(HOUR, 30 * HOUR) } else { self.between(SECOND, MINUTE) };
        self.queue.push(self.clocks.truth + wait, Event::Start);
    }

    /// A fault of the disk took the program, or the whole machine, along.
    pub fn go_down(&mut self) {
        let is_power_loss = self.dice.bool();
        let loss = if is_power_loss { Loss::Unsynced { seed: self.dice.u64(..) } } else { Loss::Nothing };
        if self.process.is_some() {
            self.crash(if is_power_loss {
                "power loss at a chosen write"
            } else {
                "kill -9 at a chosen write"
            });
        }
        self.reader = None;
        self.disk.restart(loss);
        if is_power_loss {
            self.clocks.reboot();
        }
    }

    /// Everything that had to be finished is.
    pub fn end_if_stopping(&mut self) {
        let is_over = |process: &Process| process.is_stopping && process.attempts.values().all(|a| a.is_safe);
        if self.process.as_ref().is_some_and(is_over) {
            self.crash("it was stopped, and nothing is under way");
        }
    }

    /// The next sweep comes after so long, if none comes sooner.
    pub fn sweep_in(&mut self, wait: u64) {
        let at = self.clocks.truth + wait;
        let Some(process) = &mut self.process else { return };
        if at < process.sweep_at {
            process.sweep_at = at;
            self.later(wait, Step::Sweep);
        }
    }

    /// What is due is begun.
    pub async fn sweep(&mut self) -> Result<(), String> {
        let Some(process) = &mut self.process else { return Ok(()) };
        // Another one that was planned sooner has been here meanwhile.
        if process.sweep_at > self.clocks.truth {
            return Ok(());
        }
        process.sweep_at = u64::MAX;
        if process.is_stopping {
            return Ok(());
        }
        match self.sweep_now().await {
            Ok(wait) => self.sweep_in(wait),
            Err(why) if why.starts_with('I') => return Err(why),
            Err(_) => self.sweep_in(MINUTE),
        }
        Ok(())
    }

    async fn sweep_now(&mut self) -> Result<u64, String> {
        let Some(store) = self.store() else { return Ok(HOUR) };
        let words = |error: StoreError| error.to_string();
        let now = self.clocks.read();
        if *store.health().borrow() != Health::Well {
            store.exercise().await.map_err(words)?;
        }
        let look = store.look(self.planned(&store), now.clone()).await.map_err(words)?;
        if look.has_imports {
            store.take_unsaid_imports().await.map_err(words)?;
        }
        if look.has_expired {
            store.take_expired(now).await.map_err(words)?;
        }
        for (due, claim) in look.due {
            self.begin(due, claim).await?;
        }
        for oa_id in self.due_doubts(&look.uncertain) {
            self.ask(&oa_id).await?;
        }
        let plan = look.until_next.map_or(HOUR, within_an_hour);
        let question = self.next_question().unwrap_or(HOUR);
        Ok(plan.min(question).max(10))
    }

    /// What a sweep begins with, if anything may be begun.
    fn planned(&self, store: &Store) -> Option<Sweep> {
        let process = self.process.as_ref()?;
        let most = self.fleet.timing.max_in_flight;
        let attempts = process.claims.iter();
        let under_way: BTreeMap<OaId, AppId> =
            attempts.filter_map(|(oa_id, app)| Some((oa_id.clone(), app.clone()?))).collect();
        let unused = (most as usize).saturating_sub(under_way.len());
        let free = store.free_slots().min(unused);
        let apps = self.fleet.apps.clone();
        (free > 0).then(|| Sweep { under_way, passed_over: BTreeSet::new(), apps, free, most })
    }

    /// What cron does: old rows go, and what is to be said early is said.
    pub async fn duties(&mut self) {
        let Some(store) = self.store() else { return };
        let now = self.clocks.read();
        let Some(process) = &mut self.process else { return };
        let passed = now.uptime.since(std::mem::replace(&mut process.day_turned, now.uptime));
        let ladder = [30, 14, 7].map(|days| Duration::from_millis(days * DAY));
        let done = async {
            store.take_reminders(ladder.to_vec(), now.clone()).await?;
            store.take_old_grants(now.clone()).await?;
            let day = store.turn_day(now.time, passed).await?;
            while store.prune(Duration::from_millis(90 * DAY), day).await? > 0 {}
            Ok::<(), StoreError>(())
        };
        if let Err(error) = done.await {
            self.note(|_| format!("a duty failed: {error}"));
        }
        self.later(DAY, Step::Duties);
    }

    /// A person has to act, as the program says: then it has to be true.
    pub fn tell(&mut self, oa_id: &OaId, effect: &Effect) -> Result<(), String> {
        match effect {
            Effect::Adopted { reason: Some(reason), .. } | Effect::Reauthorize { reason } => {
                self.person_is_called(oa_id, *reason)
            }
            Effect::Adopted { reason: None, .. }
            | Effect::Retry { .. }
            | Effect::Uncertain { .. }
            | Effect::KeptAside
            | Effect::AlreadyConcluded => Ok(()),
        }
    }

    pub fn settle(&self) -> u64 {
        millis(self.fleet.timing.settle)
    }
}
