//! A connection that only looks: a command's, at a store that a daemon may be working on and that may stand on a full or
//! read-only disk; and the daemon's own, beside the one that changes it.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::path::Path;

use super::connection::{assert_sqlite, check_identity, configure};
use super::file::beside;
use super::open_error::{OpenError, sql_error};
use super::{lock, schema, soundness};

/// Opens an existing database to look at it. `None`: it has no rows yet.
///
/// A reader of a write-ahead log needs an index file, which a full or read-only disk may not let it make. Nobody
/// has the database open then, or the index would be there; so it is read without: as a file that does not change
/// if the log is empty, and alone, for which it must be writable, if it is not.
pub(super) fn open(path: &Path) -> Result<Option<Connection>, OpenError> {
    assert_sqlite();
    let has_daemon = File::open(path).is_ok_and(|file| lock::holder(&file).is_some());
    // While a daemon is at work SQLite shows only what it has synced. What a dead one was about to sync stands in the log
    // as well, and is not handed out before it is on the disk; where it cannot be brought there, it is all that there is.
    if !has_daemon && let Err(error) = soundness::settle_log(path) {
        tracing::debug!(%error, "the log is read as it is");
    }
    let has_log = || std::fs::metadata(beside(path, "-wal")).is_ok_and(|found| found.len() > 0);
    match look(path, Access::Shared) {
        Err(OpenError::Unavailable(_)) if has_log() => look(path, Access::Alone),
        Err(OpenError::Unavailable(_)) => {
            let looked = look(path, Access::Unchanging);
            // A daemon that started meanwhile does change it: then there is a log.
            if has_log() { look(path, Access::Shared) } else { looked }
        }
        looked => looked,
    }
}

/// Opens the daemon's own database once more, to look at it beside the connection that changes it. Nothing is opened here
/// but by SQLite: closing any descriptor of the file would drop the locks that it has in this process.
pub(super) fn open_beside(path: &Path) -> Result<Connection, OpenError> {
    let prepare = || {
        let conn = open_to_look(path, Access::Shared)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        configure(&conn)?;
        // Half a MiB: there are several of these, and what they read is small.
        conn.pragma_update(None, "cache_size", -512)?;
        conn.pragma_update(None, "query_only", true)?;
        Ok(conn)
    };
    prepare().map_err(|error| sql_error(path, error))
}

/// How a database is opened to look at it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Shared,
    Alone,
    Unchanging,
}

fn look(path: &Path, access: Access) -> Result<Option<Connection>, OpenError> {
    let conn = open_to_look(path, access).map_err(|error| sql_error(path, error))?;
    let prepare = || {
        if access == Access::Alone {
            conn.query_row("PRAGMA locking_mode = exclusive", [], |_| Ok(()))?;
        }
        // Who only looks leaves the log as it is, also where nobody else has the database open.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        configure(&conn)
    };
    prepare().map_err(|error| sql_error(path, error))?;
    let version = check_identity(&conn, path)?;
    let is_seen = schema::see_as_newest(&conn, version)
        .and_then(|is_seen| conn.pragma_update(None, "query_only", true).map(|()| is_seen))
        .map_err(|error| sql_error(path, error))?;
    Ok(is_seen.then_some(conn))
}

fn open_to_look(path: &Path, access: Access) -> rusqlite::Result<Connection> {
    let no_mutex = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if access == Access::Unchanging {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut uri =
            url::Url::from_file_path(absolute).map_err(|()| rusqlite::Error::InvalidPath(path.to_owned()))?;
        uri.set_query(Some("immutable=1"));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | no_mutex;
        return Connection::open_with_flags(uri.as_str(), flags);
    }
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | no_mutex)
        .or_else(|_| Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | no_mutex))
}
