//! The store's files on a disk in memory.

use std::io;

use faulty_disk::{Disk, RawFile};
use zalo_tokend::store::{Medium, SlotFile};

/// The database.
pub const DATABASE: &str = "/tokens.db";

/// The files as a command opens them.
pub fn medium(disk: &Disk) -> io::Result<Medium> {
    let slots = disk.file(&format!("{DATABASE}-slots"))?;
    Ok(Medium { path: DATABASE.into(), vfs: disk.vfs().to_owned(), slots: Box::new(Slots(slots)) })
}

/// The files as a start opens them, after what the program does first to those of a real disk: what is in the log only in
/// the system's cache is not made anything of.
pub fn settled_medium(disk: &Disk) -> io::Result<Medium> {
    let log = format!("{DATABASE}-wal");
    if disk.exists(&log) {
        let log = disk.file(&log)?;
        log.sync()?;
        log.drop_cache(disk.operations())?;
    }
    medium(disk)
}

#[derive(Debug)]
struct Slots(RawFile);

impl SlotFile for Slots {
    fn length(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn resize(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn read(&self, buffer: &mut [u8], place: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, place)
    }

    fn write(&self, bytes: &[u8], place: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, place)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}
