//! Time: points on the wall clock, and the clock that nobody can set.
//!
//! [`Time`] is what goes into the store and into answers: milliseconds since the Unix epoch, UTC.
//! [`Uptime`] is what waiting is measured with: it never jumps, counts while the machine sleeps, and means
//! nothing after a reboot. This is the only place that asks the operating system for either; everything else
//! is handed the reading, so that a test or a simulation can bring a clock of its own.
//! Imports nothing of ours.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point on the wall clock, in milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Time {
        Time(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This point, `duration` later; stops at the end of what can be counted.
    pub fn plus(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(millis_of(duration)))
    }

    /// This point, `duration` earlier.
    pub fn minus(self, duration: Duration) -> Time {
        Time(self.0.saturating_sub(millis_of(duration)))
    }

    /// How long from `earlier` to here; zero if it is not earlier.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339 with any offset, as `2026-11-22T08:00:00+07:00`.
    ///
    /// # Errors
    /// When the text is not such a point in time.
    pub fn parse(text: &str) -> Result<Time, jiff::Error> {
        Ok(Time(text.parse::<Timestamp>()?.as_millisecond()))
    }

    /// The same point in the standard library's type, for formats that want it.
    pub fn from_system(time: std::time::SystemTime) -> Time {
        let millis = match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => millis_of(after),
            Err(before) => -millis_of(before.duration()),
        };
        Time(millis)
    }
}

fn millis_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC, to the millisecond only where there is one.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            Err(_) => {
                f.write_str(if self.0 < 0 { "-009999-01-02T01:59:59Z" } else { "9999-12-30T22:00:00Z" })
            }
        }
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = String::deserialize(deserializer)?;
        Time::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Time since the machine was started, sleep included (`CLOCK_BOOTTIME`): never set, never stepped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uptime(pub Duration);

impl Uptime {
    /// This reading, `duration` later.
    pub fn plus(self, duration: Duration) -> Uptime {
        Uptime(self.0.saturating_add(duration))
    }

    /// How long from `earlier` to here; zero if it is not earlier.
    pub fn since(self, earlier: Uptime) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks, read together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What the wall clock says.
    pub time: Time,
    /// What the clock that nobody sets says.
    pub uptime: Uptime,
    /// Names this run of the machine: uptimes of two boots cannot be compared.
    pub boot: Arc<str>,
}

/// When something was: by the wall clock, and where known by the clock that nobody sets, as a second witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the wall clock.
    pub time: Time,
    /// By the uptime, with the boot that it belongs to.
    pub uptime: Option<(Uptime, String)>,
}

impl Moment {
    /// Now, as both clocks have it.
    pub fn at(reading: &Reading) -> Moment {
        Moment { time: reading.time, uptime: Some((reading.uptime, reading.boot.to_string())) }
    }

    /// By the wall clock alone.
    pub fn of_wall_clock(time: Time) -> Moment {
        Moment { time, uptime: None }
    }

    /// How long ago that was, by the clock that nobody sets; `None` if it was in another boot, or nobody looked.
    pub fn uptime_since(&self, now: &Reading) -> Option<Duration> {
        let (uptime, boot) = self.uptime.as_ref()?;
        (**boot == *now.boot).then(|| now.uptime.since(*uptime))
    }

    /// By how much the wall clock was set forward since, or back (the first value is `true`); `None` without a witness.
    pub fn step_since(&self, now: &Reading) -> Option<(bool, Duration)> {
        let truly = self.time.plus(self.uptime_since(now)?);
        Some(if truly > now.time { (true, truly.since(now.time)) } else { (false, now.time.since(truly)) })
    }

    /// Do both clocks agree, within a minute, about how long ago that was? After a reboot, and where only the
    /// wall clock was read, there is no second witness, and nothing speaks against the first.
    pub fn agrees_with(&self, now: &Reading) -> bool {
        if now.time < self.time {
            return false;
        }
        let Some(by_uptime) = self.uptime_since(now) else { return true };
        now.time.since(self.time).abs_diff(by_uptime) <= CLOCK_TOLERANCE
    }
}

/// Clocks that differ by no more than this agree: what a time service corrects now and then.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Both clocks, now.
    fn read(&self) -> Reading;

    /// The wall clock, now.
    fn now(&self) -> Time {
        self.read().time
    }
}

/// The operating system's clocks.
#[derive(Clone, Debug)]
pub struct SystemClock {
    boot: Arc<str>,
}

impl SystemClock {
    /// Reads the machine's boot identifier once.
    pub fn new() -> SystemClock {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        SystemClock { boot: Arc::from(boot.trim()) }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn read(&self) -> Reading {
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(uptime.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(uptime.tv_nsec).unwrap_or(0);
        Reading {
            time: Time::from_system(std::time::SystemTime::now()),
            uptime: Uptime(Duration::new(seconds, nanos)),
            boot: Arc::clone(&self.boot),
        }
    }
}

/// `2d 3h`, `1h 05m`, `4m 10s`, `12s`: a duration as a person says it, in its two largest units.
pub fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, m) => format!("{m}m {:02}s", seconds % 60),
        (0, h, m) => format!("{h}h {m:02}m"),
        (d, h, _) => format!("{d}d {h}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_reads_back_as_it_was_written() {
        let time = Time::parse("2026-11-22T08:00:00+07:00").expect("valid");
        assert_eq!(time.to_string(), "2026-11-22T01:00:00Z");
        assert_eq!(Time::parse(&time.to_string()).expect("valid"), time);
    }

    #[test]
    fn arithmetic_stops_at_the_ends_instead_of_wrapping() {
        let end = Time::from_millis(i64::MAX);
        assert_eq!(end.plus(Duration::from_secs(1)), end);
        assert_eq!(Time::from_millis(5).since(end), Duration::ZERO);
        assert!(!end.to_string().is_empty());
    }

    #[test]
    fn durations_are_said_in_their_two_largest_units() {
        let said = |seconds| spoken(Duration::from_secs(seconds));
        assert_eq!(said(12), "12s");
        assert_eq!(said(250), "4m 10s");
        assert_eq!(said(3_900), "1h 05m");
        assert_eq!(said(90 * 86_400), "90d 0h");
    }

    #[test]
    fn a_moment_is_agreed_upon_only_where_both_clocks_tell_the_same_time() {
        let boot: Arc<str> = "b".into();
        let reading = |time, uptime| Reading {
            time: Time::from_millis(time),
            uptime: Uptime(Duration::from_millis(uptime)),
            boot: boot.clone(),
        };
        let moment = Moment::at(&reading(1_000_000, 1_000));
        assert!(moment.agrees_with(&reading(4_600_000, 3_601_000)));
        assert!(!moment.agrees_with(&reading(4_600_000, 1_000)), "the wall clock was set forward");
        assert!(!moment.agrees_with(&reading(0, 3_601_000)), "the wall clock was set back");
        let after_reboot = Reading { boot: "c".into(), ..reading(4_600_000, 5) };
        assert!(moment.agrees_with(&after_reboot));
        let before = Reading { boot: "c".into(), ..reading(0, 5) };
        assert!(!moment.agrees_with(&before), "nothing is obtained in the future");
    }

    #[test]
    fn the_uptime_moves_forward() {
        let clock = SystemClock::new();
        let first = clock.read();
        let second = clock.read();
        assert!(second.uptime >= first.uptime);
        assert_eq!(first.boot, second.boot);
    }
}
