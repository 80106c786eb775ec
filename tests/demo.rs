//! `demo`, as somebody sees it who tries the program for the first time.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use zalo_tokend::simulator::MARKER;

/// A demo of 15 seconds that takes this long hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// `demo` with its temporary directory in `place`, and plain output.
fn demo(place: &Path, length: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zalo-tokend"));
    command
        .args(["demo", "--for", length])
        .env("TMPDIR", place)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn ended(child: impl Future<Output = std::io::Result<Output>>) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(DEADLINE, child).await.expect("the demo ends").expect("waited for");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    for place in [&stdout, &stderr] {
        assert!(!place.contains(MARKER), "a secret is shown:\n{place}");
        assert!(!place.contains('\u{1b}'), "what is no terminal gets plain text");
    }
    (output.status.code(), stdout, stderr)
}

fn assert_empty(place: &Path) {
    let left: Vec<_> = std::fs::read_dir(place).expect("a directory").collect();
    assert!(left.is_empty(), "the demo left {left:?}");
}

/// Whether a process has this directory in its arguments.
fn is_anybody_at_work_in(place: &Path) -> bool {
    let place = place.to_str().expect("UTF-8");
    let processes = std::fs::read_dir("/proc").expect("readable").flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|arguments| String::from_utf8_lossy(&arguments).contains(place))
}

#[tokio::test]
async fn a_short_demo_shows_refreshes_and_faults_and_ends_with_a_clean_ledger() {
    let place = TempDir::new().expect("a temporary directory");
    let (code, stdout, stderr) = ended(demo(place.path(), "15s").output()).await;
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    assert_eq!(stderr, "");
    let line = |start: &str| stdout.lines().find(|line| line.starts_with(start)).expect(start).to_owned();
    let number = |start: &str| line(start).split_whitespace().last().expect("a number").to_owned();
    assert_eq!(number("presented again without proof"), "0");
    assert_ne!(number("presentations"), "0");
    assert_ne!(number("spends"), "0");
    line("answers lost");
    line("the ledger is clean");
    line("all 7 OAs hold an access token that the simulator accepts");
    for shown in ["refresh.succeeded", "-- the next", "reset before the last byte", "refresh.uncertain"] {
        assert!(stdout.contains(shown), "{shown} is not shown:\n{stdout}");
    }
    assert_empty(place.path());
    assert!(!is_anybody_at_work_in(place.path()));
}

#[tokio::test]
async fn a_demo_that_is_interrupted_cleans_up_and_shows_its_ledger_all_the_same() {
    let place = TempDir::new().expect("a temporary directory");
    let mut child = demo(place.path(), "1m").spawn().expect("the binary runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut shown = String::new();
    let read = async {
        while let Some(line) = lines.next_line().await.expect("readable") {
            if line.contains("refresh.succeeded") && !shown.contains("refresh.succeeded") {
                let pid = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
                let interrupt = rustix::process::Signal::INT;
                rustix::process::kill_process(pid.expect("running"), interrupt).expect("signalled");
            }
            shown.push_str(&(line + "\n"));
        }
    };
    tokio::time::timeout(DEADLINE, read).await.expect("the demo ends");
    let (code, _, stderr) = ended(child.wait_with_output()).await;
    assert_eq!(code, Some(0), "{shown}\n{stderr}");
    assert!(!shown.contains(MARKER), "a secret is shown:\n{shown}");
    assert!(shown.contains("daemon.stopped"), "the daemon did not end in order:\n{shown}");
    assert!(shown.contains("the ledger is clean"), "{shown}");
    assert_empty(place.path());
    assert!(!is_anybody_at_work_in(place.path()));
}

#[tokio::test]
async fn the_daemons_log_is_appended_to_a_file_of_its_owner_as_it_came() {
    let place = TempDir::new().expect("a temporary directory");
    let kept = TempDir::new().expect("a temporary directory");
    let log = kept.path().join("log");
    for run in 1..=2 {
        let mut child = demo(place.path(), "15s").arg("--log").arg(&log).spawn().expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let read = async {
            while let Some(line) = lines.next_line().await.expect("readable") {
                if line.contains("refresh.succeeded") {
                    break;
                }
            }
        };
        tokio::time::timeout(DEADLINE, read).await.expect("an OA is refreshed");
        let pid = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
        rustix::process::kill_process(pid.expect("running"), rustix::process::Signal::INT)
            .expect("signalled");
        while lines.next_line().await.expect("readable").is_some() {}
        let (code, _, stderr) = ended(child.wait_with_output()).await;
        assert_eq!(code, Some(0), "{stderr}");
        let text = std::fs::read_to_string(&log).expect("kept");
        let events: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
        // From the first line to the last; a second run does not overwrite the first.
        assert_eq!((count("daemon.started"), count("daemon.stopped")), (run, run), "{text}");
        assert!(count("refresh.planned") >= run, "what is not shown is kept as well:\n{text}");
        assert!(!text.contains(MARKER), "a secret is in the log:\n{text}");
    }
    let mode = std::fs::metadata(&log).expect("kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_log_that_cannot_be_kept_is_refused_before_anything_begins() {
    let place = TempDir::new().expect("a temporary directory");
    let log = place.path().join("no-such-directory/log");
    let (code, stdout, stderr) = ended(demo(place.path(), "15s").arg("--log").arg(&log).output()).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.starts_with("the log cannot be kept in ") && stderr.contains("name another file"),
        "{stderr}"
    );
    assert_empty(place.path());
}

#[tokio::test]
async fn a_length_that_no_demo_can_have_is_a_usage_error() {
    let place = TempDir::new().expect("a temporary directory");
    for length in ["1s", "11m", "soon"] {
        let (code, stdout, stderr) = ended(demo(place.path(), length).output()).await;
        assert_eq!(code, Some(2), "{length}: {stdout}\n{stderr}");
        assert!(stderr.contains("give "), "{length}: the error does not say what to do: {stderr}");
    }
    assert_empty(place.path());
}
