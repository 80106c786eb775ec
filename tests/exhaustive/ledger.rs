//! What truly happened: Zalo's side, and what reached the process. The store's word is judged by this.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use zalo_tokend::oauth::GrantedTokens;
use zalo_tokend::secret::Secret;

/// What becomes of a request whose last byte has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Zalo grants a set, and the answer arrives.
    Answered,
    /// Zalo grants a set, and the answer does not arrive.
    AnswerLost,
    /// Zalo never sees the request.
    RequestLost,
}

/// A Zalo with one OA. Sets are numbered as they are made: set 3 is `access-3` and `refresh-3`.
#[derive(Clone, Debug)]
pub struct Ledger {
    newest: u32,
    /// The newest token was presented, and nothing has proven since that it is unspent.
    is_presented: bool,
    /// How often the newest access token was accepted since then.
    accepted: u32,
    wire: VecDeque<Wire>,
    /// The set whose answer a living process holds, and nothing else does.
    in_hand: Option<u32>,
    /// What store or slot said to be durable.
    durable: BTreeSet<u32>,
    /// Sets that nobody can have any more, or that a dead process held.
    may_be_lost: BTreeSet<u32>,
    lost: BTreeSet<u32>,
    /// The set that a person has got and the store does not have yet.
    granted: Option<u32>,
    pub requests: u32,
}

impl Ledger {
    /// Nobody has consented yet.
    pub fn new(wire: &[Wire]) -> Ledger {
        Ledger {
            newest: 0,
            is_presented: false,
            accepted: 0,
            wire: wire.iter().copied().collect(),
            in_hand: None,
            durable: BTreeSet::new(),
            may_be_lost: BTreeSet::new(),
            lost: BTreeSet::new(),
            granted: None,
            requests: 0,
        }
    }

    fn make_set(&mut self) -> u32 {
        self.newest += 1;
        (self.is_presented, self.accepted) = (false, 0);
        self.newest
    }

    /// The last byte of a request leaves. Returns the number of the set that an answer brings.
    pub fn present(&mut self, refresh_token: &Secret) -> Option<u32> {
        self.requests += 1;
        assert_eq!(refresh_token.expose(), refresh_token_of(self.newest), "I3: a spent token is presented");
        assert!(!self.is_presented || self.accepted >= 2, "I3: presented again without proof");
        (self.is_presented, self.accepted) = (true, 0);
        match self.wire.pop_front().unwrap_or(Wire::Answered) {
            Wire::RequestLost => None,
            Wire::AnswerLost => {
                let set = self.make_set();
                self.may_be_lost.insert(set);
                None
            }
            Wire::Answered => {
                let set = self.make_set();
                self.in_hand = Some(set);
                Some(set)
            }
        }
    }

    /// The read-only question with an access token.
    pub fn accepts(&mut self, access_token: &Secret) -> bool {
        let is_newest = access_token.expose() == access_token_of(self.newest);
        self.accepted += u32::from(is_newest);
        is_newest
    }

    /// Store or slot said that it has what the process held.
    pub fn is_durable(&mut self) {
        self.durable.extend(self.in_hand.take());
    }

    pub fn has_answer_in_hand(&self) -> bool {
        self.in_hand.is_some()
    }

    /// The process has died with what it held.
    pub fn process_died(&mut self) {
        self.may_be_lost.extend(self.in_hand.take());
    }

    /// The store gives the newest set up.
    pub fn gave_up(&mut self) {
        let set = self.newest;
        assert!(!self.durable.contains(&set), "I4: set {set} was durable, and is lost");
        assert!(self.may_be_lost.contains(&set), "I4: set {set} is given up, though it was never lost");
        self.lost.insert(set);
    }

    /// A person consents, or has done so and brings the set again.
    pub fn grant(&mut self) -> u32 {
        match self.granted {
            Some(set) => set,
            None => {
                let set = self.make_set();
                self.granted = Some(set);
                set
            }
        }
    }

    pub fn is_imported(&mut self) {
        self.granted = None;
    }

    pub fn newest(&self) -> u32 {
        self.newest
    }

    /// Each set is one generation, but those that were lost.
    pub fn generation(&self) -> u64 {
        u64::from(self.newest) - self.lost.len() as u64
    }
}

pub fn refresh_token_of(set: u32) -> String {
    format!("refresh-{set}")
}

pub fn access_token_of(set: u32) -> String {
    format!("access-{set}")
}

/// Zalo's answer that brings this set.
pub fn answer(set: u32) -> Vec<u8> {
    let (access, refresh) = (access_token_of(set), refresh_token_of(set));
    format!(r#"{{"access_token":"{access}","refresh_token":"{refresh}","expires_in":"90000"}}"#).into_bytes()
}

/// The same as a person brings it.
pub fn tokens(set: u32) -> GrantedTokens {
    GrantedTokens {
        access_token: Some(Secret::new(access_token_of(set))),
        refresh_token: Some(Secret::new(refresh_token_of(set))),
        access_token_life: Duration::from_secs(90_000),
        refresh_token_life: None,
        oddities: Vec::new(),
    }
}
