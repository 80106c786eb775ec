//! A disk that never answers: the thread that works on the store stands still, and everything else goes on, or ends.

use std::time::Duration;

use rustix::process::Signal;
use zalo_tokend::simulator::{Answer, Fault, Rule};

use crate::harness::frozen::Frozen;
use crate::harness::small_disk::killed_with_an_answer_in_its_slot;
use crate::harness::together::at_each;
use crate::harness::{Bench, DEADLINE, Daemon};

/// A daemon whose store hangs while an answer is on its way.
async fn hanging() -> (Bench, Daemon, Frozen) {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    let frozen = Frozen::thread(daemon.pid, "store");
    bench.simulator.release();
    (bench, daemon, frozen)
}

/// Waits until nothing is left of the process but its entry in the list of the dead.
async fn until_dead(process: u32) {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let is_dead = || {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
    };
    let dead = tokio::time::timeout(DEADLINE, async {
        while !is_dead() {
            tick.tick().await;
        }
    });
    dead.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_an_answer_that_comes_while_the_store_hangs_goes_to_its_slot_and_is_adopted_when_it_answers() {
    let (bench, mut daemon, frozen) = hanging().await;
    bench.wait_until_served("7").await;
    assert!(daemon.events("refresh.succeeded").is_empty(), "I5: not before it is in the store");
    drop(frozen);
    assert_eq!(daemon.wait_for_oa("refresh.succeeded", "7").await["generation"], 2);
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.answers_lost()), (1, 0), "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_does_not_keep_the_stop_from_ending_once_the_answer_is_in_its_slot() {
    let (bench, mut daemon, frozen) = hanging().await;
    bench.wait_until_served("7").await;
    daemon.signal(Signal::TERM);
    daemon.wait_for("daemon.stopping").await;
    daemon.wait_for_text("the disk of the store hangs").await;
    // Not before it is dead: set free, the thread would store the answer in its last moments.
    until_dead(daemon.pid).await;
    drop(frozen);
    assert_eq!(daemon.ended().await.code(), Some(1));
    let mut daemon = bench.start().await;
    assert_eq!(daemon.wait_for_oa("refresh.succeeded", "7").await["generation"], 2, "out of its slot");
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean() && ledger.presentations() == 1, "{}", ledger.summary());
}

/// A start that comes to this point and no further. When it is asked to end it does, and the next one adopts the answer that
/// is in its slot.
async fn a_start_that_hangs_ends(point: &'static str) {
    let (bench, disk) = killed_with_an_answer_in_its_slot().await;
    disk.free().await;
    let mut daemon = bench.spawn_with_failpoint(point, "hang", 1);
    daemon.wait_for("daemon.started").await;
    daemon.signal(Signal::TERM);
    daemon.wait_for_text("the disk of the store hangs").await;
    assert_eq!(daemon.ended().await.code(), Some(1), "{point}");
    assert!(daemon.events("daemon.ready").is_empty(), "{point}");
    let before = bench.status("7").await["generation"].clone();
    let mut daemon = bench.start().await;
    assert!(daemon.stop().await.success(), "{point}");
    assert_eq!(
        (&before, &bench.status("7").await["generation"]),
        (&2.into(), &2.into()),
        "{point}: in slot or store"
    );
    bench.assert_is_handed_out("7", point).await;
    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean() && ledger.presentations() == 1, "{point}: {}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_a_start_that_hangs_ends_when_it_is_asked_to_and_the_next_one_adopts_what_is_in_a_slot() {
    // Before anything is read, with an answer half taken in, and at the first commit of the thread.
    at_each(["recovery.begun", "recovery.taken_in", "store.committing"], a_start_that_hangs_ends).await;
}
