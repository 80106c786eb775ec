//! Which fault met an OA in which state, how often; and so, which never did.

use std::collections::BTreeMap;

use zalo_tokend::store::State;

use crate::chaos::Mishap;
use crate::fate::{Fate, NOT_PRESENTED};
use crate::world::World;

/// What an attempt is doing, in place of its OA's state.
const CONNECTING: &str = "connecting";
const CONCLUDING: &str = "concluding";
const NOT_RUNNING: &str = "not running";

#[derive(Default)]
pub struct Coverage(BTreeMap<(String, &'static str), u64>);

impl Coverage {
    pub fn count(&mut self, state: &'static str, fault: &str) {
        *self.0.entry((fault.to_owned(), state)).or_default() += 1;
    }

    pub fn add(&mut self, other: Coverage) {
        for (key, count) in other.0 {
            *self.0.entry(key).or_default() += count;
        }
    }

    pub fn of(&self, fault: &str) -> u64 {
        self.0.iter().filter(|((of, _), _)| of == fault).map(|(_, count)| count).sum()
    }

    /// The faults that no OA met in any state.
    pub fn never_met(&self) -> Vec<String> {
        faults().into_iter().filter(|fault| self.of(fault) == 0).collect()
    }

    pub fn print(&self) {
        let mut states: Vec<&str> = State::ALL.iter().map(|state| state.word()).collect();
        states.extend([CONNECTING, CONCLUDING, NOT_RUNNING]);
        print!("{:<18}", "");
        for state in &states {
            print!(" {:>10}", state.chars().take(10).collect::<String>());
        }
        println!();
        for fault in faults() {
            print!("{fault:<18}");
            for state in &states {
                match self.0.get(&(fault.clone(), *state)) {
                    Some(count) => print!(" {count:>10}"),
                    None => print!(" {:>10}", "·"),
                }
            }
            println!();
        }
    }
}

fn faults() -> Vec<String> {
    let fates = Fate::ALL.iter().map(|fate| format!("{fate:?}"));
    let mishaps = Mishap::ALL.iter().map(|mishap| format!("{mishap:?}"));
    fates.chain([NOT_PRESENTED.to_owned()]).chain(mishaps).collect()
}

impl World {
    /// This mishap meets every OA as it is now.
    pub fn cover(&mut self, fault: &str) -> Result<(), String> {
        let Some(process) = &self.process else {
            self.coverage.count(NOT_RUNNING, fault);
            return Ok(());
        };
        for attempt in process.attempts.values() {
            let stage = match (&attempt.opened, attempt.is_concluding()) {
                (_, true) => CONCLUDING,
                (None, false) => CONNECTING,
                (Some(_), false) => State::Presenting.word(),
            };
            self.coverage.count(stage, fault);
        }
        for status in self.statuses()?.iter().filter(|status| status.state != State::Presenting) {
            self.coverage.count(status.state.word(), fault);
        }
        Ok(())
    }
}
