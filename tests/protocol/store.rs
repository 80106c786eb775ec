//! The store's verbs, each one transaction, as `src/store/` has them: `claim` and `present`, `conclude`, `settle`,
//! `import`, `resolve`. What follows from a verdict or a proof the program's own `rotation` says.

use zalo_tokend::id::AttemptId;
use zalo_tokend::rotation::{self, AttemptEnd, Proof, Reason, Roll, Successor};

use super::world::{Answer, Attempt, Call, Kind, Phase, ProofRow, Row, Spilled, Standing};
use super::zalo::number;
use super::{Mistake, Protocol};

/// What a start takes in, or a process concludes.
#[derive(Clone, Copy)]
pub(super) struct Ended {
    /// `None`: the attempt is not in the journal.
    pub(super) attempt: Option<u8>,
    /// What it worked with.
    pub(super) generation: u8,
    pub(super) answer: Answer,
}

impl From<&Spilled> for Ended {
    /// A slot names its attempt, and the journal knows what that worked with.
    fn from(spilled: &Spilled) -> Ended {
        Ended { attempt: Some(spilled.attempt), generation: 0, answer: spilled.answer }
    }
}

impl Row {
    /// Is it an attempt's turn?
    pub fn is_due(&self, protocol: &Protocol) -> bool {
        let is_planned = matches!(self.standing, Standing::Scheduled | Standing::Retrying);
        let is_proven = !self.is_used(self.set) || protocol.makes(Mistake::NoProofNeeded);
        is_planned && self.open().is_none() && is_proven
    }

    /// This set was presented, and nothing says that it is unspent.
    pub(super) fn is_used(&self, set: u8) -> bool {
        self.last_presented(set)
            .is_some_and(|index| !matches!(&self.attempts[index].proof, Some(proof) if !proof.is_used))
    }

    /// The attempt that presented this set last.
    fn last_presented(&self, set: u8) -> Option<usize> {
        self.attempts.iter().rposition(|attempt| attempt.set == set)
    }

    /// The attempt that has no end.
    pub fn open(&self) -> Option<u8> {
        self.attempts.iter().position(|attempt| attempt.phase != Phase::Closed).map(number)
    }

    /// An operator said of this set that it shall be presented whatever became of it.
    pub fn has_operators_word(&self, set: u8) -> bool {
        self.attempts.iter().any(|attempt| {
            attempt.set == set
                && attempt.proof.as_ref().is_some_and(|proof| proof.kind == Kind(Proof::Operator))
        })
    }

    /// Writes the attempt's row. `None`: the OA is not as it was claimed any more.
    pub(super) fn present(&mut self, protocol: &Protocol, generation: u8, set: u8) -> Option<u8> {
        let is_as_claimed = self.is_due(protocol) && self.generation == generation && self.set == set;
        if !is_as_claimed && !protocol.makes(Mistake::NoLookBeforeJournalling) {
            return None;
        }
        if let Some(earlier) = self.last_presented(set)
            && let Some(proof) = &mut self.attempts[earlier].proof
            && !protocol.makes(Mistake::ProofsLast)
        {
            proof.is_used = true;
        }
        let phase = Phase::Presenting;
        self.attempts.push(Attempt { set, generation, phase, proof: None, is_kept_aside: false });
        Some(number(self.attempts.len() - 1))
    }

    pub(super) fn conclude(&mut self, protocol: &Protocol, ended: Ended) {
        let Ended { attempt: index, generation, answer } = ended;
        let Some(index) = index else { return self.plan_anew(protocol, generation) };
        let attempt = &self.attempts[usize::from(index)];
        let is_open = match attempt.phase {
            Phase::Presenting => true,
            Phase::Uncertain => matches!(answer, Answer::Granted(_)),
            Phase::Closed => protocol.makes(Mistake::NoLookBeforeConcluding),
        };
        if !is_open {
            return;
        }
        if self.generation != attempt.generation && !protocol.makes(Mistake::NoGenerationGuard) {
            return self.set_aside(index, answer);
        }
        let conclusion = rotation::conclude(
            protocol.verdict(answer),
            AttemptId::from_bytes([index; 16]),
            Successor::New,
            0,
            &protocol.timing,
            protocol.now,
            Roll(0.5),
        );
        self.attempts[usize::from(index)].phase = match conclusion.attempt {
            AttemptEnd::Concluded => Phase::Closed,
            AttemptEnd::Uncertain => Phase::Uncertain,
        };
        if let Some(kind) = conclusion.proof {
            self.prove(index, kind);
        }
        if let Answer::Granted(successor) = answer {
            self.has_overwritten |= self.set != self.attempts[usize::from(index)].set;
            self.has_adopted_twice |= self.taken & (1 << successor) != 0;
            self.adopt(successor);
        }
        self.stand(conclusion.standing, index);
    }

    /// Nothing was journalled, and nothing changes but the plan, if it is still this attempt's.
    fn plan_anew(&mut self, protocol: &Protocol, generation: u8) {
        let is_planned = matches!(self.standing, Standing::Scheduled | Standing::Retrying);
        let is_free = is_planned && self.open().is_none() || protocol.makes(Mistake::NoLookBeforePlanning);
        if self.generation == generation && is_free {
            self.standing = Standing::Retrying;
        }
    }

    /// A person imported another set meanwhile.
    fn set_aside(&mut self, index: u8, answer: Answer) {
        let attempt = &mut self.attempts[usize::from(index)];
        attempt.phase = Phase::Closed;
        if let Answer::Granted(late) = answer {
            attempt.is_kept_aside = true;
            self.taken |= 1 << late;
        }
    }

    fn adopt(&mut self, set: u8) {
        self.generation += 1;
        self.set = set;
        self.taken |= 1 << set;
        for attempt in &mut self.attempts {
            attempt.is_kept_aside = false;
        }
    }

    /// `None` is a healthy set, planned by its life.
    fn stand(&mut self, standing: Option<rotation::Standing>, attempt: u8) {
        self.standing = match standing {
            None | Some(rotation::Standing::Scheduled { .. }) => Standing::Scheduled,
            Some(rotation::Standing::Retrying(_)) => Standing::Retrying,
            Some(rotation::Standing::Uncertain(_)) => Standing::Uncertain { attempt, is_held: false },
            Some(rotation::Standing::ReauthorizationRequired(reason)) => {
                Standing::ReauthorizationRequired(Call(reason))
            }
            Some(rotation::Standing::AwaitingGrant) => unreachable!("an attempt needs a set"),
        };
    }

    /// The first proof about an attempt counts.
    fn prove(&mut self, index: u8, kind: Proof) {
        let proof = &mut self.attempts[usize::from(index)].proof;
        *proof = proof.take().or(Some(ProofRow { kind: Kind(kind), is_used: false }));
    }

    /// The old access token was accepted, twice.
    pub(super) fn prove_unspent(&mut self, protocol: &Protocol, index: u8) {
        self.attempts[usize::from(index)].phase = Phase::Closed;
        self.prove(index, Proof::OldTokenAccepted);
        let standing = rotation::after_proof(None, 0, 0, &protocol.timing, protocol.now, Roll(0.5));
        self.stand(Some(standing), index);
    }

    /// The old access token was refused.
    pub(super) fn prove_spent(&mut self, index: u8) {
        self.attempts[usize::from(index)].phase = Phase::Closed;
        self.stand(Some(rotation::give_up()), index);
    }

    /// Every attempt that is presented and open: nobody waits for its answer any more.
    pub(super) fn abandon(&mut self) {
        let presenting = self.attempts.iter().position(|attempt| attempt.phase == Phase::Presenting);
        let Some(index) = presenting else { return };
        let is_current = self.attempts[index].generation == self.generation;
        self.attempts[index].phase = if is_current { Phase::Uncertain } else { Phase::Closed };
        if is_current {
            self.standing = Standing::Uncertain { attempt: number(index), is_held: false };
        }
    }

    /// A person's set becomes the current one.
    pub(super) fn import(&mut self, protocol: &Protocol, set: u8) {
        if let Standing::Uncertain { attempt, .. } = self.standing
            && !protocol.makes(Mistake::ImportLeavesDoubt)
        {
            self.attempts[usize::from(attempt)].phase = Phase::Closed;
        }
        self.adopt(set);
        self.standing = Standing::Scheduled;
    }

    /// The attempt that an operator may decide about.
    pub(super) fn undecided(&self) -> Option<u8> {
        match self.standing {
            Standing::Uncertain { attempt, .. } => Some(attempt),
            Standing::ReauthorizationRequired(Call(Reason::ResponseLost)) => {
                self.last_presented(self.set).map(number)
            }
            Standing::Scheduled | Standing::Retrying | Standing::ReauthorizationRequired(_) => None,
        }
    }

    pub(super) fn resolve(&mut self, present: bool) -> bool {
        let Some(index) = self.undecided() else { return false };
        self.attempts[usize::from(index)].phase = Phase::Closed;
        if present {
            self.prove(index, Proof::Operator);
            self.standing = Standing::Retrying;
        } else {
            self.stand(Some(rotation::give_up()), index);
        }
        true
    }
}
