//! One rotation, and one recovery, with each operation of the store's disk failing in turn, in each way, the way
//! SQLite tests itself; and every ordered pair of faults between the gate and the conclusion.
//!
//! What is judged, by a ledger of the tests' own: a token is presented only after its attempt is durable (I1), and never
//! again without proof (I3); an answer that store or slot has taken is found by whoever comes later, and one that a
//! living process holds is not lost (I4); the database stays sound; and once the disk is well the newest set is there,
//! adopted once.
//!
//! `ZALO_TOKEND_EXHAUSTIVE=1` tries every pair in every combination of kinds, and more power losses.

mod ledger;
mod world;

use faulty_disk::{Fault, FaultKind, Loss};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

use ledger::{Ledger, Wire};
use world::{Died, World};

/// What does not end the process.
const TROUBLES: [FaultKind; 7] = [
    FaultKind::Io,
    FaultKind::IoForever,
    FaultKind::Full,
    FaultKind::FullForever,
    FaultKind::ShortWrite,
    FaultKind::FalseAlarm,
    FaultKind::ReadIo,
];
const CRASHES: [FaultKind; 2] = [FaultKind::CrashBefore, FaultKind::CrashAfter];

fn is_long_form() -> bool {
    std::env::var_os("ZALO_TOKEND_EXHAUSTIVE").is_some()
}

/// The death of the process, and so many of the machine.
fn losses(power_losses: u64) -> Vec<Loss> {
    let power_losses = (0..power_losses).map(|seed| Loss::Unsynced { seed });
    std::iter::once(Loss::Nothing).chain(power_losses).collect()
}

/// Says what was tried when something turns out to be wrong.
struct Tried(String);

impl Drop for Tried {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

/// Plays scenes, which begin with the start of a process on a disk.
struct Stage {
    runtime: Runtime,
    losses: Vec<Loss>,
}

impl Stage {
    fn new(losses: Vec<Loss>) -> Stage {
        Stage { runtime: Builder::new_current_thread().build().expect("a runtime"), losses }
    }

    /// An OA whose set is due.
    fn due(wire: &[Wire]) -> World {
        let mut world = World::new(Ledger::new(wire));
        drop(world.start().expect("the disk is well"));
        world.import().expect("the disk is well");
        world.pass(Duration::from_secs(24 * 3_600));
        world
    }

    /// An earlier process has presented a token, and died.
    fn presented(&self, wire: &[Wire], into_slot: bool) -> World {
        let mut world = Stage::due(wire);
        self.runtime.block_on(world.present(into_slot));
        world
    }

    fn left_log(&self) -> World {
        let mut world = Stage::due(&[]);
        self.runtime.block_on(world.leave_a_log());
        world
    }

    /// Lives until the OA is well, through every kind of death, and judges each end. After the first death `then` is
    /// armed. Returns how many faults have struck.
    fn play(&self, mut world: World, then: Option<Fault>) -> usize {
        let lived = self.runtime.block_on(world.live());
        // Also closing the store may have been struck.
        let died = matches!(lived, Err(Died)) || world.disk.is_down();
        let later = if died {
            let next = |loss| {
                let _tried = Tried(format!("after {loss:?}"));
                let after = world.after(loss);
                then.into_iter().for_each(|fault| after.disk.fail(fault));
                self.play(after, None)
            };
            self.losses.iter().copied().map(next).max().unwrap_or(0)
        } else {
            world.judge();
            0
        };
        world.disk.has_struck() + later
    }

    /// Strikes each operation of this scene in turn, in each of these ways. Each is to have at least so many.
    fn strike_each(&self, name: &str, world: &World, kinds: &[FaultKind], at_least: u64) {
        for kind in kinds {
            let has_struck = |at: &u64| {
                let _tried = Tried(format!("{name}: {kind:?} at operation {at}"));
                let mut struck = world.copy();
                struck.is_full_only = *kind == FaultKind::FullForever;
                struck.disk.fail(Fault { at: *at, kind: *kind });
                self.play(struck, None) > 0
            };
            let struck = (1..).take_while(has_struck).count() as u64;
            assert!(struck >= at_least, "{name}: {kind:?} struck only {struck} operations");
        }
    }
}

/// In the everyday run, and in the long one.
fn power_losses(everyday: u64, long: u64) -> Vec<Loss> {
    losses(if is_long_form() { long } else { everyday })
}

#[test]
fn a_rotation_survives_each_trouble_at_each_operation() {
    Stage::new(losses(0)).strike_each("a rotation", &Stage::due(&[]), &TROUBLES, 5);
}

#[test]
fn a_rotation_survives_each_crash_and_power_loss_at_each_operation() {
    Stage::new(power_losses(6, 100)).strike_each("a rotation", &Stage::due(&[]), &CRASHES, 60);
}

#[test]
fn a_new_store_survives_everything_at_each_operation() {
    let stage = Stage::new(power_losses(3, 50));
    let world = World::new(Ledger::new(&[]));
    stage.strike_each("a new store", &world, &TROUBLES, 5);
    stage.strike_each("a new store", &world, &CRASHES, 100);
}

#[test]
fn the_settling_of_an_attempt_without_answer_survives_everything_at_each_operation() {
    let stage = Stage::new(power_losses(2, 50));
    for (name, wire) in [("spent", Wire::AnswerLost), ("unspent", Wire::RequestLost)] {
        let world = Stage::due(&[wire]);
        stage.strike_each(name, &world, &TROUBLES, 5);
        stage.strike_each(name, &world, &CRASHES, 60);
    }
}

#[test]
fn a_recovery_survives_everything_at_each_operation() {
    let stage = Stage::new(power_losses(3, 50));
    let scenes = [
        ("an answer in its slot", stage.presented(&[], true)),
        ("an attempt that was spent and has no answer", stage.presented(&[Wire::AnswerLost], false)),
        ("an attempt that was never heard of", stage.presented(&[Wire::RequestLost], false)),
        ("a log that was left behind", stage.left_log()),
    ];
    for (name, world) in scenes {
        stage.strike_each(name, &world, &TROUBLES, 4);
        stage.strike_each(name, &world, &CRASHES, 10);
    }
}

/// Of each pair of places between the opening of the gate and the end of the attempt the everyday run tries one
/// combination of kinds, each time the next one; the long one tries them all.
#[test]
fn between_gate_and_conclusion_a_rotation_survives_each_pair_of_faults() {
    let stage = Stage::new(power_losses(1, 5));
    let world = Stage::due(&[]);
    let mut well = world.copy();
    let begun_at = well.disk.operations();
    stage.runtime.block_on(well.live()).expect("nothing is wrong");
    let path = well.gate_at - begun_at + 1..=well.concluded_at - begun_at;
    assert!(path.clone().count() > 20, "{path:?}");
    let kinds: Vec<FaultKind> =
        TROUBLES.into_iter().chain(CRASHES).filter(|kind| *kind != FaultKind::ReadIo).collect();
    let combinations: Vec<_> =
        kinds.iter().flat_map(|one| kinds.iter().map(move |other| (*one, *other))).collect();
    let mut next = combinations.iter().cycle();
    let mut pairs = 0;
    for first in path {
        for second in 1.. {
            let tried = if is_long_form() { combinations.len() } else { 1 };
            let strike = |(one, other): &(FaultKind, FaultKind)| {
                let _tried = Tried(format!("{one:?} at operation {first}, and {other:?} {second} after it"));
                let struck = world.copy();
                struck.disk.fail(Fault { at: first, kind: *one });
                let then = Fault { at: second, kind: *other };
                if CRASHES.contains(one) {
                    return stage.play(struck, Some(then));
                }
                struck.disk.fail(Fault { at: first + second, ..then });
                stage.play(struck, None)
            };
            if next.by_ref().take(tried).map(strike).max() != Some(2) {
                break;
            }
            pairs += 1;
        }
    }
    println!("{pairs} pairs of places");
    assert!(pairs > 1_000, "{pairs}");
}
