//! What the token endpoint's answer says, judged by its body.
//!
//! Zalo sends errors with status 200 and sends `access_token: ""` beside them, so success is "a token is there",
//! never "no error" and never "status 200". A cut-off answer whose two tokens are closed is as good as a whole
//! one; a cut-off answer with less proves nothing, not even an error, because the rest could have said otherwise.

use std::fmt;
use std::time::Duration;

use super::DEFAULT_ACCESS_TOKEN_LIFE;
use super::code::ErrorCode;
use super::fields::{self, Level, Raw};
use crate::secret::Secret;

/// The longest access token life that is believed: 400 days. Milliseconds taken for seconds are beyond it.
const LONGEST_ACCESS_TOKEN_LIFE: u64 = 34_560_000;
/// The longest refresh token life that is believed: ten years.
const LONGEST_REFRESH_TOKEN_LIFE: u64 = 10 * 365 * 86_400;

/// What an answer of the token endpoint says.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// At least one token came.
    Granted(GrantedTokens),
    /// An error, and no token.
    Error(ErrorCode),
    /// Neither: nothing is proven by it.
    Unreadable(Unreadable),
}

/// The tokens of an answer, at least one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedTokens {
    /// The new access token.
    pub access_token: Option<Secret>,
    /// The new refresh token.
    pub refresh_token: Option<Secret>,
    /// How long the access token lives.
    pub access_token_life: Duration,
    /// How long the refresh token lives, where the answer says so.
    pub refresh_token_life: Option<Duration>,
    /// What was odd about the answer, although it is understood.
    pub oddities: Vec<Oddity>,
}

/// Something odd about an answer that was understood all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// The body broke off after both tokens.
    CutOff,
    /// `expires_in` was no whole number of seconds from 1 to 34,560,000; 90,000 is assumed.
    ExpiresIn,
    /// A field came twice with two values; the last one counts.
    Duplicate,
    /// Something followed the JSON object.
    Tail,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Oddity::CutOff => "the answer broke off after both tokens",
            Oddity::ExpiresIn => {
                "expires_in is not a whole number of seconds from 1 to 34560000, 90000 is assumed"
            }
            Oddity::Duplicate => "a field came twice, the last one counts",
            Oddity::Tail => "something followed the JSON object",
        })
    }
}

/// Why an answer says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// No body at all: what Zalo was seen to answer to a spent refresh token.
    Empty,
    /// Not a JSON object, or one that broke off too early.
    NotWhole,
    /// A token holds blanks, control bytes or is no text.
    OddToken,
    /// A whole JSON object with neither a token nor an error code.
    NothingInIt,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unreadable::Empty => "an empty answer",
            Unreadable::NotWhole => "an answer that is not a whole JSON object",
            Unreadable::OddToken => "an answer with a token that cannot be one",
            Unreadable::NothingInIt => "an answer with neither a token nor an error code",
        })
    }
}

/// Reads the body of a token endpoint's answer.
pub fn read_token_answer(body: &[u8]) -> Answer {
    if body.is_empty() {
        return Answer::Unreadable(Unreadable::Empty);
    }
    let fields = fields::read(body);
    let level = fields.level;
    let (Ok(access_token), Ok(refresh_token)) = (token(&level.access_token), token(&level.refresh_token))
    else {
        return Answer::Unreadable(Unreadable::OddToken);
    };
    let has_both = access_token.is_some() && refresh_token.is_some();
    if !fields.is_whole && !has_both {
        return Answer::Unreadable(Unreadable::NotWhole);
    }
    if access_token.is_none() && refresh_token.is_none() {
        return match error_code(&level.error) {
            Some(code) => Answer::Error(code),
            None => Answer::Unreadable(Unreadable::NothingInIt),
        };
    }
    let expires_in = whole_seconds(&level.expires_in, LONGEST_ACCESS_TOKEN_LIFE);
    let oddities = [
        (!fields.is_whole, Oddity::CutOff),
        (expires_in.is_none() && access_token.is_some(), Oddity::ExpiresIn),
        (level.has_duplicates, Oddity::Duplicate),
        (fields.has_tail, Oddity::Tail),
    ];
    Answer::Granted(GrantedTokens {
        access_token,
        refresh_token,
        access_token_life: expires_in.unwrap_or(DEFAULT_ACCESS_TOKEN_LIFE),
        refresh_token_life: refresh_token_life(&level),
        oddities: oddities.into_iter().filter_map(|(is_so, oddity)| is_so.then_some(oddity)).collect(),
    })
}

/// A token is visible ASCII: it has to fit into a header, and Zalo's are `A-Za-z0-9_-`.
fn token(raw: &Raw) -> Result<Option<Secret>, Unreadable> {
    match raw {
        Raw::Nothing => Ok(None),
        Raw::Text(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Some(Secret::new(text.clone())))
        }
        Raw::Text(_) | Raw::Other(_) => Err(Unreadable::OddToken),
    }
}

/// A code as number or as quoted number; 0 means "no error".
pub(super) fn error_code(raw: &Raw) -> Option<ErrorCode> {
    match raw {
        Raw::Nothing => None,
        Raw::Text(text) | Raw::Other(text) => {
            text.trim().parse().ok().filter(|code| *code != 0).map(ErrorCode)
        }
    }
}

fn refresh_token_life(level: &Level) -> Option<Duration> {
    whole_seconds(&level.refresh_token_expires_in, LONGEST_REFRESH_TOKEN_LIFE)
}

/// A whole number of seconds from 1 to `longest`, as number or as text; `None` for everything else.
fn whole_seconds(raw: &Raw, longest: u64) -> Option<Duration> {
    let text = match raw {
        Raw::Nothing => return None,
        Raw::Text(text) | Raw::Other(text) => text.trim(),
    };
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => whole(text.parse::<f64>().ok()?)?,
    };
    (1..=longest).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// `90000.0` and `9e4` are whole numbers too. Bounded to what a double holds exactly, so the cast is exact.
fn whole(number: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole and in range"
    )]
    (number.fract() == 0.0 && (0.0..=EXACT).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::super::code::Meaning;
    use super::*;

    /// The body of the published example, as Postman printed it.
    const REAL: &str = r#"{
    "access_token": "KjBhB_pnlb5IqEud_VU-L5VMx2BqwBiz2jMH6FY3cMqFtR0IhV-6BN6AgYBUwwGo",
    "refresh_token": "Y1PqsMH4l121HmYLGJZuQOTwJ9GY2uHRxNHLemaydYVKMqNR35RnPjKG0eiYRxTn",
    "expires_in": "90000"
}"#;

    fn granted(body: &str) -> GrantedTokens {
        match read_token_answer(body.as_bytes()) {
            Answer::Granted(tokens) => tokens,
            other @ (Answer::Error(_) | Answer::Unreadable(_)) => panic!("{body} was read as {other:?}"),
        }
    }

    fn life(expires_in: &str) -> (u64, bool) {
        let tokens =
            granted(&format!(r#"{{"expires_in":{expires_in},"access_token":"a","refresh_token":"r"}}"#));
        (tokens.access_token_life.as_secs(), tokens.oddities.contains(&Oddity::ExpiresIn))
    }

    #[test]
    fn the_published_example_is_granted_without_oddities() {
        let tokens = granted(REAL);
        assert!(tokens.access_token.is_some() && tokens.refresh_token.is_some());
        assert_eq!(tokens.access_token_life, Duration::from_secs(90_000));
        assert_eq!(tokens.oddities, []);
    }

    #[test]
    fn f34_an_answer_cut_at_any_byte_is_salvaged_exactly_from_the_closing_quote_of_the_second_token_on() {
        let closed = REAL.find("\",\n    \"expires_in\"").expect("in the example") + 1;
        for cut in 0..=REAL.len() {
            let answer = read_token_answer(&REAL.as_bytes()[..cut]);
            match answer {
                Answer::Granted(tokens) => {
                    assert!(cut >= closed, "granted at {cut}, before both tokens are closed");
                    assert_eq!(tokens.refresh_token, granted(REAL).refresh_token);
                    assert_eq!(tokens.oddities.contains(&Oddity::CutOff), cut < REAL.len());
                }
                Answer::Unreadable(_) => assert!(cut < closed, "lost at {cut}, after both tokens are closed"),
                Answer::Error(code) => panic!("an error {code} was read at {cut}"),
            }
        }
    }

    #[test]
    fn a_refresh_token_is_believed_to_live_ten_years_at_the_most() {
        let life = |seconds: &str| {
            let body = format!(
                r#"{{"access_token":"a","refresh_token":"r","expires_in":"90000","refresh_token_expires_in":{seconds}}}"#
            );
            let Answer::Granted(tokens) = read_token_answer(body.as_bytes()) else { panic!("granted") };
            tokens.refresh_token_life.map(|life| life.as_secs())
        };
        assert_eq!(life("315360000"), Some(315_360_000));
        assert_eq!(life("315360001"), None);
    }

    #[test]
    fn what_is_odd_or_unreadable_is_said_in_words() {
        let odd =
            [Oddity::CutOff, Oddity::ExpiresIn, Oddity::Duplicate, Oddity::Tail].map(|odd| odd.to_string());
        let unreadable =
            [Unreadable::Empty, Unreadable::NotWhole, Unreadable::OddToken, Unreadable::NothingInIt];
        let said: std::collections::BTreeSet<String> =
            odd.into_iter().chain(unreadable.map(|what| what.to_string())).collect();
        assert_eq!(said.len(), 8, "{said:?}");
        assert!(said.iter().all(|words| words.len() > 10), "{said:?}");
    }

    #[test]
    fn expires_in_is_believed_only_as_a_whole_number_of_seconds_within_bounds() {
        for (text, seconds) in [
            (r#""90000""#, 90_000),
            ("90000", 90_000),
            ("90000.0", 90_000),
            ("9e4", 90_000),
            (r#"" 3600 ""#, 3_600),
            ("1", 1),
            ("34560000", 34_560_000),
        ] {
            assert_eq!(life(text), (seconds, false), "{text}");
        }
        for text in [
            "34560001",
            "90000000",
            "-1",
            r#""-90000""#,
            "0",
            "null",
            "1e400",
            "-1e400",
            "1.5",
            r#""soon""#,
            "[]",
            "{}",
            "true",
            r#""""#,
        ] {
            assert_eq!(life(text), (90_000, true), "{text}");
        }
        let absent = granted(r#"{"access_token":"a","refresh_token":"r"}"#);
        assert_eq!(absent.access_token_life, DEFAULT_ACCESS_TOKEN_LIFE);
        assert_eq!(absent.oddities, [Oddity::ExpiresIn]);
    }

    #[test]
    fn dressing_does_not_hide_the_tokens() {
        for body in [
            "\u{feff}{\"access_token\":\"a\",\"refresh_token\":\"r\",\"expires_in\":\"90000\"}",
            "{\"access_token\":\"a\",\"refresh_token\":\"r\",\"expires_in\":\"90000\"}\0\0\n",
            r#"{"error":0,"data":{"access_token":"a","refresh_token":"r","expires_in":90000}}"#,
            r#"{"error":-1,"message":"x","access_token":"a","refresh_token":"r","expires_in":90000}"#,
            r#"{"unknown":[1,{"access_token":"no"}],"access_token":"a","refresh_token":"r","expires_in":90000}"#,
            r#"{"access_token":"","access_token":"a","refresh_token":"r","refresh_token":null,"expires_in":90000}"#,
            r#"{"access_token":"a","refresh_token":"r","expires_in":90000,"data":[1,2]}"#,
        ] {
            let tokens = granted(body);
            assert_eq!(tokens.access_token.expect("there").expose(), "a", "{body}");
            assert_eq!(tokens.refresh_token.expect("there").expose(), "r", "{body}");
            assert_eq!(tokens.oddities, [], "{body}");
        }
    }

    #[test]
    fn of_a_field_that_comes_twice_the_last_counts_and_is_said() {
        let tokens = granted(r#"{"access_token":"a","access_token":"b","refresh_token":"r","expires_in":1}"#);
        assert_eq!(tokens.access_token.expect("there").expose(), "b");
        assert_eq!(tokens.oddities, [Oddity::Duplicate]);
    }

    #[test]
    fn one_token_of_a_whole_answer_is_granted_and_of_a_broken_one_is_not() {
        let access = granted(r#"{"access_token":"a","expires_in":60}"#);
        assert!(access.refresh_token.is_none());
        let refresh = granted(r#"{"access_token":"","refresh_token":"r"}"#);
        assert!(refresh.access_token.is_none() && refresh.oddities.is_empty());
        let broken = read_token_answer(br#"{"access_token":"a","expires_in":60"#);
        assert_eq!(broken, Answer::Unreadable(Unreadable::NotWhole));
    }

    #[test]
    fn every_error_code_is_read_as_number_and_as_text() {
        for (code, meaning) in [
            (-14014, Meaning::InvalidRefreshToken),
            (-14002, Meaning::AppRefused),
            (-14004, Meaning::AppRefused),
            (-14003, Meaning::Other),
            (-14020, Meaning::Other),
            (-14005, Meaning::Other),
            (-14010, Meaning::Other),
            (-14019, Meaning::Other),
            (404, Meaning::Other),
            (-32, Meaning::Other),
        ] {
            for body in [
                format!(r#"{{"error":{code},"error_name":"x"}}"#),
                format!(r#"{{"error":"{code}","access_token":"","refresh_token":null}}"#),
            ] {
                let Answer::Error(read) = read_token_answer(body.as_bytes()) else { panic!("{body}") };
                assert_eq!((read, read.meaning()), (ErrorCode(code), meaning), "{body}");
            }
        }
    }

    #[test]
    fn an_error_that_broke_off_is_no_error() {
        let body = br#"{"error":-14014,"error_name":"Inval"#;
        assert_eq!(read_token_answer(body), Answer::Unreadable(Unreadable::NotWhole));
        assert_eq!(read_token_answer(br#"{"error":-14014"#), Answer::Unreadable(Unreadable::NotWhole));
    }

    #[test]
    fn what_cannot_be_a_token_makes_the_answer_unreadable() {
        for token in [r#"" ""#, r#""a b""#, r#""a\u0000b""#, r#""a\n""#, "7", "{}", r#""ă""#] {
            let body = format!(r#"{{"access_token":"a","refresh_token":{token},"expires_in":1}}"#);
            assert_eq!(
                read_token_answer(body.as_bytes()),
                Answer::Unreadable(Unreadable::OddToken),
                "{body}"
            );
        }
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        for (body, expected) in [
            ("", Unreadable::Empty),
            (" ", Unreadable::NotWhole),
            ("<html>502</html>", Unreadable::NotWhole),
            ("[]", Unreadable::NothingInIt),
            ("{}", Unreadable::NothingInIt),
            (r#"{"error":0}"#, Unreadable::NothingInIt),
            (r#"{"error":"soon"}"#, Unreadable::NothingInIt),
            ("\"text\"", Unreadable::NothingInIt),
        ] {
            assert_eq!(read_token_answer(body.as_bytes()), Answer::Unreadable(expected), "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            read_token_answer(&body);
        }

        #[test]
        fn damage_to_one_byte_never_makes_a_panic(at in 0..REAL.len(), byte in proptest::num::u8::ANY) {
            let mut body = REAL.as_bytes().to_vec();
            body[at] = byte;
            read_token_answer(&body);
        }
    }
}
