//! What an exchange means: from "this is what came back" to one of six verdicts.
//!
//! Only two things prove a refresh token unspent by themselves: the gate stayed barred, or the answer is of a
//! kind that is given before the token is looked at. Everything that is not understood is [`Verdict::Unknown`].

use std::time::Duration;

use crate::oauth::{Answer, ErrorCode, GrantedTokens, Meaning, Unreadable, read_token_answer};

/// The longest body that is read of an answer: 64 KiB. A spill slot has room for it.
pub const LONGEST_BODY: usize = 64 * 1024;

/// How reading an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As the server announced it.
    Whole,
    /// It broke off; the text says how.
    CutOff(String),
}

/// An answer as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct AnswerBytes {
    /// The HTTP status. It decides nothing but a 429.
    pub status: u16,
    /// `Retry-After`, already counted in seconds from now.
    pub retry_after: Option<Duration>,
    /// The body, as far as it came. As secret as a token.
    pub body: Vec<u8>,
    /// How reading it ended.
    pub ending: Ending,
}

impl std::fmt::Debug for AnswerBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerBytes")
            .field("status", &self.status)
            .field("body_len", &self.body.len())
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}

/// What became of one attempt at the wire.
#[derive(Debug)]
pub enum Exchange {
    /// The gate is barred: the last byte never left.
    NotPresented {
        /// What went wrong, in words without secrets.
        detail: String,
        /// How long the service asked to wait, if it answered early.
        retry_after: Option<Duration>,
    },
    /// The gate had opened, and at least the head of an answer came.
    Answered(AnswerBytes),
    /// The gate had opened, and no answer came.
    NoAnswer {
        /// What went wrong, in words without secrets.
        detail: String,
    },
}

/// What an exchange means for the refresh token.
#[derive(Debug)]
pub enum Verdict {
    /// At least one new token.
    Granted(GrantedTokens),
    /// Never presented, so unspent.
    NotPresented {
        /// What went wrong.
        detail: String,
        /// How long the service asked to wait.
        retry_after: Option<Duration>,
    },
    /// Refused for now; unspent.
    Throttled {
        /// How long the service asked to wait.
        retry_after: Option<Duration>,
    },
    /// The refresh token cannot be used any more.
    Dead(ErrorCode),
    /// The app is refused; the token was not looked at, so it is unspent.
    AppRefused(ErrorCode),
    /// Nothing is proven.
    Unknown {
        /// The undocumented error code, if there was one.
        code: Option<ErrorCode>,
        /// What came instead of an answer.
        detail: String,
    },
}

impl Verdict {
    /// The stable word for this kind of verdict, as in the journal and the log.
    pub fn class(&self) -> &'static str {
        match self {
            Verdict::Granted(_) => "granted",
            Verdict::NotPresented { .. } => "not_presented",
            Verdict::Throttled { .. } => "throttled",
            Verdict::Dead(_) => "dead",
            Verdict::AppRefused(_) => "app_refused",
            Verdict::Unknown { .. } => "unknown",
        }
    }

    /// The verdict in words, without secrets.
    pub fn detail(&self) -> String {
        match self {
            Verdict::Granted(tokens) => {
                tokens.oddities.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
            Verdict::NotPresented { detail, .. } | Verdict::Unknown { detail, .. } => detail.clone(),
            Verdict::Throttled { .. } => "the service is throttling (429)".to_owned(),
            Verdict::Dead(code) => format!("Zalo refuses the refresh token (error {code})"),
            Verdict::AppRefused(code) => format!("Zalo refuses the app id or its secret (error {code})"),
        }
    }
}

/// Judges an exchange.
pub fn judge(exchange: &Exchange) -> Verdict {
    match exchange {
        Exchange::NotPresented { detail, retry_after } => {
            Verdict::NotPresented { detail: detail.clone(), retry_after: *retry_after }
        }
        Exchange::NoAnswer { detail } => Verdict::Unknown { code: None, detail: detail.clone() },
        Exchange::Answered(answer) => guarded(|| judge_answer(answer)),
    }
}

/// A judgement that panics would do so again with every repeat, and with every start that finds the answer in its slot.
/// It counts as one that understood nothing: the answer is kept for a person.
fn guarded(judgement: impl FnOnce() -> Verdict) -> Verdict {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(judgement)).unwrap_or_else(|_| Verdict::Unknown {
        code: None,
        detail: "reading the answer panicked; please report this".to_owned(),
    })
}

fn judge_answer(answer: &AnswerBytes) -> Verdict {
    match (read_token_answer(&answer.body), &answer.ending) {
        (Answer::Granted(tokens), Ending::Whole) => Verdict::Granted(tokens),
        (Answer::Granted(tokens), Ending::CutOff(how)) => {
            // One token of two, and more was announced: the other may have been in the rest.
            if tokens.access_token.is_some() && tokens.refresh_token.is_some() {
                Verdict::Granted(tokens)
            } else {
                unknown(answer, how)
            }
        }
        (Answer::Error(code), Ending::Whole) => match code.meaning() {
            Meaning::InvalidRefreshToken => Verdict::Dead(code),
            Meaning::AppRefused => Verdict::AppRefused(code),
            Meaning::Other if answer.status == 429 => Verdict::Throttled { retry_after: answer.retry_after },
            Meaning::Other => Verdict::Unknown {
                code: Some(code),
                detail: format!("an undocumented error (error {code}, status {})", answer.status),
            },
        },
        (Answer::Error(_), Ending::CutOff(how)) => unknown(answer, how),
        (Answer::Unreadable(Unreadable::OddToken), Ending::Whole) => {
            unknown(answer, &Unreadable::OddToken.to_string())
        }
        (Answer::Unreadable(_), _) if answer.status == 429 => {
            Verdict::Throttled { retry_after: answer.retry_after }
        }
        (Answer::Unreadable(why), Ending::Whole) => unknown(answer, &why.to_string()),
        (Answer::Unreadable(_), Ending::CutOff(how)) => unknown(answer, how),
    }
}

fn unknown(answer: &AnswerBytes, what: &str) -> Verdict {
    Verdict::Unknown { code: None, detail: format!("{what} (status {})", answer.status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, body: &str, ending: Ending) -> Verdict {
        let body = body.as_bytes().to_vec();
        judge(&Exchange::Answered(AnswerBytes { status, retry_after: None, body, ending }))
    }

    const PAIR: &str = r#"{"access_token":"a","refresh_token":"r","expires_in":"90000"}"#;

    #[test]
    fn the_body_decides_and_not_the_status() {
        for status in [200, 201, 302, 400, 429, 500, 503] {
            assert_eq!(verdict(status, PAIR, Ending::Whole).class(), "granted", "{status}");
            assert_eq!(verdict(status, r#"{"error":-14014}"#, Ending::Whole).class(), "dead", "{status}");
            assert_eq!(verdict(status, r#"{"error":"-14002"}"#, Ending::Whole).class(), "app_refused");
            assert_eq!(verdict(status, r#"{"error":"-14004"}"#, Ending::Whole).class(), "app_refused");
        }
        for status in [200, 302, 500, 502, 503, 504] {
            for body in ["", "<html>", "{}", "text", r#"{"error":-14020}"#, r#"{"access_token":"a b"}"#] {
                assert_eq!(verdict(status, body, Ending::Whole).class(), "unknown", "{status} {body}");
            }
        }
    }

    #[test]
    fn a_429_throttles_unless_its_body_says_more() {
        for body in ["", "<html>slow down", "{}", r#"{"error":-32}"#] {
            assert_eq!(verdict(429, body, Ending::Whole).class(), "throttled", "{body}");
        }
        let odd = r#"{"access_token":"a b","refresh_token":"r"}"#;
        assert_eq!(verdict(429, odd, Ending::Whole).class(), "unknown");
    }

    #[test]
    fn what_broke_off_proves_only_two_closed_tokens() {
        let cut = || Ending::CutOff("the connection was reset".to_owned());
        assert_eq!(verdict(200, PAIR, cut()).class(), "granted");
        assert_eq!(verdict(200, r#"{"access_token":"a"}"#, cut()).class(), "unknown");
        assert_eq!(verdict(200, r#"{"error":-14014}"#, cut()).class(), "unknown");
        assert_eq!(verdict(200, "", cut()).class(), "unknown");
    }

    #[test]
    fn an_undocumented_code_is_kept_with_the_verdict() {
        let Verdict::Unknown { code, .. } = verdict(200, r#"{"error":"-14020"}"#, Ending::Whole) else {
            panic!("not unknown")
        };
        assert_eq!(code, Some(ErrorCode(-14020)));
    }

    #[test]
    fn f26_a_judgement_that_panics_is_no_verdict() {
        let verdict = guarded(|| std::panic::resume_unwind(Box::new(())));
        assert_eq!(verdict.class(), "unknown");
    }

    #[test]
    fn a_verdict_says_in_words_what_came_and_with_which_code() {
        let said = |body: &str, ending| verdict(200, body, ending).detail();
        assert_eq!(said(PAIR, Ending::Whole), "", "nothing was odd");
        let cut = Ending::CutOff("the connection was reset".to_owned());
        assert_eq!(said("", cut), "the connection was reset (status 200)");
        let odd = r#"{"access_token":"a","refresh_token":"r"} x"#;
        assert_eq!(
            said(odd, Ending::Whole),
            "expires_in is not a whole number of seconds from 1 to 34560000, 90000 is assumed; something followed \
             the JSON object"
        );
        for code in ["-14014", "-14004", "-14020"] {
            let words = said(&format!(r#"{{"error":{code}}}"#), Ending::Whole);
            assert!(words.contains(&format!("(error {code}")), "{words}");
        }
        assert_eq!(verdict(429, "", Ending::Whole).detail(), "the service is throttling (429)");
        let unsent = Exchange::NotPresented { detail: "no connection".to_owned(), retry_after: None };
        assert_eq!(judge(&unsent).detail(), "no connection");
    }

    #[test]
    fn no_debug_output_shows_a_body() {
        let answer =
            AnswerBytes { status: 200, retry_after: None, body: b"CANARY".to_vec(), ending: Ending::Whole };
        let shown = format!("{:?}", Exchange::Answered(answer));
        assert_eq!(shown, "Answered(AnswerBytes { status: 200, body_len: 6, ending: Whole, .. })");
    }
}
