//! What was not synced is really lost, and what was is not.

use faulty_disk::{Disk, Fault, FaultKind, Loss};

mod common;
use common::{PATH, connect, count, insert, integrity};

#[test]
fn a_commit_under_synchronous_off_vanishes_for_some_seeds_and_one_under_full_for_none() {
    for (synchronous, may_vanish) in [("OFF", true), ("FULL", false)] {
        let disk = Disk::new();
        let conn = connect(&disk).expect("opened");
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("all is in the database");
        conn.pragma_update(None, "synchronous", synchronous).expect("set");
        insert(&conn, 1).expect("committed");
        let has_it = |seed: u64| {
            let after = disk.snapshot();
            after.restart(Loss::Unsynced { seed });
            let conn = connect(&after).expect("opened");
            assert_eq!(integrity(&conn), "ok", "{seed}");
            count(&conn) == 1
        };
        let kept = (0..200).filter(|seed| has_it(*seed)).count();
        assert_eq!(kept < 200, may_vanish, "{synchronous}: {kept} of 200 have it");
        assert!(kept > 0 && (kept == 200 || !has_it(0)));
    }
}

#[test]
fn a_power_loss_at_each_operation_keeps_every_commit_that_was_told() {
    for kind in [FaultKind::CrashBefore, FaultKind::CrashAfter] {
        for at in 1.. {
            let disk = Disk::new();
            disk.fail(Fault { at, kind });
            let mut told = 0;
            if let Ok(conn) = connect(&disk) {
                // Small enough that the log is worked in on the way.
                conn.query_row("PRAGMA wal_autocheckpoint = 4", [], |_| Ok(())).expect("set");
                told = (0..6).take_while(|x| insert(&conn, *x).is_ok()).count();
            }
            if !disk.is_down() {
                assert!(at > 40, "{at}");
                break;
            }
            for seed in 0..20 {
                let after = disk.snapshot();
                after.restart(Loss::Unsynced { seed });
                let conn = connect(&after).expect("opened");
                let found = usize::try_from(count(&conn)).expect("a count");
                assert!(
                    (told..=told + 1).contains(&found),
                    "{kind:?} at {at}, {seed}: {told} told, {found} found"
                );
                assert_eq!(integrity(&conn), "ok", "{kind:?} at {at}, {seed}");
            }
        }
    }
}

#[test]
fn a_name_is_lost_unless_the_file_or_the_directory_was_synced() {
    let disk = Disk::new();
    for name in ["/synced", "/listed"] {
        disk.file(name).expect("made");
    }
    disk.sync_directory().expect("synced");
    disk.file("/own").expect("made").sync().expect("synced");
    disk.file("/lost").expect("made");
    disk.delete("/synced").expect("deleted");
    disk.restart(Loss::Unsynced { seed: 0 });
    let found = ["/synced", "/listed", "/own", "/lost"].map(|name| disk.exists(name));
    assert_eq!(found, [true, true, true, false]);
}

#[test]
fn a_length_is_lost_until_it_is_synced() {
    let disk = Disk::new();
    let file = disk.file(PATH).expect("made");
    file.write_all_at(&[7; 100], 0).expect("written");
    file.sync().expect("synced");
    file.set_len(10).expect("cut");
    let after = disk.snapshot();
    after.restart(Loss::Unsynced { seed: 0 });
    assert_eq!(after.len(PATH), Some(100));
    file.sync().expect("synced");
    disk.restart(Loss::Unsynced { seed: 0 });
    assert_eq!(disk.len(PATH), Some(10));
}

#[test]
fn what_a_dead_process_wrote_can_still_be_lost_by_the_machine() {
    let disk = Disk::new();
    let file = disk.file(PATH).expect("made");
    file.sync().expect("synced");
    file.write_all_at(&[7; 100], 0).expect("written");
    disk.restart(Loss::Nothing);
    assert_eq!(disk.len(PATH), Some(100));
    let after = disk.snapshot();
    after.restart(Loss::Unsynced { seed: 0 });
    assert_eq!(after.len(PATH), Some(0));
    disk.file(PATH).expect("opened").sync().expect("another process may sync it");
    disk.restart(Loss::Unsynced { seed: 0 });
    assert_eq!(disk.len(PATH), Some(100));
}

#[test]
fn the_same_seed_loses_the_same() {
    let disk = Disk::new();
    let file = disk.file(PATH).expect("made");
    disk.sync_directory().expect("synced");
    for index in 0..40u8 {
        file.write_all_at(&[index; 3_000], u64::from(index) * 1_500).expect("written");
    }
    let found = |seed| {
        let after = disk.snapshot();
        after.restart(Loss::Unsynced { seed });
        let file = after.file(PATH).expect("opened");
        let mut bytes = vec![0; usize::try_from(file.len().expect("known")).expect("small")];
        file.read_exact_at(&mut bytes, 0).expect("read");
        bytes
    };
    for seed in 0..50 {
        assert_eq!(found(seed), found(seed));
    }
    assert!((1..50).any(|seed| found(seed) != found(seed + 1)));
}
