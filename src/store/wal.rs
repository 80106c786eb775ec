//! How long the write-ahead log becomes, and who works it into the database.

use rusqlite::Connection;

/// How long the write-ahead log may become before it is worked into the database, which costs two syncs: half a megabyte,
/// so that the store of a small shop stays small, and more where more requests are under way at once. That is done by
/// [`keep_short`]; a commit itself does it only with a log of twice that length. The file keeps its length: a log
/// that is written over is synced faster than one that grows.
pub(super) fn size(conn: &Connection, in_flight: usize) -> rusqlite::Result<()> {
    const PAGE: usize = 4_096 + 24;
    let pages = 2 * (16 * in_flight).clamp(128, 4_096);
    let kept = (pages * PAGE).max(1 << 20);
    conn.query_row(&format!("PRAGMA wal_autocheckpoint = {pages}"), [], |_| Ok(()))?;
    conn.query_row(&format!("PRAGMA journal_size_limit = {kept}"), [], |_| Ok(()))
}

/// Works the log into the database, if it is long enough. Nobody waits for that but who comes next.
pub(super) fn keep_short(conn: &Connection) -> rusqlite::Result<()> {
    let most: i64 = conn.prepare_cached("PRAGMA wal_autocheckpoint")?.query_row([], |row| row.get(0))?;
    let pages: i64 = conn.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?.query_row([], |row| row.get(1))?;
    if most > 0 && pages >= most / 2 {
        conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    }
    Ok(())
}

/// Leaves the log to a daemon that may be at work, which knows its files. Without one, closing works it in.
pub(super) fn leave(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::super::{connection, file};
    use super::*;

    #[test]
    fn a_long_log_is_worked_into_the_database_after_the_commit_and_a_short_one_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tokens.db");
        file::ensure_database(&path).expect("made");
        let conn = connection::open(&path).expect("opened");
        size(&conn, 8).expect("sized");
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("empty");
        let worked_in = || {
            conn.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| {
                Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            })
            .expect("told")
        };
        let mut seen = Vec::new();
        for size in [100_000, 500_000] {
            conn.execute("INSERT INTO exercise (content) VALUES (zeroblob(?1))", [size]).expect("written");
            let before = worked_in();
            keep_short(&conn).expect("looked at");
            seen.push((before, worked_in()));
        }
        let [(short, still_short), (long, after)] = seen[..] else { panic!("two") };
        assert!(short.0 < 128 && short.1 == 0 && still_short == short, "{short:?} {still_short:?}");
        assert!(long.0 >= 128 && long.1 == 0, "{long:?}: not by the commit itself");
        assert_eq!(after, (long.0, long.0));
    }
}
