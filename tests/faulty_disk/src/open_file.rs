//! A file that is open, by SQLite or by anybody else.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use crate::disk::Computer;
use crate::faults::Trouble;
use crate::locks::{Busy, Level};
use crate::machine::{Opening, Ticket};
use crate::shared_memory::SharedMemory;

/// Why a lock was not had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotLocked {
    Busy,
    Down,
}

impl From<Busy> for NotLocked {
    fn from(_: Busy) -> NotLocked {
        NotLocked::Busy
    }
}

impl From<Trouble> for NotLocked {
    fn from(_: Trouble) -> NotLocked {
        NotLocked::Down
    }
}

/// An open file. It is closed when it is dropped.
#[derive(Debug)]
pub(crate) struct OpenFile {
    computer: Arc<Computer>,
    ticket: Ticket,
    /// Keeps the memory where it is as long as this file has it open.
    index: Option<Arc<SharedMemory>>,
}

impl OpenFile {
    pub(crate) fn open(
        computer: &Arc<Computer>,
        name: Option<&str>,
        opening: Opening,
    ) -> Result<OpenFile, Trouble> {
        let ticket = computer.machine().open(name, opening)?;
        Ok(OpenFile { computer: Arc::clone(computer), ticket, index: None })
    }

    pub(crate) fn len(&self) -> Result<usize, Trouble> {
        Ok(self.computer.machine().node(self.ticket)?.content.len())
    }

    /// Returns how much was read.
    pub(crate) fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<usize, Trouble> {
        self.computer.machine().read(self.ticket, offset, buffer)
    }

    pub(crate) fn write(&self, offset: usize, data: &[u8]) -> Result<(), Trouble> {
        self.computer.machine().write(self.ticket, offset, data)
    }

    pub(crate) fn resize(&self, length: usize) -> Result<(), Trouble> {
        self.computer.machine().resize(self.ticket, length)
    }

    pub(crate) fn sync(&self) -> Result<(), Trouble> {
        self.computer.wait_as_a_sync_does();
        self.computer.machine().sync(self.ticket)
    }

    pub(crate) fn drop_cache(&self, seed: u64) -> Result<(), Trouble> {
        self.computer.machine().drop_cache(self.ticket, seed)
    }

    pub(crate) fn has_moved(&self) -> bool {
        !self.computer.machine().has_name(self.ticket)
    }

    pub(crate) fn raise_lock(&self, wanted: Level) -> Result<(), NotLocked> {
        let mut machine = self.computer.machine();
        Ok(machine.node(self.ticket)?.locks.raise(self.ticket.handle, wanted)?)
    }

    /// What a dead process held is free already.
    pub(crate) fn lower_lock(&self, kept: Level) {
        if let Ok(node) = self.computer.machine().node(self.ticket) {
            node.locks.lower(self.ticket.handle, kept);
        }
    }

    pub(crate) fn is_reserved(&self) -> Result<bool, Trouble> {
        Ok(self.computer.machine().node(self.ticket)?.locks.is_reserved())
    }

    /// A region of the index; `None`: there is none yet.
    pub(crate) fn map_index(
        &mut self,
        region: usize,
        size: usize,
        may_grow: bool,
    ) -> Result<Option<*mut u8>, Trouble> {
        let mut machine = self.computer.machine();
        let node = machine.node(self.ticket)?;
        let index = self.index.get_or_insert_with(|| {
            node.index.upgrade().unwrap_or_else(|| {
                let fresh = Arc::new(SharedMemory::default());
                node.index = Arc::downgrade(&fresh);
                fresh
            })
        });
        Ok(index.region(region, size, may_grow))
    }

    pub(crate) fn take_places(&self, mask: u8, is_shared: bool) -> Result<(), NotLocked> {
        let mut machine = self.computer.machine();
        Ok(machine.node(self.ticket)?.locks.take(self.ticket.handle, mask, is_shared)?)
    }

    pub(crate) fn give_places_back(&self, mask: u8) {
        if let Ok(node) = self.computer.machine().node(self.ticket) {
            node.locks.give_back(self.ticket.handle, mask);
        }
    }

    pub(crate) fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    pub(crate) fn unmap_index(&mut self) {
        if let Ok(node) = self.computer.machine().node(self.ticket) {
            node.locks.leave_index(self.ticket.handle);
        }
        self.index = None;
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.computer.machine().close(self.ticket);
    }
}
