//! How an OA stands: one variant a state, each with only what that state has.
//!
//! What a person sees as `presenting`, `blocked` or `unmanaged` is not kept here: it follows from an open
//! attempt, from the app and from the config.

use std::fmt;

use crate::clock::Time;
use crate::id::AttemptId;
use crate::oauth::ErrorCode;

/// How an OA stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No token set yet.
    AwaitingGrant,
    /// Healthy: the next refresh is planned.
    Scheduled {
        /// When the next refresh is due.
        refresh_at: Time,
    },
    /// The refresh token is proven unspent, the next try is planned.
    Retrying(Retrying),
    /// An attempt may have spent the refresh token.
    Uncertain(Uncertain),
    /// A person has to grant consent again.
    ReauthorizationRequired(Reason),
}

/// The refresh token is proven unspent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retrying {
    /// When to try again.
    pub retry_at: Time,
}

/// An attempt has no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncertain {
    /// The attempt that may have spent the token.
    pub attempt: AttemptId,
    /// When to ask Zalo about it; `None` once nothing can be proven any more and an operator has to decide.
    pub probe_at: Option<Time>,
}

/// Why an OA is where it is: stable words, part of the outward contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The token was spent, and the answer with its successor is lost.
    ResponseLost,
    /// Nothing can prove any more whether the token was spent.
    Unprovable,
    /// Zalo says that the refresh token cannot be used.
    RefreshTokenRejected,
    /// An answer brought an access token and no refresh token.
    RefreshTokenMissing,
    /// An answer brought a refresh token that had been used before.
    RefreshTokenRepeated,
    /// Zalo refuses the app's id or secret.
    AppRefused,
    /// The app is braked, and this OA waits its turn.
    AppBraked,
    /// The config names another app than the one that the set was granted to.
    AppChanged,
    /// The OA's row in the store lacks a part.
    RowUnreadable,
    /// Consent to a vendor ends soon, or has ended.
    ConsentDue,
    /// The vendor says that the OA is disconnected.
    Disconnected,
    /// The vendor cannot be asked for a link before a person has changed something.
    VendorMisconfigured,
    /// The vendor refuses the API key.
    VendorRefused,
    /// The token endpoint kept answering with a code that nobody has documented.
    Error(ErrorCode),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::ResponseLost => f.write_str("response_lost"),
            Reason::Unprovable => f.write_str("unprovable"),
            Reason::RefreshTokenRejected => f.write_str("refresh_token_rejected"),
            Reason::RefreshTokenMissing => f.write_str("refresh_token_missing"),
            Reason::RefreshTokenRepeated => f.write_str("refresh_token_repeated"),
            Reason::AppRefused => f.write_str("app_refused"),
            Reason::AppBraked => f.write_str("app_braked"),
            Reason::AppChanged => f.write_str("app_changed"),
            Reason::RowUnreadable => f.write_str("row_unreadable"),
            Reason::ConsentDue => f.write_str("consent_due"),
            Reason::Disconnected => f.write_str("disconnected"),
            Reason::VendorMisconfigured => f.write_str("vendor_misconfigured"),
            Reason::VendorRefused => f.write_str("vendor_refused"),
            Reason::Error(code) => write!(f, "error_{code}"),
        }
    }
}

impl Reason {
    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Reason> {
        Some(match word {
            "response_lost" => Reason::ResponseLost,
            "unprovable" => Reason::Unprovable,
            "refresh_token_rejected" => Reason::RefreshTokenRejected,
            "refresh_token_missing" => Reason::RefreshTokenMissing,
            "refresh_token_repeated" => Reason::RefreshTokenRepeated,
            "app_refused" => Reason::AppRefused,
            "app_braked" => Reason::AppBraked,
            "app_changed" => Reason::AppChanged,
            "row_unreadable" => Reason::RowUnreadable,
            "consent_due" => Reason::ConsentDue,
            "disconnected" => Reason::Disconnected,
            "vendor_misconfigured" => Reason::VendorMisconfigured,
            "vendor_refused" => Reason::VendorRefused,
            other => Reason::Error(ErrorCode(other.strip_prefix("error_")?.parse().ok()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back() {
        for reason in [
            Reason::ResponseLost,
            Reason::Unprovable,
            Reason::RefreshTokenRejected,
            Reason::RefreshTokenMissing,
            Reason::RefreshTokenRepeated,
            Reason::AppRefused,
            Reason::AppBraked,
            Reason::AppChanged,
            Reason::RowUnreadable,
            Reason::ConsentDue,
            Reason::Disconnected,
            Reason::VendorMisconfigured,
            Reason::VendorRefused,
            Reason::Error(ErrorCode(-14020)),
        ] {
            assert_eq!(Reason::parse(&reason.to_string()), Some(reason));
        }
        assert_eq!(Reason::parse("error_"), None);
    }
}
