//! How many requests of one peer are answered: a token bucket each, on the clock that nobody sets.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::peer::Account;

/// How many seconds' worth of requests may come at once.
const BURST_SECONDS: f64 = 2.0;
/// How many peers are counted. Those that are full again say nothing and are forgotten first.
const MOST_ACCOUNTS: usize = 4_096;

/// The buckets.
pub(crate) struct Rate<K = Account> {
    per_second: AtomicU32,
    buckets: Mutex<HashMap<K, Bucket>>,
}

struct Bucket {
    left: f64,
    filled_at: Instant,
}

impl Bucket {
    fn fill(&mut self, now: Instant, per_second: f64) {
        let gained = now.saturating_duration_since(self.filled_at).as_secs_f64() * per_second;
        self.left = (self.left + gained).min(per_second * BURST_SECONDS);
        self.filled_at = now;
    }
}

impl<K: Eq + Hash> Rate<K> {
    pub(crate) fn of(per_second: u32) -> Rate<K> {
        Rate { per_second: AtomicU32::new(per_second), buckets: Mutex::default() }
    }

    pub(crate) fn set(&self, per_second: u32) {
        self.per_second.store(per_second, Ordering::Relaxed);
    }

    /// Counts one request.
    ///
    /// # Errors
    /// How long to wait, if there were too many.
    pub(crate) fn admit(&self, account: K) -> Result<(), Duration> {
        let per_second = f64::from(self.per_second.load(Ordering::Relaxed));
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST_ACCOUNTS && !buckets.contains_key(&account) {
            buckets.retain(|_, bucket| {
                bucket.fill(now, per_second);
                bucket.left < per_second * BURST_SECONDS
            });
            if buckets.len() >= MOST_ACCOUNTS {
                return Err(Duration::from_secs(1));
            }
        }
        let full = Bucket { left: per_second * BURST_SECONDS, filled_at: now };
        let bucket = buckets.entry(account).or_insert(full);
        bucket.fill(now, per_second);
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / per_second));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_has_its_rate_in_the_long_run_and_takes_nothing_from_another() {
        let rate = Rate::<Account>::of(10);
        let one = Account::User(1);
        let admitted = |account| (0..100).filter(|_| rate.admit(account).is_ok()).count();
        assert_eq!(admitted(one), 20);
        let wait = rate.admit(one).expect_err("too many");
        assert!(wait <= Duration::from_millis(101), "{wait:?}");
        assert_eq!(admitted(Account::User(2)), 20);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(admitted(one), 10);
        rate.set(1);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(admitted(one), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn peers_that_ask_no_more_are_forgotten() {
        let rate = Rate::<Account>::of(1);
        for uid in 0..u32::try_from(MOST_ACCOUNTS).expect("small") {
            assert!(rate.admit(Account::User(uid)).is_ok());
        }
        assert!(rate.admit(Account::User(u32::MAX)).is_err());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(rate.admit(Account::User(u32::MAX)).is_ok());
        assert_eq!(rate.buckets.lock().expect("no panic").len(), 1);
    }
}
