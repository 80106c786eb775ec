//! Asking Zalo whose a set is that came for a code, before it counts.
//!
//! Whoever brought the code hears it at once if Zalo does. Otherwise the set waits in the store, over restarts, and is asked
//! about again with growing pauses for as long as Zalo gives no clear answer.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::super::{Keeper, events};
use super::store_failed;
use crate::authorize::Back;
use crate::config::check_id;
use crate::failpoint;
use crate::id::OaId;
use crate::oauth::ProbeAnswer;
use crate::store::{Adopted, Unverified};

/// The pauses between two questions: from, to.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Asks about the sets that wait, until the daemon stops.
pub(in super::super) async fn verify_waiting(keeper: Arc<Keeper>) {
    let mut pause = ASK_AGAIN.0;
    loop {
        let is_any_left = verify_all(&keeper).await;
        let again = async {
            match is_any_left {
                true => tokio::time::sleep(pause).await,
                false => keeper.consents.unverified.notified().await,
            }
        };
        tokio::select! {
            () = again => {}
            () = keeper.stop.cancelled() => return,
        }
        pause = if is_any_left { (pause * 2).min(ASK_AGAIN.1) } else { ASK_AGAIN.0 };
    }
}

/// Says whether one still waits.
async fn verify_all(keeper: &Arc<Keeper>) -> bool {
    let waiting = match keeper.store.unverified().await {
        Ok(waiting) => waiting,
        Err(error) => {
            tracing::debug!(%error, "the sets that wait to be verified cannot be read");
            return true;
        }
    };
    let mut is_any_left = false;
    for one in waiting {
        let consent = one.consent;
        let own = Arc::clone(keeper);
        // In a task of its own, so that a panic in there ends no question to come.
        let asking = tokio::spawn(async move { ask(&own, &one).await });
        let back = tokio::select! {
            back = AbortOnDropHandle::new(asking) => back,
            () = keeper.stop.cancelled() => return true,
        };
        match back {
            Ok(back) => {
                is_any_left |= matches!(back, Back::Checking { .. } | Back::NotNow(_));
                keeper.consents.tell(consent, &back);
            }
            Err(_) => is_any_left = true,
        }
    }
    is_any_left
}

/// Asks whose this set is, and takes it in if it is the OA's. What could not be asked is asked again later.
pub(super) async fn verify(keeper: &Arc<Keeper>, one: &Unverified) -> Back {
    let back = ask(keeper, one).await;
    if matches!(back, Back::Checking { .. } | Back::NotNow(_)) {
        keeper.consents.unverified.notify_one();
    }
    back
}

async fn ask(keeper: &Arc<Keeper>, one: &Unverified) -> Back {
    let Unverified { consent: _, attempt, oa_id, app_id, access_token } = one;
    let unclear = |detail: &str| {
        events::consent_unverified(oa_id, *attempt, detail);
        Back::Checking { oa_id: oa_id.clone() }
    };
    let settings = keeper.settings();
    let Some(endpoint) = settings.apps.get(app_id) else {
        return unclear("the config does not have its app");
    };
    let answer = tokio::select! {
        answer = settings.door.whose(&endpoint.api_url, access_token) => answer,
        // The set is kept, and asked about at the next start.
        () = keeper.stop.cancelled() => return Back::Checking { oa_id: oa_id.clone() },
    };
    failpoint::pass("consent.asked");
    let (outcome, detail) = match answer {
        Ok(ProbeAnswer::Accepted(owner)) if owner == *oa_id => return adopt(keeper, one).await,
        Ok(ProbeAnswer::Accepted(owner)) => {
            let got = Some(owner).filter(|owner| check_id(owner.as_str()).is_ok());
            let whose = got.as_ref().map_or("another OA", OaId::as_str);
            let detail = format!("Zalo says that the set is OA {whose}'s");
            return refuse(keeper, one, "other_oa", detail, got).await;
        }
        Ok(ProbeAnswer::Refused(code)) => {
            ("token_refused", format!("Zalo refuses the access token that it has just given (error {code})"))
        }
        Ok(ProbeAnswer::Error(code)) => return unclear(&format!("Zalo answers error {code}")),
        Ok(ProbeAnswer::Unreadable) => return unclear("Zalo gave no answer to the question"),
        Err(what) => return unclear(&what),
    };
    refuse(keeper, one, outcome, detail, None).await
}

async fn adopt(keeper: &Arc<Keeper>, one: &Unverified) -> Back {
    let Unverified { attempt, oa_id, app_id, .. } = one;
    // Nobody dismisses it meanwhile, and no reload moves it to another app.
    let together = keeper.managing.read().await;
    let Some(managed) = keeper.managed(oa_id).filter(|managed| managed.app_id == *app_id) else {
        events::consent_unverified(
            oa_id,
            *attempt,
            "the config does not have this OA with the app that was granted",
        );
        return Back::Checking { oa_id: oa_id.clone() };
    };
    let (name, timing, now) =
        (managed.name.as_deref().map(str::to_owned), keeper.timing(), keeper.read_clock());
    let adopted = keeper.store.adopt_consent(oa_id.clone(), *attempt, name, timing, now).await;
    failpoint::pass("consent.adopted");
    drop(together);
    match adopted {
        Ok(Adopted::Granted { generation }) => {
            events::consent_granted(oa_id, *attempt, generation);
            // It is announced and planned as every import is.
            keeper.wake.notify_one();
            let status = keeper.store.status(oa_id.clone(), Some(managed), keeper.read_clock()).await;
            let next_refresh_at = status.ok().flatten().and_then(|status| status.next_refresh_at);
            Back::Granted { oa_id: oa_id.clone(), generation, next_refresh_at }
        }
        Ok(Adopted::Refused(why)) => {
            events::consent_failed(oa_id, *attempt, why, "its token set is kept, and does not count");
            Back::SetRefused { oa_id: oa_id.clone(), why: why.to_owned() }
        }
        // Another question about it was faster.
        Ok(Adopted::Gone) => Back::AlreadyGranted { oa_id: oa_id.clone() },
        Err(error) => Back::NotNow(store_failed(&error)),
    }
}

/// `got` is the OA whose it is, if that is why.
async fn refuse(
    keeper: &Keeper,
    one: &Unverified,
    outcome: &'static str,
    detail: String,
    got: Option<OaId>,
) -> Back {
    let Unverified { attempt, oa_id, .. } = one;
    let refused = keeper.store.refuse_consent(*attempt, outcome, detail.clone(), keeper.now()).await;
    failpoint::pass("consent.refused");
    match refused {
        Ok(true) => events::consent_failed(oa_id, *attempt, outcome, &detail),
        Ok(false) => {}
        Err(error) => return Back::NotNow(store_failed(&error)),
    }
    match outcome {
        "other_oa" => Back::OtherOa { wanted: oa_id.clone(), got },
        why => Back::SetRefused { oa_id: oa_id.clone(), why: why.to_owned() },
    }
}
