//! Whether a file that is open is still the one that is found at its path.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

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
