//! The protocol checked in every state that it can come to, and once more with its rules left out.
//!
//! The bounds here take seconds. `ZALO_TOKEND_MODEL=large cargo test --test model holds` allows more attempts and takes
//! minutes.

mod protocol;

use protocol::properties::{self, I1, I2, I3_PROOF, I3_TRUTH, I4_KEPT, I4_ORDER, I8, KNOWN, ONCE, SILENT};
use protocol::world::World;
use protocol::{Action, Bounds, LooksFor, Mistake, Protocol};
use stateright::{Checker, HasDiscoveries, Model, Path};

/// One OA and one process, which ends and starts again: a refresh in all its ways.
const ALONE: Bounds = Bounds {
    oas: 1,
    processes: 1,
    attempts: 3,
    attempts_in_all: 3,
    crashes: 2,
    refusals: 0,
    imports: 1,
    decisions: 1,
    endings: 1,
};

/// Two OAs in one process: a crash is both OAs', and each has its own verdict.
const TWO_OAS: Bounds =
    Bounds { oas: 2, attempts: 2, crashes: 1, refusals: 0, decisions: 0, endings: 0, ..ALONE };

/// Two processes that the lock let through, on one OA.
const TWO_PROCESSES: Bounds =
    Bounds { processes: 2, attempts: 2, attempts_in_all: 2, crashes: 1, refusals: 1, ..ALONE };

/// Two processes that the lock let through, on two OAs.
const TWO_OF_EACH: Bounds = Bounds { processes: 2, attempts_in_all: 2, ..TWO_OAS };

/// No way to a broken rule is longer than this.
const LONGEST: usize = 24;

/// Looks at every state within the bounds. Which of two OAs it is, and which of two processes, makes no difference.
fn hold(bounds: Bounds) {
    let is_large = std::env::var("ZALO_TOKEND_MODEL").is_ok_and(|size| size == "large");
    let bounds = if is_large { larger(bounds) } else { bounds };
    let checker = Protocol::new(bounds)
        .checker()
        .threads(2)
        .symmetry_fn(World::representative)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_dfs()
        .join();
    if let Some((rule, path)) = checker.discoveries().into_iter().next() {
        panic!("does not hold: {rule}\n{}", told(&path));
    }
    println!("{} states, at most {} steps: {bounds:?}", checker.unique_state_count(), checker.max_depth());
}

/// One attempt more, and an OA that is alone makes all of them.
fn larger(bounds: Bounds) -> Bounds {
    let attempts_in_all = bounds.attempts_in_all + 1;
    let attempts = if bounds.oas == 1 { usize::from(attempts_in_all) } else { bounds.attempts };
    Bounds { attempts, attempts_in_all, ..bounds }
}

/// The shortest way to a state that breaks this rule.
fn shortest_way(
    bounds: Bounds,
    mistakes: &'static [Mistake],
    rule: &'static str,
) -> Option<Path<World, Action>> {
    (2..LONGEST).find_map(|depth| {
        Protocol::new(bounds)
            .without(mistakes)
            .checker()
            .target_max_depth(depth)
            .finish_when(HasDiscoveries::AnyOf([rule].into()))
            .spawn_bfs()
            .join()
            .discovery(rule)
    })
}

/// The steps, a line each, and the state that they lead to.
fn told(path: &Path<World, Action>) -> String {
    let steps: Vec<String> = path.clone().into_actions().iter().map(|step| format!("  {step:?}")).collect();
    format!("{}\n  {:?}", steps.join("\n"), path.last_state())
}

#[track_caller]
fn breaks(bounds: Bounds, mistakes: &'static [Mistake], rule: &'static str) {
    let path = shortest_way(bounds, mistakes, rule);
    let path = path.unwrap_or_else(|| panic!("{mistakes:?} were not found to break: {rule}"));
    println!("{mistakes:?} break: {rule}\n{}\n", told(&path));
}

#[test]
fn every_rule_holds_for_one_oa_and_one_process() {
    hold(ALONE);
}

#[test]
fn every_rule_holds_for_two_oas() {
    hold(TWO_OAS);
}

#[test]
fn every_rule_holds_for_two_processes_that_the_lock_let_through() {
    hold(TWO_PROCESSES);
}

#[test]
fn every_rule_holds_for_two_oas_and_two_processes() {
    hold(TWO_OF_EACH);
}

#[test]
fn the_model_comes_to_all_that_it_is_there_for() {
    let places: [(Bounds, LooksFor); 3] = [
        (ALONE, properties::sights_of_one),
        (TWO_OAS, properties::sights_of_two_oas),
        (TWO_PROCESSES, properties::sights_of_two_processes),
    ];
    for (bounds, looks_for) in places {
        Protocol::new(bounds).looking_for(looks_for).checker().spawn_bfs().join().assert_properties();
    }
}

#[test]
fn without_the_gate_a_spent_token_looks_unspent() {
    let mistakes = &[Mistake::NoGate];
    breaks(ALONE, mistakes, I1);
    breaks(ALONE, mistakes, SILENT);
    breaks(ALONE, mistakes, I3_TRUTH);
}

#[test]
fn one_acceptance_is_no_proof_while_zalo_may_be_late() {
    let mistakes = &[Mistake::OneAcceptance];
    breaks(ALONE, mistakes, KNOWN);
    breaks(ALONE, mistakes, I3_TRUTH);
}

#[test]
fn without_the_generation_a_late_set_takes_the_place_of_a_persons() {
    breaks(ALONE, &[Mistake::NoGenerationGuard], I4_ORDER);
    breaks(ALONE, &[Mistake::NoGenerationGuard, Mistake::NoLookBeforeConcluding], ONCE);
}

#[test]
fn without_the_stores_second_look_two_processes_meet() {
    breaks(TWO_PROCESSES, &[Mistake::NoLookBeforeJournalling], I2);
    breaks(TWO_PROCESSES, &[Mistake::NoLookBeforeJournalling], I3_PROOF);
    breaks(TWO_PROCESSES, &[Mistake::NoLookBeforeConcluding], I8);
    breaks(TWO_PROCESSES, &[Mistake::NoLookBeforePlanning], I8);
}

#[test]
fn without_using_up_its_proof_a_token_is_presented_again_and_again() {
    breaks(ALONE, &[Mistake::ProofsLast], I3_PROOF);
}

#[test]
fn in_another_order_a_start_loses_what_the_slots_have() {
    breaks(ALONE, &[Mistake::SlotEmptiedFirst], I4_KEPT);
    breaks(ALONE, &[Mistake::SlotsReadLast], I4_KEPT);
}

#[test]
fn an_import_that_does_not_look_leaves_the_oa_stuck_or_its_token_presented_again() {
    breaks(ALONE, &[Mistake::ImportLeavesDoubt], I8);
    breaks(ALONE, &[Mistake::ImportTakesUsedSets], I8);
    breaks(ALONE, &[Mistake::ImportTakesUsedSets, Mistake::NoProofNeeded], I3_TRUTH);
}

#[test]
fn without_the_lock_a_start_takes_the_answer_from_a_living_process() {
    breaks(TWO_PROCESSES, &[Mistake::StartsBesideAnother], I4_KEPT);
}
