//! One table of the config file: its values are asked for by key and type, and what nobody knows is a problem.

use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problems::{Report, Wrong};
use super::schema::{self, Entry};

/// A value and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) at: usize,
    pub(super) value: T,
}

/// One table of the document, or its absence.
#[derive(Clone, Copy)]
pub(super) struct Section<'t, 'i> {
    entry: &'static Entry,
    /// Where its header stands.
    pub(super) at: usize,
    table: Option<&'t DeTable<'i>>,
}

impl<'t, 'i> Section<'t, 'i> {
    /// The section of the document that is written `[section]`; its unknown keys are reported.
    pub(super) fn one(
        document: &'t DeTable<'i>,
        entry: &'static Entry,
        report: &mut Report<'_>,
    ) -> Section<'t, 'i> {
        let absent = Section { entry, at: 0, table: None };
        let Some(value) = document.get(entry.section) else { return absent };
        let Some(table) = value.get_ref().as_table() else {
            // `refresh_token = "…"` is a secret rather than a section gone wrong.
            let advice = schema::advice_for_secret(entry.section).filter(|_| value.get_ref().is_str());
            let right = advice
                .map_or_else(|| format!("write {} once, with its keys below", entry.header()), str::to_owned);
            report.add(value.span().start, format!("`{}` is no section", entry.section), right);
            return absent;
        };
        Section { entry, at: value.span().start, table: Some(table) }.known(report)
    }

    /// The sections of the document that are written `[[section]]`; their unknown keys are reported.
    pub(super) fn list(
        document: &'t DeTable<'i>,
        entry: &'static Entry,
        report: &mut Report<'_>,
    ) -> Vec<Section<'t, 'i>> {
        let Some(value) = document.get(entry.section) else { return Vec::new() };
        let at = value.span().start;
        let right = format!("write {} with its keys below, once for each", entry.header());
        if let Some(table) = value.get_ref().as_table() {
            report.add(at, format!("`{}` is a list of sections", entry.section), right);
            return vec![Section { entry, at, table: Some(table) }.known(report)];
        }
        let Some(array) = value.get_ref().as_array() else {
            report.add(at, format!("`{}` is no list of sections", entry.section), right);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in array.iter() {
            let at = item.span().start;
            match item.get_ref().as_table() {
                Some(table) => sections.push(Section { entry, at, table: Some(table) }.known(report)),
                None => report.add(at, format!("`{}` holds something else", entry.section), right.clone()),
            }
        }
        sections
    }

    /// Reports the keys that this section does not have.
    fn known(self, report: &mut Report<'_>) -> Section<'t, 'i> {
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if !self.entry.keys.contains(&name) {
                let (what, right) = unknown_key(name, self.entry);
                report.unknown(key.span().start, what, right);
            }
        }
        self
    }

    /// Is it in the document at all?
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
        debug_assert!(self.entry.keys.contains(&key), "{key} is not in the schema");
        // What the parser saved from a line that is no TOML may have no place of its own.
        self.table?.get(key).filter(|value| !value.span().is_empty())
    }

    /// Where the value of this key stands, if it is there.
    pub(super) fn position(&self, key: &str) -> Option<usize> {
        self.get(key).map(|value| value.span().start)
    }

    /// The text under this key. `example` shows what would be right, as TOML.
    pub(super) fn text(&self, key: &str, example: &str, report: &mut Report<'_>) -> Option<At<&'t str>> {
        let value = self.get(key)?;
        let at = value.span().start;
        match value.get_ref().as_str() {
            Some(text) => Some(At { at, value: text }),
            None => {
                report.add_value(at, key, not_text(value.get_ref(), &format!("write {key} = {example}")));
                None
            }
        }
    }

    /// The text under this key, understood by `read`.
    pub(super) fn read<T>(
        &self,
        key: &str,
        example: &str,
        report: &mut Report<'_>,
        read: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let text = self.text(key, example, report)?;
        read(text.value).map_err(|wrong| report.add_value(text.at, key, wrong)).ok()
    }

    /// The list of texts under this key; None when it is not there or is no list.
    pub(super) fn texts(
        &self,
        key: &str,
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<Vec<At<&'t str>>> {
        let value = self.get(key)?;
        let right = format!("write {key} = {example}");
        let Some(array) = value.get_ref().as_array() else {
            let what = format!("is {}, not a list", kind_of(value.get_ref()));
            report.add_value(value.span().start, key, Wrong::new(what, right));
            return None;
        };
        let mut texts = Vec::new();
        for item in array.iter() {
            let at = item.span().start;
            match item.get_ref().as_str() {
                Some(value) => texts.push(At { at, value }),
                None => report.add_value(at, key, not_text(item.get_ref(), &right)),
            }
        }
        Some(texts)
    }

    /// The whole number under this key, within `accepted`.
    pub(super) fn number(
        &self,
        key: &str,
        accepted: RangeInclusive<u32>,
        report: &mut Report<'_>,
    ) -> Option<u32> {
        let value = self.get(key)?;
        let right = format!("{} to {} is accepted, without quotes", accepted.start(), accepted.end());
        let wrong = match value.get_ref().as_integer() {
            None => format!("is {}, not a whole number", kind_of(value.get_ref())),
            Some(integer) => match u32::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) if accepted.contains(&number) => return Some(number),
                Ok(_) | Err(_) => "is out of bounds".to_owned(),
            },
        };
        report.add_value(value.span().start, key, Wrong::new(wrong, right));
        None
    }

    /// The true or false under this key.
    pub(super) fn flag(&self, key: &str, report: &mut Report<'_>) -> Option<bool> {
        let value = self.get(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            let what = format!("is {}, not true or false", kind_of(value.get_ref()));
            let right = format!("write {key} = true or {key} = false, without quotes");
            report.add_value(value.span().start, key, Wrong::new(what, right));
        }
        flag
    }

    /// The digits under this key, if it is a whole number (which an id must not be).
    pub(super) fn digits(&self, key: &str) -> Option<At<&'t str>> {
        let value = self.get(key)?;
        let integer = value.get_ref().as_integer().filter(|integer| integer.radix() == 10)?;
        Some(At { at: value.span().start, value: integer.as_str() })
    }
}

/// Reports what stands in the document outside all sections, or in a section that nobody knows.
pub(super) fn unknown_sections(document: &DeTable<'_>, report: &mut Report<'_>) {
    for (key, value) in document {
        let name: &str = key.get_ref();
        if schema::SECTIONS.iter().any(|entry| entry.section == name) {
            continue;
        }
        let is_section = value.get_ref().is_table() || value.get_ref().is_array();
        let (what, right) = if is_section { unknown_section(name) } else { key_outside(name) };
        report.unknown(key.span().start, what, right);
    }
}

fn unknown_section(name: &str) -> (String, String) {
    let what = format!("unknown section{}", shown(name));
    let near = schema::nearest(name, schema::SECTIONS.iter().map(|entry| entry.section));
    match schema::SECTIONS.iter().find(|entry| Some(entry.section) == near) {
        Some(entry) => (what, format!("did you mean {}?", entry.header())),
        None => {
            let headers: Vec<String> = schema::SECTIONS.iter().map(|entry| entry.header()).collect();
            (what, format!("the sections are {}", headers.join(", ")))
        }
    }
}

fn key_outside(name: &str) -> (String, String) {
    if let Some(advice) = schema::advice_for_secret(name) {
        return (format!("a secret under `{}`", name.to_ascii_lowercase()), advice.to_owned());
    }
    let what = format!("the key{} stands outside all sections", shown(name));
    match owner_of(name) {
        Some(owner) => (what, format!("it belongs below {}", owner.header())),
        None => (what, "every key stands below a [section]: put it there, or take it out".to_owned()),
    }
}

fn unknown_key(name: &str, entry: &Entry) -> (String, String) {
    if let Some(advice) = schema::advice_for_secret(name) {
        return (format!("a secret under `{}`", name.to_ascii_lowercase()), advice.to_owned());
    }
    let what = format!("unknown key{} in {}", shown(name), entry.header());
    if let Some(owner) = owner_of(name) {
        return (what, format!("it belongs below {}", owner.header()));
    }
    match schema::nearest(name, entry.keys.iter().copied()) {
        Some(key) => (what, format!("did you mean `{key}`?")),
        None => (what, format!("its keys are {}", entry.keys.join(", "))),
    }
}

/// The section that has this key.
fn owner_of(key: &str) -> Option<&'static Entry> {
    schema::SECTIONS.iter().copied().find(|entry| entry.keys.contains(&key))
}

/// The name in a message, unless it could be a secret.
fn shown(name: &str) -> String {
    if schema::is_showable(name) { format!(" `{name}`") } else { String::new() }
}

fn not_text(value: &DeValue<'_>, right: &str) -> Wrong {
    Wrong::new(format!("is {}, not text in quotes", kind_of(value)), right)
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}
