//! Holds `monitoring/` to the program: each alert is quiet on the log of a fleet that is well, and comes by the real
//! lines of one that is not. The lines are those of a demo, and of a daemon whose OAs all have something wrong;
//! what only time brings is brought by moving `now`.
//!
//! Needs jq, and promtool for the Prometheus rules. Without them these tests do nothing, except in CI, where they
//! fail: somebody who tries the program shall not have to install what only its makers need.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use zalo_tokend::clock::{Clock, SystemClock, Time};
use zalo_tokend::simulator::{Answer, Fault, Rule};

use crate::acts::of_full_length;
use crate::events::events_of_the_program;
use crate::harness::reader::Reader;
use crate::harness::rows::{A_WHILE, ROOMY};
use crate::harness::{Bench, text};
use crate::wait_for;

const DAY: Duration = Duration::from_secs(86_400);

// ---- the logs ----------------------------------------------------------------------------------------------------

/// The lines of a log.
type Log = Vec<String>;

fn lines(text: &str) -> Log {
    text.lines().map(str::to_owned).collect()
}

/// What a demo logs.
fn demo() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| lines(&of_full_length().log))
}

/// How many OAs are put off in [`troubled`].
const PUT_OFF: [&str; 4] = ["31", "32", "33", "34"];

/// What a daemon logs whose OAs have each something wrong, but for one, and none of them mends.
fn troubled() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        wait_for(async {
            let bench = Bench::new().await;
            // Nobody asks what became of an uncertain attempt before the test is over.
            bench.set_refresh(&ROOMY.replace("300ms", "1h"));
            bench.set_extra(
                "[schedule]\naudit = \"* * * * * *\"\nheartbeat = \"* * * * * *\"\n\
                 [refresh_token]\nlifetime = \"10d\"\nremind = [\"14d\", \"7d\"]\n",
            );
            let happens = |oa: &str, fault| bench.simulator.fault(Rule::forever(fault).for_oa(oa));
            bench.add_lone_oa("1", A_WHILE).await;
            bench.add_oa("new");
            happens("2", Fault::unspent(Answer::CloseWithoutAnswer));
            bench.add_lone_oa("2", A_WHILE).await;
            for oa in PUT_OFF {
                happens(oa, Fault::unspent(Answer::custom(429, "")));
                bench.add_lone_oa(oa, A_WHILE).await;
            }
            for oa in ["4", "5"] {
                happens(oa, Fault::unspent(Answer::custom(200, r#"{"error":-14014}"#)));
            }
            bench.add_lone_oa("4", A_WHILE).await;
            // This one was granted five days ago, and so is beyond the last reminder.
            let obtained_at = SystemClock::new().now().minus(5 * DAY).to_string();
            bench.add_app("5");
            bench.add_oa_of("5", "5");
            let answer = bench.simulator.grant_aged("5", "5", 5 * DAY).to_string();
            let output = bench.run_with_input(&["import", "5", "--obtained-at", &obtained_at], &answer).await;
            assert!(output.status.success(), "{}", text(&output.stderr));
            bench.add_lone_oa("6", A_WHILE).await;
            bench.write_secret("6", "wrong");

            let mut daemon = bench.start().await;
            daemon.wait_for_oa("refresh.succeeded", "1").await;
            daemon.wait_for_oa("refresh.uncertain", "2").await;
            for oa in PUT_OFF {
                daemon.wait_for_oa_nth("refresh.failed", oa, 2).await;
            }
            daemon.wait_for_oa("refresh_token.expiring", "4").await;
            daemon.wait_for_oa("refresh_token.expiring", "5").await;
            daemon.wait_for_app("app.refused", "6").await;
            let heartbeats = daemon.events("fleet.heartbeat").len();
            daemon.wait_for_nth("fleet.heartbeat", heartbeats + 2).await;
            assert!(daemon.stop().await.success());
            lines(&daemon.log())
        })
    })
}

/// An app that is braked, and released.
fn braked() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        wait_for(async {
            let bench = Bench::new().await;
            bench.set_refresh(ROOMY);
            bench.add_app("shop");
            bench.simulator.fault(Rule::times(2, Fault::unspent(Answer::custom(502, "<html>"))));
            for oa in ["1", "2", "3"] {
                bench.add_oa_of("shop", oa);
                bench.import_with("shop", oa, A_WHILE).await;
            }
            let mut daemon = bench.start().await;
            daemon.wait_for_app("app.braked", "shop").await;
            daemon.wait_for_app("app.released", "shop").await;
            assert!(daemon.stop().await.success());
            lines(&daemon.log())
        })
    })
}

/// What a reader gets that was away for a while: heartbeats before, and after.
fn with_a_hole() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        wait_for(async {
            let bench = Bench::new().await;
            bench.set_refresh(ROOMY);
            bench.set_extra("[schedule]\nheartbeat = \"* * * * * *\"\n");
            bench.add_pacemaker().await;
            let fifo = bench.path("log");
            let (mut first, stderr) = Reader::of_a_fifo(&fifo).expect("a fifo");
            let mut daemon = bench.spawn_into(stderr, Stdio::null());
            first.until("fleet.heartbeat", |_| true).await;
            let mut log = std::mem::take(&mut first.read);
            drop(first);
            bench.beats(3).await;
            let mut second = Reader::again(&fifo).expect("a reader again");
            second.until("fleet.heartbeat", |event| event["lines_dropped"] != 0).await;
            second.until("fleet.heartbeat", |_| true).await;
            daemon.ask_to_stop();
            assert!(daemon.ended().await.success());
            log.append(&mut second.read);
            log
        })
    })
}

fn event(line: &str) -> Value {
    serde_json::from_str(line).expect("JSON")
}

fn is(line: &str, name: &str) -> bool {
    event(line)["event"] == name
}

/// The log up to and with the first such line.
fn up_to<'l>(log: &'l [String], what: &str, is_wanted: impl Fn(&Value) -> bool) -> &'l [String] {
    let at = log.iter().position(|line| is_wanted(&event(line)));
    &log[..=at.unwrap_or_else(|| panic!("no {what} in:\n{}", log.join("\n")))]
}

fn up_to_event<'l>(log: &'l [String], name: &str) -> &'l [String] {
    up_to(log, name, |event| event["event"] == name)
}

/// The log before its first line that is not INFO.
fn healthy(log: &[String]) -> &[String] {
    let bad = log.iter().position(|line| event(line)["level"] != "INFO").expect("something goes wrong");
    let healthy = &log[..bad];
    assert!(healthy.iter().any(|line| is(line, "fleet.heartbeat")), "too short:\n{}", healthy.join("\n"));
    healthy
}

/// A heartbeat that counts nothing but OAs that are well.
fn well() -> &'static String {
    let has_none = |event: &Value, state: &str| event[state] == 0;
    let is_well = |line: &&String| {
        let event = event(line);
        is(line, "fleet.heartbeat") && ["retrying", "presenting"].iter().all(|state| has_none(&event, state))
    };
    healthy(demo()).iter().find(is_well).expect("a heartbeat at a quiet moment")
}

/// The demo's log and the heartbeat that comes next in a daemon that goes on: the demo may end between its last success
/// and the heartbeat that counts it.
fn mended() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let mut heartbeat = event(well());
        heartbeat["timestamp"] = event(demo().last().expect("a line"))["timestamp"].clone();
        demo().iter().cloned().chain([heartbeat.to_string()]).collect()
    })
}

fn time(line: &str) -> Time {
    Time::parse(event(line)["timestamp"].as_str().expect("a text")).expect("a time")
}

/// The same line, said later.
fn later(line: &str, by: Duration) -> String {
    let mut event = event(line);
    event["timestamp"] = time(line).plus(by).to_string().into();
    event.to_string()
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

// ---- the script --------------------------------------------------------------------------------------------------

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Whether a program is there. In CI it must be.
fn has(program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok();
    assert!(is_there || std::env::var_os("CI").is_none(), "{program} is missing");
    if !is_there {
        eprintln!("{program} is missing: nothing was tested");
    }
    is_there
}

#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: Option<i32>,
    /// Severity, name, subject, since, what to do.
    alerts: Vec<[String; 5]>,
    stderr: String,
}

fn script(arguments: &[&str], input: &[u8]) -> Said {
    run(Command::new(file("zalo-tokend-alerts")).args(arguments), input)
}

fn run(command: &mut Command, input: &[u8]) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the script runs");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // What is refused is not read.
    let writer = std::thread::spawn(move || stdin.write_all(&input).is_ok());
    let output = child.wait_with_output().expect("waited for");
    writer.join().expect("no panic");
    let columns = |line: &str| {
        let columns: Vec<String> = line.split('\t').map(str::to_owned).collect();
        columns.try_into().unwrap_or_else(|columns| panic!("five columns, not {columns:?}"))
    };
    let alerts = text(&output.stdout).lines().map(columns).collect();
    Said { code: output.status.code(), alerts, stderr: text(&output.stderr) }
}

/// What the script says of a log, so long after its last line.
fn alerts_with(log: &[String], after: Duration, more: &[&str]) -> Said {
    let now = time(log.last().expect("a line")).plus(after).to_string();
    let arguments = [&["--now", &now], more, &["-"]].concat();
    let said = script(&arguments, (log.join("\n") + "\n").as_bytes());
    assert_eq!(said.stderr, "");
    assert_eq!(said.code, Some(i32::from(!said.alerts.is_empty())), "{said:?}");
    said
}

/// The subjects of one alert, so long after the log's last line, each with its severity and since when.
fn subjects_with(
    log: &[String],
    after: Duration,
    name: &str,
    more: &[&str],
) -> Vec<(String, String, String)> {
    let alerts = alerts_with(log, after, more).alerts.into_iter();
    alerts
        .filter(|alert| alert[1] == name)
        .map(|[severity, _, subject, since, what]| {
            assert!(what.len() > 20, "{what}: what is to be done?");
            (severity, subject, since)
        })
        .collect()
}

fn subjects(log: &[String], after: Duration, name: &str) -> Vec<String> {
    subjects_with(log, after, name, &[]).into_iter().map(|(_, subject, _)| subject).collect()
}

fn since(line: &str) -> String {
    let timestamp = event(line)["timestamp"].as_str().expect("a text").to_owned();
    format!("since {}Z", &timestamp[..19])
}

fn oa(line: &str) -> String {
    format!("oa {}", event(line)["oa_id"].as_str().expect("an OA"))
}

const NOBODY: [&str; 0] = [];

// ---- the alerts --------------------------------------------------------------------------------------------------

#[test]
fn a_fleet_that_is_well_alerts_nobody() {
    if !has("jq") {
        return;
    }
    let quiet = Said { code: Some(0), alerts: Vec::new(), stderr: String::new() };
    assert_eq!(alerts_with(healthy(demo()), Duration::ZERO, &[]), quiet);
    assert_eq!(alerts_with(healthy(demo()), minutes(60), &[]), quiet);
    // Whatever went wrong in the demo was mended before its end.
    assert_eq!(alerts_with(mended(), Duration::ZERO, &[]), quiet, "{}", mended().join("\n"));
}

#[test]
fn an_error_alerts_until_it_is_mended() {
    if !has("jq") {
        return;
    }
    let log = up_to_event(demo(), "oa.reauthorization_required");
    let error = log.last().expect("a line");
    for after in [Duration::ZERO, minutes(60), minutes(60 * 25)] {
        let expected = ("critical".to_owned(), oa(error), since(error));
        assert_eq!(subjects_with(log, after, "error", &[]), [expected], "{after:?} after {error}");
    }
    let oa_id = &event(error)["oa_id"];
    let rest = &demo()[log.len()..];
    let mended = up_to(rest, "import", |event| event["event"] == "oa.imported" && event["oa_id"] == *oa_id);
    let log = &demo()[..log.len() + mended.len()];
    assert_eq!(subjects(log, Duration::ZERO, "error"), NOBODY);
    // Of another OA an import mends nothing.
    let mut log = up_to_event(demo(), "oa.reauthorization_required").to_vec();
    let other = demo().iter().find(|line| is(line, "oa.imported") && event(line)["oa_id"] != *oa_id);
    log.push(other.expect("imported at first").clone());
    assert_eq!(subjects(&log, Duration::ZERO, "error"), [oa(error)]);
}

/// What ends an error, beside the events that [`MENDED`] has. Of an error that stands in here twice any does.
const ENDINGS: [(&str, &[&str]); 15] = [
    ("access_token.expired", &MENDED),
    ("api.unavailable", &["api.listening", "daemon.started"]),
    ("app.refused", &["app.released"]),
    ("authorize.unavailable", &["authorize.listening", "daemon.started"]),
    ("config.rejected", &["config.reloaded", "daemon.ready"]),
    ("consent.failed", &MENDED),
    ("oa.app_changed", &["daemon.started", "refresh.planned", "refresh.started"]),
    ("oa.app_changed", &MENDED),
    ("oa.decision_needed", &["oa.reauthorization_required"]),
    ("oa.decision_needed", &MENDED),
    ("oa.reauthorization_required", &MENDED),
    ("oa.unreadable", &MENDED),
    ("store.failed", &["store.recovered", "daemon.ready"]),
    ("vendor.misconfigured", &["oa.authorized", "vendor.link_fetched"]),
    ("vendor.refused", &["vendor.released"]),
];

/// What makes an OA go on.
const MENDED: [&str; 4] = ["oa.authorized", "oa.imported", "oa.resolved", "refresh.succeeded"];

/// What no later event mends.
const ENDLESS: [&str; 5] = [
    "app.mass_reauthorization",
    "endpoint.certificate_refused",
    "program.panicked",
    "publish.dead_letter",
    "store.answer_orphaned",
];

/// Most of these need a broken disk, a wrong certificate or a bug; so the lines are built from the program's own
/// table of events. An error that is new to it has to be put into one of the lists.
#[test]
fn every_error_of_the_program_alerts_until_what_ends_it() {
    if !has("jq") {
        return;
    }
    let program = events_of_the_program();
    let now = SystemClock::new().now();
    let line = |name: &str, level: &str, at: Time| {
        let about = |id: &str| program.get(name).is_some_and(|event| event.fields.contains(id));
        let mut line = serde_json::json!({"timestamp": at.to_string(), "level": level, "event": name, "message": "what\tto\ndo\u{1b}"});
        let id = ["oa_id", "app_id", "vendor"].into_iter().find(|id| about(id));
        if let Some(id) = id {
            line[id] = "7".into();
        }
        line.to_string()
    };
    // A library's errors have no event.
    let foreign = [serde_json::json!({"timestamp": now.to_string(), "level": "ERROR", "message": "the scheduler is gone"}).to_string()];
    assert_eq!(subjects(&foreign, minutes(64), "error"), ["daemon"]);
    assert_eq!(subjects(&foreign, minutes(66), "error"), NOBODY);
    let errors = program.iter().filter(|(_, event)| event.levels.contains("error"));
    let errors: BTreeSet<&str> =
        errors.map(|(name, _)| name.as_str()).filter(|name| *name != "refresh_token.expiring").collect();
    let known = ENDINGS.iter().map(|(name, _)| *name).chain(ENDLESS).collect();
    assert_eq!(errors, known, "the program on the left, what this test knows the end of on the right");
    for name in errors {
        let error = [line(name, "ERROR", now)];
        let is_quiet = |log: &[String], after| subjects(log, after, "error").is_empty();
        assert!(!is_quiet(&error, Duration::ZERO) && !is_quiet(&error, minutes(64)), "{name}");
        assert_eq!(is_quiet(&error, minutes(66)), ENDLESS.contains(&name), "{name}");
        let endings = ENDINGS.iter().filter(|(of, _)| *of == name).flat_map(|(_, endings)| *endings);
        for ending in endings {
            let mut log = error.to_vec();
            log.push(line(
                ending,
                if *ending == "oa.reauthorization_required" { "WARN" } else { "INFO" },
                now,
            ));
            assert!(is_quiet(&log, Duration::ZERO), "{ending} ends {name}");
        }
        let mut log = error.to_vec();
        log.extend(["refresh.probed", "refresh_token.expiring"].map(|other| line(other, "INFO", now)));
        assert!(!is_quiet(&log, Duration::ZERO), "something else ends {name}");
    }
}

#[test]
fn what_a_heartbeat_no_longer_counts_is_over() {
    if !has("jq") {
        return;
    }
    let has_all = |log: &[String]| {
        let (errors, failing) =
            (subjects(log, minutes(31), "error"), subjects(log, minutes(31), "oa_failing"));
        let has = |found: &[String], subject: &str| found.iter().any(|found| found == subject);
        // The state that ended, or that was not seen to end.
        [has(&errors, "app 6"), has(&errors, "oa 4"), has(&failing, "oa 31")]
    };
    assert_eq!(has_all(troubled()), [true, true, true]);
    // An OA may have come to its state while the others were being counted.
    let mut log = troubled().clone();
    let well_at = |at: Time| {
        let mut heartbeat = event(well());
        heartbeat["timestamp"] = at.to_string().into();
        heartbeat.to_string()
    };
    log.push(well_at(time(&troubled()[0])));
    assert_eq!(has_all(&log), [true, true, true]);
    log.push(well_at(time(troubled().last().expect("a line")).plus(minutes(30))));
    assert_eq!(has_all(&log), [false, false, false]);
}

#[test]
fn a_heartbeat_that_stays_away_alerts() {
    if !has("jq") {
        return;
    }
    let log = up_to_event(demo(), "fleet.heartbeat");
    assert_eq!(subjects(log, minutes(64), "heartbeat_missing"), NOBODY);
    let expected = ("critical".to_owned(), "daemon".to_owned(), since(log.last().expect("a line")));
    assert_eq!(subjects_with(log, minutes(66), "heartbeat_missing", &[]), std::slice::from_ref(&expected));
    assert_eq!(
        subjects_with(log, minutes(4), "heartbeat_missing", &["--heartbeat-within", "180"]),
        [expected]
    );
    // Other lines are no heartbeat.
    let mut log = log.to_vec();
    let planned = demo().iter().find(|line| is(line, "refresh.planned")).expect("planned");
    log.push(later(planned, minutes(66)));
    assert_eq!(subjects(&log, minutes(1), "heartbeat_missing"), ["daemon"]);
}

#[test]
fn a_start_counts_as_a_heartbeat_once() {
    if !has("jq") {
        return;
    }
    let start: Vec<String> = demo()
        .iter()
        .filter(|line| is(line, "daemon.started") || is(line, "daemon.ready"))
        .cloned()
        .collect();
    assert_eq!(subjects(&start, minutes(64), "heartbeat_missing"), NOBODY);
    assert_eq!(subjects(&start, minutes(66), "heartbeat_missing"), ["daemon"]);
    // After a longer stop.
    let mut log = up_to_event(demo(), "fleet.heartbeat").to_vec();
    log.extend(start.iter().map(|line| later(line, minutes(600))));
    assert_eq!(subjects(&log, minutes(64), "heartbeat_missing"), NOBODY);
    // A daemon that starts every ten minutes and never comes to a heartbeat.
    let mut log = start.clone();
    log.extend((1..=6).flat_map(|n| start.iter().map(move |line| later(line, minutes(10 * n)))));
    assert_eq!(subjects(&log, minutes(4), "heartbeat_missing"), NOBODY);
    assert_eq!(subjects(&log, minutes(6), "heartbeat_missing"), ["daemon"]);
    // Nothing at all.
    let said = script(&["-"], b"");
    assert_eq!((said.code, said.alerts.len(), said.alerts[0][1].as_str()), (Some(1), 1, "heartbeat_missing"));
}

#[test]
fn an_oa_that_stays_uncertain_alerts() {
    if !has("jq") {
        return;
    }
    let log = up_to_event(demo(), "refresh.uncertain");
    let uncertain = log.last().expect("a line");
    assert_eq!(subjects(log, minutes(9), "oa_uncertain"), NOBODY);
    let expected = ("warning".to_owned(), oa(uncertain), since(uncertain));
    assert_eq!(subjects_with(log, minutes(11), "oa_uncertain", &[]), std::slice::from_ref(&expected));
    assert_eq!(subjects_with(log, minutes(2), "oa_uncertain", &["--uncertain-for", "60"]), [expected]);

    // An answer that decides nothing leaves it so; a verdict ends it, and so does whatever else the demo had.
    let about = |name: &'static str, verdict: &'static str| {
        demo()
            .iter()
            .find(move |line| is(line, name) && event(line)["verdict"].as_str().unwrap_or("") == verdict)
    };
    let endings = [
        (about("refresh.probed", "inconclusive"), false),
        (about("refresh.probed", "unspent"), true),
        (about("refresh.probed", "spent"), true),
        (about("refresh.succeeded", ""), true),
        (about("oa.imported", ""), true),
        (about("oa.reauthorization_required", ""), true),
        (about("refresh.planned", ""), false),
    ];
    for (ending, ends) in endings {
        let ending = ending.unwrap_or_else(|| panic!("a demo has them all:\n{}", demo().join("\n")));
        let mut of_the_same = event(ending);
        of_the_same["oa_id"] = event(uncertain)["oa_id"].clone();
        for (line, ends) in
            [(of_the_same.to_string(), ends), (ending.clone(), ends && oa(ending) == oa(uncertain))]
        {
            let mut log = log.to_vec();
            log.push(line);
            let left = subjects(&log, minutes(11), "oa_uncertain");
            assert_eq!(left.is_empty(), ends, "{} leaves {left:?}", log.last().expect("a line"));
        }
    }
}

#[test]
fn what_a_heartbeat_counts_as_uncertain_alerts_as_well_and_what_it_does_not_count_is_over() {
    if !has("jq") {
        return;
    }
    // Somebody who began to read after the OA became uncertain.
    let all = troubled();
    let heartbeat = all.iter().rfind(|line| is(line, "fleet.heartbeat")).expect("a heartbeat");
    assert_eq!(event(heartbeat)["uncertain"], 1);
    let log = [heartbeat.clone()];
    assert_eq!(subjects(&log, minutes(9), "oa_uncertain"), NOBODY);
    assert_eq!(subjects(&log, minutes(11), "oa_uncertain"), ["fleet"]);
    let spent = demo().iter().find(|line| event(line)["verdict"] == "spent").expect("a verdict");
    assert_eq!(
        subjects(&[heartbeat.clone(), later(spent, Duration::ZERO)], minutes(11), "oa_uncertain"),
        NOBODY
    );
    // Whoever read both is told once.
    assert_eq!(subjects(all, minutes(11), "oa_uncertain"), ["oa 2"]);
    // The line that ended it was lost.
    let mut log = all.clone();
    log.push(later(well(), minutes(30)));
    assert_eq!(subjects(&log, minutes(11), "oa_uncertain"), NOBODY);
}

#[test]
fn a_refresh_token_that_will_end_alerts() {
    if !has("jq") {
        return;
    }
    assert_eq!(subjects(healthy(demo()), Duration::ZERO, "refresh_token_expiring"), NOBODY);
    let found = subjects_with(troubled(), Duration::ZERO, "refresh_token_expiring", &[]);
    let is_found = |severity: &str, oa: &str| found.iter().any(|found| found.0 == severity && found.1 == oa);
    assert!(is_found("warning", "oa 4") && is_found("critical", "oa 5"), "{found:?}");
    assert!(!found.iter().any(|(_, oa, _)| oa == "oa 1"), "it was renewed: {found:?}");
    let mut log = troubled().clone();
    let imported = demo().iter().find(|line| is(line, "oa.imported")).expect("imported");
    let mut of_the_same = event(imported);
    of_the_same["oa_id"] = "4".into();
    log.push(of_the_same.to_string());
    let left = subjects(&log, Duration::ZERO, "refresh_token_expiring");
    assert!(!left.contains(&"oa 4".to_owned()) && left.contains(&"oa 5".to_owned()), "{left:?}");
}

#[test]
fn an_oa_that_gets_no_refresh_through_alerts() {
    if !has("jq") {
        return;
    }
    let fails = |event: &Value| event["event"] == "refresh.failed";
    let log = up_to(troubled(), "failure", fails);
    let failed = log.last().expect("a line");
    assert_eq!(subjects(log, minutes(29), "oa_failing"), NOBODY);
    let found = subjects_with(log, minutes(31), "oa_failing", &[]);
    assert!(found.contains(&("warning".to_owned(), oa(failed), since(failed))), "{found:?}");
    // It goes on from its first failure on, however many come.
    let found = subjects_with(troubled(), minutes(31), "oa_failing", &[]);
    assert!(found.contains(&("warning".to_owned(), oa(failed), since(failed))), "{found:?}");
    // In the demo every OA that failed got one through soon after.
    let log = up_to(demo(), "failure", |event| fails(event) || event["event"] == "refresh.uncertain");
    let failed = oa(log.last().expect("a line"));
    assert_eq!(subjects(log, minutes(31), "oa_failing"), std::slice::from_ref(&failed));
    let rest = up_to(&demo()[log.len()..], "success", |event| {
        event["event"] == "refresh.succeeded" && event["oa_id"] == failed["oa ".len()..]
    });
    let log = &demo()[..log.len() + rest.len()];
    assert!(!subjects(log, minutes(31), "oa_failing").contains(&failed));
}

#[test]
fn many_oas_that_get_no_refresh_through_alert_sooner() {
    if !has("jq") {
        return;
    }
    let found = |after, more: &[&str]| subjects_with(troubled(), after, "many_failing", more).len();
    assert_eq!(found(minutes(4), &[]), 0);
    assert_eq!(found(minutes(6), &[]), 1);
    // Of nine OAs four are put off, one is uncertain, and one is of an app that is refused.
    assert_eq!(found(minutes(6), &["--failing-least", "6"]), 1);
    assert_eq!(found(minutes(6), &["--failing-least", "7"]), 0);
    assert_eq!(found(minutes(6), &["--failing-percent", "66"]), 1);
    assert_eq!(found(minutes(6), &["--failing-percent", "67"]), 0);
    assert_eq!(found(minutes(6), &["--many-failing-for", "600"]), 0);
    assert_eq!(subjects(healthy(demo()), minutes(6), "many_failing"), NOBODY);
}

#[test]
fn an_app_that_stays_braked_alerts() {
    if !has("jq") {
        return;
    }
    let log = braked();
    let (before, since): (Vec<String>, Vec<String>) = {
        let at = log.iter().position(|line| is(line, "app.braked")).expect("braked");
        (log[..at].to_vec(), log[at..].to_vec())
    };
    let released = since.iter().position(|line| is(line, "app.released")).expect("released");
    let while_braked = [&before[..], &since[..released]].concat();
    assert_eq!(subjects(&before, minutes(31), "app_braked"), NOBODY);
    assert_eq!(subjects(&while_braked, minutes(29), "app_braked"), NOBODY);
    assert_eq!(subjects(&while_braked, minutes(31), "app_braked"), ["app shop"]);
    assert_eq!(subjects(log, minutes(31), "app_braked"), NOBODY);
}

#[test]
fn lines_that_were_dropped_alert_until_a_heartbeat_has_no_more_of_them() {
    if !has("jq") {
        return;
    }
    assert_eq!(subjects(healthy(demo()), Duration::ZERO, "lines_dropped"), NOBODY);
    let log = with_a_hole();
    let first = up_to(log, "dropped lines", |event| event["lines_dropped"].as_u64() > Some(0));
    let expected = ("warning".to_owned(), "daemon".to_owned(), since(first.last().expect("a line")));
    assert_eq!(subjects_with(first, Duration::ZERO, "lines_dropped", &[]), [expected]);
    assert_eq!(subjects(log, Duration::ZERO, "lines_dropped"), NOBODY, "none since");
    // A new start counts anew: as many as before are new ones.
    let mut log = first.to_vec();
    log.extend(demo().iter().take(1).cloned());
    log.push(first.last().expect("a line").clone());
    assert_eq!(subjects(&log, Duration::ZERO, "lines_dropped"), ["daemon"]);
}

#[test]
fn states_that_need_a_person_alert_by_the_newest_heartbeat_alone() {
    if !has("jq") {
        return;
    }
    let names = [
        ("oas_reauthorization_required", "2 OAs wait"),
        ("oas_blocked", "1 OAs wait"),
        ("oas_awaiting_grant", "1 OAs have no tokens"),
    ];
    let heartbeat = troubled().iter().rfind(|line| is(line, "fleet.heartbeat")).expect("a heartbeat");
    for (name, what) in names {
        let said = alerts_with(std::slice::from_ref(heartbeat), Duration::ZERO, &[]).alerts;
        assert!(said.iter().any(|alert| alert[1] == name && alert[4].starts_with(what)), "{said:?}");
        // As somebody sees it who reads long after the OA's own line.
        assert_eq!(subjects(std::slice::from_ref(heartbeat), Duration::ZERO, name), ["fleet"]);
        assert_eq!(subjects(std::slice::from_ref(well()), Duration::ZERO, name), NOBODY);
        assert_eq!(subjects(&[heartbeat.clone(), later(well(), minutes(60))], Duration::ZERO, name), NOBODY);
    }
}

// ---- the script as a program -------------------------------------------------------------------------------------

#[test]
fn lines_that_are_no_events_change_nothing() {
    if !has("jq") {
        return;
    }
    let log = up_to_event(demo(), "oa.reauthorization_required");
    let now = time(log.last().expect("a line")).to_string();
    let mut noise: Vec<u8> = Vec::new();
    for (at, line) in log.iter().enumerate() {
        let other: &[u8] = match at % 12 {
            0 => b"Started zalo-tokend.service \"event\"",
            1 => b"\xff\xfe \"event\" ERROR \x00 \x1b[31m",
            2 => &line.as_bytes()[..line.len() / 2],
            3 => b"{\"timestamp\":7,\"event\":\"store.failed\",\"level\":\"ERROR\"}",
            10 => b"{\"timestamp\":\"soon\",\"event\":{\"event\":1},\"level\":\"INFO\"}",
            4 => b"{\"timestamp\":\"soon\",\"event\":[\"ERROR\"],\"level\":\"ERROR\"}",
            5 => b"[\"event\"]",
            6 => b"{\"event\":\"fleet.heartbeat\"}",
            7 => b"{\"event\":null} {\"event\":1}",
            8 => b"null \"event\"",
            9 => b"",
            _ => b"\"event\"",
        };
        noise.extend([line.as_bytes(), b"\n", other, b"\n"].concat());
    }
    // The last line may be under way.
    noise.extend(b"{\"timestamp\":\"2026-");
    let clean = alerts_with(log, Duration::ZERO, &[]);
    assert_eq!(script(&["--now", &now, "-"], &noise), clean);
}

#[test]
fn wrong_usage_and_a_log_that_cannot_be_read_are_told_apart_from_alerts() {
    if !has("jq") {
        return;
    }
    let wrong: [&[&str]; 7] = [
        &["--no-such-option", "1", "-"],
        &["--now"],
        &["--now", "whenever", "-"],
        &["--uncertain-for", "long", "-"],
        &["--uncertain-for", "-1", "-"],
        &["file"],
        &["--textfile", "/no/such/directory/file.prom", "-"],
    ];
    for arguments in wrong {
        let said = script(arguments, b"");
        assert_eq!((said.code, said.alerts.len()), (Some(2), 0), "{arguments:?}: {said:?}");
        assert!(said.stderr.contains("zalo-tokend-alerts: "), "{arguments:?}: {said:?}");
    }
    let help = Command::new(file("zalo-tokend-alerts")).arg("--help").output().expect("the script runs");
    assert!(help.status.success() && text(&help.stdout).starts_with("Usage: "));
}

#[test]
fn the_journal_is_read_for_the_unit_and_as_far_back_as_wanted() {
    if !has("jq") {
        return;
    }
    let place = TempDir::new().expect("a temporary directory");
    let write = |name: &str, content: &str, mode| {
        let path = place.path().join(name);
        std::fs::write(&path, content).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode set");
    };
    write("log", &mended().join("\n"), 0o600);
    // Stands in for the real one, which reads no file that this test could make.
    write(
        "journalctl",
        "#!/bin/sh\ncd \"${0%/*}\" && echo \"$@\" >asked && cat log && exit \"$(cat code)\"\n",
        0o700,
    );
    let now = time(mended().last().expect("a line")).to_string();
    let path = format!("{}:{}", place.path().display(), std::env::var("PATH").expect("a path"));
    let alerts = |code: &str, arguments: &[&str]| {
        write("code", code, 0o600);
        let mut command = Command::new(file("zalo-tokend-alerts"));
        let said = run(command.args(["--now", &now]).args(arguments).env("PATH", &path), b"");
        (said, std::fs::read_to_string(place.path().join("asked")).expect("asked"))
    };
    let (said, asked) = alerts("0", &[]);
    assert_eq!((said.code, said.alerts.len()), (Some(0), 0), "{said:?}");
    assert_eq!(asked, "--quiet --output=cat --unit=zalo-tokend --since=-26h\n");
    let (_, asked) = alerts("0", &["--unit", "other", "--since", "-2h"]);
    assert_eq!(asked, "--quiet --output=cat --unit=other --since=-2h\n");
    // As without the right to read the journal.
    let (said, _) = alerts("1", &[]);
    assert_eq!((said.code, said.alerts.len()), (Some(2), 0), "{said:?}");
}

// ---- metrics -----------------------------------------------------------------------------------------------------

/// The metrics of a log: the names with their labels, and the values.
fn metrics(log: &[String], after: Duration) -> BTreeMap<String, i64> {
    let place = TempDir::new().expect("a temporary directory");
    let file = place.path().join("zalo-tokend.prom");
    std::fs::write(&file, "what was there before").expect("written");
    alerts_with(log, after, &["--textfile", file.to_str().expect("UTF-8")]);
    assert_eq!(std::fs::read_dir(place.path()).expect("readable").count(), 1, "nothing else is left");
    let mode = std::fs::metadata(&file).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "the collector is another user");
    let metrics = std::fs::read_to_string(&file).expect("written");
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.filter_map(|line| line.rsplit_once(' '));
    samples.map(|(name, value)| (name.to_owned(), value.parse().expect("a whole number"))).collect()
}

/// The Prometheus rules that fire on these metrics, by promtool.
fn fired(metrics: &BTreeMap<String, i64>) -> BTreeSet<String> {
    // promtool's clock begins at 0, so every point in time is moved there: now is noon of the first day.
    const NOON: i64 = 43_200;
    let now = metrics["zalo_tokend_log_read_timestamp_seconds"];
    let series: String = metrics
        .iter()
        .map(|(name, value)| {
            let is_time = name.contains("_timestamp_seconds") && *value != 0;
            let value = if is_time { value - now + NOON } else { *value };
            format!("      - {{series: '{name}', values: '{value}+0x20'}}\n")
        })
        .collect();
    let rules = read("prometheus-rules.yml");
    let names: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    // Each is said not to fire; promtool tells of those that do.
    let silence = |name: &&str| {
        format!("      - {{expr: 'ALERTS{{alertname=\"{name}\"}}', eval_time: 12h, exp_samples: []}}\n")
    };
    let test = format!(
        "rule_files: ['{}']\nevaluation_interval: 1h\ntests:\n  - interval: 1h\n    input_series:\n{series}    \
         promql_expr_test:\n{}",
        file("prometheus-rules.yml").display(),
        names.iter().map(silence).collect::<String>()
    );
    let place = TempDir::new().expect("a temporary directory");
    let path = place.path().join("test.yml");
    std::fs::write(&path, test).expect("written");
    let output = Command::new("promtool").args(["test", "rules"]).arg(&path).output().expect("runs");
    let said = text(&output.stdout) + &text(&output.stderr);
    let fires = |name: &&&str| said.contains(&format!("expr: \"ALERTS{{alertname=\\\"{name}\\\"}}\""));
    let fired: BTreeSet<String> = names.iter().filter(fires).map(|name| (*name).to_owned()).collect();
    assert_eq!(output.status.success(), fired.is_empty(), "{said}");
    fired
}

#[test]
fn the_prometheus_rules_fire_on_the_metrics_of_a_real_log() {
    if !has("jq") || !has("promtool") {
        return;
    }
    assert_eq!(fired(&metrics(healthy(demo()), Duration::ZERO)), BTreeSet::new());
    assert_eq!(fired(&metrics(mended(), Duration::ZERO)), BTreeSet::new());
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let at_once = [
        "ZaloTokendError",
        "ZaloTokendRefreshTokenExpiring",
        "ZaloTokendRefreshTokenAboutToEnd",
        "ZaloTokendReauthorizationRequired",
        "ZaloTokendBlocked",
        "ZaloTokendAwaitingGrant",
    ];
    assert_eq!(fired(&metrics(troubled(), Duration::ZERO)), owned(&at_once));
    let later = ["ZaloTokendOaUncertain", "ZaloTokendManyFailing"];
    assert_eq!(fired(&metrics(troubled(), minutes(11))), owned(&[&at_once[..], &later[..]].concat()));
    let last = ["ZaloTokendOaFailing", "ZaloTokendHeartbeatMissing"];
    assert_eq!(
        fired(&metrics(troubled(), minutes(66))),
        owned(&[&at_once[..], &later[..], &last[..]].concat())
    );
    let hole = up_to(with_a_hole(), "dropped lines", |event| event["lines_dropped"].as_u64() > Some(0));
    assert_eq!(fired(&metrics(hole, Duration::ZERO)), owned(&["ZaloTokendLinesDropped"]));
}

#[test]
fn promtool_takes_the_metrics_for_what_they_are() {
    if !has("jq") || !has("promtool") {
        return;
    }
    let place = TempDir::new().expect("a temporary directory");
    let file = place.path().join("zalo-tokend.prom");
    alerts_with(troubled(), Duration::ZERO, &["--textfile", file.to_str().expect("UTF-8")]);
    let input = std::fs::File::open(&file).expect("written");
    let output = Command::new("promtool").args(["check", "metrics"]).stdin(input).output().expect("runs");
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stdout) + &text(&output.stderr), "");
}

// ---- names -------------------------------------------------------------------------------------------------------

/// What is between quotes of this kind.
fn between(text: &str, quote: char) -> impl Iterator<Item = &str> {
    text.split(quote).skip(1).step_by(2)
}

/// Words that begin like this one, wherever they stand.
fn words<'t>(text: &'t str, start: &'t str) -> impl Iterator<Item = &'t str> {
    let is_of_a_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(start).map(move |(at, _)| {
        let rest = &text[at + start.len()..];
        &rest[..rest.find(|c| !is_of_a_word(c)).unwrap_or(rest.len())]
    })
}

/// Whether it is written as an event's name is.
fn is_like_an_event(word: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    word.split_once('.').is_some_and(|(first, second)| is_part(first) && is_part(second))
}

#[test]
fn every_event_that_monitoring_names_is_one_of_the_program() {
    let program = events_of_the_program();
    let mut named = BTreeSet::new();
    for (name, quotes) in [("zalo-tokend-alerts.jq", "\""), ("README.md", "`"), ("loki-rules.yml", "\"`")] {
        let text = read(name);
        for line in text.lines() {
            let quoted =
                quotes.chars().flat_map(|quote| between(line, quote)).flat_map(|text| text.split('|'));
            let files = ["zalo-tokend-alerts.jq", "zalo-tokend.service", "zalo-tokend.prom"];
            named.extend(
                quoted.filter(|word| is_like_an_event(word) && !files.contains(word)).map(str::to_owned),
            );
        }
    }
    assert!(named.len() > 15, "the events are not where they were looked for: {named:?}");
    for name in named {
        assert!(program.contains_key(&name), "{name} is no event");
    }
}

#[test]
fn every_field_that_a_loki_rule_takes_out_is_one_of_its_event() {
    let program = events_of_the_program();
    let every: BTreeSet<&String> = program.values().flat_map(|event| &event.fields).collect();
    let rules = read("loki-rules.yml");
    // What is asked of one line: from the stream's selector to the range.
    let asked: Vec<&str> =
        rules.split("{unit=").skip(1).map(|rest| rest.split('[').next().unwrap_or_default()).collect();
    assert!(asked.len() > 10, "the expressions are not where they were looked for");
    for asked in asked {
        let (_, parser) = asked.split_once("| json ").expect("fields are taken out one by one");
        let parser = parser.split(['|', '\n']).next().unwrap_or_default();
        let taken: BTreeSet<&str> = between(parser, '"').collect();
        let wanted = asked.lines().flat_map(|line| {
            let names = line.split_once("| event=");
            names
                .and_then(|(_, rest)| between(rest, '"').next())
                .into_iter()
                .flat_map(|names| names.split('|'))
        });
        let wanted: BTreeSet<&str> = wanted.collect();
        assert!(!wanted.is_empty() || asked.contains("severity=\"ERROR\""), "which event? {asked}");
        for field in taken.iter().filter(|field| !["event", "level"].contains(field)) {
            let has_it = |name: &&str| program.get(*name).is_some_and(|event| event.fields.contains(*field));
            let is_everywhere = wanted.iter().all(has_it);
            // The verdict stands beside other events, in an "or".
            let is_of_another = wanted.is_empty() || *field == "verdict";
            assert!(
                is_everywhere || is_of_another && every.contains(&(*field).to_owned()),
                "{field} of {wanted:?}"
            );
        }
        for (name, _) in asked.match_indices("unwrap ") {
            let word = words(&asked[name..], "unwrap ").next().expect("a word");
            assert!(
                word == "at" || taken.contains(word),
                "{word} is unwrapped and was not taken out: {asked}"
            );
        }
        // What a line must hold to be looked at at all.
        let filter = between(asked, '`').next().expect("a filter");
        let is_in = |name: &&str| name.contains(filter) || filter == "oa_id";
        assert!(filter == "ERROR" || wanted.iter().all(is_in), "{filter} hides some of {wanted:?}");
    }
}

#[test]
fn every_field_that_the_script_reads_is_one_of_the_program() {
    let program = events_of_the_program();
    let mut fields: BTreeSet<&str> =
        program.values().flat_map(|event| &event.fields).map(String::as_str).collect();
    fields.extend(["timestamp", "level", "event", "message"]);
    // `problems` is of config.rejected.
    fields.insert("problems");
    // What the script keeps for itself.
    fields.extend(["open", "last", "line", "heartbeat", "ready", "oas_at_start", "unexplained", "dropped"]);
    fields.extend([
        "total",
        "grown",
        "count",
        "known",
        "subject",
        "key",
        "value",
        "labels",
        "jq",
        "uncertain",
        "since",
    ]);
    let program: String =
        read("zalo-tokend-alerts.jq").lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let without_texts: String = program.split('"').step_by(2).collect();
    let read: BTreeSet<&str> = words(&without_texts, ".").filter(|word| !word.is_empty()).collect();
    assert!(read.len() > 20, "the fields are not where they were looked for: {read:?}");
    for word in read.into_iter().filter(|word| !word.starts_with(|c: char| c.is_ascii_digit())) {
        assert!(fields.contains(word), ".{word} is no field of any event");
    }
}

#[test]
fn every_metric_of_the_rules_and_of_the_readme_is_written_and_told() {
    let script = read("zalo-tokend-alerts.jq");
    let written: BTreeSet<String> =
        words(&script, "metric(\"").map(|name| format!("zalo_tokend_{name}")).collect();
    let named = |file: &str| -> BTreeSet<String> {
        let text = read(file);
        words(&text, "zalo_tokend_").map(|rest| format!("zalo_tokend_{rest}")).collect()
    };
    assert_eq!(named("README.md"), written, "README.md on the left, the script on the right");
    assert!(named("prometheus-rules.yml").is_subset(&written));
}

#[test]
fn the_readme_tells_of_every_alert_of_the_script() {
    let script = read("zalo-tokend-alerts.jq");
    // The name is the second argument, a text without spaces.
    let names =
        script.match_indices("; \"").filter_map(|(at, start)| script[at + start.len()..].split_once("\";"));
    let names = names.map(|(name, _)| name).filter(|name| !name.contains([' ', '"', '\n']));
    // The subjects that are no OA and no app stand in the same way.
    let names: BTreeSet<String> =
        names.filter(|name| !["daemon", "fleet"].contains(name)).map(str::to_owned).collect();
    let told = read("README.md");
    let rows = told.lines().skip_while(|line| !line.starts_with("| alert |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let told = rows.filter_map(|row| between(row, '`').next()).map(str::to_owned).collect();
    assert_eq!(names, told, "the script on the left, README.md on the right");
}
