//! One attempt to refresh: claim, present, conclude, tell.
//!
//! The exchange itself, and what a panic or a stubborn disk does to it, is [`exchange`]'s. Here stands what is presented
//! and when, and what a conclusion is to the OA.

use std::sync::{Arc, OnceLock};

use super::exchange::{self, Begun, End, Exchange, Matter};
use super::news::News;
use super::{Keeper, events, premise};
use crate::clock::Reading;
use crate::failpoint;
use crate::id::{AppId, AttemptId, OaId};
use crate::oauth::refresh_form;
use crate::rotation::{Reason, Roll, Verdict};
use crate::secret::Secret;
use crate::store::{Attempted, Claim, Claimed, Concluded, Due, Effect, Journalled, StoreError, ValidToken};
use crate::zalo::JournalFailure;

/// Refreshes one OA, in a task of its own: a panic in there costs no other OA anything, and no answer that came.
///
/// Returns whether anything was tried.
pub(super) async fn run_guarded(keeper: Arc<Keeper>, due: Due, claim: Option<Claim>) -> bool {
    let begun = Arc::new(OnceLock::new());
    let work = run(Arc::clone(&keeper), due, claim, Arc::clone(&begun));
    // With `begun` goes what holds the OA, before the sweep looks for it again.
    let Some(has_tried) = exchange::guarded(begun, work).await else {
        // Without waking the sweep: what panicked once may panic again, and the tick comes soon enough.
        return true;
    };
    if has_tried {
        keeper.wake.notify_one();
    }
    has_tried
}

/// Refreshes one OA, if it is still due and nobody else does. Returns whether anything was tried. From the moment that
/// anything may be presented, `begun` has the attempt.
async fn run(keeper: Arc<Keeper>, due: Due, claim: Option<Claim>, begun: Begun<Refresh>) -> bool {
    let Some(hold) = keeper.claims.take_for_attempt(&due.oa_id, &due.app_id, due.most_of_app) else {
        return false;
    };
    let Some(slot) = keeper.store.take_slot() else { return false };
    // What the sweep read a moment ago may be old: under this lock the journal's transaction reads the row again, and
    // writes nothing if it is not as it was.
    let claim = match claim {
        Some(claim) => claim,
        None => match self::claim(&keeper, due).await {
            Some(claim) => claim,
            None => return false,
        },
    };
    let settings = keeper.settings();
    // A reload is under way: the app is in the store already, or still, and not in these settings.
    if !settings.apps.contains_key(&claim.app_id) {
        return false;
    }
    failpoint::pass("attempt.claimed");
    let measurement = premise::begin(&keeper, &settings, &claim).await;
    let attempt =
        begun.get_or_init(|| Arc::new(Exchange::new(keeper, settings, Refresh { claim }, slot, hold)));
    let claim = &attempt.matter.claim;
    events::refresh_started(&claim.oa_id, attempt.id, claim.generation);
    attempt.keeper.told.begun(&claim.oa_id);
    attempt.present().await;
    let attempted = Arc::clone(attempt).finish().await;
    let is_superseded =
        attempted.is_some_and(|attempted| attempt.matter.is_superseded_by(&attempted.verdict));
    if let Some(measurement) = measurement.filter(|_| is_superseded) {
        measurement.finish(attempt.obtained());
    }
    true
}

/// Reads what the attempt is to work with. `None`: there is nothing to do now.
async fn claim(keeper: &Keeper, due: Due) -> Option<Claim> {
    let Due { oa_id, is_on_demand, .. } = due;
    match keeper.store.claim(oa_id.clone(), is_on_demand, keeper.read_clock()).await {
        Ok(Claimed::Due(claim)) => return Some(claim),
        Ok(Claimed::NotNow) | Err(StoreError::Unavailable(_) | StoreError::Closed) => {}
        Ok(Claimed::Unproven) => {
            if keeper.store.latch_unproven(oa_id.clone(), keeper.read_clock()).await == Ok(true) {
                keeper.call_person(&oa_id, Reason::ResponseLost);
            }
        }
        Err(StoreError::Broken(what)) => keeper.pass_over(&oa_id, &what),
    }
    None
}

/// A refresh token on its way.
struct Refresh {
    claim: Claim,
}

impl Refresh {
    /// Has another access token superseded the one that there was?
    fn is_superseded_by(&self, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Granted(tokens) => {
                tokens.access_token.is_some() && tokens.access_token != self.claim.access_token
            }
            Verdict::NotPresented { .. }
            | Verdict::Throttled { .. }
            | Verdict::Dead(_)
            | Verdict::AppRefused(_)
            | Verdict::Unknown { .. } => false,
        }
    }
}

impl Matter for Refresh {
    type Ended = Attempted;
    type Concluded = Concluded;

    fn oa_id(&self) -> &OaId {
        &self.claim.oa_id
    }

    fn app_id(&self) -> &AppId {
        &self.claim.app_id
    }

    fn form(&self) -> Secret {
        refresh_form(&self.claim.app_id, &self.claim.refresh_token)
    }

    async fn journal(
        &self,
        keeper: &Keeper,
        attempt: AttemptId,
        started: &Reading,
    ) -> Result<(), JournalFailure> {
        let (claim, most) = (self.claim.clone(), keeper.timing().max_in_flight);
        match keeper.store.present(claim, attempt, started.time, most, keeper.read_clock()).await {
            Ok(Journalled::Written) => Ok(()),
            Ok(Journalled::Stale | Journalled::HeldBack) => Err(JournalFailure::Stale),
            Err(error) => Err(JournalFailure::Unavailable(error.to_string())),
        }
    }

    fn ended(&self, end: End) -> Attempted {
        let End { attempt, started_at, obtained, verdict, status, answer } = end;
        Attempted { attempt, claim: Some(self.claim.clone()), started_at, obtained, verdict, status, answer }
    }

    async fn conclude(
        keeper: &Keeper,
        attempted: &Arc<Attempted>,
        roll: Roll,
    ) -> Result<Concluded, StoreError> {
        keeper.store.conclude(Arc::clone(attempted), keeper.timing(), keeper.read_clock(), roll).await
    }

    fn meanwhile(&self, attempted: &Attempted) -> Option<ValidToken> {
        let Verdict::Granted(tokens) = &attempted.verdict else { return None };
        let access_token = tokens.access_token.clone()?;
        let expires_at = attempted.obtained.time.plus(tokens.access_token_life);
        Some(ValidToken { access_token, expires_at, generation: self.claim.generation + 1 })
    }

    fn tell(attempt: &Exchange<Refresh>, attempted: &Attempted, concluded: &Concluded) {
        let (keeper, claim) = (&attempt.keeper, &attempt.matter.claim);
        let detail = attempted.verdict.detail();
        let news = News {
            oa_id: &claim.oa_id,
            app_id: &claim.app_id,
            attempt: attempt.id,
            class: attempted.verdict.class(),
            detail: &detail,
            duration: attempt.begun_at.elapsed(),
        };
        news.tell(keeper, concluded);
        keeper.told.concluded(&claim.oa_id, concluded, &detail);
        if matches!(concluded.effect, Effect::Uncertain { .. }) {
            keeper.begin_doubt(&claim.oa_id, attempt.id);
        }
    }
}
