//! The daemon: looks what is due, does it, and stores what came of it.
//!
//! ```text
//!  duties (cron) ─┐
//!  tick, wake ────┴─► sweep ──► attempt ──► store.conclude ──► events
//!                       │          claim · present · conclude
//!                       └─────► doubt ────► store.prove_…  ──► events
//! ```
//!
//! The store is the only schedule: nothing here holds a timer for an OA. The only things kept in memory are locks,
//! and how often Zalo was asked about an uncertain attempt. May import everything but `cli` and `simulator`.

mod attempt;
mod claims;
mod doubt;
mod duties;
pub mod events;
mod health;
mod news;
mod premise;
mod recovery;
mod run;
mod settings;
mod signals;
mod sweep;

use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use run::{RunError, open_door, run};
pub use settings::managed;

use crate::clock::{Clock, Time};
use crate::rotation::Roll;
use crate::store::Store;
use crate::telemetry::LinesDropped;
use crate::zalo::Door;
use claims::Claims;
use doubt::Doubts;
use settings::Settings;

/// What every part of the daemon works with.
struct Keeper {
    store: Store,
    door: Door,
    clock: Arc<dyn Clock>,
    settings: Settings,
    claims: Claims,
    doubts: Mutex<Doubts>,
    measuring: Mutex<std::collections::BTreeSet<crate::id::AppId>>,
    /// A permit for each question about an uncertain attempt that is under way.
    questions: Arc<Semaphore>,
    /// Something may be due: a slot, a lock or the store became free.
    wake: Notify,
    /// No new work.
    stop: CancellationToken,
    tasks: TaskTracker,
    lines_dropped: LinesDropped,
}

impl Keeper {
    fn now(&self) -> Time {
        self.clock.now()
    }

    /// Rolls the dice.
    fn roll(&self) -> Roll {
        Roll(fastrand::f64())
    }

    fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
