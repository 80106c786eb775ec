//! What a hook is told: its arguments, its environment, its input. Pure.

use serde_json::Value;

use crate::config::OA_ID;
use crate::secret::Secret;
use crate::telemetry::feed::Happening;

/// Where a hook finds programs.
const PATH: &str = "/usr/bin:/bin";

/// The command with what is known of the event filled in; what is not, is empty.
pub(super) fn command(words: &[String], event: &Happening) -> Vec<String> {
    let generation = generation(event).unwrap_or_default();
    let known = [
        (OA_ID, event.oa_id.as_deref().unwrap_or_default()),
        ("{event}", &event.event),
        ("{generation}", &generation),
    ];
    words.iter().map(|word| filled_in(word, &known)).collect()
}

/// In one pass: what was filled in is not looked at again.
fn filled_in(word: &str, known: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::new(), word);
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let found = known.iter().find(|(name, _)| rest.starts_with(name));
        let (name, value) = found.copied().unwrap_or(("{", "{"));
        filled.push_str(value);
        rest = &rest[name.len()..];
    }
    filled + rest
}

fn generation(event: &Happening) -> Option<String> {
    event.number_in("generation").map(|generation| generation.to_string())
}

/// The whole environment. What is not known is not there.
pub(super) fn environment(event: &Happening) -> Vec<(&'static str, String)> {
    let text = |field: &str| event.text(field).map(on_one_line);
    let known = [
        ("PATH", Some(PATH.to_owned())),
        ("ZALO_EVENT", Some(event.event.to_string())),
        ("ZALO_LEVEL", Some(event.level.to_owned())),
        ("ZALO_OA_ID", event.oa_id.as_deref().map(on_one_line)),
        ("ZALO_GENERATION", generation(event)),
        ("ZALO_REASON", text("reason")),
        ("ZALO_MESSAGE", text("message")),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn on_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The input: the event as one line of JSON, with the token in it if there is one for the hook.
pub(super) fn input(event: &Happening, token: Option<&Secret>) -> Secret {
    let mut line = event.to_json();
    if let (Value::Object(line), Some(token)) = (&mut line, token) {
        line.insert("access_token".to_owned(), token.expose().into());
    }
    Secret::new(format!("{line}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use serde_json::{Map, json};

    fn event(fields: Value) -> Happening {
        let fields: Map<String, Value> = fields.as_object().expect("an object").clone();
        Happening {
            number: 1,
            time: Time::from_millis(1_800_000_000_000),
            level: "INFO",
            event: "refresh.succeeded".into(),
            oa_id: Some("7".into()),
            fields,
        }
    }

    fn filled(word: &str, event: &Happening) -> String {
        command(&[word.to_owned()], event).concat()
    }

    #[test]
    fn placeholders_are_filled_in_once_as_whole_words_and_as_parts() {
        let known = event(json!({"generation": 3}));
        assert_eq!(filled("{oa_id}", &known), "7");
        assert_eq!(filled("a{event}b{generation}c{oa_id}{", &known), "arefresh.succeededb3c7{");
        assert_eq!(filled("{generation}{x} {}{oa_id", &event(json!({}))), "{x} {}{oa_id");
        let odd = Happening { oa_id: Some("{event}".into()), ..known };
        assert_eq!(filled("{oa_id}", &odd), "{event}");
    }

    #[test]
    fn the_environment_has_what_is_known_and_nothing_else() {
        let names =
            |event: &Happening| environment(event).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let whole = event(json!({"generation": 3, "reason": "a\nb", "message": "m\0", "other": "x"}));
        assert_eq!(
            names(&whole),
            [
                "PATH",
                "ZALO_EVENT",
                "ZALO_LEVEL",
                "ZALO_OA_ID",
                "ZALO_GENERATION",
                "ZALO_REASON",
                "ZALO_MESSAGE"
            ]
        );
        assert!(environment(&whole).iter().all(|(_, value)| !value.contains(char::is_control)));
        let bare = Happening { oa_id: None, ..event(json!({})) };
        assert_eq!(names(&bare), ["PATH", "ZALO_EVENT", "ZALO_LEVEL"]);
    }

    #[test]
    fn the_input_is_one_line_and_has_the_token_only_if_one_is_given() {
        let event = event(json!({"message": "a\nb", "generation": 3}));
        let without = input(&event, None);
        assert_eq!(without.expose().matches('\n').count(), 1);
        let line: Value = serde_json::from_str(without.expose()).expect("JSON");
        assert_eq!(
            line,
            json!({"timestamp": "2027-01-15T08:00:00Z", "level": "INFO", "event": "refresh.succeeded",
                   "oa_id": "7", "message": "a\nb", "generation": 3})
        );
        let with = input(&event, Some(&Secret::new("token".to_owned())));
        let line: Value = serde_json::from_str(with.expose()).expect("JSON");
        assert_eq!(line["access_token"], "token");
    }
}
