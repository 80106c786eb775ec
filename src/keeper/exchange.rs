//! One exchange with a token endpoint, from the gate to what came of it: of a refresh token, or of a person's code.
//!
//! Nothing between the gate and the verdict can be cancelled, also not by a panic. The work is done in a task of its own,
//! and what it has come to stands in an [`Exchange`] that outlives that task: the gate, what came of the answer, the slot.
//! Whoever finishes it goes by these. After a panic that is another task, and one more until one of them comes to
//! its end. The conclusion is repeated until the store has it: until then the answer is in a spill slot, or, when even
//! that fails, in this process, which a stop waits for. What is presented, and what the store makes of the answer, is for a
//! [`Matter`] to say.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::claims::Hold;
use super::refuge::{Exposure, Refuge};
use super::settings::Settings;
use super::{Keeper, events, undurable};
use crate::clock::{Moment, Reading, Time};
use crate::failpoint;
use crate::id::{AppId, AttemptId, OaId};
use crate::rotation::{self, Roll, Verdict, judge};
use crate::secret::Secret;
use crate::store::{Slot, SpilledAnswer, StoreError, ValidToken};
use crate::zalo::{Gate, JournalFailure, Presentation, Presented, Received};

/// The waits between repeats of a conclusion that the store does not take: from, to.
const REPEAT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// A store that has not taken an answer after this long may never: the answer goes to its slot meanwhile.
const SLOW_STORE: Duration = Duration::from_secs(2);

/// What is presented, and what is made of the answer.
pub(super) trait Matter: Send + Sync + Sized + 'static {
    /// What the store is told when it ends.
    type Ended: Send + Sync;
    /// What the store makes of that.
    type Concluded: Send + Sync;

    /// The OA that it is about.
    fn oa_id(&self) -> &OaId;

    /// The app whose token endpoint is asked.
    fn app_id(&self) -> &AppId;

    /// The form, with what can be used only once in its last field.
    fn form(&self) -> Secret;

    /// Makes it durable that this is about to be presented.
    fn journal(
        &self,
        keeper: &Keeper,
        attempt: AttemptId,
        started: &Reading,
    ) -> impl Future<Output = Result<(), JournalFailure>> + Send;

    /// What the store is told.
    fn ended(&self, end: End) -> Self::Ended;

    /// Has the store take it. May be repeated.
    fn conclude(
        keeper: &Keeper,
        ended: &Arc<Self::Ended>,
        roll: Roll,
    ) -> impl Future<Output = Result<Self::Concluded, StoreError>> + Send;

    /// What the daemon itself hands out of it, as long as neither the store nor a slot takes it.
    fn meanwhile(&self, ended: &Self::Ended) -> Option<ValidToken>;

    /// Says what became of it, once that is durable.
    fn tell(exchange: &Exchange<Self>, ended: &Self::Ended, concluded: &Self::Concluded);
}

/// What is known of an exchange when it ends.
pub(super) struct End {
    pub(super) attempt: AttemptId,
    pub(super) started_at: Time,
    /// When a set that it brought counts as obtained: the moment the gate opened, by both clocks.
    pub(super) obtained: Moment,
    pub(super) verdict: Verdict,
    pub(super) status: Option<u16>,
    pub(super) answer: Option<Vec<u8>>,
}

/// Where an exchange stands from the moment that anything may be presented.
pub(super) type Begun<M> = Arc<OnceLock<Arc<Exchange<M>>>>;

/// Runs `work`, which begins an exchange and finishes it, in a task of its own: a panic in there costs nobody else anything,
/// and no answer that came. `None`: it panicked, and what it had begun is finished.
pub(super) async fn guarded<M: Matter, T: Send + 'static>(
    begun: Begun<M>,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    match tokio::spawn(work).await {
        Ok(done) => Some(done),
        Err(_) => {
            if let Some(exchange) = begun.get() {
                finish_after_panic(exchange).await;
            }
            None
        }
    }
}

/// Finishes an exchange whose task panicked, in another task, and in one more where that panics too.
async fn finish_after_panic<M: Matter>(exchange: &Arc<Exchange<M>>) {
    loop {
        // First of all to where it outlives the process: what panicked once may do so before it comes to that.
        let is_safe = exchange.spill().await;
        if tokio::spawn(Arc::clone(exchange).finish()).await.is_ok() {
            return;
        }
        tokio::select! {
            () = sleep(REPEAT.1) => {}
            () = exchange.keeper.stop.cancelled(), if is_safe => return,
        }
    }
}

/// An exchange, and what it has come to.
pub(super) struct Exchange<M: Matter> {
    pub(super) keeper: Arc<Keeper>,
    /// Those that it began with: a reload does not touch what is under way.
    pub(super) settings: Arc<Settings>,
    pub(super) matter: M,
    pub(super) id: AttemptId,
    pub(super) begun_at: Instant,
    pub(super) started: Reading,
    /// From the opening of the gate until there is nothing to lose.
    exposure: Exposure,
    gate: Gate,
    received: Received,
    /// How the exchange ended.
    presented: OnceLock<Presented>,
    refuge: Mutex<Refuge>,
    /// What came of it, once that is durable.
    concluded: OnceLock<M::Concluded>,
    /// Telling it panics at most once.
    is_told: AtomicBool,
    _hold: Hold,
}

impl<M: Matter> Exchange<M> {
    pub(super) fn new(
        keeper: Arc<Keeper>,
        settings: Arc<Settings>,
        matter: M,
        slot: Slot,
        hold: Hold,
    ) -> Exchange<M> {
        Exchange {
            started: keeper.clock.read(),
            exposure: Exposure::of(&keeper.exposed),
            keeper,
            settings,
            matter,
            id: AttemptId::random(),
            begun_at: Instant::now(),
            gate: Gate::default(),
            received: Received::default(),
            presented: OnceLock::new(),
            refuge: Mutex::new(Refuge::new(slot)),
            concluded: OnceLock::new(),
            is_told: AtomicBool::new(false),
            _hold: hold,
        }
    }

    /// What came of it, once that is durable.
    pub(super) fn concluded(&self) -> Option<&M::Concluded> {
        self.concluded.get()
    }

    /// Sends the request through the gate.
    pub(super) async fn present(&self) {
        let presented = match self.settings.apps.get(self.matter.app_id()) {
            Some(endpoint) => {
                let presentation = Presentation {
                    token_url: endpoint.token_url.clone(),
                    secret_key: endpoint.secret_key.clone(),
                    form: self.matter.form(),
                    caps: self.settings.caps,
                };
                let Exchange { settings, gate, received, keeper, .. } = self;
                settings.door.present(presentation, gate, received, self.journal(), &keeper.stop).await
            }
            None => not_presented("the config does not have this app", false),
        };
        self.presented.get_or_init(|| presented);
    }

    /// Makes it durable.
    async fn journal(&self) -> Result<(), JournalFailure> {
        failpoint::pass("gate.asked");
        self.matter.journal(&self.keeper, self.id, &self.started).await?;
        self.exposure.begin();
        failpoint::pass("gate.journalled");
        Ok(())
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
    pub(super) fn obtained(&self) -> Moment {
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
            rotation::Exchange::Answered(answer) => {
                let (obtained, answer) = (self.obtained(), answer.clone());
                refuge.receive(SpilledAnswer { attempt: self.id, obtained, answer });
            }
            rotation::Exchange::NotPresented { .. } | rotation::Exchange::NoAnswer { .. } => {
                self.exposure.end()
            }
        }
    }

    /// Concludes it and tells what came of it. May be begun again by another task. `None`: nothing was presented and there is
    /// nothing to conclude, or the program is stopping.
    pub(super) async fn finish(self: Arc<Self>) -> Option<Arc<M::Ended>> {
        failpoint::pass("attempt.presented");
        let presented = self.presented();
        if presented.journal_failure == Some(JournalFailure::Stale)
            || presented.was_stopped && !presented.may_be_journalled
        {
            return None;
        }
        let ended = Arc::new(self.matter.ended(self.end(presented)));
        failpoint::pass("attempt.judged");
        if self.concluded.get().is_none() {
            let concluded = self.conclude(&ended).await?;
            self.concluded.get_or_init(|| concluded);
        }
        failpoint::pass("attempt.concluded");
        if let Some(concluded) = self.concluded.get().filter(|_| !self.is_told.swap(true, Ordering::SeqCst)) {
            M::tell(&self, &ended, concluded);
        }
        Some(ended)
    }

    fn end(&self, presented: &Presented) -> End {
        let verdict = judge(&presented.exchange);
        if presented.is_certificate_fault {
            events::certificate_refused(self.matter.app_id(), &verdict.detail());
        }
        let answer = match &presented.exchange {
            rotation::Exchange::Answered(answer) => Some(answer),
            rotation::Exchange::NotPresented { .. } | rotation::Exchange::NoAnswer { .. } => None,
        };
        End {
            attempt: self.id,
            started_at: self.started.time,
            obtained: self.obtained(),
            verdict,
            status: answer.map(|answer| answer.status),
            answer: answer.map(|answer| answer.body.clone()),
        }
    }

    /// Stores the verdict, however long that takes. `None`: the program is stopping and the answer, if there is
    /// one, is safe in its slot; the next start takes it in.
    async fn conclude(&self, ended: &Arc<M::Ended>) -> Option<M::Concluded> {
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
                keeper.store.note_spilled(self.matter.oa_id());
                undurable = None;
            }
            let mut concluding = pin!(M::conclude(keeper, ended, roll));
            let mut is_slow = false;
            let concluded = loop {
                tokio::select! {
                    concluded = &mut concluding => break concluded,
                    () = sleep(SLOW_STORE), if !is_slow && !refuge.is_safe() => {
                        is_slow = true;
                        undurable = undurable.or_else(|| self.hand_out_from_memory(ended));
                    }
                    () = refuge.fill(), if is_slow && !refuge.is_safe() => {
                        // A slot that did not take it is tried again after a while.
                        is_slow = false;
                        if refuge.is_safe() {
                            self.exposure.end();
                            keeper.store.note_spilled(self.matter.oa_id());
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
                undurable = undurable.or_else(|| self.hand_out_from_memory(ended));
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
                events::oa_unreadable(self.matter.oa_id(), what);
                has_complained = true;
            }
            tokio::select! {
                () = sleep(wait) => wait = (wait * 2).min(REPEAT.1),
                () = keeper.stop.cancelled(), if refuge.is_safe() => return None,
            }
        }
    }

    /// Neither the store nor the slot took it: as long as that lasts, the daemon itself hands the new access token out.
    fn hand_out_from_memory(&self, ended: &M::Ended) -> Option<undurable::Held> {
        let valid = self.matter.meanwhile(ended)?;
        Some(self.keeper.undurable.hold(self.matter.oa_id(), valid))
    }
}

fn not_presented(detail: &str, may_be_journalled: bool) -> Presented {
    Presented {
        exchange: rotation::Exchange::NotPresented { detail: detail.to_owned(), retry_after: None },
        opened_at: None,
        journal_failure: None,
        may_be_journalled,
        was_stopped: false,
        is_certificate_fault: false,
    }
}
