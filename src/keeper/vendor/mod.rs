//! OAs that vendors hold: what is due is asked, and what comes of it is stored and told.
//!
//! The sweep starts it, and the store alone knows a date. A few questions are under way at once, one an OA, and none of
//! them in the way of a refresh: they take no slot, no lock and no permit of theirs. A question spends nothing; one that is
//! dropped by a stop, a crash or a panic is simply asked again.

pub(super) mod events;
mod person;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::{Keeper, lock};
use crate::clock::Uptime;
use crate::id::{OaId, VendorId};
use crate::store::{StoreError, VendorRoom};

/// How many questions to vendors are under way at once.
const MOST_AT_ONCE: usize = 4;
/// How many of them are about OAs of one vendor.
const MOST_OF_ONE: usize = 2;
/// For how long an OA is left alone of which the store did not take the answer.
const REST: Duration = Duration::from_secs(30);

/// What is under way with vendors.
pub(super) struct VendorWork {
    under_way: Arc<std::sync::Mutex<BTreeSet<OaId>>>,
    /// The OAs that are left alone for a while.
    resting: std::sync::Mutex<BTreeMap<OaId, Uptime>>,
    /// Something has ended.
    ended: Arc<Notify>,
    permits: Arc<Semaphore>,
}

impl Default for VendorWork {
    fn default() -> VendorWork {
        VendorWork {
            under_way: Arc::default(),
            resting: std::sync::Mutex::default(),
            ended: Arc::default(),
            permits: Arc::new(Semaphore::new(MOST_AT_ONCE)),
        }
    }
}

/// One OA is worked on. Dropped, it is free again.
struct Hold {
    under_way: Arc<std::sync::Mutex<BTreeSet<OaId>>>,
    ended: Arc<Notify>,
    oa_id: OaId,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.under_way).remove(&self.oa_id);
        self.ended.notify_waiters();
    }
}

impl VendorWork {
    /// Takes the OA, or `None` if it is worked on.
    fn take(&self, oa_id: &OaId, permit: Option<OwnedSemaphorePermit>) -> Option<Hold> {
        let is_free = lock(&self.under_way).insert(oa_id.clone());
        let (under_way, ended) = (Arc::clone(&self.under_way), Arc::clone(&self.ended));
        is_free.then(|| Hold { under_way, ended, oa_id: oa_id.clone(), _permit: permit })
    }
}

impl Keeper {
    /// The vendor who holds this OA, as the config has it.
    pub(super) fn vendor_of(&self, oa_id: &OaId) -> Option<VendorId> {
        self.settings().at_vendors.oas.get(oa_id).map(|oa| oa.vendor_id.clone())
    }

    /// Starts what is due, and says how long until there is more. Whatever stands against it is no matter of a refresh.
    pub(super) async fn start_at_vendors(self: &Arc<Keeper>) -> Option<Duration> {
        self.start_what_is_due().await.unwrap_or_else(|error| {
            tracing::debug!(%error, "it cannot be read what is due at vendors");
            None
        })
    }

    async fn start_what_is_due(self: &Arc<Keeper>) -> Result<Option<Duration>, StoreError> {
        let has_none = self.settings().at_vendors.oas.is_empty();
        // What could not be stored would be asked again and again.
        if has_none || self.is_stopping() || !self.is_store_well() {
            return Ok(None);
        }
        let work = &self.vendor_work;
        let free = work.permits.available_permits();
        if free == 0 {
            // The end of one wakes the sweep.
            return Ok(None);
        }
        let mut under_way: BTreeMap<VendorId, usize> = BTreeMap::new();
        for vendor_id in lock(&work.under_way).iter().filter_map(|oa_id| self.vendor_of(oa_id)) {
            *under_way.entry(vendor_id).or_default() += 1;
        }
        let left_alone = self.left_alone();
        let room = VendorRoom { limit: free, most_of_one: MOST_OF_ONE, under_way, left_alone };
        let (due, next) = self.store.due_at_vendors(room, self.read_clock()).await?;
        for due in due {
            let Ok(permit) = Arc::clone(&work.permits).try_acquire_owned() else { break };
            let Some(hold) = work.take(&due.oa_id, Some(permit)) else { continue };
            self.tasks.spawn(work::run_guarded(Arc::clone(self), due, hold));
        }
        Ok(next)
    }

    /// The OAs that are worked on, or are left alone now.
    fn left_alone(&self) -> BTreeSet<OaId> {
        let now = self.clock.read().uptime;
        let mut resting = lock(&self.vendor_work.resting);
        resting.retain(|_, until| *until > now);
        let mut left_alone: BTreeSet<OaId> = resting.keys().cloned().collect();
        left_alone.extend(lock(&self.vendor_work.under_way).iter().cloned());
        left_alone.extend(self.passed_over());
        left_alone
    }

    /// Leaves the OA alone for a while.
    fn let_rest(&self, oa_id: &OaId) {
        let until = self.clock.read().uptime.plus(REST);
        lock(&self.vendor_work.resting).insert(oa_id.clone(), until);
    }

    /// Says what is due on the ladder of reminders.
    pub(super) async fn remind_of_vendors(&self, ladder: Vec<Duration>) -> Result<(), StoreError> {
        if self.settings().at_vendors.oas.is_empty() {
            return Ok(());
        }
        for told in self.store.take_vendor_reminders(ladder, self.read_clock()).await? {
            events::expiring(&told);
        }
        Ok(())
    }
}
