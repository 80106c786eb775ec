//! Bodies of answers that commands print, or read again: what is written and what is read is one type.
//!
//! Who fills them, and for whom, is decided elsewhere. May import `store`, `clock`, `id` and `secret`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::id::OaId;
use crate::secret::Secret;
use crate::store::{AppStatus, HistoryEntry, OaStatus, ValidToken};

/// The record of an access token that can be used now: as `token --json` prints it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// The OA.
    pub oa_id: OaId,
    /// The token.
    #[serde(with = "exposed")]
    pub access_token: Secret,
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

impl Record {
    /// Of a token and of nothing beside it.
    pub fn new(oa_id: OaId, valid: ValidToken, now: Time) -> Record {
        let ValidToken { access_token, expires_at, generation } = valid;
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

    pub(super) fn serialize<S: Serializer>(token: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(token.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
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
