//! Watching the store: says when it stops taking writes, tries it gently, and says when it takes them again.

use std::sync::Arc;
use std::time::Duration;

use super::{Keeper, events};
use crate::store::Health;

/// The waits between trials of a store that does not take writes: from, to.
const TRIALS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Watches until the daemon stops.
pub(super) async fn watch(keeper: Arc<Keeper>) {
    let mut health = keeper.store.health();
    loop {
        let detail = match &*health.borrow_and_update() {
            Health::Well => None,
            Health::Failed(detail) => Some(detail.clone()),
        };
        if let Some(detail) = detail {
            events::store_failed(&detail);
            if !keeper.try_until_well().await {
                return;
            }
            health.mark_unchanged();
            events::store_recovered("a trial transaction was committed");
            keeper.wake.notify_one();
            continue;
        }
        tokio::select! {
            changed = health.changed() => if changed.is_err() { return },
            () = keeper.stop.cancelled() => return,
        }
    }
}

impl Keeper {
    /// Writes as much as a refresh does, ever more rarely, until the store takes it. `false`: it is time to stop.
    async fn try_until_well(&self) -> bool {
        let mut wait = TRIALS.0;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(TRIALS.1),
                () = self.stop.cancelled() => return false,
            }
            if self.store.exercise().await.is_ok() {
                return true;
            }
        }
    }
}
