//! What always holds, and what is to be seen at some time.

use stateright::Property;
use zalo_tokend::rotation::{Proof, Reason};

use super::Protocol;
use super::world::{Answer, Attempt, Call, Kind, Life, Oa, Phase, Reach, Recovery, Standing, Work, World};

pub const I1: &str = "I1: no last byte leaves before its attempt is in the journal";
pub const I2: &str = "I2: one request an OA is under way";
pub const I3_PROOF: &str = "I3: between two presentations of a token stands a proof that was used up";
pub const I3_TRUTH: &str = "I3: no token is presented that is spent or may be";
pub const I4_KEPT: &str = "I4: a set that came is not lost";
pub const I4_ORDER: &str = "I4: no set is overwritten by one that does not succeed it";
pub const ONCE: &str = "a set is adopted once";
pub const SILENT: &str = "a loss is not silent: a token that was spent is never due";
pub const KNOWN: &str = "a token that is spent or may be is never due";
pub const I8: &str = "I8: every state has a next action or a person";

/// What always holds.
pub fn rules() -> Vec<Property<Protocol>> {
    vec![
        Property::always(I1, |_, world| {
            every(world, |_, oa| oa.requests.iter().all(|r| r.attempt.is_some()))
        }),
        Property::always(I2, |_, world| every(world, is_alone)),
        Property::always(I3_PROOF, |_, world| every(world, |_, oa| has_proofs(oa))),
        Property::always(I3_TRUTH, |_, world| every(world, |_, oa| oa.requests.iter().all(|r| !r.is_rash))),
        Property::always(I4_KEPT, |_, world| every_index(world, is_kept)),
        Property::always(I4_ORDER, |_, world| every(world, |_, oa| !oa.row.has_overwritten)),
        Property::always(ONCE, |_, world| every(world, |_, oa| !oa.row.has_adopted_twice)),
        Property::always(SILENT, |protocol, world| {
            every_index(world, |w, oa| !is_due_unasked(protocol, w, oa) || !w.oas[oa].current().is_spent)
        }),
        Property::always(KNOWN, |protocol, world| {
            let may_be_spent = |oa: &Oa| oa.may_be_spent(oa.row.set);
            every_index(world, |w, oa| !is_due_unasked(protocol, w, oa) || !may_be_spent(&w.oas[oa]))
        }),
        Property::always(I8, |protocol, world| every_index(world, |w, oa| has_next(protocol, w, oa))),
    ]
}

fn every(world: &World, holds: impl Fn(&World, &Oa) -> bool) -> bool {
    world.oas.iter().all(|oa| holds(world, oa))
}

fn every_index(world: &World, holds: impl Fn(&World, usize) -> bool) -> bool {
    (0..world.oas.len()).all(|oa| holds(world, oa))
}

fn is_alone(_: &World, oa: &Oa) -> bool {
    oa.requests.iter().filter(|request| request.client.is_some()).count() <= 1
}

/// Every attempt on a token but the last one has a proof, and the next one has used it.
fn has_proofs(oa: &Oa) -> bool {
    let attempts = &oa.row.attempts;
    attempts.iter().enumerate().all(|(index, attempt)| {
        let is_last = attempts[index + 1..].iter().all(|later| later.set != attempt.set);
        is_last || attempt.proof.as_ref().is_some_and(|proof| proof.is_used)
    })
}

/// Every set that came to us is in a process, in the slot or in the store, or ended with its process before any disk
/// had it.
fn is_kept(world: &World, oa: usize) -> bool {
    (0..).zip(&world.oas[oa].sets).all(|(set, known)| match known.reach {
        Reach::Received => world.has_copy(oa, set),
        Reach::Sent | Reach::DiedWithItsProcess => true,
    })
}

/// The next process to look would present the current token, and no operator has said that it shall.
fn is_due_unasked(protocol: &Protocol, world: &World, oa: usize) -> bool {
    let row = &world.oas[oa].row;
    let is_in_hand = world.works(oa).any(|work| !matches!(work, Work::Idle));
    !is_in_hand && row.is_due(protocol) && !row.has_operators_word(row.set)
}

/// Either a step of ours leads on from here, or a person is called.
fn has_next(protocol: &Protocol, world: &World, oa: usize) -> bool {
    let row = &world.oas[oa].row;
    let is_in_hand = world.works(oa).any(|work| !matches!(work, Work::Idle));
    let start_is_ahead = world.processes.iter().any(|process| process.life != Life::Up);
    match (row.standing, row.open()) {
        (Standing::Scheduled | Standing::Retrying, None) => is_in_hand || row.is_due(protocol),
        (Standing::Scheduled | Standing::Retrying, Some(open)) => {
            let is_presenting = row.attempts[usize::from(open)].phase == Phase::Presenting;
            is_presenting && (is_in_hand || start_is_ahead)
        }
        // A question, or an operator's word, is about an attempt that is open.
        (Standing::Uncertain { attempt, .. }, open) => open == Some(attempt),
        (Standing::ReauthorizationRequired(_), open) => open.is_none(),
    }
}

/// What is to be seen at some time: without these states the rules would be held where nothing happens.
pub fn sights_of_one() -> Vec<Property<Protocol>> {
    [sights_of_sets(), sights_of_doubt()].concat()
}

/// Of where sets come to be and where they go.
fn sights_of_sets() -> Vec<Property<Protocol>> {
    let sometimes = Property::<Protocol>::sometimes;
    vec![
        sometimes("a set is adopted", |_, world| some(world, |oa| oa.row.generation > 1)),
        sometimes("a set is refreshed twice", |_, world| some(world, |oa| oa.row.taken & 0b100 != 0)),
        sometimes("an answer is lost on its way", |_, world| some(world, is_lost_on_the_way)),
        sometimes("an answer dies with its process", |_, world| {
            some(world, |oa| oa.sets.iter().any(|set| set.reach == Reach::DiedWithItsProcess))
        }),
        sometimes("an answer waits in a slot for the next start", |_, world| {
            let is_down = world.processes.iter().all(|process| process.life == Life::Down);
            is_down && some(world, |oa| oa.slot.as_ref().is_some_and(is_granted))
        }),
        sometimes("an answer is taken in out of a slot", |_, world| {
            world.processes.iter().any(|process| match process.life {
                Life::Starting(Recovery::Empty(oa)) => world.oas[oa].row.generation > 1,
                Life::Starting(_) | Life::Up | Life::Down => false,
            })
        }),
        sometimes("a late set is kept aside", |_, world| {
            some(world, |oa| oa.row.attempts.iter().any(|attempt| attempt.is_kept_aside))
        }),
        sometimes("a person's set goes on where an attempt was never settled", |_, world| {
            some(world, |oa| {
                let closed =
                    |a: &Attempt| a.phase == Phase::Closed && a.proof.is_none() && a.set != oa.row.set;
                let is_uncertain_no_more = oa.row.standing == Standing::Scheduled;
                is_uncertain_no_more && oa.row.attempts.iter().any(closed) && oa.current().is_from_consent
            })
        }),
    ]
}

/// Of how it is found out whether a token was spent.
fn sights_of_doubt() -> Vec<Property<Protocol>> {
    let sometimes = Property::<Protocol>::sometimes;
    vec![
        sometimes("a person is called for a lost answer", |_, world| {
            some(world, |oa| oa.row.standing == Standing::ReauthorizationRequired(Call(Reason::ResponseLost)))
        }),
        sometimes("a proof by the old access token is used up", |_, world| {
            some(world, |oa| has_used(oa, Proof::OldTokenAccepted))
        }),
        sometimes("a barred gate lets the token be presented again", |_, world| {
            some(world, |oa| has_used(oa, Proof::GateBarred))
        }),
        sometimes("a token is spent between the two questions", |_, world| {
            (0..world.oas.len()).any(|oa| {
                let is_spent = world.oas[oa].current().is_spent;
                is_spent && world.processes.iter().any(|process| process.desks[oa].has_heard_acceptance)
            })
        }),
        sometimes("an operator is asked", |_, world| {
            some(world, |oa| matches!(oa.row.standing, Standing::Uncertain { is_held: true, .. }))
        }),
        sometimes("an operator has a spent token presented", |_, world| {
            some(world, |oa| oa.current().is_spent && has_used(oa, Proof::Operator))
        }),
    ]
}

/// What takes two OAs.
pub fn sights_of_two_oas() -> Vec<Property<Protocol>> {
    vec![
        Property::<Protocol>::sometimes("two OAs are uncertain at once", |_, world| {
            world.oas.iter().all(|oa| matches!(oa.row.standing, Standing::Uncertain { .. }))
        }),
        Property::<Protocol>::sometimes(
            "one OA is adopted while the other one's answer is out",
            |_, world| {
                let is_waiting = |oa: usize| world.works(oa).any(|work| matches!(work, Work::Waiting { .. }));
                is_waiting(0) && world.oas[1].row.generation > 1 && !world.oas[1].current().is_from_consent
            },
        ),
    ]
}

/// What takes two processes.
pub fn sights_of_two_processes() -> Vec<Property<Protocol>> {
    vec![
        Property::<Protocol>::sometimes("two processes have claimed the same OA", |_, world| {
            world.works(0).all(|work| matches!(work, Work::Claimed { .. }))
        }),
        Property::<Protocol>::sometimes("both have heard one acceptance", |_, world| {
            world.processes.iter().all(|process| process.desks[0].has_heard_acceptance)
        }),
    ]
}

fn some(world: &World, is_seen: impl Fn(&Oa) -> bool) -> bool {
    world.oas.iter().any(is_seen)
}

/// Spent, the successor never came, and nobody is waiting for it.
fn is_lost_on_the_way(oa: &Oa) -> bool {
    oa.current().is_spent && oa.requests.is_empty() && oa.sets.iter().any(|set| set.reach == Reach::Sent)
}

fn has_used(oa: &Oa, kind: Proof) -> bool {
    oa.row
        .attempts
        .iter()
        .filter_map(|attempt| attempt.proof.as_ref())
        .any(|proof| proof.kind == Kind(kind) && proof.is_used)
}

fn is_granted(spilled: &super::world::Spilled) -> bool {
    matches!(spilled.answer, Answer::Granted(_))
}
