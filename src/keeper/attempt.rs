//! One attempt: claim, present, conclude, tell.
//!
//! Nothing between the gate and the verdict can be cancelled. The exchange runs in a task of its own, so that a
//! panic in it ends as a verdict too, and the conclusion is repeated until the store has it: until then the answer
//! is in a spill slot, or, when even that fails, in this task, which a stop waits for.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

use super::claims::Hold;
use super::news::{self, News};
use super::refuge::{Exposure, Refuge};
use super::settings::Settings;
use super::{Keeper, events, premise, undurable};
use crate::clock::Moment;
use crate::id::{AttemptId, OaId};
use crate::oauth::refresh_form;
use crate::rotation::{AnswerBytes, Exchange, Reason, Verdict, judge};
use crate::store::{
    Attempted, Claim, Claimed, Concluded, Due, Effect, Journalled, Slot, SpilledAnswer, StoreError,
    ValidToken,
};
use crate::zalo::{Gate, JournalFailure, Presentation, Presented};

/// The waits between repeats of a conclusion that the store does not take: from, to.
const REPEAT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// A store that has not taken an answer after this long may never: the answer goes to its slot meanwhile.
const SLOW_STORE: Duration = Duration::from_secs(2);

/// Refreshes one OA, in a task of its own: a panic in there costs this attempt and nothing else. Its row, if there
/// is one, then leaves the OA uncertain.
///
/// Returns whether anything was tried.
pub(super) async fn run_guarded(keeper: Arc<Keeper>, due: Due, claim: Option<Claim>) -> bool {
    let (id, oa_id) = (AttemptId::random(), due.oa_id.clone());
    match tokio::spawn(run(Arc::clone(&keeper), id, due, claim)).await {
        Ok(has_tried) => {
            if has_tried {
                keeper.wake.notify_one();
            }
            has_tried
        }
        // Without waking the sweep: what panicked once may panic again, and the tick comes soon enough.
        Err(_) => {
            abandon(&keeper, id, &oa_id).await;
            true
        }
    }
}

/// What was presented and has nobody waiting for it any more becomes uncertain, as soon as the store takes it.
async fn abandon(keeper: &Keeper, id: AttemptId, oa_id: &OaId) {
    loop {
        let timing = keeper.timing();
        let probe_at = keeper.now().plus(timing.settle);
        match keeper.store.abandon(id, timing, keeper.read_clock(), keeper.roll()).await {
            Ok(Some(abandoned)) => {
                let detail = "the attempt's own task panicked";
                news::tell_abandoned(&abandoned, detail, probe_at);
                if abandoned.is_uncertain {
                    keeper.begin_doubt(oa_id, id);
                    keeper.told.uncertain(oa_id, detail);
                }
                return;
            }
            Ok(None) | Err(StoreError::Closed) => return,
            Err(StoreError::Unavailable(_) | StoreError::Broken(_)) => {}
        }
        tokio::select! {
            () = sleep(REPEAT.1) => {}
            () = keeper.stop.cancelled() => return,
        }
    }
}

/// Refreshes one OA, if it is still due and nobody else does. Returns whether anything was tried.
async fn run(keeper: Arc<Keeper>, id: AttemptId, due: Due, claim: Option<Claim>) -> bool {
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
    let exposure = Arc::new(Exposure::of(&keeper.exposed));
    Attempt { keeper, settings, claim, id, begun: Instant::now(), exposure, _hold: hold }.run(slot).await;
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
                events::reauthorization_required(&oa_id, Reason::ResponseLost);
            }
        }
        Err(StoreError::Broken(what)) => keeper.pass_over(&oa_id, &what),
    }
    None
}

struct Attempt {
    keeper: Arc<Keeper>,
    /// Those that it began with: a reload does not touch what is under way.
    settings: Arc<Settings>,
    claim: Claim,
    id: AttemptId,
    begun: Instant,
    /// From the opening of the gate until there is nothing to lose.
    exposure: Arc<Exposure>,
    _hold: Hold,
}

impl Attempt {
    async fn run(self, slot: Slot) {
        let measurement = premise::begin(&self.keeper, &self.settings, &self.claim).await;
        let started = self.keeper.clock.read();
        events::refresh_started(&self.claim.oa_id, self.id, self.claim.generation);
        self.keeper.told.begun(&self.claim.oa_id);
        let presented = self.present(started.time).await;
        if presented.journal_failure == Some(JournalFailure::Stale)
            || presented.was_stopped && !presented.may_be_journalled
        {
            return;
        }
        let verdict = judge(&presented.exchange);
        if presented.is_certificate_fault {
            events::certificate_refused(&self.claim.app_id, &verdict.detail());
        }
        let obtained = Moment::at(presented.opened_at.as_ref().unwrap_or(&started));
        let answer = match presented.exchange {
            Exchange::Answered(answer) => Some(answer),
            Exchange::NotPresented { .. } | Exchange::NoAnswer { .. } => {
                self.exposure.end();
                None
            }
        };
        let attempted = Attempted {
            attempt: self.id,
            claim: Some(self.claim.clone()),
            started_at: started.time,
            obtained: obtained.clone(),
            verdict,
            status: answer.as_ref().map(|answer| answer.status),
            answer: answer.as_ref().map(|answer| answer.body.clone()),
        };
        let spilled = answer.map(|answer| Arc::new(self.spilled(obtained, answer)));
        let attempted = Arc::new(attempted);
        let Some(concluded) = self.conclude(&attempted, spilled, slot).await else { return };
        self.tell(&attempted, &concluded);
        let is_superseded = match &attempted.verdict {
            Verdict::Granted(tokens) => {
                tokens.access_token.is_some() && tokens.access_token != self.claim.access_token
            }
            Verdict::NotPresented { .. }
            | Verdict::Throttled { .. }
            | Verdict::Dead(_)
            | Verdict::AppRefused(_)
            | Verdict::Unknown { .. } => false,
        };
        if let Some(measurement) = measurement.filter(|_| is_superseded) {
            measurement.finish();
        }
    }

    fn spilled(&self, obtained: Moment, answer: AnswerBytes) -> SpilledAnswer {
        SpilledAnswer { attempt: self.id, obtained, answer }
    }

    /// Sends the request through the gate, in a task of its own.
    async fn present(&self, started_at: crate::clock::Time) -> Presented {
        let (keeper, settings) = (Arc::clone(&self.keeper), Arc::clone(&self.settings));
        let (claim, id) = (self.claim.clone(), self.id);
        let exposure = Arc::clone(&self.exposure);
        let gate = Arc::new(Gate::default());
        let own_gate = Arc::clone(&gate);
        let exchange = tokio::spawn(async move {
            let Some(endpoint) = settings.apps.get(&claim.app_id) else {
                own_gate.bar();
                return failed("the config does not have this app".to_owned(), false);
            };
            let presentation = Presentation {
                token_url: endpoint.token_url.clone(),
                secret_key: endpoint.secret_key.clone(),
                form: refresh_form(&claim.app_id, &claim.refresh_token),
                caps: settings.caps,
            };
            let journal = journal(&keeper, claim, id, started_at, &exposure);
            settings.door.present(presentation, own_gate, journal, &keeper.stop).await
        });
        match exchange.await {
            Ok(presented) => presented,
            // It panicked. What the gate says is still true.
            Err(_) if gate.bar() => failed("the attempt's own task panicked".to_owned(), true),
            Err(_) => Presented {
                exchange: Exchange::NoAnswer { detail: "the attempt's own task panicked".to_owned() },
                ..failed(String::new(), true)
            },
        }
    }

    /// Stores the verdict, however long that takes. `None`: the program is stopping and the answer, if there is
    /// one, is safe in its slot; the next start takes it in.
    async fn conclude(
        &self,
        attempted: &Arc<Attempted>,
        spilled: Option<Arc<SpilledAnswer>>,
        slot: Slot,
    ) -> Option<Concluded> {
        let keeper = &self.keeper;
        let roll = keeper.roll();
        let (mut wait, mut has_complained) = (REPEAT.0, false);
        // What no answer came for has nothing to lose: a restart finds its row and calls it uncertain.
        let mut refuge = Refuge::new(slot, spilled);
        let mut undurable = None;
        loop {
            if refuge.is_safe() {
                self.exposure.end();
                undurable = None;
            }
            let mut concluding = pin!(keeper.store.conclude(
                Arc::clone(attempted),
                keeper.timing(),
                keeper.read_clock(),
                roll
            ));
            let mut is_slow = false;
            let concluded = loop {
                tokio::select! {
                    concluded = &mut concluding => break concluded,
                    () = sleep(SLOW_STORE), if !is_slow && !refuge.is_safe() => {
                        is_slow = true;
                        undurable = undurable.or_else(|| self.hand_out_from_memory(attempted));
                    }
                    () = refuge.fill(), if is_slow && !refuge.is_safe() => {
                        // A slot that did not take it is tried again after a while.
                        is_slow = false;
                        if refuge.is_safe() {
                            self.exposure.end();
                            undurable = None;
                        }
                    }
                }
            };
            let failure = match concluded {
                Ok(concluded) => {
                    self.exposure.end();
                    refuge.leave().await;
                    return Some(concluded);
                }
                Err(failure) => failure,
            };
            if !refuge.is_safe() {
                undurable = undurable.or_else(|| self.hand_out_from_memory(attempted));
                if timeout(SLOW_STORE, refuge.fill()).await.is_err() {
                    tracing::debug!("a slot hangs");
                }
            }
            if failure == StoreError::Closed && refuge.is_safe() {
                return None;
            }
            if let (StoreError::Broken(what), false) = (&failure, has_complained) {
                events::oa_unreadable(&self.claim.oa_id, what);
                has_complained = true;
            }
            tokio::select! {
                () = sleep(wait) => wait = (wait * 2).min(REPEAT.1),
                () = keeper.stop.cancelled(), if refuge.is_safe() => return None,
            }
        }
    }

    /// Neither the store nor the slot took it: as long as that lasts, the daemon itself hands the new access token out.
    fn hand_out_from_memory(&self, attempted: &Attempted) -> Option<undurable::Held> {
        let Verdict::Granted(tokens) = &attempted.verdict else { return None };
        let access_token = tokens.access_token.clone()?;
        let expires_at = attempted.obtained.time.plus(tokens.access_token_life);
        let valid = ValidToken { access_token, expires_at, generation: self.claim.generation + 1 };
        Some(self.keeper.undurable.hold(&self.claim.oa_id, valid))
    }

    fn tell(&self, attempted: &Attempted, concluded: &Concluded) {
        let news = News {
            oa_id: &self.claim.oa_id,
            app_id: &self.claim.app_id,
            attempt: self.id,
            class: attempted.verdict.class(),
            detail: &attempted.verdict.detail(),
            duration: self.begun.elapsed(),
        };
        news.tell(concluded);
        self.keeper.told.concluded(&self.claim.oa_id, concluded, &attempted.verdict.detail());
        if matches!(concluded.effect, Effect::Uncertain { .. }) {
            self.keeper.begin_doubt(&self.claim.oa_id, self.id);
        }
    }
}

/// Makes the attempt durable.
async fn journal(
    keeper: &Keeper,
    claim: Claim,
    id: AttemptId,
    started_at: crate::clock::Time,
    exposure: &Exposure,
) -> Result<(), JournalFailure> {
    let most = keeper.timing().max_in_flight;
    match keeper.store.present(claim, id, started_at, most, keeper.read_clock()).await {
        Ok(Journalled::Written) => {
            exposure.begin();
            Ok(())
        }
        Ok(Journalled::Stale | Journalled::HeldBack) => Err(JournalFailure::Stale),
        Err(error) => Err(JournalFailure::Unavailable(error.to_string())),
    }
}

fn failed(detail: String, may_be_journalled: bool) -> Presented {
    Presented {
        exchange: Exchange::NotPresented { detail, retry_after: None },
        opened_at: None,
        journal_failure: None,
        may_be_journalled,
        was_stopped: false,
        is_certificate_fault: false,
    }
}
