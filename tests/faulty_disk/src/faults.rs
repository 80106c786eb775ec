//! What may go wrong, when, and what has gone wrong so far.

use std::io;

/// A fault that strikes one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The n-th counted operation from now, from 1; for [`FaultKind::ReadIo`] the n-th read. With several faults for the
    /// same operation the one that was armed first strikes.
    pub at: u64,
    /// What goes wrong.
    pub kind: FaultKind,
}

/// What goes wrong with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// It is not done: an error of the device (`EIO`), once.
    Io,
    /// This and every later counted operation: `EIO`, until [`Disk::repair`](crate::Disk::repair).
    IoForever,
    /// It is not done: no room (`ENOSPC`), once, whatever it is.
    Full,
    /// This and every later one that needs room: `ENOSPC`, until [`Disk::repair`](crate::Disk::repair).
    FullForever,
    /// The first half of a write is done, then there is no room. Of another operation nothing is done: `EIO`.
    ShortWrite,
    /// All of it is done, and `EIO` reported: a sync that failed though everything is durable.
    FalseAlarm,
    /// The n-th read fails: `EIO`, once.
    ReadIo,
    /// The process or the machine dies before it is done.
    CrashBefore,
    /// The process or the machine dies after it was done, before anybody hears of it.
    CrashAfter,
}

/// Why an operation did not do what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Io,
    Full,
    Missing,
    Exists,
    /// The process that asks is dead.
    Down,
}

impl From<Trouble> for io::Error {
    fn from(trouble: Trouble) -> io::Error {
        // The numbers of Linux, on every architecture.
        const EIO: i32 = 5;
        const ENOSPC: i32 = 28;
        const ENOENT: i32 = 2;
        const EEXIST: i32 = 17;
        io::Error::from_raw_os_error(match trouble {
            Trouble::Io | Trouble::Down => EIO,
            Trouble::Full => ENOSPC,
            Trouble::Missing => ENOENT,
            Trouble::Exists => EEXIST,
        })
    }
}

/// The faults that are armed, and the counts that they wait for.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// The operation that each waits for, by the whole count.
    armed: Vec<Fault>,
    operations: u64,
    reads: u64,
    struck: usize,
    /// The one that stays.
    lasting: Option<Trouble>,
}

impl Faults {
    pub(crate) fn counting_from(operations: u64) -> Faults {
        Faults { operations, ..Faults::default() }
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    pub(crate) fn struck(&self) -> usize {
        self.struck
    }

    pub(crate) fn lasting(&self) -> Option<Trouble> {
        self.lasting
    }

    pub(crate) fn arm(&mut self, fault: Fault) {
        let so_far = if fault.kind == FaultKind::ReadIo { self.reads } else { self.operations };
        self.armed.push(Fault { at: so_far + fault.at, ..fault });
    }

    pub(crate) fn disarm(&mut self) {
        self.armed.clear();
        self.repair();
    }

    pub(crate) fn repair(&mut self) {
        self.lasting = None;
    }

    /// Counts an operation, and says what strikes it.
    pub(crate) fn count_operation(&mut self) -> Option<FaultKind> {
        self.operations += 1;
        let kind = self.strike(self.operations, false)?;
        match kind {
            FaultKind::IoForever => self.lasting = Some(Trouble::Io),
            FaultKind::FullForever => self.lasting = Some(Trouble::Full),
            FaultKind::Io
            | FaultKind::Full
            | FaultKind::ShortWrite
            | FaultKind::FalseAlarm
            | FaultKind::ReadIo
            | FaultKind::CrashBefore
            | FaultKind::CrashAfter => {}
        }
        Some(kind)
    }

    /// Counts a read, and says whether it fails.
    pub(crate) fn count_read(&mut self) -> bool {
        self.reads += 1;
        self.strike(self.reads, true).is_some()
    }

    fn strike(&mut self, count: u64, is_read: bool) -> Option<FaultKind> {
        let is_due = |fault: &Fault| fault.at == count && (fault.kind == FaultKind::ReadIo) == is_read;
        let index = self.armed.iter().position(is_due)?;
        self.struck += 1;
        Some(self.armed.remove(index).kind)
    }
}
