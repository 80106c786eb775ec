//! The lock that keeps a second daemon out.
//!
//! It is taken on the database file itself (`flock`, which SQLite's own locks do not meet), so there is no lock file to
//! delete by mistake. It must be held for life: closing any descriptor of the file would drop SQLite's locks of this
//! process.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::open_error::{OpenError, io_error};

/// Takes the lock that only one daemon has. It is held as long as the file is open.
pub(super) fn take(path: &Path) -> Result<File, OpenError> {
    let file = File::open(path)
        .map_err(|error| io_error(&format!("{} cannot be opened", path.display()), &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(OpenError::Busy { path: path.display().to_string(), pid: holder(&file) })
        }
        Err(TryLockError::Error(error)) => {
            Err(io_error(&format!("{} cannot be locked", path.display()), &error))
        }
    }
}

/// The process that holds the lock, as the kernel tells: `1: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF`.
pub(super) fn holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino().to_string();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, place, ..] = words[..] else { return None };
        (place.rsplit(':').next()? == inode).then(|| pid.parse().ok()).flatten()
    })
}
