//! What a test holds in its hands: the disk, and files on it that are not SQLite's.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::faults::{Fault, Trouble};
use crate::machine::{Machine, Opening};
use crate::open_file::OpenFile;
use crate::vfs::Vfs;

/// The machine, and SQLite's way to it.
#[derive(Debug)]
pub(crate) struct Computer {
    machine: Mutex<Machine>,
    vfs: Vfs,
}

impl Computer {
    fn start(machine: Machine) -> Arc<Computer> {
        Arc::new_cyclic(|computer| Computer {
            machine: Mutex::new(machine),
            vfs: Vfs::register(computer.clone()),
        })
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Not while the machine is held: others go on.
    pub(crate) fn wait_as_a_sync_does(&self) {
        let delay = self.machine().sync_delay;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
    }
}

/// What is lost at a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Only the process died: all that was written is there, though it may not be durable yet.
    Nothing,
    /// The power failed. Of what was not durable each write is kept, lost, or torn into sectors (of 512 or 4096 bytes) that
    /// are written, not written or rubbish; each change of a length, and the last of the changes of names, are kept or
    /// lost. The seed decides, also how often each happens; seed 0 loses all of it.
    Unsynced {
        /// Decides what is lost.
        seed: u64,
    },
}

/// A disk in memory with its files, as one computer sees it. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct Disk {
    computer: Arc<Computer>,
}

impl Default for Disk {
    fn default() -> Disk {
        Disk::new()
    }
}

impl Disk {
    /// An empty disk with a VFS of its own, which is registered until the last clone is dropped and the last file closed.
    pub fn new() -> Disk {
        Disk { computer: Computer::start(Machine::new()) }
    }

    /// A copy of the disk as it is now, with a VFS of its own: nobody has anything open there and no fault is armed. The copy
    /// of one that is down is down as well, so that several losses can be looked at.
    pub fn snapshot(&self) -> Disk {
        let copy = self.computer.machine().copy();
        Disk { computer: Computer::start(copy) }
    }

    /// The name of the VFS, for `sqlite3_open_v2`.
    pub fn vfs(&self) -> &str {
        self.computer.vfs.name()
    }

    /// Opens a file, or makes it.
    ///
    /// # Errors
    /// When the making is struck by a fault, or the computer is down.
    pub fn file(&self, path: &str) -> io::Result<RawFile> {
        let opening = Opening { may_make: true, must_make: false, is_fleeting: false };
        let open = OpenFile::open(&self.computer, Some(path), opening)?;
        Ok(RawFile { open, path: path.to_owned() })
    }

    /// Deletes a file. The deletion is durable after [`Disk::sync_directory`].
    ///
    /// # Errors
    /// When there is none, it is struck by a fault, or the computer is down.
    pub fn delete(&self, path: &str) -> io::Result<()> {
        Ok(self.computer.machine().delete(path, false)?)
    }

    /// Makes durable which files there are.
    ///
    /// # Errors
    /// When it is struck by a fault, or the computer is down.
    pub fn sync_directory(&self) -> io::Result<()> {
        self.computer.wait_as_a_sync_does();
        Ok(self.computer.machine().sync_names()?)
    }

    /// Is there such a file? Also while the computer is down.
    pub fn exists(&self, path: &str) -> bool {
        self.len(path).is_some()
    }

    /// How long a file is, if there is one. Also while the computer is down.
    pub fn len(&self, path: &str) -> Option<u64> {
        self.computer.machine().content(path).map(|content| content.len() as u64)
    }

    /// How many counted operations there were: each write, truncation, sync, deletion, and opening that made a file.
    pub fn operations(&self) -> u64 {
        self.computer.machine().faults.operations()
    }

    /// Arms a fault. Several may be armed.
    pub fn fail(&self, fault: Fault) {
        self.computer.machine().faults.arm(fault);
    }

    /// Nothing goes wrong any more, also what had gone wrong for good. The room is as [`Disk::fill`] left it.
    pub fn disarm(&self) {
        self.computer.machine().faults.disarm();
    }

    /// What had gone wrong for good goes well again; faults that are still to come stay armed.
    pub fn repair(&self) {
        self.computer.machine().faults.repair();
    }

    /// How many of the armed faults have struck so far.
    pub fn has_struck(&self) -> usize {
        self.computer.machine().faults.struck()
    }

    /// Lets the files grow by so many bytes together and no further (`ENOSPC`, after writing what fits); `None`: without
    /// end. What is deleted or cut off makes room.
    pub fn fill(&self, bytes_left: Option<u64>) {
        self.computer.machine().room = bytes_left;
    }

    /// Lets each sync take so much longer, by really sleeping.
    pub fn sync_takes(&self, delay: Duration) {
        self.computer.machine().sync_delay = delay;
    }

    /// Has a crash struck? Until [`Disk::restart`] every operation fails then.
    pub fn is_down(&self) -> bool {
        self.computer.machine().is_down()
    }

    /// Starts the computer anew, as after the death of the process or a power failure, also without a crash before. What
    /// was open stays dead for good: it has to be dropped, and all that is done with it fails. Faults stay armed.
    pub fn restart(&self, loss: Loss) {
        self.computer.machine().restart(loss);
    }
}

/// A file that is not SQLite's.
#[derive(Debug)]
pub struct RawFile {
    open: OpenFile,
    path: String,
}

impl RawFile {
    /// Where it was opened.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How long it is.
    ///
    /// # Errors
    /// When the process that opened it is dead.
    #[expect(clippy::len_without_is_empty, reason = "a file's length, as in std::fs::Metadata")]
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.open.len()? as u64)
    }

    /// Cuts it off or lets it grow with zeros.
    ///
    /// # Errors
    /// When it is struck by a fault, or the process is dead.
    pub fn set_len(&self, length: u64) -> io::Result<()> {
        Ok(self.open.resize(size(length)?)?)
    }

    /// Reads exactly so much.
    ///
    /// # Errors
    /// When it ends before, the read is struck by a fault, or the process is dead.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let read = self.open.read(size(offset)?, buffer)?;
        if read < buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Writes all of it, as one operation.
    ///
    /// # Errors
    /// When it is struck by a fault, or the process is dead.
    pub fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        Ok(self.open.write(size(offset)?, data)?)
    }

    /// Makes durable what was written, and its name.
    ///
    /// # Errors
    /// When it is struck by a fault, or the process is dead.
    pub fn sync(&self) -> io::Result<()> {
        Ok(self.open.sync()?)
    }

    /// Has everybody read from the platter what is not waiting to be written (`POSIX_FADV_DONTNEED`). What a failed sync has
    /// left in doubt turns out to be there, or not, or in parts, by the seed; by seed 0 none of it.
    ///
    /// # Errors
    /// When the process is dead.
    pub fn drop_cache(&self, seed: u64) -> io::Result<()> {
        Ok(self.open.drop_cache(seed)?)
    }

    /// Does its name still lead to it?
    pub fn is_in_place(&self) -> bool {
        !self.open.has_moved()
    }
}

fn size(bytes: u64) -> Result<usize, Trouble> {
    usize::try_from(bytes).map_err(|_| Trouble::Full)
}
