//! When to refresh: shortly before the access token ends, and well before the refresh token does.
//!
//! The lead in front of an end is `before_expiry` plus the OA's own share of `jitter`. It never takes more than
//! half of a token's real life, so that a token of five seconds is refreshed in time and not in a loop.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Timing;
use crate::clock::Time;
use crate::id::OaId;

/// A refresh token is renewed at least this long before its end, however long the access token lives.
const REFRESH_TOKEN_LEAD: Duration = Duration::from_secs(3 * 86_400);

/// From when to when the tokens of a set live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// When the set was obtained.
    pub obtained_at: Time,
    /// When its access token ends; `None` if it has none.
    pub access_token_expires_at: Option<Time>,
    /// When its refresh token ends.
    pub refresh_token_expires_at: Time,
}

/// When the set is to be refreshed. A set without access token and one that was obtained in the future (a clock
/// that was wrong then or is wrong now) are due at once.
pub fn refresh_at(timing: &Timing, lifetimes: &Lifetimes, oa: &OaId, now: Time) -> Time {
    let Lifetimes { obtained_at, access_token_expires_at, refresh_token_expires_at } = *lifetimes;
    let Some(access_token_expires_at) = access_token_expires_at else { return now };
    if obtained_at > now {
        return now;
    }
    let lead = |least: Duration, end: Time| {
        let wanted = timing.before_expiry.max(least).saturating_add(timing.jitter);
        let most = end.since(obtained_at) / 2;
        let early = timing.before_expiry.max(least).saturating_add(timing.jitter.mul_f64(spread(oa)));
        // Scaled down as a whole, so that OAs with short-lived tokens are spread out too.
        if wanted <= most {
            early
        } else {
            most.mul_f64(early.as_secs_f64() / wanted.as_secs_f64().max(1e-9))
        }
    };
    let by_access = access_token_expires_at.minus(lead(Duration::ZERO, access_token_expires_at));
    let by_refresh = refresh_token_expires_at.minus(lead(REFRESH_TOKEN_LEAD, refresh_token_expires_at));
    by_access.min(by_refresh)
}

/// The OA's own share of the jitter, in `0.0..1.0`: the same after every restart, another for every OA.
pub fn spread(oa: &OaId) -> f64 {
    let hash = Sha256::digest(oa.as_str().as_bytes());
    let bytes = [hash[0], hash[1], hash[2], hash[3]];
    f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn set(access: Duration, refresh: Duration) -> Lifetimes {
        let obtained_at = Time::from_millis(1_800_000_000_000);
        Lifetimes {
            obtained_at,
            access_token_expires_at: Some(obtained_at.plus(access)),
            refresh_token_expires_at: obtained_at.plus(refresh),
        }
    }

    fn after(lifetimes: &Lifetimes) -> Duration {
        refresh_at(&Timing::default(), lifetimes, &OaId::from("1"), lifetimes.obtained_at)
            .since(lifetimes.obtained_at)
    }

    #[test]
    fn a_set_of_25_hours_is_refreshed_between_two_hours_and_two_hours_twenty_before_its_end() {
        let wait = after(&set(25 * HOUR, 90 * 24 * HOUR));
        assert!(wait <= 23 * HOUR && wait >= 23 * HOUR - HOUR / 3, "{wait:?}");
    }

    #[test]
    fn a_refresh_token_that_ends_sooner_than_usual_sets_the_date() {
        let wait = after(&set(400 * 24 * HOUR, 90 * 24 * HOUR));
        assert!(wait <= 87 * 24 * HOUR && wait > 86 * 24 * HOUR, "{wait:?}");
        let short = after(&set(25 * HOUR, 10 * HOUR));
        assert!(short >= 5 * HOUR && short <= 10 * HOUR, "{short:?}");
    }

    #[test]
    fn sets_of_the_future_or_without_access_token_are_due_at_once() {
        let mut lifetimes = set(25 * HOUR, 90 * 24 * HOUR);
        let now = lifetimes.obtained_at.minus(HOUR);
        let plan = |l: &Lifetimes| refresh_at(&Timing::default(), l, &OaId::from("1"), now);
        assert_eq!(plan(&lifetimes), now);
        lifetimes.access_token_expires_at = None;
        assert_eq!(plan(&lifetimes), now);
    }

    #[test]
    fn oas_are_spread_over_the_jitter_and_stay_where_they_are() {
        let shares: Vec<f64> = (0..1_000).map(|n| spread(&OaId::from(n.to_string()))).collect();
        assert_eq!(shares[7].to_bits(), spread(&OaId::from("7")).to_bits());
        for tenth in 0..10 {
            let (from, to) = (f64::from(tenth) / 10.0, f64::from(tenth + 1) / 10.0);
            assert!(shares.iter().filter(|s| (from..to).contains(*s)).count() > 50);
        }
    }

    proptest! {
        #[test]
        fn the_lead_never_takes_more_than_half_of_the_shorter_life(
            access in 1u64..40_000_000, refresh in 1u64..40_000_000, lead in 1u64..3_000_000, jitter in 0u64..3_000_000, oa in "[0-9]{1,18}",
        ) {
            let timing = Timing {
                before_expiry: Duration::from_secs(lead),
                jitter: Duration::from_secs(jitter),
                ..Timing::default()
            };
            let lifetimes = set(Duration::from_secs(access), Duration::from_secs(refresh));
            let at = refresh_at(&timing, &lifetimes, &OaId::from(oa), lifetimes.obtained_at);
            let wait = at.since(lifetimes.obtained_at);
            // Within a millisecond: that is how finely time is kept.
            prop_assert!(wait + Duration::from_millis(2) >= Duration::from_secs(access.min(refresh)) / 2);
            prop_assert!(wait < Duration::from_secs(access.min(refresh)));
        }
    }
}
