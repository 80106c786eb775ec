//! Events to programs of this machine: one task a `[[publish]]` with an `exec`.
//!
//! The events of one OA are told one after the other, each run by itself, and a run that failed is repeated before the next.
//! Over all hooks so many run at once; what waits is bounded, and the oldest goes. Nobody else waits for a hook.

mod output;
mod run;
mod words;

use std::collections::{BTreeMap, VecDeque};
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
use run::{Ended, Run};

/// How many hooks run at once, over all publishers.
pub(super) const AT_ONCE: usize = 8;
/// How many events of one OA wait.
const MOST_WAITING: usize = 16;
/// How many events wait in all.
const MOST_IN_ALL: usize = 10_000;
/// How many events are read at once.
const READ: usize = 256;

/// Runs the hook for each event that comes, until there is no such hook any more, or the daemon stops. What waited then is
/// not run any more.
pub(super) async fn work(
    around: Around,
    mut settings: watch::Receiver<Arc<Section<Hook>>>,
    mut feed: FeedReader,
    permits: Arc<Semaphore>,
) {
    let section = settings.borrow_and_update().clone();
    let mut worker = Worker {
        around,
        section,
        lines: BTreeMap::new(),
        ready: VecDeque::new(),
        again: Agenda::default(),
        count: 0,
        running: JoinSet::new(),
        troubles: Troubles::default(),
    };
    let mut is_retired = false;
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
            changed = settings.changed(), if !is_retired => match changed {
                Ok(()) => worker.section = settings.borrow_and_update().clone(),
                Err(_) => is_retired = true,
            },
            read = feed.next(READ), if !is_retired => worker.take_in(read),
            () = tokio::time::sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {
                worker.retry();
            }
            Ok(permit) = Arc::clone(&permits).acquire_owned(), if !worker.ready.is_empty() => {
                worker.start(permit);
            }
        }
        if is_retired && worker.lines.is_empty() {
            return;
        }
    }
    while let Some(ended) = worker.running.join_next().await {
        if let Ok((line, ended)) = ended {
            worker.conclude(line, ended);
        }
    }
}

/// Whose events wait in one line: an OA's, or those that are about none.
type Whose = Option<OaId>;

/// The events of one OA that wait. The first may be under way.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Arc<Happening>>,
    failures: u32,
}

struct Worker {
    around: Around,
    section: Arc<Section<Hook>>,
    lines: BTreeMap<Whose, Line>,
    /// Those whose first event may be run.
    ready: VecDeque<Whose>,
    /// Those whose first event failed, and is run again.
    again: Agenda<Whose>,
    /// How many events wait in all.
    count: usize,
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
        if self.count >= MOST_IN_ALL {
            let detail = format!("{MOST_IN_ALL} events wait; those that come now are dropped");
            return self.troubles.failed(&self.section.name, None, &detail, None);
        }
        let line = self.lines.entry(whose.clone()).or_default();
        line.waiting.push_back(event);
        self.count += 1;
        if line.waiting.len() == 1 {
            self.ready.push_back(whose);
        } else if line.waiting.len() > MOST_WAITING {
            // The first may be under way.
            line.waiting.remove(1);
            self.count -= 1;
            let detail = format!("{MOST_WAITING} events wait; the oldest are dropped");
            self.troubles.failed(&self.section.name, whose.as_ref(), &detail, None);
        }
    }

    /// Starts the next run.
    fn start(&mut self, permit: OwnedSemaphorePermit) {
        let Some(whose) = self.ready.pop_front() else { return };
        let Some(line) = self.lines.get(&whose) else { return };
        let Some(event) = line.waiting.front().cloned() else { return };
        let (around, section) = (self.around.clone(), Arc::clone(&self.section));
        self.running.spawn(async move {
            let _permit = permit;
            let ended = run(&around, &section.of, &whose, &event).await;
            (whose, ended)
        });
    }

    fn conclude(&mut self, whose: Whose, ended: Ended) {
        let Ended { outcome, said } = ended;
        said.iter().for_each(|line| events::said(&self.section.name, whose.as_ref(), line));
        let Some(line) = self.lines.get_mut(&whose) else { return };
        match outcome {
            Ok(()) => self.troubles.worked(&self.section.name, whose.as_ref()),
            Err(detail) => {
                line.failures += 1;
                let wait = backoff::of_hook(line.failures);
                let retry_at = wait.map(|wait| self.around.clock.now().plus(wait));
                self.troubles.failed(&self.section.name, whose.as_ref(), &detail, retry_at);
                if let Some(wait) = wait {
                    self.again.put(whose, Instant::now() + wait);
                    return;
                }
            }
        }
        line.waiting.pop_front();
        self.count -= 1;
        line.failures = 0;
        if line.waiting.is_empty() {
            self.lines.remove(&whose);
        } else {
            self.ready.push_back(whose);
        }
    }

    fn retry(&mut self) {
        self.ready.extend(self.again.take_due(Instant::now(), AT_ONCE));
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
