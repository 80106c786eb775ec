//! The events of the program as its source has them: names, levels, fields.

use std::collections::{BTreeMap, BTreeSet};

use super::source_files::source_files;

/// What the log says, or what a table says that it says: the levels and fields of each event.
pub type Events = BTreeMap<String, Event>;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub levels: BTreeSet<String>,
    pub fields: BTreeSet<String>,
}

/// Every `info!(…, event = "name", …)` of the program.
pub fn events_of_the_program() -> Events {
    let mut events = Events::new();
    for file in source_files("src") {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        // What tests say is not the program's.
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let mut understood = 0;
        for level in ["error", "warn", "info", "debug", "trace"] {
            for (at, call) in text.match_indices(&format!("{level}!(")) {
                let arguments = arguments(&text[at + call.len()..]);
                let Some(name) = arguments.iter().find_map(|argument| argument.strip_prefix("event = "))
                else {
                    continue;
                };
                understood += 1;
                let event = events.entry(name.trim_matches('"').to_owned()).or_default();
                event.levels.insert(level.to_owned());
                event.fields.extend(
                    arguments
                        .iter()
                        .filter(|argument| !argument.starts_with("event = ") && !argument.starts_with('"'))
                        .map(|argument| {
                            argument.split(" = ").next().unwrap_or_default().trim_start_matches(['%', '?'])
                        })
                        .map(str::to_owned),
                );
            }
        }
        assert_eq!(
            understood,
            text.matches("event = \"").count(),
            "{}: an event of another kind",
            file.display()
        );
    }
    events
}

/// The arguments of a call, from behind its opening parenthesis to the closing one.
fn arguments(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for c in text.chars() {
        match c {
            _ if in_string => {
                in_string = is_escaped || c != '"';
                is_escaped = !is_escaped && c == '\\';
            }
            '"' => in_string = true,
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = found.last_mut() {
            last.push(c);
        }
    }
    found.iter().map(|argument| argument.trim().to_owned()).filter(|argument| !argument.is_empty()).collect()
}
