//! What all connections of a simulator share: the model, the faults and the ledger under one lock, the clock
//! that started with the simulator, and the signals that wake those who wait. May import clock and id.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Connection, Gone};
use super::consent::Consents;
use super::fault_queue::FaultQueue;
use super::kind::Kind;
use super::ledger::{Ledger, Subject};
use super::message::Counts;
use super::model::Model;
use super::vendor::Vendor;
use crate::clock::SystemClock;

/// All that changes. One lock, so that what happened and what was written down never differ.
#[derive(Default)]
pub(super) struct Core {
    pub(super) model: Model,
    pub(super) consents: Consents,
    pub(super) faults: FaultQueue,
    pub(super) ledger: Ledger,
    pub(super) vendor: Vendor,
    pub(super) messages: Counts,
    connections: u64,
}

/// The lock and what stands around it.
pub(super) struct Shared {
    core: Mutex<Core>,
    started: Instant,
    /// For what is told as a date; all else is counted from the start.
    pub(super) clock: SystemClock,
    changed: watch::Sender<u64>,
    pub(super) released: watch::Sender<u64>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// Where redirects lead that name no place of their own.
    pub(super) redirect_target: String,
}

/// The core, with the clock read and one connection and fault in mind: what handlers write the ledger with.
pub(super) struct Locked<'a> {
    pub(super) core: MutexGuard<'a, Core>,
    pub(super) now: Duration,
    changed: &'a watch::Sender<u64>,
}

impl Shared {
    pub(super) fn new(redirect_target: String) -> Shared {
        Shared {
            core: Mutex::new(Core::default()),
            started: Instant::now(),
            clock: SystemClock::new(),
            changed: watch::Sender::new(0),
            released: watch::Sender::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            redirect_target,
        }
    }

    /// Takes the lock and reads the clock. A panic of somebody else's under the lock (a test's predicate) leaves
    /// nothing half-done, so it is passed over.
    pub(super) fn lock(&self) -> Locked<'_> {
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { core, now: self.started.elapsed(), changed: &self.changed }
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Writes bytes, and the entry with the last of them: the entry stands before the client can act on the
    /// answer, so that what it does next can never seem to have come first.
    pub(super) async fn write_and_record(
        &self,
        connection: &mut Connection,
        bytes: &[u8],
        pace: Option<Duration>,
        record: impl FnOnce(&mut Locked<'_>, Result<(), Gone>),
    ) {
        let Some((last, before)) = bytes.split_last() else {
            return record(&mut self.lock(), Ok(()));
        };
        let mut written = match pace {
            None => connection.write(before).await,
            Some(per_byte) => connection.drip(before, per_byte).await,
        };
        while written.is_ok() {
            {
                let mut locked = self.lock();
                match connection.write_byte_now(*last) {
                    Ok(true) => return record(&mut locked, Ok(())),
                    Ok(false) => {}
                    Err(gone) => return record(&mut locked, Err(gone)),
                }
            }
            written = connection.writable().await;
        }
        record(&mut self.lock(), written);
    }
}

impl Locked<'_> {
    /// A number for a new connection.
    pub(super) fn new_connection(&mut self) -> u64 {
        self.core.connections += 1;
        self.core.connections
    }

    /// Writes an entry and wakes those who wait for one.
    pub(super) fn record(
        &mut self,
        connection: Option<u64>,
        subject: &Subject,
        kind: Kind,
        fault: Option<&Arc<str>>,
    ) {
        let at_ms = u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX);
        self.core.ledger.record(at_ms, connection, subject.clone(), kind, fault.cloned());
        self.changed.send_replace(self.core.ledger.entries().len() as u64);
    }

    /// Writes down that the client did what it must not.
    pub(super) fn violation(&mut self, connection: u64, subject: &Subject, text: impl Into<String>) {
        self.record(Some(connection), subject, Kind::Violation { text: text.into() }, None);
    }
}
