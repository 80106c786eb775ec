//! Persons: who grant consent where it is asked for, decide where nothing can be proven, and sometimes import what they
//! should not.

use zalo_tokend::clock::Moment;
use zalo_tokend::id::{AttemptId, OaId};
use zalo_tokend::oauth::{Answer, GrantedTokens, read_token_answer};
use zalo_tokend::store::{Decision, Import, Imported, OaStatus, Resolved, State};

use crate::clocks::HOUR;
use crate::queue::Event;
use crate::world::World;
use crate::zalo::SetId;

impl World {
    /// Somebody looks at the fleet, and acts where it is asked for, or not yet.
    pub async fn round(&mut self) -> Result<(), String> {
        let next = self.between(HOUR, 9 * HOUR);
        self.queue.push(self.clocks.truth + next, Event::Round);
        self.look_at_all()?;
        let statuses = self.statuses()?;
        self.note_health();
        for status in statuses {
            let oa_id = &status.oa_id;
            if !self.fleet.oas.contains_key(oa_id) || !self.is_calm && self.dice.bool() {
                continue;
            }
            match status.state {
                State::AwaitingGrant | State::ReauthorizationRequired => self.grant_again(&status).await?,
                State::Uncertain if status.reason.is_some() => self.decide(oa_id).await?,
                State::Scheduled
                | State::Retrying
                | State::Presenting
                | State::Uncertain
                | State::Blocked
                | State::Unmanaged => {}
            }
        }
        // Those that the store has never seen.
        let unseen: Vec<OaId> =
            self.fleet.oas.keys().filter(|oa_id| self.truth.current(oa_id).is_none()).cloned().collect();
        for oa_id in unseen {
            self.grant(&oa_id)?;
        }
        Ok(())
    }

    /// Since when nothing is wrong that could keep an OA waiting.
    fn note_health(&mut self) {
        let is_well = self.process.as_ref().is_some_and(|process| !process.is_stopping)
            && self.weather.outages.is_empty()
            && self.weather.wrong_secrets.is_empty()
            && self.clocks.error == 0
            && !self.is_disk_harmed;
        self.well_since = match (is_well, self.well_since) {
            (false, _) => None,
            (true, None) => Some(self.clocks.truth),
            (true, since) => since,
        };
    }

    async fn grant_again(&mut self, status: &OaStatus) -> Result<(), String> {
        // The answer may have been kept, and a person may read it.
        if status.state == State::ReauthorizationRequired && self.dice.u32(..4) == 0 {
            self.decide(&status.oa_id).await?;
            return Ok(());
        }
        self.grant(&status.oa_id)
    }

    fn grant(&mut self, oa_id: &OaId) -> Result<(), String> {
        let Some(app_id) = self.fleet.oas.get(oa_id).map(|managed| managed.app_id.clone()) else {
            return Ok(());
        };
        let set = self.zalo.grant(oa_id, &app_id, self.clocks.truth);
        let imported = self.import(oa_id, set);
        match imported {
            Some(Imported::Adopted { .. }) | None => Ok(()),
            Some(
                refused @ (Imported::Unchanged { .. }
                | Imported::UsedBefore { .. }
                | Imported::OfAnotherOa(_)),
            ) => Err(format!("{oa_id}: a fresh set is not taken: {refused:?}")),
        }
    }

    /// `None`: the disk does not take it.
    fn import(&mut self, oa_id: &OaId, set: SetId) -> Option<Imported> {
        let now = self.clocks.read();
        let made = self.zalo.set(set);
        let body = format!(
            r#"{{"access_token":"{}","refresh_token":"{}","expires_in":"90000"}}"#,
            made.access, made.refresh
        );
        let app_id = made.app_id.clone();
        let Answer::Granted(tokens) = read_token_answer(body.as_bytes()) else { return None };
        let obtained = Moment::at(&now);
        let import = Import { oa_id: oa_id.clone(), app_id, name: None, tokens, obtained };
        let mut direct = self.direct()?;
        let imported = direct.import(&import, &self.fleet.timing.clone(), &now);
        self.note(|_| format!("{oa_id}: a person imports set {set}: {imported:?}"));
        match &imported {
            Ok(Imported::Adopted { .. }) => {
                self.truth.imported(oa_id, set);
                self.sweep_in(0);
            }
            Ok(Imported::Unchanged { .. } | Imported::UsedBefore { .. } | Imported::OfAnotherOa(_)) => {}
            Err(_) => self.truth.may_be_imported(oa_id, set),
        }
        imported.ok()
    }

    /// A fresh set though none is needed, or one that must not be taken.
    pub fn import_out_of_turn(&mut self, oa_id: &OaId) -> Result<(), String> {
        let presented = self.ledger.presentations.len();
        if presented == 0 || self.dice.bool() {
            return self.grant(oa_id);
        }
        let any = self.dice.usize(..presented);
        let set = self.ledger.presentations[any].set;
        let current = self.truth.current(oa_id).map(|set| self.zalo.newest_of(set));
        let is_current = current == Some(self.zalo.newest_of(set));
        match self.import(oa_id, set) {
            Some(Imported::Adopted { .. })
                if self.zalo.set(set).is_spent && !self.zalo.variant.may_mislead() =>
            {
                Err(format!("I3: {oa_id}: a set that was spent before is taken"))
            }
            Some(Imported::Unchanged { .. }) if !is_current => {
                Err(format!("{oa_id}: another set counts as the current one"))
            }
            // Of those that are taken the refresh token was presented, and is proven unspent.
            Some(
                Imported::Adopted { .. }
                | Imported::Unchanged { .. }
                | Imported::UsedBefore { .. }
                | Imported::OfAnotherOa(_),
            )
            | None => Ok(()),
        }
    }

    /// An operator decides about an attempt of which nobody knows.
    async fn decide(&mut self, oa_id: &OaId) -> Result<(), String> {
        let Some(store) = self.store() else { return Ok(()) };
        let Ok(Some(attempt)) = store.undecided(oa_id.clone()).await else { return Ok(()) };
        let decision = self.decision(oa_id, attempt);
        let (timing, now, roll) = (self.fleet.timing.clone(), self.clocks.read(), self.roll());
        let resolved = store.resolve(oa_id.clone(), attempt, decision.clone(), timing, now, roll).await;
        self.note(|_| format!("{oa_id}: an operator decides about {attempt}: {resolved:?}"));
        if let Decision::Present = decision
            && !matches!(resolved, Ok(Resolved::Gone))
        {
            self.ledger.decided(oa_id, self.clocks.truth);
        }
        if let Decision::Adopt(tokens) = decision {
            self.adopted_by_hand(oa_id, &tokens, resolved.ok().as_ref());
        }
        self.look_at(oa_id)?;
        self.sweep_in(0);
        Ok(())
    }

    fn decision(&mut self, oa_id: &OaId, attempt: AttemptId) -> Decision {
        let kept = self.direct().and_then(|direct| direct.kept_answer(oa_id, attempt).ok().flatten());
        match kept.map(|bytes| read_token_answer(&bytes)) {
            Some(Answer::Granted(tokens)) => Decision::Adopt(tokens),
            Some(Answer::Error(_) | Answer::Unreadable(_)) | None if self.dice.bool() => Decision::Present,
            Some(Answer::Error(_) | Answer::Unreadable(_)) | None => Decision::GiveUp,
        }
    }

    fn adopted_by_hand(&mut self, oa_id: &OaId, tokens: &GrantedTokens, resolved: Option<&Resolved>) {
        let set = tokens.access_token.as_ref().and_then(|access| self.zalo.of_access(access.expose()));
        let Some(set) = set else { return };
        match resolved {
            Some(Resolved::Adopted { .. }) => self.truth.imported(oa_id, set),
            Some(Resolved::Gone | Resolved::Retry { .. } | Resolved::GivenUp | Resolved::Old) => {}
            None => self.truth.may_be_imported(oa_id, set),
        }
    }
}
