//! What the store must have, as the world knows it: I4, I5, I8, I9 and I10.

use std::collections::{BTreeMap, BTreeSet};

use zalo_tokend::id::{AttemptId, OaId};
use zalo_tokend::rotation::Reason;
use zalo_tokend::store::{Direct, Effect, OaStatus, State, TokenAnswer};

use crate::clocks::{HOUR, MINUTE};
use crate::ledger::Delivered;
use crate::world::World;
use crate::zalo::{SetId, Zalo};

/// The set that an OA has durably.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its access token is this set's, if it has one.
    access: Option<SetId>,
    /// Its refresh token is this set's.
    refresh: SetId,
}

#[derive(Default)]
pub struct Truth {
    current: BTreeMap<OaId, Known>,
    /// What a disk may have taken although it said that it did not.
    maybe: BTreeMap<OaId, Vec<Known>>,
    /// What the program has in its memory.
    in_memory: BTreeMap<AttemptId, (OaId, Known)>,
    /// What is durable in a slot.
    in_slots: BTreeMap<AttemptId, OaId>,
    /// The newest generation that was handed out.
    generations: BTreeMap<OaId, u64>,
    /// Zalo called a token dead that was not.
    excused: BTreeSet<OaId>,
    states: BTreeMap<OaId, State>,
}

impl Truth {
    /// What the OA's state was when it was last looked at.
    pub fn state(&self, oa_id: &OaId) -> &'static str {
        self.states.get(oa_id).map_or("awaiting_grant", |state| state.word())
    }

    fn known_of(&self, oa_id: &OaId, delivered: Delivered) -> Option<Known> {
        match delivered {
            Delivered::Set(set) => Some(Known { access: Some(set), refresh: set }),
            // Nothing deletes a token: the old one stays beside the new access token.
            Delivered::Access(set) => {
                self.current.get(oa_id).map(|known| Known { access: Some(set), refresh: known.refresh })
            }
            Delivered::Refresh(set) => Some(Known { access: None, refresh: set }),
            Delivered::Nothing | Delivered::Unspent | Delivered::Other => None,
        }
    }

    /// The program has read this.
    pub fn reached(&mut self, oa_id: &OaId, id: AttemptId, delivered: Delivered) {
        if let Some(known) = self.known_of(oa_id, delivered) {
            self.in_memory.insert(id, (oa_id.clone(), known));
        }
    }

    /// A disk refused it; who knows.
    pub fn may_be_durable(&mut self, id: AttemptId) {
        if let Some((oa_id, known)) = self.in_memory.get(&id) {
            self.maybe.entry(oa_id.clone()).or_default().push(*known);
        }
    }

    pub fn spilled(&mut self, id: AttemptId) {
        if let Some((oa_id, known)) = self.in_memory.get(&id) {
            self.in_slots.insert(id, oa_id.clone());
            // A slot is as good as the store.
            self.maybe.entry(oa_id.clone()).or_default().push(*known);
        }
    }

    /// The program is gone, and what it had only in its memory.
    pub fn died(&mut self) {
        self.in_memory.clear();
    }

    pub fn concluded(&mut self, id: AttemptId, oa_id: &OaId, delivered: Delivered, effect: &Effect) {
        self.in_slots.remove(&id);
        self.in_memory.remove(&id);
        if let (Effect::Adopted { .. }, Some(known)) = (effect, self.known_of(oa_id, delivered)) {
            self.adopted(oa_id, known);
        }
    }

    fn adopted(&mut self, oa_id: &OaId, known: Known) {
        self.current.insert(oa_id.clone(), known);
        self.maybe.remove(oa_id);
        self.excused.remove(oa_id);
    }

    pub fn imported(&mut self, oa_id: &OaId, set: SetId) {
        self.adopted(oa_id, Known { access: Some(set), refresh: set });
        self.in_slots.retain(|_, of| of != oa_id);
    }

    pub fn may_be_imported(&mut self, oa_id: &OaId, set: SetId) {
        self.maybe.entry(oa_id.clone()).or_default().push(Known { access: Some(set), refresh: set });
    }

    pub fn excuse(&mut self, oa_id: &OaId) {
        self.excused.insert(oa_id.clone());
    }

    pub fn current(&self, oa_id: &OaId) -> Option<SetId> {
        self.current.get(oa_id).map(|known| known.refresh)
    }

    fn candidates(&self, oa_id: &OaId) -> impl Iterator<Item = Known> {
        self.current
            .get(oa_id)
            .copied()
            .into_iter()
            .chain(self.maybe.get(oa_id).into_iter().flatten().copied())
    }

    /// A set is adopted over the one that it was made from, and over no other that a person brought meanwhile.
    pub fn may_succeed(&self, zalo: &Zalo, oa_id: &OaId, set: SetId) -> Result<(), String> {
        let newest = zalo.newest_of(set);
        if self.candidates(oa_id).any(|known| zalo.newest_of(known.refresh) == newest) {
            return Ok(());
        }
        Err(format!("I4: {oa_id} adopts the successor of set {set} over {:?}", self.current.get(oa_id)))
    }

    /// What is presented is the newest token that the program can have. If it is one that may have been stored, it was.
    pub fn presents(&mut self, zalo: &Zalo, oa_id: &OaId, set: SetId) -> Result<(), String> {
        let Some(known) = self.candidates(oa_id).find(|known| zalo.newest_of(known.refresh) == set) else {
            return Err(format!(
                "I4: {oa_id} presents the token of set {set}, and has {:?}",
                self.current.get(oa_id)
            ));
        };
        if self.current(oa_id) != Some(known.refresh) {
            self.adopted(oa_id, known);
        }
        Ok(())
    }

    /// What the store hands out is what was made durable last, or may have been.
    fn hands_out(&mut self, oa_id: &OaId, set: SetId, generation: u64) -> Result<(), String> {
        let newest = self.generations.entry(oa_id.clone()).or_default();
        if generation < *newest {
            return Err(format!("I4: {oa_id} has generation {generation}, after {newest}"));
        }
        *newest = generation;
        let Some(known) = self.candidates(oa_id).find(|known| known.access == Some(set)) else {
            return Err(format!("I5: {oa_id} hands out set {set}, and has {:?}", self.current.get(oa_id)));
        };
        let is_in_slot = self.in_slots.values().any(|of| of == oa_id);
        if !is_in_slot && self.current.get(oa_id).is_none_or(|current| current.access != Some(set)) {
            self.adopted(oa_id, known);
        }
        Ok(())
    }
}

impl World {
    /// Looks at what the store hands out for this OA.
    pub fn look_at(&mut self, oa_id: &OaId) -> Result<(), String> {
        self.with_reader(|world, reader| world.look_with(reader, oa_id))
    }

    pub fn look_at_all(&mut self) -> Result<(), String> {
        let oas: Vec<OaId> = self.fleet.oas.keys().cloned().collect();
        oas.iter().try_for_each(|oa_id| self.look_at(oa_id))
    }

    /// A consumer reads, if the disk lets it.
    fn with_reader(
        &mut self,
        look: impl FnOnce(&mut World, &Direct) -> Result<(), String>,
    ) -> Result<(), String> {
        let Some(reader) = self.reader.take().or_else(|| self.direct()) else { return Ok(()) };
        let looked = look(self, &reader);
        self.reader = Some(reader);
        looked
    }

    fn look_with(&mut self, reader: &Direct, oa_id: &OaId) -> Result<(), String> {
        let now = self.clocks.read();
        let Ok(answer) = reader.token(&self.fleet.oas, oa_id, &now) else { return Ok(()) };
        match answer {
            TokenAnswer::Valid(valid) => {
                let Some(set) = self.zalo.of_access(valid.access_token.expose()) else {
                    return Err(format!("I5: {oa_id} hands out a token that nobody made"));
                };
                self.truth.hands_out(oa_id, set, valid.generation)
            }
            TokenAnswer::NoneValid(state) => match self.must_be_valid(oa_id) {
                Some(set) => {
                    Err(format!("I10: {oa_id} is {state:?} and hands out nothing, while set {set} is alive"))
                }
                None => Ok(()),
            },
            TokenAnswer::NoSuchOa => match self.truth.current(oa_id) {
                Some(set) => Err(format!("I4: {oa_id} is unknown, although it had set {set}")),
                None => Ok(()),
            },
        }
    }

    /// The set whose access token has to be handed out now, whatever the OA's state: it is durable, alive, and the wall
    /// clock was never wrong since it was made.
    fn must_be_valid(&self, oa_id: &OaId) -> Option<SetId> {
        let set = self.truth.current.get(oa_id)?.access?;
        let is_alive = self.zalo.accepts(set, self.clocks.truth + MINUTE)
            && !self.zalo.has_outlived_itself(set, self.clocks.truth + MINUTE);
        let right_since = self.clocks.right_since?;
        (is_alive && right_since <= self.zalo.set(set).made_at && !self.truth.maybe.contains_key(oa_id))
            .then_some(set)
    }

    /// I1, as far as it can be seen afterwards: of whatever was presented the next run finds a row.
    pub fn journal_knows_every_presentation(&mut self) -> Result<(), String> {
        if let Some((id, oa_id)) = self.truth.in_slots.iter().next() {
            return Err(format!("I4: the answer of {oa_id} to {id} was in a slot, and was not taken in"));
        }
        let since = std::mem::replace(&mut self.judged, self.ledger.presentations.len());
        // What a wrong clock concluded may look old enough to be pruned, and of what proved itself unspent only the newest
        // rows are kept.
        let right_since = self.clocks.right_since.unwrap_or(u64::MAX);
        let presented: Vec<(OaId, AttemptId)> = self.ledger.presentations[since..]
            .iter()
            .filter(|presentation| {
                presentation.at >= right_since && presentation.delivered != Delivered::Unspent
            })
            .map(|presentation| (presentation.oa_id.clone(), presentation.attempt))
            .collect();
        self.with_reader(|_, reader| {
            for (oa_id, id) in presented {
                let Ok(history) = reader.history(&oa_id) else { return Ok(()) };
                if !history.iter().any(|entry| entry.attempt_id == id) {
                    return Err(format!("I1: {id} of {oa_id} was presented, and no row tells of it"));
                }
            }
            Ok(())
        })
    }

    /// A person is called. Then the token must really be of no use, or nobody can know.
    pub fn person_is_called(&mut self, oa_id: &OaId, reason: Reason) -> Result<(), String> {
        let is_said_of_the_token = match reason {
            Reason::ResponseLost | Reason::RefreshTokenRejected => true,
            Reason::Unprovable
            | Reason::RefreshTokenMissing
            | Reason::RefreshTokenRepeated
            | Reason::AppRefused
            | Reason::AppBraked
            | Reason::AppChanged
            | Reason::RowUnreadable
            | Reason::ConsentDue
            | Reason::Disconnected
            | Reason::VendorMisconfigured
            | Reason::VendorRefused
            | Reason::Error(_) => false,
        };
        let Some(set) = self.truth.current(oa_id).filter(|_| is_said_of_the_token) else { return Ok(()) };
        let was_clock_right =
            self.clocks.right_since.is_some_and(|since| since <= self.zalo.set(set).made_at);
        let is_alive = self.zalo.can_be_spent(self.zalo.newest_of(set), self.clocks.truth);
        if is_alive && was_clock_right && !self.truth.excused.contains(oa_id) {
            return Err(format!("{oa_id} is given up ({reason}), and its token could still be used"));
        }
        Ok(())
    }

    /// Looks at everybody's state, as a person does who reads `status`.
    pub fn statuses(&mut self) -> Result<Vec<OaStatus>, String> {
        let mut statuses = Vec::new();
        self.with_reader(|world, reader| {
            let now = world.clocks.read();
            statuses = reader.statuses(&world.fleet.oas, &Default::default(), &now).unwrap_or_default();
            Ok(())
        })?;
        for status in &statuses {
            self.truth.states.insert(status.oa_id.clone(), status.state);
            self.is_on_its_way(status)?;
        }
        Ok(statuses)
    }

    /// I8: every state has a next action or a person. I9: no secret is said.
    fn is_on_its_way(&mut self, status: &OaStatus) -> Result<(), String> {
        let said = serde_json::to_string(status).expect("JSON");
        if said.contains("s3cr3t") {
            return Err(format!("I9: {said}"));
        }
        let now = self.clocks.read().time;
        let is_planned = match status.state {
            State::Scheduled | State::Retrying => status.next_refresh_at.is_some(),
            State::Uncertain => status.next_refresh_at.is_some() || status.reason.is_some(),
            State::AwaitingGrant
            | State::ReauthorizationRequired
            | State::Presenting
            | State::Blocked
            | State::Unmanaged => true,
        };
        if !is_planned {
            return Err(format!("I8: nothing will ever happen to {said}"));
        }
        let late = status.next_refresh_at.map_or(0, |at| crate::clocks::millis(now.since(at)));
        let is_busy = matches!(status.state, State::Scheduled | State::Retrying);
        if is_busy
            && late > 3 * HOUR
            && self.well_since.is_some_and(|since| self.clocks.truth - since > 3 * HOUR)
        {
            return Err(format!("I8: long overdue, and nothing is wrong: {said}"));
        }
        Ok(())
    }

    /// After calm days every OA has a token that Zalo accepts, and a plan.
    pub fn all_is_well(&mut self) -> Result<(), String> {
        self.look_at_all()?;
        let statuses = self.statuses()?;
        for status in statuses.iter().filter(|status| self.fleet.oas.contains_key(&status.oa_id)) {
            let known = self.truth.current.get(&status.oa_id);
            let is_alive =
                known.and_then(|k| k.access).is_some_and(|set| self.zalo.accepts(set, self.clocks.truth));
            if !is_alive || status.state != State::Scheduled || !status.access_token_valid {
                return Err(format!(
                    "after calm days all should be well: {}",
                    serde_json::to_string(status).expect("JSON")
                ));
            }
        }
        Ok(())
    }
}
