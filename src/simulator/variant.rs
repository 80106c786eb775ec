//! How this Zalo behaves where nobody knows how the real one does: lives, what dies when, what a probe says.
//! A [`Variant`] may be changed while the simulator runs; what was decided before the change stays as it was.
//! Imports nothing of ours.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;

/// One way for Zalo to behave. The default is what was observed or is documented.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Variant {
    /// How long an access token lives; told as `expires_in` in whole seconds.
    #[serde(with = "duration")]
    pub access_token_life: Duration,
    /// How long a refresh token lives.
    #[serde(with = "duration")]
    pub refresh_token_life: Duration,
    /// Whether the answer says `refresh_token_expires_in`.
    pub tells_refresh_token_life: bool,
    /// What becomes of the old access token when its successor is made.
    pub old_access_token: OldAccessToken,
    /// Whether presenting a spent refresh token kills everything that descends from the same grant.
    pub reuse_revokes_family: bool,
    /// Whether a new grant kills the tokens of the OA's earlier grants.
    pub grant_revokes_older_families: bool,
    /// What is answered to a refresh token that was spent before.
    pub spent_token_answer: SpentTokenAnswer,
    /// How long a code lives.
    #[serde(with = "duration")]
    pub code_life: Duration,
    /// What is answered to a code that was spent before.
    pub spent_code_answer: SpentCodeAnswer,
    /// Where a vendor's link leads, as `http://127.0.0.1:8080` to the simulator's own page; without it, to the real
    /// Zalo's.
    pub vendor_link_base: Option<String>,
    /// What is answered to a probe.
    pub probe: ProbeAnswer,
}

impl Default for Variant {
    fn default() -> Variant {
        Variant {
            access_token_life: Duration::from_secs(90_000),
            refresh_token_life: Duration::from_secs(90 * 86_400),
            tells_refresh_token_life: false,
            old_access_token: OldAccessToken::DiesAtOnce,
            reuse_revokes_family: false,
            grant_revokes_older_families: false,
            spent_token_answer: SpentTokenAnswer::Empty,
            code_life: Duration::from_secs(600),
            spent_code_answer: SpentCodeAnswer::Error14005,
            vendor_link_base: None,
            probe: ProbeAnswer::Answers,
        }
    }
}

/// What becomes of the old access token when its successor is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OldAccessToken {
    /// It is invalid from that moment.
    DiesAtOnce,
    /// It is invalid this long afterwards.
    DiesAfter(#[serde(with = "duration")] Duration),
    /// It lives to the end that was told when it was made.
    DiesAtExpiry,
    /// It lives on, even past that end.
    NeverDies,
}

/// What is answered to a refresh token that was spent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpentTokenAnswer {
    /// HTTP 200 without a body, as seen in production.
    Empty,
    /// The error for an invalid refresh token.
    Error14014,
}

/// What is answered to a code that was spent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpentCodeAnswer {
    /// The error for an invalid code: a guess.
    Error14005,
    /// HTTP 200 without a body, as to a spent refresh token.
    Empty,
}

/// What is answered to `GET /v2.0/oa/getoa`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeAnswer {
    /// The truth.
    Answers,
    /// Nothing: the connection is closed.
    Down,
    /// The rate limit's error, -32.
    Throttled,
    /// A gateway's HTML page.
    Html,
    /// The truth about some other OA.
    OtherOa,
    /// This error code, whatever the token.
    ErrorCode(i64),
}
