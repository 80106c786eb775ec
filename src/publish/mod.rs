//! The consumers' side that asks for nothing: tokens in files, events to programs and servers.
//!
//! Each `[[publish]]` has a task of its own. It reads the store's durable truth and the log's events; no refresh knows of it,
//! and none waits for it. A reload replaces what is different and leaves the rest at work. What fails is said once
//! (`publish.failed`) and tried again.
//!
//! May import `store`, `config`, `telemetry`, `clock`, `id`, `secret` and `failpoint`.

mod agenda;
mod backoff;
mod events;
mod exec;
mod file;
#[cfg(test)]
mod tests;
mod trouble;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::{Config, Hook, Publisher, TokenFile};
use crate::id::{Fleet, OaId};
use crate::secret::Digest;
use crate::store::{Reader, Store, StoreError};
use crate::telemetry::Feed;
use webhook::Webhook;

/// How long a stop waits for what is handed out at that moment. Longer than a hook may go on then.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// How soon old files are looked for again when the store could not be read.
const CLEAN_AGAIN: Duration = Duration::from_secs(1);

/// No HTTP client can be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}; install the system's CA certificates (package ca-certificates), or set [http] ca_file right")]
pub struct UnusableClient(String);

/// Why it cannot be published as the config wants it.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No HTTP client can be made.
    #[error(transparent)]
    Client(#[from] UnusableClient),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What every publisher works with.
#[derive(Clone)]
struct Around {
    store: Store,
    reader: Reader,
    clock: Arc<dyn Clock>,
    scope: watch::Receiver<Arc<Scope>>,
    stop: CancellationToken,
}

/// Which OAs are managed at all.
#[derive(Default)]
struct Scope {
    by_config: Arc<Fleet>,
    /// Those that programs manage, whoever looks.
    by_program: Arc<RwLock<BTreeSet<OaId>>>,
}

impl Scope {
    fn has(&self, oa_id: &OaId) -> bool {
        let by_program = || self.by_program.read().unwrap_or_else(PoisonError::into_inner).contains(oa_id);
        self.by_config.contains_key(oa_id) || by_program()
    }

    fn change_by_program(&self) -> RwLockWriteGuard<'_, BTreeSet<OaId>> {
        self.by_program.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One `[[publish]]`.
struct Section<T> {
    /// What the log calls it.
    name: String,
    oas: Option<BTreeSet<OaId>>,
    of: T,
}

impl<T> Section<T> {
    /// Is it published of this OA, or with `None`, what is about no OA?
    fn is_about(&self, oa_id: Option<&OaId>) -> bool {
        self.oas.as_ref().is_none_or(|oas| oa_id.is_some_and(|oa_id| oas.contains(oa_id)))
    }
}

/// The way to the settings of a publisher at work; it retires when this is dropped.
type Handle<T> = watch::Sender<Arc<Section<T>>>;

/// The publishers at work, by what makes them the same after a reload.
#[derive(Default)]
struct AtWork {
    has_begun: bool,
    files: BTreeMap<PathBuf, (Handle<TokenFile>, JoinHandle<()>)>,
    /// By command; of several with the same, by their order.
    hooks: BTreeMap<(Vec<String>, usize), Handle<Hook>>,
    webhooks: BTreeMap<Digest, (Handle<Webhook>, JoinHandle<()>)>,
    /// How often the config was taken over.
    times: u64,
}

/// What a config wants to be published, ready to begin.
pub struct Prepared {
    files: Vec<Section<TokenFile>>,
    hooks: Vec<Section<Hook>>,
    webhooks: Vec<Section<Webhook>>,
    fleet: Arc<Fleet>,
}

/// All publishers.
pub struct Publishers {
    store: Store,
    reader: OnceLock<Reader>,
    clock: Arc<dyn Clock>,
    feed: Feed,
    scope: watch::Sender<Arc<Scope>>,
    at_work: Mutex<AtWork>,
    /// After how many times that the config was taken over the files of earlier ones are gone.
    cleaned: watch::Sender<u64>,
    tasks: TaskTracker,
    /// No new work.
    stop: CancellationToken,
    /// Whatever still hangs is left behind.
    leave: CancellationToken,
}

impl Publishers {
    /// None is at work yet.
    pub fn new(store: Store, clock: Arc<dyn Clock>, feed: Feed) -> Publishers {
        Publishers {
            store,
            reader: OnceLock::new(),
            clock,
            feed,
            scope: watch::Sender::default(),
            at_work: Mutex::default(),
            cleaned: watch::Sender::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            leave: CancellationToken::new(),
        }
    }

    /// Makes everything that can fail.
    ///
    /// # Errors
    /// When it cannot be published so; nothing has changed then.
    pub async fn prepare(&self, config: &Config) -> Result<Prepared, PublishError> {
        let has_work = !config.publish.is_empty() || self.store.has_published().await?;
        if has_work && self.reader.get().is_none() {
            // Of two that are made at once, one is dropped.
            drop(self.reader.set(self.store.reader()?));
        }
        let mut prepared = Prepared {
            files: Vec::new(),
            hooks: Vec::new(),
            webhooks: Vec::new(),
            fleet: Arc::clone(&config.oas),
        };
        for publish in &config.publish {
            let (name, oas) = (publish.to.name(), publish.oas.clone());
            match publish.to.clone() {
                Publisher::File(of) => prepared.files.push(Section { name, oas, of }),
                Publisher::Exec(of) => prepared.hooks.push(Section { name, oas, of }),
                Publisher::Webhook(of) => {
                    prepared.webhooks.push(Section { name, oas, of: Webhook::new(of, &config.http)? });
                }
            }
        }
        Ok(prepared)
    }

    /// Goes over to what was prepared.
    pub fn go_over_to(&self, prepared: Prepared) {
        let Prepared { files, hooks, webhooks, fleet } = prepared;
        let by_program = Arc::clone(&self.scope.borrow().by_program);
        self.scope.send_replace(Arc::new(Scope { by_config: fleet, by_program }));
        let mut at_work = lock(&self.at_work);
        at_work.times += 1;
        let mut retired = self.take_over_files(&mut at_work, files);
        self.take_over_hooks(&mut at_work, hooks);
        retired.extend(self.take_over_webhooks(&mut at_work, webhooks));
        at_work.has_begun = true;
        self.clean(&at_work, retired);
    }

    /// Programs manage these OAs, and no others.
    pub fn manage_all(&self, oas: BTreeSet<OaId>) {
        let scope = Arc::clone(&self.scope.borrow());
        let before = std::mem::replace(&mut *scope.change_by_program(), oas.clone());
        before.symmetric_difference(&oas).for_each(|oa_id| self.store.note_managed(oa_id));
    }

    /// A program manages this OA as well.
    pub fn manage(&self, oa_id: &OaId) {
        if self.scope.borrow().change_by_program().insert(oa_id.clone()) {
            self.store.note_managed(oa_id);
        }
    }

    /// No program manages this OA any more.
    pub fn leave(&self, oa_id: &OaId) {
        if self.scope.borrow().change_by_program().remove(oa_id) {
            self.store.note_managed(oa_id);
        }
    }

    /// Hands out what there is to be handed out at this moment, and ends. What hangs is left behind.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(LAST_PATIENCE, self.tasks.wait()).await.is_err() {
            self.leave.cancel();
            self.tasks.wait().await;
        }
    }

    fn take_over_files(&self, at_work: &mut AtWork, files: Vec<Section<TokenFile>>) -> Vec<JoinHandle<()>> {
        let mut before = std::mem::take(&mut at_work.files);
        for section in files {
            let path = section.of.path.clone();
            let kept = before.remove(&path);
            let section = Arc::new(section);
            if let Some((handle, task)) = kept.filter(|(_, task)| !task.is_finished()) {
                handle.send_replace(section);
                at_work.files.insert(path, (handle, task));
                continue;
            }
            let (handle, settings) = watch::channel(section);
            let Some(around) = self.around() else { continue };
            let task = self.spawn_after_cleaning(at_work, file::work(around, settings));
            at_work.files.insert(path, (handle, task));
        }
        before.into_values().map(|(_, task)| task).collect()
    }

    fn take_over_hooks(&self, at_work: &mut AtWork, hooks: Vec<Section<Hook>>) {
        let mut before = std::mem::take(&mut at_work.hooks);
        for section in hooks {
            let command = &section.of.command;
            let count = at_work.hooks.keys().filter(|(other, _)| other == command).count();
            let key = (command.clone(), count);
            let section = Arc::new(section);
            let handle = match before.remove(&key).filter(|handle| !handle.is_closed()) {
                Some(handle) => {
                    handle.send_replace(section);
                    handle
                }
                None => {
                    let (handle, settings) = watch::channel(section);
                    let Some(around) = self.around() else { continue };
                    self.spawn(exec::work(around, settings, self.read_feed(at_work)));
                    handle
                }
            };
            at_work.hooks.insert(key, handle);
        }
    }

    fn take_over_webhooks(
        &self,
        at_work: &mut AtWork,
        webhooks: Vec<Section<Webhook>>,
    ) -> Vec<JoinHandle<()>> {
        let mut before = std::mem::take(&mut at_work.webhooks);
        for section in webhooks {
            let key = section.of.key();
            let section = Arc::new(section);
            if let Some((handle, task)) = before.remove(&key).filter(|(_, task)| !task.is_finished()) {
                handle.send_replace(section);
                at_work.webhooks.insert(key, (handle, task));
                continue;
            }
            let (handle, settings) = watch::channel(section);
            let Some(around) = self.around() else { continue };
            let feed = self.read_feed(at_work);
            let task = self.spawn_after_cleaning(at_work, webhook::work(around, settings, feed));
            at_work.webhooks.insert(key, (handle, task));
        }
        before.into_values().map(|(_, task)| task).collect()
    }

    /// What was said since the start as well, if this is the start.
    fn read_feed(&self, at_work: &AtWork) -> crate::telemetry::feed::FeedReader {
        if at_work.has_begun { self.feed.read() } else { self.feed.read_after(0) }
    }

    /// Removes what publishers left that there are no more, once those have ended.
    fn clean(&self, at_work: &AtWork, retired: Vec<JoinHandle<()>>) {
        let Some(around) = self.around() else {
            // Nobody was ever published to.
            self.cleaned.send_replace(at_work.times);
            return;
        };
        let templates: Vec<PathBuf> = at_work.files.keys().cloned().collect();
        let webhooks: Vec<Digest> = at_work.webhooks.keys().copied().collect();
        let (cleaned, times) = (self.cleaned.clone(), at_work.times);
        self.spawn(async move {
            let earlier = async {
                let mut cleaned = cleaned.subscribe();
                cleaned.wait_for(|cleaned| *cleaned >= times - 1).await.map(drop)
            };
            if earlier.await.is_err() {
                return;
            }
            for task in retired {
                // A panic of its own the log has told; and for one that hangs nobody waits.
                tokio::time::timeout(LAST_PATIENCE, task).await.ok();
            }
            loop {
                let files = file::remove_foreign(&around, &templates).await;
                let both = match files {
                    Ok(()) => around.store.keep_webhooks(webhooks.clone()).await,
                    Err(error) => Err(error),
                };
                let Err(error) = both else { break };
                tracing::debug!(%error, "what is not published any more waits for the store");
                tokio::select! {
                    () = tokio::time::sleep(CLEAN_AGAIN) => {}
                    () = around.stop.cancelled() => return,
                }
            }
            cleaned.send_replace(times);
        });
    }

    /// Whoever removes what publishers left that are gone may not know this one yet.
    fn spawn_after_cleaning(
        &self,
        at_work: &AtWork,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let (mut cleaned, earlier) = (self.cleaned.subscribe(), at_work.times - 1);
        self.spawn(async move {
            if cleaned.wait_for(|times| *times >= earlier).await.is_ok() {
                work.await;
            }
        })
    }

    fn around(&self) -> Option<Around> {
        Some(Around {
            store: self.store.clone(),
            reader: self.reader.get()?.clone(),
            clock: Arc::clone(&self.clock),
            scope: self.scope.subscribe(),
            stop: self.stop.clone(),
        })
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let leave = self.leave.clone();
        self.tasks.spawn(async move {
            leave.run_until_cancelled(work).await;
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
