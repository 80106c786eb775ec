//! What the log says of OAs that vendors hold: one function an event.
//!
//! What a vendor wrote into his answer has been made harmless where it was read.

use tracing::{error, info, warn};

use crate::clock::{Time, spoken};
use crate::id::{OaId, VendorId};
use crate::rotation::Reason;
use crate::store::VendorReminder;
use crate::vendor::Said;

pub(super) fn link_fetched(oa_id: &OaId, vendor: &VendorId, url: &str, said: &Said) {
    let Said { code, message, referent_id } = said;
    info!(
        event = "vendor.link_fetched", %oa_id, %vendor, url, code, vendor_message = message, referent_id,
        "the vendor gave a link at which consent is granted"
    );
}

pub(super) fn asked_in_vain(oa_id: &OaId, vendor: &VendorId, said: &Said) {
    let Said { code, message, referent_id } = said;
    warn!(
        event = "vendor.asked_in_vain", %oa_id, %vendor, code, vendor_message = message, referent_id,
        "the vendor has no link to give now; he is asked again"
    );
}

pub(super) fn failed(
    oa_id: &OaId,
    vendor: &VendorId,
    asked: &str,
    detail: &str,
    retry_at: Option<Time>,
    said: &Said,
) {
    let Said { code, message, referent_id } = said;
    let retry_at = retry_at.map(|at| at.to_string());
    warn!(
        event = "vendor.failed", %oa_id, %vendor, asked, detail, retry_at, code, vendor_message = message, referent_id,
        "the vendor could not be asked"
    );
}

pub(super) fn misconfigured(oa_id: &OaId, vendor: &VendorId, detail: &str, said: &Said) {
    let Said { code, message, referent_id } = said;
    error!(
        event = "vendor.misconfigured", %oa_id, %vendor, detail, code, vendor_message = message, referent_id,
        "the vendor gives no usable link for this OA; correct its id, or base_url or link_hosts of the vendor, and reload"
    );
}

pub(super) fn refused(vendor: &VendorId, detail: &str, said: &Said) {
    let Said { code, message, referent_id } = said;
    error!(
        event = "vendor.refused", %vendor, detail, code, vendor_message = message, referent_id,
        "the vendor refuses the API key; all its OAs wait. Correct it and reload; one OA tries once an hour"
    );
}

pub(super) fn released(vendor: &VendorId) {
    info!(event = "vendor.released", %vendor, "the vendor takes the API key; all its OAs go on");
}

/// `by` is `vendor` or `person`.
pub(in super::super) fn authorized(oa_id: &OaId, by: &str, ends_at: Option<Time>) {
    let ends_at = ends_at.map(|at| at.to_string());
    info!(event = "oa.authorized", %oa_id, by, ends_at, "consent was granted to the vendor");
}

pub(super) fn reauthorization_required(oa_id: &OaId, reason: Reason, url: &str) {
    error!(
        event = "oa.reauthorization_required", %oa_id, %reason, url,
        "a person has to grant consent to the vendor again, at this link"
    );
}

pub(super) fn expiring(told: &VendorReminder) {
    let VendorReminder { oa_id, reminder, url, .. } = told;
    let (remaining, step) = (spoken(reminder.remaining), spoken(reminder.step));
    if reminder.is_last {
        error!(
            event = "refresh_token.expiring", %oa_id, remaining, step, url,
            "consent to the vendor is about to end; grant it again"
        );
    } else {
        warn!(
            event = "refresh_token.expiring", %oa_id, remaining, step, url,
            "consent to the vendor will end; grant it again"
        );
    }
}
