//! The consumers' API: opened here, and what the keeper does for it.
//!
//! It answers on threads of its own: whoever reads a token does not wait behind the tasks of a herd of refreshes, and the
//! refreshes not behind a crowd of readers. What it asks of the keeper is done where all the keeper's work is, and ends with
//! that.

use std::future::Future;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::control::protocol::Reply;
use super::control::refresh::{self, Asker, Wish};
use super::{FAULT, Keeper, events};
use crate::api::{Alive, Api, Asked, BoxFuture, Desk, Dismissed, Enlisted, Listeners, Occasion, Parts};
use crate::authorize::NoConsent;
use crate::clock::{Moment, Time};
use crate::config;
use crate::id::{AppId, Fleet, Managed, OaId, VendorId};
use crate::oauth::{GrantedTokens, appsecret_proof};
use crate::rotation::Testimony;
use crate::secret::Secret;
use crate::store::{Health, Held, Import, Imported, StoreError, ValidToken};

/// Opens the API, if the config wants one, and has it answer until the daemon stops. That it cannot be opened is no reason
/// not to refresh. To be called only by who holds the store's lock.
pub(super) fn open(
    keeper: &Arc<Keeper>,
    config: Option<&config::Api>,
    inherited: Option<UnixListener>,
) -> Option<Arc<Api>> {
    let config = config?;
    let own_threads = OwnThreads::start().map_err(|error| error.to_string());
    let opened = own_threads.and_then(|own_threads| {
        let listeners = own_threads.within(|| Listeners::open(config, inherited));
        let listeners = listeners.map_err(|error| error.to_string())?;
        let reader = keeper.store.reader().map_err(|error| error.to_string())?;
        let desk = KeepersDesk {
            keeper: Arc::clone(keeper),
            questions: Semaphore::new(MOST_QUESTIONS),
            keepers_threads: Handle::current(),
        };
        let parts = Parts {
            desk: Arc::new(desk),
            reader,
            clock: Arc::clone(&keeper.clock),
            log: keeper.log.clone(),
            stop: keeper.stop.clone(),
        };
        let api = Api::new(parts, config);
        keeper.store.observe_commits(api.commit_observer());
        Ok((api, listeners, own_threads))
    });
    match opened {
        Ok((api, listeners, own_threads)) => {
            let serving = Arc::clone(&api).serve(listeners, config.max_connections);
            keeper.tasks.spawn(own_threads.do_whole(serving));
            Some(api)
        }
        Err(what) => {
            events::api_unavailable(&what);
            None
        }
    }
}

/// How many threads answer programs: one, which takes what has come in together, answers more a second than two that wake each
/// other.
const THREADS: usize = 1;

/// Threads of the API's own.
struct OwnThreads(Option<Runtime>);

impl OwnThreads {
    fn start() -> std::io::Result<OwnThreads> {
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        threads.worker_threads(THREADS).thread_name("api").enable_all().build().map(Some).map(OwnThreads)
    }

    /// What is opened in there is theirs.
    fn within<T>(&self, open: impl FnOnce() -> T) -> T {
        let _within = self.0.as_ref().map(Runtime::enter);
        open()
    }

    /// Does it on these threads, which end with it.
    async fn do_whole(self, work: impl Future<Output = ()> + Send + 'static) {
        let begun = self.0.as_ref().map(|threads| threads.spawn(work));
        if let Some(begun) = begun
            && begun.await.is_err()
        {
            tracing::debug!("the API panicked");
        }
    }
}

impl Drop for OwnThreads {
    fn drop(&mut self) {
        if let Some(threads) = self.0.take() {
            // Whoever drops this must not wait.
            threads.shutdown_background();
        }
    }
}

/// How many questions about tokens that programs report are under way at once. Permits of their own: however many are
/// reported, an uncertain OA waits for none of them.
const MOST_QUESTIONS: usize = 16;

/// The keeper, as the API sees it.
struct KeepersDesk {
    keeper: Arc<Keeper>,
    questions: Semaphore,
    keepers_threads: Handle,
}

impl KeepersDesk {
    /// Does it whole among the keeper's work, also if whoever asked for it goes away in the middle: what is in the store is
    /// then also told.
    async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.keeper.tasks.spawn_on(work, &self.keepers_threads).await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Who waits for no words, and may go without a word.
struct Silent;

impl Asker for Silent {
    async fn tell(&mut self, _: &str) {}

    async fn gone(&mut self) {
        std::future::pending().await
    }
}

impl Desk for KeepersDesk {
    fn managed(&self, oa_id: &OaId) -> Option<Managed> {
        self.keeper.managed(oa_id)
    }

    fn vendor_of(&self, oa_id: &OaId) -> Option<VendorId> {
        self.keeper.vendor_of(oa_id)
    }

    fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.keeper.settings().managed)
    }

    fn undurable(&self, oa_id: &OaId) -> Option<ValidToken> {
        self.keeper.undurable.of(oa_id)
    }

    fn appsecret_proof(&self, oa_id: &OaId, access_token: &Secret) -> Option<String> {
        let app_id = self.keeper.managed(oa_id)?.app_id;
        let settings = self.keeper.settings();
        Some(appsecret_proof(&settings.apps.get(&app_id)?.secret_key, access_token))
    }

    fn consent_link(&self, oa_id: &OaId) -> Option<String> {
        self.keeper.consent_link(oa_id)
    }

    fn started_at(&self) -> Time {
        self.keeper.started.time
    }

    fn store_failure(&self) -> Option<String> {
        match &*self.keeper.store.health().borrow() {
            Health::Well => None,
            Health::Failed(what) => Some(what.clone()),
        }
    }

    fn refresh(&self, oa_id: OaId, generation: Option<u64>, occasion: Occasion) -> BoxFuture<'_, Asked> {
        Box::pin(async move {
            let (spares_blocked, spares_retrying) = match occasion {
                Occasion::Order => (false, false),
                Occasion::Refused => (true, false),
                Occasion::TooOld => (true, true),
            };
            let wish = Wish { generation, spares_blocked, spares_retrying, ..Wish::default() };
            let keeper = Arc::clone(&self.keeper);
            let waiting = async move { refresh::run(&keeper, &oa_id, wish, &mut Silent).await };
            // What it begins is the keeper's own; only the waiting ends with who waits, and else might never.
            let waiting = self.keeper.tasks.spawn_on(waiting, &self.keepers_threads);
            match AbortOnDropHandle::new(waiting).await {
                Ok(Reply::Done { .. }) => Asked::Refreshed,
                Ok(Reply::Failed { text }) => Asked::Failed(text),
                Ok(Reply::NotNow { text }) => Asked::NotNow(text),
                Ok(
                    Reply::Progress { .. } | Reply::Link { .. } | Reply::Status(_) | Reply::Undurable { .. },
                )
                | Err(_) => Asked::NotNow(FAULT.to_owned()),
            }
        })
    }

    fn probe(&self, oa_id: OaId, held: Arc<Held>) -> BoxFuture<'_, Alive> {
        Box::pin(async move {
            let settings = self.keeper.settings();
            let app = self.keeper.managed(&oa_id).and_then(|managed| settings.apps.get(&managed.app_id));
            let Some(endpoint) = app else {
                return Alive::Unclear("the config does not have its app".to_owned());
            };
            let Ok(_permit) = self.questions.acquire().await else {
                return Alive::Unclear("the daemon is stopping".to_owned());
            };
            match settings.door.probe(&endpoint.api_url, &held.access_token, &oa_id).await {
                Testimony::Accepted => Alive::Yes,
                Testimony::Refused(_) => Alive::No,
                Testimony::Unclear(what) => Alive::Unclear(what),
            }
        })
    }

    fn enlist(
        &self,
        oa_id: OaId,
        app_id: AppId,
        name: Option<String>,
    ) -> BoxFuture<'_, Result<Enlisted, StoreError>> {
        let keeper = Arc::clone(&self.keeper);
        Box::pin(self.whole(async move {
            let _alone = keeper.managing.write().await;
            if keeper.vendor_of(&oa_id).is_some() {
                return Ok(Enlisted::InConfig);
            }
            if !keeper.settings().apps.contains_key(&app_id) {
                return Ok(Enlisted::NoSuchApp);
            }
            let managed = Managed { app_id, name: name.map(String::into_boxed_str) };
            let (timing, now) = (keeper.timing(), keeper.now());
            if !keeper.store.enlist(oa_id.clone(), managed.clone(), timing, now).await? {
                return Ok(Enlisted::InConfig);
            }
            if keeper.by_program().insert(oa_id.clone(), managed.clone()).as_ref() != Some(&managed) {
                events::oa_enlisted(&oa_id, &managed.app_id);
            }
            keeper.publishers.manage(&oa_id);
            keeper.wake.notify_one();
            Ok(Enlisted::Done)
        }))
    }

    fn dismiss(&self, oa_id: OaId) -> BoxFuture<'_, Result<Dismissed, StoreError>> {
        let keeper = Arc::clone(&self.keeper);
        Box::pin(self.whole(async move {
            let _alone = keeper.managing.write().await;
            if keeper.settings().managed.contains_key(&oa_id) || keeper.vendor_of(&oa_id).is_some() {
                return Ok(Dismissed::InConfig);
            }
            if !keeper.store.dismiss(oa_id.clone()).await? {
                return Ok(Dismissed::Unknown);
            }
            keeper.by_program().remove(&oa_id);
            keeper.publishers.leave(&oa_id);
            events::oa_dismissed(&oa_id);
            Ok(Dismissed::Done)
        }))
    }

    fn consent(&self, oa_id: OaId) -> BoxFuture<'_, Result<Url, NoConsent>> {
        let keeper = Arc::clone(&self.keeper);
        // Among the keeper's own work: it may have to ask a vendor.
        let begun = self
            .keeper
            .tasks
            .spawn_on(async move { keeper.begin_consent(&oa_id).await }, &self.keepers_threads);
        Box::pin(async move { begun.await.unwrap_or_else(|_| Err(NoConsent::NotNow(FAULT.to_owned()))) })
    }

    fn consent_origins(&self) -> Vec<String> {
        self.keeper.consent_origins()
    }

    fn import(
        &self,
        oa_id: OaId,
        tokens: GrantedTokens,
    ) -> BoxFuture<'_, Result<Option<Imported>, StoreError>> {
        let keeper = Arc::clone(&self.keeper);
        Box::pin(self.whole(async move {
            // Nobody dismisses it meanwhile.
            let _together = keeper.managing.read().await;
            let Some(managed) = keeper.managed(&oa_id) else { return Ok(None) };
            let now = keeper.read_clock();
            let import = Import {
                oa_id,
                app_id: managed.app_id,
                name: managed.name.map(String::from),
                tokens,
                obtained: Moment::at(&now),
            };
            let imported = keeper.store.import(Arc::new(import), keeper.timing(), now).await?;
            // It is announced as every import is.
            keeper.wake.notify_one();
            Ok(Some(imported))
        }))
    }
}
