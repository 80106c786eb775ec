//! The questions with the old access token: about an attempt of unknown outcome, and about the premise itself.

use std::collections::BTreeSet;
use std::time::Duration;

use zalo_tokend::clock::{Moment, Uptime};
use zalo_tokend::id::{AppId, AttemptId, OaId};
use zalo_tokend::oauth::ErrorCode;
use zalo_tokend::rotation::{Proof, Settling, Step as Verdict, Testimony, Unprovable, measure, weigh};
use zalo_tokend::store::{Claim, Doubt, Settled, Store};

use crate::clocks::{DAY, millis};
use crate::queue::Step;
use crate::world::World;

#[derive(Clone, Copy)]
pub struct Asking {
    /// `None`: seen for the first time in this run.
    attempt: Option<AttemptId>,
    ask_at: Uptime,
    settling: Settling,
}

impl World {
    pub fn ask_later(&mut self, oa_id: &OaId, attempt: AttemptId, after: u64, settling: Settling) {
        let ask_at = self.clocks.read().uptime.plus(Duration::from_millis(after));
        if let Some(process) = &mut self.process {
            process.doubts.insert(oa_id.clone(), Asking { attempt: Some(attempt), ask_at, settling });
        }
        self.sweep_in(after);
    }

    pub fn due_doubts(&mut self, uncertain: &[OaId]) -> Vec<OaId> {
        let now = self.clocks.read().uptime;
        let first_at = now.plus(self.fleet.timing.settle);
        let Some(process) = &mut self.process else { return Vec::new() };
        let known: BTreeSet<&OaId> = uncertain.iter().collect();
        process.doubts.retain(|oa_id, _| known.contains(oa_id));
        for oa_id in uncertain {
            let first_seen = Asking { attempt: None, ask_at: first_at, settling: Settling::default() };
            process.doubts.entry(oa_id.clone()).or_insert(first_seen);
        }
        let is_due =
            |oa_id: &&OaId| process.doubts[*oa_id].ask_at <= now && !process.claims.contains_key(*oa_id);
        uncertain.iter().filter(is_due).cloned().collect()
    }

    pub fn next_question(&self) -> Option<u64> {
        let now = self.clocks.read().uptime;
        let process = self.process.as_ref()?;
        process.doubts.values().map(|asking| millis(asking.ask_at.since(now))).filter(|wait| *wait > 0).min()
    }

    /// Zalo is asked about one OA, and what it says is weighed.
    pub async fn ask(&mut self, oa_id: &OaId) -> Result<(), String> {
        let Some(store) = self.store() else { return Ok(()) };
        let Ok(Some(doubt)) = store.doubt(oa_id.clone()).await else { return Ok(()) };
        let asking = self.process.as_ref().and_then(|process| process.doubts.get(oa_id).copied());
        let settling = match asking {
            Some(Asking { attempt: Some(attempt), settling, .. }) if attempt == doubt.attempt => settling,
            Some(Asking { attempt: None, settling, .. }) => settling,
            Some(_) | None => {
                let settle = self.settle();
                self.ask_later(oa_id, doubt.attempt, settle, Settling::default());
                return Ok(());
            }
        };
        let testimony = doubt.access_token.as_ref().map(|token| token.expose().to_owned());
        let step = match testimony.map(|access| self.question(&access)) {
            Some(testimony) => {
                self.note(|_| format!("{oa_id}: asked about {}: {testimony:?}", doubt.attempt));
                weigh(&doubt.evidence(testimony, settling, &self.clocks.read()), &self.fleet.timing)
            }
            None => Verdict::Unprovable,
        };
        self.settle_doubt(&store, &doubt, step).await
    }

    /// What Zalo says of an access token, if an answer comes.
    fn question(&mut self, access: &str) -> Testimony {
        if self.weather.questions_fail || self.happens(12) {
            return Testimony::Unclear("no answer".to_owned());
        }
        let Some(set) = self.zalo.of_access(access) else { return Testimony::Refused(ErrorCode(-216)) };
        if !self.zalo.accepts(set, self.clocks.truth) {
            return Testimony::Refused(ErrorCode(-216));
        }
        if let Some(process) = &self.process {
            self.ledger.accepted(set, self.clocks.truth, process.run);
        }
        Testimony::Accepted
    }

    async fn settle_doubt(&mut self, store: &Store, doubt: &Doubt, step: Verdict) -> Result<(), String> {
        let Doubt { attempt, oa_id, .. } = doubt;
        let roll = self.roll();
        let (timing, now) = (self.fleet.timing.clone(), self.clocks.read());
        let settled = match step {
            Verdict::AskAgain { after, settling } => {
                self.ask_later(oa_id, *attempt, millis(after), settling);
                return Ok(());
            }
            Verdict::Unspent => {
                store.prove_unspent(*attempt, Proof::OldTokenAccepted, timing, now, roll).await
            }
            Verdict::Spent => store.prove_spent(*attempt, timing, now).await,
            Verdict::Unprovable => {
                let present_once = timing.unprovable == Unprovable::Present;
                store.hold(*attempt, present_once, timing, now, roll).await
            }
        };
        match settled {
            Ok(settled) => {
                self.note(|_| format!("{oa_id}: {attempt} is settled, {settled:?}"));
                if let Settled::Reauthorize { reason } = settled {
                    self.person_is_called(oa_id, reason)?;
                }
                self.look_at(oa_id)?;
                self.sweep_in(0);
            }
            Err(error) => {
                self.note(|_| format!("{oa_id}: what was learnt cannot be stored: {error}"));
                let settle = self.settle();
                self.ask_later(oa_id, *attempt, settle, Settling::default());
            }
        }
        Ok(())
    }

    /// The token that will be superseded is asked about, with an app's first success and once a day.
    pub async fn begin_to_measure(&mut self, claim: &Claim) -> Option<bool> {
        let store = self.store()?;
        let access = claim.access_token.as_ref()?.expose().to_owned();
        if !self.process.as_mut()?.measuring.insert(claim.app_id.clone()) {
            return None;
        }
        let measured = store.premise(claim.app_id.clone()).await;
        let now = self.clocks.read().time;
        let is_fresh = |at| at <= now && millis(now.since(at)) < DAY;
        if measured.is_err() || measured.is_ok_and(|(_, at)| at.is_some_and(is_fresh)) {
            self.stop_measuring(&claim.app_id);
            return None;
        }
        Some(self.question(&access) == Testimony::Accepted)
    }

    pub fn measure_later(&mut self, claim: Claim, was_alive: bool, obtained: Moment) {
        if let Some(process) = &mut self.process {
            process.measuring.insert(claim.app_id.clone());
        }
        let settle = self.settle();
        self.later(settle, Step::Measure(Box::new(claim), was_alive, obtained));
    }

    pub fn stop_measuring(&mut self, app_id: &AppId) {
        if let Some(process) = &mut self.process {
            process.measuring.remove(app_id);
        }
    }

    /// … and once more, `settle` after its successor came.
    pub async fn measure(&mut self, claim: &Claim, was_alive: bool, obtained: &Moment) {
        self.stop_measuring(&claim.app_id);
        let (Some(store), Some(access)) = (self.store(), &claim.access_token) else { return };
        let now = self.clocks.read();
        let was_to_live = was_alive && claim.access_token_expires_at.is_some_and(|end| end > now.time);
        let (since, settle) = (obtained.uptime_since(&now), self.fleet.timing.settle);
        let testimony = self.question(access.expose());
        let Some(measured) = measure(&testimony, was_to_live, since, settle) else { return };
        let stored = store.record_premise(claim.app_id.clone(), measured, now.time).await;
        self.note(|_| format!("{}: {measured:?}, by {} ({stored:?})", claim.app_id, claim.oa_id));
    }
}
