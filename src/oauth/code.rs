//! Zalo's error codes. No table of them is published: what stands here was gathered from the official SDKs and
//! from production reports, and what is not here is [`Meaning::Other`].

use std::fmt;

/// The number in the `error` field of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub i64);

/// What the token endpoint says with a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The refresh token is not one that can be used.
    InvalidRefreshToken,
    /// No such app, or its secret is another.
    AppRefused,
    /// Anything else: contradictory reports, guesses, or never seen.
    Other,
}

impl ErrorCode {
    /// What the token endpoint says with this code. `-14020` ("expired" or "reused", reports contradict each
    /// other) is deliberately not among the known ones: whether the token is spent has to be found out.
    pub fn meaning(self) -> Meaning {
        match self.0 {
            -14014 => Meaning::InvalidRefreshToken,
            -14002 | -14004 => Meaning::AppRefused,
            _ => Meaning::Other,
        }
    }

    /// Does Zalo's API say with this code that the access token is dead? Every other code is about rights,
    /// limits or the service, and says nothing about the token.
    pub fn kills_access_token(self) -> bool {
        matches!(self.0, -216 | -220 | -124)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
