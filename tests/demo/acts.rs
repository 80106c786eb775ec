//! What the demo shows, and that it ends well.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use zalo_tokend::simulator::MARKER;

/// A demo of 30 seconds that takes this long hangs.
const DEADLINE: Duration = Duration::from_secs(120);

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

/// What the demo printed.
struct Told(String);

impl Told {
    fn line(&self, start: &str) -> &str {
        let found = self.0.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no line begins with {start:?}:\n{}", self.0))
    }

    /// The number in the ledger's summary.
    fn number(&self, start: &str) -> u64 {
        let number = self.line(start).split_whitespace().last().expect("a number");
        number.parse().expect("a number")
    }

    /// That these stand in it, in this order.
    fn assert_order(&self, shown: &[&str]) {
        let mut rest = self.0.as_str();
        for shown in shown {
            let at = rest.find(shown);
            let at = at.unwrap_or_else(|| panic!("{shown:?} is not shown, or not in its place:\n{}", self.0));
            rest = &rest[at + shown.len()..];
        }
    }

    fn count(&self, shown: &str) -> usize {
        self.0.matches(shown).count()
    }

    /// The table of acts: what each is called, and what came of it.
    fn acts(&self) -> Vec<(String, String)> {
        let mut lines = self.0.lines().skip_while(|line| !line.starts_with("faults on purpose")).skip(1);
        let mut acts = Vec::new();
        while let (Some(head), Some(came_of_it)) =
            (lines.next().filter(|line| !line.is_empty()), lines.next())
        {
            // The second, whom it concerns, the label.
            let label = head.trim_start().splitn(3, "  ").nth(2).expect("three columns");
            acts.push((label.trim().to_owned(), came_of_it.trim().to_owned()));
        }
        acts
    }

    fn assert_that_all_is_well(&self, oas: u32) {
        let mut braked = self.0.lines().filter(|line| line.contains("app.braked"));
        assert!(braked.all(|line| line.contains("Phở Bắc ")), "braked by accident:\n{}", self.0);
        assert_eq!(self.number("presented again without proof"), 0);
        assert_eq!(self.number("violations"), 0);
        assert!(self.number("presentations") > 0 && self.number("spends") > 0, "{}", self.0);
        self.line("answers lost");
        self.line("the ledger is clean");
        let used =
            self.line("the consumer used ").split(' ').nth(3).and_then(|word| word.parse::<usize>().ok());
        let used = used.expect("a number");
        assert!(used >= 2 && self.count(", accepted by Zalo") == used, "{used} tokens:\n{}", self.0);
        self.line(&format!("all {oas} OAs hold an access token that the simulator accepts"));
    }
}

/// A demo of full length, and the log of its daemon.
pub struct FullLength {
    told: Told,
    pub log: String,
}

/// One that is long enough to show everything, however slow the machine is: OAs that are refreshed over and over, one thing
/// after the other that goes wrong, all well at the end.
pub fn of_full_length() -> &'static FullLength {
    static PLAYED: OnceLock<FullLength> = OnceLock::new();
    PLAYED.get_or_init(|| {
        let kept = TempDir::new().expect("a temporary directory");
        let log = kept.path().join("log");
        let log_to = ["--log".as_ref(), log.as_os_str()];
        let told = crate::wait_for(played("30s", &log_to));
        FullLength { told, log: std::fs::read_to_string(log).expect("kept") }
    })
}

/// A demo of this length that has to end well.
async fn played(length: &str, more: &[&OsStr]) -> Told {
    let place = TempDir::new().expect("a temporary directory");
    let (code, stdout, stderr) = ended(demo(place.path(), length).args(more).output()).await;
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    assert_eq!(stderr, "");
    assert_empty(place.path());
    assert!(!is_anybody_at_work_in(place.path()));
    Told(stdout)
}

#[test]
fn a_demo_of_full_length_shows_every_act_and_how_it_was_settled() {
    let told = &of_full_length().told;
    told.assert_that_all_is_well(10);
    let lost_unspent = "outcome unknown → old token lives → still lives: unspent";
    let lost_spent = "outcome unknown → old token dead: spent → needs a person → new consent";
    let expected = [
        ("reset before the last byte", ""),
        ("answer lost, not spent", lost_unspent),
        ("outage: 502 for all", "outcomes unknown → braked → trial 1 failed → "),
        ("broken config, SIGHUP", "refused: the old one stays in force → the daemon goes on"),
        ("changed config, SIGHUP", "taken over → imported → new OA refreshed"),
        ("kill -9, not spent", "killed while it waits → outcome unknown → "),
        ("reset after the spend", lost_spent),
        ("503, not spent", lost_unspent),
        ("connection refused", "not presented: unspent"),
        ("slow answer", "waited for: refreshed"),
        ("reset, spent shortly after", "outcome unknown → "),
        ("kill -9 after the spend", "killed while it waits → outcome unknown → "),
    ];
    let acts = told.acts();
    for ((label, came_of_it), (expected_label, beginning)) in acts.iter().zip(expected) {
        assert_eq!(label, expected_label, "{acts:?}");
        assert!(came_of_it.starts_with(beginning), "{label}: {came_of_it}");
    }
    assert!(acts.len() >= expected.len(), "{acts:?}");
    assert!(acts[2].1.ends_with("released by a success → all branches refreshed"), "{}", acts[2].1);
    for killed in [&acts[5].1, &acts[11].1] {
        assert!(killed.ends_with("refreshed") || killed.ends_with("new consent"), "{killed}");
    }

    told.assert_order(&["answers every branch", "refresh.uncertain", "app.braked", "app.released"]);
    told.assert_order(&["a slip of the pen", "config.rejected", "set right again", "refresh.succeeded"]);
    told.assert_order(&[
        "comes with an app of its own",
        "config.reloaded              2 added, 1 changed, 0 removed; other settings of [refresh]",
        "grants consent for Gốm Bát and imports",
        "Gốm Bát       oa.imported",
        "Gốm Bát       refresh.succeeded",
    ]);
    for spent in ["is NOT spent", "IS spent"] {
        told.assert_order(&[
            &format!("(kill -9) while it waits for it; the refresh token {spent}"),
            "-- the daemon is killed",
            "-- the daemon is started again",
            "daemon.started",
            "refresh.uncertain            the program ended before an answer came",
            "refresh.probed",
        ]);
    }
    assert_eq!((told.count("daemon.started"), told.count("daemon.stopped")), (3, 1), "{}", told.0);
    assert!(told.count("  -- ") >= expected.len(), "each act is announced: {}", told.0);
    assert!(told.number("answers lost") >= 2, "{}", told.0);
}

#[tokio::test]
async fn a_short_demo_shows_refreshes_and_faults_and_ends_with_a_clean_ledger() {
    let told = played("15s", &[]).await;
    let has_newcomer = told.0.contains("config.reloaded");
    told.assert_that_all_is_well(if has_newcomer { 10 } else { 9 });
    for shown in ["refresh.succeeded", "-- the next", "reset before the last byte", "refresh.uncertain"] {
        assert!(told.0.contains(shown), "{shown} is not shown:\n{}", told.0);
    }
    assert_eq!((told.count("daemon.started"), told.count("daemon.stopped")), (1, 1), "{}", told.0);
}

/// A demo that gets SIGINT when it has shown this.
async fn interrupted_at(length: &str, shown: &str) -> Told {
    let place = TempDir::new().expect("a temporary directory");
    let mut child = demo(place.path(), length).spawn().expect("the binary runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut told = String::new();
    let read = async {
        while let Some(line) = lines.next_line().await.expect("readable") {
            if line.contains(shown) && !told.contains(shown) {
                let pid = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
                let interrupt = rustix::process::Signal::INT;
                rustix::process::kill_process(pid.expect("running"), interrupt).expect("signalled");
            }
            told.push_str(&(line + "\n"));
        }
    };
    tokio::time::timeout(DEADLINE, read).await.expect("the demo ends");
    let (code, _, stderr) = ended(child.wait_with_output()).await;
    assert_eq!(code, Some(0), "{told}\n{stderr}");
    assert!(told.contains(shown), "{shown} is not shown:\n{told}");
    assert!(!told.contains(MARKER), "a secret is shown:\n{told}");
    assert_empty(place.path());
    assert!(!is_anybody_at_work_in(place.path()));
    Told(told)
}

#[tokio::test]
async fn a_demo_that_is_interrupted_cleans_up_and_shows_its_ledger_all_the_same() {
    let told = interrupted_at("1m", "refresh.succeeded").await;
    told.line("the ledger is clean");
    assert_eq!(told.count("daemon.stopped"), 1, "the daemon did not end in order:\n{}", told.0);
}

#[tokio::test]
async fn a_demo_that_is_interrupted_while_its_daemon_is_dead_cleans_up_as_well() {
    let told = interrupted_at("30s", "-- the daemon is started again").await;
    told.line("the ledger is clean");
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
