//! A simulated year, and as many more as one likes: the program's own rules and the store's own verbs, on one thread,
//! with a clock of its own and a disk in memory, against a model of Zalo in which everything goes wrong that can.
//!
//! A seed is a scenario. It decides how Zalo behaves where nothing is documented, how many OAs there are, and everything
//! that happens; nothing else does, so a seed that failed fails again. After each step what must always hold is looked
//! at: `ledger` judges what was seen at the wire (I1, I2, I3), `truth` what the store has and hands out (I4, I5, I8, I9,
//! I10). I6 and I7 are the wire's and the process's own, and are shown with the real binary.
//!
//! ```text
//! cargo test --test year                              one scenario
//! cargo test --release --test year -- --rotations N   as many as N rotations take, after those that once found something
//! cargo test --test year -- --seed S --tell           one scenario, told line by line
//! ```

mod attempt;
mod chaos;
mod clocks;
mod coverage;
mod doubts;
mod fate;
mod ledger;
#[path = "../memory_store/mod.rs"]
mod memory_store;
mod people;
mod process;
mod queue;
mod trace;
mod truth;
mod world;
mod zalo;

use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::Parser;
use coverage::Coverage;
use world::{Outcome, World};

/// Seeds that once found a fault, each with what it was.
const REGRESSIONS: &str = include_str!("regressions.txt");

#[derive(Parser)]
struct Arguments {
    /// Live scenarios until there were so many rotations.
    #[arg(long, value_name = "N")]
    rotations: Option<u64>,
    /// Live this scenario alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Begin with this seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Tell what happens, line by line.
    #[arg(long)]
    tell: bool,
    /// What a test is called that is to be run, as cargo hands it to every test; this one has one name.
    names: Vec<String>,
    /// As cargo hands it on.
    #[arg(long)]
    exact: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_named = |name: &String| "a_simulated_year".contains(name.as_str());
    if !arguments.names.is_empty() && !arguments.names.iter().any(is_named) {
        return ExitCode::SUCCESS;
    }
    let outcome = match arguments.seed {
        Some(seed) => live_one(seed, arguments.tell),
        None => live_many(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// One scenario. A failure comes with its seed and the last that happened.
fn live(seed: u64, is_told: bool) -> Result<(Outcome, Coverage), String> {
    let mut world = World::new(seed, is_told);
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(world.live())));
    let failure = match lived {
        Ok(Ok(outcome)) => return Ok((outcome, std::mem::take(&mut world.coverage))),
        Ok(Err(broken)) => broken,
        Err(_) => "it panicked".to_owned(),
    };
    Err(format!(
        "{}\nseed {seed}: {failure}\nagain: cargo test --test year -- --seed {seed} --tell",
        world.trace.end()
    ))
}

/// The same seed is the same scenario, to the byte.
fn live_again(seed: u64, first: &Outcome) -> Result<(), String> {
    let (second, _) = live(seed, false)?;
    if first.fingerprint != second.fingerprint {
        return Err(format!("seed {seed} is not the same scenario twice"));
    }
    Ok(())
}

fn live_one(seed: u64, is_told: bool) -> Result<(), String> {
    let (outcome, coverage) = live(seed, is_told)?;
    live_again(seed, &outcome)?;
    coverage.print();
    println!("seed {seed}: {outcome}");
    Ok(())
}

/// What several scenarios came to.
#[derive(Default)]
struct Sum {
    outcome: Outcome,
    coverage: Coverage,
    scenarios: u64,
    failure: Option<String>,
}

/// Lives these scenarios until there were enough rotations, or one failed: as many at once as there are cores, each on one
/// thread.
fn live_until(seeds: impl Iterator<Item = u64> + Send, wanted: u64) -> Sum {
    let (seeds, sum) = (Mutex::new(seeds), Mutex::new(Sum::default()));
    let next = || {
        let sum = lock(&sum);
        if sum.failure.is_some() || sum.outcome.rotations >= wanted { None } else { lock(&seeds).next() }
    };
    let work = || {
        while let Some(seed) = next() {
            let lived = live(seed, false);
            let mut sum = lock(&sum);
            match lived {
                Ok((outcome, coverage)) => {
                    sum.outcome.add(&outcome);
                    sum.coverage.add(coverage);
                    sum.scenarios += 1;
                }
                Err(failure) => sum.failure = Some(failure),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn live_many(arguments: &Arguments) -> Result<(), String> {
    let (first, _) = live(arguments.from, arguments.tell)?;
    live_again(arguments.from, &first)?;
    let Some(wanted) = arguments.rotations else {
        println!("seed {}: {first}", arguments.from);
        return Ok(());
    };
    let sum = live_until(regressions().into_iter().chain(arguments.from..), wanted);
    sum.coverage.print();
    println!("{} scenarios: {}", sum.scenarios, sum.outcome);
    if let Some(failure) = sum.failure {
        return Err(failure);
    }
    match sum.coverage.never_met() {
        never if never.is_empty() => Ok(()),
        never => Err(format!("never met: {}", never.join(", "))),
    }
}

fn regressions() -> Vec<u64> {
    let seeds = REGRESSIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    seeds.map(|line| line.split_whitespace().next().expect("a seed").parse().expect("a number")).collect()
}
