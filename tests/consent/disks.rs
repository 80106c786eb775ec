//! Consent while the disk is full.

use tokio::net::TcpStream;
use zalo_tokend::simulator::{Answer, Fault, Rule};

use super::assert_clean;
use super::harness::small_disk::SmallDisk;
use super::harness::{Bench, Daemon};

/// A daemon that takes consent over a disk of its own, with the OA 7.
async fn on_a_small_disk() -> (Bench, SmallDisk, Daemon) {
    let bench = Bench::new().await;
    let disk = SmallDisk::under(&bench).await;
    bench.take_consent();
    bench.add_oa("7");
    bench.simulator.administers("app", "7");
    let daemon = bench.start().await;
    (bench, disk, daemon)
}

/// Somebody comes back with consent to the OA 7, and the answer to the code comes when the disk is full.
async fn answered_to_a_full_disk(bench: &Bench, disk: &SmallDisk, daemon: &Daemon) -> TcpStream {
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let back = bench.consented("7").await;
    let visit = daemon.begin_visit(&back).await;
    bench.ledger_until(|ledger| ledger.codes_spent() == 1).await;
    disk.fill().await;
    bench.simulator.release();
    visit
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_to_a_full_disk_goes_to_its_slot_and_counts_when_there_is_room() {
    let (bench, disk, daemon) = on_a_small_disk().await;
    let visit = answered_to_a_full_disk(&bench, &disk, &daemon).await;
    daemon.wait_for("store.failed").await;
    bench.wait_until_a_slot_is_filled(&daemon).await;
    assert!(daemon.events("consent.granted").is_empty(), "I5: not before it is in the store");
    disk.free().await;
    daemon.wait_for_oa("consent.granted", "7").await;
    drop(visit);
    assert_eq!(bench.status("7").await["state"], "scheduled");
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_its_slot_survives_kill_and_counts_after_the_next_start() {
    let (bench, disk, mut daemon) = on_a_small_disk().await;
    let visit = answered_to_a_full_disk(&bench, &disk, &daemon).await;
    bench.wait_until_a_slot_is_filled(&daemon).await;
    daemon.kill().await;
    drop(visit);
    disk.free().await;
    let daemon = bench.start().await;
    daemon.wait_for_oa("consent.granted", "7").await;
    assert_eq!(bench.status("7").await["state"], "scheduled");
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_cannot_be_journalled_is_not_presented_and_may_be_brought_again() {
    let (bench, disk, daemon) = on_a_small_disk().await;
    let back = bench.consented("7").await;
    disk.fill().await;
    let page = daemon.visit(&back).await;
    assert!(matches!(page.status, 502 | 503), "{} {}", page.status, daemon.log());
    assert_eq!(bench.simulator.ledger().presentations(), 0);
    disk.free().await;
    daemon.wait_for("store.recovered").await;
    assert_eq!(daemon.visit(&back).await.status, 200);
    assert_clean(&bench.simulator.ledger());
}
