//! Kills and failing disks at chosen system calls of the daemon's work with its store, by strace under or beside the
//! real binary. What a step leaves in the store is for the next start to judge, and for the simulator's ledger to
//! confirm. Not every call is tried: the writes of one commit are alike, and every so many of them is taken, besides
//! every sync.

mod harness;

use std::os::unix::process::ExitStatusExt;

use harness::rows::*;
use harness::together::at_each;
use harness::traced::{Traced, from_the_start, is_possible};
use harness::{Bench, Daemon, lock};
use zalo_tokend::simulator::{Answer, Fault, Rule};

/// The thread that commits.
const STORE: &str = "store";
/// More calls than a commit has.
const MOST_CALLS: usize = 60;

/// The calls at which something is done to the process: each of the first syncs, and every few writes.
fn calls(syncs: usize, writes: impl Iterator<Item = usize>) -> Vec<String> {
    let syncs = (1..=syncs).map(|n| ("fsync", n));
    syncs
        .chain(writes.map(|n| ("pwrite64", n)))
        .map(|(call, n)| format!("{call}:signal=KILL:when={n}"))
        .collect()
}

/// A bench that tries again soon, and a daemon on it with nothing to do.
async fn idle() -> (Bench, Daemon) {
    let bench = Bench::new().await;
    bench.set_refresh(ROOMY);
    bench.add_oa("7");
    let daemon = bench.start().await;
    (bench, daemon)
}

/// Nothing was presented but once, and its answer is what the OA has.
async fn assert_refreshed_by_one_presentation(bench: &Bench, what: &str) {
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.spends()), (1, 1), "{what}: {}", ledger.summary());
    assert_eq!(bench.status("7").await["generation"], 2, "{what}");
    bench.assert_is_handed_out("7", what).await;
    assert_clean(&ledger);
}

/// Kills at a call on the way to the gate. Says whether it was killed before anything had been presented.
async fn killed_on_the_way_to_the_gate(call: String) -> bool {
    let (bench, mut daemon) = idle().await;
    let traced = Traced::thread(daemon.pid, STORE, &call).await;
    bench.import_due("7").await;
    let is_killed = daemon.ends_before("refresh.succeeded").await;
    if !is_killed || bench.simulator.ledger().presentations() > 0 {
        return false;
    }
    assert_eq!(daemon.ended().await.signal(), Some(9), "{call}: {}", daemon.log());
    drop(traced);
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    // With the row in the store the token counts as presented, until it is proven that it was not spent.
    let doubted = daemon.events_of("refresh.uncertain", "7").len();
    let asked = bench.simulator.ledger().probes_of("7");
    assert!(doubted == 0 || asked >= 2, "{call}: presented after no proof");
    assert_refreshed_by_one_presentation(&bench, &call).await;
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_killed_at_any_call_before_the_commit_at_the_gate_returned_nothing_is_presented_and_all_ends_well()
 {
    if !is_possible() {
        return;
    }
    let killed = at_each(calls(2, (1..=21).step_by(5)), killed_on_the_way_to_the_gate).await;
    // The import is announced by a commit of its own, and then comes the one at the gate.
    assert!(killed.iter().filter(|is_killed| **is_killed).count() >= 4, "{killed:?}");
}

/// Kills at a call of the commit that takes the answer in. Says whether the store had the set at the kill; `None`: it
/// was not killed, as there are fewer such calls.
async fn killed_while_adopting(call: String) -> Option<bool> {
    let (bench, mut daemon) = idle().await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    bench.import_due("7").await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    let traced = Traced::thread(daemon.pid, STORE, &call).await;
    bench.simulator.release();
    if !daemon.ends_before("refresh.succeeded").await {
        return None;
    }
    assert_eq!(daemon.ended().await.signal(), Some(9), "{call}: {}", daemon.log());
    drop(traced);
    let is_adopted = bench.status("7").await["generation"] == 2;
    let mut daemon = bench.start().await;
    if is_adopted {
        assert!(daemon.stop().await.success());
        assert_refreshed_by_one_presentation(&bench, &call).await;
        return Some(true);
    }
    let told = daemon.wait_for_oa("oa.reauthorization_required", "7").await;
    assert_eq!(told["reason"], "response_lost", "{call}");
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.spends()), (1, 1), "{call}: {}", ledger.summary());
    assert_clean(&ledger);
    Some(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn f42_killed_at_any_call_of_the_adopting_commit_the_outcome_is_what_the_store_holds() {
    if !is_possible() {
        return;
    }
    let held = at_each(calls(1, (1..=25).step_by(8)), killed_while_adopting).await;
    // Between its last write and its sync a commit is there for whoever opens the store next.
    assert!(held.contains(&Some(true)) && held.contains(&Some(false)), "{held:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f07_a_recovery_that_is_killed_at_step_after_step_ends_in_the_same_state() {
    if !is_possible() {
        return;
    }
    let bench = Bench::new().await;
    bench.set_refresh(ROOMY);
    // Of one OA the answer is in its slot, of the other nobody knows what became of its request.
    for (oa, fault) in [("1", Fault::spent(Answer::Held)), ("2", Fault::unspent(Answer::Stall))] {
        bench.simulator.fault(Rule::once(fault).for_oa(oa));
        bench.add_lone_oa(oa, A_WHILE).await;
    }
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.presentations() == 2 && ledger.spends() == 1).await;
    // No write: a commit of which the sync alone fails is there for whoever opens the store next.
    let traced = Traced::thread(daemon.pid, STORE, "pwrite64:error=EIO:when=1+").await;
    bench.simulator.release();
    bench.wait_until_served("1").await;
    daemon.kill().await;
    drop(traced);

    let mut kills = 0;
    for (call, step) in [("fsync", 1), ("pwrite64", 4), ("ftruncate", 1)] {
        for n in (1..MOST_CALLS).step_by(step) {
            *lock(&bench.prefix) = from_the_start(&format!("{call}:signal=KILL:when={n}"));
            let mut daemon = bench.spawn(&[]);
            let is_killed = daemon.ends_before("daemon.ready").await;
            lock(&bench.prefix).clear();
            bench.assert_is_handed_out("1", "killed during the recovery").await;
            if !is_killed {
                daemon.kill().await;
                break;
            }
            assert_eq!(daemon.ended().await.signal(), Some(9), "{call} {n}: {}", daemon.log());
            kills += 1;
        }
    }
    assert!(kills >= 5, "{kills} kills");

    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.succeeded", "2").await;
    assert!(daemon.stop().await.success());
    assert_eq!(bench.status("1").await["generation"], 2, "taken in once");
    bench.assert_is_handed_out("1", "after the kills").await;
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations_of("1"), ledger.presentations_of("2")), (1, 2), "{}", ledger.summary());
    assert_eq!((ledger.spends_of("1"), ledger.spends_of("2")), (1, 1));
    assert_clean(&ledger);
}

/// Does a command that only looks have the log read from the disk?
async fn drops_a_cache(bench: &Bench) -> bool {
    let calls = tempfile::NamedTempFile::new().expect("made");
    let place = calls.path().to_str().expect("UTF-8");
    let words = ["strace", "-f", "-qq", "-o", place, "-e", "signal=none", "-e", "trace=fadvise64"];
    *lock(&bench.prefix) = words.map(str::to_owned).to_vec();
    bench.assert_is_handed_out("7", "by a command").await;
    lock(&bench.prefix).clear();
    std::fs::read_to_string(place).expect("read").contains("POSIX_FADV_DONTNEED")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_a_dead_process_left_is_read_from_the_disk_and_not_from_the_cache() {
    if !is_possible() {
        return;
    }
    let (bench, mut daemon) = idle().await;
    bench.import_due("7").await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(!drops_a_cache(&bench).await, "a daemon is at work, and its log is its own");
    daemon.kill().await;
    // Whether the cache is dropped is not to be seen; that a start does not go on before it is, is.
    *lock(&bench.prefix) = from_the_start("fadvise64:error=EIO:when=1");
    let mut daemon = bench.spawn(&[]);
    lock(&bench.prefix).clear();
    daemon.wait_for("store.failed").await;
    daemon.wait_for("daemon.ready").await;
    assert!(daemon.log().contains("tokens.db-wal cannot be synced"), "{}", daemon.log());
    daemon.kill().await;
    assert!(drops_a_cache(&bench).await, "I5: what was not synced is not handed out");
    assert_refreshed_by_one_presentation(&bench, "after the start").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f16_a_commit_that_failed_and_yet_held_is_closed_as_not_presented() {
    if !is_possible() {
        return;
    }
    let (bench, mut daemon) = idle().await;
    // The first commit tells of the import. That of the second the sync alone fails: its row stands in the log.
    let traced = Traced::thread(daemon.pid, STORE, "fsync:error=EIO:when=2").await;
    bench.import_due("7").await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    traced.leave().await;
    assert!(daemon.stop().await.success());
    assert!(daemon.events("refresh.uncertain").is_empty(), "{}", daemon.log());
    assert!(bench.simulator.ledger().incomplete() >= 1, "the first request lacked its last byte");
    assert_refreshed_by_one_presentation(&bench, "in the same process").await;
}

/// Every sync or write fails from the one at the gate on.
async fn refused_at_the_gate(injection: String) {
    let (bench, mut daemon) = idle().await;
    let traced = Traced::thread(daemon.pid, STORE, &injection).await;
    bench.import_due("7").await;
    daemon.wait_for("store.failed").await;
    if injection.starts_with("fsync") {
        bench.ledger_until(|ledger| ledger.incomplete() >= 1).await;
    }
    let is_crash = injection.contains("EIO");
    assert_eq!(bench.simulator.ledger().presentations(), 0, "{injection}");
    if is_crash {
        daemon.kill().await;
        drop(traced);
        daemon = bench.start().await;
    } else {
        traced.leave().await;
        daemon.wait_for("store.recovered").await;
    }
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    assert_refreshed_by_one_presentation(&bench, &injection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f16_after_a_crash_a_commit_that_failed_is_what_the_store_holds_and_blocks_nothing() {
    if !is_possible() {
        return;
    }
    at_each(vec!["fsync:error=EIO:when=2+".to_owned()], refused_at_the_gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f15_whatever_a_disk_refuses_is_not_presented_and_goes_out_when_it_is_well() {
    if !is_possible() {
        return;
    }
    let injections = [
        "fsync:error=ENOSPC:when=2+",
        // The commit that tells of the import has four writes at the least, so that none of these begins after the gate.
        "pwrite64:error=EROFS:when=5+",
        "pwrite64:error=EDQUOT:when=3+",
        "pwrite64:error=EMFILE:when=1+",
    ];
    at_each(injections.map(str::to_owned).to_vec(), refused_at_the_gate).await;
}

/// The n-th sync fails of the commits that take the answer in.
async fn refused_while_adopting(injection: String) {
    let (bench, mut daemon) = idle().await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    bench.import_due("7").await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    let traced = Traced::thread(daemon.pid, STORE, &injection).await;
    bench.simulator.release();
    daemon.wait_for("store.failed").await;
    bench.wait_until_served("7").await;
    if injection.ends_with('+') {
        assert!(daemon.events("refresh.succeeded").is_empty(), "I5: not before it is in the store");
        traced.leave().await;
    }
    assert_eq!(daemon.wait_for_oa("refresh.succeeded", "7").await["generation"], 2, "{injection}");
    daemon.wait_for("store.recovered").await;
    assert!(daemon.stop().await.success());
    assert_eq!(daemon.events("refresh.succeeded").len(), 1, "{injection}: adopted once");
    assert_refreshed_by_one_presentation(&bench, &injection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_a_set_is_adopted_once_whichever_call_of_its_commit_the_disk_refuses() {
    if !is_possible() {
        return;
    }
    let injections = [
        "fsync:error=EIO:when=1",
        "fsync:error=EIO:when=1+",
        "pwrite64:error=EIO:when=1",
        "pwrite64:error=EROFS:when=3+",
    ];
    at_each(injections.map(str::to_owned).to_vec(), refused_while_adopting).await;
}
