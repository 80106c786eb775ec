//! Exchanging a person's code: one exchange like that of a refresh token, and never twice.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::claims::Hold;
use super::super::exchange::{self, Begun, End, Exchange, Matter};
use super::super::{FAULT, Keeper, events};
use super::{ended_before, store_failed, verify};
use crate::authorize::Back;
use crate::clock::Reading;
use crate::failpoint;
use crate::id::{AppId, AttemptId, OaId};
use crate::oauth::code_form;
use crate::rotation::{Roll, Verdict, is_too_old};
use crate::secret::Secret;
use crate::store::{CodeAttempted, Consent, ConsentStage, Slot, StoreError, Unverified, ValidToken};
use crate::zalo::JournalFailure;

/// How long somebody who brings a code waits for another request of his OA to end, and for a place. Longer than a
/// request takes by default, and far shorter than his code lives.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often it is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Exchanges the code, and has it asked whose the set is that came. Goes on whole if whoever brought it goes away.
pub(super) async fn bring(keeper: &Arc<Keeper>, consent: Consent, code: Secret) -> Back {
    let own = Arc::clone(keeper);
    let brought = keeper.tasks.spawn(async move {
        let begun: Begun<Code> = Arc::new(OnceLock::new());
        let work = run(own, consent, code, Arc::clone(&begun));
        exchange::guarded(begun, work).await
    });
    let brought = brought.await;
    // Whatever waited for this OA goes on.
    keeper.wake.notify_one();
    match brought {
        Ok(Some(back)) => back,
        Ok(None) | Err(_) => {
            // What came before that, if anything did, is in the store and waits to be verified.
            keeper.consents.unverified.notify_one();
            Back::NotNow(FAULT.to_owned())
        }
    }
}

async fn run(keeper: Arc<Keeper>, consent: Consent, code: Secret, begun: Begun<Code>) -> Back {
    let Some(verifier) = consent.verifier.clone() else {
        return Back::AlreadyGranted { oa_id: consent.oa_id };
    };
    let Some((hold, slot)) = place_for(&keeper, &consent).await else {
        if keeper.is_stopping() {
            return Back::Stopping;
        }
        let text = "another request of this OA is under way, or as many as may be are; load this page again in a minute";
        return Back::NotNow(text.to_owned());
    };
    let (settings, state) = (keeper.settings(), consent.id);
    failpoint::pass("consent.claimed");
    let matter = Code { consent, code, verifier };
    let exchange = begun.get_or_init(|| Arc::new(Exchange::new(keeper, settings, matter, slot, hold)));
    exchange.present().await;
    let ended = Arc::clone(exchange).finish().await;
    failpoint::pass("consent.exchanged");
    let (keeper, oa_id) = (&exchange.keeper, exchange.matter.consent.oa_id.clone());
    let Some(ended) = ended else {
        return not_begun(keeper, exchange, state).await;
    };
    match exchange.concluded().cloned().flatten() {
        None | Some(ConsentStage::Open | ConsentStage::Presenting) => match &ended.verdict {
            Verdict::AppRefused(_) => Back::AppRefused { oa_id },
            verdict @ (Verdict::Granted(_)
            | Verdict::NotPresented { .. }
            | Verdict::Throttled { .. }
            | Verdict::Dead(_)
            | Verdict::Unknown { .. }) => Back::NotReached { oa_id, detail: verdict.detail() },
        },
        Some(ConsentStage::Answered(attempt)) => match &ended.verdict {
            Verdict::Granted(tokens) => {
                let app_id = exchange.matter.consent.app_id.clone();
                let Some(access_token) = tokens.access_token.clone() else {
                    return Back::AnswerLost { oa_id };
                };
                let one = Unverified { consent: state, attempt, oa_id, app_id, access_token };
                verify::verify(keeper, &one).await
            }
            Verdict::NotPresented { .. }
            | Verdict::Throttled { .. }
            | Verdict::Dead(_)
            | Verdict::AppRefused(_)
            | Verdict::Unknown { .. } => Back::Checking { oa_id },
        },
        Some(ConsentStage::Closed { outcome, .. }) => ended_before(oa_id, &outcome),
    }
}

/// The lock of the OA, and a slot for the answer, once both are free.
async fn place_for(keeper: &Keeper, consent: &Consent) -> Option<(Hold, Slot)> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until && !keeper.is_stopping() {
        // However narrow the window of its app is: no refresh token is at risk.
        if let Some(hold) = keeper.claims.take_for_attempt(&consent.oa_id, &consent.app_id, u32::MAX) {
            if let Some(slot) = keeper.store.take_slot() {
                return Some((hold, slot));
            }
            drop(hold);
        }
        sleep(LOOK_AGAIN).await;
    }
    None
}

/// Nothing was presented, and nothing is to be concluded.
async fn not_begun(keeper: &Keeper, exchange: &Exchange<Code>, id: crate::store::ConsentId) -> Back {
    let oa_id = exchange.matter.consent.oa_id.clone();
    if keeper.is_stopping() {
        return Back::Stopping;
    }
    match keeper.store.consent(id).await {
        Ok(Some(consent)) => match consent.stage {
            ConsentStage::Open if is_too_old(&consent.made, &keeper.read_clock()) => {
                Back::StateExpired { oa_id }
            }
            // Its code was presented before, with another consent.
            ConsentStage::Open => Back::CodeRefused { oa_id },
            ConsentStage::Presenting => Back::InProgress { oa_id },
            ConsentStage::Answered(_) => Back::Checking { oa_id },
            ConsentStage::Closed { outcome, .. } => ended_before(oa_id, &outcome),
        },
        Ok(None) => Back::UnknownState,
        Err(error) => Back::NotNow(store_failed(&error)),
    }
}

/// A code on its way.
struct Code {
    consent: Consent,
    code: Secret,
    verifier: Secret,
}

impl Matter for Code {
    type Ended = CodeAttempted;
    /// `None`: it never came to the journal.
    type Concluded = Option<ConsentStage>;

    fn oa_id(&self) -> &OaId {
        &self.consent.oa_id
    }

    fn app_id(&self) -> &AppId {
        &self.consent.app_id
    }

    fn form(&self) -> Secret {
        code_form(&self.consent.app_id, &self.code, &self.verifier)
    }

    async fn journal(&self, keeper: &Keeper, attempt: AttemptId, _: &Reading) -> Result<(), JournalFailure> {
        let (id, code) = (self.consent.id, self.code.digest());
        match keeper.store.present_code(id, code, attempt, keeper.read_clock()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(JournalFailure::Stale),
            Err(error) => Err(JournalFailure::Unavailable(error.to_string())),
        }
    }

    fn ended(&self, end: End) -> CodeAttempted {
        let End { attempt, started_at: _, obtained, verdict, status, answer } = end;
        CodeAttempted { attempt, obtained, verdict, status, answer }
    }

    async fn conclude(
        keeper: &Keeper,
        attempted: &Arc<CodeAttempted>,
        _: Roll,
    ) -> Result<Option<ConsentStage>, StoreError> {
        keeper.store.conclude_code(Arc::clone(attempted), keeper.read_clock()).await
    }

    /// What nobody has verified is handed out by nobody.
    fn meanwhile(&self, _: &CodeAttempted) -> Option<ValidToken> {
        None
    }

    fn tell(exchange: &Exchange<Code>, attempted: &CodeAttempted, concluded: &Option<ConsentStage>) {
        let (oa_id, verdict) = (exchange.matter.oa_id(), &attempted.verdict);
        tell(oa_id, exchange.id, concluded.as_ref(), verdict.class(), &verdict.detail());
    }
}

/// Says what came of an exchange, whether its answer came just now or out of a slot at start. Called only after it is
/// durable.
pub(in super::super) fn tell(
    oa_id: &OaId,
    attempt: AttemptId,
    stage: Option<&ConsentStage>,
    class: &str,
    detail: &str,
) {
    match stage {
        None | Some(ConsentStage::Open) => events::consent_postponed(oa_id, attempt, class, detail),
        Some(ConsentStage::Closed { outcome, generation: None }) => {
            events::consent_failed(oa_id, attempt, outcome, detail);
        }
        // What has to be asked yet is told when it was.
        Some(ConsentStage::Answered(_) | ConsentStage::Presenting | ConsentStage::Closed { .. }) => {}
    }
}
