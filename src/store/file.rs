//! The store's files: where they are, whose they are, and whether they may be opened at all.
//!
//! Beside `tokens.db` stand SQLite's `-wal` and `-shm` and our `-slots`. All are 0600. The lock that keeps a
//! second daemon out is taken on the database file itself (`flock`, which SQLite's own locks do not meet), so
//! there is no lock file to delete by mistake. It must be held for life: closing any descriptor of the file
//! would drop SQLite's locks of this process.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, limits::Limit};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{schema, soundness};

/// Why a store was not opened, by what has to be done about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another daemon works on it.
    #[error("another zalo-tokend{} works on {path}; stop it first, or give this one a [store] path of its own", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Busy {
        /// The store.
        path: String,
        /// The other daemon, where the system tells.
        pid: Option<u32>,
    },
    /// Owner or mode are wrong.
    #[error("{0}")]
    NotPermitted(String),
    /// It is not a store that this program can use.
    #[error("{0}")]
    Unusable(String),
    /// The disk does not let us, now.
    #[error("{0}")]
    Unavailable(String),
}

/// The path of a file that stands beside the store.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes the directory if there is none, and refuses one into which others may write.
pub(super) fn check_directory(path: &Path) -> Result<(), OpenError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shown = directory.display();
    match std::fs::metadata(directory) {
        Ok(found) if !found.is_dir() => {
            Err(OpenError::Unusable(format!("{shown} is not a directory; correct [store] path")))
        }
        Ok(found) if found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0 => {
            Err(OpenError::NotPermitted(format!("others may write into {shown}; run: chmod go-w {shown}")))
        }
        // Root may do anything anyway.
        Ok(found) if !is_mine(found.uid()) && found.uid() != 0 => Err(OpenError::NotPermitted(format!(
            "{shown} belongs to uid {}, who could replace the store; run as that user, or give it to this one",
            found.uid()
        ))),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| cannot_make_directory(directory, &error)),
        Err(error) => Err(io_error(&format!("{shown} cannot be looked at"), &error)),
    }
}

/// Under systemd only the state directory may be written to, and all else looks like a disk that is read-only.
fn cannot_make_directory(directory: &Path, error: &io::Error) -> OpenError {
    let shown = directory.display();
    if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        return OpenError::Unusable(format!(
            "{shown} cannot be made: {error}; make it, and let the service write there by ReadWritePaths={shown} in a \
             drop-in of its unit, or leave [store] path out"
        ));
    }
    io_error(&format!("{shown} cannot be made"), error)
}

/// Does it belong to this user? To root everything does.
fn is_mine(owner: u32) -> bool {
    let me = rustix::process::geteuid().as_raw();
    owner == me || me == 0
}

/// Refuses a file that is a link, no file, another user's, or open to others. `Ok(false)`: there is none.
pub(super) fn check_file(path: &Path) -> Result<bool, OpenError> {
    let shown = path.display();
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io_error(&format!("{shown} cannot be looked at"), &error)),
    };
    if found.is_symlink() {
        return Err(OpenError::Unusable(format!(
            "{shown} is a symbolic link; set [store] path to the file itself"
        )));
    }
    if !found.is_file() {
        return Err(OpenError::Unusable(format!("{shown} is not a regular file; correct [store] path")));
    }
    let me = rustix::process::geteuid().as_raw();
    if !is_mine(found.uid()) {
        return Err(OpenError::NotPermitted(format!(
            "{shown} belongs to uid {}, this program runs as uid {me}; run it as the owner, or give the file and its directory to one user with chown",
            found.uid()
        )));
    }
    if found.mode() & 0o077 != 0 {
        return Err(OpenError::NotPermitted(format!(
            "{shown} has mode {:03o} and is open to others; run: chmod 600 {shown}",
            found.mode() & 0o777
        )));
    }
    Ok(true)
}

/// Makes the database file if there is none. A database that is missing while its side files are there was moved
/// or deleted: starting anew would forget tokens that are still alive.
pub(super) fn ensure_database(path: &Path) -> Result<(), OpenError> {
    check_directory(path)?;
    if check_file(path)? {
        return Ok(());
    }
    for suffix in ["-wal", "-slots"] {
        let side = beside(path, suffix);
        if std::fs::symlink_metadata(&side).is_ok_and(|found| found.len() > 0) {
            return Err(OpenError::Unusable(format!(
                "{} is missing while {} is there; restore it from where it went, or move that file away too",
                path.display(),
                side.display()
            )));
        }
    }
    create(path)?;
    sync_directory(path)
}

/// Makes the file with mode 0600 unless another process was faster.
pub(super) fn create(path: &Path) -> Result<(), OpenError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io_error(&format!("{} cannot be made", path.display()), &error)),
    }
}

/// Makes names of new files durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), OpenError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| io_error(&format!("{} cannot be synced", directory.display()), &error))
}

/// Takes the lock that only one daemon has. It is held as long as the file is open.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let file = File::open(path)
        .map_err(|error| io_error(&format!("{} cannot be opened", path.display()), &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(OpenError::Busy { path: path.display().to_string(), pid: lock_holder(&file) })
        }
        Err(TryLockError::Error(error)) => {
            Err(io_error(&format!("{} cannot be locked", path.display()), &error))
        }
    }
}

/// A file that is open, and where it was found.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    identity: (u64, u64),
}

impl Place {
    /// Of an open file.
    pub(super) fn of(path: PathBuf, open: &File) -> io::Result<Place> {
        Ok(Place { path, identity: identity(&open.metadata()?) })
    }

    /// Of the file that is found there now; `None`: there is none.
    pub(super) fn found(path: PathBuf) -> Option<Place> {
        let identity = identity(&std::fs::metadata(&path).ok()?);
        Some(Place { path, identity })
    }

    /// Is it still there? SQLite would go on in a file that was deleted, and what it commits there would end with the
    /// process.
    pub(super) fn check(&self) -> Result<(), String> {
        let shown = self.path.display();
        match std::fs::metadata(&self.path) {
            Ok(found) if identity(&found) == self.identity => Ok(()),
            Ok(_) => Err(format!(
                "{shown} is another file than the one that is open; move that one back before the daemon ends"
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
                "{shown} was moved or deleted; move it back before the daemon ends, or if that cannot be, restart the \
                 daemon and import fresh sets"
            )),
            Err(error) => Err(format!("{shown} cannot be looked at: {error}")),
        }
    }
}

/// What tells one file from all others.
fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The process that holds the lock, as the kernel tells: `1: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF`.
fn lock_holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino().to_string();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, place, ..] = words[..] else { return None };
        (place.rsplit(':').next()? == inode).then(|| pid.parse().ok()).flatten()
    })
}

/// Opens the database for reading and writing, as [`make_ours`] leaves it.
pub(super) fn connect(path: &Path) -> Result<Connection, OpenError> {
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

/// Opens an existing database to look at it. `None`: it has no rows yet.
///
/// A reader of a write-ahead log needs an index file, which a full or read-only disk may not let it make. Nobody
/// has the database open then, or the index would be there; so it is read without: as a file that does not change
/// if the log is empty, and alone, for which it must be writable, if it is not.
pub(super) fn connect_to_read(path: &Path) -> Result<Option<Connection>, OpenError> {
    assert_sqlite();
    let has_daemon = File::open(path).is_ok_and(|file| lock_holder(&file).is_some());
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
pub(super) fn connect_beside(path: &Path) -> Result<Connection, OpenError> {
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

/// The library that was linked is the one that this program was built and tested with, or a later one.
fn assert_sqlite() {
    const OLDEST: i32 = 3_054_000;
    assert!(
        rusqlite::version_number() >= OLDEST,
        "linked with SQLite {}, 3.54 or later is needed",
        rusqlite::version()
    );
}

fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.query_row("PRAGMA secure_delete = ON", [], |_| Ok(()))?;
    size_log(conn, 0)?;
    // What is copied to undo a statement has tokens in it, and would go into a file elsewhere once it is large.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // A plan does not depend on what is bound: else each execution with another value may compile its statement anew.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    // All that there are: by default there is room for sixteen, and each rotation would compile most of its own anew.
    conn.set_prepared_statement_cache_capacity(128);
    Ok(())
}

/// How long the write-ahead log may become before it is worked into the database, which costs two syncs: half a megabyte,
/// so that the store of a small shop stays small, and more where more requests are under way at once. That is done by
/// [`keep_log_short`]; a commit itself does it only with a log of twice that length. The file keeps its length: a log
/// that is written over is synced faster than one that grows.
pub(super) fn size_log(conn: &Connection, in_flight: usize) -> rusqlite::Result<()> {
    const PAGE: usize = 4_096 + 24;
    let pages = 2 * (16 * in_flight).clamp(128, 4_096);
    let kept = (pages * PAGE).max(1 << 20);
    conn.query_row(&format!("PRAGMA wal_autocheckpoint = {pages}"), [], |_| Ok(()))?;
    conn.query_row(&format!("PRAGMA journal_size_limit = {kept}"), [], |_| Ok(()))
}

/// Works the log into the database, if it is long enough. Nobody waits for that but who comes next.
pub(super) fn keep_log_short(conn: &Connection) -> rusqlite::Result<()> {
    let most: i64 = conn.prepare_cached("PRAGMA wal_autocheckpoint")?.query_row([], |row| row.get(0))?;
    let pages: i64 = conn.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?.query_row([], |row| row.get(1))?;
    if most > 0 && pages >= most / 2 {
        conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    }
    Ok(())
}

/// Leaves the log to a daemon that may be at work, which knows its files. Without one, closing works it in.
pub(super) fn leave_log(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(()))
}

/// Refuses what is not ours or newer than we are; returns the version.
fn check_identity(conn: &Connection, path: &Path) -> Result<usize, OpenError> {
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

/// What is said of a corrupt database.
pub(super) fn corrupt(path: &Path, what: &str) -> OpenError {
    OpenError::Unusable(format!(
        "{} is corrupt ({what}); keep a copy of it and restore a backup that no refresh has happened since",
        path.display()
    ))
}

/// A file's error, by what has to be done about it.
pub(super) fn io_error(what: &str, error: &io::Error) -> OpenError {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return OpenError::NotPermitted(format!(
            "{what}: permission denied; run as the user that owns the store"
        ));
    }
    if matches!(
        error.kind(),
        io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput
    ) {
        return OpenError::Unusable(format!("{what}: {error}; correct [store] path"));
    }
    OpenError::Unavailable(format!("{what}: {error}; free or repair the disk"))
}

/// SQLite's error, by what has to be done about it.
pub(super) fn sql_error(path: &Path, error: rusqlite::Error) -> OpenError {
    let shown = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            OpenError::Unusable(format!("{shown} is not a SQLite database; correct [store] path"))
        }
        Some(ErrorCode::DatabaseCorrupt) => corrupt(path, &error.to_string()),
        Some(ErrorCode::PermissionDenied) => OpenError::NotPermitted(format!(
            "{shown} cannot be opened: permission denied; run as the user that owns the store"
        )),
        // Not by opening it: closing it again would drop SQLite's own locks.
        _ if rustix::fs::access(path, rustix::fs::Access::READ_OK) == Err(rustix::io::Errno::ACCESS) => {
            OpenError::NotPermitted(format!(
                "{shown} cannot be opened: permission denied; run as the user that owns the store"
            ))
        }
        _ => OpenError::Unavailable(format!("{shown} cannot be opened: {error}; free or repair the disk")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_systemd_keeps_read_only_is_a_matter_of_the_config_and_not_of_the_disk() {
        let read_only = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        let refused = cannot_make_directory(Path::new("/srv/z"), &read_only);
        assert!(
            matches!(&refused, OpenError::Unusable(said) if said.contains("ReadWritePaths=/srv/z")),
            "{refused}"
        );
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(cannot_make_directory(Path::new("/srv/z"), &full), OpenError::Unavailable(_)));
    }

    #[test]
    fn a_long_log_is_worked_into_the_database_after_the_commit_and_a_short_one_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tokens.db");
        ensure_database(&path).expect("made");
        let conn = connect(&path).expect("opened");
        size_log(&conn, 8).expect("sized");
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
            keep_log_short(&conn).expect("looked at");
            seen.push((before, worked_in()));
        }
        let [(short, still_short), (long, after)] = seen[..] else { panic!("two") };
        assert!(short.0 < 128 && short.1 == 0 && still_short == short, "{short:?} {still_short:?}");
        assert!(long.0 >= 128 && long.1 == 0, "{long:?}: not by the commit itself");
        assert_eq!(after, (long.0, long.0));
    }
}
