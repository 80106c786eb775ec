//! What the ledger proves about a client (invariant I3): a refresh token or code may be presented again only if, since
//! it was last presented, something that the client could see proved it unspent. Such proofs are: the earlier
//! answer was delivered and was of a kind that proves it (429, wrong app id or secret) or handed the same token
//! out again; the access token of the same set was accepted by two probes; an operator decided it. One proof
//! serves for one presentation. Pure; may import secret.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::kind::{Kind, ProbeVerdict};
use super::ledger::{Entry, Ledger};
use crate::secret::Digest;

/// A set that was made and not delivered, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct LostAnswer {
    /// The entry that says so.
    pub entry: Entry,
    /// How it was settled.
    pub settled: Settlement,
}

/// How a lost answer was settled, as far as the simulator can see. A code counts as an old refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// The client uses the new set: enough of the answer had reached it.
    TakenInAllTheSame,
    /// The old refresh token was presented again, after a proof that it was unspent (which was an error of
    /// Zalo's, not the client's).
    PresentedAfterProof,
    /// The old refresh token was presented again, and nothing proved it unspent.
    PresentedWithoutProof,
    /// The old refresh token was never presented again, and a person granted consent anew.
    Reauthorized,
    /// The old refresh token was never presented again, and the client has seen the old access token refused:
    /// it waits for a person.
    LeftToAPerson,
    /// The old refresh token was not presented again so far.
    StillOpen,
}

/// What the ledger knows of one refresh token or code between two presentations.
#[derive(Default)]
struct Since {
    presented_on: Option<Option<u64>>,
    accepted: u32,
    proof: bool,
}

impl Since {
    fn probes_proved(&self) -> bool {
        self.presented_on.is_some() && self.accepted >= 2
    }
}

/// What a presentation was, seen in the light of those before it.
struct Judged<'a> {
    entry: &'a Entry,
    proven: bool,
    probes_had_accepted: bool,
}

impl Ledger {
    fn judged(&self) -> Vec<Judged<'_>> {
        let mut tokens: HashMap<Digest, Since> = HashMap::new();
        let mut judged = Vec::new();
        for entry in self.entries() {
            let Some(digest) = entry.subject.token else { continue };
            let since = tokens.entry(digest).or_default();
            match &entry.kind {
                Kind::Presented => {
                    judged.push(Judged {
                        entry,
                        proven: since.presented_on.is_none() || since.proof || since.accepted >= 2,
                        probes_had_accepted: since.probes_proved(),
                    });
                    *since = Since { presented_on: Some(entry.connection), ..Since::default() };
                }
                Kind::AnswerSent { says, .. }
                | Kind::AnswerLost { says, .. }
                | Kind::Unanswered { says, .. } => {
                    since.proof |= says.proves_unspent() && since.presented_on == Some(entry.connection);
                }
                Kind::Probed { verdict: ProbeVerdict::Accepted } => since.accepted += 1,
                Kind::Allowed => since.proof = true,
                Kind::GrantMade
                | Kind::CodeMade
                | Kind::ConsentDeclined
                | Kind::Connected
                | Kind::Incomplete { .. }
                | Kind::Spent { .. }
                | Kind::Refused { .. }
                | Kind::Probed { verdict: ProbeVerdict::Refused | ProbeVerdict::Unclear }
                | Kind::VendorAsked { .. }
                | Kind::VendorConsented
                | Kind::RedirectFollowed { .. }
                | Kind::Violation { .. } => {}
            }
        }
        judged
    }

    /// The heart: presentations of a refresh token or code that had been presented before, without a proof between the
    /// two that it was unspent.
    pub fn presented_again_without_proof(&self) -> Vec<Entry> {
        self.judged().into_iter().filter(|one| !one.proven).map(|one| one.entry.clone()).collect()
    }

    /// The same of codes alone: there is no second set to be had for one, so a client that does this does not know
    /// what became of its first request.
    pub fn codes_presented_again(&self) -> Vec<Entry> {
        let unproven = self.presented_again_without_proof();
        unproven.into_iter().filter(|entry| entry.subject.is_code).collect()
    }

    /// Presentations of a refresh token or code that was spent at that moment, with or without a proof.
    pub fn spent_tokens_presented(&self) -> Vec<Entry> {
        self.entries().iter().filter(|entry| is_spent_token_presented(entry)).cloned().collect()
    }

    /// Presentations of a spent refresh token although two probes had accepted the access token of its set: the
    /// client did as it should, and the premise did not hold.
    pub fn false_proofs(&self) -> Vec<Entry> {
        let is_false = |one: &Judged<'_>| one.probes_had_accepted && is_spent_token_presented(one.entry);
        self.judged().into_iter().filter(is_false).map(|one| one.entry.clone()).collect()
    }

    /// Whether the client did nothing that it must not: no presentation without proof, and no violation.
    pub fn is_clean(&self) -> bool {
        self.presented_again_without_proof().is_empty() && self.violations().is_empty()
    }

    /// Every set that was made and not delivered, and what came of it.
    pub fn lost_answers(&self) -> Vec<LostAnswer> {
        let unproven: HashSet<u64> =
            self.presented_again_without_proof().iter().map(|entry| entry.number).collect();
        let mut by_token: HashMap<Digest, Vec<&Entry>> = HashMap::new();
        let mut grants: HashMap<&str, u64> = HashMap::new();
        for entry in self.entries() {
            if let Some(digest) = entry.subject.token {
                by_token.entry(digest).or_default().push(entry);
            }
            if let (true, Some(oa)) = (is_grant(entry), &entry.subject.oa_id) {
                grants.insert(oa.as_str(), entry.number);
            }
        }
        let lost = self.entries().iter().filter(|entry| matches!(entry.kind, Kind::AnswerLost { .. }));
        lost.map(|entry| {
            let of_token = entry.subject.token.and_then(|token| by_token.get(&token));
            let of_token = of_token.map_or(&[][..], Vec::as_slice);
            let used = |successor: &Digest| by_token.get(successor).is_some_and(|all| all.iter().any(is_use));
            let granted = entry.subject.oa_id.as_ref().and_then(|oa| grants.get(oa.as_str()));
            let settled = if of_token.iter().filter_map(successor).any(|s| used(&s)) {
                Settlement::TakenInAllTheSame
            } else {
                settle(entry, of_token, &unproven, granted.is_some_and(|number| *number > entry.number))
            };
            LostAnswer { entry: entry.clone(), settled }
        })
        .collect()
    }
}

fn settle(lost: &Entry, of_token: &[&Entry], unproven: &HashSet<u64>, granted_anew: bool) -> Settlement {
    let since: Vec<&&Entry> = of_token.iter().filter(|entry| entry.number > lost.number).collect();
    let again = since.iter().find(|entry| matches!(entry.kind, Kind::Presented));
    let refused = Kind::Probed { verdict: ProbeVerdict::Refused };
    match again {
        Some(again) if unproven.contains(&again.number) => Settlement::PresentedWithoutProof,
        Some(_) => Settlement::PresentedAfterProof,
        None if granted_anew => Settlement::Reauthorized,
        None if since.iter().any(|entry| entry.kind == refused) => Settlement::LeftToAPerson,
        None => Settlement::StillOpen,
    }
}

/// Consent bore fruit: tokens without a code, or a code that was spent.
fn is_grant(entry: &Entry) -> bool {
    entry.kind == Kind::GrantMade || (entry.subject.is_code && matches!(entry.kind, Kind::Spent { .. }))
}

fn successor(entry: &&Entry) -> Option<Digest> {
    if let Kind::Spent { successor, .. } = &entry.kind { Some(*successor) } else { None }
}

fn is_use(entry: &&Entry) -> bool {
    matches!(entry.kind, Kind::Presented | Kind::Probed { .. })
}

fn is_spent_token_presented(entry: &Entry) -> bool {
    entry.kind == Kind::Presented && entry.subject.was_spent == Some(true)
}
