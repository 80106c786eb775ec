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
mod people;
mod process;
mod queue;
mod trace;
mod truth;
mod world;
mod zalo;

use std::process::ExitCode;

use clap::Parser;
use coverage::Coverage;
use world::{Outcome, World};

/// Seeds that once found a fault, each with what it was.
const REGRESSIONS: &str = include_str!("regressions.txt");
/// How many rotations are lived through without arguments: a year of a few OAs.
const EVERYDAY: u64 = 1_000;

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

fn live_many(arguments: &Arguments) -> Result<(), String> {
    let wanted = arguments.rotations.unwrap_or(EVERYDAY);
    let (mut sum, mut coverage, mut scenarios) = (Outcome::default(), Coverage::default(), 0);
    let mut live = |seed| {
        let (outcome, own) = live(seed, arguments.tell)?;
        sum.add(&outcome);
        coverage.add(own);
        scenarios += 1;
        Ok::<(Outcome, u64), String>((outcome, sum.rotations))
    };
    let known = if arguments.rotations.is_some() { regressions() } else { Vec::new() };
    for seed in known {
        live(seed)?;
    }
    let (first, mut rotations) = live(arguments.from)?;
    live_again(arguments.from, &first)?;
    for seed in arguments.from + 1.. {
        if rotations >= wanted {
            break;
        }
        rotations = live(seed)?.1;
    }
    coverage.print();
    println!("{scenarios} scenarios: {sum}");
    let never = coverage.never_met();
    if !never.is_empty() && arguments.rotations.is_some() {
        return Err(format!("never met: {}", never.join(", ")));
    }
    Ok(())
}

fn regressions() -> Vec<u64> {
    let seeds = REGRESSIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    seeds.map(|line| line.split_whitespace().next().expect("a seed").parse().expect("a number")).collect()
}
