//! The events that wait for a hook: of each OA one after the other. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::id::OaId;
use crate::telemetry::feed::Happening;

/// How many events of one OA wait.
pub(super) const MOST_WAITING: usize = 16;
/// How many events wait in all.
pub(super) const MOST_IN_ALL: usize = 10_000;

/// Whose events wait in one line: an OA's, or those that are about none.
pub(super) type Whose = Option<OaId>;

/// The events that wait.
#[derive(Default)]
pub(super) struct Queue {
    lines: BTreeMap<Whose, Line>,
    /// Those whose first event may be run.
    ready: VecDeque<Whose>,
    /// How many events wait in all.
    count: usize,
}

/// The events of one OA. The first may be under way.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Arc<Happening>>,
    failures: u32,
}

/// What became of an event that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits.
    Waits,
    /// It waits, and the oldest of its OA had to go.
    InPlaceOfTheOldest,
    /// There is no room for it.
    Dropped,
}

impl Queue {
    pub(super) fn push(&mut self, whose: Whose, event: Arc<Happening>) -> Pushed {
        if self.count >= MOST_IN_ALL {
            return Pushed::Dropped;
        }
        let line = self.lines.entry(whose.clone()).or_default();
        line.waiting.push_back(event);
        if line.waiting.len() > MOST_WAITING {
            // The first may be under way.
            line.waiting.remove(1);
            return Pushed::InPlaceOfTheOldest;
        }
        self.count += 1;
        if line.waiting.len() == 1 {
            self.ready.push_back(whose);
        }
        Pushed::Waits
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next event that may be run. Nothing more of its OA may until it is done.
    pub(super) fn next(&mut self) -> Option<(Whose, Arc<Happening>)> {
        let whose = self.ready.pop_front()?;
        let event = self.lines.get(&whose)?.waiting.front().cloned()?;
        Some((whose, event))
    }

    /// The event that was run failed; says how often by now.
    pub(super) fn failed(&mut self, whose: &Whose) -> u32 {
        let Some(line) = self.lines.get_mut(whose) else { return 0 };
        line.failures += 1;
        line.failures
    }

    /// The event that failed may be run again.
    pub(super) fn again(&mut self, whose: Whose) {
        self.ready.push_back(whose);
    }

    /// The event that was run is done with.
    pub(super) fn done(&mut self, whose: Whose) {
        let Some(line) = self.lines.get_mut(&whose) else { return };
        self.count -= usize::from(line.waiting.pop_front().is_some());
        line.failures = 0;
        if line.waiting.is_empty() {
            self.lines.remove(&whose);
        } else {
            self.ready.push_back(whose);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;

    fn event(number: u64) -> Arc<Happening> {
        Arc::new(Happening {
            number,
            time: Time::from_millis(0),
            level: "INFO",
            event: "refresh.succeeded".into(),
            oa_id: None,
            fields: serde_json::Map::new(),
        })
    }

    fn next(queue: &mut Queue) -> Option<(String, u64)> {
        let (whose, event) = queue.next()?;
        Some((whose.map_or(String::new(), |oa_id| oa_id.to_string()), event.number))
    }

    fn seven() -> Whose {
        Some(OaId::from("7"))
    }

    #[test]
    fn of_one_oa_one_event_is_run_after_the_other_and_other_oas_do_not_wait() {
        let mut queue = Queue::default();
        queue.push(seven(), event(1));
        queue.push(seven(), event(2));
        queue.push(None, event(3));
        assert_eq!(next(&mut queue), Some(("7".to_owned(), 1)));
        assert_eq!(next(&mut queue), Some((String::new(), 3)));
        assert_eq!(next(&mut queue), None);
        assert_eq!((queue.failed(&seven()), queue.failed(&seven())), (1, 2));
        queue.again(seven());
        assert_eq!(next(&mut queue), Some(("7".to_owned(), 1)));
        queue.done(seven());
        assert_eq!(next(&mut queue), Some(("7".to_owned(), 2)));
        assert_eq!(queue.failed(&seven()), 1);
        queue.done(seven());
        queue.done(None);
        assert!(queue.lines.is_empty() && !queue.has_ready() && queue.count == 0);
    }

    #[test]
    fn no_more_wait_than_there_is_room_for_and_the_one_under_way_stays() {
        let mut queue = Queue::default();
        let most = MOST_WAITING as u64;
        for number in 1..=most {
            assert_eq!(queue.push(seven(), event(number)), Pushed::Waits);
        }
        assert_eq!(next(&mut queue), Some(("7".to_owned(), 1)));
        assert_eq!(queue.push(seven(), event(most + 1)), Pushed::InPlaceOfTheOldest);
        queue.done(seven());
        assert_eq!(next(&mut queue), Some(("7".to_owned(), 3)), "the oldest that was not under way is gone");
        for number in 0..MOST_IN_ALL - (MOST_WAITING - 1) {
            let whose = Some(OaId::from(format!("x{number}")));
            assert_eq!(queue.push(whose, event(0)), Pushed::Waits);
        }
        assert_eq!(queue.push(None, event(0)), Pushed::Dropped);
    }
}
