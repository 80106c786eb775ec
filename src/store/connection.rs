//! A connection to the database as the verbs need it: the settings that durability and secrecy ask for, and a database that
//! is ours and of the newest version.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, limits::Limit};
use std::path::Path;

use super::open_error::{OpenError, sql_error};
use super::{schema, soundness, wal};

/// Opens the database for reading and writing, as [`make_ours`] leaves it.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    assert_sqlite();
    soundness::settle_log(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    make_ours(Connection::open_with_flags(path, flags).map_err(|error| sql_error(path, error))?, path)
}

/// Checks that an open database is ours, and brings it to the newest version.
pub(super) fn make_ours(conn: Connection, path: &Path) -> Result<Connection, OpenError> {
    configure(&conn).map_err(|error| sql_error(path, error))?;
    check_identity(&conn, path)?;
    let mode: String = conn
        .query_row("PRAGMA journal_mode = wal", [], |row| row.get(0))
        .map_err(|error| sql_error(path, error))?;
    if mode != "wal" {
        return Err(OpenError::Unusable(format!(
            "{} cannot use a write-ahead log (journal mode {mode}); put it on a local file system",
            path.display()
        )));
    }
    schema::migrate(&conn).map_err(|error| sql_error(path, error))?;
    Ok(conn)
}

/// The library that was linked is the one that this program was built and tested with, or a later one.
pub(super) fn assert_sqlite() {
    const OLDEST: i32 = 3_054_000;
    assert!(
        rusqlite::version_number() >= OLDEST,
        "linked with SQLite {}, 3.54 or later is needed",
        rusqlite::version()
    );
}

pub(super) fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.query_row("PRAGMA secure_delete = ON", [], |_| Ok(()))?;
    wal::size(conn, 0)?;
    // What is copied to undo a statement has tokens in it, and would go into a file elsewhere once it is large.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // A plan does not depend on what is bound: else each execution with another value may compile its statement anew.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    // All that there are: by default there is room for sixteen, and each rotation would compile most of its own anew.
    conn.set_prepared_statement_cache_capacity(128);
    Ok(())
}

/// Refuses what is not ours or newer than we are; returns the version.
pub(super) fn check_identity(conn: &Connection, path: &Path) -> Result<usize, OpenError> {
    let shown = path.display();
    let read = |pragma: &str| {
        conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0))
            .map_err(|error| sql_error(path, error))
    };
    let (application, version) = (read("application_id")?, read("user_version")?);
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| sql_error(path, error))?;
    if application != i64::from(schema::APPLICATION_ID) && (tables > 0 || application != 0) {
        return Err(OpenError::Unusable(format!(
            "{shown} is another application's database; correct [store] path"
        )));
    }
    let newest = schema::newest_version();
    usize::try_from(version).ok().filter(|version| *version <= newest).ok_or_else(|| {
        OpenError::Unusable(format!(
            "{shown} has schema {version}, this program knows {newest}; install the newer zalo-tokend that wrote it"
        ))
    })
}
