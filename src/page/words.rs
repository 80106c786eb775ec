//! Points in time and lengths of time, as people say them in each language.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::lang::Lang;
use crate::clock::Time;

/// The time zone of Vietnam, which never changes its clocks.
const VIETNAM: TimeZone = TimeZone::fixed(Offset::constant(7));

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A point in time, to the minute, as a clock in Vietnam shows it.
pub(super) fn moment(lang: Lang, time: Time) -> String {
    let Ok(timestamp) = Timestamp::from_millisecond(time.as_millis()) else { return time.to_string() };
    let at = timestamp.to_zoned(VIETNAM);
    let (year, month, day, hour, minute) = (at.year(), at.month(), at.day(), at.hour(), at.minute());
    match lang {
        Lang::Vi => format!("{hour:02}:{minute:02} {day:02}/{month:02}/{year}"),
        Lang::En => {
            let month = usize::try_from(month - 1).ok().and_then(|month| MONTHS.get(month));
            format!("{day} {} {year}, {hour:02}:{minute:02}", month.unwrap_or(&""))
        }
    }
}

/// A length of time in its largest unit, or its two largest where the largest alone says too little.
pub(super) fn length(lang: Lang, duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    let (days, hours) = (minutes / 1_440, minutes / 60);
    match (days, hours, minutes) {
        (0, 0, 0) => lang.pick("chưa đến một phút", "less than a minute").to_owned(),
        (0, 0, _) => count(lang, minutes, MINUTE),
        (0, 1..6, _) if !minutes.is_multiple_of(60) => {
            format!("{} {}", count(lang, hours, HOUR), count(lang, minutes % 60, MINUTE))
        }
        (0, _, _) => count(lang, hours, HOUR),
        (1..3, _, _) if !hours.is_multiple_of(24) => {
            format!("{} {}", count(lang, days, DAY), count(lang, hours % 24, HOUR))
        }
        (_, _, _) => count(lang, days, DAY),
    }
}

/// How long it is until then: `còn 3 giờ`, `3 hours left`; or that it is over.
pub(super) fn left(lang: Lang, until: Time, now: Time) -> String {
    if until <= now {
        return lang.pick("đã hết", "ended").to_owned();
    }
    let length = length(lang, until.since(now));
    match lang {
        Lang::Vi => format!("còn {length}"),
        Lang::En => format!("{length} left"),
    }
}

type Unit = (&'static str, &'static str);

const MINUTE: Unit = ("phút", "minute");
const HOUR: Unit = ("giờ", "hour");
const DAY: Unit = ("ngày", "day");

fn count(lang: Lang, number: u64, (vi, en): Unit) -> String {
    match (lang, number) {
        (Lang::Vi, _) => format!("{number} {vi}"),
        (Lang::En, 1) => format!("1 {en}"),
        (Lang::En, _) => format!("{number} {en}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_said_in_the_units_that_matter() {
        let minute = 60;
        let (hour, day) = (60 * minute, 24 * 60 * minute);
        for (seconds, vi, en) in [
            (0, "chưa đến một phút", "less than a minute"),
            (59, "chưa đến một phút", "less than a minute"),
            (minute, "1 phút", "1 minute"),
            (hour, "1 giờ", "1 hour"),
            (3 * hour + 5 * minute, "3 giờ 5 phút", "3 hours 5 minutes"),
            (23 * hour + 59 * minute, "23 giờ", "23 hours"),
            (day + hour, "1 ngày 1 giờ", "1 day 1 hour"),
            (2 * day, "2 ngày", "2 days"),
            (89 * day + 23 * hour, "89 ngày", "89 days"),
        ] {
            let duration = Duration::from_secs(seconds);
            assert_eq!((&*length(Lang::Vi, duration), &*length(Lang::En, duration)), (vi, en));
        }
        let (now, later) = (Time::from_millis(0), Time::from_millis(3 * 3_600_000));
        assert_eq!([left(Lang::Vi, later, now), left(Lang::En, later, now)], ["còn 3 giờ", "3 hours left"]);
        assert_eq!([left(Lang::Vi, now, now), left(Lang::En, now, later)], ["đã hết", "ended"]);
    }

    #[test]
    fn a_point_in_time_is_that_of_a_clock_in_vietnam() {
        let time = Time::parse("2026-12-31T18:05:00Z").expect("valid");
        assert_eq!(moment(Lang::Vi, time), "01:05 01/01/2027");
        assert_eq!(moment(Lang::En, time), "1 Jan 2027, 01:05");
        for odd in [i64::MIN, i64::MAX] {
            assert!(!moment(Lang::Vi, Time::from_millis(odd)).is_empty());
        }
    }
}
