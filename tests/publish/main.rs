//! What is handed out without being asked for, by the real binary: tokens in files, events to programs and servers.

mod exec;
mod file;
#[path = "../harness/mod.rs"]
mod harness;
mod receiver;
mod webhook;

use std::path::Path;
use std::time::Duration;

use harness::{Bench, DEADLINE, Daemon};

/// Waits until it is so; looks often, because nobody tells.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let waited = tokio::time::timeout(DEADLINE, async {
        while !is_so() {
            tick.tick().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("it does not come to that: {what}"));
}

/// The file as text, if it is there.
fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The lines of the file so far.
fn lines(path: &Path) -> Vec<String> {
    read(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Has the process of this id ended?
fn has_ended(pid: &str) -> bool {
    let stat = read(Path::new(&format!("/proc/{pid}/stat")));
    // Nobody may have asked yet how it ended.
    stat.is_none_or(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

/// Refreshes the OA now.
async fn refresh(bench: &Bench, oa: &str) {
    assert!(bench.run(&["refresh", oa]).await.status.success());
}

/// Its answer is held until it is released.
fn hold_answer(bench: &Bench, oa: &str) {
    use zalo_tokend::simulator::{Answer, Fault, Rule};
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)).for_oa(oa));
}

/// The events of this name about an OA.
fn events_about(daemon: &Daemon, name: &str, oa: &str) -> usize {
    daemon.events(name).iter().filter(|event| event["oa_id"] == oa).count()
}
