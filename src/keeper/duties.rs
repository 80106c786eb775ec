//! The recurring duties, run by tokio-cron-scheduler on the config's expressions, in UTC.
//!
//! The scheduler only kicks. Its jobs have no guard against overlap, die for good by a panic outside their future,
//! and are lost in a burst; so each job does one `try_send` into a channel of one, and an owner task does the
//! duty: one at a time, with a panic kept inside, and a kick that comes meanwhile remembered once. No OA's
//! deadline depends on it: those are in the store, and the sweep has a tick of its own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::pace::Pace;
use super::{Keeper, events, lock};
use crate::config::Schedule;
use crate::store::{OldGrant, StoreError};

/// How often it is looked whether the wall clock was set back.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(5);

/// The duties, each with its owner and its job at the scheduler.
pub(super) struct Duties {
    scheduler: JobScheduler,
    duties: [Duty; 4],
    pace: Arc<Pace>,
}

struct Duty {
    name: &'static str,
    /// Its expression in a schedule.
    pick: fn(&Schedule) -> &str,
    kicks: mpsc::Sender<()>,
    /// The expression in force, and its job.
    job: Option<(String, Uuid)>,
}

/// Jobs that are ready to follow those in force.
pub(super) struct Prepared(Vec<(usize, String, Job)>);

impl Duties {
    /// Starts the scheduler and the owners of the duties.
    pub(super) async fn start(
        keeper: &Arc<Keeper>,
        schedule: &Schedule,
    ) -> Result<Duties, JobSchedulerError> {
        let duties = [
            duty(keeper, "sweep", |schedule| &schedule.sweep, kick_sweep),
            duty(keeper, "heartbeat", |schedule| &schedule.heartbeat, heartbeat),
            duty(keeper, "audit", |schedule| &schedule.audit, audit),
            duty(keeper, "prune", |schedule| &schedule.prune, prune),
        ];
        let pace = Arc::new(Pace::new(Arc::clone(&keeper.clock)));
        let mut started = Duties { scheduler: JobScheduler::new().await?, duties, pace };
        let jobs = started.prepare(schedule)?;
        started.go_over_to(jobs).await?;
        started.scheduler.start().await?;
        Ok(started)
    }

    /// Makes the jobs of the expressions that are not in force yet. Nothing changes.
    pub(super) fn prepare(&self, schedule: &Schedule) -> Result<Prepared, JobSchedulerError> {
        let mut prepared = Vec::new();
        for (place, duty) in self.duties.iter().enumerate() {
            let expression = (duty.pick)(schedule);
            if duty.job.as_ref().is_none_or(|(in_force, _)| in_force != expression) {
                prepared.push((place, expression.to_owned(), duty.make_job(expression, &self.pace)?));
            }
        }
        Ok(Prepared(prepared))
    }

    /// Makes new jobs of the expressions in force, if the clock was set back since their kicks were scheduled.
    async fn catch_up(&mut self) -> Result<(), JobSchedulerError> {
        if !self.pace.is_lost() {
            return Ok(());
        }
        self.pace.begin_anew();
        let mut prepared = Vec::new();
        for (place, duty) in self.duties.iter().enumerate() {
            if let Some((expression, _)) = &duty.job {
                prepared.push((place, expression.clone(), duty.make_job(expression, &self.pace)?));
            }
        }
        self.go_over_to(Prepared(prepared)).await
    }

    /// Puts them in force. One after another: a burst of concurrent additions kills the scheduler.
    pub(super) async fn go_over_to(&mut self, jobs: Prepared) -> Result<(), JobSchedulerError> {
        for (place, expression, job) in jobs.0 {
            let id = self.scheduler.add(job).await?;
            if let Some((_, old)) = self.duties[place].job.replace((expression, id)) {
                self.scheduler.remove(&old).await?;
            }
        }
        Ok(())
    }

    /// No more kicks.
    pub(super) async fn shutdown(&mut self) -> Result<(), JobSchedulerError> {
        self.scheduler.shutdown().await
    }
}

impl Duty {
    fn make_job(&self, expression: &str, pace: &Arc<Pace>) -> Result<Job, JobSchedulerError> {
        let (name, kicks, pace) = (self.name, self.kicks.clone(), Arc::clone(pace));
        pace.note();
        Job::new_async(expression, move |_, _| {
            // The next kick is scheduled with this one.
            pace.note();
            if kicks.try_send(()).is_err() {
                tracing::trace!(duty = name, "kicked while still at work");
            }
            Box::pin(std::future::ready(()))
        })
    }
}

/// Watches the wall clock until the daemon stops: when it was set back, the duties begin anew, which would otherwise
/// stand still until it has caught up.
pub(super) async fn keep_pace(keeper: Arc<Keeper>, duties: Arc<Mutex<Duties>>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_AT_THE_CLOCK) => {}
            () = keeper.stop.cancelled() => return,
        }
        if let Err(error) = duties.lock().await.catch_up().await {
            tracing::warn!(%error, "the duties stand still until the clock has caught up");
        }
    }
}

fn duty<F>(
    keeper: &Arc<Keeper>,
    name: &'static str,
    pick: fn(&Schedule) -> &str,
    work: fn(Arc<Keeper>) -> F,
) -> Duty
where
    F: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let own_keeper = Arc::clone(keeper);
    let kicks = own(&keeper.tasks, keeper.stop.clone(), name, move || work(Arc::clone(&own_keeper)));
    Duty { name, pick, kicks, job: None }
}

/// The owner of a duty: does it once a kick, never twice at once.
fn own<F>(
    tasks: &TaskTracker,
    stop: CancellationToken,
    name: &'static str,
    duty: impl Fn() -> F + Send + 'static,
) -> mpsc::Sender<()>
where
    F: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let (kicks, mut inbox) = mpsc::channel(1);
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                kick = inbox.recv() => if kick.is_none() { return },
            }
            // In a task of its own, so that a panic stays in there; the hook has logged it.
            match tokio::spawn(duty()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(duty = name, %error, "a duty could not be done"),
                Err(_) => tracing::debug!(duty = name, "a duty panicked"),
            }
        }
    });
    kicks
}

async fn kick_sweep(keeper: Arc<Keeper>) -> Result<(), StoreError> {
    keeper.wake.notify_one();
    Ok(())
}

async fn heartbeat(keeper: Arc<Keeper>) -> Result<(), StoreError> {
    events::fleet_heartbeat(&keeper.store.counts(keeper.now()).await?, keeper.log.lines_dropped());
    Ok(())
}

/// Says what is due on the ladder of reminders, and of which grants nobody knows the end.
async fn audit(keeper: Arc<Keeper>) -> Result<(), StoreError> {
    for OldGrant { oa_id, granted_at, until } in keeper.store.take_old_grants(keeper.read_clock()).await? {
        events::grant_end_unproven(&oa_id, granted_at, until);
    }
    let ladder = keeper.settings().remind.clone();
    for (oa_id, reminder) in keeper.store.take_reminders(ladder.clone(), keeper.read_clock()).await? {
        events::refresh_token_expiring(&oa_id, &reminder, keeper.consent_link(&oa_id).as_deref());
    }
    keeper.remind_of_vendors(ladder).await
}

async fn prune(keeper: Arc<Keeper>) -> Result<(), StoreError> {
    let now = keeper.read_clock();
    let passed = now.uptime.since(*lock(&keeper.day_turned));
    let day = keeper.store.turn_day(now.time, passed).await?;
    *lock(&keeper.day_turned) = now.uptime;
    in_steps(&keeper.stop, || keeper.store.prune(keeper.settings().keep_history, day)).await
}

/// Goes on until a step finds nothing to do, so that whoever else needs the store gets his turn between; or until the
/// daemon is to stop: what is left is as old tomorrow.
async fn in_steps<F>(stop: &CancellationToken, step: impl Fn() -> F) -> Result<(), StoreError>
where
    F: Future<Output = Result<usize, StoreError>>,
{
    while !stop.is_cancelled() && step().await? > 0 {
        tracing::debug!("old journal rows were pruned");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    struct Counted {
        begun: AtomicUsize,
        under_way: AtomicUsize,
        most: AtomicUsize,
        may_end: Semaphore,
    }

    impl Counted {
        async fn work(self: Arc<Counted>) -> Result<(), StoreError> {
            self.begun.fetch_add(1, Ordering::SeqCst);
            let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(under_way, Ordering::SeqCst);
            self.may_end.acquire().await.expect("open").forget();
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_duty_that_overruns_does_not_overlap_itself_and_remembers_one_kick() {
        let counted = Arc::new(Counted {
            begun: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            may_end: Semaphore::new(0),
        });
        let (tasks, stop, own_counted) = (TaskTracker::new(), CancellationToken::new(), Arc::clone(&counted));
        let kicks = own(&tasks, stop.clone(), "test", move || Arc::clone(&own_counted).work());
        kicks.send(()).await.expect("kicked");
        while counted.begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(kicks.try_send(()).is_ok(), "one kick waits");
        assert!(kicks.try_send(()).is_err() && kicks.try_send(()).is_err(), "the others are dropped");
        counted.may_end.add_permits(10);
        drop(kicks);
        tasks.close();
        tasks.wait().await;
        assert_eq!(counted.begun.load(Ordering::SeqCst), 2);
        assert_eq!(counted.most.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_duty_that_panics_is_done_again_at_its_next_kick() {
        let done = Arc::new(AtomicUsize::new(0));
        let (tasks, own_done) = (TaskTracker::new(), Arc::clone(&done));
        let kicks = own(&tasks, CancellationToken::new(), "test", move || {
            let done = Arc::clone(&own_done);
            async move {
                assert!(done.fetch_add(1, Ordering::SeqCst) != 0, "the first time it panics");
                Ok(())
            }
        });
        for _ in 0..3 {
            kicks.send(()).await.expect("the owner lives");
        }
        drop(kicks);
        tasks.close();
        tasks.wait().await;
        assert_eq!(done.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_duty_in_steps_goes_on_until_nothing_is_left_or_the_daemon_is_to_stop() {
        let left = |steps: usize, stop_at: usize| async move {
            let (stop, left) = (CancellationToken::new(), AtomicUsize::new(steps));
            let step = async || {
                let before = left.fetch_sub(1, Ordering::SeqCst);
                if before == stop_at {
                    stop.cancel();
                }
                Ok(before - 1)
            };
            in_steps(&stop, step).await.expect("the store takes it");
            left.into_inner()
        };
        assert_eq!(left(9, 0).await, 0);
        assert_eq!(left(9, 7).await, 6, "the step under way is the last");
    }
}
