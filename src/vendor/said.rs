//! What a vendor says beside the matter: `code`, `message`, `referentId`. Whoever answers in his place may write anything
//! there, so it is made harmless before anybody sees it. Pure.

use serde_json::Value;

use crate::secret::Secret;

/// The longest text that is kept of an answer, in characters.
const LONGEST: usize = 200;
/// What stands where the key stood.
const KEY: &str = "[key]";

/// What a vendor says beside the matter, fit for a log line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `code`.
    pub code: Option<String>,
    /// `message`.
    pub message: Option<String>,
    /// `referentId`.
    pub referent_id: Option<String>,
}

impl Said {
    pub(super) fn of(body: &Value, key: &Secret) -> Said {
        let text = |name: &str| match body.get(name)? {
            Value::String(text) => Some(harmless(text, key)).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(harmless(&number.to_string(), key)),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        Said { code: text("code"), message: text("message"), referent_id: text("referentId") }
    }
}

/// One line of bounded length, without what moves a cursor or turns the direction of writing, and without the key.
pub(super) fn harmless(text: &str, key: &Secret) -> String {
    let visible: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    let bare = if key.expose().is_empty() { visible } else { visible.replace(key.expose(), KEY) };
    bare.trim().chars().take(LONGEST).collect()
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key() -> Secret {
        Secret::new("CANARY-key".to_owned())
    }

    #[test]
    fn what_is_said_is_one_short_line_without_the_key() {
        let hostile = format!("a\r\nb\u{1b}[31m\u{202e}c CANARY-key {}", "x".repeat(70_000));
        let body = json!({"code": -5, "message": hostile, "referentId": "CANARY\u{0}-key"});
        let said = Said::of(&body, &key());
        let message = said.message.expect("a message");
        assert!(message.starts_with("ab[31mc [key] xx"), "{message}");
        assert_eq!(message.chars().count(), LONGEST);
        assert_eq!((said.code.as_deref(), said.referent_id.as_deref()), (Some("-5"), Some("[key]")));
    }

    #[test]
    fn what_is_of_another_kind_is_not_said() {
        let said = Said::of(&json!({"code": "0", "message": {"a": 1}, "referentId": null}), &key());
        assert_eq!(said, Said { code: Some("0".to_owned()), ..Said::default() });
        assert_eq!(Said::of(&json!([1]), &key()), Said::default());
    }
}
