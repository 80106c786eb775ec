//! What the log says of a concluded attempt, whether its answer came just now or out of a slot at start.

use std::time::Duration;

use super::{Keeper, events};
use crate::clock::Time;
use crate::id::{AppId, AttemptId, OaId};
use crate::store::{Abandoned, AppChange, Concluded, Effect};

/// An attempt, as far as its conclusion is told.
pub(super) struct News<'n> {
    pub(super) oa_id: &'n OaId,
    pub(super) app_id: &'n AppId,
    pub(super) attempt: AttemptId,
    pub(super) class: &'n str,
    pub(super) detail: &'n str,
    pub(super) duration: Duration,
}

impl News<'_> {
    /// Says what became of the OA and of its app. Called only after it is durable.
    pub(super) fn tell(&self, keeper: &Keeper, concluded: &Concluded) {
        let News { oa_id, app_id, attempt, class, detail, duration } = *self;
        match &concluded.effect {
            Effect::Adopted { generation, expires_at, refresh_at, reason, oddities } => {
                events::refresh_succeeded(oa_id, attempt, *generation, *expires_at, duration);
                oddities.iter().for_each(|oddity| events::answer_odd(oa_id, attempt, *oddity));
                if let Some(refresh_at) = refresh_at {
                    events::refresh_planned(oa_id, *refresh_at);
                }
                if let Some(reason) = reason {
                    keeper.call_person(oa_id, *reason);
                }
            }
            Effect::Retry { retry_at } => events::refresh_failed(oa_id, attempt, class, detail, *retry_at),
            Effect::Uncertain { probe_at } => events::refresh_uncertain(oa_id, attempt, detail, *probe_at),
            Effect::Reauthorize { reason } => keeper.call_person(oa_id, *reason),
            Effect::KeptAside => events::refresh_superseded(oa_id, attempt),
            Effect::AlreadyConcluded => {}
        }
        tell_app(app_id, concluded.app, detail);
    }
}

fn tell_app(app_id: &AppId, change: AppChange, detail: &str) {
    match change {
        AppChange::None => {}
        AppChange::Blocked => events::app_refused(app_id, detail),
        AppChange::Braked { trial_at } => events::app_braked(app_id, detail, trial_at),
        AppChange::Released => events::app_released(app_id),
    }
}

/// Says what became of an attempt that nobody waits for any more.
pub(super) fn tell_abandoned(abandoned: &Abandoned, detail: &str, probe_at: Time) {
    let Abandoned { oa_id, app_id, attempt, is_uncertain, app } = abandoned;
    if *is_uncertain {
        events::refresh_uncertain(oa_id, *attempt, detail, probe_at);
    }
    tell_app(app_id, *app, detail);
}
