//! What is wrong with a config file: collected while it is walked, told in the order of the file.
//!
//! Knows lines and columns and how a problem is worded; what counts as a problem is decided elsewhere.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// What is wrong, and what would be right. Neither part may repeat text that could be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) right: String,
    /// The reason is that this user may not read a file.
    pub(super) not_permitted: bool,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>, right: impl Into<String>) -> Wrong {
        Wrong { what: what.into(), right: right.into(), not_permitted: false }
    }
}

/// Without the key, which stands before it.
impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.right)
    }
}

/// Everything that is wrong with a config file: never empty, one line each, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    line: String,
    not_permitted: bool,
}

impl Problems {
    /// The config file itself cannot be read.
    pub(super) fn unreadable(file: &Path, wrong: &Wrong) -> Problems {
        let Wrong { what, right, not_permitted } = wrong;
        let line = format!("{}: cannot be read: {what}; {right}", file.display());
        Problems(vec![Problem { line, not_permitted: *not_permitted }])
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always at least one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Each as `FILE:LINE:COL: what is wrong; what would be right`.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|problem| problem.line.as_str())
    }

    /// Is the only reason that this user may not read the config file, or a file that it names? Then another
    /// user may find nothing wrong.
    pub fn is_not_permitted(&self) -> bool {
        self.0.iter().all(|problem| problem.not_permitted)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(line)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problems> for Vec<String> {
    fn from(problems: Problems) -> Vec<String> {
        problems.0.into_iter().map(|problem| problem.line).collect()
    }
}

/// Problems while they are being found.
pub(super) struct Report<'t> {
    file: &'t Path,
    text: &'t str,
    /// Where each line begins, as an offset into the text.
    line_starts: Vec<usize>,
    found: Vec<Found>,
    /// Lines (from 0) that are no TOML.
    broken_lines: BTreeSet<usize>,
}

struct Found {
    at: usize,
    kind: Kind,
    wrong: Wrong,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The text is no TOML here.
    Syntax,
    /// Something is written here that is wrong.
    Here,
    /// Something has a name that is not known, perhaps for standing below a header that is no TOML.
    Unknown,
    /// Something is not there, perhaps for standing in a line that is no TOML.
    Lack,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &'t Path, text: &'t str) -> Report<'t> {
        let after_breaks = text.match_indices('\n').map(|(offset, _)| offset + 1);
        let line_starts = std::iter::once(0).chain(after_breaks).collect();
        Report { file, text, line_starts, found: Vec::new(), broken_lines: BTreeSet::new() }
    }

    /// The text is no TOML at this offset. One slip often makes several errors, so the first of a line is told.
    pub(super) fn syntax(&mut self, at: usize, message: &str) {
        let at = at.min(self.text.len());
        if self.broken_lines.insert(self.line_index(at)) {
            let right = if message.contains("duplicate key") {
                "a key and a [section] stand once: keep one of the two"
            } else {
                "correct this line: TOML is `key = value`, with text in quotes"
            };
            self.found.push(Found { at, kind: Kind::Syntax, wrong: Wrong::new(message, right) });
        }
    }

    /// What is written at this offset is wrong.
    pub(super) fn add(&mut self, at: usize, what: impl Into<String>, right: impl Into<String>) {
        self.found.push(Found { at, kind: Kind::Here, wrong: Wrong::new(what, right) });
    }

    /// The value of `key` at this offset is wrong.
    pub(super) fn add_value(&mut self, at: usize, key: &str, wrong: Wrong) {
        let wrong = Wrong { what: format!("`{key}` {}", wrong.what), ..wrong };
        self.found.push(Found { at, kind: Kind::Here, wrong });
    }

    /// What is written at this offset has a name that is not known there.
    pub(super) fn unknown(&mut self, at: usize, what: impl Into<String>, right: impl Into<String>) {
        self.found.push(Found { at, kind: Kind::Unknown, wrong: Wrong::new(what, right) });
    }

    /// Something is missing that belongs to what stands at this offset.
    pub(super) fn lack(&mut self, at: usize, what: impl Into<String>, right: impl Into<String>) {
        self.found.push(Found { at, kind: Kind::Lack, wrong: Wrong::new(what, right) });
    }

    /// Is there a name that is not known?
    pub(super) fn has_unknown(&self) -> bool {
        self.found.iter().any(|found| found.kind == Kind::Unknown)
    }

    /// The line, from 1, of this offset.
    pub(super) fn line(&self, at: usize) -> usize {
        self.line_index(at) + 1
    }

    fn line_index(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// Does the line (from 0) begin as the header of a section does?
    fn is_header(&self, line: usize) -> bool {
        let start = self.line_starts.get(line).copied().unwrap_or(0);
        self.text.get(start..).is_some_and(|rest| rest.trim_start_matches([' ', '\t']).starts_with('['))
    }

    /// The column, from 1, of this offset, in characters.
    fn column(&self, at: usize) -> usize {
        let start = self.line_starts.get(self.line_index(at)).copied().unwrap_or(0);
        let before = self.text.as_bytes().get(start..at).unwrap_or_default();
        // Counts the bytes that begin a character, so that an offset inside one is no trouble.
        before.iter().filter(|byte| (**byte & 0xC0) != 0x80).count() + 1
    }

    /// The value, if nothing is wrong.
    pub(super) fn conclude<T>(mut self, value: Option<T>) -> Result<T, Problems> {
        let broken = std::mem::take(&mut self.broken_lines);
        let mut found = std::mem::take(&mut self.found);
        let is_header_broken = broken.iter().any(|line| self.is_header(*line));
        // Where a line is no TOML, what is missing may have stood there, and what was saved of it is a guess.
        found.retain(|found| match found.kind {
            Kind::Syntax => true,
            Kind::Here => !broken.contains(&self.line_index(found.at)),
            Kind::Unknown => !is_header_broken && !broken.contains(&self.line_index(found.at)),
            Kind::Lack => broken.is_empty(),
        });
        found.sort_by_key(|found| found.at);
        match value {
            Some(value) if found.is_empty() => Ok(value),
            Some(_) | None => Err(Problems(found.into_iter().map(|found| self.problem(found)).collect())),
        }
    }

    fn problem(&self, found: Found) -> Problem {
        let Found { at, kind: _, wrong: Wrong { what, right, not_permitted } } = found;
        let (file, line, column) = (self.file.display(), self.line(at), self.column(at));
        Problem { line: format!("{file}:{line}:{column}: {what}; {right}"), not_permitted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(wrongs: &[bool]) -> Problems {
        let mut report = Report::new(Path::new("c.toml"), "a\nb\n");
        for (at, not_permitted) in wrongs.iter().enumerate() {
            let wrong = Wrong { not_permitted: *not_permitted, ..Wrong::new("is wrong", "do right") };
            report.add_value(at, "key", wrong);
        }
        report.conclude(Some(())).expect_err("wrong")
    }

    #[test]
    fn it_is_a_matter_of_permission_only_if_nothing_else_is_wrong() {
        assert!(problems(&[true, true]).is_not_permitted());
        assert!(!problems(&[true, false]).is_not_permitted());
        let wrong = Wrong { not_permitted: true, ..Wrong::new("permission denied", "ask root") };
        let unreadable = Problems::unreadable(Path::new("c.toml"), &wrong);
        assert!(unreadable.is_not_permitted());
        assert_eq!(unreadable.to_string(), "c.toml: cannot be read: permission denied; ask root");
    }

    #[test]
    fn a_problem_at_the_very_end_has_a_place_too() {
        assert_eq!(problems(&[false; 5]).iter().last(), Some("c.toml:3:1: `key` is wrong; do right"));
    }
}
