//! A spill slot in the hands of an attempt. What stands in the slots, and where they are, is the matter of `slots`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::slots::{Slots, SpilledAnswer};

/// A spill slot, held by one attempt. Dropped empty, it is free again; dropped filled, it keeps its answer for the
/// next start.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    index: usize,
    is_filled: bool,
}

impl Slot {
    pub(super) fn new(slots: Arc<Slots>, index: usize) -> Slot {
        Slot { slots, index, is_filled: false }
    }

    /// Writes the answer into the slot, and comes back with it: durable if that went well. May be repeated, also after a
    /// panic: the slot is not lost by it.
    pub fn filling(mut self, spilled: Arc<SpilledAnswer>) -> JoinHandle<(Slot, std::io::Result<()>)> {
        // From here on something may stand in it, also if writing fails.
        self.is_filled = true;
        tokio::task::spawn_blocking(move || {
            let filled = catch_unwind(AssertUnwindSafe(|| self.slots.fill(self.index, &spilled)));
            (self, filled.unwrap_or_else(|_| Err(std::io::Error::other("filling it panicked"))))
        })
    }

    /// Empties the slot and gives it back, after its answer became durable in the store.
    ///
    /// # Errors
    /// When it cannot be emptied. It is given back all the same: its content names an attempt that is concluded,
    /// which the next start passes over, and the next answer overwrites it.
    pub async fn clear(mut self) -> std::io::Result<()> {
        if std::mem::take(&mut self.is_filled) {
            let (slots, index) = (Arc::clone(&self.slots), self.index);
            tokio::task::spawn_blocking(move || slots.clear(index)).await??;
        }
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.is_filled {
            self.slots.put_back(self.index);
        }
    }
}
