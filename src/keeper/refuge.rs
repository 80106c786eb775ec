//! Where an answer is while the store does not take it: in its slot, or only in this process.
//!
//! Disks fail in two ways: they refuse, and they hang. Whatever one of the two places does, the other is not kept
//! waiting for it, and as long as neither has the answer the process must not end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinHandle;

use crate::store::{Slot, SpilledAnswer};

/// How many requests have passed the gate, or are about to, whose answer is on no disk yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Exposed(Arc<AtomicUsize>);

impl Exposed {
    pub(super) fn is_any(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

/// One request's part in [`Exposed`].
#[derive(Debug)]
pub(super) struct Exposure {
    all: Exposed,
    is_on: AtomicBool,
}

impl Exposure {
    pub(super) fn of(all: &Exposed) -> Exposure {
        Exposure { all: all.clone(), is_on: AtomicBool::new(false) }
    }

    /// The gate is about to open.
    pub(super) fn begin(&self) {
        if !self.is_on.swap(true, Ordering::SeqCst) {
            self.all.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// There is no answer, or it is on a disk.
    pub(super) fn end(&self) {
        if self.is_on.swap(false, Ordering::SeqCst) {
            self.all.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Exposure {
    fn drop(&mut self) {
        self.end();
    }
}

/// The slot of an attempt, and the answer that may have to go there.
pub(super) struct Refuge {
    place: Place,
    answer: Option<Arc<SpilledAnswer>>,
}

enum Place {
    Empty(Slot),
    Filling(JoinHandle<(Slot, io::Result<()>)>),
    Filled(Slot),
    /// The slot went with the runtime.
    Gone,
    /// The store has the answer, and the slot was given back.
    Left,
}

impl Refuge {
    pub(super) fn new(slot: Slot) -> Refuge {
        Refuge { place: Place::Empty(slot), answer: None }
    }

    /// This answer may have to go there.
    pub(super) fn receive(&mut self, answer: SpilledAnswer) {
        self.answer.get_or_insert_with(|| Arc::new(answer));
    }

    /// Nothing can be lost any more: no answer came, or it is on a disk.
    pub(super) fn is_safe(&self) -> bool {
        self.answer.is_none() || matches!(self.place, Place::Filled(_) | Place::Left)
    }

    /// Brings the answer into its slot, or tries to. May be dropped while it waits, and goes on the next time.
    pub(super) async fn fill(&mut self) {
        let Some(answer) = &self.answer else { return };
        self.place = match std::mem::replace(&mut self.place, Place::Gone) {
            Place::Empty(slot) => Place::Filling(slot.filling(Arc::clone(answer))),
            other @ (Place::Filling(_) | Place::Filled(_) | Place::Gone | Place::Left) => other,
        };
        // It stays in its place while it is waited for: whoever drops this future loses nothing.
        let Place::Filling(filling) = &mut self.place else { return };
        self.place = match filling.await {
            Ok((slot, Ok(()))) => Place::Filled(slot),
            Ok((slot, Err(error))) => {
                tracing::debug!(%error, "an answer does not go into its slot");
                Place::Empty(slot)
            }
            Err(_) => Place::Gone,
        };
    }

    /// The store has it: the slot is emptied and given back, as soon as its disk lets us.
    pub(super) async fn leave(&mut self) {
        let slot = match std::mem::replace(&mut self.place, Place::Left) {
            Place::Empty(slot) | Place::Filled(slot) => slot,
            Place::Filling(filling) => {
                // Not waited for: what hangs there holds nobody else up.
                tokio::spawn(async move {
                    if let Ok((slot, _)) = filling.await {
                        empty(slot).await;
                    }
                });
                return;
            }
            Place::Gone | Place::Left => return,
        };
        empty(slot).await;
    }
}

async fn empty(slot: Slot) {
    if let Err(error) = slot.clear().await {
        tracing::debug!(%error, "a spill slot cannot be emptied");
    }
}
