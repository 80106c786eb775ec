//! The recurring duties, run by tokio-cron-scheduler on the config's expressions, in UTC.
//!
//! The scheduler only kicks. Its jobs have no guard against overlap, die for good by a panic outside their future,
//! and are lost in a burst; so each job does one `try_send` into a channel of one, and an owner task does the
//! duty: one at a time, with a panic kept inside, and a kick that comes meanwhile remembered once. No OA's
//! deadline depends on it: those are in the store, and the sweep has a tick of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::Keeper;
use super::events::{self, Counts};
use crate::config::Schedule;
use crate::store::{State, StoreError};

type Duty = fn(Arc<Keeper>) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// Starts the scheduler and the owners of the duties.
pub(super) async fn start(
    keeper: &Arc<Keeper>,
    schedule: &Schedule,
) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let duties: [(&str, &str, Duty); 4] = [
        ("sweep", &schedule.sweep, |keeper| Box::pin(async move { kick_sweep(&keeper) })),
        ("heartbeat", &schedule.heartbeat, |keeper| Box::pin(heartbeat(keeper))),
        ("audit", &schedule.audit, |keeper| Box::pin(audit(keeper))),
        ("prune", &schedule.prune, |keeper| Box::pin(prune(keeper))),
    ];
    // One after another: a burst of concurrent additions kills the scheduler.
    for (name, expression, duty) in duties {
        let kicks = own(keeper, name, duty);
        let job = Job::new_async(expression, move |_, _| {
            if kicks.try_send(()).is_err() {
                tracing::trace!(duty = name, "kicked while still at work");
            }
            Box::pin(std::future::ready(()))
        })?;
        scheduler.add(job).await?;
    }
    scheduler.start().await?;
    Ok(scheduler)
}

/// The owner of a duty: does it once a kick, never twice at once.
fn own(keeper: &Arc<Keeper>, name: &'static str, duty: Duty) -> mpsc::Sender<()> {
    let (kicks, mut inbox) = mpsc::channel(1);
    let keeper = Arc::clone(keeper);
    keeper.tasks.clone().spawn(async move {
        loop {
            tokio::select! {
                () = keeper.stop.cancelled() => return,
                kick = inbox.recv() => if kick.is_none() { return },
            }
            // In a task of its own, so that a panic stays in there; the hook has logged it.
            match tokio::spawn(duty(Arc::clone(&keeper))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(duty = name, %error, "a duty could not be done"),
                Err(_) => tracing::debug!(duty = name, "a duty panicked"),
            }
        }
    });
    kicks
}

fn kick_sweep(keeper: &Keeper) -> Result<(), StoreError> {
    keeper.wake.notify_one();
    Ok(())
}

async fn heartbeat(keeper: Arc<Keeper>) -> Result<(), StoreError> {
    let mut counts = Counts::default();
    let mut next_refresh_at = None;
    for oa in keeper.store.statuses(keeper.settings.managed.clone(), keeper.now()).await? {
        *match oa.state {
            State::AwaitingGrant => &mut counts.awaiting_grant,
            State::Scheduled => &mut counts.scheduled,
            State::Retrying => &mut counts.retrying,
            State::Presenting => &mut counts.presenting,
            State::Uncertain => &mut counts.uncertain,
            State::ReauthorizationRequired => &mut counts.reauthorization_required,
            State::Blocked => &mut counts.blocked,
            State::Unmanaged => &mut counts.unmanaged,
        } += 1;
        next_refresh_at = next_refresh_at.into_iter().chain(oa.next_refresh_at).min();
    }
    events::fleet_heartbeat(&counts, next_refresh_at, keeper.lines_dropped.count());
    Ok(())
}

/// Says what is due on the ladder of reminders.
async fn audit(keeper: Arc<Keeper>) -> Result<(), StoreError> {
    let ladder = keeper.settings.remind.clone();
    for (oa_id, reminder) in keeper.store.take_reminders(ladder, keeper.now()).await? {
        events::refresh_token_expiring(&oa_id, &reminder);
    }
    Ok(())
}

async fn prune(keeper: Arc<Keeper>) -> Result<(), StoreError> {
    let gone = keeper.store.prune(keeper.settings.keep_history, keeper.now()).await?;
    tracing::debug!(gone, "old journal rows are pruned");
    Ok(())
}
