//! An act that was begun, and what came of it: followed through the ledger and the daemon's log to its settlement.

use std::collections::BTreeSet;
use std::time::Duration;

use super::act::{Act, Whom};
use super::shops::{CHAIN, NEWCOMER, SHOPS, is_branch};
use super::words::Event;
use crate::simulator::{Entry, Kind, Ledger};

/// So many requests meet the outage: two for the brake, and two trials.
const ENOUGH_LOST: usize = 4;
/// One trial has to do when a branch's access token has no more than this left.
const SPARED: Duration = Duration::from_millis(3_500);

pub(super) struct Staged {
    /// When, since the demo began.
    pub(super) at: Duration,
    pub(super) act: Act,
    /// Whom it is meant for, if that is one shop.
    pub(super) place: Option<usize>,
    /// The same, for people.
    pub(super) whose: String,
    /// The ledger's length then.
    entries_before: usize,
    /// It happened.
    pub(super) has_struck: bool,
    /// Nothing is done any more; what it did goes on to be settled.
    pub(super) is_over: bool,
    /// Whom it concerns goes on as before.
    pub(super) is_settled: bool,
    /// What came of it, step by step.
    pub(super) steps: Vec<String>,
    brake: Brake,
    /// The branches that an outage left without a new set.
    in_doubt: BTreeSet<usize>,
}

/// The chain's app during an outage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Brake {
    NotYet,
    /// So many trials failed.
    On(u32),
    Released,
}

impl Staged {
    pub(super) fn new(
        act: Act,
        place: Option<usize>,
        whose: String,
        at: Duration,
        ledger: &Ledger,
    ) -> Staged {
        Staged {
            at,
            act,
            place,
            whose,
            entries_before: ledger.entries().len(),
            has_struck: false,
            is_over: false,
            is_settled: false,
            steps: Vec::new(),
            brake: Brake::NotYet,
            in_doubt: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: impl Into<String>) {
        let step = step.into();
        if self.steps.last() != Some(&step) {
            self.steps.push(step);
        }
    }

    fn settle(&mut self, step: &str) {
        self.step(step);
        self.is_settled = true;
    }

    /// What happened since the act began and was its doing.
    fn doings<'a>(&'a self, ledger: &'a Ledger) -> impl Iterator<Item = &'a Entry> {
        ledger.entries().iter().skip(self.entries_before).filter(|entry| {
            let oa_id = entry.subject.oa_id.as_ref();
            let place = oa_id.and_then(|oa_id| SHOPS.iter().position(|shop| shop.oa_id == oa_id.as_str()));
            let is_its = match self.act.whom() {
                Whom::Shop | Whom::ShopAndDaemon => place == self.place,
                Whom::Chain => place.is_some_and(is_branch),
                Whom::Config => false,
            };
            entry.fault.is_some() && is_its
        })
    }

    /// Marks what the ledger shows to have happened. A refused connection is none of the ledger's.
    pub(super) fn strike(&mut self, ledger: &Ledger) {
        let is_seen = self.act.whom() == Whom::Shop && self.act != Act::Refused;
        self.has_struck |= is_seen && self.doings(ledger).next().is_some();
    }

    /// It is time to kill the daemon: it waits for the answer that is held.
    pub(super) fn wants_a_kill(&self, ledger: &Ledger) -> bool {
        self.act.whom() == Whom::ShopAndDaemon
            && !self.has_struck
            && self.doings(ledger).any(|entry| entry.kind == Kind::Presented)
    }

    /// The daemon was killed.
    pub(super) fn killed(&mut self) {
        self.has_struck = true;
        self.step("killed while it waits");
    }

    /// The outage has shown what there is to see. `least` is what is left of the branches' access tokens.
    pub(super) fn has_lost_enough(&self, ledger: &Ledger, least: Duration) -> bool {
        let lost = self.doings(ledger).filter(|entry| entry.kind == Kind::Presented).count();
        lost >= ENOUGH_LOST || lost + 1 >= ENOUGH_LOST && least <= SPARED
    }

    /// Follows the daemon's log.
    pub(super) fn hear(&mut self, event: &Event) {
        if self.is_settled {
            return;
        }
        match self.act.whom() {
            Whom::Shop | Whom::ShopAndDaemon if event.place == self.place => self.hear_of_shop(event),
            Whom::Shop | Whom::ShopAndDaemon => {}
            Whom::Chain => self.hear_of_chain(event),
            Whom::Config => self.hear_of_config(event),
        }
    }

    fn hear_of_shop(&mut self, event: &Event) {
        self.has_struck |= self.act == Act::Refused && event.name == "refresh.failed";
        if !self.has_struck {
            return;
        }
        match event.name.as_str() {
            "refresh.failed" => self.step("not presented: unspent"),
            "refresh.uncertain" => self.step("outcome unknown"),
            "refresh.probed" => self.step(match (event.text("verdict"), event.text("detail")) {
                ("unspent", _) => "still lives: unspent",
                ("spent", _) => "old token dead: spent",
                (_, "the old access token is accepted") => "old token lives",
                _ => "no clear answer",
            }),
            "oa.reauthorization_required" | "oa.decision_needed" => self.step("needs a person"),
            "refresh.succeeded" if self.act == Act::Slow => self.settle("waited for: refreshed"),
            "refresh.succeeded" => self.settle("refreshed"),
            "oa.imported" => self.settle("new consent"),
            _ => {}
        }
    }

    fn hear_of_chain(&mut self, event: &Event) {
        let branch = event.place.filter(|place| is_branch(*place));
        let is_the_app = event.text("app_id") == CHAIN;
        match (event.name.as_str(), branch) {
            ("app.braked", _) if is_the_app => {
                self.has_struck = true;
                self.brake = Brake::On(0);
                self.step("braked");
            }
            ("app.released", _) if is_the_app => {
                self.brake = Brake::Released;
                self.step("released by a success");
            }
            ("refresh.uncertain", Some(place)) => {
                self.in_doubt.insert(place);
                match &mut self.brake {
                    Brake::On(failed) => {
                        *failed += 1;
                        let step = format!("trial {failed} failed");
                        self.step(step);
                    }
                    Brake::NotYet | Brake::Released => self.step("outcomes unknown"),
                }
            }
            ("refresh.succeeded" | "oa.imported", Some(place)) => {
                self.in_doubt.remove(&place);
            }
            ("oa.reauthorization_required" | "oa.decision_needed", Some(_)) => self.step("needs a person"),
            ("access_token.expired", Some(_)) => self.step("a token ended"),
            _ => {}
        }
        if self.brake == Brake::Released && self.in_doubt.is_empty() {
            self.settle("all branches refreshed");
        }
    }

    fn hear_of_config(&mut self, event: &Event) {
        match (self.act, event.name.as_str()) {
            (Act::BrokenConfig, "config.rejected") => {
                self.has_struck = true;
                self.step("refused: the old one stays in force");
            }
            (Act::BrokenConfig, "refresh.succeeded") if self.has_struck => self.settle("the daemon goes on"),
            (Act::Reload, "config.reloaded") => {
                self.has_struck = true;
                self.step("taken over");
            }
            (Act::Reload, "oa.imported") if event.place == Some(NEWCOMER) => self.step("imported"),
            (Act::Reload, "refresh.succeeded") if event.place == Some(NEWCOMER) => {
                self.settle("new OA refreshed");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(staged: &mut Staged, event: &str, of: &str) {
        let field = if event.starts_with("app.") { "app_id" } else { "oa_id" };
        let line = format!(r#"{{"event":"{event}","{field}":"{of}"}}"#);
        staged.hear(&Event::read(&line).expect("an event"));
    }

    fn staged(act: Act, place: Option<usize>) -> Staged {
        Staged::new(act, place, String::new(), Duration::ZERO, &Ledger::default())
    }

    #[test]
    fn an_outage_is_settled_when_its_brake_is_off_and_every_branch_has_a_new_set() {
        let mut outage = staged(Act::Outage, None);
        hear(&mut outage, "refresh.uncertain", "2001");
        hear(&mut outage, "refresh.uncertain", "1001");
        hear(&mut outage, "app.braked", "101");
        assert!(!outage.has_struck, "what happens to another app is not its doing");
        hear(&mut outage, "refresh.uncertain", "2002");
        hear(&mut outage, "app.braked", CHAIN);
        hear(&mut outage, "refresh.uncertain", "2003");
        hear(&mut outage, "refresh.succeeded", "2001");
        hear(&mut outage, "app.released", CHAIN);
        hear(&mut outage, "refresh.succeeded", "2002");
        assert!(outage.has_struck && !outage.is_settled, "one branch is still in doubt");
        hear(&mut outage, "refresh.succeeded", "2003");
        assert!(outage.is_settled);
        let steps = [
            "outcomes unknown",
            "braked",
            "trial 1 failed",
            "released by a success",
            "all branches refreshed",
        ];
        assert_eq!(outage.steps, steps);
    }

    #[test]
    fn a_kill_is_followed_from_the_kill_on_and_only_for_its_shop() {
        let mut kill = staged(Act::KilledSpent, Some(0));
        hear(&mut kill, "refresh.succeeded", "1001");
        assert!(kill.steps.is_empty(), "that was before");
        kill.killed();
        hear(&mut kill, "refresh.succeeded", "1002");
        for event in ["refresh.uncertain", "oa.reauthorization_required"] {
            hear(&mut kill, event, "1001");
        }
        assert!(!kill.is_settled);
        hear(&mut kill, "oa.imported", "1001");
        assert!(kill.is_settled);
        assert_eq!(kill.steps, ["killed while it waits", "outcome unknown", "needs a person", "new consent"]);
    }
}
