//! What happened, in order, as this Zalo saw it: the ledger that tests and people judge a client by.
//! Append-only, without any token: refresh tokens and codes are named by their digest. What can happen stands in
//! `kind`; what the entries prove is worked out in `judgement`, and written for people in `summary`. May import id and secret.

use std::collections::HashMap;
use std::sync::Arc;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::kind::Kind;
use crate::id::{AppId, OaId};
use crate::secret::Digest;

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// 1 for the first.
    pub number: u64,
    /// Milliseconds since the simulator's start.
    pub at_ms: u64,
    /// The connection, counted from 1; `None` for what happened on none.
    pub connection: Option<u64>,
    /// What happened.
    #[serde(flatten)]
    pub kind: Kind,
    /// Whom it concerns.
    #[serde(flatten)]
    pub subject: Subject,
    /// What the fault did, if one was at work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Arc<str>>,
}

/// Whom an entry concerns, as far as the simulator could know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The OA that the token belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oa_id: Option<OaId>,
    /// The app that the client named, or for a probe the OA's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<AppId>,
    /// The refresh token or code presented; for a probe, the refresh token of the set that the access token is from.
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub token: Option<Digest>,
    /// Whether that refresh token or code was already spent at this moment (before this request was looked at).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was_spent: Option<bool>,
    /// Whether `token` is a code.
    #[serde(skip_serializing_if = "is_no_code")]
    pub is_code: bool,
    /// The grant that the token descends from, counted from 0 over all OAs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<usize>,
    /// How many refreshes lie between the grant and the token's set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_no_code(is_code: &bool) -> bool {
    !is_code
}

fn shown<S: Serializer>(token: &Option<Digest>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&token.map(|digest| digest.to_string()).unwrap_or_default())
}

/// The entries, and what can be read from them.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    /// The connections on which each OA's presentations are under way.
    under_way: HashMap<OaId, Vec<u64>>,
}

impl Ledger {
    /// Writes down what happened, and a violation if the OA has another presentation under way.
    pub(super) fn record(
        &mut self,
        at_ms: u64,
        connection: Option<u64>,
        subject: Subject,
        kind: Kind,
        fault: Option<Arc<str>>,
    ) {
        let overlaps = self.follow(connection, &subject, &kind);
        let number = self.entries.len() as u64 + 1;
        self.entries.push(Entry { number, at_ms, connection, kind, subject: subject.clone(), fault });
        if overlaps {
            let text = "presented while another request of the same OA was under way".to_owned();
            self.record(at_ms, connection, subject, Kind::Violation { text }, None);
        }
    }

    fn follow(&mut self, connection: Option<u64>, subject: &Subject, kind: &Kind) -> bool {
        let (Some(oa), Some(connection)) = (&subject.oa_id, connection) else { return false };
        match step(kind) {
            Step::Begins => {
                let connections = self.under_way.entry(oa.clone()).or_default();
                connections.push(connection);
                connections.len() > 1
            }
            Step::Ends => {
                if let Some(connections) = self.under_way.get_mut(oa) {
                    connections.retain(|other| *other != connection);
                    if connections.is_empty() {
                        self.under_way.remove(oa);
                    }
                }
                false
            }
            Step::Neither => false,
        }
    }

    /// Everything that happened, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What happened to one OA, oldest first.
    pub fn entries_of<'a>(&'a self, oa_id: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| is_of(entry, oa_id))
    }

    fn count(&self, counts: impl Fn(&Kind) -> bool) -> usize {
        self.entries.iter().filter(|entry| counts(&entry.kind)).count()
    }

    /// How many connections were taken.
    pub fn connections(&self) -> usize {
        self.count(|kind| matches!(kind, Kind::Connected))
    }

    /// How many requests for tokens ended before their last byte came.
    pub fn incomplete(&self) -> usize {
        self.count(|kind| matches!(kind, Kind::Incomplete { .. }))
    }

    /// How many whole requests for tokens came.
    pub fn presentations(&self) -> usize {
        self.count(|kind| matches!(kind, Kind::Presented))
    }

    /// How many of them were this OA's.
    pub fn presentations_of(&self, oa_id: &str) -> usize {
        self.entries_of(oa_id).filter(|entry| matches!(entry.kind, Kind::Presented)).count()
    }

    /// How many times a refresh token or a code was spent.
    pub fn spends(&self) -> usize {
        self.count(|kind| matches!(kind, Kind::Spent { .. }))
    }

    /// How many times a refresh token or a code of this OA was spent.
    pub fn spends_of(&self, oa_id: &str) -> usize {
        self.entries_of(oa_id).filter(|entry| matches!(entry.kind, Kind::Spent { .. })).count()
    }

    /// How many codes were made.
    pub fn codes_made(&self) -> usize {
        self.count(|kind| matches!(kind, Kind::CodeMade))
    }

    /// How many times a code was spent.
    pub fn codes_spent(&self) -> usize {
        let is_spend = |entry: &&Entry| entry.subject.is_code && matches!(entry.kind, Kind::Spent { .. });
        self.entries.iter().filter(is_spend).count()
    }

    /// How many times consent was declined.
    pub fn declined(&self) -> usize {
        self.count(|kind| matches!(kind, Kind::ConsentDeclined))
    }

    /// How many requests were looked at and refused.
    pub fn refusals(&self) -> usize {
        self.count(|kind| matches!(kind, Kind::Refused { .. }))
    }

    /// How many answers were sent whole.
    pub fn answers_sent(&self) -> usize {
        self.count(|kind| matches!(kind, Kind::AnswerSent { .. }))
    }

    /// How many sets were made and not delivered whole.
    pub fn answers_lost(&self) -> usize {
        self.count(|kind| matches!(kind, Kind::AnswerLost { .. }))
    }

    /// How many times somebody asked with an access token.
    pub fn probes(&self) -> usize {
        self.count(|kind| matches!(kind, Kind::Probed { .. }))
    }

    /// How many times somebody asked with an access token of this OA.
    pub fn probes_of(&self, oa_id: &str) -> usize {
        self.entries_of(oa_id).filter(|entry| matches!(entry.kind, Kind::Probed { .. })).count()
    }

    /// How many times a vendor was asked.
    pub fn vendor_requests(&self) -> usize {
        self.count(|kind| matches!(kind, Kind::VendorAsked { .. }))
    }

    /// How many times a vendor was asked about this OA.
    pub fn vendor_requests_of(&self, oa_id: &str) -> usize {
        self.entries_of(oa_id).filter(|entry| matches!(entry.kind, Kind::VendorAsked { .. })).count()
    }

    /// How many redirects were followed; each is a violation too.
    pub fn redirects_followed(&self) -> usize {
        self.count(|kind| matches!(kind, Kind::RedirectFollowed { .. }))
    }

    /// What the client did that it must not.
    pub fn violations(&self) -> Vec<Entry> {
        let is_violation = |entry: &&Entry| matches!(entry.kind, Kind::Violation { .. });
        self.entries.iter().filter(is_violation).cloned().collect()
    }

    /// The most presentations of this OA that were ever under way at once. More than 1 is a violation.
    pub fn max_under_way_of(&self, oa_id: &str) -> usize {
        self.max_under_way_where(|entry| is_of(entry, oa_id))
    }

    /// The most presentations of this app's that were ever under way at once.
    pub fn max_under_way_of_app(&self, app_id: &str) -> usize {
        self.max_under_way_where(|e| e.subject.app_id.as_ref().is_some_and(|app| app.as_str() == app_id))
    }

    /// The most presentations that were ever under way at once, of whatever OA.
    pub fn max_under_way(&self) -> usize {
        self.max_under_way_where(|_| true)
    }

    fn max_under_way_where(&self, of: impl Fn(&Entry) -> bool) -> usize {
        let mut open = std::collections::HashSet::new();
        let mut most = 0;
        for entry in self.entries.iter().filter(|entry| of(entry)) {
            match step(&entry.kind) {
                Step::Begins => {
                    open.insert(entry.connection);
                    most = most.max(open.len());
                }
                Step::Ends => {
                    open.remove(&entry.connection);
                }
                Step::Neither => {}
            }
        }
        most
    }
}

enum Step {
    Begins,
    Ends,
    Neither,
}

fn step(kind: &Kind) -> Step {
    match kind {
        Kind::Presented => Step::Begins,
        Kind::AnswerSent { .. } | Kind::AnswerLost { .. } | Kind::Unanswered { .. } => Step::Ends,
        Kind::GrantMade
        | Kind::CodeMade
        | Kind::ConsentDeclined
        | Kind::Connected
        | Kind::Incomplete { .. }
        | Kind::Spent { .. }
        | Kind::Refused { .. }
        | Kind::Probed { .. }
        | Kind::VendorAsked { .. }
        | Kind::VendorConsented
        | Kind::Allowed
        | Kind::RedirectFollowed { .. }
        | Kind::Violation { .. } => Step::Neither,
    }
}

fn is_of(entry: &Entry, oa_id: &str) -> bool {
    entry.subject.oa_id.as_ref().is_some_and(|oa| oa.as_str() == oa_id)
}

/// As JSON: the verdict, the counts, and every entry.
impl Serialize for Ledger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers = |entries: Vec<Entry>| entries.iter().map(|entry| entry.number).collect::<Vec<u64>>();
        let mut fields = serializer.serialize_struct("Ledger", 13)?;
        fields.serialize_field("clean", &self.is_clean())?;
        fields.serialize_field("presentations", &self.presentations())?;
        fields.serialize_field("spends", &self.spends())?;
        fields.serialize_field("codes_spent", &self.codes_spent())?;
        fields.serialize_field("answers_lost", &self.answers_lost())?;
        fields.serialize_field("probes", &self.probes())?;
        fields.serialize_field("max_under_way", &self.max_under_way())?;
        let unproven = numbers(self.presented_again_without_proof());
        fields.serialize_field("presented_again_without_proof", &unproven)?;
        fields.serialize_field("codes_presented_again", &numbers(self.codes_presented_again()))?;
        fields.serialize_field("spent_tokens_presented", &numbers(self.spent_tokens_presented()))?;
        fields.serialize_field("false_proofs", &numbers(self.false_proofs()))?;
        fields.serialize_field("lost_answers", &self.lost_answers())?;
        fields.serialize_field("entries", &self.entries)?;
        fields.end()
    }
}
