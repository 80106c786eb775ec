//! What a panic past the gate costs: no answer that came, and no other OA anything. A keeper of these tests' own works with
//! clocks that panic once; `tests/failpoints.rs` has the running daemon panic at each step of an attempt.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::attempt::run_guarded;
use super::*;
use crate::clock::{Moment, SystemClock};
use crate::config::{self, Config, Secrets};
use crate::id::AppId;
use crate::oauth::{Answer, read_token_answer};
use crate::simulator::{self, Fault, Rule, Simulator, Variant};
use crate::store::{AtVendors, Direct, Due, Import, OaStatus, Opened, Recovered, State};
use crate::zalo::Door;

const OAS: [&str; 2] = ["1", "2"];
const SLOTS: usize = 4;
const DEADLINE: Duration = Duration::from_secs(60);

/// A clock that panics the next time that it is read after it was armed, and is a clock otherwise.
#[derive(Clone)]
struct Trap {
    clock: SystemClock,
    is_armed: Arc<AtomicU32>,
}

impl Trap {
    fn new() -> Trap {
        Trap { clock: SystemClock::new(), is_armed: Arc::default() }
    }

    fn arm(&self) {
        self.is_armed.store(1, Ordering::SeqCst);
    }

    fn is_armed(&self) -> bool {
        self.is_armed.load(Ordering::SeqCst) == 1
    }
}

impl Clock for Trap {
    fn read(&self) -> Reading {
        assert_eq!(self.is_armed.swap(0, Ordering::SeqCst), 0, "the trap snaps");
        self.clock.read()
    }
}

/// Two OAs, each with an app of its own, whose refreshes are due.
fn config(directory: &Path, simulator: &Simulator) -> Config {
    let mut text = format!(
        "[store]\npath = \"{}\"\n[refresh]\nmax_in_flight = {SLOTS}\n",
        directory.join("state/tokens.db").display()
    );
    for id in OAS {
        simulator.add_app(id, "secret");
        text.push_str(&format!(
            "[[app]]\nid = \"{id}\"\nsecret_key_file = \"secret\"\ntoken_url = \"{}\"\napi_url = \"{}\"\n\
             [[oa]]\nid = \"{id}\"\napp = \"{id}\"\n",
            simulator.token_url(),
            simulator.api_url(),
        ));
    }
    let secret = directory.join("secret");
    std::fs::write(&secret, "secret").expect("written");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("mode set");
    std::fs::write(directory.join("config.toml"), text).expect("written");
    config::load(&directory.join("config.toml"), Secrets::Read).expect("a good config")
}

fn import(config: &Config, simulator: &Simulator) {
    std::fs::create_dir_all(config.store_path.parent().expect("in a directory")).expect("made");
    let mut store = Direct::open_to_write(&config.store_path).expect("opened");
    for id in OAS {
        let body = simulator.grant(id, id).to_string();
        let Answer::Granted(tokens) = read_token_answer(body.as_bytes()) else { unreachable!("a grant") };
        let now = SystemClock::new().read();
        // Of yesterday, so that it is due.
        let obtained = Moment::of_wall_clock(now.time.minus(Duration::from_secs(86_400)));
        let import = Import { oa_id: OaId::from(id), app_id: AppId::from(id), name: None, tokens, obtained };
        store.import(&import, &config.timing, &now).expect("taken");
    }
}

/// A keeper that does nothing by itself.
async fn keeper(config: &Config, clock: Trap, clock_at_the_door: Trap) -> Arc<Keeper> {
    let clock: Arc<dyn Clock> = Arc::new(clock);
    let opened = Opened::open(&config.store_path).expect("opened");
    let (started, mut recovered) = (clock.read(), Recovered::default());
    opened
        .recover(SLOTS, &config.timing, &started, &mut || Roll(0.5), &mut recovered)
        .expect("nothing to recover");
    let (store, _thread) = opened.start().expect("a thread");
    let door = Door::new(None, None, false, config.timeout, Arc::new(clock_at_the_door)).expect("a door");
    let doors = Doors {
        door,
        vendor_door: crate::vendor::Door::new(None, None, false, config.timeout).expect("a door"),
    };
    let log = LogControl::of_no_log();
    let clock: Arc<dyn Clock> = clock;
    let publishers = Publishers::new(store.clone(), Arc::clone(&clock), log.feed().clone());
    let keeper = Arc::new(Keeper {
        store,
        clock,
        publishers,
        settings: RwLock::new(Arc::new(Settings::of(config, doors))),
        by_program: RwLock::default(),
        managing: tokio::sync::RwLock::default(),
        claims: Claims::default(),
        doubts: Mutex::default(),
        measuring: Mutex::default(),
        measured: Mutex::default(),
        vendor_work: VendorWork::default(),
        questions: Arc::new(Semaphore::new(1)),
        wake: Notify::new(),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
        log,
        manager: Manager::of_process(),
        told: Told::default(),
        undurable: Undurable::default(),
        exposed: Exposed::default(),
        passed_over: Mutex::default(),
        day_turned: Mutex::new(started.uptime),
        calls: Mutex::default(),
        link_key: OnceLock::new(),
        consents: Consents::default(),
        started,
    });
    let managed = keeper.settings().managed.clone();
    keeper
        .store
        .manage(managed, AtVendors::default(), keeper.timing(), keeper.read_clock())
        .await
        .expect("taken over");
    keeper
}

/// Lets the answers to two requests go, one of which meets the trap, and returns the states of their OAs.
async fn released_into(trap: impl FnOnce(&Trap, &Trap)) -> (Vec<State>, usize) {
    let directory: TempDir = tempfile::tempdir().expect("a directory");
    let simulator =
        Simulator::start(([127, 0, 0, 1], 0).into(), Variant::default()).await.expect("a simulator");
    let config = config(directory.path(), &simulator);
    import(&config, &simulator);
    let (clock, clock_at_the_door) = (Trap::new(), Trap::new());
    let keeper = keeper(&config, clock.clone(), clock_at_the_door.clone()).await;
    simulator.fault(Rule::times(2, Fault::spent(simulator::Answer::Held)));
    let attempts = OAS.map(|id| {
        let due = Due { oa_id: OaId::from(id), app_id: AppId::from(id), most_of_app: 1, is_on_demand: false };
        tokio::spawn(run_guarded(Arc::clone(&keeper), due, None))
    });
    simulator.wait_until(|ledger| ledger.spends() == 2, DEADLINE).await.expect("both are presented");
    trap(&clock, &clock_at_the_door);
    simulator.release();
    for attempt in attempts {
        let ended = tokio::time::timeout(DEADLINE, attempt).await.expect("it ends");
        assert!(ended.expect("guarded"), "it was tried");
    }
    assert!(!clock.is_armed() && !clock_at_the_door.is_armed(), "it has snapped");
    assert_eq!((keeper.claims.count_attempts(), keeper.store.free_slots()), (0, SLOTS), "all is free again");
    assert!(!keeper.exposed.is_any());
    let (mut states, mut generations) = (Vec::new(), 0);
    for id in OAS {
        let status = status(&keeper, id).await;
        states.push(status.state);
        generations += usize::from(status.generation == 2);
    }
    let ledger = simulator.ledger();
    assert!(ledger.is_clean() && ledger.presentations() == 2, "{}", ledger.summary());
    (states, generations)
}

#[tokio::test(flavor = "multi_thread")]
async fn f26_a_panic_while_an_answer_is_read_or_stored_loses_neither_it_nor_any_other() {
    let while_it_is_read = released_into(|_, at_the_door| at_the_door.arm()).await;
    let while_it_is_stored = released_into(|clock, _| clock.arm()).await;
    for (states, adopted) in [while_it_is_read, while_it_is_stored] {
        assert_eq!(adopted, 2, "{states:?}");
        assert!(states.iter().all(|state| *state == State::Scheduled), "{states:?}");
    }
}

/// What the OA is told to be.
async fn status(keeper: &Keeper, id: &str) -> OaStatus {
    let managed = keeper.settings().managed.get(&OaId::from(id)).cloned();
    let status = keeper.store.status(OaId::from(id), managed, keeper.read_clock()).await;
    status.expect("readable").expect("known")
}

/// On one thread, so that its clock can stand still.
#[tokio::test]
async fn i5_an_answer_counts_as_durable_as_soon_as_its_slot_has_it() {
    let directory: TempDir = tempfile::tempdir().expect("a directory");
    let simulator =
        Simulator::start(([127, 0, 0, 1], 0).into(), Variant::default()).await.expect("a simulator");
    let config = config(directory.path(), &simulator);
    import(&config, &simulator);
    let keeper = keeper(&config, Trap::new(), Trap::new()).await;
    simulator.fault(Rule::times(1, Fault::spent(simulator::Answer::Held)));
    let id = OAS[0];
    let due = Due { oa_id: OaId::from(id), app_id: AppId::from(id), most_of_app: 1, is_on_demand: false };
    let attempt = tokio::spawn(run_guarded(Arc::clone(&keeper), due, None));
    simulator.wait_until(|ledger| ledger.spends() == 1, DEADLINE).await.expect("it is presented");
    assert!(keeper.exposed.is_any());
    // What is in a file that nobody finds is not stored.
    let aside = config.store_path.with_extension("aside");
    std::fs::rename(&config.store_path, &aside).expect("moved");
    // From here on no timer goes off, and so nothing is tried a second time: a clock that stands still is moved on only when
    // there is nothing to do.
    tokio::time::pause();
    let busy = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let began = std::time::Instant::now();
    simulator.release();
    while status(&keeper, id).await.generation == 1
        || keeper.exposed.is_any()
        || !keeper.undurable.oas().is_empty()
    {
        assert!(began.elapsed() < DEADLINE, "it is in its slot: {:?}", status(&keeper, id).await);
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&keeper, id).await.state, State::Presenting, "and not in the store");
    std::fs::rename(&aside, &config.store_path).expect("moved back");
    busy.abort();
    tokio::time::resume();
    assert!(
        tokio::time::timeout(DEADLINE, attempt).await.expect("it ends").expect("guarded"),
        "it was tried"
    );
    assert_eq!(status(&keeper, id).await.state, State::Scheduled);
}
