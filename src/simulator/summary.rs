//! The ledger as a table for people: what happened, what must not have, and what became of each lost answer.
//! Decides nothing; imports nothing of ours.

use std::fmt;

use super::judgement::Settlement;
use super::kind::Kind;
use super::ledger::{Entry, Ledger};

/// How many lines of one sort are shown before the rest is only counted: a screenful.
const LINES: usize = 40;

impl Ledger {
    /// The ledger in a few lines of text.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let unproven = self.presented_again_without_proof();
        let violations = self.violations();
        let lost = self.lost_answers();
        for (what, count) in [
            ("presentations", self.presentations()),
            ("spends", self.spends()),
            ("presented again without proof", unproven.len()),
            ("spent tokens presented", self.spent_tokens_presented().len()),
            ("false proofs", self.false_proofs().len()),
            ("requests without their last byte", self.incomplete()),
            ("probes", self.probes()),
            ("most under way at once", self.max_under_way()),
            ("violations", violations.len()),
            ("answers lost", lost.len()),
        ] {
            text.push_str(&counted(what, count));
        }
        text.push_str(&self.codes());
        if self.vendor_requests() > 0 {
            text.push_str(&counted("questions to a vendor", self.vendor_requests()));
        }
        let lines = lost.iter().map(|one| format!("{}: {}", row(&one.entry), one.settled));
        text.push_str(&listed("lost answers, and how each was settled", lines.collect()));
        text.push_str(&listed("presented again without proof", unproven.iter().map(row).collect()));
        text.push_str(&listed("violations", violations.iter().map(row).collect()));
        text.push_str(if self.is_clean() { "the ledger is clean\n" } else { "the ledger is NOT clean\n" });
        text
    }

    /// What became of the codes, if there were any.
    fn codes(&self) -> String {
        let counts = [
            ("codes made", self.codes_made()),
            ("codes spent", self.codes_spent()),
            ("codes presented again", self.codes_presented_again().len()),
            ("consents declined", self.declined()),
        ];
        if counts.iter().all(|(_, count)| *count == 0) {
            return String::new();
        }
        counts.iter().map(|(what, count)| counted(what, *count)).collect()
    }
}

fn counted(what: &str, count: usize) -> String {
    format!("{what:<34}{count:>7}\n")
}

fn listed(title: &str, lines: Vec<String>) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut text = format!("{title}:\n");
    for line in lines.iter().take(LINES) {
        text.push_str(&format!("  {line}\n"));
    }
    if lines.len() > LINES {
        text.push_str(&format!("  and {} more\n", lines.len() - LINES));
    }
    text
}

fn row(entry: &Entry) -> String {
    let seconds = entry.at_ms / 1000;
    let mut text = format!("#{} at {seconds}.{:03} s", entry.number, entry.at_ms % 1000);
    if let Some(oa) = &entry.subject.oa_id {
        text.push_str(&format!(", OA {oa}"));
    }
    if let Some(generation) = entry.subject.generation {
        text.push_str(&format!(", generation {generation}"));
    }
    if let Some(token) = entry.subject.token {
        text.push_str(&format!(", token {token}"));
    }
    if let Kind::Violation { text: what } = &entry.kind {
        text.push_str(&format!(": {what}"));
    }
    if let Some(fault) = &entry.fault {
        text.push_str(&format!(" ({fault})"));
    }
    text
}

impl fmt::Display for Settlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Settlement::TakenInAllTheSame => "the new tokens are in use all the same",
            Settlement::PresentedAfterProof => "the old token was presented again, after a proof",
            Settlement::PresentedWithoutProof => "the old token was presented again WITHOUT proof",
            Settlement::Reauthorized => "the old token was never presented again; consent was given anew",
            Settlement::LeftToAPerson => "the old token was never presented again; left to a person",
            Settlement::StillOpen => "still open",
        })
    }
}
