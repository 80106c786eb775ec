//! The sweep: asks the store what is due and starts it.
//!
//! It runs at start, on each kick of the cron expression, on a tick of the monotonic clock (cron stops while a
//! clock that was set back catches up), when the next plan falls due, and at once when a slot, a lock or the store
//! becomes free. A restart, a suspend or a clock step loses nothing, because nothing but the store knows a date.

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use super::{Keeper, attempt, doubt, events, lock};
use crate::id::OaId;
use crate::store::{Claim, Due, Health, Look, StoreError, Sweep};

/// However little happens, a sweep comes this often.
const TICK: Duration = Duration::from_secs(5);
/// However little happens, imports are looked for this often.
const LOOK_FOR_IMPORTS: Duration = Duration::from_secs(1);
/// A sweep that takes longer hangs: only a request under way is a reason then to go on living.
const STUCK: Duration = Duration::from_secs(60);
/// At a stop, how long a sweep that is under way is waited for.
const LAST_ROUND: Duration = Duration::from_secs(2);
/// What becomes free within this is given away together.
const TOGETHER: Duration = Duration::from_millis(3);
/// However soon the next plan is due, this long is slept.
const SHORTEST_SLEEP: Duration = Duration::from_millis(10);

impl Keeper {
    /// Sweeps until the daemon is to stop, or until the store is gone.
    ///
    /// The same task tells the service manager that it is alive, also while a call to the store takes its time.
    pub(super) async fn sweep_until_stopped(self: &Arc<Keeper>) {
        let last_round = Cell::new(Instant::now());
        let mut rounds = pin!(self.sweep_on_and_on(&last_round));
        let mut feeding = tokio::time::interval(self.manager.feed_every());
        loop {
            tokio::select! {
                () = &mut rounds => return,
                // A store that hangs does not keep the stop from beginning.
                () = self.patience_after_stop() => return,
                _ = feeding.tick() => {
                    if last_round.get().elapsed() < STUCK || self.holds_what_is_on_no_disk() {
                        self.manager.alive();
                    }
                }
            }
        }
    }

    async fn patience_after_stop(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(LAST_ROUND).await;
    }

    /// A request has passed the gate, and its answer is on no disk yet: this process must not be killed now.
    pub(super) fn holds_what_is_on_no_disk(&self) -> bool {
        self.exposed.is_any()
    }

    async fn sweep_on_and_on(self: &Arc<Keeper>, last_round: &Cell<Instant>) {
        let mut last_sweep: Option<Instant> = None;
        loop {
            let is_time = last_sweep.is_none_or(|last| last.elapsed() >= TICK);
            let sleep = match self.sweep_or_look(is_time).await {
                Ok((has_swept, sleep)) => {
                    last_sweep = if has_swept { Some(Instant::now()) } else { last_sweep };
                    sleep
                }
                Err(error) => {
                    tracing::debug!(%error, "the sweep cannot read the store");
                    LOOK_FOR_IMPORTS
                }
            };
            last_round.set(Instant::now());
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.store.closed() => return,
                () = self.wake.notified() => {
                    // In a herd many attempts end at once: one sweep for all of them.
                    tokio::time::sleep(TOGETHER).await;
                    last_sweep = None;
                }
                () = tokio::time::sleep(sleep) => {
                    // It slept until a plan is due, or only until it is time to look for imports again.
                    last_sweep = last_sweep.filter(|_| sleep >= LOOK_FOR_IMPORTS);
                }
            }
        }
    }

    /// Sweeps if it is time to, or if something was imported. Says whether it did, and how long to sleep.
    async fn sweep_or_look(self: &Arc<Keeper>, is_time: bool) -> Result<(bool, Duration), StoreError> {
        let mut look = self.look(is_time).await?;
        let has_imports = look.has_imports && self.announce_imports().await?;
        if has_imports && !is_time {
            look = self.look(true).await?;
        }
        let has_swept = is_time || has_imports;
        if has_swept {
            if look.has_expired {
                self.announce_expired().await?;
            }
            self.start_refreshes(look.due);
            self.start_questions(&look.uncertain);
        }
        let vendors = self.start_at_vendors().await;
        let next = look.until_next.into_iter().chain(vendors).min();
        Ok((has_swept, self.until_next(next).clamp(SHORTEST_SLEEP, LOOK_FOR_IMPORTS)))
    }

    /// Looks into the store. With `is_to_sweep` for as many refreshes as there are free slots, the most urgent first.
    /// While the store does not take writes, nothing could be journalled, and so nothing is to begin.
    async fn look(&self, is_to_sweep: bool) -> Result<Look, StoreError> {
        let sweep = (is_to_sweep && self.is_store_well()).then(|| self.room()).flatten();
        self.store.look(sweep, self.read_clock()).await
    }

    /// `None`: as much is under way as may be.
    fn room(&self) -> Option<Sweep> {
        let settings = self.settings();
        let most = settings.timing.max_in_flight;
        let under_way = self.claims.attempts();
        let unused = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(under_way.len());
        let free = self.store.free_slots().min(unused);
        let apps = Arc::clone(&settings.app_ids);
        (free > 0).then(|| Sweep { under_way, passed_over: self.passed_over(), apps, free, most })
    }

    pub(super) fn is_store_well(&self) -> bool {
        *self.store.health().borrow() == Health::Well
    }

    fn start_refreshes(self: &Arc<Keeper>, due: Vec<(Due, Option<Claim>)>) {
        for (due, claim) in due {
            if self.is_stopping() {
                break;
            }
            if !self.claims.is_held(&due.oa_id) {
                self.tasks.spawn(attempt::run_guarded(Arc::clone(self), due, claim));
            }
        }
    }

    fn start_questions(self: &Arc<Keeper>, uncertain: &[OaId]) {
        let due = self.due_doubts(uncertain);
        for oa_id in due.into_iter().filter(|oa_id| !self.claims.is_held(oa_id)) {
            let Ok(permit) = Arc::clone(&self.questions).try_acquire_owned() else { break };
            let keeper = Arc::clone(self);
            self.tasks.spawn(async move {
                let _permit = permit;
                if doubt::run(Arc::clone(&keeper), oa_id).await {
                    keeper.wake.notify_one();
                }
            });
        }
    }

    /// Announces what was imported by another process. Says whether there was anything.
    async fn announce_imports(&self) -> Result<bool, StoreError> {
        let imports = self.store.take_unsaid_imports().await?;
        for (oa_id, generation, refresh_at) in &imports {
            events::oa_imported(oa_id, *generation);
            if let Some(refresh_at) = refresh_at {
                events::refresh_planned(oa_id, *refresh_at);
            }
        }
        Ok(!imports.is_empty())
    }

    async fn announce_expired(&self) -> Result<(), StoreError> {
        for (oa_id, since) in self.store.take_expired(self.read_clock()).await? {
            events::access_token_expired(&oa_id, since);
        }
        Ok(())
    }

    /// How long until something falls due that is not due yet: this plan, or a question.
    fn until_next(&self, plan: Option<Duration>) -> Duration {
        let now = self.clock.read().uptime;
        let question = lock(&self.doubts).next().map(|at| at.since(now));
        // A question that is due and still waits is under way, or waits for a lock: its end wakes the sweep.
        let question = question.filter(|wait| !wait.is_zero());
        plan.into_iter().chain(question).min().unwrap_or(TICK)
    }
}
