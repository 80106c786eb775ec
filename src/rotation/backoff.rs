//! How long to wait: full jitter, bounded, by dice that the caller rolls.

use std::time::Duration;

use super::Timing;

/// A roll of the dice: uniform in `0.0..1.0`.
#[derive(Clone, Copy, Debug)]
pub struct Roll(pub f64);

/// The longest `Retry-After` that is honoured. Half of the default lead: a service that asks for more is asked
/// again while the old access token still lives.
pub fn longest_retry_after() -> Duration {
    Duration::from_secs(3_600)
}

/// The shortest wait, so that even an unlucky roll makes no storm.
const SHORTEST: Duration = Duration::from_millis(50);

/// Full jitter: uniform from 0 to `retry_first`·2ⁿ, at most `retry_max`, where n counts the failures before.
pub fn retry_wait(timing: &Timing, failures: u32, roll: Roll) -> Duration {
    doubled(timing.retry_first, failures, timing.retry_max)
        .mul_f64(roll.0)
        .max(SHORTEST.min(timing.retry_first))
}

/// One of the few tries after an undocumented error code: uniform in the upper half of `retry_max`.
pub fn slow_wait(timing: &Timing, roll: Roll) -> Duration {
    timing.retry_max.mul_f64(0.5 + roll.0 / 2.0)
}

/// After a 429: what the service asks for, up to [`longest_retry_after`], and the usual wait on top, so that not all
/// that were sent away come back at the same instant.
pub fn throttled_wait(timing: &Timing, retry_after: Option<Duration>, failures: u32, roll: Roll) -> Duration {
    let asked = retry_after.unwrap_or_default().min(longest_retry_after());
    asked + retry_wait(timing, failures, roll)
}

/// `first`·2ⁿ, at most `longest`.
pub(super) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(2u32.saturating_pow(times.min(31))).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_wait_exceeds_the_longest_or_is_nothing(failures in 0u32..1_000, roll in 0.0..1.0f64) {
            let timing = Timing::default();
            let wait = retry_wait(&timing, failures, Roll(roll));
            prop_assert!(wait <= timing.retry_max && wait >= SHORTEST);
            let slow = slow_wait(&timing, Roll(roll));
            prop_assert!(slow <= timing.retry_max && slow >= timing.retry_max / 2);
        }

        #[test]
        fn retry_after_is_honoured_within_an_hour(seconds in 0u64..u64::MAX / 2, roll in 0.0..1.0f64) {
            let timing = Timing::default();
            let wait = throttled_wait(&timing, Some(Duration::from_secs(seconds)), 3, Roll(roll));
            prop_assert!(wait >= Duration::from_secs(seconds.min(3_600)));
            prop_assert!(wait <= longest_retry_after() + timing.retry_max);
        }
    }

    #[test]
    fn the_first_wait_is_within_retry_first_and_the_ceiling_doubles() {
        let timing = Timing::default();
        let almost_one = Roll(0.999_999);
        assert!(retry_wait(&timing, 0, almost_one) <= timing.retry_first);
        assert!(retry_wait(&timing, 1, almost_one) > timing.retry_first);
        assert!(retry_wait(&timing, 1, almost_one) <= 2 * timing.retry_first);
    }
}
