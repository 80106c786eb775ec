//! What Zalo says of an access token: the answer to the read-only question "whose are you?".
//!
//! Zalo answers with status 200 whatever it thinks, so the body decides. A token counts as dead on three codes
//! only; limits, disabled OAs and missing rights are a person's business and say nothing about the token.

use super::answer::error_code;
use super::code::ErrorCode;
use super::fields::{self, Raw};
use crate::id::OaId;

/// What the API's answer says about an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// The token is alive, and it is this OA's.
    Accepted(OaId),
    /// The token is dead.
    Refused(ErrorCode),
    /// An error that says nothing about the token.
    Error(ErrorCode),
    /// Not an answer to the question.
    Unreadable,
}

/// Reads the body of an answer to the probe.
pub fn read_probe_answer(body: &[u8]) -> ProbeAnswer {
    let fields = fields::read(body);
    if !fields.is_whole {
        return ProbeAnswer::Unreadable;
    }
    match (error_code(&fields.level.error), &fields.level.oa_id) {
        (Some(code), _) if code.kills_access_token() => ProbeAnswer::Refused(code),
        (Some(code), _) => ProbeAnswer::Error(code),
        (None, Raw::Text(oa_id) | Raw::Other(oa_id)) => ProbeAnswer::Accepted(OaId::from(oa_id.as_str())),
        (None, Raw::Nothing) => ProbeAnswer::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_codes_say_that_a_token_is_dead() {
        for code in [-216, -220, -124] {
            let body = format!(r#"{{"error":{code},"message":"x"}}"#);
            assert_eq!(read_probe_answer(body.as_bytes()), ProbeAnswer::Refused(ErrorCode(code)));
        }
        for code in [-32, -204, -219, -223, -224, -14014, 404] {
            let body = format!(r#"{{"error":"{code}","message":"x"}}"#);
            assert_eq!(read_probe_answer(body.as_bytes()), ProbeAnswer::Error(ErrorCode(code)));
        }
    }

    #[test]
    fn an_accepted_token_names_its_oa() {
        for body in [
            r#"{"error":0,"data":{"oa_id":"42","name":"Shop"}}"#,
            r#"{"data":{"oa_id":42},"message":"Success"}"#,
        ] {
            assert_eq!(read_probe_answer(body.as_bytes()), ProbeAnswer::Accepted(OaId::from("42")));
        }
    }

    #[test]
    fn anything_else_says_nothing() {
        for body in ["", "<html>", "{}", r#"{"error":0}"#, r#"{"error":0,"data":{"oa_id":"42""#] {
            assert_eq!(read_probe_answer(body.as_bytes()), ProbeAnswer::Unreadable, "{body}");
        }
    }
}
