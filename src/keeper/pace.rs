//! Was the wall clock set back under the scheduler? It judges by that clock alone, and would stand still until it has
//! caught up.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock::{CLOCK_TOLERANCE, Clock, Time};

/// What the wall clock was when kicks were scheduled. One that jumped ahead for a moment leaves a job behind that waits
/// until the clock is there again.
pub(super) struct Pace {
    clock: Arc<dyn Clock>,
    /// The furthest that it was ahead, in milliseconds.
    furthest: AtomicI64,
}

impl Pace {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Pace {
        let furthest = AtomicI64::new(ahead(clock.as_ref()).as_millis());
        Pace { clock, furthest }
    }

    /// A kick is scheduled now.
    pub(super) fn note(&self) {
        self.furthest.fetch_max(ahead(self.clock.as_ref()).as_millis(), Ordering::Relaxed);
    }

    /// Was the clock set back since a kick was scheduled?
    pub(super) fn is_lost(&self) -> bool {
        let furthest = Time::from_millis(self.furthest.load(Ordering::Relaxed));
        ahead(self.clock.as_ref()).plus(CLOCK_TOLERANCE) < furthest
    }

    /// All are scheduled anew from here on.
    pub(super) fn begin_anew(&self) {
        self.furthest.store(ahead(self.clock.as_ref()).as_millis(), Ordering::Relaxed);
    }
}

/// When the machine was started, as the wall clock has it now: the same as long as nobody sets it.
fn ahead(clock: &dyn Clock) -> Time {
    let now = clock.read();
    now.time.minus(now.uptime.0)
}
