//! The simulator's own requests about the vendor, under `/_simulator/vendor/`. May import clock and id.

use serde::Deserialize;

use super::consent;
use super::fault::VendorRule;
use crate::clock::{Clock, Time};
use crate::id::OaId;
use crate::secret::Secret;
use crate::simulator::connection::Reply;
use crate::simulator::control::{done, read};
use crate::simulator::shared::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOa {
    oa_id: OaId,
    name: String,
    /// RFC 3339.
    expires_at: Time,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    oa_id: OaId,
}

/// Does what is asked; `None` if there is no such request.
pub(in crate::simulator) fn decide(
    shared: &Shared,
    method: &str,
    what: &str,
    body: &[u8],
) -> Option<Result<Reply, String>> {
    Some(match (method, what) {
        ("POST", "keys") => read(body).and_then(|new: NewKey| {
            shared.lock().core.vendor.keys.insert(Secret::new(new.key).digest());
            done()
        }),
        ("POST", "oas") => read(body).and_then(|new: NewOa| {
            let now = shared.clock.now();
            shared.lock().core.vendor.hold(new.oa_id, new.name, new.expires_at, now);
            done()
        }),
        ("POST", "consent") => read(body).and_then(|Decision { oa_id }| {
            let is_held = consent(shared, None, &oa_id);
            done_if_held(is_held, &oa_id)
        }),
        ("POST", "disconnect") => read(body).and_then(|Decision { oa_id }| {
            let now = shared.clock.now();
            let is_held = shared.lock().core.vendor.disconnect(&oa_id, now);
            done_if_held(is_held, &oa_id)
        }),
        ("POST", "faults") => read(body).and_then(|rule: VendorRule| {
            if let Some(objection) = rule.objection() {
                return Err(objection);
            }
            shared.lock().core.vendor.faults.add(rule);
            done()
        }),
        ("DELETE", "faults") => {
            shared.lock().core.vendor.faults.clear();
            done()
        }
        _ => return None,
    })
}

fn done_if_held(is_held: bool, oa: &OaId) -> Result<Reply, String> {
    if is_held { done() } else { Err(format!("The vendor does not hold OA {oa}: POST vendor/oas first")) }
}
