//! The daemon's life: start, recover, work, drain.

use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::claims::Claims;
use super::settings::Settings;
use super::{Keeper, duties, events, health, recovery, signals};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::rotation::Reason;
use crate::store::{OpenError, State, StoreError};
use crate::telemetry::LinesDropped;
use crate::zalo::{ClientError, Door};

/// How many questions about uncertain attempts are under way at once.
const MOST_QUESTIONS: usize = 16;

/// Why the daemon did not start, or had to end, by what has to be done about it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store cannot or must not be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store is not one that can be worked with.
    #[error("{0}")]
    Unusable(String),
    /// No HTTP client can be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A cron expression is not accepted by the scheduler.
    #[error("[schedule] is not accepted: {0}")]
    Schedule(#[from] tokio_cron_scheduler::JobSchedulerError),
    /// The system refuses a thread or a signal handler.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// The store failed in a way that a restart may mend.
    #[error("the store ended unexpectedly: {0}")]
    Ended(#[from] StoreError),
    /// A fault of the program.
    #[error("{0}; please report this")]
    Internal(String),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, or when the store is lost under it.
pub async fn run(config: Config, lines_dropped: LinesDropped) -> Result<(), RunError> {
    let stop = CancellationToken::new();
    let listener = signals::listen(stop.clone())?;
    let oas = config.oas.len();
    events::daemon_started(oas);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let door = open_door(&config, Arc::clone(&clock))?;
    let Some(opened) = recovery::open_and_recover(&config, &clock, &stop).await? else {
        events::daemon_stopped(oas);
        return Ok(());
    };
    let (store, store_thread) = opened.start()?;
    let keeper = Arc::new(Keeper {
        store,
        door,
        clock,
        settings: Settings::of(&config),
        claims: Claims::default(),
        doubts: Mutex::default(),
        measuring: Mutex::default(),
        questions: Arc::new(Semaphore::new(MOST_QUESTIONS)),
        wake: Notify::new(),
        stop: stop.clone(),
        tasks: TaskTracker::new(),
        lines_dropped,
    });
    if prepare(&keeper).await? {
        let mut scheduler = duties::start(&keeper, &config.schedule).await?;
        keeper.tasks.spawn(health::watch(Arc::clone(&keeper)));
        events::daemon_ready(oas);
        keeper.sweep_until_stopped().await;
        scheduler.shutdown().await?;
    }

    let was_asked_to = keeper.is_stopping();
    events::daemon_stopping(oas);
    stop.cancel();
    // Whatever is past the gate is finished and stored, or safe in its slot, before this returns.
    keeper.tasks.close();
    keeper.tasks.wait().await;
    drop(listener);
    drop(keeper);
    let ended = tokio::task::spawn_blocking(move || store_thread.join()).await;
    if !was_asked_to || !matches!(ended, Ok(Ok(()))) {
        return Err(RunError::Ended(StoreError::Closed));
    }
    events::daemon_stopped(oas);
    Ok(())
}

/// The door to Zalo that this config wants.
///
/// # Errors
/// When the CA file or the system's certificates cannot be used.
pub fn open_door(config: &Config, clock: Arc<dyn Clock>) -> Result<Door, ClientError> {
    let needs_tls =
        config.apps.values().any(|app| app.token_url.scheme() == "https" || app.api_url.scheme() == "https");
    Door::new(config.http.proxy.as_ref(), config.http.ca_file.as_deref(), needs_tls, clock)
}

/// Brings the store up to the config, once it takes writes. `false`: it is time to stop.
async fn prepare(keeper: &Keeper) -> Result<bool, StoreError> {
    let mut patience = recovery::Patience::new(&keeper.stop);
    loop {
        let prepared = match keeper.store.manage(keeper.settings.managed.clone()).await {
            Ok(()) => keeper.store.allow_trials(keeper.now()).await,
            Err(error) => Err(error),
        };
        match prepared {
            Ok(()) => break,
            Err(StoreError::Unavailable(what)) if patience.wait(&what).await => {}
            Err(StoreError::Unavailable(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    patience.end();
    for oa in keeper.store.statuses(keeper.settings.managed.clone(), keeper.now()).await? {
        if oa.reason == Some(Reason::AppChanged.to_string()) {
            events::app_changed(&oa.oa_id);
        } else if oa.state == State::AwaitingGrant {
            events::awaiting_grant(&oa.oa_id);
        }
        if oa.reason == Some(Reason::RowUnreadable.to_string()) {
            events::oa_unreadable(&oa.oa_id, "its row lacks a part of its state");
        }
    }
    Ok(true)
}
