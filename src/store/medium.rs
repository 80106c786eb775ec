//! What the store's files are on: by default this machine's disk, in a simulation one that lives in memory and can fail.
//!
//! The database goes through SQLite's own layer for that, a VFS, and the slots through [`SlotFile`].

use rusqlite::{Connection, OpenFlags};
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::connection;
use super::open_error::{OpenError, sql_error};

/// A disk that is reached by a VFS, which whoever brings it has registered with SQLite.
///
/// It has no owners, no modes and no other process: none of that is checked or locked there.
#[derive(Debug)]
pub struct Medium {
    /// The database's name on it.
    pub path: PathBuf,
    /// The VFS's name.
    pub vfs: String,
    /// The file of spill slots, made if there was none.
    pub slots: Box<dyn SlotFile>,
}

/// What the spill slots ask of their file.
pub trait SlotFile: Debug + Send + Sync {
    /// How long it is, in bytes.
    ///
    /// # Errors
    /// As the disk has it, here and below.
    fn length(&self) -> io::Result<u64>;

    /// Cuts it off, or lengthens it with zeros.
    fn resize(&self, length: u64) -> io::Result<()>;

    /// Fills the buffer with what stands at this place.
    fn read(&self, buffer: &mut [u8], place: u64) -> io::Result<()>;

    /// Writes all of it at this place.
    fn write(&self, bytes: &[u8], place: u64) -> io::Result<()>;

    /// Makes what was written durable, and the length if it changed.
    fn sync(&self) -> io::Result<()>;
}

impl SlotFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn resize(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn read(&self, buffer: &mut [u8], place: u64) -> io::Result<()> {
        self.read_exact_at(buffer, place)
    }

    fn write(&self, bytes: &[u8], place: u64) -> io::Result<()> {
        self.write_all_at(bytes, place)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Opens the database by a VFS, and makes it where there is none.
pub(super) fn connect(path: &Path, vfs: &str) -> Result<Connection, OpenError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn =
        Connection::open_with_flags_and_vfs(path, flags, vfs).map_err(|error| sql_error(path, error))?;
    connection::make_ours(conn, path)
}
