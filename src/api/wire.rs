//! Bodies of answers that commands print, or read again: what is written and what is read is one type.
//!
//! Who fills them, and for whom, is decided elsewhere. May import `store`, `clock`, `id` and `secret`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::id::OaId;
use crate::secret::Secret;
use crate::store::{AppStatus, HistoryEntry, OaStatus};

/// The record of an access token that can be used now: as `token --json` prints it. Whoever writes it borrows the token:
/// of each answer a copy would have to be wiped.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record<T = Secret> {
    /// The OA.
    pub oa_id: OaId,
    /// The token.
    #[serde(with = "exposed", bound(serialize = "T: AsRef<Secret>", deserialize = "T: From<Secret>"))]
    pub access_token: T,
    /// When it ends.
    pub expires_at: Time,
    /// In how many seconds that is.
    pub expires_in: u64,
    /// Of its set.
    pub generation: u64,
    /// The HMAC of the token under the app's secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appsecret_proof: Option<String>,
    /// What came of a report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Cow<'static, str>>,
    /// Only where it is false: the set is held by the daemon alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durable: Option<bool>,
}

impl<T> Record<T> {
    /// Of a token and of nothing beside it.
    pub fn new(oa_id: OaId, access_token: T, expires_at: Time, generation: u64, now: Time) -> Record<T> {
        Record {
            oa_id,
            access_token,
            expires_at,
            expires_in: expires_at.since(now).as_secs(),
            generation,
            appsecret_proof: None,
            verdict: None,
            durable: None,
        }
    }
}

/// The one place where a token stands open: it is what was asked for.
mod exposed {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::secret::Secret;

    pub(super) fn serialize<S: Serializer>(
        token: &impl AsRef<Secret>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(token.as_ref().expose())
    }

    pub(super) fn deserialize<'de, T: From<Secret>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        String::deserialize(deserializer).map(Secret::new).map(T::from)
    }
}

/// A part of the list of OAs.
#[derive(Debug, Serialize, Deserialize)]
pub struct List {
    /// How they stand.
    pub oas: Vec<OaStatus>,
    /// The apps that are held back, for whoever may read all OAs.
    pub held_apps: Vec<AppStatus>,
    /// What to ask for next: `after=NEXT`. Null when this was the last part.
    pub next: Option<OaId>,
}

/// The journal of an OA: as `history --json` prints it.
#[derive(Debug, Serialize, Deserialize)]
pub struct History {
    /// The OA.
    pub oa_id: OaId,
    /// Its attempts, newest first.
    pub attempts: Vec<HistoryEntry>,
}
