//! The `[[oa]]` sections of a large fleet, read without a tree.
//!
//! The parser makes a tree of a whole file, and that of 100,000 sections takes thirty times the memory that is left
//! of them. Nearly all are written the same way: the header, and below it lines of `key = "text"`. Those are taken out
//! here, and what remains is a small file for the parser. **Nothing is decided here:** a section that is written in
//! another way, or a problem of whatever kind, and the whole file goes the usual way, which finds it and words it.

use super::values;
use crate::id::{AppId, Fleet, Managed, OaId};

/// A file that is taken apart.
pub(super) struct Parted<'t> {
    /// What is not an `[[oa]]` section, in order. Each part begins where a section ends, and must be whole by itself:
    /// else what looked like the header of a section stood in the middle of something.
    pub(super) rest: Vec<&'t str>,
    pub(super) oas: Fleet,
}

/// The sections read so far.
#[derive(Default)]
struct Found {
    oas: Vec<(OaId, Managed)>,
    /// Neighbours of the same app share its name.
    last_app: Option<AppId>,
}

/// Takes the `[[oa]]` sections out. `None`: one of them is not plain, or not right.
pub(super) fn part(text: &str) -> Option<Parted<'_>> {
    let (mut rest, mut found) = (Vec::new(), Found::default());
    let (mut section, mut rest_from, mut at) = (None::<Section<'_>>, 0, 0);
    for line in text.split_inclusive('\n') {
        let from = at;
        at += line.len();
        match (read(line), &mut section) {
            (Line::Oa, _) => {
                match section.take() {
                    Some(section) => found.add(&section)?,
                    None => rest.push(&text[rest_from..from]),
                }
                section = Some(Section::default());
            }
            (Line::Key(key, value), Some(section)) => section.set(key, value)?,
            (Line::Nothing, _) | (Line::Key(..) | Line::Other | Line::Header, None) => {}
            (Line::Header, Some(done)) => {
                found.add(done)?;
                (section, rest_from) = (None, from);
            }
            (Line::Other, Some(_)) => return None,
        }
    }
    match &section {
        Some(section) => found.add(section)?,
        None => rest.push(&text[rest_from..]),
    }
    let count = found.oas.len();
    let oas: Fleet = found.oas.into_iter().collect();
    (oas.len() == count).then_some(Parted { rest, oas })
}

/// What one `[[oa]]` section has.
#[derive(Default)]
struct Section<'t> {
    id: Option<&'t str>,
    app: Option<&'t str>,
    name: Option<&'t str>,
}

impl<'t> Section<'t> {
    /// `None`: there is no such key, or it is there a second time.
    fn set(&mut self, key: &str, value: &'t str) -> Option<()> {
        let place = match key {
            "id" => &mut self.id,
            "app" => &mut self.app,
            "name" => &mut self.name,
            _ => return None,
        };
        place.replace(value).is_none().then_some(())
    }
}

impl Found {
    /// Adds it, if it is right.
    fn add(&mut self, section: &Section<'_>) -> Option<()> {
        let oa_id = OaId::from(values::id(section.id?).ok()?);
        let app_id = match &self.last_app {
            Some(app_id) if Some(app_id.as_str()) == section.app => app_id.clone(),
            Some(_) | None => self.last_app.insert(AppId::from(values::id(section.app?).ok()?)).clone(),
        };
        let name = section.name.map(values::name).transpose().ok()?.map(String::into_boxed_str);
        self.oas.push((oa_id, Managed { app_id, name }));
        Some(())
    }
}

enum Line<'t> {
    /// `[[oa]]`
    Oa,
    /// Something else in brackets.
    Header,
    /// `key = "text"`
    Key(&'t str, &'t str),
    /// Blank, or a comment.
    Nothing,
    Other,
}

fn read(line: &str) -> Line<'_> {
    let line = line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
    let is_control = |c: char| c.is_control() && c != '\t';
    let line = line.trim_matches([' ', '\t']);
    if line.contains(is_control) {
        return Line::Other;
    }
    if is_nothing(line) {
        return Line::Nothing;
    }
    if let Some(after) = line.strip_prefix('[') {
        return match after.strip_prefix("[oa]]") {
            Some(after) if is_nothing(after) => Line::Oa,
            _ => Line::Header,
        };
    }
    key(line).map_or(Line::Other, |(key, value)| Line::Key(key, value))
}

fn key(line: &str) -> Option<(&str, &str)> {
    let (key, after) = line.split_once('=')?;
    let quoted = after.trim_start_matches([' ', '\t']).strip_prefix('"')?;
    let (value, after) = quoted.split_once('"')?;
    // With an escape in it, or as the beginning of a text of several lines, it means something else.
    let is_plain = !value.contains('\\') && is_nothing(after);
    is_plain.then_some((key.trim_end_matches([' ', '\t']), value))
}

/// Is there nothing but a comment?
fn is_nothing(text: &str) -> bool {
    let text = text.trim_start_matches([' ', '\t']);
    text.is_empty() || text.starts_with('#')
}
