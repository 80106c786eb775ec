//! What happened, line by line: the end of it for whoever looks into a failure, and a fingerprint of all of it, by
//! which two runs of a seed are told to be the same.

use std::collections::VecDeque;

use crate::clocks::{DAY, HOUR, MINUTE, SECOND};

const KEPT: usize = 120;

pub struct Trace {
    is_told: bool,
    last: VecDeque<String>,
    fingerprint: u64,
}

impl Trace {
    pub fn new(is_told: bool) -> Trace {
        Trace { is_told, last: VecDeque::new(), fingerprint: 0xcbf2_9ce4_8422_2325 }
    }

    pub fn note(&mut self, at: u64, words: &str) {
        let (days, hours, minutes) = (at / DAY, at / HOUR % 24, at / MINUTE % 60);
        let line = format!(
            "day {days:3} {hours:02}:{minutes:02}:{:02}.{:03}  {words}",
            at / SECOND % 60,
            at % SECOND
        );
        for byte in line.bytes() {
            self.fingerprint = (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.is_told {
            println!("{line}");
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// FNV-1a of all lines.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    pub fn end(&self) -> String {
        self.last.iter().map(|line| format!("{line}\n")).collect()
    }
}
