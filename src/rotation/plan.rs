//! When to refresh: shortly before the access token ends, and well before the refresh token does.
//!
//! The lead in front of an end is `before_expiry` plus the OA's own share of `jitter`. It never takes more than
//! half of a token's real life, so that a token of five seconds is refreshed in time and not in a loop.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Timing;
use crate::clock::{CLOCK_TOLERANCE, Moment, Reading, Time};
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
    if obtained_at > now.plus(CLOCK_TOLERANCE) {
        return now;
    }
    let by_access = access_token_expires_at.minus(lead(timing, lifetimes, oa, access_token_expires_at));
    let by_refresh = refresh_token_expires_at.minus(refresh_token_lead(timing, lifetimes, oa));
    // A clock that was corrected by seconds since does not make the token live longer.
    by_access.min(by_refresh).minus(obtained_at.since(now))
}

/// How long before its refresh token ends the set is refreshed.
fn refresh_token_lead(timing: &Timing, lifetimes: &Lifetimes, oa: &OaId) -> Duration {
    let early = Timing { before_expiry: timing.before_expiry.max(REFRESH_TOKEN_LEAD), ..timing.clone() };
    lead(&early, lifetimes, oa, lifetimes.refresh_token_expires_at)
}

/// How long before this end the set is refreshed.
fn lead(timing: &Timing, lifetimes: &Lifetimes, oa: &OaId, end: Time) -> Duration {
    let wanted = timing.before_expiry.saturating_add(timing.jitter);
    let most = end.since(lifetimes.obtained_at) / 2;
    let early = timing.before_expiry.saturating_add(timing.jitter.mul_f64(spread(oa)));
    // Scaled down as a whole, so that OAs with short-lived tokens are spread out too.
    if wanted <= most { early } else { most.mul_f64(early.as_secs_f64() / wanted.as_secs_f64().max(1e-9)) }
}

/// When a quarter of the set's lead is left: what is to be tried before one of its tokens ends, is tried by then.
pub fn last_call(timing: &Timing, lifetimes: &Lifetimes, oa: &OaId) -> Time {
    let by_refresh = lifetimes.refresh_token_expires_at.minus(refresh_token_lead(timing, lifetimes, oa) / 4);
    match lifetimes.access_token_expires_at {
        Some(end) => by_refresh.min(end.minus(lead(timing, lifetimes, oa, end) / 4)),
        None => by_refresh,
    }
}

/// Is a plan due that was made at `planned` for `at`? The clock that nobody sets is believed as well as the wall clock:
/// whichever comes first. Where there is only the wall clock, a plan that was made in the future is due: it was set
/// back since.
pub fn is_due(at: Time, planned: Option<&Moment>, now: &Reading) -> bool {
    let Some(planned) = planned else { return at <= now.time };
    at <= now.time
        || match planned.uptime_since(now) {
            Some(elapsed) => elapsed >= at.since(planned.time),
            None => planned.time > now.time.plus(CLOCK_TOLERANCE),
        }
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
    use crate::clock::Uptime;
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
    fn a_minute_between_two_clocks_is_no_disagreement_and_a_millisecond_more_is_one() {
        let lifetimes = set(25 * HOUR, 90 * 24 * HOUR);
        let obtained_at = lifetimes.obtained_at;
        let later_than_now = |now| refresh_at(&Timing::default(), &lifetimes, &OaId::from("1"), now) > now;
        let rebooted = |time| Reading { time, uptime: Uptime(HOUR), boot: "b".into() };
        let planned = Moment::at(&Reading { boot: "a".into(), ..rebooted(obtained_at) });
        let due = |now| is_due(obtained_at.plus(23 * HOUR), Some(&planned), &rebooted(now));
        let a_minute_back = obtained_at.minus(CLOCK_TOLERANCE);
        assert!(later_than_now(a_minute_back) && !due(a_minute_back));
        let further_back = a_minute_back.minus(Duration::from_millis(1));
        assert!(!later_than_now(further_back) && due(further_back));
    }

    #[test]
    fn a_clock_that_was_corrected_by_seconds_does_not_make_a_token_live_longer() {
        let lifetimes = set(Duration::from_secs(5), 90 * 24 * HOUR);
        let now = lifetimes.obtained_at.minus(Duration::from_secs(30));
        let at = refresh_at(&Timing::default(), &lifetimes, &OaId::from("1"), now);
        assert!(at.since(now) < Duration::from_secs(5), "{:?}", at.since(now));
    }

    #[test]
    fn a_plan_is_due_by_whichever_clock_comes_first() {
        let boot = |name: &str| std::sync::Arc::<str>::from(name);
        let reading = |hours: i64, uptime: u32, name| Reading {
            time: Time::from_millis(1_800_000_000_000 + hours * 3_600_000),
            uptime: Uptime(HOUR * uptime),
            boot: boot(name),
        };
        let planned = Moment::at(&reading(0, 10, "a"));
        let at = planned.time.plus(23 * HOUR);
        let due = |hours, uptime, name| is_due(at, Some(&planned), &reading(hours, uptime, name));
        assert!(!due(22, 32, "a") && due(23, 33, "a"));
        assert!(due(23, 11, "a") && due(90_000, 10, "a"), "set forward: due once");
        assert!(!due(-1, 11, "a") && !due(-90_000, 12, "a"), "set back: not earlier than planned");
        assert!(due(-90_000, 33, "a"), "set back: nor later");
        assert!(due(-1, 1, "b") && !due(1, 1, "b"), "set back over a restart of the machine: due");
        let by_wall_clock = Moment::of_wall_clock(planned.time);
        assert!(is_due(at, Some(&by_wall_clock), &reading(-1, 11, "a")));
        assert!(!is_due(at, None, &reading(0, 10, "a")) && is_due(at, None, &reading(23, 10, "a")));
    }

    #[test]
    fn the_last_call_leaves_a_quarter_of_the_lead() {
        let lifetimes = set(25 * HOUR, 90 * 24 * HOUR);
        let timing = Timing { jitter: Duration::ZERO, ..Timing::default() };
        let call = last_call(&timing, &lifetimes, &OaId::from("1"));
        assert_eq!(lifetimes.access_token_expires_at.map(|end| end.since(call)), Some(HOUR / 2));
        let long = set(400 * 24 * HOUR, 90 * 24 * HOUR);
        let call = last_call(&timing, &long, &OaId::from("1"));
        assert_eq!(long.refresh_token_expires_at.since(call), 18 * HOUR, "whichever token ends first");
    }

    #[test]
    fn an_oas_share_is_what_it_was_in_earlier_versions_so_that_an_upgrade_moves_no_plan() {
        let first_bytes_of_its_sha256 = f64::from(0x6b86_b273_u32);
        assert_eq!(
            spread(&OaId::from("1")).to_bits(),
            (first_bytes_of_its_sha256 * 2f64.powi(-32)).to_bits()
        );
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
