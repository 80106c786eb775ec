//! The schema and its migrations, by SQLite's `user_version`.
//!
//! Migration n takes a store of version n−1 to version n, in one transaction. A store of a newer version is
//! refused: this program does not know what its rows mean.

use rusqlite::Connection;

/// Marks the file as ours: "ZTkd".
pub(super) const APPLICATION_ID: i32 = 0x5A54_6B64;

const MIGRATIONS: &[&str] = &[include_str!("schema.sql"), include_str!("schema_2.sql")];

/// The version that this program reads and writes.
pub(super) fn newest_version() -> usize {
    MIGRATIONS.len()
}

/// Brings the store to the newest version. Does nothing if it is there already.
pub(super) fn migrate(conn: &Connection) -> rusqlite::Result<()> {
    let read_version = || conn.query_row("PRAGMA user_version", [], |row| row.get::<_, usize>(0));
    if read_version()? == newest_version() {
        return Ok(());
    }
    conn.execute_batch("BEGIN IMMEDIATE")?;
    // Read again under the lock: another process may have been faster.
    let migrated = read_version().and_then(|version| {
        MIGRATIONS.iter().skip(version).try_for_each(|sql| conn.execute_batch(sql))?;
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
        conn.pragma_update(None, "user_version", newest_version())?;
        conn.execute_batch("COMMIT")
    });
    if migrated.is_err() && !conn.is_autocommit() {
        conn.execute_batch("ROLLBACK")?;
    }
    migrated
}
