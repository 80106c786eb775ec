//! Which OAs have another token set than before, told at the moment when that is durable.
//!
//! Whoever waits for a newer set waits here, and what readers remember of a set is kept here, so that a change takes it
//! away. **Why what is remembered is the newest durable set.** A change is told after its commit; what was read is
//! remembered only if nothing changed since before it was read; and whatever is told later takes it away again. A set
//! that another process brings is told when this one notices it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, watch};

use super::held::Held;
use crate::id::OaId;

/// How many sets are remembered: some three MiB.
const MOST_REMEMBERED: usize = 4_096;

/// What changed, for everybody who wants to know. Cheap to clone.
#[derive(Clone, Default)]
pub struct Changes(Arc<Inner>);

#[derive(Default)]
struct Inner {
    remembered: Mutex<Remembered>,
    /// How often each OA changed that somebody waits for.
    awaited: Mutex<BTreeMap<OaId, watch::Sender<u64>>>,
    queues: Mutex<Vec<Weak<Queue>>>,
}

#[derive(Default)]
struct Remembered {
    epoch: Epoch,
    sets: HashMap<OaId, Arc<Held>>,
}

/// How far the changes had come when something was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Epoch(u64);

#[derive(Default)]
struct Queue {
    changed: Mutex<BTreeSet<OaId>>,
    wake: Notify,
}

impl Changes {
    /// This OA has another set, durably.
    pub(super) fn tell(&self, oa_id: &OaId) {
        {
            let mut remembered = lock(&self.0.remembered);
            remembered.epoch.0 += 1;
            remembered.sets.remove(oa_id);
        }
        if let Some(waiting) = lock(&self.0.awaited).get(oa_id) {
            waiting.send_modify(|count| *count += 1);
        }
        for queue in lock(&self.0.queues).iter().filter_map(Weak::upgrade) {
            lock(&queue.changed).insert(oa_id.clone());
            queue.wake.notify_one();
        }
    }

    /// To be asked before something is read that is to be remembered.
    pub(super) fn epoch(&self) -> Epoch {
        lock(&self.0.remembered).epoch
    }

    /// Remembers what was read since `epoch`, unless it may be an older set than the newest. Between a commit and its telling
    /// nobody takes away what another one has read already, and a set that is older than what somebody has read goes, whatever
    /// has changed since he began.
    pub(super) fn remember(&self, oa_id: &OaId, held: &Arc<Held>, epoch: Epoch) {
        let mut remembered = lock(&self.0.remembered);
        let is_newer = match remembered.sets.get(oa_id) {
            Some(known) => held.generation > known.generation,
            None => remembered.epoch == epoch,
        };
        if !is_newer {
            return;
        }
        if remembered.sets.len() >= MOST_REMEMBERED {
            remembered.sets.clear();
        }
        remembered.sets.insert(oa_id.clone(), Arc::clone(held));
    }

    /// The newest durable set of this OA, if it is remembered.
    pub(super) fn remembered(&self, oa_id: &OaId) -> Option<Arc<Held>> {
        lock(&self.0.remembered).sets.get(oa_id).cloned()
    }

    /// Waits for this OA from now on. To be called before its set is read, so that nothing is missed.
    pub fn await_oa(&self, oa_id: &OaId) -> Awaiting {
        let mut awaited = lock(&self.0.awaited);
        let sender = awaited.entry(oa_id.clone()).or_insert_with(|| watch::channel(0).0);
        Awaiting { changes: self.clone(), oa_id: oa_id.clone(), receiver: Some(sender.subscribe()) }
    }

    /// All changes from now on, each OA once however often it changed meanwhile.
    pub fn subscribe(&self) -> Subscription {
        let queue = Arc::new(Queue::default());
        let mut queues = lock(&self.0.queues);
        queues.retain(|queue| queue.strong_count() > 0);
        queues.push(Arc::downgrade(&queue));
        Subscription(queue)
    }
}

/// Somebody waits for one OA.
pub struct Awaiting {
    changes: Changes,
    oa_id: OaId,
    /// Taken when it is dropped.
    receiver: Option<watch::Receiver<u64>>,
}

impl Awaiting {
    /// Resolves when the OA has changed since this was made, or since this resolved last.
    pub async fn changed(&mut self) {
        if let Some(receiver) = &mut self.receiver
            && receiver.changed().await.is_err()
        {
            // The sender stays as long as somebody waits.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        let mut awaited = lock(&self.changes.0.awaited);
        self.receiver = None;
        if awaited.get(&self.oa_id).is_some_and(|sender| sender.receiver_count() == 0) {
            awaited.remove(&self.oa_id);
        }
    }
}

/// A queue of the OAs that changed.
pub struct Subscription(Arc<Queue>);

impl Subscription {
    /// The OAs that changed since this was asked last, as soon as there is one.
    pub async fn next(&mut self) -> BTreeSet<OaId> {
        loop {
            let changed = std::mem::take(&mut *lock(&self.0.changed));
            if !changed.is_empty() {
                return changed;
            }
            self.0.wake.notified().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::clock::{Moment, Time};
    use crate::secret::Secret;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    /// Is it done at once?
    fn is_ready(future: impl Future) -> bool {
        pin!(future).as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn held(generation: u64) -> Arc<Held> {
        Arc::new(Held {
            access_token: Secret::new(format!("token {generation}")),
            ends: Time::from_millis(1),
            obtained: Moment::of_wall_clock(Time::from_millis(0)),
            generation,
        })
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_and_a_change_takes_away_what_was() {
        let (changes, oa_id) = (Changes::default(), OaId::from("1"));
        let epoch = changes.epoch();
        changes.remember(&oa_id, &held(1), epoch);
        assert_eq!(changes.remembered(&oa_id).map(|held| held.generation), Some(1));
        changes.tell(&oa_id);
        assert!(changes.remembered(&oa_id).is_none());
        changes.remember(&oa_id, &held(1), epoch);
        assert!(changes.remembered(&oa_id).is_none(), "it was read before the change");
        changes.remember(&oa_id, &held(2), changes.epoch());
        changes.tell(&OaId::from("2"));
        changes.remember(&oa_id, &held(1), changes.epoch());
        assert_eq!(changes.remembered(&oa_id).map(|held| held.generation), Some(2), "not the older one");
    }

    #[test]
    fn what_somebody_has_read_takes_an_older_set_away_though_another_change_was_told_since_he_began() {
        let (changes, oa_id) = (Changes::default(), OaId::from("1"));
        let before = changes.epoch();
        changes.tell(&oa_id);
        changes.remember(&oa_id, &held(1), changes.epoch());
        // He began before that change was told, and read after the next one was committed, which nobody told yet.
        changes.remember(&oa_id, &held(2), before);
        assert_eq!(changes.remembered(&oa_id).map(|held| held.generation), Some(2));
        changes.remember(&oa_id, &held(1), changes.epoch());
        assert_eq!(changes.remembered(&oa_id).map(|held| held.generation), Some(2));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let changes = Changes::default();
        for number in 0..2 * MOST_REMEMBERED {
            changes.remember(&OaId::from(number.to_string()), &held(1), changes.epoch());
            assert!(lock(&changes.0.remembered).sets.len() <= MOST_REMEMBERED);
        }
    }

    #[test]
    fn whoever_waits_for_an_oa_is_told_of_that_one_alone_and_leaves_nothing_behind() {
        let changes = Changes::default();
        let (mut one, mut two) = (changes.await_oa(&OaId::from("1")), changes.await_oa(&OaId::from("2")));
        changes.tell(&OaId::from("1"));
        assert!(is_ready(one.changed()));
        assert!(!is_ready(one.changed()), "told once");
        assert!(!is_ready(two.changed()));
        let again = changes.await_oa(&OaId::from("1"));
        drop(one);
        assert_eq!(lock(&changes.0.awaited).len(), 2);
        drop((again, two));
        assert!(lock(&changes.0.awaited).is_empty());
    }

    #[test]
    fn a_subscriber_sees_each_oa_once_however_often_it_changed() {
        let changes = Changes::default();
        let mut subscription = changes.subscribe();
        assert!(!is_ready(subscription.next()));
        for oa_id in ["1", "2", "1"] {
            changes.tell(&OaId::from(oa_id));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert_eq!(runtime.block_on(subscription.next()), BTreeSet::from(["1", "2"].map(OaId::from)));
        drop(subscription);
        drop(changes.subscribe());
        assert_eq!(lock(&changes.0.queues).iter().filter(|queue| queue.strong_count() > 0).count(), 0);
    }
}
