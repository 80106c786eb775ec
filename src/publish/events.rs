//! What the log says of publishing: one function an event. None of these is published itself, or a hook that fails would
//! be run because it fails.

use tracing::field::display;
use tracing::{error, info, warn};

use crate::clock::Time;
use crate::id::OaId;

/// Said once of each OA and publisher, and once more when it is not tried again.
pub(super) fn failed(publisher: &str, oa_id: Option<&OaId>, detail: &str, retry_at: Option<Time>) {
    let (oa_id, retry_at) = (oa_id.map(display), retry_at.map(|at| at.to_string()));
    warn!(
        event = "publish.failed",
        publisher, oa_id, detail, retry_at, "something could not be handed out; no refresh waits for it"
    );
}

pub(super) fn recovered(publisher: &str, oa_id: Option<&OaId>) {
    let oa_id = oa_id.map(display);
    info!(event = "publish.recovered", publisher, oa_id, "it is handed out again");
}

/// `count` letters were given up; `delivery` and `oa_id` are of the last.
pub(super) fn dead_letter(publisher: &str, oa_id: Option<&OaId>, delivery: &str, count: u64, detail: &str) {
    let oa_id = oa_id.map(display);
    error!(
        event = "publish.dead_letter",
        publisher,
        oa_id,
        delivery,
        count,
        detail,
        "the webhook will never be told of this; see that its server answers 2xx, and let it read how the OAs stand"
    );
}

/// A line that a hook wrote.
pub(super) fn said(publisher: &str, oa_id: Option<&OaId>, detail: &str) {
    let oa_id = oa_id.map(display);
    info!(event = "publish.said", publisher, oa_id, detail, "a hook wrote this");
}
