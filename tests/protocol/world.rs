//! The state of the model: what Zalo knows, what the disk has, what each process has in memory.
//!
//! Sets and attempts are numbered within their OA, in the order in which they came to be.

use std::cmp::Ordering;
use zalo_tokend::rotation::{Proof, Reason};

use super::Bounds;

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct World {
    pub oas: Vec<Oa>,
    pub processes: Vec<Process>,
    pub left: Left,
}

/// How much may still happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Left {
    pub attempts: u8,
    pub crashes: u8,
    pub refusals: u8,
    pub imports: u8,
    pub decisions: u8,
    pub endings: u8,
}

/// What there is of one OA outside of all processes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oa {
    /// Every set that Zalo ever made for it.
    pub sets: Vec<Set>,
    /// The whole requests that Zalo has and that are not over.
    pub requests: Vec<Request>,
    /// Its row in the store.
    pub row: Row,
    /// Its spill slot.
    pub slot: Option<Spilled>,
}

/// A token set, as Zalo knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set {
    /// Its refresh token was used. Its access token is dead since then.
    pub is_spent: bool,
    /// Its access token has ended by itself.
    pub has_ended: bool,
    /// A person has it, from a consent.
    pub is_from_consent: bool,
    /// Where it came.
    pub reach: Reach,
}

/// How far a set came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Not to us: it is on its way, or lost there.
    Sent,
    /// To a process of ours, or to a person who imported it.
    Received,
    /// To a process that ended before any disk had it.
    DiedWithItsProcess,
}

/// A request whose last byte has left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// The set whose refresh token it presents.
    pub set: u8,
    /// Its attempt in the journal.
    pub attempt: Option<u8>,
    /// The process that still waits for the answer.
    pub client: Option<usize>,
    /// What Zalo answered; `None`: it has not worked on it yet.
    pub answer: Option<Answer>,
    /// Its token was spent when the byte left, or an earlier request of it was not decided, and no operator had said
    /// that it shall be presented all the same.
    pub is_rash: bool,
}

/// How an exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// The gate was barred.
    Barred,
    /// The successor of the set that was presented.
    Granted(u8),
    /// Not now; the token was not looked at.
    Throttled,
    /// The token cannot be used.
    Dead,
    /// No answer, or none that can be understood.
    Nothing,
}

/// What the store has of an OA.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    pub generation: u8,
    /// The current set.
    pub set: u8,
    pub standing: Standing,
    /// The journal, oldest first.
    pub attempts: Vec<Attempt>,
    /// The sets that were current at some time, or that were kept with an attempt; one bit each.
    pub taken: u8,
    /// A set became current that had been current before, without a person's bringing it.
    pub has_adopted_twice: bool,
    /// A set became current in the place of one that it does not succeed, without a person's bringing it.
    pub has_overwritten: bool,
}

/// How an OA stands, as in `rotation::Standing`, with attempts by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    Scheduled,
    Retrying,
    Uncertain { attempt: u8, is_held: bool },
    ReauthorizationRequired(Call),
}

/// Why a person is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call(pub Reason);

/// A row of the journal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// The set that it presents.
    pub set: u8,
    pub generation: u8,
    pub phase: Phase,
    pub proof: Option<ProofRow>,
    /// Its answer came too late, and is kept for a person.
    pub is_kept_aside: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    Presenting,
    Uncertain,
    Closed,
}

/// Why a token that was presented may be presented again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProofRow {
    pub kind: Kind,
    pub is_used: bool,
}

/// What kind of proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(pub Proof);

/// An answer in a slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spilled {
    pub attempt: u8,
    pub answer: Answer,
}

/// A process: what it has in memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    pub life: Life,
    /// For each OA.
    pub desks: Vec<Desk>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Life {
    Down,
    /// In its recovery, before this step.
    Starting(Recovery),
    Up,
}

/// The steps of a recovery.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Recovery {
    /// Answers in slots are taken in, one after the other.
    Slots,
    /// The slot is emptied: its answer was taken in.
    Empty(usize),
    /// [`super::Mistake::SlotEmptiedFirst`]: this answer is in memory, and its slot is empty.
    InMemory(usize, Spilled),
    /// What is presented and open is given up.
    Abandon,
    /// All slots are written anew.
    Prepare,
}

/// What a process does about one OA.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Desk {
    pub work: Work,
    /// It heard once that the old access token is accepted.
    pub has_heard_acceptance: bool,
}

/// One attempt, from its claim to its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    Idle,
    /// Claimed as it stood; all bytes but the last may be out.
    Claimed {
        generation: u8,
        set: u8,
    },
    /// [`super::Mistake::NoGate`]: and the last one too.
    Rushed {
        generation: u8,
        set: u8,
    },
    /// The row is durable, the gate shut.
    Journalled {
        attempt: u8,
        generation: u8,
    },
    /// The gate is open, and nothing has come yet.
    Waiting {
        attempt: u8,
        generation: u8,
    },
    /// Over at the wire. Without an attempt: none is in the journal.
    Over {
        attempt: Option<u8>,
        generation: u8,
        answer: Answer,
    },
    /// Concluded; the slot is still filled.
    Leaving,
}

impl World {
    /// Each OA has the set that a person imported, and nothing is under way.
    pub fn new(bounds: &Bounds) -> World {
        let oa = Oa {
            sets: vec![Set::from_consent()],
            requests: Vec::new(),
            row: Row {
                generation: 1,
                set: 0,
                standing: Standing::Scheduled,
                attempts: Vec::new(),
                taken: 1,
                has_adopted_twice: false,
                has_overwritten: false,
            },
            slot: None,
        };
        let desk = Desk { work: Work::Idle, has_heard_acceptance: false };
        let process = Process { life: Life::Up, desks: vec![desk; bounds.oas] };
        World {
            oas: vec![oa; bounds.oas],
            processes: vec![process; bounds.processes],
            left: Left {
                attempts: bounds.attempts_in_all,
                crashes: bounds.crashes,
                refusals: bounds.refusals,
                imports: bounds.imports,
                decisions: bounds.decisions,
                endings: bounds.endings,
            },
        }
    }

    /// The same world with OAs and processes in an order of their own: which of two it is makes no difference.
    pub fn representative(&self) -> World {
        let mut world = self.clone();
        if world.oas.len() == 2 && world.order_of_oas() == Ordering::Greater {
            world.oas.swap(0, 1);
            world.processes.iter_mut().for_each(Process::swap_oas);
        }
        if world.processes.len() == 2 && world.processes[0] > world.processes[1] {
            world.processes.swap(0, 1);
            for request in world.oas.iter_mut().flat_map(|oa| &mut oa.requests) {
                request.client = request.client.map(|p| 1 - p);
            }
        }
        world
    }

    fn order_of_oas(&self) -> Ordering {
        let desks = |oa: usize| self.processes.iter().map(move |process| &process.desks[oa]);
        self.oas[0].cmp(&self.oas[1]).then_with(|| desks(0).cmp(desks(1)))
    }

    /// What a process does about an OA.
    pub fn work(&self, p: usize, oa: usize) -> &Work {
        &self.processes[p].desks[oa].work
    }

    /// Everything that is being done about an OA.
    pub fn works(&self, oa: usize) -> impl Iterator<Item = &Work> {
        self.processes.iter().map(move |process| &process.desks[oa].work)
    }

    /// Questions are counted for the attempt that is uncertain now.
    pub fn forget_settled_questions(&mut self) {
        for (index, oa) in self.oas.iter().enumerate() {
            if !matches!(oa.row.standing, Standing::Uncertain { is_held: false, .. }) {
                for process in &mut self.processes {
                    process.desks[index].has_heard_acceptance = false;
                }
            }
        }
    }
}

impl Process {
    fn swap_oas(&mut self) {
        self.desks.swap(0, 1);
        if let Life::Starting(Recovery::Empty(oa) | Recovery::InMemory(oa, _)) = &mut self.life {
            *oa = 1 - *oa;
        }
    }
}

// What has no order of its own is ordered by its name.
impl Ord for Call {
    fn cmp(&self, other: &Call) -> Ordering {
        self.0.to_string().cmp(&other.0.to_string())
    }
}

impl PartialOrd for Call {
    fn partial_cmp(&self, other: &Call) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Kind) -> Ordering {
        self.0.word().cmp(other.0.word())
    }
}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Kind) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Set {
    pub fn from_consent() -> Set {
        Set { is_spent: false, has_ended: false, is_from_consent: true, reach: Reach::Received }
    }

    pub fn successor() -> Set {
        Set { is_spent: false, has_ended: false, is_from_consent: false, reach: Reach::Sent }
    }
}
