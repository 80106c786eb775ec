//! What a vendor's answer means: by its HTTP status and by what is in it, never by its `code`, of which 0 and 200 were
//! both seen where all was well. Pure.

use std::time::Duration;

use serde_json::Value;

use super::link::{Hosts, check_link};
use super::said::Said;
use super::terms::Style;
use crate::clock::Time;
use crate::secret::Secret;

/// An end of consent is believed that lies so long ago at most …
const LONGEST_AGO: Duration = Duration::from_secs(366 * 86_400);
/// … or so far ahead.
const FURTHEST: Duration = Duration::from_secs(731 * 86_400);
/// A number that is as large counts milliseconds: as seconds it would be in the year 5138.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// An answer to the question for a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it says beside that.
    pub said: Said,
    /// What it means.
    pub outcome: Outcome,
}

/// What an answer means, by what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A link that may be shown.
    Link(String),
    /// He has none for now.
    Nothing,
    /// Asking again will not help before a person has changed something.
    Misconfigured(String),
    /// The key is refused.
    Refused(String),
    /// It may be asked again.
    Failed(String),
}

/// An answer to the question how an OA stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShopAnswer {
    /// What it says beside that.
    pub said: Said,
    /// What it means.
    pub outcome: ShopOutcome,
}

/// What such an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShopOutcome {
    /// So it stands.
    Told(Shop),
    /// It cannot be learnt there.
    NotTold(String),
    /// The key is refused.
    Refused(String),
    /// It may be asked again.
    Failed(String),
}

/// How an OA stands at its vendor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shop {
    /// Is it connected? `None`: he does not say.
    pub status: Option<Status>,
    /// When the consent ends.
    pub expires_at: Option<Time>,
    /// When something about it changed last.
    pub updated_at: Option<Time>,
}

/// Is an OA connected to its vendor?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `P`.
    Connected,
    /// `N`.
    Disconnected,
}

/// What a status means by itself.
enum Class {
    Well,
    Empty,
    Wrong,
    Refused,
    Failed,
}

fn class(status: u16) -> Class {
    match status {
        200 | 201 => Class::Well,
        204 => Class::Empty,
        400 | 404 | 405 => Class::Wrong,
        401 | 403 => Class::Refused,
        // 500, 502, 503 and 504 of his documents, and whatever they do not have.
        _ => Class::Failed,
    }
}

/// Reads the answer to the question for a link.
pub fn read_link(style: Style, status: u16, body: &[u8], hosts: &Hosts, key: &Secret) -> Answer {
    let parsed = serde_json::from_slice::<Value>(body);
    let said = parsed.as_ref().map(|body| Said::of(body, key)).unwrap_or_default();
    let answers = || format!("the vendor answers {status}");
    let outcome = match (class(status), parsed) {
        (Class::Empty, _) => Outcome::Nothing,
        (Class::Wrong, _) => Outcome::Misconfigured(answers()),
        (Class::Refused, _) => Outcome::Refused(answers()),
        (Class::Failed, _) => Outcome::Failed(answers()),
        (Class::Well, Err(_)) if body.iter().all(u8::is_ascii_whitespace) => Outcome::Nothing,
        (Class::Well, Err(_)) => Outcome::Failed("the answer is no JSON".to_owned()),
        (Class::Well, Ok(body)) => match link_in(style, &body) {
            None | Some(Value::Null) => Outcome::Nothing,
            Some(Value::String(text)) if text.trim().is_empty() => Outcome::Nothing,
            Some(Value::String(text)) => match check_link(text, hosts, key) {
                Ok(link) => Outcome::Link(link),
                Err(why) => Outcome::Misconfigured(format!("the link {why}")),
            },
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Outcome::Misconfigured("the link is no text".to_owned())
            }
        },
    };
    Answer { said, outcome }
}

fn link_in(style: Style, body: &Value) -> Option<&Value> {
    match style {
        Style::Interits => body.get("data")?.get("url"),
        Style::Etelecom | Style::Sencloud => body.get("url"),
    }
}

/// Reads the answer to the question how an OA stands.
pub fn read_shop(status: u16, body: &[u8], key: &Secret, now: Time) -> ShopAnswer {
    let parsed = serde_json::from_slice::<Value>(body);
    let said = parsed.as_ref().map(|body| Said::of(body, key)).unwrap_or_default();
    let answers = || format!("the vendor answers {status}");
    let outcome = match (class(status), parsed) {
        (Class::Empty | Class::Wrong, _) => ShopOutcome::NotTold(answers()),
        // A key that is known and may not ask this may still ask for links.
        (Class::Refused, _) if status == 403 => ShopOutcome::NotTold(answers()),
        (Class::Refused, _) => ShopOutcome::Refused(answers()),
        (Class::Failed, _) => ShopOutcome::Failed(answers()),
        (Class::Well, Err(_)) => ShopOutcome::Failed("the answer is no JSON".to_owned()),
        (Class::Well, Ok(body)) => match body.get("data").filter(|data| data.is_object()) {
            Some(data) => ShopOutcome::Told(shop(data, now)),
            None => ShopOutcome::NotTold("the answer has no data".to_owned()),
        },
    };
    ShopAnswer { said, outcome }
}

fn shop(data: &Value, now: Time) -> Shop {
    let status = data.get("status").and_then(Value::as_str).map(str::trim);
    let status = match status {
        Some("P" | "p") => Some(Status::Connected),
        Some("N" | "n") => Some(Status::Disconnected),
        Some(_) | None => None,
    };
    let time = |name: &str| data.get(name).and_then(time).filter(|at| is_believable(*at, now));
    Shop { status, expires_at: time("expires_at"), updated_at: time("updated_at") }
}

fn is_believable(at: Time, now: Time) -> bool {
    now.minus(LONGEST_AGO) <= at && at <= now.plus(FURTHEST)
}

/// A point in time in whichever way it is written. Where no offset is, Vietnam's is meant.
fn time(value: &Value) -> Option<Time> {
    let of_number = |number: i64| {
        let millis = if number.abs() >= MILLISECONDS_FROM { number } else { number.checked_mul(1_000)? };
        Some(Time::from_millis(millis))
    };
    match value {
        Value::Number(number) => number.as_i64().and_then(of_number),
        Value::String(text) => {
            let text = text.trim();
            if let Ok(number) = text.parse() {
                return of_number(number);
            }
            let with_time =
                if text.len() == 10 { format!("{text}T00:00:00") } else { text.replacen(' ', "T", 1) };
            Time::parse(text).or_else(|_| Time::parse(&format!("{with_time}+07:00"))).ok()
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Time = Time::from_millis(1_800_000_000_000);
    const LINK: &str = "https://oauth.zaloapp.com/v4/oa/permission?app_id=1";

    fn key() -> Secret {
        Secret::new("CANARY-key".to_owned())
    }

    fn hosts() -> Hosts {
        Hosts { names: ["oauth.zaloapp.com".to_owned()].into(), on_this_machine: false }
    }

    fn outcome(style: Style, status: u16, body: &str) -> Outcome {
        read_link(style, status, body.as_bytes(), &hosts(), &key()).outcome
    }

    #[test]
    fn each_status_of_the_vendors_table_means_what_is_to_be_done_about_it() {
        let with_link =
            json!({"code": 0, "data": {"url": LINK}, "message": "", "referentId": ""}).to_string();
        let interits = |status| outcome(Style::Interits, status, &with_link);
        for status in [200, 201] {
            assert_eq!(interits(status), Outcome::Link(LINK.to_owned()));
        }
        assert_eq!(interits(204), Outcome::Nothing);
        for status in [400, 404, 405] {
            assert_eq!(interits(status), Outcome::Misconfigured(format!("the vendor answers {status}")));
        }
        for status in [401, 403] {
            assert_eq!(interits(status), Outcome::Refused(format!("the vendor answers {status}")));
        }
        for status in [500, 502, 503, 504, 429, 301, 302, 202, 100, 418] {
            assert_eq!(interits(status), Outcome::Failed(format!("the vendor answers {status}")));
        }
    }

    #[test]
    fn the_code_decides_nothing() {
        for code in [json!(0), json!(200), json!(-401), json!("500"), Value::Null] {
            let body = json!({"code": code, "data": {"url": LINK}}).to_string();
            assert_eq!(outcome(Style::Interits, 200, &body), Outcome::Link(LINK.to_owned()), "{body}");
        }
    }

    #[test]
    fn an_answer_without_a_link_is_no_failure_and_garbage_is_one() {
        for body in [
            "",
            " \n",
            "{}",
            "{\"data\":null}",
            "{\"data\":{\"url\":\"\"}}",
            "{\"data\":{\"url\":null}}",
            "[]",
        ] {
            assert_eq!(outcome(Style::Interits, 200, body), Outcome::Nothing, "{body}");
        }
        for body in ["<html>", "{\"data\":", "\u{0}"] {
            assert_eq!(
                outcome(Style::Interits, 200, body),
                Outcome::Failed("the answer is no JSON".to_owned())
            );
        }
        for url in [json!(5), json!([LINK]), json!("javascript:alert(1)"), json!("https://evil.example/")] {
            let body = json!({"data": {"url": url}}).to_string();
            let refused = outcome(Style::Interits, 200, &body);
            assert!(
                matches!(&refused, Outcome::Misconfigured(why) if why.starts_with("the link ")),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn the_other_styles_have_a_bare_link() {
        let bare = json!({"url": LINK}).to_string();
        for style in [Style::Etelecom, Style::Sencloud] {
            assert_eq!(outcome(style, 200, &bare), Outcome::Link(LINK.to_owned()));
            assert_eq!(outcome(style, 401, &bare), Outcome::Refused("the vendor answers 401".to_owned()));
        }
        assert_eq!(outcome(Style::Interits, 200, &bare), Outcome::Nothing);
    }

    #[test]
    fn what_is_said_comes_along_with_every_status() {
        let body = json!({"code": 7, "message": "no\r\nCANARY-key", "referentId": "r"}).to_string();
        let said = read_link(Style::Interits, 404, body.as_bytes(), &hosts(), &key()).said;
        assert_eq!(said.message.as_deref(), Some("no[key]"));
        assert_eq!((said.code.as_deref(), said.referent_id.as_deref()), (Some("7"), Some("r")));
    }

    fn told(data: Value) -> Shop {
        let body = json!({"code": 200, "data": data}).to_string();
        let outcome = read_shop(200, body.as_bytes(), &key(), NOW).outcome;
        let ShopOutcome::Told(shop) = outcome else { panic!("{outcome:?}") };
        shop
    }

    #[test]
    fn an_end_is_read_in_whichever_way_it_is_written_if_it_can_be_believed() {
        let at = Time::parse("2027-03-01T08:00:00+07:00").expect("a time");
        let seconds = at.as_millis() / 1_000;
        for written in [
            json!("2027-03-01T08:00:00+07:00"),
            json!("2027-03-01T01:00:00Z"),
            json!("2027-03-01T01:00:00.000Z"),
            json!("2027-03-01 08:00:00"),
            json!("2027-03-01T08:00:00"),
            json!(seconds),
            json!(seconds * 1_000),
            json!(seconds.to_string()),
        ] {
            assert_eq!(told(json!({"status": "P", "expires_at": written})).expires_at, Some(at), "{written}");
        }
        assert!(told(json!({"expires_at": "2027-03-01"})).expires_at.is_some());
        for odd in [
            json!("soon"),
            json!(0),
            json!(1e300),
            json!("2099-01-01T00:00:00Z"),
            json!("2020-01-01 00:00:00"),
            json!({}),
            json!(i64::MAX),
        ] {
            assert_eq!(told(json!({"expires_at": odd})).expires_at, None, "{odd}");
        }
    }

    #[test]
    fn how_an_oa_stands_is_told_by_p_and_n_and_by_nothing_else() {
        assert_eq!(told(json!({"status": "P"})).status, Some(Status::Connected));
        assert_eq!(told(json!({"status": "N"})).status, Some(Status::Disconnected));
        assert_eq!(told(json!({"status": "X"})), Shop::default());
        let of = |status: u16, body: &str| read_shop(status, body.as_bytes(), &key(), NOW).outcome;
        assert!(matches!(of(404, "{}"), ShopOutcome::NotTold(_)));
        assert!(matches!(of(200, "{\"data\":\"P\"}"), ShopOutcome::NotTold(_)));
        assert!(matches!(of(401, "{}"), ShopOutcome::Refused(_)));
        assert!(matches!(of(403, "{}"), ShopOutcome::NotTold(_)), "this question alone");
        assert!(matches!(of(503, "{}"), ShopOutcome::Failed(_)));
        assert!(matches!(of(200, "<html>"), ShopOutcome::Failed(_)));
    }
}
