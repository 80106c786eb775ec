//! Measuring the premise: does an app's old access token die when its successor is made?
//!
//! With the app's first success, and once a day, the token that is about to be superseded is asked about before and,
//! `settle` after its successor came, once more. Alive and then dead says that it dies; alive afterwards says that
//! it outlives. A token that nobody saw alive, or that has reached its own end meanwhile, says nothing by being
//! dead: it may have died of age.

use std::sync::Arc;
use std::time::Duration;

use super::settings::Settings;
use super::{Keeper, events, lock};
use crate::clock::{Moment, Time};
use crate::id::AppId;
use crate::rotation::{Premise, Testimony, measure};
use crate::store::{Claim, StoreError};

/// How long a measurement holds.
const MEASURED_FOR: Duration = Duration::from_secs(86_400);
/// How long the question before may hold up the refresh.
const PATIENCE: Duration = Duration::from_secs(3);

/// A measurement under way. Dropped, it is given up.
pub(super) struct Measurement {
    under_way: UnderWay,
    claim: Claim,
    before: Premise,
    was_alive: bool,
}

/// Begins to measure, if it is time to and nobody measures this app already.
pub(super) async fn begin(keeper: &Arc<Keeper>, settings: &Settings, claim: &Claim) -> Option<Measurement> {
    let endpoint = settings.apps.get(&claim.app_id)?;
    let known = lock(&keeper.measured).get(&claim.app_id).copied();
    if known.is_some_and(|at| is_fresh(at, keeper.now())) {
        return None;
    }
    let access_token = claim.access_token.as_ref()?;
    if !lock(&keeper.measuring).insert(claim.app_id.clone()) {
        return None;
    }
    let under_way = UnderWay { keeper: Arc::clone(keeper), app_id: claim.app_id.clone() };
    let (before, measured_at) = keeper.store.premise(claim.app_id.clone()).await.ok()?;
    if let Some(at) = measured_at.filter(|at| is_fresh(*at, keeper.now())) {
        lock(&keeper.measured).insert(claim.app_id.clone(), at);
        return None;
    }
    let asked = tokio::select! {
        asked = tokio::time::timeout(PATIENCE, settings.door.probe(&endpoint.api_url, access_token, &claim.oa_id)) => asked,
        () = keeper.stop.cancelled() => return None,
    };
    Some(Measurement { under_way, claim: claim.clone(), before, was_alive: asked == Ok(Testimony::Accepted) })
}

fn is_fresh(measured_at: Time, now: Time) -> bool {
    measured_at <= now && now.since(measured_at) < MEASURED_FOR
}

impl Measurement {
    /// The successor, obtained then, is stored: the old token is asked about once more, in the background.
    pub(super) fn finish(self, obtained: Moment) {
        let keeper = Arc::clone(&self.under_way.keeper);
        keeper.tasks.clone().spawn(async move {
            let measured = tokio::select! {
                measured = self.ask(&keeper, &obtained) => measured,
                () = keeper.stop.cancelled() => return,
            };
            if let Err(error) = measured {
                tracing::debug!(%error, "what was measured cannot be stored");
            }
        });
    }

    async fn ask(&self, keeper: &Keeper, obtained: &Moment) -> Result<(), StoreError> {
        let Claim { app_id, oa_id, access_token, access_token_expires_at, .. } = &self.claim;
        let settings = keeper.settings();
        let (Some(access_token), Some(endpoint)) = (access_token, settings.apps.get(app_id)) else {
            return Ok(());
        };
        tokio::time::sleep(settings.timing.settle).await;
        let testimony = settings.door.probe(&endpoint.api_url, access_token, oa_id).await;
        let now = keeper.read_clock();
        let was_to_live = self.was_alive && access_token_expires_at.is_some_and(|end| end > now.time);
        let since = obtained.uptime_since(&now);
        let Some(measured) = measure(&testimony, was_to_live, since, settings.timing.settle) else {
            return Ok(());
        };
        keeper.store.record_premise(app_id.clone(), measured, keeper.now()).await?;
        if measured == Premise::OldTokenOutlives && self.before != measured {
            events::old_token_outlives(app_id);
        }
        Ok(())
    }
}

/// Marks the app as being measured, until dropped.
struct UnderWay {
    keeper: Arc<Keeper>,
    app_id: AppId,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.keeper.measuring).remove(&self.app_id);
    }
}
