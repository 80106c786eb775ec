//! The words of the ledger: what can happen, what an answer tells a client, what a question was answered. What
//! follows from them is worked out in `judgement`. May import secret.

use serde::{Deserialize, Serialize, Serializer};

use crate::secret::Digest;

/// What happened. Every `Presented` is followed, on the same connection, by one of `AnswerSent`, `AnswerLost`
/// and `Unanswered`, unless the simulator was stopped first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// Consent was given: a new family of tokens, without a code.
    GrantMade,
    /// Consent was given on the permission page: a code was made.
    CodeMade,
    /// Consent was declined on the permission page.
    ConsentDeclined,
    /// A connection was taken.
    Connected,
    /// A request for tokens ended before its last byte came.
    Incomplete {
        /// How many bytes of the body came.
        body_bytes: usize,
        /// How many were announced, if the head came that far.
        of: Option<usize>,
        /// Whether an answer was given before the last byte.
        answered: bool,
    },
    /// A whole request for tokens came.
    Presented,
    /// The refresh token or code was spent, and a new set made.
    Spent {
        /// Whether that was some time after the request.
        late: bool,
        /// The refresh token of the new set.
        #[serde(serialize_with = "shown_digest")]
        successor: Digest,
    },
    /// The request was looked at and refused.
    Refused {
        /// The error code; `None` for an empty body.
        code: Option<i64>,
    },
    /// An answer was sent whole; if a set was made, with both its tokens in it.
    AnswerSent {
        /// The HTTP status.
        status: u16,
        /// What a client can read from it.
        says: Said,
    },
    /// A set was made, and its two tokens were not delivered whole. After a late spend this comes in addition to
    /// how the connection itself ended.
    AnswerLost {
        /// The HTTP status, if a head was delivered whole.
        status: Option<u16>,
        /// What a client can read from what was delivered.
        says: Said,
    },
    /// No answer was delivered whole; no set had been made by then.
    Unanswered {
        /// The HTTP status, if a head was delivered whole.
        status: Option<u16>,
        /// What a client can read from what was delivered.
        says: Said,
    },
    /// Somebody asked with an access token.
    Probed {
        /// What the answer said.
        verdict: ProbeVerdict,
    },
    /// The vendor was asked.
    VendorAsked {
        /// What for.
        what: VendorQuestion,
        /// The HTTP status of the answer that was sent, if one was.
        status: Option<u16>,
    },
    /// A person consented under the vendor's link.
    VendorConsented,
    /// An operator's decision that the refresh token or code may be presented once more.
    Allowed,
    /// A redirect was followed.
    RedirectFollowed {
        /// Whether the app secret came along.
        secret_came_along: bool,
    },
    /// The client did what it must not.
    Violation {
        /// What.
        text: String,
    },
}

fn shown_digest<S: Serializer>(token: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(token)
}

/// What a client can read from an answer, for the question whether the refresh token or code is still
/// unspent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Here is a new set.
    NewTokens,
    /// Here is a set with the same refresh token again: proves it unspent.
    SameTokenAgain,
    /// 429: proves it unspent.
    Throttled,
    /// The app id or the app secret is wrong: proves it unspent.
    AppRefused,
    /// Some other error code: proves nothing.
    Error(i64),
    /// Nothing of the kind.
    Nothing,
}

impl Said {
    /// Whether such an answer proves that the refresh token or code presented is unspent.
    pub fn proves_unspent(self) -> bool {
        match self {
            Said::SameTokenAgain | Said::Throttled | Said::AppRefused => true,
            Said::NewTokens | Said::Error(_) | Said::Nothing => false,
        }
    }
}

/// What the answer to a probe said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeVerdict {
    /// The access token is good.
    Accepted,
    /// It is dead: -216, -220 or -124.
    Refused,
    /// Neither can be read from it.
    Unclear,
}

/// What a vendor is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VendorQuestion {
    /// For the link under which a person consents.
    ConsentLink,
    /// How an OA stands.
    ShopOa,
}
