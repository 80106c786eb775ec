//! Token sets that reached this process and that no disk takes yet: until one does, only the daemon can hand their access
//! token out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::id::OaId;
use crate::store::ValidToken;

/// The sets, by OA.
#[derive(Clone, Default)]
pub(super) struct Undurable(Arc<Mutex<BTreeMap<OaId, ValidToken>>>);

/// One of them. Dropped when its set is durable, or when its attempt is over.
pub(super) struct Held {
    all: Undurable,
    oa_id: OaId,
}

impl Undurable {
    /// Hands this token out until the returned value is dropped.
    pub(super) fn hold(&self, oa_id: &OaId, valid: ValidToken) -> Held {
        lock(&self.0).insert(oa_id.clone(), valid);
        Held { all: self.clone(), oa_id: oa_id.clone() }
    }

    /// The token of this OA's set, if it is one of them.
    pub(super) fn of(&self, oa_id: &OaId) -> Option<ValidToken> {
        lock(&self.0).get(oa_id).cloned()
    }

    /// The OAs of whose sets there is no copy on a disk.
    pub(super) fn oas(&self) -> Vec<OaId> {
        lock(&self.0).keys().cloned().collect()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.all.0).remove(&self.oa_id);
    }
}
