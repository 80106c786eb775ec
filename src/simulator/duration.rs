//! Durations as people write them in JSON: `"90s"`, `"25h"`, `"3months"`. Imports nothing of ours.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Writes the duration in humantime's words.
pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// Reads what humantime reads.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|cause| {
        serde::de::Error::custom(format!("{text:?} is not a duration such as \"90s\": {cause}"))
    })
}
