//! Disks that are full: on a small tmpfs in a mount namespace of the test's own.

use std::time::Duration;

use zalo_tokend::simulator::{Answer, Fault, Rule};

use crate::harness::Bench;
use crate::harness::small_disk::{SmallDisk, bench_with_an_answer_held, killed_with_an_answer_in_its_slot};

fn assert_clean(bench: &Bench, spends: usize) {
    let ledger = bench.simulator.ledger();
    assert_eq!(ledger.spends(), spends);
    assert!(ledger.is_clean(), "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_an_answer_that_comes_to_a_full_disk_goes_to_its_slot_is_served_and_adopted_later() {
    let (bench, disk) = bench_with_an_answer_held().await;
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    disk.fill().await;
    bench.simulator.release();
    let failed = daemon.wait_for("store.failed").await;
    assert_eq!(failed["level"], "ERROR");
    bench.wait_until_served("7").await;
    assert!(daemon.events("refresh.succeeded").is_empty(), "I5: not before it is in the store");
    disk.free().await;
    daemon.wait_for("store.recovered").await;
    assert_eq!(daemon.wait_for_oa("refresh.succeeded", "7").await["generation"], 2);
    assert!(daemon.stop().await.success());
    assert_eq!(bench.status("7").await["generation"], 2);
    assert_clean(&bench, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_an_answer_in_its_slot_survives_kill_and_is_adopted_by_the_next_start() {
    let (bench, disk) = killed_with_an_answer_in_its_slot().await;

    // The next start meets the same full disk, says so, and waits for room.
    let mut daemon = bench.spawn(&[]);
    daemon.wait_for("store.failed").await;
    bench.wait_until_served("7").await;
    disk.free().await;
    daemon.wait_for("daemon.ready").await;
    assert_eq!(daemon.wait_for_oa("refresh.succeeded", "7").await["generation"], 2);
    assert!(daemon.stop().await.success());
    assert!(daemon.events("refresh.uncertain").is_empty());
    assert_clean(&bench, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_sigterm_on_a_full_disk_ends_well_once_the_answer_is_in_its_slot() {
    let (bench, disk) = bench_with_an_answer_held().await;
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    disk.fill().await;
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait_for("daemon.stopping").await;
    bench.simulator.release();
    assert_eq!(daemon.ended().await.code(), Some(0));
    disk.free().await;
    let mut daemon = bench.start().await;
    assert_eq!(bench.status("7").await["generation"], 2);
    assert!(daemon.stop().await.success());
    assert_clean(&bench, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn f15_what_cannot_be_journalled_is_not_presented_and_goes_out_when_the_disk_is_well() {
    let bench = Bench::new().await;
    let disk = SmallDisk::under(&bench).await;
    bench.set_refresh(
        "before_expiry = \"5s\"\njitter = \"0s\"\nretry_first = \"50ms\"\nretry_max = \"200ms\"\n",
    );
    bench.simulator.with_variant(|variant| variant.access_token_life = Duration::from_secs(10));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.planned", "7").await;
    disk.fill().await;
    let presented = bench.simulator.ledger().presentations();
    daemon.wait_for("store.failed").await;
    let ledger = bench.simulator.ledger();
    assert_eq!(ledger.presentations(), presented, "nothing is presented that is not in the journal");
    disk.free().await;
    daemon.wait_for("store.recovered").await;
    let ledger = bench.ledger_until(|ledger| ledger.spends() > presented).await;
    assert!(ledger.incomplete() > 0, "the first request went out but for its last byte");
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean() && ledger.answers_lost() == 0, "{}", ledger.summary());
    assert_eq!(ledger.presentations(), ledger.spends());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_small_shop_fit_into_three_mebibytes() {
    let bench = Bench::new().await;
    let disk = SmallDisk::under(&bench).await;
    bench.set_refresh("before_expiry = \"30d\"\njitter = \"0s\"\n");
    bench.simulator.with_variant(|variant| variant.access_token_life = Duration::from_secs(2));
    for n in 1..=10 {
        bench.add_granted_oa(&n.to_string()).await;
    }
    let mut daemon = bench.start().await;
    daemon.wait_for_nth("refresh.succeeded", 80).await;
    let used = disk.shell(&format!("df --output=used -k {} | tail -1", disk.mount)).await;
    assert!(daemon.stop().await.success());
    assert!(daemon.events("store.failed").is_empty());
    let used: u64 = used.trim().parse().expect("a number");
    assert!(used < 3 * 1024, "{used} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn i10_a_token_is_handed_out_on_a_full_disk_while_the_daemon_is_stopped() {
    let bench = Bench::new().await;
    let disk = SmallDisk::under(&bench).await;
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    assert!(daemon.stop().await.success());
    disk.fill().await;
    let current = bench.simulator.current_set("7").expect("granted").access_token;
    assert_eq!(bench.token("7").await.as_deref(), Some(current.expose()));
    assert_eq!(bench.status("7").await["state"], "scheduled");
}

#[tokio::test(flavor = "multi_thread")]
async fn f43_an_import_on_a_nearly_full_disk_is_not_overruled_by_a_late_answer_in_a_slot() {
    let (bench, disk) = bench_with_an_answer_held().await;
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    bench.import_due("7").await;
    let imported = bench.simulator.current_set("7").expect("granted").access_token;
    daemon.wait_for_oa("oa.imported", "7").await;
    disk.fill().await;
    bench.simulator.release();
    daemon.wait_for("store.failed").await;
    assert_eq!(bench.token("7").await.as_deref(), Some(imported.expose()));
    daemon.kill().await;
    assert_eq!(
        bench.token("7").await.as_deref(),
        Some(imported.expose()),
        "from the slot comes nothing newer"
    );
    disk.free().await;
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.superseded", "7").await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    assert!(bench.simulator.ledger().is_clean());
}

/// What is done to the files of a store.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Done {
    /// The file with this ending of its name is moved away.
    Moved(&'static str),
    /// A copy of the database stands where it was.
    Replaced,
    /// The directory is a link, and leads elsewhere now.
    Relinked,
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_a_store_that_was_moved_away_or_replaced_takes_no_answer_and_lets_nothing_be_presented_until_it_is_back()
 {
    let moved = ["", "-wal", "-shm", "-slots"].map(Done::Moved);
    for done in moved.into_iter().chain([Done::Replaced, Done::Relinked]) {
        let bench = Bench::new().await;
        let (link, old_link) = (bench.path("link"), bench.path("old-link"));
        if done == Done::Relinked {
            let state = bench.store().parent().expect("a directory").to_owned();
            std::fs::create_dir_all(&state).expect("made");
            std::os::unix::fs::symlink(&state, &link).expect("linked");
        }
        bench.add_due_oa("7").await;
        bench.add_granted_oa("8").await;
        if done == Done::Relinked {
            bench.write_config_with_store(&link.join("tokens.db"));
        }
        bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)).for_oa("7"));
        let mut daemon = bench.start().await;
        bench.ledger_until(|ledger| ledger.spends() == 1).await;
        let (file, away) = match done {
            Done::Moved(suffix) => (bench.path(&format!("state/tokens.db{suffix}")), bench.path("away")),
            Done::Replaced => (bench.store(), bench.path("away")),
            Done::Relinked => (link, old_link),
        };
        std::fs::rename(&file, &away).expect("moved");
        match done {
            Done::Moved(_) => {}
            Done::Replaced => drop(std::fs::copy(&away, &file).expect("copied")),
            Done::Relinked => std::os::unix::fs::symlink(bench.path("."), &file).expect("linked"),
        }
        bench.simulator.release();
        let failed = daemon.wait_for("store.failed").await;
        assert!(failed["detail"].as_str().is_some_and(|detail| detail.contains("move")), "{done:?} {failed}");
        if done != Done::Relinked {
            assert_eq!(bench.run(&["refresh", "8"]).await.status.code(), Some(75), "{done:?}");
        }
        assert!(daemon.events("refresh.succeeded").is_empty(), "it is where nobody would find it");
        std::fs::rename(&away, &file).expect("moved back");
        daemon.wait_for("store.recovered").await;
        daemon.wait_for_oa("refresh.succeeded", "7").await;
        bench.assert_is_handed_out("7", "adopted").await;
        assert_eq!(bench.run(&["refresh", "8"]).await.status.code(), Some(0), "{done:?}");
        assert!(daemon.stop().await.success());
        let ledger = bench.simulator.ledger();
        assert_eq!((ledger.presentations(), ledger.spends()), (2, 2));
        assert!(ledger.is_clean(), "{}", ledger.summary());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_a_stop_waits_with_an_answer_in_a_slot_that_nobody_would_find() {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    let (slots, away) = (bench.path("state/tokens.db-slots"), bench.path("away"));
    std::fs::rename(&slots, &away).expect("moved");
    bench.simulator.release();
    daemon.wait_for("store.failed").await;
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait_for("daemon.stopping").await;
    // More than once, since what is tried again and again could give up: the daemon alone has it.
    for _ in 0..20 {
        bench.wait_until_served("7").await;
    }
    assert!(daemon.is_running(), "{}", daemon.log());
    std::fs::rename(&away, &slots).expect("moved back");
    assert_eq!(daemon.ended().await.code(), Some(0));
    let mut daemon = bench.start().await;
    bench.assert_is_handed_out("7", "after a start").await;
    assert_eq!(bench.status("7").await["generation"], 2);
    assert!(daemon.stop().await.success());
    assert!(bench.simulator.ledger().is_clean());
}
