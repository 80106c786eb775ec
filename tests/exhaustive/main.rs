//! One rotation, and one recovery, with each operation of the store's disk failing in turn, in each way, the way
//! SQLite tests itself; and every ordered pair of faults between the gate and the conclusion.
//!
//! What is judged, by a ledger of the tests' own: a token is presented only after its attempt is durable (I1), and never
//! again without proof (I3); an answer that store or slot has taken is found by whoever comes later, and one that a
//! living process holds is not lost (I4); the database stays sound; and once the disk is well the newest set is there,
//! adopted once.
//!
//! `ZALO_TOKEND_EXHAUSTIVE=1` tries every pair in every combination of kinds, and more power losses.

mod judge;
mod ledger;
#[path = "../memory_store/mod.rs"]
mod memory_store;
mod scenes;
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

/// How many operations that takes.
const FILLING_A_SLOT: u64 = 5;

fn is_long_form() -> bool {
    std::env::var_os("ZALO_TOKEND_EXHAUSTIVE").is_some()
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
    /// How many power losses follow each crash, beside the mere death of the process.
    power_losses: u64,
}

impl Stage {
    /// With so many power losses in the everyday run, and so many in the long one.
    fn new(everyday: u64, long: u64) -> Stage {
        let power_losses = if is_long_form() { long } else { everyday };
        Stage { runtime: Builder::new_current_thread().build().expect("a runtime"), power_losses }
    }

    /// The ways in which a world goes on that has crashed. Everything that is not durable is lost in one; in the others
    /// what is lost depends on where it crashed, so that few seeds try many things.
    fn losses(&self, world: &World) -> Vec<Loss> {
        let seed = |n: u64| if n == 0 { 0 } else { world.disk.operations() * 1_000 + n };
        let power_losses = (0..self.power_losses).map(|n| Loss::Unsynced { seed: seed(n) });
        std::iter::once(Loss::Nothing).chain(power_losses).collect()
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

    /// The answer is in its slot, since the commit's sync failed, and the process has died; what the next one finds in the
    /// log looks committed and is on no platter.
    fn doubtful_log(&self) -> World {
        let world = Stage::due(&[]);
        let mut well = world.copy();
        let begun_at = well.disk.operations();
        self.runtime.block_on(well.live()).expect("nothing is wrong");
        let commit_synced_at = well.committed_at - begun_at;
        let mut failing = world.copy();
        failing.disk.fail(Fault { at: commit_synced_at, kind: FaultKind::Io });
        failing.disk.fail(Fault { at: commit_synced_at + FILLING_A_SLOT, kind: FaultKind::CrashAfter });
        assert!(self.runtime.block_on(failing.live()).is_err(), "it has crashed");
        // What the dead process did not hear of: the slot has it.
        failing.ledger.is_durable();
        failing.after(Loss::Nothing)
    }

    /// Lives until the OA is well, through every kind of death, and judges each end. After the first death `then` is
    /// armed. Returns how many faults have struck.
    fn play(&self, mut world: World, then: Option<Fault>) -> usize {
        let lived = self.runtime.block_on(world.live());
        // Also closing the store may have been struck.
        let died = matches!(lived, Err(Died)) || world.disk.is_down();
        let later = if died {
            world.note_what_is_handed_out();
            let next = |loss| {
                let _tried = Tried(format!("after {loss:?}"));
                let after = world.after(loss);
                then.into_iter().for_each(|fault| after.disk.fail(fault));
                self.play(after, None)
            };
            self.losses(&world).into_iter().map(next).max().unwrap_or(0)
        } else {
            world.judge();
            0
        };
        world.disk.has_struck() + later
    }

    /// Has this scene struck at one operation. Returns whether it was.
    fn strike(&self, name: &str, world: &World, kind: FaultKind, at: u64) -> bool {
        let _tried = Tried(format!("{name}: {kind:?} at operation {at}"));
        let mut struck = world.copy();
        struck.is_full_only = kind == FaultKind::FullForever;
        struck.disk.fail(Fault { at, kind });
        self.play(struck, None) > 0
    }

    /// Strikes each operation of this scene in turn, in each of these ways. There have to be so many at least.
    fn strike_each(&self, name: &str, world: &World, kinds: &[FaultKind], at_least: u64) {
        for kind in kinds {
            let struck = (1..).take_while(|at| self.strike(name, world, *kind, *at)).count() as u64;
            assert!(struck >= at_least, "{name}: {kind:?} struck only {struck} operations");
        }
    }

    /// The same in every way; in the everyday run each operation in two ways, each time the next two.
    fn strike_all(&self, name: &str, world: &World, at_least: u64) {
        if is_long_form() {
            // There may be fewer reads.
            self.strike_each(name, world, &TROUBLES, at_least.min(20));
            return self.strike_each(name, world, &CRASHES, at_least);
        }
        let mut kinds = TROUBLES.into_iter().chain(CRASHES).cycle();
        let in_some_way = |at: &u64| {
            let tried: Vec<FaultKind> = kinds.by_ref().take(2).collect();
            tried.into_iter().filter(|kind| self.strike(name, world, *kind, *at)).count() > 0
        };
        let struck = (1..).take_while(in_some_way).count() as u64;
        assert!(struck >= at_least, "{name}: only {struck} operations were struck");
    }

    /// Strikes the operation `first`, and the n-th after it. Returns whether both were struck.
    fn strike_pair(&self, world: &World, first: u64, second: u64, kinds: (FaultKind, FaultKind)) -> bool {
        let (one, other) = kinds;
        let _tried = Tried(format!("{one:?} at operation {first}, and {other:?} {second} after it"));
        let mut struck = world.copy();
        // Up to the first fault all is as it was in the rotations that were struck once.
        struck.is_gate_judged = true;
        struck.disk.fail(Fault { at: first, kind: one });
        let then = Fault { at: second, kind: other };
        if CRASHES.contains(&one) {
            return self.play(struck, Some(then)) == 2;
        }
        struck.disk.fail(Fault { at: first + second, ..then });
        self.play(struck, None) == 2
    }

    /// The same with the operations after this one. Returns how many there were.
    fn strike_pairs(&self, world: &World, first: u64) -> usize {
        let combinations = pairs_of_kinds();
        let skipped = usize::try_from(first).expect("a small number") * 7;
        let mut next = combinations.iter().copied().cycle().skip(skipped);
        let tried = if is_long_form() { combinations.len() } else { 1 };
        let (mut pairs, mut missed) = (0, 0);
        let (begin, step) = if is_long_form() { (1, 1) } else { (1 + first % 2, 2) };
        for second in (begin..).step_by(step) {
            let now: Vec<_> = next.by_ref().take(tried).collect();
            let both = now.into_iter().filter(|kinds| self.strike_pair(world, first, second, *kinds));
            let is_struck = both.count() > 0;
            pairs += usize::from(is_struck);
            missed = if is_struck { 0 } else { missed + 1 };
            // In the everyday run the next combination may live longer.
            if missed * tried >= 8 {
                break;
            }
        }
        pairs
    }
}

#[test]
fn a_rotation_survives_each_trouble_at_each_operation() {
    Stage::new(0, 0).strike_each("a rotation", &Stage::due(&[]), &TROUBLES, 40);
}

#[test]
fn a_rotation_survives_each_crash_and_power_loss_at_each_operation() {
    Stage::new(4, 100).strike_each("a rotation", &Stage::due(&[]), &CRASHES, 60);
}

#[test]
fn a_recovery_of_an_answer_in_its_slot_survives_everything_at_each_operation() {
    let stage = Stage::new(2, 50);
    let scenes = [
        ("an answer in its slot", stage.presented(&[], true)),
        ("an answer in its slot, and a log that was not synced", stage.doubtful_log()),
    ];
    for (name, world) in scenes {
        stage.strike_each(name, &world, &TROUBLES, 50);
        stage.strike_each(name, &world, &CRASHES, 60);
    }
}

#[test]
fn other_recoveries_survive_everything_at_each_operation() {
    let stage = Stage::new(2, 50);
    let spent = stage.presented(&[Wire::AnswerLost], false);
    stage.strike_all("an attempt that was spent and has no answer", &spent, 80);
    let unheard = stage.presented(&[Wire::RequestLost], false);
    stage.strike_all("an attempt that Zalo never heard of", &unheard, 100);
    stage.strike_all("a log that was left behind", &stage.left_log(), 20);
}

#[test]
fn an_attempt_without_answer_survives_everything_at_each_operation() {
    let stage = Stage::new(2, 50);
    stage.strike_all("spent", &Stage::due(&[Wire::AnswerLost]), 80);
    stage.strike_all("unspent", &Stage::due(&[Wire::RequestLost]), 100);
}

#[test]
fn a_new_store_survives_everything_at_each_operation() {
    Stage::new(2, 50).strike_all("a new store", &World::new(Ledger::new(&[])), 100);
}

/// What two faults can do, one after the other.
fn pairs_of_kinds() -> Vec<(FaultKind, FaultKind)> {
    let kinds = TROUBLES.into_iter().chain(CRASHES).filter(|kind| *kind != FaultKind::ReadIo);
    kinds.clone().flat_map(|one| kinds.clone().map(move |other| (one, other))).collect()
}

/// Of every other pair of places between the opening of the gate and the end of the attempt the everyday run tries one
/// combination of kinds, each time the next one; the long one tries all pairs in all combinations.
#[test]
fn between_gate_and_conclusion_a_rotation_survives_each_pair_of_faults() {
    const THREADS: usize = 2;
    let world = Stage::due(&[]);
    let mut well = world.copy();
    let begun_at = well.disk.operations();
    Stage::new(0, 0).runtime.block_on(well.live()).expect("nothing is wrong");
    let path: Vec<u64> = (well.gate_at - begun_at + 1..=well.concluded_at - begun_at).collect();
    assert!(path.len() > 20, "{path:?}");
    let pairs = std::thread::scope(|scope| {
        let (world, path) = (&world, &path);
        let strike = |thread| {
            move || {
                let stage = Stage::new(1, 2);
                let firsts = path.iter().skip(thread).step_by(THREADS);
                firsts.map(|first| stage.strike_pairs(world, *first)).sum::<usize>()
            }
        };
        let running: Vec<_> = (0..THREADS).map(|thread| scope.spawn(strike(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("each pair holds")).sum::<usize>()
    });
    assert!(pairs > 900, "only {pairs} pairs of places");
}
