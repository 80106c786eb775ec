//! How long it takes until something is tried again. Pure: the dice are an argument.

use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// Nothing is tried again sooner.
const LEAST: Duration = Duration::from_millis(100);
/// The longest wait for a file, which costs little to try.
const LONGEST_FOR_A_FILE: Duration = Duration::from_secs(60);
/// The longest wait for a server.
const LONGEST_FOR_A_SERVER: Duration = Duration::from_secs(3_600);
/// So long a server is told of an event in vain.
const PATIENCE: Duration = Duration::from_secs(24 * 3_600);
/// And so often at least: a clock that was set forward ends nobody's patience.
const LEAST_TRIES: u32 = 12;
/// How often a hook is run for one event.
const HOOK_TRIES: u32 = 5;

/// The wait after so many failures: doubled with each, from a second to `longest`.
fn doubled(failures: u32, longest: Duration) -> Duration {
    let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
    SECOND.saturating_mul(factor).min(longest)
}

/// Until a file is written again.
pub(super) fn of_file(failures: u32) -> Duration {
    doubled(failures, LONGEST_FOR_A_FILE)
}

/// Until a hook is run again for the same event; `None`: it is given up.
pub(super) fn of_hook(failures: u32) -> Option<Duration> {
    (failures < HOOK_TRIES).then(|| doubled(failures, LONGEST_FOR_A_FILE))
}

/// Until a server is told again, by full jitter: `roll` is from 0 to 1. `None`: it is given up, being told in vain for
/// `waited` by now.
pub(super) fn of_webhook(failures: u32, waited: Duration, roll: f64) -> Option<Duration> {
    if waited > PATIENCE && failures >= LEAST_TRIES {
        return None;
    }
    Some(doubled(failures, LONGEST_FOR_A_SERVER).mul_f64(roll.clamp(0.0, 1.0)).max(LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_webhook_waits_from_a_second_to_an_hour_by_full_jitter() {
        let longest: Vec<u64> = (1..=14)
            .map(|failures| of_webhook(failures, HOUR, 1.0).expect("tried again").as_secs())
            .collect();
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 3_600, 3_600]);
        assert_eq!(of_webhook(u32::MAX, HOUR, 0.5), Some(HOUR / 2));
        assert_eq!(of_webhook(3, HOUR, 0.0), Some(LEAST));
    }

    #[test]
    fn a_webhook_is_given_up_after_a_day_and_a_clock_that_jumps_does_not_end_it() {
        assert!(of_webhook(40, 24 * HOUR, 0.5).is_some());
        assert_eq!(of_webhook(40, 24 * HOUR + SECOND, 0.5), None);
        assert!(of_webhook(2, 9_999 * HOUR, 0.5).is_some(), "it was hardly tried");
        // By the longest waits there are, it was tried often enough when the day is over.
        let mut waited = Duration::ZERO;
        let mut failures = 1;
        while let Some(wait) = of_webhook(failures, waited, 1.0) {
            (waited, failures) = (waited + wait, failures + 1);
        }
        assert!(failures >= LEAST_TRIES && waited <= 26 * HOUR, "{failures} {waited:?}");
    }

    #[test]
    fn a_file_is_tried_at_least_every_minute_and_a_hook_five_times() {
        assert_eq!((of_file(1), of_file(4), of_file(99)), (SECOND, 8 * SECOND, 60 * SECOND));
        let waits: Vec<_> = (1..).map_while(of_hook).collect();
        assert_eq!(waits, [1, 2, 4, 8].map(Duration::from_secs));
    }
}
