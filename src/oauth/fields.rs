//! The fields of an answer, read as far as they go.
//!
//! An answer that holds the only copy of a token set must not be lost to a missing brace. The document is
//! therefore read in one pass that notes every field as soon as it is closed: what was noted when the text broke
//! off is what was received. Fields may stand at the top or inside one object `data`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A field's value, as the raw text of the JSON: a string with its quotes, a number as it was written.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) enum Raw {
    /// Absent, `null` or the empty string: Zalo uses all three for "none".
    #[default]
    Nothing,
    /// A string that is not empty, unquoted.
    Text(String),
    /// Anything else, as written.
    Other(String),
}

impl Raw {
    fn of(json: &str) -> Raw {
        match serde_json::from_str::<Option<String>>(json) {
            Ok(None) => Raw::Nothing,
            Ok(Some(text)) if text.is_empty() => Raw::Nothing,
            Ok(Some(text)) => Raw::Text(text),
            Err(_) => Raw::Other(json.to_owned()),
        }
    }

    fn is_nothing(&self) -> bool {
        *self == Raw::Nothing
    }
}

/// The fields of one level that mean something to us.
#[derive(Default)]
pub(super) struct Level {
    pub(super) access_token: Raw,
    pub(super) refresh_token: Raw,
    pub(super) expires_in: Raw,
    pub(super) refresh_token_expires_in: Raw,
    pub(super) error: Raw,
    pub(super) oa_id: Raw,
    /// A field came twice with two values.
    pub(super) has_duplicates: bool,
}

impl Level {
    fn slot(&mut self, key: &str) -> Option<&mut Raw> {
        match key {
            "access_token" => Some(&mut self.access_token),
            "refresh_token" => Some(&mut self.refresh_token),
            "expires_in" => Some(&mut self.expires_in),
            "refresh_token_expires_in" => Some(&mut self.refresh_token_expires_in),
            "error" => Some(&mut self.error),
            "oa_id" => Some(&mut self.oa_id),
            _ => None,
        }
    }

    /// Of a field that comes twice the last one counts, as usual in JSON, unless it is empty.
    fn note(&mut self, key: &str, raw: Raw) {
        let Some(slot) = self.slot(key) else { return };
        if raw.is_nothing() || *slot == raw {
            return;
        }
        let is_duplicate = !slot.is_nothing();
        *slot = raw;
        self.has_duplicates |= is_duplicate;
    }

    fn or(self, inner: Level) -> Level {
        let pick = |outer: Raw, inner: Raw| if outer.is_nothing() { inner } else { outer };
        Level {
            access_token: pick(self.access_token, inner.access_token),
            refresh_token: pick(self.refresh_token, inner.refresh_token),
            expires_in: pick(self.expires_in, inner.expires_in),
            refresh_token_expires_in: pick(self.refresh_token_expires_in, inner.refresh_token_expires_in),
            error: pick(self.error, inner.error),
            oa_id: pick(self.oa_id, inner.oa_id),
            has_duplicates: self.has_duplicates || inner.has_duplicates,
        }
    }
}

/// What could be read of an answer.
pub(super) struct Fields {
    pub(super) level: Level,
    /// The object was closed: nothing of it is missing.
    pub(super) is_whole: bool,
    /// Something other than white space came after the object.
    pub(super) has_tail: bool,
}

/// Reads an answer. Bytes that are no UTF-8 are replaced, a byte order mark and NULs around the text are dropped.
pub(super) fn read(body: &[u8]) -> Fields {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_matches(|c: char| c == '\u{feff}' || c == '\0' || c.is_whitespace());
    let (mut top, mut data) = (Level::default(), Level::default());
    let mut json = serde_json::Deserializer::from_str(text);
    let is_whole = Object { level: &mut top, data: Some(&mut data) }.deserialize(&mut json).is_ok();
    let has_tail = is_whole && json.end().is_err();
    Fields { level: top.or(data), is_whole, has_tail }
}

/// Reads one object into a level; anything else is passed over.
struct Object<'l> {
    level: &'l mut Level,
    data: Option<&'l mut Level>,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match (key.as_ref(), self.data.take()) {
                ("data", Some(data)) => {
                    map.next_value_seed(Object { level: &mut *data, data: None })?;
                    self.data = Some(data);
                }
                (key, data) => {
                    self.data = data;
                    let raw = map.next_value::<&'de RawValue>()?;
                    self.level.note(key, Raw::of(raw.get()));
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
