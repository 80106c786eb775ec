//! The daemon's life: start, recover, work, drain.

use std::future::Future;
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::claims::Claims;
use super::duties::Duties;
use super::refuge::Exposed;
use super::settings::Settings;
use super::signals::Caught;
use super::systemd::Manager;
use super::told::Told;
use super::undurable::Undurable;
use super::{Keeper, api, control, duties, events, health, recovery, reload};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::failpoint;
use crate::id::Fleet;
use crate::rotation::Reason;
use crate::store::{Health, OaStatus, OpenError, State, StoreError};
use crate::telemetry::LogControl;
use crate::zalo::{ClientError, Door};

/// How many questions about uncertain attempts are under way at once.
const MOST_QUESTIONS: usize = 16;
/// At a stop, how long the store is waited for when nothing can be lost any more.
const LAST_PATIENCE: Duration = Duration::from_secs(10);
/// How often the service manager gets a new summary. Counting a large fleet costs a tenth of a second.
const REPORT: Duration = Duration::from_secs(60);

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
    /// The store does not answer, and the program has to end without it.
    #[error(
        "the disk of the store hangs, and the daemon ends without closing it; no answer is lost: what the store has not \
         taken is in its slot. Repair the disk"
    )]
    Hangs,
    /// A fault of the program.
    #[error("{0}; please report this")]
    Internal(String),
}

/// Runs until SIGTERM or SIGINT. `inherited` is the API's socket, if the service manager hands it over.
///
/// # Errors
/// When it cannot start, or when the store is lost under it.
pub async fn run(
    config: Config,
    log: LogControl,
    signals: Caught,
    inherited: Option<UnixListener>,
) -> Result<(), RunError> {
    let (stop, reload_asked) = (CancellationToken::new(), Arc::new(Notify::new()));
    let listener = signals.listen(stop.clone(), Arc::clone(&reload_asked))?;
    let oas = config.oas.len();
    events::daemon_started(oas);
    let manager = Manager::of_process();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let started = clock.read();
    let door = open_door(&config, Arc::clone(&clock))?;
    let opening = recovery::open_and_recover(&config, &clock, &stop, &manager);
    let Some(opened) = asking_for_time(&manager, opening).await? else {
        events::daemon_stopped(oas);
        return Ok(());
    };
    let (store, store_thread) = opened.start()?;
    let keeper = Arc::new(Keeper {
        store,
        clock,
        settings: RwLock::new(Arc::new(Settings::of(&config, door))),
        by_program: RwLock::default(),
        claims: Claims::default(),
        doubts: Mutex::default(),
        measuring: Mutex::default(),
        measured: Mutex::default(),
        questions: Arc::new(Semaphore::new(MOST_QUESTIONS)),
        wake: Notify::new(),
        stop: stop.clone(),
        tasks: TaskTracker::new(),
        log,
        manager,
        told: Told::default(),
        undurable: Undurable::default(),
        exposed: Exposed::default(),
        passed_over: Mutex::default(),
        day_turned: std::sync::Mutex::new(started.uptime),
        started,
    });
    if asking_for_time(&keeper.manager, prepare(&keeper)).await? {
        let duties = Arc::new(tokio::sync::Mutex::new(Duties::start(&keeper, &config.schedule).await?));
        keeper.tasks.spawn(duties::keep_pace(Arc::clone(&keeper), Arc::clone(&duties)));
        keeper.tasks.spawn(health::watch(Arc::clone(&keeper)));
        keeper.tasks.spawn(report(Arc::clone(&keeper)));
        // Only who holds the store's lock may take over the socket that an earlier run left.
        keeper.tasks.spawn(control::open(&keeper, &config.store_path));
        let api = api::open(&keeper, config.api.as_ref(), inherited);
        events::daemon_ready(oas);
        keeper.manager.ready(&keeper.summary().await);
        let reloading =
            reload::Reloader { keeper: Arc::clone(&keeper), config, duties, api, asked: reload_asked };
        keeper.tasks.spawn(reloading.run());
        keeper.sweep_until_stopped().await;
    }

    let was_asked_to = keeper.is_stopping();
    let oas = keeper.settings().managed.len();
    events::daemon_stopping(oas);
    keeper.manager.stopping();
    stop.cancel();
    // Whatever is past the gate is finished and stored, or safe in its slot, before this returns.
    keeper.tasks.close();
    if !drained(&keeper).await {
        return Err(RunError::Hangs);
    }
    drop(listener);
    drop(keeper);
    let ending = tokio::task::spawn_blocking(move || store_thread.join());
    let Ok(ended) = tokio::time::timeout(LAST_PATIENCE, ending).await else { return Err(RunError::Hangs) };
    if !was_asked_to || !matches!(ended, Ok(Ok(()))) {
        return Err(RunError::Ended(StoreError::Closed));
    }
    events::daemon_stopped(oas);
    Ok(())
}

/// Waits until all work has ended, however long a request under way or a disk that refuses its answer may take. Once
/// nothing can be lost any more, what still hangs is waited for only a while: `false`.
async fn drained(keeper: &Keeper) -> bool {
    let mut work = pin!(keeper.tasks.wait());
    let mut asking = tokio::time::interval(keeper.manager.feed_every().min(Duration::from_secs(1)));
    let mut safe_since = None;
    loop {
        tokio::select! {
            biased;
            () = &mut work => return true,
            _ = asking.tick() => {}
        }
        if keeper.holds_what_is_on_no_disk() {
            safe_since = None;
            keeper.manager.need_time();
            keeper.manager.alive();
        } else if safe_since.get_or_insert_with(Instant::now).elapsed() > LAST_PATIENCE {
            return false;
        }
    }
}

/// Awaits `work`, and asks the service manager for more time until it is done.
async fn asking_for_time<T>(manager: &Manager, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut asking = tokio::time::interval(manager.feed_every());
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = asking.tick() => {
                manager.need_time();
                manager.alive();
            }
        }
    }
}

/// Keeps the service manager's summary up to date.
async fn report(keeper: Arc<Keeper>) {
    if !keeper.manager.is_there() {
        return;
    }
    let mut health = keeper.store.health();
    loop {
        tokio::select! {
            () = tokio::time::sleep(REPORT) => {}
            changed = health.changed() => if changed.is_err() { return },
            () = keeper.stop.cancelled() => return,
        }
        keeper.manager.status(&keeper.summary().await);
    }
}

impl Keeper {
    /// How the fleet is, on one line.
    pub(super) async fn summary(&self) -> String {
        let Ok(counts) = self.store.counts().await else { return "the store cannot be read".to_owned() };
        let total: u64 = counts.by_state.values().sum();
        let states: Vec<String> =
            counts.by_state.iter().map(|(state, count)| format!("{count} {}", state.word())).collect();
        let next = counts.next_refresh_at.map(|at| format!("; next refresh at {at}")).unwrap_or_default();
        let trouble = match &*self.store.health().borrow() {
            Health::Well => String::new(),
            Health::Failed(detail) => format!("the store takes no writes: {detail}; "),
        };
        format!("{trouble}{total} OA{}: {}{next}", if total == 1 { "" } else { "s" }, states.join(", "))
    }
}

/// The door to Zalo that this config wants.
///
/// # Errors
/// When the CA file or the system's certificates cannot be used.
pub fn open_door(config: &Config, clock: Arc<dyn Clock>) -> Result<Door, ClientError> {
    Door::new(
        config.http.proxy.as_ref(),
        config.http.ca_file.as_deref(),
        needs_tls(config),
        config.timeout,
        clock,
    )
}

/// Is any of its endpoints to be spoken to over TLS?
fn needs_tls(config: &Config) -> bool {
    config.apps.values().any(|app| app.token_url.scheme() == "https" || app.api_url.scheme() == "https")
}

/// Brings the store up to the config, once it takes writes. `false`: it is time to stop.
async fn prepare(keeper: &Keeper) -> Result<bool, StoreError> {
    let mut patience = recovery::Patience::new(&keeper.stop, &keeper.manager);
    let managed = Arc::clone(&keeper.settings().managed);
    loop {
        match take_over(keeper, &managed).await {
            Ok(()) => break,
            Err(StoreError::Unavailable(what)) if patience.wait(&what).await => {}
            Err(StoreError::Unavailable(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    patience.end();
    failpoint::pass("start.managed");
    for oa in keeper.store.helpless(managed, keeper.read_clock()).await? {
        announce(&oa);
    }
    Ok(true)
}

async fn take_over(keeper: &Keeper, managed: &Arc<Fleet>) -> Result<(), StoreError> {
    let by_program = keeper.store.manage(Arc::clone(managed), keeper.timing(), keeper.now()).await?;
    *keeper.by_program() = by_program;
    keeper.store.allow_trials(keeper.now()).await
}

/// Says of an OA that is new to this run what a person has to do about it.
pub(super) fn announce(oa: &OaStatus) {
    if oa.reason == Some(Reason::AppChanged.to_string()) {
        events::app_changed(&oa.oa_id);
    } else if oa.state == State::AwaitingGrant {
        events::awaiting_grant(&oa.oa_id);
    }
    if oa.reason == Some(Reason::RowUnreadable.to_string()) {
        events::oa_unreadable(&oa.oa_id, "its row lacks a part of its state");
    }
}
