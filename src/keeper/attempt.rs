//! One attempt: claim, present, conclude, tell.
//!
//! Nothing between the gate and the verdict can be cancelled, also not by a panic. The work is done in a task of its own,
//! and what it has come to stands in an [`Attempt`] that outlives that task: the gate, what came of the answer, the slot.
//! Whoever finishes an attempt goes by these. After a panic that is another task, and one more until one of them comes to
//! its end. The conclusion is repeated until the store has it: until then the answer is in a spill slot, or, when even
//! that fails, in this process, which a stop waits for.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::claims::Hold;
use super::news::News;
use super::refuge::{Exposure, Refuge};
use super::settings::Settings;
use super::{Keeper, events, premise, undurable};
use crate::clock::{Moment, Reading};
use crate::failpoint;
use crate::id::AttemptId;
use crate::oauth::refresh_form;
use crate::rotation::{Exchange, Reason, Verdict, judge};
use crate::store::{
    Attempted, Claim, Claimed, Concluded, Due, Effect, Journalled, SpilledAnswer, StoreError, ValidToken,
};
use crate::zalo::{Gate, JournalFailure, Presentation, Presented, Received};

/// The waits between repeats of a conclusion that the store does not take: from, to.
const REPEAT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// A store that has not taken an answer after this long may never: the answer goes to its slot meanwhile.
const SLOW_STORE: Duration = Duration::from_secs(2);

/// Refreshes one OA, in a task of its own: a panic in there costs no other OA anything, and no answer that came.
///
/// Returns whether anything was tried.
pub(super) async fn run_guarded(keeper: Arc<Keeper>, due: Due, claim: Option<Claim>) -> bool {
    let begun = Arc::new(OnceLock::new());
    match tokio::spawn(run(Arc::clone(&keeper), due, claim, Arc::clone(&begun))).await {
        Ok(has_tried) => {
            // With it goes what holds the OA, before the sweep looks for it again.
            drop(begun);
            if has_tried {
                keeper.wake.notify_one();
            }
            has_tried
        }
        // Without waking the sweep: what panicked once may panic again, and the tick comes soon enough.
        Err(_) => {
            if let Some(attempt) = begun.get() {
                finish_after_panic(attempt).await;
            }
            true
        }
    }
}

/// Finishes an attempt whose task panicked, in another task, and in one more where that panics too.
async fn finish_after_panic(attempt: &Arc<Attempt>) {
    loop {
        // First of all to where it outlives the process: what panicked once may do so before it comes to that.
        let is_safe = attempt.spill().await;
        if tokio::spawn(Arc::clone(attempt).finish()).await.is_ok() {
            return;
        }
        tokio::select! {
            () = sleep(REPEAT.1) => {}
            () = attempt.keeper.stop.cancelled(), if is_safe => return,
        }
    }
}

/// Refreshes one OA, if it is still due and nobody else does. Returns whether anything was tried. From the moment that
/// anything may be presented, `begun` has the attempt.
async fn run(
    keeper: Arc<Keeper>,
    due: Due,
    claim: Option<Claim>,
    begun: Arc<OnceLock<Arc<Attempt>>>,
) -> bool {
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
    let begun_at = Instant::now();
    let measurement = premise::begin(&keeper, &settings, &claim).await;
    let attempt = begun.get_or_init(|| {
        Arc::new(Attempt {
            started: keeper.clock.read(),
            exposure: Exposure::of(&keeper.exposed),
            keeper,
            settings,
            claim,
            id: AttemptId::random(),
            begun_at,
            gate: Gate::default(),
            received: Received::default(),
            presented: OnceLock::new(),
            refuge: Mutex::new(Refuge::new(slot)),
            concluded: OnceLock::new(),
            is_told: AtomicBool::new(false),
            _hold: hold,
        })
    });
    events::refresh_started(&attempt.claim.oa_id, attempt.id, attempt.claim.generation);
    attempt.keeper.told.begun(&attempt.claim.oa_id);
    attempt.present().await;
    let is_superseded = Arc::clone(attempt).finish().await;
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
                events::reauthorization_required(&oa_id, Reason::ResponseLost);
            }
        }
        Err(StoreError::Broken(what)) => keeper.pass_over(&oa_id, &what),
    }
    None
}

/// An attempt, and what it has come to.
struct Attempt {
    keeper: Arc<Keeper>,
    /// Those that it began with: a reload does not touch what is under way.
    settings: Arc<Settings>,
    claim: Claim,
    id: AttemptId,
    begun_at: Instant,
    started: Reading,
    /// From the opening of the gate until there is nothing to lose.
    exposure: Exposure,
    gate: Gate,
    received: Received,
    /// How the exchange ended.
    presented: OnceLock<Presented>,
    refuge: Mutex<Refuge>,
    /// What came of it, once that is durable.
    concluded: OnceLock<Concluded>,
    /// Telling it panics at most once.
    is_told: AtomicBool,
    _hold: Hold,
}

impl Attempt {
    /// Sends the request through the gate.
    async fn present(&self) {
        let presented = match self.settings.apps.get(&self.claim.app_id) {
            Some(endpoint) => {
                let presentation = Presentation {
                    token_url: endpoint.token_url.clone(),
                    secret_key: endpoint.secret_key.clone(),
                    form: refresh_form(&self.claim.app_id, &self.claim.refresh_token),
                    caps: self.settings.caps,
                };
                let Attempt { settings, gate, received, keeper, .. } = self;
                settings.door.present(presentation, gate, received, self.journal(), &keeper.stop).await
            }
            None => not_presented("the config does not have this app", false),
        };
        self.presented.get_or_init(|| presented);
    }

    /// Makes the attempt durable.
    async fn journal(&self) -> Result<(), JournalFailure> {
        let Attempt { keeper, claim, id, started, .. } = self;
        failpoint::pass("gate.asked");
        let most = keeper.timing().max_in_flight;
        match keeper.store.present(claim.clone(), *id, started.time, most, keeper.read_clock()).await {
            Ok(Journalled::Written) => {
                self.exposure.begin();
                failpoint::pass("gate.journalled");
                Ok(())
            }
            Ok(Journalled::Stale | Journalled::HeldBack) => Err(JournalFailure::Stale),
            Err(error) => Err(JournalFailure::Unavailable(error.to_string())),
        }
    }

    /// How the exchange ended. Where its task panicked, that is what the gate and what was received say.
    fn presented(&self) -> &Presented {
        self.presented.get_or_init(|| {
            let detail = "the attempt's own task panicked";
            let not_presented = not_presented(detail, true);
            if self.gate.bar() {
                return not_presented;
            }
            Presented { exchange: self.received.exchange(detail.to_owned()), ..not_presented }
        })
    }

    /// When a set that it brought counts as obtained.
    fn obtained(&self) -> Moment {
        Moment::at(self.presented().opened_at.as_ref().unwrap_or(&self.started))
    }

    /// Brings the answer, if there is one, into its slot, or tries to. Says whether nothing can be lost any more.
    async fn spill(&self) -> bool {
        let mut refuge = self.refuge.lock().await;
        self.shelter(&mut refuge);
        if timeout(SLOW_STORE, refuge.fill()).await.is_err() {
            tracing::debug!("a slot hangs");
        }
        refuge.is_safe()
    }

    fn shelter(&self, refuge: &mut Refuge) {
        match &self.presented().exchange {
            Exchange::Answered(answer) => {
                let (obtained, answer) = (self.obtained(), answer.clone());
                refuge.receive(SpilledAnswer { attempt: self.id, obtained, answer });
            }
            Exchange::NotPresented { .. } | Exchange::NoAnswer { .. } => self.exposure.end(),
        }
    }

    /// Concludes it and tells what came of it. May be begun again by another task. Says whether another access token has
    /// superseded the one that there was.
    async fn finish(self: Arc<Self>) -> bool {
        failpoint::pass("attempt.presented");
        let presented = self.presented();
        if presented.journal_failure == Some(JournalFailure::Stale)
            || presented.was_stopped && !presented.may_be_journalled
        {
            return false;
        }
        let attempted = Arc::new(self.judged(presented));
        failpoint::pass("attempt.judged");
        if self.concluded.get().is_none() {
            let Some(concluded) = self.conclude(&attempted).await else { return false };
            self.concluded.get_or_init(|| concluded);
        }
        failpoint::pass("attempt.concluded");
        if let Some(concluded) = self.concluded.get().filter(|_| !self.is_told.swap(true, Ordering::SeqCst)) {
            self.tell(&attempted, concluded);
        }
        match &attempted.verdict {
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

    fn judged(&self, presented: &Presented) -> Attempted {
        let verdict = judge(&presented.exchange);
        if presented.is_certificate_fault {
            events::certificate_refused(&self.claim.app_id, &verdict.detail());
        }
        let answer = match &presented.exchange {
            Exchange::Answered(answer) => Some(answer),
            Exchange::NotPresented { .. } | Exchange::NoAnswer { .. } => None,
        };
        Attempted {
            attempt: self.id,
            claim: Some(self.claim.clone()),
            started_at: self.started.time,
            obtained: self.obtained(),
            verdict,
            status: answer.map(|answer| answer.status),
            answer: answer.map(|answer| answer.body.clone()),
        }
    }

    /// Stores the verdict, however long that takes. `None`: the program is stopping and the answer, if there is
    /// one, is safe in its slot; the next start takes it in.
    async fn conclude(&self, attempted: &Arc<Attempted>) -> Option<Concluded> {
        let keeper = &self.keeper;
        let roll = keeper.roll();
        let (mut wait, mut has_complained) = (REPEAT.0, false);
        let mut refuge = self.refuge.lock().await;
        // What no answer came for has nothing to lose: a restart finds its row and calls it uncertain.
        self.shelter(&mut refuge);
        let mut undurable = None;
        loop {
            if refuge.is_safe() {
                self.exposure.end();
                keeper.store.note_spilled(&self.claim.oa_id);
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
                            keeper.store.note_spilled(&self.claim.oa_id);
                            undurable = None;
                        }
                    }
                }
            };
            let failure = match concluded {
                Ok(concluded) => {
                    failpoint::pass("attempt.stored");
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
            if refuge.is_safe() {
                self.exposure.end();
                undurable = None;
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
            duration: self.begun_at.elapsed(),
        };
        news.tell(concluded);
        self.keeper.told.concluded(&self.claim.oa_id, concluded, &attempted.verdict.detail());
        if matches!(concluded.effect, Effect::Uncertain { .. }) {
            self.keeper.begin_doubt(&self.claim.oa_id, self.id);
        }
    }
}

fn not_presented(detail: &str, may_be_journalled: bool) -> Presented {
    Presented {
        exchange: Exchange::NotPresented { detail: detail.to_owned(), retry_after: None },
        opened_at: None,
        journal_failure: None,
        may_be_journalled,
        was_stopped: false,
        is_certificate_fault: false,
    }
}
