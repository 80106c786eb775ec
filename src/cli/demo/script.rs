//! Which fault comes next, and what came of those that came: each is followed from the moment it is set up
//! through the daemon's log to its settlement.

use std::time::Duration;

use super::super::{Failure, exit};
use super::stage::{SHOPS, Shop};
use super::words::Event;
use crate::simulator::{Answer, Fault, Ledger, Rule, Simulator};

/// The endpoint stays down this long, and until the OA that it is meant for has met it.
const DOWN_FOR: Duration = Duration::from_secs(1);
/// How late the slow answer comes.
const SLOW: Duration = Duration::from_millis(1_500);
/// When a request that was let go is looked at all the same: after the first question, before the second.
const LATE: Duration = Duration::from_secs(1);

/// What is done to an OA's next refresh.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    ResetBeforeLastByte,
    LostUnspent,
    LostSpent,
    Unavailable,
    Refused,
    Slow,
    SpentLate,
}

/// In the order in which they come: those that say most first, so that a short run has them.
const ACTS: [Act; 7] = [
    Act::ResetBeforeLastByte,
    Act::LostUnspent,
    Act::LostSpent,
    Act::Unavailable,
    Act::Refused,
    Act::Slow,
    Act::SpentLate,
];

impl Act {
    /// In a table.
    pub(super) fn label(self) -> &'static str {
        match self {
            Act::ResetBeforeLastByte => "reset before the last byte",
            Act::LostUnspent => "answer lost, not spent",
            Act::LostSpent => "reset after the spend",
            Act::Unavailable => "503, not spent",
            Act::Refused => "connection refused",
            Act::Slow => "slow answer",
            Act::SpentLate => "reset, spent a second later",
        }
    }

    /// What is about to happen, as a sentence.
    fn announced(self, shop: &Shop) -> String {
        let name = shop.name;
        match self {
            Act::ResetBeforeLastByte => {
                format!("the next connection of {name} is reset before the last byte of its request")
            }
            Act::LostUnspent => {
                format!("the next request of {name} gets no answer; its refresh token is NOT spent")
            }
            Act::LostSpent => {
                format!("the next answer to {name} is lost by a reset; its refresh token IS spent")
            }
            Act::Unavailable => {
                format!("the next request of {name} gets a gateway's 503; its refresh token is not spent")
            }
            Act::Refused => {
                format!("the token endpoint refuses connections for a second, just when {name} is due")
            }
            Act::Slow => format!("the next answer to {name} comes {SLOW:?} late"),
            Act::SpentLate => format!(
                "the next request of {name} is reset, and its refresh token spent only {LATE:?} later: \
                 between the two questions"
            ),
        }
    }

    /// The fault at the simulator; `None` where the whole endpoint goes down.
    fn fault(self) -> Option<Fault> {
        Some(match self {
            Act::ResetBeforeLastByte => Fault::ResetBeforeLastByte,
            Act::LostUnspent => Fault::unspent(Answer::CloseWithoutAnswer),
            Act::LostSpent => Fault::spent(Answer::Reset),
            Act::Unavailable => Fault::unspent(Answer::Normal),
            Act::Refused => return None,
            Act::Slow => Fault::spent(Answer::Delayed(SLOW)),
            Act::SpentLate => Fault::spent_later(LATE, Answer::Reset),
        })
    }
}

/// A fault that was set up.
pub(super) struct Staged {
    /// When, since the demo began.
    pub(super) at: Duration,
    /// Whom it is meant for.
    pub(super) place: usize,
    pub(super) act: Act,
    /// The ledger's length then.
    entries_before: usize,
    /// It happened.
    pub(super) has_struck: bool,
    /// The OA goes on with a new token set.
    pub(super) is_settled: bool,
    /// What came of it, step by step.
    pub(super) steps: Vec<&'static str>,
}

/// The faults so far.
#[derive(Default)]
pub(super) struct Script {
    pub(super) staged: Vec<Staged>,
    /// Since when the endpoint is down, if it is.
    down_since: Option<Duration>,
}

impl Script {
    /// How many faults there are before they begin anew.
    pub(super) const ROUND: u32 = ACTS.len() as u32;

    pub(super) fn has_open(&self) -> bool {
        self.staged.iter().any(|staged| !staged.is_settled)
    }

    /// How many faults were meant for this OA; `None` while one of them is open.
    pub(super) fn count_for(&self, place: usize) -> Option<usize> {
        let of_place = || self.staged.iter().filter(|staged| staged.place == place);
        of_place().all(|staged| staged.is_settled).then(|| of_place().count())
    }

    /// Sets up the next fault for this OA. Returns what is about to happen.
    pub(super) async fn stage(&mut self, simulator: &Simulator, place: usize, at: Duration) -> String {
        let act = ACTS[self.staged.len() % ACTS.len()];
        let entries_before = simulator.ledger().entries().len();
        match act.fault() {
            Some(fault) => simulator.fault(Rule::once(fault).for_oa(SHOPS[place].oa_id)),
            None => {
                simulator.go_down().await;
                self.down_since = Some(at);
            }
        }
        let (has_struck, is_settled) = (false, false);
        self.staged.push(Staged {
            at,
            place,
            act,
            entries_before,
            has_struck,
            is_settled,
            steps: Vec::new(),
        });
        act.announced(&SHOPS[place])
    }

    /// Takes the endpoint up again when it was down long enough and the OA that it was meant for has seen it.
    pub(super) async fn come_up(&mut self, simulator: &Simulator, now: Duration) -> Result<bool, Failure> {
        let has_been_met = || {
            let mut refused = self.staged.iter().rev().filter(|staged| staged.act == Act::Refused);
            refused.next().is_none_or(|staged| staged.has_struck)
        };
        match self.down_since {
            Some(since) if now.saturating_sub(since) >= DOWN_FOR && has_been_met() => {
                simulator.come_up().await.map_err(|error| {
                    let sentence = format!("the simulator cannot listen again: {error}; run the demo again");
                    Failure::new(exit::FAILED, sentence)
                })?;
                self.down_since = None;
                Ok(true)
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Marks the faults that the ledger shows to have happened. A refused connection is none of the ledger's.
    pub(super) fn strike(&mut self, ledger: &Ledger) {
        for staged in self.staged.iter_mut().filter(|staged| !staged.has_struck && staged.act != Act::Refused)
        {
            let oa_id = SHOPS[staged.place].oa_id;
            let since = ledger.entries().iter().skip(staged.entries_before);
            staged.has_struck = since
                .filter(|entry| entry.subject.oa_id.as_ref().is_some_and(|id| id.as_str() == oa_id))
                .any(|entry| entry.fault.is_some());
        }
    }

    /// Follows what came of an OA's fault.
    pub(super) fn follow(&mut self, place: usize, event: &Event) {
        let open = self.staged.iter_mut().find(|staged| staged.place == place && !staged.is_settled);
        let Some(staged) = open else { return };
        staged.has_struck |= staged.act == Act::Refused && event.name == "refresh.failed";
        if !staged.has_struck {
            return;
        }
        let step = match event.name.as_str() {
            "refresh.failed" => "not presented: unspent",
            "refresh.uncertain" => "outcome unknown",
            "refresh.probed" => match (event.text("verdict"), event.text("detail")) {
                ("unspent", _) => "still lives: unspent",
                ("spent", _) => "old token dead: spent",
                (_, "the old access token is accepted") => "old token lives",
                _ => "no clear answer",
            },
            "oa.reauthorization_required" | "oa.decision_needed" => "needs a person",
            "refresh.succeeded" => {
                staged.is_settled = true;
                match staged.act {
                    Act::Slow => "waited for: refreshed",
                    Act::ResetBeforeLastByte
                    | Act::LostUnspent
                    | Act::LostSpent
                    | Act::Unavailable
                    | Act::Refused
                    | Act::SpentLate => "refreshed",
                }
            }
            "oa.imported" => {
                staged.is_settled = true;
                "new consent"
            }
            _ => return,
        };
        if staged.steps.last() != Some(&step) {
            staged.steps.push(step);
        }
    }
}
