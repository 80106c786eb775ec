//! What will happen, in the order of its time, and of its making where times are equal.

use std::collections::BTreeMap;

use zalo_tokend::clock::Moment;
use zalo_tokend::id::{AppId, AttemptId};
use zalo_tokend::rotation::Exchange;
use zalo_tokend::store::Claim;

use crate::chaos::Relief;
use crate::fate::Fate;
use crate::ledger::Delivered;

/// Something that happens.
pub enum Event {
    /// In the program, if that run of it still lives.
    Step(u32, Step),
    /// At Zalo, whatever became of whoever asked.
    WorkedOn { attempt: AttemptId, refresh: String, app_id: AppId, fate: Fate },
    /// Something goes wrong; regularly, or because an attempt is under way.
    Mishap { is_regular: bool },
    /// And ends.
    Relief(Relief),
    /// Somebody looks at the fleet.
    Round,
    /// The program is started.
    Start,
}

/// Something that the program does.
pub enum Step {
    Sweep,
    /// All but the last byte is sent.
    Gate(AttemptId),
    /// This is what the client has of an answer, and how the ledger calls it.
    Heard(AttemptId, Exchange, Delivered),
    /// The store is asked again to take the answer.
    Conclude(AttemptId),
    /// The token that this claim's successor, obtained then, superseded, and that was alive before or not, is asked
    /// about.
    Measure(Box<Claim>, bool, Moment),
    /// What cron does.
    Duties,
}

#[derive(Default)]
pub struct Queue {
    events: BTreeMap<(u64, u64), Event>,
    made: u64,
}

impl Queue {
    pub fn push(&mut self, at: u64, event: Event) {
        self.made += 1;
        self.events.insert((at, self.made), event);
    }

    pub fn pop(&mut self) -> Option<(u64, Event)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }

    /// Everything that the program would have done before `until` waits until then: it is not running.
    pub fn suspend(&mut self, until: u64) {
        let late: Vec<(u64, u64)> = self
            .events
            .range(..(until, 0))
            .filter(|(_, event)| matches!(event, Event::Step(..) | Event::Round | Event::Mishap { .. }))
            .map(|(key, _)| *key)
            .collect();
        for key in late {
            if let Some(event) = self.events.remove(&key) {
                self.events.insert((until, key.1), event);
            }
        }
    }
}
