//! One attempt, step by step: claim, gate, answer, conclusion, with the slot for an answer that the store refuses.

use std::sync::Arc;
use std::time::Duration;

use zalo_tokend::clock::{Moment, Reading};
use zalo_tokend::id::{AttemptId, OaId};
use zalo_tokend::oauth::GrantedTokens;
use zalo_tokend::rotation::{Exchange, Verdict, judge};
use zalo_tokend::store::{
    Attempted, Claim, Claimed, Due, Effect, Journalled, Slot, SpilledAnswer, StoreError,
};

use crate::clocks::{SECOND, millis};
use crate::ledger::{Delivered, Presentation};
use crate::queue::Step;
use crate::world::World;

/// The waits between repeats of a conclusion: from, to. The program repeats more often; that would be most of the year.
const REPEAT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(300));

pub struct Attempt {
    pub claim: Claim,
    pub begun: Reading,
    pub opened: Option<Reading>,
    slot: Option<Slot>,
    /// Alive before the refresh, if the premise is being measured.
    measuring: Option<bool>,
    concluding: Option<Concluding>,
    /// Nothing can be lost any more.
    pub is_safe: bool,
}

impl Attempt {
    pub fn is_concluding(&self) -> bool {
        self.concluding.is_some()
    }
}

struct Concluding {
    attempted: Arc<Attempted>,
    spilled: Option<Arc<SpilledAnswer>>,
    wait: Duration,
}

impl World {
    /// Begins an attempt, if the OA is as the sweep saw it.
    pub async fn begin(&mut self, due: Due, claim: Option<Claim>) -> Result<(), String> {
        let Due { oa_id, app_id, most_of_app, is_on_demand } = due;
        let Some(process) = &mut self.process else { return Ok(()) };
        let of_app = process.claims.values().flatten().filter(|app| **app == app_id).count();
        if process.claims.contains_key(&oa_id) || of_app >= most_of_app as usize {
            return Ok(());
        }
        let store = process.store.clone();
        let Some(slot) = store.take_slot() else { return Ok(()) };
        let now = self.clocks.read();
        let claim = match claim {
            Some(claim) => claim,
            // Of this one the sweep could not read all.
            None => match store.claim(oa_id.clone(), is_on_demand, now.clone()).await {
                Ok(Claimed::Due(claim)) => claim,
                Ok(Claimed::Unproven) => return Err(format!("I3: {oa_id} is to be tried without proof")),
                Ok(Claimed::NotNow) | Err(_) => return Ok(()),
            },
        };
        let id = AttemptId::from_bytes(self.dice.u128(..).to_le_bytes());
        let measuring = self.begin_to_measure(&claim).await;
        let Some(process) = &mut self.process else { return Ok(()) };
        process.claims.insert(oa_id.clone(), Some(app_id.clone()));
        let attempt = Attempt {
            claim,
            begun: now,
            opened: None,
            slot: Some(slot),
            measuring,
            concluding: None,
            is_safe: true,
        };
        process.attempts.insert(id, attempt);
        self.note(|_| format!("{oa_id}: {id} begins"));
        self.connect(id, &oa_id, &app_id);
        Ok(())
    }

    /// All but the last byte is sent: the attempt is journalled, and the byte released.
    pub async fn reach_gate(&mut self, id: AttemptId) -> Result<(), String> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let Some(attempt) = process.attempts.get_mut(&id) else { return Ok(()) };
        if process.is_stopping {
            // The gate is barred, and nothing was journalled.
            self.release(id);
            return Ok(());
        }
        let (store, claim, begun) = (process.store.clone(), attempt.claim.clone(), attempt.begun.time);
        let (most, now) = (self.fleet.timing.max_in_flight, self.clocks.read());
        match store.present(claim.clone(), id, begun, most, now.clone()).await {
            Ok(Journalled::Written) => {}
            Ok(Journalled::Stale | Journalled::HeldBack) => {
                self.note(|_| format!("{}: {id} is stale", claim.oa_id));
                self.release(id);
                self.sweep_in(SECOND);
                return Ok(());
            }
            Err(error) => {
                self.note(|_| format!("{}: {id} cannot be journalled: {error}", claim.oa_id));
                let detail = error.to_string();
                return self
                    .hear(id, Exchange::NotPresented { detail, retry_after: None }, Delivered::Nothing)
                    .await;
            }
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        let run = process.run;
        if let Some(attempt) = process.attempts.get_mut(&id) {
            attempt.opened = Some(now);
            attempt.is_safe = false;
        }
        let Some(set) = self.zalo.of_refresh(claim.refresh_token.expose()) else {
            return Err(format!("I4: {} presents a token that nobody made", claim.oa_id));
        };
        let presentation = Presentation {
            oa_id: claim.oa_id.clone(),
            attempt: id,
            set,
            at: self.clocks.truth,
            delivered: Delivered::Nothing,
            process: run,
        };
        self.truth.presents(&self.zalo, &claim.oa_id, set)?;
        self.ledger.presented(&self.zalo, presentation, self.rules())?;
        self.meet_its_fate(id, &claim);
        Ok(())
    }

    /// The exchange is over: this is what came of it.
    pub async fn hear(
        &mut self,
        id: AttemptId,
        exchange: Exchange,
        delivered: Delivered,
    ) -> Result<(), String> {
        let Some(attempt) = self.attempt(id) else { return Ok(()) };
        let verdict = judge(&exchange);
        let obtained = Moment::at(attempt.opened.as_ref().unwrap_or(&attempt.begun));
        let answer = match exchange {
            Exchange::Answered(answer) => Some(answer),
            Exchange::NotPresented { .. } | Exchange::NoAnswer { .. } => None,
        };
        let attempted = Attempted {
            attempt: id,
            claim: Some(attempt.claim.clone()),
            started_at: attempt.begun.time,
            obtained: obtained.clone(),
            verdict,
            status: answer.as_ref().map(|answer| answer.status),
            answer: answer.as_ref().map(|answer| answer.body.clone()),
        };
        attempt.is_safe = answer.is_none();
        let spilled = answer.map(|answer| Arc::new(SpilledAnswer { attempt: id, obtained, answer }));
        attempt.concluding = Some(Concluding { attempted: Arc::new(attempted), spilled, wait: REPEAT.0 });
        let oa_id = attempt.claim.oa_id.clone();
        self.ledger.delivered(id, delivered);
        self.ledger.ended(&oa_id);
        self.truth.reached(&oa_id, id, delivered);
        self.conclude(id).await
    }

    /// Asks the store to take it; where it does not, the slot, and then the store again.
    pub async fn conclude(&mut self, id: AttemptId) -> Result<(), String> {
        let roll = self.roll();
        let (timing, now) = (self.fleet.timing.clone(), self.clocks.read());
        let Some(store) = self.store() else { return Ok(()) };
        let Some(attempt) = self.attempt(id) else { return Ok(()) };
        let oa_id = attempt.claim.oa_id.clone();
        let Some(Concluding { attempted, spilled, wait }) = attempt.concluding.as_mut() else {
            return Ok(());
        };
        let (attempted, spilled) = (Arc::clone(attempted), spilled.clone());
        match store.conclude(Arc::clone(&attempted), timing, now, roll).await {
            Ok(concluded) => self.is_concluded(id, &attempted, &concluded.effect).await,
            Err(StoreError::Broken(what)) => {
                Err(format!("{oa_id}: a conclusion is refused for good: {what}"))
            }
            Err(error @ (StoreError::Unavailable(_) | StoreError::Closed)) => {
                let again = *wait;
                *wait = (*wait * 3).min(REPEAT.1);
                let slot = attempt.slot.take();
                self.note(|_| format!("{oa_id}: {id} cannot be concluded: {error}"));
                self.truth.may_be_durable(id);
                self.spill(id, slot, spilled).await;
                self.later(millis(again), Step::Conclude(id));
                self.end_if_stopping();
                Ok(())
            }
        }
    }

    async fn spill(&mut self, id: AttemptId, slot: Option<Slot>, spilled: Option<Arc<SpilledAnswer>>) {
        let mut kept = slot;
        if let (Some(slot), Some(spilled)) = (kept.take(), spilled) {
            if self.attempt(id).is_some_and(|attempt| attempt.is_safe) {
                kept = Some(slot);
            } else {
                let (slot, filled) = slot.filling(spilled).await.expect("no panic");
                kept = Some(slot);
                self.note(|_| format!("{id} goes into its slot: {filled:?}"));
                if filled.is_ok() {
                    self.truth.spilled(id);
                } else {
                    self.truth.may_be_durable(id);
                }
                if let Some(attempt) = self.attempt(id) {
                    attempt.is_safe = filled.is_ok();
                }
            }
        }
        if let Some(attempt) = self.attempt(id) {
            attempt.slot = kept;
        }
    }

    async fn is_concluded(
        &mut self,
        id: AttemptId,
        attempted: &Attempted,
        effect: &Effect,
    ) -> Result<(), String> {
        let Some(attempt) = self.attempt(id) else { return Ok(()) };
        let (claim, measuring) = (attempt.claim.clone(), attempt.measuring);
        let oa_id = claim.oa_id.clone();
        if let Some(slot) = attempt.slot.take()
            && let Err(error) = slot.clear().await
        {
            self.note(|_| format!("a slot cannot be emptied: {error}"));
        }
        self.note(|_| format!("{oa_id}: {id} is {}, {effect:?}", attempted.verdict.class()));
        self.release(id);
        self.concluded(id, &oa_id, effect)?;
        if matches!(effect, Effect::Adopted { .. }) {
            self.rotations += 1;
        }
        if let Effect::Uncertain { .. } = effect {
            let settle = self.settle();
            self.ask_later(&oa_id, id, settle, Default::default());
        }
        if let (Some(was_alive), true) = (measuring, is_superseded(&attempted.verdict, &claim)) {
            self.measure_later(claim, was_alive, attempted.obtained.clone());
        }
        self.look_at(&oa_id)?;
        self.sweep_in(0);
        self.end_if_stopping();
        Ok(())
    }

    /// What a conclusion, of this run or of a recovery, made durable.
    pub fn concluded(&mut self, id: AttemptId, oa_id: &OaId, effect: &Effect) -> Result<(), String> {
        let presented =
            self.ledger.of_attempt(id).map(|presentation| (presentation.set, presentation.delivered));
        if let (Effect::Adopted { .. }, Some((set, _))) = (effect, presented) {
            self.truth.may_succeed(&self.zalo, oa_id, set)?;
        }
        let delivered = presented.map_or(Delivered::Nothing, |(_, delivered)| delivered);
        self.truth.concluded(id, oa_id, delivered, effect);
        self.tell(oa_id, effect)
    }

    fn attempt(&mut self, id: AttemptId) -> Option<&mut Attempt> {
        self.process.as_mut()?.attempts.get_mut(&id)
    }

    /// The attempt is over, whatever became of it.
    pub fn release(&mut self, id: AttemptId) {
        let Some(process) = &mut self.process else { return };
        if let Some(attempt) = process.attempts.remove(&id) {
            process.claims.remove(&attempt.claim.oa_id);
            if attempt.measuring.is_some() {
                process.measuring.remove(&attempt.claim.app_id);
            }
        }
    }
}

fn is_superseded(verdict: &Verdict, claim: &Claim) -> bool {
    match verdict {
        Verdict::Granted(GrantedTokens { access_token, .. }) => {
            access_token.is_some() && *access_token != claim.access_token
        }
        Verdict::NotPresented { .. }
        | Verdict::Throttled { .. }
        | Verdict::Dead(_)
        | Verdict::AppRefused(_)
        | Verdict::Unknown { .. } => false,
    }
}
