//! The faults that have not happened yet. Finding the next one that fits takes the same time however many OAs have
//! faults of their own. May import id.

use std::collections::{HashMap, VecDeque};

use super::fault::{Fault, Phase, Rule, Times};
use crate::id::OaId;

/// Rules are looked up by when they strike and for whom; `None` is everybody.
type Key = (Phase, Option<OaId>);

#[derive(Debug)]
struct Waiting {
    /// The order in which rules were added, over all keys.
    place: u64,
    rule: Rule,
}

/// The rules that still wait, each findable without looking at the others.
#[derive(Debug, Default)]
pub(super) struct FaultQueue {
    waiting: HashMap<Key, VecDeque<Waiting>>,
    added: u64,
}

impl FaultQueue {
    pub(super) fn add(&mut self, rule: Rule) {
        if rule.times == Times::Count(0) {
            return;
        }
        self.added += 1;
        let key = (rule.fault.phase(), rule.oa_id.clone());
        self.waiting.entry(key).or_default().push_back(Waiting { place: self.added, rule });
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Forgets the rules that are for this OA alone.
    pub(super) fn clear_of(&mut self, oa_id: &OaId) {
        self.waiting.retain(|(_, oa), _| oa.as_ref() != Some(oa_id));
    }

    /// The oldest rule that fits, used up by one.
    pub(super) fn take(&mut self, phase: Phase, oa: Option<&OaId>) -> Option<Fault> {
        let general = (phase, None);
        let own = oa.map(|oa| (phase, Some(oa.clone())));
        let place = |queue: &FaultQueue, key: &Key| {
            queue.waiting.get(key).and_then(|rules| rules.front()).map(|first| first.place)
        };
        let key = match (own.as_ref().and_then(|own| place(self, own)), place(self, &general)) {
            (Some(own_place), Some(general_place)) if general_place < own_place => general,
            (Some(_), _) => own?,
            (None, _) => general,
        };
        let rules = self.waiting.get_mut(&key)?;
        let Waiting { rule, .. } = rules.front_mut()?;
        let fault = rule.fault.clone();
        if let Times::Count(left) = &mut rule.times {
            *left = left.saturating_sub(1);
            if *left == 0 {
                rules.pop_front();
            }
        }
        if rules.is_empty() {
            self.waiting.remove(&key);
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Answer;

    fn status(fault: Option<Fault>) -> Option<u16> {
        let Some(Fault::AfterRequest { answer: Answer::Custom { status, .. }, .. }) = fault else {
            return None;
        };
        Some(status)
    }

    #[test]
    fn the_oldest_rule_that_fits_comes_first_and_is_used_up() {
        let rule = |status| Rule::once(Fault::unspent(Answer::custom(status, "")));
        let mut queue = FaultQueue::default();
        queue.add(rule(500).for_oa("1"));
        queue.add(rule(501));
        queue.add(Rule { times: Times::Count(2), ..rule(502).for_oa("1") });
        queue.add(Rule { times: Times::Count(0), ..rule(599) });
        let (one, two) = (OaId::from("1"), OaId::from("2"));
        let mut take = |oa| status(queue.take(Phase::AfterRequest, oa));
        assert_eq!(take(Some(&one)), Some(500));
        assert_eq!(take(Some(&one)), Some(501), "the general rule is older than the second of its own");
        assert_eq!(take(Some(&two)), None);
        assert_eq!([take(Some(&one)), take(Some(&one)), take(Some(&one))], [Some(502), Some(502), None]);
        queue.add(rule(503).for_oa("1"));
        queue.add(rule(504).for_oa("2"));
        queue.clear_of(&one);
        assert_eq!(status(queue.take(Phase::AfterRequest, Some(&one))), None);
        assert_eq!(status(queue.take(Phase::AfterRequest, Some(&two))), Some(504), "another OA's rule stays");
        queue.add(Rule::forever(Fault::CloseAtAccept));
        assert!((0..100).all(|_| queue.take(Phase::Accept, None) == Some(Fault::CloseAtAccept)));
        assert_eq!(queue.take(Phase::AfterRequest, Some(&one)), None);
    }
}
