//! How often something may be said that others can cause at will: the log's queue is bounded, and who fills it pushes out
//! what matters.
//!
//! Of one cause once a second, and of all causes so many a second. What is not said is counted, and told with the next that
//! is.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long one cause is not heard of again.
const PAUSE: Duration = Duration::from_secs(1);
/// How many causes are told apart. Those of which nothing is left to tell are forgotten first.
const MOST_CAUSES: usize = 4_096;

/// What was said of late.
pub(crate) struct Throttle<K> {
    most_a_second: u32,
    said: Mutex<Said<K>>,
}

struct Said<K> {
    causes: HashMap<K, Cause>,
    second: Instant,
    in_second: u32,
    /// Not said, of causes that are not told apart any more.
    of_others: u64,
}

struct Cause {
    said_at: Instant,
    unsaid: u64,
}

impl<K: Eq + Hash> Throttle<K> {
    pub(crate) fn of(most_a_second: u32) -> Throttle<K> {
        let said = Said { causes: HashMap::new(), second: Instant::now(), in_second: 0, of_others: 0 };
        Throttle { most_a_second, said: Mutex::new(said) }
    }

    /// May this be said now? Then with how many that were not said before.
    pub(crate) fn admit(&self, cause: K) -> Option<u64> {
        let now = Instant::now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let Said { causes, second, in_second, of_others } = &mut *said;
        if now.duration_since(*second) >= PAUSE {
            (*second, *in_second) = (now, 0);
        }
        if causes.len() >= MOST_CAUSES && !causes.contains_key(&cause) {
            *of_others += forget(causes, now);
        }
        let is_new = !causes.contains_key(&cause);
        if is_new && causes.len() >= MOST_CAUSES {
            *of_others += 1;
            return None;
        }
        let known = causes.entry(cause).or_insert(Cause { said_at: now, unsaid: 0 });
        if !is_new && now.duration_since(known.said_at) < PAUSE || *in_second >= self.most_a_second {
            known.unsaid += 1;
            return None;
        }
        *in_second += 1;
        known.said_at = now;
        Some(std::mem::take(&mut known.unsaid) + std::mem::take(of_others))
    }
}

/// Makes room, and says how many were not said of those that are forgotten.
fn forget<K: Eq + Hash>(causes: &mut HashMap<K, Cause>, now: Instant) -> u64 {
    let mut unsaid = 0;
    causes.retain(|_, cause| {
        let is_kept = now.duration_since(cause.said_at) < PAUSE;
        unsaid += if is_kept { 0 } else { cause.unsaid };
        is_kept
    });
    unsaid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_cause_is_heard_once_a_second_with_all_that_was_not_said_before() {
        let throttle = Throttle::of(10);
        assert_eq!(throttle.admit(1), Some(0));
        assert!((0..2_000).all(|_| throttle.admit(1).is_none()));
        assert_eq!(throttle.admit(2), Some(0), "another one is heard");
        tokio::time::advance(PAUSE).await;
        assert_eq!(throttle.admit(1), Some(2_000));
        tokio::time::advance(PAUSE).await;
        assert_eq!(throttle.admit(1), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn many_causes_are_not_heard_more_often_than_there_is_room_for_and_none_is_uncounted() {
        let throttle = Throttle::of(10);
        let mut heard = 0;
        for cause in 0..3 * MOST_CAUSES {
            heard += usize::from(throttle.admit(cause).is_some());
        }
        assert_eq!(heard, 10);
        let mut told = 0;
        for cause in 0..3 * MOST_CAUSES {
            tokio::time::advance(PAUSE).await;
            told += throttle.admit(cause).expect("a second later");
        }
        assert_eq!(told, 3 * MOST_CAUSES as u64 - 10);
    }
}
