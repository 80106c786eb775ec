//! The in-process lock of each OA: one attempt or one question at a time, over all tasks.
//!
//! It is taken inside the task that does the work and freed when that task ends, however it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::id::{AppId, OaId};

/// The OAs that something works on, each with its app.
#[derive(Clone, Default)]
pub(super) struct Claims(Arc<Mutex<BTreeMap<OaId, AppId>>>);

/// The lock of one OA. Dropped, it is free again.
pub(super) struct Hold {
    claims: Claims,
    oa_id: OaId,
}

impl Claims {
    /// Takes the OA's lock, or `None` if something works on it.
    pub(super) fn take(&self, oa_id: &OaId, app_id: &AppId) -> Option<Hold> {
        let mut held = lock(&self.0);
        if held.contains_key(oa_id) {
            return None;
        }
        held.insert(oa_id.clone(), app_id.clone());
        Some(Hold { claims: self.clone(), oa_id: oa_id.clone() })
    }

    /// Does something work on this OA?
    pub(super) fn is_held(&self, oa_id: &OaId) -> bool {
        lock(&self.0).contains_key(oa_id)
    }

    /// Does something work on any OA of this app?
    pub(super) fn is_app_held(&self, app_id: &AppId) -> bool {
        lock(&self.0).values().any(|held| held == app_id)
    }

    /// How many OAs something works on.
    pub(super) fn count(&self) -> usize {
        lock(&self.0).len()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.claims.0).remove(&self.oa_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i2_an_oa_is_held_once_and_freed_even_by_a_panic() {
        let claims = Claims::default();
        let (oa, app) = (OaId::from("1"), AppId::from("a"));
        let hold = claims.take(&oa, &app).expect("free");
        assert!(claims.take(&oa, &app).is_none());
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = &hold;
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(unwound.is_err() && claims.take(&oa, &app).is_some());
    }
}
