//! What presenting an authorization code came to.
//!
//! A code is used once, as a refresh token is, but nothing can be asked about it afterwards: no token dies when it is
//! spent. So there is no doubt to settle. Whatever does not prove it unspent ends it, and the person goes through Zalo's
//! page once more, which costs him one click and no token.

use std::time::Duration;

use super::verdict::Verdict;
use crate::clock::{Moment, Reading};
use crate::oauth::{ErrorCode, GrantedTokens};

/// How long a state is good: as long as Zalo's code.
pub const CONSENT_LIFE: Duration = Duration::from_secs(600);

/// What presenting a code came to.
#[derive(Debug, PartialEq, Eq)]
pub enum CodeEnd<'v> {
    /// A whole token set came. Whose it is has still to be asked.
    Answered(&'v GrantedTokens),
    /// The code is proven unspent, and may be presented again.
    Unspent,
    /// Zalo says no to the code.
    Refused(ErrorCode),
    /// An answer with one token of the two: nothing that could be kept alive.
    NotWhole,
    /// Nobody knows, and nobody can find out.
    Lost,
}

impl CodeEnd<'_> {
    /// The stable word for it, as in the store and the log.
    pub fn word(&self) -> &'static str {
        match self {
            CodeEnd::Answered(_) => "answered",
            CodeEnd::Unspent => "unspent",
            CodeEnd::Refused(_) => "code_refused",
            CodeEnd::NotWhole => "answer_not_whole",
            CodeEnd::Lost => "answer_lost",
        }
    }
}

/// Reads it out of the verdict about the exchange.
pub fn code_end(verdict: &Verdict) -> CodeEnd<'_> {
    match verdict {
        Verdict::Granted(tokens) if tokens.access_token.is_some() && tokens.refresh_token.is_some() => {
            CodeEnd::Answered(tokens)
        }
        Verdict::Granted(_) => CodeEnd::NotWhole,
        Verdict::NotPresented { .. } | Verdict::Throttled { .. } | Verdict::AppRefused(_) => CodeEnd::Unspent,
        // Whatever Zalo says against what was presented, a code does not come back to life.
        Verdict::Dead(code) | Verdict::Unknown { code: Some(code), .. } => CodeEnd::Refused(*code),
        Verdict::Unknown { code: None, .. } => CodeEnd::Lost,
    }
}

/// Is a state that was made then too old to come back by? The clock that nobody sets is believed where it was read. Without
/// it a state from the future is too old as well: nobody knows when it was made.
pub fn is_too_old(made: &Moment, now: &Reading) -> bool {
    match made.uptime_since(now) {
        Some(since) => since > CONSENT_LIFE,
        None => made.time > now.time || now.time.since(made.time) > CONSENT_LIFE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Time, Uptime};
    use crate::rotation::{AnswerBytes, Ending, Exchange, judge};

    fn end_of(status: u16, body: &str) -> &'static str {
        let ending = Ending::Whole;
        let answer = AnswerBytes { status, retry_after: None, body: body.as_bytes().to_vec(), ending };
        code_end(&judge(&Exchange::Answered(answer))).word()
    }

    #[test]
    fn only_what_proves_a_code_unspent_lets_it_be_presented_again() {
        assert_eq!(end_of(200, r#"{"access_token":"a","refresh_token":"r"}"#), "answered");
        for (status, body) in
            [(429, ""), (200, r#"{"error":-14002}"#), (400, r#"{"error":"-14004"}"#), (429, "{}")]
        {
            assert_eq!(end_of(status, body), "unspent", "{status} {body}");
        }
        let barred = Exchange::NotPresented { detail: String::new(), retry_after: None };
        assert_eq!(code_end(&judge(&barred)).word(), "unspent");
        for code in ["-14014", "-14005", "-14019", "-14010", "404"] {
            assert_eq!(end_of(200, &format!(r#"{{"error":{code}}}"#)), "code_refused");
        }
        assert_eq!(end_of(200, r#"{"access_token":"a"}"#), "answer_not_whole");
        for (status, body) in
            [(200, ""), (500, ""), (502, "<html>"), (302, "{}"), (200, r#"{"access_token":"a b"}"#)]
        {
            assert_eq!(end_of(status, body), "answer_lost", "{status} {body}");
        }
        assert_eq!(code_end(&judge(&Exchange::NoAnswer { detail: String::new() })).word(), "answer_lost");
    }

    #[test]
    fn a_state_ends_after_ten_minutes_whatever_is_done_to_the_wall_clock() {
        let reading = |wall: u64, uptime: u64, boot: &str| Reading {
            time: Time::from_millis(0).plus(Duration::from_secs(wall)),
            uptime: Uptime(Duration::from_secs(uptime)),
            boot: boot.into(),
        };
        let made = Moment::at(&reading(1_000_000, 100, "b"));
        for (wall, uptime, boot, is_old) in [
            (1_000_599, 699, "b", false),
            (1_000_601, 701, "b", true),
            (2_000_000, 101, "b", false),
            (1_000_001, 701, "b", true),
            (1_000_599, 5, "c", false),
            (1_000_601, 5, "c", true),
            (999_999, 5, "c", true),
        ] {
            assert_eq!(is_too_old(&made, &reading(wall, uptime, boot)), is_old, "{wall} {uptime} {boot}");
        }
    }
}
