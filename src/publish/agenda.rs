//! What is to be tried again, and when.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

/// Each thing once, by its time.
#[derive(Debug)]
pub(super) struct Agenda<K> {
    times: BTreeMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
}

impl<K> Default for Agenda<K> {
    fn default() -> Agenda<K> {
        Agenda { times: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Agenda<K> {
    pub(super) fn put(&mut self, key: K, at: Instant) {
        self.strike(&key);
        self.times.insert(key.clone(), at);
        self.by_time.insert((at, key));
    }

    pub(super) fn strike(&mut self, key: &K) {
        if let Some(at) = self.times.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out what is due, `most` at most.
    pub(super) fn take_due(&mut self, now: Instant, most: usize) -> Vec<K> {
        let due = self.by_time.iter().take_while(|(at, _)| *at <= now).take(most);
        let due: Vec<K> = due.map(|(_, key)| key.clone()).collect();
        due.iter().for_each(|key| self.strike(key));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_put_twice_is_due_once_and_what_is_struck_never() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut agenda = Agenda::default();
        agenda.put("a", now);
        agenda.put("a", later);
        agenda.put("b", now);
        agenda.put("c", now);
        agenda.strike(&"c");
        assert_eq!(agenda.next(), Some(now));
        assert_eq!(agenda.take_due(now, 9), ["b"]);
        assert_eq!(agenda.next(), Some(later));
        assert_eq!(agenda.take_due(later, 0).len(), 0);
        assert_eq!(agenda.take_due(later, 1), ["a"]);
        assert_eq!(agenda.next(), None);
    }
}
