//! Time, as it truly is and as the machine has it.
//!
//! The truth is counted in milliseconds from the scenario's beginning and never jumps. The machine's wall clock may be
//! wrong, its uptime begins anew with each boot.

use std::sync::Arc;
use std::time::Duration;

use zalo_tokend::clock::{Reading, Time, Uptime};

/// When each scenario begins, by a wall clock that is right: 2026-01-01.
const BEGINNING: i64 = 1_767_225_600_000;

pub const SECOND: u64 = 1_000;
pub const MINUTE: u64 = 60 * SECOND;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("not that long")
}

pub struct Clocks {
    /// Milliseconds since the beginning.
    pub truth: u64,
    /// How wrong the wall clock is.
    pub error: i64,
    booted_at: u64,
    boots: u32,
    boot: Arc<str>,
    /// Since then the wall clock was right without a break.
    pub right_since: Option<u64>,
}

impl Clocks {
    pub fn new() -> Clocks {
        // The machine has been up for a while.
        let truth = HOUR;
        Clocks {
            truth,
            error: 0,
            booted_at: 0,
            boots: 1,
            boot: Arc::from("boot-1"),
            right_since: Some(truth),
        }
    }

    pub fn read(&self) -> Reading {
        let truth = i64::try_from(self.truth).expect("not that long");
        Reading {
            time: Time::from_millis(BEGINNING + truth + self.error),
            uptime: Uptime(Duration::from_millis(self.truth - self.booted_at)),
            boot: Arc::clone(&self.boot),
        }
    }

    pub fn reboot(&mut self) {
        self.boots += 1;
        self.booted_at = self.truth;
        self.boot = Arc::from(format!("boot-{}", self.boots));
    }

    /// The wall clock is set to be wrong by so much from here on.
    pub fn set_error(&mut self, error: i64) {
        self.error = error;
        self.right_since = match (error, self.right_since) {
            (0, None) => Some(self.truth),
            (0, since) => since,
            (_, _) => None,
        };
    }
}
