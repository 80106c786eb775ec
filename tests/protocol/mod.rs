//! A model of the protocol, small enough to look at every state that it can come to.
//!
//! **What is modelled.** Everything between "this OA is due" and "this is its set now", step by step as the daemon
//! takes them: claim, all bytes but the last, the journal's commit, the last byte, Zalo's own doing, the answer, the
//! slot, the conclusion; the questions with the old access token; a start's recovery; what a person imports or
//! decides. Between any two of these steps anything else may happen: a crash, another OA, another process, Zalo,
//! a person. An OA has its part of the world ([`world::Oa`]): what Zalo knows of it, what the store knows of it, its
//! slot. What follows from a verdict or a testimony is not modelled but asked of the program's own pure core
//! ([`zalo_tokend::rotation`]); the store's verbs are written out again in `store.rs`.
//!
//! **What is left out.** Time: whatever can be due is due, waits last as long as they like, with one exception, the
//! second question, which is never asked while an earlier request may still be worked on (Zalo is late by less than
//! twice `settle`). That an old access token dies when its successor is made is taken for true. Window and brake, which
//! only hold back. The ways to the gate that fail (they are one step that gives up). Answers that are odd; a probe
//! without a clear answer (nothing changes by it); a set that lacks a part; sets of other OAs. What a crash tears:
//! commits and slots are whole or not there. A stop, which is a crash at a moment of the daemon's own choosing. Each
//! OA's slot is its own.
//!
//! **Two worlds.** As designed, the lock lets one process work at a time, and its crash makes way for the next one:
//! then one [`world::Process`] that ends and starts is enough. With [`Bounds::processes`] at two the lock has let
//! two through at once, and what guards is the store alone; only a start waits until it is alone, for its recovery
//! takes every open attempt for a dead process' one.
//!
//! **Mistakes.** A model that finds nothing may be a model that cannot find anything. Each [`Mistake`] is the
//! protocol with one of its rules left out, and for each the checker has to find the property that it breaks. Some
//! rules guard the same thing; then both are left out.

mod daemon;
mod people;
pub mod properties;
mod store;
pub mod world;
mod zalo;

use stateright::{Model, Property};
use std::time::Duration;
use zalo_tokend::clock::Time;
use zalo_tokend::oauth::{ErrorCode, GrantedTokens};
use zalo_tokend::rotation::{Timing, Verdict};
use zalo_tokend::secret::Secret;

use world::{Answer, World};

/// How much may happen. All of it together makes the number of states.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many OAs there are.
    pub oas: usize,
    /// How many processes there are; more than one work at the same time.
    pub processes: usize,
    /// How many attempts each OA makes that come as far as the journal.
    pub attempts: usize,
    /// How many attempts all OAs make together.
    pub attempts_in_all: u8,
    /// How often a process ends at a moment that nobody chose.
    pub crashes: u8,
    /// How often the store refuses to journal an attempt.
    pub refusals: u8,
    /// How often a person brings a set.
    pub imports: u8,
    /// How often an operator decides about an attempt.
    pub decisions: u8,
    /// How often an old access token ends before its attempt is settled.
    pub endings: u8,
}

/// One rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The last byte leaves before its attempt is in the journal.
    NoGate,
    /// The old access token accepted once counts as accepted twice.
    OneAcceptance,
    /// A late set is adopted whatever set is current by then.
    NoGenerationGuard,
    /// An attempt is concluded also if it was concluded before.
    NoLookBeforeConcluding,
    /// A failure before the journal plans the OA anew, whatever another attempt made of it meanwhile.
    NoLookBeforePlanning,
    /// An attempt is journalled as it was claimed: the row is not read again, and no index refuses it.
    NoLookBeforeJournalling,
    /// A proof serves more than one presentation.
    ProofsLast,
    /// What was presented before is claimed again without a proof.
    NoProofNeeded,
    /// A start empties a slot before its answer is taken in.
    SlotEmptiedFirst,
    /// A start gives open attempts up before it looks into the slots.
    SlotsReadLast,
    /// An import leaves the uncertain attempt open.
    ImportLeavesDoubt,
    /// An import takes in a set that was used before.
    ImportTakesUsedSets,
    /// A process starts, and recovers, while another one works.
    StartsBesideAnother,
}

/// What the checker is to look for.
pub type LooksFor = fn() -> Vec<Property<Protocol>>;

/// What the protocol's steps go by.
pub struct Protocol {
    bounds: Bounds,
    mistakes: &'static [Mistake],
    looks_for: LooksFor,
    timing: Timing,
    now: Time,
    granted: Verdict,
    throttled: Verdict,
    dead: Verdict,
    nothing: Verdict,
    barred: Verdict,
}

impl Protocol {
    /// The protocol as it is, and what is to be true of it always.
    pub fn new(bounds: Bounds) -> Protocol {
        let token = |text: &str| Some(Secret::new(text.to_owned()));
        Protocol {
            bounds,
            mistakes: &[],
            looks_for: properties::rules,
            timing: Timing::default(),
            now: Time::from_millis(1_800_000_000_000),
            granted: Verdict::Granted(GrantedTokens {
                access_token: token("access"),
                refresh_token: token("refresh"),
                access_token_life: Duration::from_secs(90_000),
                refresh_token_life: None,
                oddities: Vec::new(),
            }),
            throttled: Verdict::Throttled { retry_after: None },
            dead: Verdict::Dead(ErrorCode(-14014)),
            nothing: Verdict::Unknown { code: None, detail: String::new() },
            barred: Verdict::NotPresented { detail: String::new(), retry_after: None },
        }
    }

    /// With these rules left out.
    pub fn without(mut self, mistakes: &'static [Mistake]) -> Protocol {
        self.mistakes = mistakes;
        self
    }

    /// The checker is to look for these.
    pub fn looking_for(mut self, what: LooksFor) -> Protocol {
        self.looks_for = what;
        self
    }

    fn verdict(&self, answer: Answer) -> &Verdict {
        match answer {
            Answer::Barred => &self.barred,
            Answer::Granted(_) => &self.granted,
            Answer::Throttled => &self.throttled,
            Answer::Dead => &self.dead,
            Answer::Nothing => &self.nothing,
        }
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistakes.contains(&mistake)
    }
}

/// What becomes of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// It is durable.
    Held,
    /// It is not there.
    Refused,
    /// It is durable, and the process was told that it failed.
    HeldUnnoticed,
}

/// One step. `p` is a process, `oa` an OA, `request` one of its requests at Zalo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The process ends, and all that it knew is gone.
    Crash { p: usize },
    /// The process starts.
    Start { p: usize },
    /// Its recovery takes in the answer in this OA's slot.
    TakeIn { p: usize, oa: usize },
    /// The next step of its recovery.
    Recover { p: usize },
    /// The OA is found due, and a slot is taken.
    Claim { p: usize, oa: usize },
    /// The way to the gate fails: nothing was journalled.
    GiveUp { p: usize, oa: usize },
    /// All bytes but the last are out, and the attempt is journalled.
    Journal { p: usize, oa: usize, commit: Commit },
    /// The gate opens, and the last byte leaves.
    OpenGate { p: usize, oa: usize },
    /// The gate is barred: something went wrong during the commit.
    BarGate { p: usize, oa: usize },
    /// [`Mistake::NoGate`]: the last byte leaves before anything is journalled.
    Rush { p: usize, oa: usize },
    /// No answer is waited for any more.
    TimeOut { p: usize, oa: usize },
    /// The store is slow or refuses: the answer goes into its slot.
    Spill { p: usize, oa: usize },
    /// The attempt is concluded.
    Conclude { p: usize, oa: usize, commit: Commit },
    /// The slot is emptied after the conclusion.
    EmptySlot { p: usize, oa: usize },
    /// Zalo is asked with the old access token.
    Ask { p: usize, oa: usize },
    /// Zalo spends the token and makes its successor.
    Spend { oa: usize, request: usize },
    /// Zalo refuses, in a way that spends nothing or says that nothing is left.
    Refuse { oa: usize, request: usize },
    /// Zalo never works on the request, and never answers.
    Drop { oa: usize, request: usize },
    /// The answer reaches the process that waits for it.
    Deliver { oa: usize, request: usize },
    /// The old access token ends before its attempt is settled.
    AccessTokenEnds { oa: usize },
    /// A person grants consent and imports the new set.
    Grant { oa: usize },
    /// A person imports a set again that was granted at some time.
    ImportAgain { oa: usize, set: u8 },
    /// An operator has the token presented once more.
    ResolvePresent { oa: usize },
    /// An operator calls the answer lost.
    ResolveGiveUp { oa: usize },
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.bounds)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for p in 0..world.processes.len() {
            self.steps_of_process(world, p, actions);
        }
        for oa in 0..world.oas.len() {
            Self::steps_of_zalo(world, oa, actions);
            self.steps_of_people(world, oa, actions);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        let has_changed = match action {
            Action::Crash { p } => world.crash(p),
            Action::Start { p } => self.start(&mut world, p),
            Action::TakeIn { p, oa } => self.take_in(&mut world, p, oa),
            Action::Recover { p } => self.recover(&mut world, p),
            Action::Claim { p, oa } => self.claim(&mut world, p, oa),
            Action::GiveUp { p, oa } => world.idle(p, oa),
            Action::Journal { p, oa, commit } => self.journal(&mut world, p, oa, commit),
            Action::OpenGate { p, oa } => world.open_gate(p, oa),
            Action::BarGate { p, oa } => world.bar_gate(p, oa),
            Action::Rush { p, oa } => world.rush(p, oa),
            Action::TimeOut { p, oa } => world.time_out(p, oa),
            Action::Spill { p, oa } => world.spill(p, oa),
            Action::Conclude { p, oa, commit } => self.conclude(&mut world, p, oa, commit),
            Action::EmptySlot { p, oa } => world.empty_slot(p, oa),
            Action::Ask { p, oa } => self.ask(&mut world, p, oa),
            Action::Spend { oa, request } => world.oas[oa].spend(request),
            Action::Refuse { oa, request } => world.oas[oa].refuse(request),
            Action::Drop { oa, request } => world.oas[oa].drop_request(request),
            Action::Deliver { oa, request } => world.deliver(oa, request),
            Action::AccessTokenEnds { oa } => world.end_access_token(oa),
            Action::Grant { oa } => self.grant(&mut world, oa),
            Action::ImportAgain { oa, set } => self.import_again(&mut world, oa, set),
            Action::ResolvePresent { oa } => world.decide(oa, true),
            Action::ResolveGiveUp { oa } => world.decide(oa, false),
        };
        if !has_changed {
            return None;
        }
        world.forget_settled_questions();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        (self.looks_for)()
    }
}
