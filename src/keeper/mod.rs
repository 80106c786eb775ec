//! The daemon: looks what is due, does it, and stores what came of it.
//!
//! ```text
//!  duties (cron) ─┐
//!  tick, wake ────┴─► sweep ──► attempt ──► store.conclude ──► events
//!                       │          claim · present · conclude
//!                       ├─────► doubt ────► store.prove_…  ──► events
//!                       └─────► vendor ───► store.take_…   ──► events
//! ```
//!
//! `reload` replaces the settings, `control` answers other programs at a socket beside the store, `systemd` talks to the
//! service manager. The store is the only schedule: nothing here holds a timer for an OA. Kept in memory are locks, how often
//! Zalo was asked about an uncertain attempt, and sets that no disk takes; and what costs nothing when it is lost: when a
//! premise was measured, when the store's day was turned, which OAs are left alone for a while. May import everything but
//! `cli` and `simulator`.

mod api;
mod attempt;
mod calls;
mod claims;
mod consent;
pub mod control;
mod doubt;
mod duties;
pub mod events;
mod exchange;
mod health;
mod news;
mod pace;
mod premise;
mod recovery;
mod refuge;
mod reload;
mod run;
mod settings;
mod signals;
mod sweep;
mod systemd;
#[cfg(test)]
mod tests;
mod told;
mod undurable;
mod vendor;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use run::{Doors, RunError, open_doors, run};
pub use settings::{at_vendors, managed};
pub use signals::Caught;

use crate::clock::{Clock, Reading, Time, Uptime};
use crate::id::{AppId, Fleet, Managed, OaId};
use crate::publish::Publishers;
use crate::rotation::{Roll, Timing};
use crate::secret::Secret;
use crate::store::Store;
use crate::telemetry::LogControl;
use calls::Calls;
use claims::Claims;
use consent::Consents;
use doubt::Doubts;
use refuge::Exposed;
use settings::Settings;
use systemd::Manager;
use told::Told;
use undurable::Undurable;
use vendor::VendorWork;

/// For how long an OA is left alone whose row cannot be worked with.
const PASS_OVER_FOR: Duration = Duration::from_secs(600);

/// What whoever waited for work of the keeper is told when it panicked.
const FAULT: &str = "it ended in a fault of the program; please report this";

/// What every part of the daemon works with.
struct Keeper {
    store: Store,
    clock: Arc<dyn Clock>,
    settings: RwLock<Arc<Settings>>,
    /// The OAs that programs manage over the API.
    by_program: RwLock<Fleet>,
    /// Held alone from a change in the store until `by_program` says the same, and together by who goes by it.
    managing: tokio::sync::RwLock<()>,
    claims: Claims,
    doubts: Mutex<Doubts>,
    measuring: Mutex<BTreeSet<AppId>>,
    /// When an app was measured that need not be measured now: so the store is not asked with each attempt.
    measured: Mutex<BTreeMap<AppId, Time>>,
    /// What is under way with vendors.
    vendor_work: VendorWork,
    /// A permit for each question about an uncertain attempt that is under way.
    questions: Arc<Semaphore>,
    /// Something may be due: a slot, a lock or the store became free.
    wake: Notify,
    /// No new work.
    stop: CancellationToken,
    tasks: TaskTracker,
    log: LogControl,
    /// What hands tokens and events out without being asked.
    publishers: Publishers,
    /// The service manager, if there is one.
    manager: Manager,
    /// What becomes of attempts, for whoever waits for it.
    told: Told,
    /// Token sets that neither the store nor a slot has taken yet.
    undurable: Undurable,
    /// The requests whose answer is on no disk yet.
    exposed: Exposed,
    /// The OAs whose rows could not be worked with: they are left alone for a while, in no other's place.
    passed_over: Mutex<BTreeMap<OaId, Uptime>>,
    /// When the store's own day was turned last, or this daemon began.
    day_turned: Mutex<Uptime>,
    /// For which OAs people were called of late.
    calls: Mutex<Calls>,
    /// What our own links are signed with, once the store is open.
    link_key: OnceLock<Secret>,
    /// What becomes of those who come back with consent.
    consents: Consents,
    started: Reading,
}

impl Keeper {
    fn now(&self) -> Time {
        self.clock.now()
    }

    fn read_clock(&self) -> Reading {
        self.clock.read()
    }

    /// The settings in force.
    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The OAs that programs manage, to be changed.
    fn by_program(&self) -> RwLockWriteGuard<'_, Fleet> {
        self.by_program.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_by_program(&self, fleet: Fleet) {
        self.publishers.manage_all(fleet.keys().cloned().collect());
        *self.by_program() = fleet;
    }

    /// The OA as the config has it, or a program; `None`: nobody manages it.
    fn managed(&self, oa_id: &OaId) -> Option<Managed> {
        self.settings()
            .managed
            .get(oa_id)
            .cloned()
            .or_else(|| self.by_program.read().unwrap_or_else(PoisonError::into_inner).get(oa_id).cloned())
    }

    fn timing(&self) -> Arc<Timing> {
        Arc::clone(&self.settings().timing)
    }

    /// Rolls the dice.
    fn roll(&self) -> Roll {
        Roll(fastrand::f64())
    }

    /// Leaves an OA alone whose row cannot be worked with, and says so once in that while.
    fn pass_over(&self, oa_id: &OaId, what: &str) {
        let until = self.clock.read().uptime.plus(PASS_OVER_FOR);
        if lock(&self.passed_over).insert(oa_id.clone(), until).is_none() {
            events::oa_unreadable(oa_id, what);
        }
    }

    /// The OAs that are left alone now.
    fn passed_over(&self) -> BTreeSet<OaId> {
        let now = self.clock.read().uptime;
        let mut passed_over = lock(&self.passed_over);
        passed_over.retain(|_, until| *until > now);
        passed_over.keys().cloned().collect()
    }

    fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
