//! Why a store is not opened, by what a person has to do about it: each sentence says what is wrong and how to mend it.

use rusqlite::ErrorCode;
use std::io;
use std::path::Path;

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
