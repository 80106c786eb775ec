//! The in-process lock of each OA: one attempt or one question at a time, over all tasks.
//!
//! It is taken inside the task that does the work and freed when that task ends, however it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::id::{AppId, OaId};

#[derive(Default)]
struct Held {
    /// The OAs that something works on, each with its app if it is an attempt.
    oas: BTreeMap<OaId, Option<AppId>>,
    /// How many of these are attempts of each app: in a herd they are too many to be counted with each claim.
    attempts: BTreeMap<AppId, u32>,
}

/// Which OAs something works on.
#[derive(Clone, Default)]
pub(super) struct Claims(Arc<Mutex<Held>>);

/// The lock of one OA. Dropped, it is free again.
pub(super) struct Hold {
    claims: Claims,
    oa_id: OaId,
}

impl Claims {
    /// Takes the OA's lock for an attempt, or `None` if something works on it, or if attempts on `most_of_app` OAs of
    /// its app are under way.
    pub(super) fn take_for_attempt(&self, oa_id: &OaId, app_id: &AppId, most_of_app: u32) -> Option<Hold> {
        let mut held = lock(&self.0);
        let of_app = held.attempts.get(app_id).copied().unwrap_or(0);
        (of_app < most_of_app).then(|| self.insert(&mut held, oa_id, Some(app_id.clone()))).flatten()
    }

    /// Takes the OA's lock for something that presents nothing, or `None` if something works on it.
    pub(super) fn take(&self, oa_id: &OaId) -> Option<Hold> {
        self.insert(&mut lock(&self.0), oa_id, None)
    }

    fn insert(&self, held: &mut Held, oa_id: &OaId, app_id: Option<AppId>) -> Option<Hold> {
        if held.oas.contains_key(oa_id) {
            return None;
        }
        if let Some(app_id) = &app_id {
            *held.attempts.entry(app_id.clone()).or_default() += 1;
        }
        held.oas.insert(oa_id.clone(), app_id);
        Some(Hold { claims: self.clone(), oa_id: oa_id.clone() })
    }

    /// Does something work on this OA?
    pub(super) fn is_held(&self, oa_id: &OaId) -> bool {
        lock(&self.0).oas.contains_key(oa_id)
    }

    /// The OAs that attempts work on, each with its app.
    pub(super) fn attempts(&self) -> BTreeMap<OaId, AppId> {
        let held = lock(&self.0);
        held.oas.iter().filter_map(|(oa_id, app_id)| Some((oa_id.clone(), app_id.clone()?))).collect()
    }

    /// On how many OAs attempts work.
    pub(super) fn count_attempts(&self) -> usize {
        lock(&self.0).oas.values().flatten().count()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = lock(&self.claims.0);
        if let Some(Some(app_id)) = held.oas.remove(&self.oa_id)
            && let Some(attempts) = held.attempts.get_mut(&app_id)
        {
            *attempts -= 1;
            if *attempts == 0 {
                held.attempts.remove(&app_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i2_an_oa_is_held_once_and_freed_even_by_a_panic() {
        let claims = Claims::default();
        let (oa, app) = (OaId::from("1"), AppId::from("a"));
        let hold = claims.take_for_attempt(&oa, &app, 1).expect("free");
        assert!(claims.take_for_attempt(&oa, &app, 9).is_none() && claims.take(&oa).is_none());
        assert!(claims.take_for_attempt(&OaId::from("2"), &app, 1).is_none(), "one of its app at the most");
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = &hold;
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(unwound.is_err() && claims.take(&oa).is_some());
        assert!(
            claims.take_for_attempt(&oa, &app, 1).is_some(),
            "its place among those of its app is free again"
        );
    }
}
