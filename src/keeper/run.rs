//! The daemon's life: start, recover, work, drain.

use std::future::Future;
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::claims::Claims;
use super::consent::{self, Consents};
use super::duties::Duties;
use super::refuge::Exposed;
use super::settings::{self, Settings};
use super::signals::Caught;
use super::systemd::Manager;
use super::told::Told;
use super::undurable::Undurable;
use super::vendor::VendorWork;
use super::{Keeper, api, control, duties, events, health, recovery, reload};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::failpoint;
use crate::id::Fleet;
use crate::publish::{PublishError, Publishers};
use crate::rotation::Reason;
use crate::store::{Health, OaStatus, OpenError, State, StoreError};
use crate::telemetry::LogControl;
use crate::vendor;
use crate::zalo::{ClientError, Door};

/// How many questions about uncertain attempts are under way at once.
const MOST_QUESTIONS: usize = 16;
/// At a stop, how long the store is waited for when nothing can be lost any more.
const LAST_PATIENCE: Duration = Duration::from_secs(10);
/// How often the service manager gets a new summary. Counting a large fleet costs a tenth of a second.
const REPORT: Duration = Duration::from_secs(60);
/// How soon it is counted again when the store's health changes, and changes again.
const RECOUNT: Duration = Duration::from_secs(5);

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
    /// It cannot be published as the config wants it.
    #[error("[[publish]] cannot be begun: {0}")]
    Publish(#[from] PublishError),
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
    let oas = settings::count(&config);
    if !config.publish.is_empty() {
        log.feed().want();
    }
    events::daemon_started(oas);
    let manager = Manager::of_process();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let started = clock.read();
    let doors = open_doors(&config, Arc::clone(&clock))?;
    let opening = recovery::open_and_recover(&config, &clock, &stop, &manager);
    let Some((opened, recovered)) = asking_for_time(&manager, &stop, opening).await?? else {
        events::daemon_stopped(oas);
        return Ok(());
    };
    let link_key = opened.link_key();
    let (store, store_thread) = opened.start()?;
    let publishers = Publishers::new(store.clone(), Arc::clone(&clock), log.feed().clone());
    let keeper = Arc::new(Keeper {
        store,
        clock,
        publishers,
        settings: RwLock::new(Arc::new(Settings::of(&config, doors))),
        by_program: RwLock::default(),
        managing: tokio::sync::RwLock::default(),
        claims: Claims::default(),
        doubts: Mutex::default(),
        measuring: Mutex::default(),
        measured: Mutex::default(),
        vendor_work: VendorWork::default(),
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
        calls: Mutex::default(),
        link_key: OnceLock::new(),
        consents: Consents::default(),
        started,
    });
    recovery::tell(&keeper, &recovered, link_key);
    if asking_for_time(&keeper.manager, &stop, prepare(&keeper)).await?? {
        let fleet = asking_for_time(&keeper.manager, &stop, keeper.count_fleet()).await?;
        let publishing = keeper.publishers.prepare(&config).await?;
        let duties = Arc::new(tokio::sync::Mutex::new(Duties::start(&keeper, &config.schedule).await?));
        keeper.tasks.spawn(duties::keep_pace(Arc::clone(&keeper), Arc::clone(&duties)));
        keeper.tasks.spawn(health::watch(Arc::clone(&keeper)));
        keeper.tasks.spawn(consent::verify::verify_waiting(Arc::clone(&keeper)));
        keeper.tasks.spawn(report(Arc::clone(&keeper), fleet.clone()));
        // Only who holds the store's lock may take over the socket that an earlier run left.
        keeper.tasks.spawn(control::open(&keeper, &config.store_path));
        let api = api::open(&keeper, config.api.as_ref(), inherited);
        consent::open(&keeper, config.authorize.listen);
        events::daemon_ready(oas);
        keeper.manager.ready(&summary(&keeper.store.health().borrow(), &fleet));
        keeper.publishers.go_over_to(publishing);
        let reloading =
            reload::Reloader { keeper: Arc::clone(&keeper), config, duties, api, asked: reload_asked };
        keeper.tasks.spawn(reloading.run());
        keeper.sweep_until_stopped().await;
    }

    let was_asked_to = keeper.is_stopping();
    let oas = keeper.settings().managed.len() + keeper.settings().at_vendors.oas.len();
    events::daemon_stopping(oas);
    keeper.manager.stopping();
    stop.cancel();
    // Whatever is past the gate is finished and stored, or safe in its slot, before this returns.
    keeper.tasks.close();
    if !drained(&keeper).await {
        return Err(RunError::Hangs);
    }
    // After the work, so that what came of it is handed out as well.
    keeper.publishers.stop().await;
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

/// Awaits `work` of the start, and asks the service manager for more time until it is done. Once the daemon is to stop, what
/// hangs is waited for only a while: this run has presented nothing yet, and a slot keeps its answer until the store has
/// taken it.
async fn asking_for_time<T>(
    manager: &Manager,
    stop: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T, RunError> {
    let mut work = pin!(work);
    let mut patience = pin!(async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_PATIENCE).await;
    });
    let mut asking = tokio::time::interval(manager.feed_every());
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            () = &mut patience => return Err(RunError::Hangs),
            _ = asking.tick() => {
                manager.need_time();
                manager.alive();
            }
        }
    }
}

/// Keeps the service manager's summary up to date.
async fn report(keeper: Arc<Keeper>, fleet: String) {
    if !keeper.manager.is_there() {
        return;
    }
    let (health, count) = (keeper.store.health(), || keeper.count_fleet());
    tokio::select! {
        () = report_on(health, fleet, count, |summary| keeper.manager.status(summary)) => {}
        () = keeper.stop.cancelled() => {}
    }
}

/// Says how the store is as soon as that changes, with the fleet as it was counted last; which is counted again for that,
/// but not as often as a disk may come and go.
async fn report_on<F: Future<Output = String>>(
    mut health: watch::Receiver<Health>,
    mut fleet: String,
    count: impl Fn() -> F,
    say: impl Fn(&str),
) {
    let mut counted = Instant::now();
    let mut next = counted + REPORT;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next) => {
                fleet = count().await;
                counted = Instant::now();
                next = counted + REPORT;
            }
            changed = health.changed() => {
                if changed.is_err() {
                    return;
                }
                next = next.min(counted + RECOUNT);
            }
        }
        say(&summary(&health.borrow_and_update(), &fleet));
    }
}

/// How store and fleet are, on one line.
fn summary(health: &Health, fleet: &str) -> String {
    match health {
        Health::Well => fleet.to_owned(),
        Health::Failed(detail) => format!("the store takes no writes: {detail}; {fleet}"),
    }
}

impl Keeper {
    /// How store and fleet are, on one line.
    pub(super) async fn summary(&self) -> String {
        let fleet = self.count_fleet().await;
        summary(&self.store.health().borrow(), &fleet)
    }

    /// How the fleet is.
    async fn count_fleet(&self) -> String {
        let Ok(counts) = self.store.counts(self.now()).await else {
            return "the store cannot be read".to_owned();
        };
        let total: u64 = counts.by_state.values().sum();
        let states: Vec<String> =
            counts.by_state.iter().map(|(state, count)| format!("{count} {}", state.word())).collect();
        let next = counts.next_refresh_at.map(|at| format!("; next refresh at {at}")).unwrap_or_default();
        format!("{total} OA{}: {}{next}", if total == 1 { "" } else { "s" }, states.join(", "))
    }
}

/// The ways to the outside.
pub struct Doors {
    /// To Zalo.
    pub(super) door: Door,
    /// To vendors.
    pub(super) vendor_door: vendor::Door,
}

/// The doors that this config wants.
///
/// # Errors
/// When the CA file or the system's certificates cannot be used.
pub fn open_doors(config: &Config, clock: Arc<dyn Clock>) -> Result<Doors, ClientError> {
    let (proxy, ca_file) = (config.http.proxy.as_ref(), config.http.ca_file.as_deref());
    let door = Door::new(proxy, ca_file, needs_tls(config), config.timeout, clock)?;
    let needs_tls = config.vendors.values().any(|vendor| vendor.base_url.scheme() == "https");
    let vendor_door =
        vendor::Door::new(proxy, ca_file, needs_tls, config.timeout).map_err(ClientError::Build)?;
    Ok(Doors { door, vendor_door })
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
        announce(keeper, &oa);
    }
    Ok(true)
}

async fn take_over(keeper: &Keeper, managed: &Arc<Fleet>) -> Result<(), StoreError> {
    let (at_vendors, now) = (keeper.settings().at_vendors.clone(), keeper.read_clock());
    let by_program = keeper.store.manage(Arc::clone(managed), at_vendors, keeper.timing(), now).await?;
    keeper.set_by_program(by_program);
    keeper.store.allow_trials(keeper.now()).await
}

/// Says of an OA that is new to this run what a person has to do about it.
pub(super) fn announce(keeper: &Keeper, oa: &OaStatus) {
    if oa.reason == Some(Reason::AppChanged.to_string()) {
        events::app_changed(&oa.oa_id);
    } else if oa.state == State::AwaitingGrant {
        events::awaiting_grant(&oa.oa_id, keeper.consent_link(&oa.oa_id).as_deref());
    }
    if oa.reason == Some(Reason::RowUnreadable.to_string()) {
        events::oa_unreadable(&oa.oa_id, "its row lacks a part of its state");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    #[tokio::test(start_paused = true)]
    async fn each_change_of_the_stores_health_is_said_at_once_and_the_fleet_counted_again_now_and_then() {
        let (store, health) = watch::channel(Health::Well);
        let (counts, said) = (Cell::new(0), RefCell::new(Vec::new()));
        let count = async || {
            counts.set(counts.get() + 1);
            format!("count {}", counts.get())
        };
        let reporting = report_on(health, "counted before".to_owned(), count, |text| {
            said.borrow_mut().push(text.to_owned())
        });
        let flapping = async {
            for n in 0..200 {
                let news = if n % 2 == 0 { Health::Failed("full".to_owned()) } else { Health::Well };
                store.send_replace(news);
                tokio::time::sleep(Duration::from_millis(100)).await;
                let trouble =
                    said.borrow().last().expect("said").starts_with("the store takes no writes: full; count");
                assert_eq!(trouble, n % 2 == 0, "{:?}", said.borrow());
            }
            assert!((3..=4).contains(&counts.get()), "counted {} times in 20 seconds", counts.get());
            tokio::time::sleep(RECOUNT).await;
            assert_eq!(
                said.borrow().last(),
                Some(&format!("count {}", counts.get())),
                "what was said late is counted"
            );
            let before = counts.get();
            tokio::time::sleep(10 * REPORT).await;
            assert_eq!(counts.get(), before + 10, "and else as seldom as before");
        };
        tokio::select! {
            () = reporting => {}
            () = flapping => {}
        }
    }
}
