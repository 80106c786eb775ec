//! Events to programs of this machine: one task a `[[publish]]` with an `exec`.
//!
//! The events of one OA are told one after the other, each run by itself, and a run that failed is repeated before the next.
//! Of each hook so many run at once; what waits is bounded, and the oldest goes. Nobody else waits for a hook.

mod output;
mod queue;
mod run;
mod words;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::agenda::Agenda;
use super::trouble::Troubles;
use super::{Around, Section, backoff, events};
use crate::config::Hook;
use crate::id::OaId;
use crate::telemetry::feed::{FeedReader, Happening, Read};
use queue::{MOST_IN_ALL, MOST_WAITING, Pushed, Queue, Whose};
use run::{Ended, Run};

/// How often a hook runs at once, for several OAs. No other hook waits for one that hangs.
const AT_ONCE: usize = 8;
/// How many events are read at once.
const READ: usize = 256;

/// Runs the hook for each event that comes, until there is no such hook any more, or the daemon stops. What waited then is
/// not run any more.
pub(super) async fn work(
    around: Around,
    mut settings: watch::Receiver<Arc<Section<Hook>>>,
    mut feed: FeedReader,
) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let section = settings.borrow_and_update().clone();
    let mut worker = Worker {
        around,
        section,
        queue: Queue::default(),
        again: Agenda::default(),
        running: JoinSet::new(),
        troubles: Troubles::default(),
    };
    loop {
        let retry = worker.again.next();
        tokio::select! {
            biased;
            Some(ended) = worker.running.join_next() => {
                if let Ok((line, ended)) = ended {
                    worker.conclude(line, ended);
                }
            }
            () = worker.around.stop.cancelled() => break,
            changed = settings.changed() => match changed {
                Ok(()) => worker.section = settings.borrow_and_update().clone(),
                Err(_) => break,
            },
            read = feed.next(READ) => worker.take_in(read),
            () = tokio::time::sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {
                worker.retry();
            }
            Ok(permit) = Arc::clone(&permits).acquire_owned(), if worker.queue.has_ready() => {
                worker.start(permit);
            }
        }
    }
    while let Some(ended) = worker.running.join_next().await {
        if let Ok((line, ended)) = ended {
            worker.conclude(line, ended);
        }
    }
}

struct Worker {
    around: Around,
    section: Arc<Section<Hook>>,
    queue: Queue,
    /// Whose event failed and is run again.
    again: Agenda<Whose>,
    running: JoinSet<(Whose, Ended)>,
    troubles: Troubles,
}

impl Worker {
    fn take_in(&mut self, read: Read) {
        let happenings = match read {
            Read::Events(happenings) => happenings,
            Read::Missed(count) => {
                let detail = format!("{count} events came too fast, and were not looked at");
                self.troubles.failed(&self.section.name, None, &detail, None);
                return;
            }
        };
        for event in happenings {
            let whose = event.oa_id.as_deref().map(OaId::from);
            if self.section.of.events.contains(&*event.event) && self.section.is_about(whose.as_ref()) {
                self.enqueue(whose, event);
            }
        }
    }

    fn enqueue(&mut self, whose: Whose, event: Arc<Happening>) {
        let name = &self.section.name;
        match self.queue.push(whose.clone(), event) {
            Pushed::Waits => {}
            Pushed::InPlaceOfTheOldest => {
                let detail = format!("{MOST_WAITING} events wait; the oldest are dropped");
                self.troubles.failed(name, whose.as_ref(), &detail, None);
            }
            Pushed::Dropped => {
                let detail = format!("{MOST_IN_ALL} events wait; those that come now are dropped");
                self.troubles.failed(name, None, &detail, None);
            }
        }
    }

    /// Starts the next run.
    fn start(&mut self, permit: OwnedSemaphorePermit) {
        let Some((whose, event)) = self.queue.next() else { return };
        let (around, section) = (self.around.clone(), Arc::clone(&self.section));
        self.running.spawn(async move {
            let ended = run(&around, &section.of, &whose, &event).await;
            drop(permit);
            (whose, ended)
        });
    }

    fn conclude(&mut self, whose: Whose, ended: Ended) {
        let Ended { outcome, said } = ended;
        let name = &self.section.name;
        said.iter().for_each(|line| events::said(name, whose.as_ref(), line));
        match outcome {
            Ok(()) => self.troubles.worked(name, whose.as_ref()),
            Err(detail) => {
                let is_over = self.around.stop.is_cancelled();
                let wait = backoff::of_hook(self.queue.failed(&whose)).filter(|_| !is_over);
                let retry_at = wait.map(|wait| self.around.clock.now().plus(wait));
                self.troubles.failed(name, whose.as_ref(), &detail, retry_at);
                if let Some(wait) = wait {
                    return self.again.put(whose, Instant::now() + wait);
                }
            }
        }
        self.queue.done(whose);
    }

    fn retry(&mut self) {
        let due = self.again.take_due(Instant::now(), AT_ONCE);
        due.into_iter().for_each(|whose| self.queue.again(whose));
    }
}

async fn run(around: &Around, hook: &Hook, whose: &Whose, event: &Happening) -> Ended {
    let token = match whose.as_ref().filter(|_| hook.token) {
        Some(oa_id) => match around.reader.held(oa_id).await {
            Ok(held) => held.filter(|held| held.valid_until(&around.clock.read()).is_some()),
            Err(error) => {
                return Ended {
                    outcome: Err(format!("its token cannot be read: {error}")),
                    said: Vec::new(),
                };
            }
        },
        None => None,
    };
    let token = token.map(|held| held.access_token.clone());
    let run = Run {
        command: words::command(&hook.command, event),
        environment: words::environment(event),
        input: words::input(event, token.as_ref()),
        token,
        timeout: hook.timeout,
    };
    run.run(&around.stop).await
}
