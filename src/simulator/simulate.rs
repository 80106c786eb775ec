//! What may be done to a running simulator, from Rust and over HTTP alike. May import id and secret.

use std::time::Duration;

use serde_json::Value;

use super::kind::Kind;
use super::ledger::{Ledger, Subject};
use super::shared::{Locked, Shared};
use crate::id::{AppId, OaId};
use crate::secret::{Digest, Secret};

impl Shared {
    /// The ledger as it stands.
    pub(super) fn ledger(&self) -> Ledger {
        self.lock().core.ledger.clone()
    }
}

/// Consent was given `age` ago: a new family of tokens, in Zalo's own words.
pub(super) fn grant(shared: &Shared, app: AppId, oa: OaId, age: Duration) -> Value {
    let mut locked = shared.lock();
    locked.core.consents.administers(app.clone(), oa.clone());
    let now = locked.now;
    let answer = locked.core.model.grant(app.clone(), oa.clone(), age, now);
    let token = answer["refresh_token"].as_str().map(|text| Secret::new(text.to_owned()));
    let known = token.as_ref().and_then(|token| locked.core.model.recognise(token));
    let subject = Subject {
        oa_id: Some(oa),
        app_id: Some(app),
        token: token.map(|token| token.digest()),
        was_spent: Some(false),
        is_code: false,
        family: known.and_then(|known| known.family),
        generation: Some(0),
    };
    locked.record(None, &subject, Kind::GrantMade, None);
    answer
}

/// An operator decided that this refresh token or code may be presented once more.
pub(super) fn allow(locked: &mut Locked<'_>, token: Digest) {
    let same = |subject: &&Subject| subject.token == Some(token);
    let entries = locked.core.ledger.entries().iter().rev();
    let known = entries.map(|entry| &entry.subject).find(same).cloned();
    let subject = known.unwrap_or_else(|| Subject { token: Some(token), ..Subject::default() });
    locked.record(None, &subject, Kind::Allowed, None);
}

/// The same for what the OA presented last; `false` if it presented nothing.
pub(super) fn allow_last_presented(shared: &Shared, oa: &OaId) -> bool {
    let mut locked = shared.lock();
    let entries = locked.core.ledger.entries().iter().rev();
    let mut presented = entries.filter(|entry| entry.kind == Kind::Presented);
    let last = presented.find(|entry| entry.subject.oa_id.as_ref() == Some(oa));
    let Some(token) = last.and_then(|entry| entry.subject.token) else { return false };
    allow(&mut locked, token);
    true
}
