//! Each fault does what it says, to SQLite and to other files.

use faulty_disk::{Disk, Fault, FaultKind, Loss};
use rusqlite::ErrorCode;
use std::io;
use std::time::{Duration, Instant};

mod common;
use common::{PATH, connect, count, insert, integrity};

const SLOTS: &str = "/tokens.db-slots";

fn failed<T: std::fmt::Debug>(outcome: io::Result<T>) -> Option<i32> {
    outcome.expect_err("a fault").raw_os_error()
}

const EIO: Option<i32> = Some(5);
const ENOSPC: Option<i32> = Some(28);

#[test]
fn changes_are_counted_and_looking_is_not() {
    let disk = Disk::new();
    let file = disk.file(SLOTS).expect("made");
    assert_eq!(disk.operations(), 1);
    disk.file(SLOTS).expect("opened");
    file.write_all_at(b"abc", 2).expect("written");
    file.set_len(4).expect("cut");
    file.sync().expect("synced");
    disk.sync_directory().expect("synced");
    let mut read = [9; 4];
    file.read_exact_at(&mut read, 0).expect("read");
    assert_eq!((&read, file.len().expect("known"), disk.len(SLOTS)), (b"\0\0ab", 4, Some(4)));
    assert_eq!(disk.operations(), 5);
    assert!(file.is_in_place());
    disk.delete(SLOTS).expect("deleted");
    assert_eq!((disk.operations(), disk.exists(SLOTS), file.is_in_place()), (6, false, false));
    assert_eq!(
        file.read_exact_at(&mut [0; 5], 0).expect_err("too short").kind(),
        io::ErrorKind::UnexpectedEof
    );
}

#[test]
fn one_operation_fails_and_the_next_one_does_not() {
    for (kind, errno) in [(FaultKind::Io, EIO), (FaultKind::Full, ENOSPC)] {
        let disk = Disk::new();
        let file = disk.file(SLOTS).expect("made");
        disk.fail(Fault { at: 2, kind });
        file.write_all_at(b"one", 0).expect("the first");
        assert_eq!((disk.has_struck(), failed(file.write_all_at(b"two", 0))), (0, errno));
        assert_eq!(disk.has_struck(), 1);
        let mut read = [0; 3];
        file.read_exact_at(&mut read, 0).expect("read");
        assert_eq!(&read, b"one");
        file.write_all_at(b"six", 0).expect("the third");
    }
}

#[test]
fn every_operation_fails_until_it_is_repaired() {
    let disk = Disk::new();
    let conn = connect(&disk).expect("opened");
    let file = disk.file(SLOTS).expect("made");
    disk.fail(Fault { at: 1, kind: FaultKind::IoForever });
    let refused = insert(&conn, 1).expect_err("a fault");
    assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::SystemIoFailure));
    assert_eq!(failed(file.write_all_at(b"x", 0)), EIO);
    assert_eq!(failed(file.sync()), EIO);
    assert_eq!(failed(disk.file("/other")), EIO);
    assert_eq!(failed(disk.delete(SLOTS)), EIO);
    assert!(insert(&conn, 1).is_err());
    disk.disarm();
    insert(&conn, 1).expect("repaired");
    assert_eq!((count(&conn), integrity(&conn).as_str(), disk.has_struck()), (1, "ok", 1));
}

#[test]
fn a_full_disk_takes_what_needs_no_room_until_there_is_some_again() {
    let disk = Disk::new();
    let conn = connect(&disk).expect("opened");
    let file = disk.file(SLOTS).expect("made");
    file.write_all_at(&[1; 100], 0).expect("written");
    disk.fail(Fault { at: 1, kind: FaultKind::FullForever });
    file.write_all_at(&[2; 100], 0).expect("in place");
    assert_eq!(failed(file.write_all_at(&[3; 100], 50)), ENOSPC);
    assert_eq!(file.len().expect("known"), 100);
    assert_eq!(failed(disk.file("/other")), ENOSPC);
    let refused = conn.execute_batch("INSERT INTO t VALUES (1, randomblob(900000))").expect_err("no room");
    assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::DiskFull));
    disk.disarm();
    insert(&conn, 1).expect("there is room");
    disk.fill(Some(10));
    assert_eq!(failed(file.write_all_at(&[4; 100], 50)), ENOSPC);
    assert_eq!(file.len().expect("known"), 110, "what fits is written");
    file.set_len(60).expect("cut");
    file.write_all_at(&[5; 50], 60).expect("what was cut off has made room");
    assert_eq!(failed(file.write_all_at(&[5; 1], 110)), ENOSPC);
    disk.fill(None);
    file.write_all_at(&[5; 1], 110).expect("room without end");
}

#[test]
fn of_a_short_write_half_is_there() {
    let disk = Disk::new();
    let file = disk.file(SLOTS).expect("made");
    disk.fail(Fault { at: 1, kind: FaultKind::ShortWrite });
    assert_eq!(failed(file.write_all_at(b"whole", 0)), ENOSPC);
    assert_eq!(file.len().expect("known"), 2);
    let conn = connect(&disk).expect("opened");
    disk.fail(Fault { at: 1, kind: FaultKind::ShortWrite });
    let refused = insert(&conn, 1).expect_err("a fault");
    assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::DiskFull));
    insert(&conn, 1).expect("the next one");
    assert_eq!((count(&conn), integrity(&conn).as_str()), (1, "ok"));
}

#[test]
fn a_read_fails_by_a_count_of_its_own() {
    let disk = Disk::new();
    let file = disk.file(SLOTS).expect("made");
    file.write_all_at(b"abc", 0).expect("written");
    disk.fail(Fault { at: 2, kind: FaultKind::ReadIo });
    let mut read = [0; 3];
    file.read_exact_at(&mut read, 0).expect("the first");
    file.sync().expect("no read");
    assert_eq!(failed(file.read_exact_at(&mut read, 0)), EIO);
    file.read_exact_at(&mut read, 0).expect("the third");
}

#[test]
fn a_sync_that_is_said_to_have_failed_may_have_held_and_one_that_failed_holds_nothing_later() {
    for (kind, is_found) in [(FaultKind::FalseAlarm, true), (FaultKind::Io, false)] {
        let disk = Disk::new();
        let file = disk.file(SLOTS).expect("made");
        disk.sync_directory().expect("synced");
        file.write_all_at(b"abc", 0).expect("written");
        disk.fail(Fault { at: 1, kind });
        assert_eq!(failed(file.sync()), EIO);
        file.sync().expect("the next one says that all is well");
        disk.restart(Loss::Unsynced { seed: 0 });
        assert_eq!(disk.len(SLOTS), Some(if is_found { 3 } else { 0 }), "{kind:?}");
    }
}

#[test]
fn a_crash_comes_before_or_after_an_operation_and_nothing_works_until_the_restart() {
    for (kind, length) in [(FaultKind::CrashBefore, 0), (FaultKind::CrashAfter, 3)] {
        let disk = Disk::new();
        let conn = connect(&disk).expect("opened");
        let file = disk.file(SLOTS).expect("made");
        disk.fail(Fault { at: 1, kind });
        assert_eq!(failed(file.write_all_at(b"abc", 0)), EIO);
        assert!(disk.is_down());
        let at_crash = disk.operations();
        assert!(file.len().is_err() && file.sync().is_err() && disk.file(SLOTS).is_err());
        assert!(insert(&conn, 1).is_err() && connect(&disk).is_err());
        assert_eq!(disk.operations(), at_crash);
        disk.restart(Loss::Nothing);
        assert!(file.len().is_err(), "its process is dead");
        assert_eq!(disk.file(SLOTS).expect("opened").len().expect("known"), length);
        assert_eq!(count(&connect(&disk).expect("opened")), 0);
    }
}

#[test]
fn two_faults_strike_in_their_order() {
    let disk = Disk::new();
    let file = disk.file(SLOTS).expect("made");
    disk.fail(Fault { at: 3, kind: FaultKind::CrashBefore });
    disk.fail(Fault { at: 1, kind: FaultKind::Io });
    assert_eq!(failed(file.write_all_at(b"a", 0)), EIO);
    file.write_all_at(b"b", 0).expect("between them");
    assert!(!disk.is_down());
    assert!(file.write_all_at(b"c", 0).is_err());
    assert_eq!((disk.is_down(), disk.has_struck()), (true, 2));
}

#[test]
fn a_slow_sync_takes_its_time() {
    let disk = Disk::new();
    let file = disk.file(SLOTS).expect("made");
    disk.sync_takes(Duration::from_millis(20));
    let begun = Instant::now();
    file.sync().expect("synced");
    assert!(begun.elapsed() >= Duration::from_millis(20));
}

#[test]
fn sqlite_survives_each_fault_at_each_operation() {
    for kind in
        [FaultKind::Io, FaultKind::Full, FaultKind::ShortWrite, FaultKind::FalseAlarm, FaultKind::ReadIo]
    {
        for at in 1.. {
            let disk = Disk::new();
            disk.fail(Fault { at, kind });
            if let Ok(conn) = connect(&disk) {
                for x in 0..3 {
                    if insert(&conn, x).is_err() {
                        insert(&conn, x).expect("a fault strikes once");
                    }
                }
                drop(conn);
            }
            disk.disarm();
            let conn = connect(&disk).expect("the disk is well");
            assert_eq!(integrity(&conn), "ok", "{kind:?} at {at}");
            if disk.has_struck() == 0 {
                assert!(at > 8 && count(&conn) == 3, "{kind:?}: {at}");
                break;
            }
        }
    }
    assert!(!Disk::new().exists(PATH));
}
