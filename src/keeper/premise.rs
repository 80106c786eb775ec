//! Measuring the premise: does an app's old access token die when its successor is made?
//!
//! After the app's first success, and once a day, the token that was just superseded is asked about, `settle`
//! later. A token that has reached its own end by then says nothing, and is not asked.

use std::sync::Arc;
use std::time::Duration;

use super::{Keeper, events, lock};
use crate::id::AppId;
use crate::rotation::{Premise, Testimony};
use crate::store::{Claim, StoreError};

/// How long a measurement holds.
const MEASURED_FOR: Duration = Duration::from_secs(86_400);

/// Measures in the background, if it is time to and nobody measures this app already.
pub(super) fn measure(keeper: &Arc<Keeper>, superseded: &Claim) {
    if !lock(&keeper.measuring).insert(superseded.app_id.clone()) {
        return;
    }
    let (keeper, superseded) = (Arc::clone(keeper), superseded.clone());
    keeper.tasks.clone().spawn(async move {
        let _under_way = UnderWay { keeper: Arc::clone(&keeper), app_id: superseded.app_id.clone() };
        let measured = tokio::select! {
            measured = ask(&keeper, &superseded) => measured,
            () = keeper.stop.cancelled() => return,
        };
        if let Err(error) = measured {
            tracing::debug!(%error, "what was measured cannot be stored");
        }
    });
}

async fn ask(keeper: &Keeper, superseded: &Claim) -> Result<(), StoreError> {
    let (before, measured_at) = keeper.store.premise(superseded.app_id.clone()).await?;
    let is_fresh = measured_at.is_some_and(|at| at <= keeper.now() && keeper.now().since(at) < MEASURED_FOR);
    let (Some(access_token), Some(endpoint), false) =
        (&superseded.access_token, keeper.settings.apps.get(&superseded.app_id), is_fresh)
    else {
        return Ok(());
    };
    tokio::time::sleep(keeper.settings.timing.settle).await;
    if superseded.access_token_expires_at.is_none_or(|end| end <= keeper.now()) {
        return Ok(());
    }
    let measured = match keeper.door.probe(&endpoint.api_url, access_token, &superseded.oa_id).await {
        Testimony::Accepted => Premise::OldTokenOutlives,
        Testimony::Refused(_) if superseded.access_token_expires_at.is_some_and(|end| end > keeper.now()) => {
            Premise::OldTokenDies
        }
        Testimony::Refused(_) | Testimony::Unclear(_) => return Ok(()),
    };
    keeper.store.record_premise(superseded.app_id.clone(), measured, keeper.now()).await?;
    if measured == Premise::OldTokenOutlives && before != measured {
        events::old_token_outlives(&superseded.app_id);
    }
    Ok(())
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
