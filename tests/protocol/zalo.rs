//! Zalo's part: it works on a whole request now, later or never, and its answer comes or does not.
//!
//! Of a set that was refreshed both tokens are dead. A new consent leaves older sets as they are.

use super::world::{Answer, Oa, Reach, Set, Standing, Work, World};
use super::{Action, Protocol};

impl Protocol {
    pub(super) fn steps_of_zalo(world: &World, oa: usize, actions: &mut Vec<Action>) {
        for (index, request) in world.oas[oa].requests.iter().enumerate() {
            if request.answer.is_some() {
                actions.push(Action::Deliver { oa, request: index });
                continue;
            }
            if !world.oas[oa].sets[usize::from(request.set)].is_spent {
                actions.push(Action::Spend { oa, request: index });
            }
            actions.push(Action::Refuse { oa, request: index });
            actions.push(Action::Drop { oa, request: index });
        }
        let is_in_doubt = matches!(world.oas[oa].row.standing, Standing::Uncertain { .. });
        if is_in_doubt && !world.oas[oa].current().has_ended && world.left.endings > 0 {
            actions.push(Action::AccessTokenEnds { oa });
        }
    }
}

impl Oa {
    /// The current set, as Zalo knows it.
    pub fn current(&self) -> &Set {
        &self.sets[usize::from(self.row.set)]
    }

    /// The refresh token was used, or a request that Zalo has not worked on yet may still use it.
    pub fn may_be_spent(&self, set: u8) -> bool {
        self.sets[usize::from(set)].is_spent || self.has_undecided(set)
    }

    pub(super) fn has_undecided(&self, set: u8) -> bool {
        self.requests.iter().any(|request| request.set == set && request.answer.is_none())
    }

    pub(super) fn spend(&mut self, request: usize) -> bool {
        let set = usize::from(self.requests[request].set);
        self.sets[set].is_spent = true;
        self.sets.push(Set::successor());
        self.answer(request, Answer::Granted(number(self.sets.len() - 1)))
    }

    pub(super) fn refuse(&mut self, request: usize) -> bool {
        let is_spent = self.sets[usize::from(self.requests[request].set)].is_spent;
        self.answer(request, if is_spent { Answer::Dead } else { Answer::Throttled })
    }

    pub(super) fn drop_request(&mut self, request: usize) -> bool {
        self.requests.remove(request);
        true
    }

    /// An answer for which nobody waits any more is lost at once.
    fn answer(&mut self, request: usize, answer: Answer) -> bool {
        if self.requests[request].client.is_none() {
            return self.drop_request(request);
        }
        self.requests[request].answer = Some(answer);
        true
    }

    /// Whoever waited for this attempt's answer does so no more.
    pub(super) fn disconnect(&mut self, client: usize) {
        self.requests.retain(|request| request.client != Some(client) || request.answer.is_none());
        for request in &mut self.requests {
            request.client = request.client.filter(|waiting| *waiting != client);
        }
    }
}

impl World {
    pub(super) fn deliver(&mut self, oa: usize, request: usize) -> bool {
        let (Some(p), Some(answer)) =
            (self.oas[oa].requests[request].client, self.oas[oa].requests[request].answer)
        else {
            return false;
        };
        // With the last byte out too early the row may still be missing: the answer waits in the socket.
        let Work::Waiting { attempt, generation } = *self.work(p, oa) else { return false };
        self.oas[oa].requests.remove(request);
        if let Answer::Granted(set) = answer {
            self.oas[oa].sets[usize::from(set)].reach = Reach::Received;
        }
        self.processes[p].desks[oa].work = Work::Over { attempt: Some(attempt), generation, answer };
        true
    }

    pub(super) fn end_access_token(&mut self, oa: usize) -> bool {
        let set = usize::from(self.oas[oa].row.set);
        self.oas[oa].sets[set].has_ended = true;
        self.left.endings -= 1;
        true
    }
}

/// Sets and attempts are few.
pub(super) fn number(index: usize) -> u8 {
    u8::try_from(index).expect("a small number")
}
