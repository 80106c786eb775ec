//! The schema and its migrations, by SQLite's `user_version`.
//!
//! Migration n takes a store of version n−1 to version n, in one transaction. A store of a newer version is
//! refused: this program does not know what its rows mean.

use rusqlite::Connection;

/// Marks the file as ours: "ZTkd".
pub(super) const APPLICATION_ID: i32 = 0x5A54_6B64;

const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
];

/// The version that this program reads and writes.
pub(super) fn newest_version() -> usize {
    MIGRATIONS.len()
}

/// Lets a reader who must not write see a store of an older version as one of the newest: what the older one does not
/// have yet is empty. `false`: that version cannot be read so.
pub(super) fn see_as_newest(conn: &Connection, version: usize) -> rusqlite::Result<bool> {
    if version == newest_version() {
        return Ok(true);
    }
    if !(1..=4).contains(&version) {
        return Ok(false);
    }
    conn.execute_batch(
        "CREATE TEMP VIEW vendor AS SELECT '' AS vendor_id WHERE 0; \
         CREATE TEMP VIEW vendor_oa AS SELECT '' AS oa_id, '' AS vendor_id, 0 AS is_managed, NULL AS name, NULL AS written_at, \
         NULL AS authorized_at, NULL AS ends_at, 0 AS is_end_told, NULL AS outdated_end, NULL AS due_at, 0 AS is_disconnected, NULL AS link, \
         NULL AS link_since, NULL AS needed_since, NULL AS trouble, 0 AS failures, 0 AS polls, 0 AS look_failures, \
         NULL AS last_error, NULL AS ask_at, NULL AS poll_at, 0 AS planned_at, NULL AS planned_uptime, NULL AS planned_boot, \
         NULL AS reminded_step WHERE 0;",
    )?;
    if version == 4 {
        return Ok(true);
    }
    conn.execute_batch(
        "CREATE TEMP VIEW signing_key AS SELECT '' AS name, x'' AS key WHERE 0; \
         CREATE TEMP VIEW consent AS SELECT '' AS oa_id, '' AS phase WHERE 0;",
    )?;
    if version == 3 {
        return Ok(true);
    }
    if version == 2 {
        conn.execute_batch("CREATE TEMP VIEW oa AS SELECT *, 0 AS by_program FROM main.oa;")?;
        return Ok(true);
    }
    conn.execute_batch(
        "CREATE TEMP VIEW app AS SELECT *, 2 AS window_size, 0 AS strikes, NULL AS window_moved_at, \
         NULL AS braked_since, 0 AS failed_trials, NULL AS brake_wait_until, NULL AS brake_hold_until, \
         NULL AS brake_decided_at FROM main.app; \
         CREATE TEMP VIEW oa AS SELECT *, NULL AS planned_boot, NULL AS planned_uptime, NULL AS next_action_uptime, \
         NULL AS granted_at, NULL AS granted_until, 0 AS grant_doubt_said, 0 AS by_program FROM main.oa;",
    )?;
    Ok(true)
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
