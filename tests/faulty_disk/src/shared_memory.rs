//! The index of a write-ahead log: memory that all connections to one file share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

/// The regions of one index. They stay where they are as long as anybody has the index open.
#[derive(Debug, Default)]
pub(crate) struct SharedMemory {
    // Atomics, since whoever has a pointer writes there while others read; SQLite's own protocol orders that. `Arc`, since
    // a `Box` claims to be the only way to its content whenever it is moved.
    regions: Mutex<Vec<Arc<[AtomicU64]>>>,
}

impl SharedMemory {
    /// Where a region begins. `None`: it is not there, and is not to be made.
    pub(crate) fn region(&self, index: usize, size: usize, may_grow: bool) -> Option<*mut u8> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        while regions.len() <= index && may_grow {
            regions.push((0..size.div_ceil(8)).map(|_| AtomicU64::new(0)).collect());
        }
        // Of the whole slice and not of its first word, so that the pointer is good for all of it.
        regions.get(index).map(|region| region.as_ptr().cast::<u8>().cast_mut())
    }
}
