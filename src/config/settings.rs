//! The sections that stand once: each key with its default and its bounds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeTable;

use super::files::{self, Around};
use super::problems::{Report, Wrong};
use super::schema;
use super::section::{Section, unknown_sections};
use super::values::{self, Bounds, said};
use super::{Config, Http, Log, LogFormat, Schedule, Secrets, api, authorize, fleet, publish};
use crate::rotation::timing::{Timing, Unprovable};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);
const DECADE: Duration = Duration::from_secs(3_650 * 86_400);

/// The bounds of the contract; where it is silent, as wide as makes sense.
const BEFORE_EXPIRY: Bounds = Bounds::new(SECOND, Duration::from_secs(30 * 86_400));
const JITTER: Bounds = Bounds::new(Duration::ZERO, Duration::from_secs(30 * 86_400));
const TIMEOUT: Bounds = Bounds::new(SECOND, Duration::from_secs(600));
const PAUSE: Bounds = Bounds::new(Duration::from_millis(50), DAY);
/// From what a test on fast clocks needs to ten years.
pub(super) const LIFETIME: Bounds = Bounds::new(SECOND, DECADE);
const KEEP_HISTORY: Bounds = Bounds::new(MINUTE, DECADE);

/// The store when neither the file nor systemd says where.
const STORE_DIRECTORY: &str = "/var/lib/zalo-tokend";
const STORE_FILE: &str = "tokens.db";

/// The whole config; None or a wrong one when there are problems, which are in the report then.
pub(super) fn config(
    file: &Path,
    document: &DeTable<'_>,
    around: &Around<'_>,
    report: &mut Report<'_>,
) -> Option<Config> {
    unknown_sections(document, report);
    let store_path = store_path(&Section::one(document, &schema::STORE, report), around, report);
    let log = log(&Section::one(document, &schema::LOG, report), report);
    let refresh = Section::one(document, &schema::REFRESH, report);
    let refresh_token = Section::one(document, &schema::REFRESH_TOKEN, report);
    let timing = timing(&refresh, &refresh_token, report);
    let timeout = duration(&refresh, "timeout", MINUTE, TIMEOUT, report);
    let http = http(&Section::one(document, &schema::HTTP, report), around, report);
    let remind = remind(&refresh_token, report);
    let schedule = schedule(&Section::one(document, &schema::SCHEDULE, report), report);
    let fleet = fleet::fleet(document, around, report);
    let api = api::api(document, around, report);
    let authorize = authorize::authorize(document, report);
    let publish = publish::publish(document, &store_path, around, report);
    Some(Config {
        file: file.to_owned(),
        store_path,
        log,
        timing,
        timeout,
        http,
        remind,
        schedule,
        apps: fleet.apps,
        oas: Arc::new(fleet.oas),
        vendors: fleet.vendors,
        vendor_oas: Arc::new(fleet.vendor_oas),
        api,
        authorize,
        publish,
        notes: fleet.notes,
    })
}

/// The duration under this key, or its default; None when what is written there is wrong.
fn duration_if_right(
    section: &Section<'_, '_>,
    key: &str,
    default: Duration,
    bounds: Bounds,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let example = format!("\"{}\"", said(default));
    match section.position(key) {
        Some(_) => section.read(key, &example, report, |text| values::duration(text, bounds)),
        None => Some(default),
    }
}

/// The duration under this key, or its default.
pub(super) fn duration(
    section: &Section<'_, '_>,
    key: &str,
    default: Duration,
    bounds: Bounds,
    report: &mut Report<'_>,
) -> Duration {
    duration_if_right(section, key, default, bounds, report).unwrap_or(default)
}

fn store_path(section: &Section<'_, '_>, around: &Around<'_>, report: &mut Report<'_>) -> PathBuf {
    let directory = around.env.state_directory.as_deref().unwrap_or(Path::new(STORE_DIRECTORY));
    let default = directory.join(STORE_FILE);
    let example = format!("\"{}\"", default.display());
    let read = |text: &str| {
        let path = around.path(text)?;
        if text.ends_with('/') || path.file_name().is_none() || path.is_dir() {
            let right = format!("name the file in it as well, as \"{STORE_FILE}\"");
            return Err(Wrong::new("names a directory", right));
        }
        Ok(path)
    };
    section.read("path", &example, report, read).unwrap_or(default)
}

/// Where the store is, with whatever else is wrong in the text. `None` where that is not sure: what is no TOML may have
/// said it, and where nothing says it, so may anything with a name that is not known.
pub(super) fn store_path_alone(file: &Path, text: &str, around: &Around<'_>) -> Option<PathBuf> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return None;
    }
    let mut report = Report::new(file, text);
    let section = Section::one(document.get_ref(), &schema::STORE, &mut report);
    let path = store_path(&section, around, &mut report);
    if section.position("path").is_none() {
        let mut of_all = Report::new(file, text);
        config(file, document.get_ref(), around, &mut of_all)?;
        if of_all.has_unknown() {
            return None;
        }
    }
    report.conclude(Some(path)).ok()
}

fn log(section: &Section<'_, '_>, report: &mut Report<'_>) -> Log {
    let level = section.read("level", "\"info\"", report, values::log_filter);
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    let format = section.read("format", "\"json\"", report, |text| values::word(text, &formats));
    Log { level: level.unwrap_or_else(|| "info".to_owned()), format }
}

fn timing(refresh: &Section<'_, '_>, refresh_token: &Section<'_, '_>, report: &mut Report<'_>) -> Timing {
    let default = Timing::default();
    let choices = [("hold", Unprovable::Hold), ("present", Unprovable::Present)];
    let unprovable = refresh.read("unprovable", "\"hold\"", report, |text| values::word(text, &choices));
    let (retry_first, retry_max) = retry(refresh, &default, report);
    let max_in_flight = refresh.number("max_in_flight", 1..=256, report);
    Timing {
        before_expiry: duration(refresh, "before_expiry", default.before_expiry, BEFORE_EXPIRY, report),
        jitter: duration(refresh, "jitter", default.jitter, JITTER, report),
        retry_first,
        retry_max,
        settle: duration(refresh, "settle", default.settle, PAUSE, report),
        unprovable: unprovable.unwrap_or(default.unprovable),
        max_in_flight: max_in_flight.unwrap_or(default.max_in_flight),
        refresh_token_lifetime: duration(
            refresh_token,
            "lifetime",
            default.refresh_token_lifetime,
            LIFETIME,
            report,
        ),
    }
}

/// The first and the longest wait before a retry.
fn retry(refresh: &Section<'_, '_>, default: &Timing, report: &mut Report<'_>) -> (Duration, Duration) {
    let first = duration_if_right(refresh, "retry_first", default.retry_first, PAUSE, report);
    let max = duration_if_right(refresh, "retry_max", default.retry_max, PAUSE, report);
    // A default in the place of a wrong value would make a second problem of it.
    if let Some((first, max)) = first.zip(max).filter(|(first, max)| first > max) {
        let at = refresh.position("retry_first").or(refresh.position("retry_max")).unwrap_or(refresh.at);
        let what = format!("`retry_first` ({}) is longer than `retry_max` ({})", said(first), said(max));
        report.add(at, what, "the first wait is at most the longest one");
    }
    (first.unwrap_or(default.retry_first), max.unwrap_or(default.retry_max))
}

fn http(section: &Section<'_, '_>, around: &Around<'_>, report: &mut Report<'_>) -> Http {
    let ca_file = |text: &str| {
        let path = around.path(text)?;
        match around.secrets {
            Secrets::Read => files::check_ca(&path)?,
            Secrets::LeaveAlone => {}
        }
        Ok(path)
    };
    Http {
        proxy: section.read("proxy", "\"http://host:port\"", report, values::proxy),
        ca_file: section.read("ca_file", "\"/etc/ssl/corp.pem\"", report, ca_file),
    }
}

/// Longest first.
fn remind(section: &Section<'_, '_>, report: &mut Report<'_>) -> Vec<Duration> {
    let default = [30, 14, 7, 3, 1].map(|days| days * DAY);
    let Some(texts) = section.texts("remind", "[\"30d\", \"7d\", \"1d\"]", report) else {
        return default.to_vec();
    };
    let mut remind: Vec<Duration> = Vec::new();
    for text in texts {
        match values::duration(text.value, LIFETIME) {
            Ok(step) if remind.contains(&step) => {
                let what = format!("`remind` has {} twice", said(step));
                report.add(text.at, what, "name each reminder once");
            }
            Ok(step) => remind.push(step),
            Err(wrong) => report.add_value(text.at, "remind", wrong),
        }
    }
    remind.sort_unstable_by(|a, b| b.cmp(a));
    remind
}

fn schedule(section: &Section<'_, '_>, report: &mut Report<'_>) -> Schedule {
    let mut cron = |key: &str, default: &str| {
        let read = section.read(key, &format!("\"{default}\""), report, values::cron);
        read.unwrap_or_else(|| default.to_owned())
    };
    Schedule {
        sweep: cron("sweep", "* * * * * *"),
        heartbeat: cron("heartbeat", "0 0 * * * *"),
        audit: cron("audit", "0 7 * * * *"),
        prune: cron("prune", "0 30 20 * * *"),
        keep_history: duration(section, "keep_history", 180 * DAY, KEEP_HISTORY, report),
    }
}
