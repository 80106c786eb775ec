//! What single values of the config file mean: durations, cron expressions, URLs, ids, log filters.
//!
//! Pure: text in, value or [`Wrong`] out. The wording of a [`Wrong`] follows "`key` …".

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::problems::Wrong;
use super::schema;
use crate::clock::{Clock, SystemClock};
use crate::http::is_loopback;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Which durations a key accepts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) least: Duration,
    pub(super) most: Duration,
}

impl Bounds {
    pub(super) const fn new(least: Duration, most: Duration) -> Bounds {
        Bounds { least, most }
    }
}

/// A duration in the largest unit that says it exactly: `90s`, `2h`, `30d`.
pub(super) fn said(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() != 0 {
        return humantime::format_duration(duration).to_string();
    }
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")];
    let exact =
        units.iter().find(|(unit, _)| seconds >= unit.as_secs() && seconds.is_multiple_of(unit.as_secs()));
    exact.map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", seconds / unit.as_secs()))
}

/// A humantime duration within `bounds`.
pub(super) fn duration(text: &str, bounds: Bounds) -> Result<Duration, Wrong> {
    let right = "write numbers with units in quotes, as \"90s\", \"2h\", \"1h 30m\" or \"3months\"";
    let value = humantime::parse_duration(text)
        .map_err(|error| Wrong::new(format!("is no duration: {}", reason(text, &error)), right))?;
    let accepted = format!("{} to {} is accepted", said(bounds.least), said(bounds.most));
    if value < bounds.least {
        Err(Wrong::new(format!("is {}, which is too short", said(value)), accepted))
    } else if value > bounds.most {
        Err(Wrong::new(format!("is {}, which is too long", said(value)), month_hint(text, accepted)))
    } else {
        Ok(value)
    }
}

/// `1M` is a month, which has surprised people who meant a minute.
fn month_hint(text: &str, accepted: String) -> String {
    if text.contains('M') { format!("{accepted} (M is months, m is minutes)") } else { accepted }
}

/// humantime's own reason; where that repeats a part of the text, only if it is sure to be none of a secret.
fn reason(text: &str, error: &humantime::DurationError) -> String {
    let is_plain = schema::is_showable(&text.replace([' ', '.'], ""));
    match error {
        humantime::DurationError::UnknownUnit { .. } if !is_plain => {
            "a unit that is not known; there are ms, s, m, h, d, w, months and years".to_owned()
        }
        humantime::DurationError::UnknownUnit { .. }
        | humantime::DurationError::InvalidCharacter(_)
        | humantime::DurationError::NumberExpected(_)
        | humantime::DurationError::NumberOverflow
        | humantime::DurationError::Empty => error.to_string(),
    }
}

/// A cron expression of six fields that has a next time; trimmed.
pub(super) fn cron(text: &str) -> Result<String, Wrong> {
    let right =
        "write six fields, as \"0 30 * * * *\": seconds, minutes, hours, days, months, weekdays (UTC)";
    match text.split_whitespace().count() {
        6 => {}
        5 => {
            let what = "has five fields, as in a crontab, but the seconds come first here";
            return Err(Wrong::new(what, "put a second in front, as in \"0 30 * * * *\" for minute 30"));
        }
        count => return Err(Wrong::new(format!("has {count} fields"), right)),
    }
    // croner's reasons repeat the text, so it sees nothing that could be a secret.
    if text.len() > 200 || !text.split(is_cron_mark).all(is_cron_word) {
        return Err(Wrong::new("is no cron expression", right));
    }
    let cron = parse_cron(text).map_err(|error| {
        Wrong::new(format!("is no cron expression: {}", error.to_string().trim_end_matches('.')), right)
    })?;
    match cron.find_next_occurrence(&now(), false) {
        Ok(_) => Ok(text.trim().to_owned()),
        Err(_) => Err(Wrong::new("never comes", "name a day and a month that exist together")),
    }
}

fn is_cron_mark(mark: char) -> bool {
    matches!(mark, ' ' | '\t' | '*' | '/' | ',' | '-' | '?' | '#' | '+')
}

/// A short number, or as many letters as a month, a weekday, `L` or `W` has, or both.
fn is_cron_word(word: &str) -> bool {
    let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    letters + digits == word.len() && letters <= 4 && digits <= 4
}

/// Parses as tokio-cron-scheduler 0.15 does (`Job::new_async_tz`), except that a seventh field is refused.
fn parse_cron(text: &str) -> Result<Cron, croner::errors::CronError> {
    CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Disallowed)
        .dom_and_dow(true)
        .build()
        .parse(text)
}

/// Does a cron expression leave whole minutes out, in the course of a day or of a year?
pub(super) fn skips_minutes(text: &str) -> bool {
    let Ok(cron) = parse_cron(text) else { return false };
    let now = now().timestamp();
    let midnight = now - now.rem_euclid(86_400);
    let minutes = (0..1_440).map(|minute| minute * 60);
    let days = (0..366).map(|day| day * 86_400);
    minutes.chain(days).any(|offset| {
        let Some(start) = DateTime::from_timestamp(midnight + offset, 0) else { return false };
        let next = cron.find_next_occurrence(&start, true);
        next.map_or(true, |next| (next - start).num_seconds() >= 60)
    })
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(SystemClock::new().now().as_millis()).unwrap_or_default()
}

/// A filter for `tracing`: a level, or directives like `info,zalo_tokend=debug`.
pub(super) fn log_filter(text: &str) -> Result<String, Wrong> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let right = "write error, warn, info, debug or trace, or a filter like \"info,zalo_tokend=debug\"";
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    // A bare word that is no level would be taken for the name of a module: a misspelt level logs nothing.
    let is_misspelt = |word: &str| {
        !is_level(word)
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    if text.trim().is_empty() {
        return Err(Wrong::new("is empty", right));
    }
    if !text.contains('[') && text.split(',').any(|word| is_misspelt(word.trim())) {
        return Err(Wrong::new("names a level that there is not", right));
    }
    // tracing-subscriber 0.3.23 panics on some text beyond ASCII (`0ﬀ=`), and no target has any.
    if !text.is_ascii() {
        return Err(Wrong::new("is no log filter", right));
    }
    // The reason is left out: it repeats the text.
    EnvFilter::builder().parse(text).map_err(|_| Wrong::new("is no log filter", right))?;
    Ok(text.trim().to_owned())
}

/// A URL that tokens are sent to: `https`, or `http` to this machine; no user, query or fragment.
pub(super) fn endpoint(text: &str) -> Result<Url, Wrong> {
    let right = "write it as \"https://host/path\"";
    let url = Url::parse(text).map_err(|error| Wrong::new(format!("is no URL: {error}"), right))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            let what = "is http:// to another host, where everybody on the way reads the tokens";
            return Err(Wrong::new(
                what,
                "write https://; http:// is for 127.0.0.1, [::1] and localhost only",
            ));
        }
        _ => return Err(Wrong::new("is neither https:// nor http://", right)),
    }
    let foreign = [
        (!url.username().is_empty() || url.password().is_some(), "a user or password"),
        (url.query().is_some(), "a query"),
        (url.fragment().is_some(), "a fragment"),
    ];
    match foreign.iter().find(|(is_there, _)| *is_there) {
        Some((_, part)) => Err(Wrong::new(format!("has {part}, which a URL here must not"), right)),
        None => Ok(url),
    }
}

/// An [`endpoint`] that paths are appended to: trailing slashes are taken off.
pub(super) fn endpoint_root(text: &str) -> Result<Url, Wrong> {
    let mut url = endpoint(text)?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// An address to listen at: one of this machine, unless others are to reach it; `why` not, is told.
pub(super) fn listen(text: &str, allow_remote: bool, why: &str) -> Result<SocketAddr, Wrong> {
    let right = "write an address and a port, as \"127.0.0.1:8787\" or \"[::1]:8787\"";
    let address: SocketAddr = text.parse().map_err(|_| Wrong::new("is no address", right))?;
    if address.ip().is_loopback() || allow_remote {
        return Ok(address);
    }
    let right = "listen at 127.0.0.1 or [::1], or add allow_remote = true and a TLS proxy in front";
    Err(Wrong::new(why, right))
}

/// The URL of a proxy. It may hold a password, so no message repeats any of it.
pub(super) fn proxy(text: &str) -> Result<Url, Wrong> {
    let right = "write it as \"http://host:port\"";
    let url = Url::parse(text).map_err(|error| Wrong::new(format!("is no URL: {error}"), right))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Wrong::new(
            "is neither http:// nor https://, and no other kind of proxy is supported",
            right,
        ));
    }
    if url.query().is_some() || url.fragment().is_some() || url.path() != "/" {
        return Err(Wrong::new("has a path, query or fragment", right));
    }
    Ok(url)
}

/// The id of an OA or an app.
pub(super) fn id(text: &str) -> Result<String, Wrong> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if is_plain && (1..=64).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    let what = if text.is_empty() {
        "is empty"
    } else if is_plain {
        "is longer than an id is"
    } else {
        "has a character that no id has"
    };
    Err(Wrong::new(what, "an id is 1 to 64 characters of A-Z, a-z, 0-9, _ and -"))
}

/// What people call an OA.
pub(super) fn name(text: &str) -> Result<String, Wrong> {
    let right = "write 1 to 128 characters on one line, or take the key out";
    match text.chars().count() {
        _ if text.trim().is_empty() => Err(Wrong::new("is empty", right)),
        129.. => Err(Wrong::new("is too long", right)),
        _ if text.chars().any(char::is_control) => Err(Wrong::new("has a control character", right)),
        _ => Ok(text.to_owned()),
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Wrong> {
    let quoted: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let right = match schema::nearest(text, words.iter().map(|(word, _)| *word)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("write {}", quoted.join(" or ")),
    };
    let meant = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
    meant.ok_or_else(|| Wrong::new(format!("is neither {}", quoted.join(" nor ")), right))
}
