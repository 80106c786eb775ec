//! SQLite works on the disk as it does on a real one.

use faulty_disk::{Disk, Loss};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::time::Duration;

mod common;
use common::{PATH, connect, count, insert, integrity};

#[test]
fn a_database_with_a_log_keeps_what_was_committed() {
    let disk = Disk::new();
    let conn = connect(&disk).expect("opened");
    for x in 0..500 {
        insert(&conn, x).expect("inserted");
    }
    conn.execute_batch("UPDATE t SET filler = randomblob(3000) WHERE x % 7 = 0").expect("updated");
    assert!(disk.len(&format!("{PATH}-wal")).is_some_and(|length| length > 0));
    drop(conn);
    assert!(!disk.exists(&format!("{PATH}-wal")), "the last one to close works the log in");
    let conn = connect(&disk).expect("opened again");
    assert_eq!(count(&conn), 500);
    assert_eq!(integrity(&conn), "ok");
}

#[test]
fn a_rollback_journal_and_files_without_names_work() {
    let disk = Disk::new();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let conn = Connection::open_with_flags_and_vfs(PATH, flags, disk.vfs()).expect("opened");
    conn.execute_batch(
        "PRAGMA cache_size = 10; PRAGMA temp_store = file; CREATE TABLE t (x, filler); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) \
         INSERT INTO t SELECT i, randomblob(300) FROM n; \
         CREATE TEMP TABLE sorted AS SELECT * FROM t ORDER BY filler; \
         BEGIN; DELETE FROM t; ROLLBACK; VACUUM;",
    )
    .expect("done");
    assert_eq!(count(&conn), 3_000);
    assert_eq!(integrity(&conn), "ok");
    drop(conn);
    assert_eq!((disk.exists(PATH), disk.exists(&format!("{PATH}-journal"))), (true, false));
}

#[test]
fn two_connections_see_what_the_other_committed_and_keep_each_other_from_writing() {
    let disk = Disk::new();
    let one = connect(&disk).expect("opened");
    let other = connect(&disk).expect("opened");
    insert(&one, 1).expect("inserted");
    assert_eq!(count(&other), 1);
    other.busy_timeout(Duration::ZERO).expect("set");
    one.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (2, NULL)").expect("begun");
    let refused = insert(&other, 3).expect_err("the other one writes");
    assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
    assert_eq!(count(&other), 1, "what is not committed is not seen");
    one.execute_batch("COMMIT").expect("committed");
    insert(&other, 3).expect("free again");
    assert_eq!(count(&one), 3);
}

#[test]
fn a_reader_keeps_its_snapshot_and_a_checkpoint_from_finishing() {
    let disk = Disk::new();
    let (reader, writer) = (connect(&disk).expect("opened"), connect(&disk).expect("opened"));
    insert(&writer, 1).expect("inserted");
    reader.execute_batch("BEGIN").expect("begun");
    assert_eq!(count(&reader), 1);
    insert(&writer, 2).expect("inserted");
    writer.busy_timeout(Duration::ZERO).expect("set");
    let is_busy = |conn: &Connection| -> bool {
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).expect("asked")
    };
    assert!(is_busy(&writer));
    assert_eq!(count(&reader), 1);
    reader.execute_batch("COMMIT").expect("ended");
    assert!(!is_busy(&writer));
    assert_eq!(disk.len(&format!("{PATH}-wal")), Some(0));
}

#[test]
fn threads_write_at_the_same_time_and_wait_for_each_other() {
    let disk = Disk::new();
    connect(&disk).expect("made");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let disk = &disk;
            scope.spawn(move || {
                let conn = connect(disk).expect("opened");
                conn.busy_timeout(Duration::from_secs(60)).expect("set");
                for x in 0..50 {
                    insert(&conn, thread * 1_000 + x).expect("inserted");
                }
            });
        }
    });
    let conn = connect(&disk).expect("opened");
    assert_eq!((count(&conn), integrity(&conn).as_str()), (200, "ok"));
}

#[test]
fn disks_do_not_know_each_other_and_a_vfs_goes_with_its_disk() {
    let (one, other) = (Disk::new(), Disk::new());
    let conn = connect(&one).expect("opened");
    assert!(one.exists(PATH) && !other.exists(PATH));
    let name = other.vfs().to_owned();
    drop(other);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    assert!(Connection::open_with_flags_and_vfs(PATH, flags, name.as_str()).is_err());
    let name = one.vfs().to_owned();
    drop(one);
    insert(&conn, 1).expect("an open file keeps its disk");
    assert!(Connection::open_with_flags_and_vfs(PATH, flags, name.as_str()).is_ok());
    drop(conn);
    assert!(Connection::open_with_flags_and_vfs(PATH, flags, name.as_str()).is_err());
}

#[test]
fn a_snapshot_goes_its_own_way() {
    let disk = Disk::new();
    let conn = connect(&disk).expect("opened");
    insert(&conn, 1).expect("inserted");
    let copy = disk.snapshot();
    insert(&conn, 2).expect("inserted");
    let copied = connect(&copy).expect("opened with what the log has");
    assert_eq!((count(&conn), count(&copied)), (2, 1));
    insert(&copied, 3).expect("inserted");
    insert(&copied, 4).expect("inserted");
    assert_eq!((count(&conn), count(&copied)), (2, 3));
}

#[test]
fn after_a_restart_what_was_open_is_dead_and_a_new_connection_finds_all() {
    let disk = Disk::new();
    let old = connect(&disk).expect("opened");
    insert(&old, 1).expect("inserted");
    old.execute_batch("BEGIN IMMEDIATE").expect("a lock that the dead one held");
    disk.restart(Loss::Nothing);
    let new = connect(&disk).expect("opened");
    insert(&new, 2).expect("inserted");
    assert!(old.execute_batch("INSERT INTO t VALUES (3, NULL); COMMIT").is_err());
    let before = disk.operations();
    drop(old);
    assert_eq!(disk.operations(), before, "the dead one changes nothing more");
    assert_eq!(count(&new), 2);
    assert_eq!(integrity(&new), "ok");
}
