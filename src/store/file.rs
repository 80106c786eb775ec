//! The store's files before they are opened: which there are, whose they must be, and which of them are made anew.
//!
//! Beside `tokens.db` stand SQLite's `-wal` and `-shm` and our `-slots`. All are 0600, in a directory into which nobody else
//! may write. Opening them is the matter of `connection`, `read_only` and `slots`, the daemon's claim on them that of
//! `lock`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::open_error::{OpenError, io_error};

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
}
