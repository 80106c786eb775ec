//! Whether what stands in the store's files can be believed: that the log is on the disk and not only in the system's
//! cache, before SQLite reads it, and that the database is whole.

use rusqlite::Connection;
use std::fs::File;
use std::io;
use std::path::Path;

use super::file::beside;
use super::open_error::{OpenError, corrupt, io_error, sql_error};

/// Has what SQLite is going to read in its log read from the disk. A sync that failed under an earlier process leaves
/// pages there that are in the system's cache only, and no later sync writes them. Worked into the database they would
/// be lost at a power failure together with the pages that they were worked into, and leave half a transaction there.
pub(super) fn settle_log(path: &Path) -> Result<(), OpenError> {
    let path = beside(path, "-wal");
    let settle = |log: File| {
        // First, since only what is not waiting to be written is dropped.
        log.sync_all()?;
        Ok(rustix::fs::fadvise(&log, 0, None, rustix::fs::Advice::DontNeed)?)
    };
    match File::open(&path).and_then(settle) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error(&format!("{} cannot be synced", path.display()), &error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Reads the whole database once and refuses a corrupt one.
pub(super) fn check_integrity(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let verdict: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| sql_error(path, error))?;
    if verdict == "ok" {
        return Ok(());
    }
    if is_about_reading(&verdict) {
        let shown = path.display();
        return Err(OpenError::Unavailable(format!(
            "{shown} cannot be read ({verdict}); free or repair the disk"
        )));
    }
    Err(corrupt(path, &verdict))
}

/// Is what the check found that a page could not be read? It says so among its findings, and does not fail.
fn is_about_reading(verdict: &str) -> bool {
    let code = verdict.split_once("unable to get the page. error code=").map(|(_, rest)| rest);
    let code = code.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff != rusqlite::ffi::SQLITE_CORRUPT)
        || verdict.contains("failed to get page")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_cannot_be_read_is_a_matter_of_the_disk_and_not_of_the_database() {
        assert!(is_about_reading(
            "*** in database main ***\nTree 30 page 30: unable to get the page. error code=266"
        ));
        assert!(is_about_reading("Freelist: failed to get page 7"));
        assert!(!is_about_reading("Tree 30 page 30: unable to get the page. error code=11"));
        assert!(!is_about_reading("Tree 30 page 30: btreeInitPage() returns error code 11"));
        assert!(!is_about_reading("row 3 missing from index oa_due"));
    }
}
