//! The daemon's log, kept in a file for whoever wants to look at it, or to try alert rules on it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::{Failure, exit};

/// The file that keeps the daemon's log.
pub(super) struct Log {
    file: File,
    name: PathBuf,
}

impl Log {
    pub(super) fn open(name: &Path) -> Result<Log, Failure> {
        let mut open = File::options();
        match open.append(true).create(true).mode(0o600).open(name) {
            Ok(file) => Ok(Log { file, name: name.to_owned() }),
            Err(error) => Err(Log::failure(name, &error)),
        }
    }

    /// Line and newline in one piece, so that a file that others append to as well keeps whole lines.
    pub(super) fn append(&mut self, line: &str) -> Result<(), Failure> {
        let line = format!("{line}\n");
        self.file.write_all(line.as_bytes()).map_err(|error| Log::failure(&self.name, &error))
    }

    fn failure(name: &Path, error: &std::io::Error) -> Failure {
        let sentence = format!("the log cannot be kept in {}: {error}; name another file", name.display());
        Failure::new(exit::FAILED, sentence)
    }
}
