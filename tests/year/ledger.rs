//! What was seen at the wire, and what it says about the client: I1, I2 and I3 as the other side can judge them.
//!
//! It believes nothing that the program says of itself. Of persons it is told what they decided.

use std::collections::{BTreeMap, HashMap};

use zalo_tokend::id::{AttemptId, OaId};

use crate::zalo::{SetId, Variant, Zalo};

/// What of an answer reached the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// Nothing yet, or for good.
    Nothing,
    /// A set, whole.
    Set(SetId),
    /// An answer that is given before the token is looked at.
    Unspent,
    /// Of a set only the access token.
    Access(SetId),
    /// Of a set only the refresh token.
    Refresh(SetId),
    /// Anything else.
    Other,
}

/// One whole request.
pub struct Presentation {
    pub oa_id: OaId,
    pub attempt: AttemptId,
    pub set: SetId,
    pub at: u64,
    pub delivered: Delivered,
    /// By which run of the program.
    pub process: u32,
}

#[derive(Default)]
pub struct Ledger {
    pub presentations: Vec<Presentation>,
    of_set: HashMap<SetId, Vec<usize>>,
    of_attempt: HashMap<AttemptId, usize>,
    /// The client has a request under way.
    under_way: BTreeMap<OaId, AttemptId>,
    /// When, and to which run of the program, it was said that an access token is alive.
    acceptances: HashMap<SetId, Vec<(u64, u32)>>,
    /// When an operator decided that the OA's token is to be presented again.
    decisions: HashMap<OaId, Vec<u64>>,
    /// How often a set was presented although it was spent, on the ground of what Zalo said.
    mistakes: HashMap<SetId, u32>,
    /// Presented without any proof by the operator's policy.
    by_policy: HashMap<SetId, u32>,
    pub spends: u64,
    pub lost: u64,
    pub mistaken: u64,
}

/// What the program was told to do when nothing can be proven.
#[derive(Clone, Copy)]
pub struct Rules {
    pub settle: u64,
    pub presents_unprovable: bool,
}

impl Ledger {
    /// The last byte of a request left the client.
    pub fn presented(&mut self, zalo: &Zalo, presentation: Presentation, rules: Rules) -> Result<(), String> {
        let Presentation { oa_id, attempt, set, .. } = &presentation;
        if zalo.set(*set).oa_id != *oa_id {
            return Err(format!("{attempt} presents the token of another OA than {oa_id}"));
        }
        if let Some(other) = self.under_way.insert(oa_id.clone(), *attempt) {
            return Err(format!("I2: {attempt} of {oa_id} begins while {other} is under way"));
        }
        if self.of_attempt.contains_key(attempt) {
            return Err(format!("I6: {attempt} is presented twice"));
        }
        if let Some(last) = self.of_set.get(set).and_then(|all| all.last()) {
            let last = &self.presentations[*last];
            let by_person =
                self.decisions.get(oa_id).is_some_and(|all| all.iter().any(|then| *then >= last.at));
            let by_answer = last.delivered == Delivered::Unspent;
            let by_questions = self.is_accepted_twice(*set, last, rules.settle);
            let is_proven = by_person || by_answer || by_questions;
            let policy = self.by_policy.entry(*set).or_default();
            if !is_proven {
                *policy += 1;
                if !rules.presents_unprovable || *policy > 1 {
                    return Err(format!(
                        "I3: {attempt} of {oa_id} presents again, after {}, without proof",
                        last.attempt
                    ));
                }
            }
            // What was not even looked at the last time is as it was.
            if zalo.set(*set).is_spent && by_questions && !by_answer && !by_person {
                self.mistake(*set, zalo.variant, attempt)?;
            }
        }
        let number = self.presentations.len();
        self.of_set.entry(*set).or_default().push(number);
        self.of_attempt.insert(*attempt, number);
        self.presentations.push(presentation);
        Ok(())
    }

    /// Said to one run of the program: a restart may have stopped the clock between two questions.
    fn is_accepted_twice(&self, set: SetId, last: &Presentation, settle: u64) -> bool {
        let mut first_of = HashMap::new();
        self.acceptances.get(&set).into_iter().flatten().filter(|(at, _)| *at >= last.at).any(
            |(at, process)| {
                let first = *first_of.entry(*process).or_insert(*at);
                at - first >= settle
            },
        )
    }

    /// Where old tokens outlive their successors, what Zalo says is believed until that was measured: once a set.
    fn mistake(&mut self, set: SetId, variant: Variant, attempt: &AttemptId) -> Result<(), String> {
        let mistakes = self.mistakes.entry(set).or_default();
        *mistakes += 1;
        self.mistaken += 1;
        if variant.may_mislead() && *mistakes == 1 {
            return Ok(());
        }
        Err(format!("I3: {attempt} presents a spent token on a false proof, for the {mistakes}. time"))
    }

    pub fn of_attempt(&self, attempt: AttemptId) -> Option<&Presentation> {
        self.of_attempt.get(&attempt).map(|number| &self.presentations[*number])
    }

    /// This is what the client has of its answer.
    pub fn delivered(&mut self, attempt: AttemptId, delivered: Delivered) {
        if let Some(number) = self.of_attempt.get(&attempt) {
            self.presentations[*number].delivered = delivered;
        }
    }

    /// The client no longer waits for this.
    pub fn ended(&mut self, oa_id: &OaId) {
        self.under_way.remove(oa_id);
    }

    /// The client is gone, and its connections with it.
    pub fn all_ended(&mut self) {
        self.under_way.clear();
    }

    pub fn accepted(&mut self, set: SetId, at: u64, process: u32) {
        self.acceptances.entry(set).or_default().push((at, process));
    }

    pub fn decided(&mut self, oa_id: &OaId, at: u64) {
        self.decisions.entry(oa_id.clone()).or_default().push(at);
    }
}
