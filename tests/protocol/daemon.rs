//! The daemon's part, as `keeper::attempt`, `keeper::doubt` and `store::recovery` have it.

use std::time::Duration;
use zalo_tokend::oauth::ErrorCode;
use zalo_tokend::rotation::{Evidence, Premise, Settling, Step, Testimony, weigh};

use super::store::Ended;
use super::world::{Answer, Desk, Life, Reach, Recovery, Request, Spilled, Standing, Work, World};
use super::{Action, Commit, Mistake, Protocol};

impl Protocol {
    pub(super) fn steps_of_process(&self, world: &World, p: usize, actions: &mut Vec<Action>) {
        match world.processes[p].life {
            Life::Down => {
                let is_alone = world.processes.iter().all(|process| process.life == Life::Down);
                if is_alone || self.makes(Mistake::StartsBesideAnother) {
                    actions.push(Action::Start { p });
                }
                return;
            }
            Life::Starting(Recovery::Slots) => {
                let filled = (0..world.oas.len()).filter(|oa| world.oas[*oa].slot.is_some());
                actions.extend(filled.map(|oa| Action::TakeIn { p, oa }));
            }
            Life::Starting(_) => actions.push(Action::Recover { p }),
            Life::Up => {
                for oa in 0..world.oas.len() {
                    self.steps_at_desk(world, p, oa, actions);
                }
            }
        }
        if world.left.crashes > 0 {
            actions.push(Action::Crash { p });
        }
    }

    fn steps_at_desk(&self, world: &World, p: usize, oa: usize, actions: &mut Vec<Action>) {
        let row = &world.oas[oa].row;
        match world.work(p, oa) {
            Work::Idle => {
                if row.is_due(self) && row.attempts.len() < self.bounds.attempts && world.left.attempts > 0 {
                    actions.push(Action::Claim { p, oa });
                }
                if self.may_ask(world, p, oa) {
                    actions.push(Action::Ask { p, oa });
                }
            }
            Work::Claimed { .. } => {
                actions.push(Action::GiveUp { p, oa });
                if self.makes(Mistake::NoGate) {
                    actions.push(Action::Rush { p, oa });
                }
                self.steps_to_the_journal(world, p, oa, actions);
            }
            Work::Rushed { .. } => self.steps_to_the_journal(world, p, oa, actions),
            Work::Journalled { .. } => {
                actions.push(Action::OpenGate { p, oa });
                actions.push(Action::BarGate { p, oa });
            }
            Work::Waiting { .. } => actions.push(Action::TimeOut { p, oa }),
            Work::Over { answer, .. } => {
                actions.push(Action::Conclude { p, oa, commit: Commit::Held });
                actions.push(Action::Conclude { p, oa, commit: Commit::HeldUnnoticed });
                let has_answer = !matches!(answer, Answer::Barred | Answer::Nothing);
                if has_answer && world.oas[oa].slot.is_none() {
                    actions.push(Action::Spill { p, oa });
                }
            }
            Work::Leaving => actions.push(Action::EmptySlot { p, oa }),
        }
    }

    fn steps_to_the_journal(&self, world: &World, p: usize, oa: usize, actions: &mut Vec<Action>) {
        if world.left.attempts > 0 {
            actions.push(Action::Journal { p, oa, commit: Commit::Held });
            actions.push(Action::Journal { p, oa, commit: Commit::HeldUnnoticed });
        }
        if world.left.refusals > 0 {
            actions.push(Action::Journal { p, oa, commit: Commit::Refused });
        }
    }

    pub(super) fn claim(&self, world: &mut World, p: usize, oa: usize) -> bool {
        let row = &world.oas[oa].row;
        world.processes[p].desks[oa].work = Work::Claimed { generation: row.generation, set: row.set };
        true
    }

    pub(super) fn journal(&self, world: &mut World, p: usize, oa: usize, commit: Commit) -> bool {
        let (generation, set, is_rushed) = match *world.work(p, oa) {
            Work::Claimed { generation, set } => (generation, set, false),
            Work::Rushed { generation, set } => (generation, set, true),
            Work::Idle
            | Work::Journalled { .. }
            | Work::Waiting { .. }
            | Work::Over { .. }
            | Work::Leaving => {
                return false;
            }
        };
        let place = &mut world.oas[oa];
        let written = match commit {
            Commit::Refused => {
                world.left.refusals -= 1;
                None
            }
            Commit::Held | Commit::HeldUnnoticed => match place.row.present(self, generation, set) {
                // The OA changed meanwhile, and nothing is left of the attempt.
                None => return world.idle(p, oa),
                Some(attempt) => {
                    world.left.attempts -= 1;
                    Some(attempt)
                }
            },
        };
        world.processes[p].desks[oa].work = match (written, commit) {
            (Some(attempt), _) if is_rushed => {
                place.requests.iter_mut().filter(|request| request.client == Some(p)).for_each(|request| {
                    request.attempt = Some(attempt);
                });
                Work::Waiting { attempt, generation }
            }
            (Some(attempt), Commit::Held) => Work::Journalled { attempt, generation },
            (attempt, Commit::Held | Commit::HeldUnnoticed | Commit::Refused) => {
                Work::Over { attempt, generation, answer: Answer::Barred }
            }
        };
        true
    }

    pub(super) fn conclude(&self, world: &mut World, p: usize, oa: usize, commit: Commit) -> bool {
        let Work::Over { attempt, generation, answer } = *world.work(p, oa) else { return false };
        let before = world.oas[oa].row.clone();
        world.oas[oa].row.conclude(self, Ended { attempt, generation, answer });
        match commit {
            Commit::Held => {
                let is_spilled =
                    world.oas[oa].slot.as_ref().is_some_and(|slot| Some(slot.attempt) == attempt);
                world.processes[p].desks[oa].work = if is_spilled { Work::Leaving } else { Work::Idle };
                true
            }
            // It is repeated.
            Commit::HeldUnnoticed => world.oas[oa].row != before,
            Commit::Refused => false,
        }
    }

    /// An earlier request may be worked on until shortly before the second question.
    fn may_ask(&self, world: &World, p: usize, oa: usize) -> bool {
        let place = &world.oas[oa];
        let is_in_doubt = matches!(place.row.standing, Standing::Uncertain { is_held: false, .. });
        let is_second = world.processes[p].desks[oa].has_heard_acceptance;
        is_in_doubt && !(is_second && place.has_undecided(place.row.set))
    }

    pub(super) fn ask(&self, world: &mut World, p: usize, oa: usize) -> bool {
        let Standing::Uncertain { attempt, .. } = world.oas[oa].row.standing else { return false };
        let current = world.oas[oa].current();
        let is_alive = !current.is_spent && !current.has_ended;
        let Desk { has_heard_acceptance, .. } = world.processes[p].desks[oa];
        let counts_twice = has_heard_acceptance || self.makes(Mistake::OneAcceptance);
        let evidence = Evidence {
            testimony: if is_alive { Testimony::Accepted } else { Testimony::Refused(ErrorCode(-216)) },
            settling: Settling { accepted: u32::from(counts_twice), unclear: 0, waited: Duration::ZERO },
            premise: Premise::OldTokenDies,
            was_believed_before: false,
            life: Duration::from_secs(90_000),
            remaining: Duration::from_secs(if current.has_ended { 0 } else { 3_600 }),
            clocks_agree: true,
        };
        let row = &mut world.oas[oa].row;
        match weigh(&evidence, &self.timing) {
            Step::AskAgain { settling, .. } => {
                world.processes[p].desks[oa].has_heard_acceptance = settling.accepted > 0;
            }
            Step::Unspent => row.prove_unspent(self, attempt),
            Step::Spent => row.prove_spent(attempt),
            Step::Unprovable => row.standing = Standing::Uncertain { attempt, is_held: true },
        }
        true
    }

    pub(super) fn start(&self, world: &mut World, p: usize) -> bool {
        let first =
            if self.makes(Mistake::SlotsReadLast) { Recovery::Abandon } else { self.next_slot(world) };
        world.processes[p].life = Life::Starting(first);
        true
    }

    /// In which order slots are found says nothing.
    fn next_slot(&self, world: &World) -> Recovery {
        if world.oas.iter().any(|oa| oa.slot.is_some()) {
            Recovery::Slots
        } else if self.makes(Mistake::SlotsReadLast) {
            Recovery::Prepare
        } else {
            Recovery::Abandon
        }
    }

    pub(super) fn take_in(&self, world: &mut World, p: usize, oa: usize) -> bool {
        let Some(spilled) = world.oas[oa].slot.clone() else { return false };
        let next = if self.makes(Mistake::SlotEmptiedFirst) {
            world.oas[oa].slot = None;
            Recovery::InMemory(oa, spilled)
        } else {
            world.oas[oa].row.conclude(self, Ended::from(&spilled));
            Recovery::Empty(oa)
        };
        world.processes[p].life = Life::Starting(next);
        true
    }

    pub(super) fn recover(&self, world: &mut World, p: usize) -> bool {
        let Life::Starting(step) = world.processes[p].life.clone() else { return false };
        let next = match step {
            Recovery::Slots => return false,
            Recovery::Empty(oa) => {
                world.oas[oa].slot = None;
                Life::Starting(self.next_slot(world))
            }
            Recovery::InMemory(oa, spilled) => {
                world.oas[oa].row.conclude(self, Ended::from(&spilled));
                Life::Starting(self.next_slot(world))
            }
            Recovery::Abandon => {
                world.oas.iter_mut().for_each(|oa| oa.row.abandon());
                let reads_last = self.makes(Mistake::SlotsReadLast);
                Life::Starting(if reads_last { self.next_slot(world) } else { Recovery::Prepare })
            }
            Recovery::Prepare => {
                world.oas.iter_mut().for_each(|oa| oa.slot = None);
                Life::Up
            }
        };
        world.processes[p].life = next;
        true
    }
}

impl World {
    /// Nothing is left of the attempt.
    pub(super) fn idle(&mut self, p: usize, oa: usize) -> bool {
        self.processes[p].desks[oa].work = Work::Idle;
        true
    }

    pub(super) fn open_gate(&mut self, p: usize, oa: usize) -> bool {
        let Work::Journalled { attempt, generation } = *self.work(p, oa) else { return false };
        let set = self.oas[oa].row.attempts[usize::from(attempt)].set;
        self.send_last_byte(p, oa, set, Some(attempt));
        self.processes[p].desks[oa].work = Work::Waiting { attempt, generation };
        true
    }

    pub(super) fn rush(&mut self, p: usize, oa: usize) -> bool {
        let Work::Claimed { generation, set } = *self.work(p, oa) else { return false };
        self.send_last_byte(p, oa, set, None);
        self.processes[p].desks[oa].work = Work::Rushed { generation, set };
        true
    }

    fn send_last_byte(&mut self, p: usize, oa: usize, set: u8, attempt: Option<u8>) {
        let place = &mut self.oas[oa];
        let is_rash = place.may_be_spent(set) && !place.row.has_operators_word(set);
        place.requests.push(Request { set, attempt, client: Some(p), answer: None, is_rash });
    }

    pub(super) fn bar_gate(&mut self, p: usize, oa: usize) -> bool {
        let Work::Journalled { attempt, generation } = *self.work(p, oa) else { return false };
        self.processes[p].desks[oa].work =
            Work::Over { attempt: Some(attempt), generation, answer: Answer::Barred };
        true
    }

    pub(super) fn time_out(&mut self, p: usize, oa: usize) -> bool {
        let Work::Waiting { attempt, generation } = *self.work(p, oa) else { return false };
        self.oas[oa].disconnect(p);
        self.processes[p].desks[oa].work =
            Work::Over { attempt: Some(attempt), generation, answer: Answer::Nothing };
        true
    }

    pub(super) fn spill(&mut self, p: usize, oa: usize) -> bool {
        let Work::Over { attempt: Some(attempt), answer, .. } = *self.work(p, oa) else { return false };
        self.oas[oa].slot = Some(Spilled { attempt, answer });
        true
    }

    pub(super) fn empty_slot(&mut self, p: usize, oa: usize) -> bool {
        self.oas[oa].slot = None;
        self.idle(p, oa)
    }

    /// All that the process knew is gone. Its requests are at Zalo all the same.
    pub(super) fn crash(&mut self, p: usize) -> bool {
        for oa in 0..self.oas.len() {
            self.oas[oa].disconnect(p);
            let work = std::mem::replace(&mut self.processes[p].desks[oa].work, Work::Idle);
            self.processes[p].desks[oa].has_heard_acceptance = false;
            let Work::Over { answer: Answer::Granted(set), .. } = work else { continue };
            if !self.has_copy(oa, set) {
                self.oas[oa].sets[usize::from(set)].reach = Reach::DiedWithItsProcess;
            }
        }
        self.processes[p].life = Life::Down;
        self.left.crashes -= 1;
        true
    }

    /// A process, the slot or the store has the set, or the store had it until a newer one took its place.
    pub fn has_copy(&self, oa: usize, set: u8) -> bool {
        let granted = Answer::Granted(set);
        let place = &self.oas[oa];
        let is_in_memory = self.processes.iter().any(|process| {
            matches!(&process.desks[oa].work, Work::Over { answer, .. } if *answer == granted)
                || matches!(&process.life, Life::Starting(Recovery::InMemory(of, spilled))
                    if *of == oa && spilled.answer == granted)
        });
        let is_in_slot = place.slot.as_ref().is_some_and(|slot| slot.answer == granted);
        place.row.taken & (1 << set) != 0 || is_in_slot || is_in_memory
    }
}
