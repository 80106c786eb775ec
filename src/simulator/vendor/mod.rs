//! A vendor (CPaaS) that holds OAs for others: it keeps their tokens, and has links to give under which a person
//! consents again.
//!
//! Here is what the vendor knows, and what tests do to it. `asking` answers requests, `page` is what such a link leads
//! to, `fault` has the words for what goes wrong, `control` the requests of tests in other languages. May import
//! clock, id and secret.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use form_urlencoded::byte_serialize;
use serde_json::{Value, json};

use super::Simulator;
use super::kind::Kind;
use super::ledger::Subject;
use super::shared::Shared;
use super::variant::Variant;
use crate::clock::{Clock, Time};
use crate::id::OaId;
use crate::secret::{Digest, Secret};

pub(super) mod asking;
pub(super) mod control;
pub(super) mod fault;
pub(super) mod page;

use fault::{VendorFaults, VendorRule};

/// Where the real Zalo asks for consent, to which real vendors' links lead.
const ZALO_PERMISSION: &str = "https://oauth.zaloapp.com/v4/oa/permission";

/// What the vendor knows.
#[derive(Debug, Default)]
pub(super) struct Vendor {
    keys: HashSet<Digest>,
    oas: HashMap<OaId, Held>,
    pub(super) faults: VendorFaults,
}

/// An OA that the vendor holds.
#[derive(Debug)]
struct Held {
    name: String,
    is_connected: bool,
    /// The end of its refresh token.
    expires_at: Time,
    updated_at: Time,
}

impl Vendor {
    fn knows_key(&self, key: &str) -> bool {
        self.keys.contains(&Secret::new(key.to_owned()).digest())
    }

    /// A link for an OA that the vendor holds, another one each time.
    fn link(&self, oa: &OaId, variant: &Variant) -> Option<String> {
        self.oas.get(oa)?;
        if let Some(base) = &variant.vendor_link_base {
            return Some(format!("{base}{}", page::path(oa)));
        }
        let random = || uuid::Uuid::new_v4().simple().to_string();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("app_id", "3141592653589793238");
        query.append_pair("redirect_uri", "https://vendor.example/zalo/callback");
        query.append_pair("code_challenge", &super::codes::challenge_of(&random()));
        query.append_pair("state", &random());
        Some(format!("{ZALO_PERMISSION}?{}", query.finish()))
    }

    /// How the OA stands.
    fn shop_oa(&self, oa: &OaId, now: Time) -> Option<Value> {
        let held = self.oas.get(oa)?;
        let is_connected = held.is_connected && held.expires_at > now;
        Some(json!({
            "oa_id": oa,
            "name": held.name,
            "status": if is_connected { "P" } else { "N" },
            "expires_at": held.expires_at,
            "updated_at": held.updated_at,
        }))
    }

    fn hold(&mut self, oa: OaId, name: String, expires_at: Time, now: Time) {
        self.oas.insert(oa, Held { name, is_connected: true, expires_at, updated_at: now });
    }

    fn consent(&mut self, oa: &OaId, life: Duration, now: Time) -> bool {
        let Some(held) = self.oas.get_mut(oa) else { return false };
        held.is_connected = true;
        (held.expires_at, held.updated_at) = (now.plus(life), now);
        true
    }

    fn disconnect(&mut self, oa: &OaId, now: Time) -> bool {
        let Some(held) = self.oas.get_mut(oa) else { return false };
        held.is_connected = false;
        held.updated_at = now;
        true
    }
}

/// A person consented under the vendor's link; `false` if the vendor does not hold the OA.
fn consent(shared: &Shared, connection: Option<u64>, oa: &OaId) -> bool {
    let now = shared.clock.now();
    let mut locked = shared.lock();
    let life = locked.core.model.variant.refresh_token_life;
    let is_held = locked.core.vendor.consent(oa, life, now);
    if is_held {
        let subject = Subject { oa_id: Some(oa.clone()), ..Subject::default() };
        locked.record(connection, &subject, Kind::VendorConsented, None);
    }
    is_held
}

/// Text as it can stand in a path.
fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

impl Simulator {
    /// A vendor's `base_url`: the API's door, which stays up when the token endpoint goes down. Below it a vendor of the
    /// other style has any path of its own.
    pub fn vendor_url(&self) -> String {
        self.api_url()
    }

    /// Who comes with this key is a customer of the vendor's.
    pub fn add_vendor_key(&self, key: &str) {
        self.shared.lock().core.vendor.keys.insert(Secret::new(key.to_owned()).digest());
    }

    /// The vendor holds this OA, connected until then, in milliseconds since the Unix epoch.
    pub fn vendor_oa(&self, oa_id: &str, name: &str, expires_at_unix_ms: i64) {
        let (expires_at, now) = (Time::from_millis(expires_at_unix_ms), self.shared.clock.now());
        self.shared.lock().core.vendor.hold(OaId::from(oa_id), name.to_owned(), expires_at, now);
    }

    /// A person consents under the vendor's link: the OA is connected for a refresh token's life from now on. `false`:
    /// the vendor does not hold it.
    pub fn vendor_consent(&self, oa_id: &str) -> bool {
        consent(&self.shared, None, &OaId::from(oa_id))
    }

    /// The OA is connected no longer, as when its administrator took the vendor's rights away. `false`: the vendor does
    /// not hold it.
    pub fn vendor_disconnect(&self, oa_id: &str) -> bool {
        let now = self.shared.clock.now();
        self.shared.lock().core.vendor.disconnect(&OaId::from(oa_id), now)
    }

    /// Puts a fault into the vendor's queue.
    ///
    /// # Panics
    /// When the rule could never be carried out: a status below 200.
    #[expect(
        clippy::panic,
        reason = "a test that asks for the impossible must fail there, not pass silently"
    )]
    pub fn vendor_fault(&self, rule: VendorRule) {
        if let Some(objection) = rule.objection() {
            panic!("{objection}");
        }
        self.shared.lock().core.vendor.faults.add(rule);
    }

    /// Forgets all faults of the vendor's that have not happened yet.
    pub fn clear_vendor_faults(&self) {
        self.shared.lock().core.vendor.faults.clear();
    }
}
