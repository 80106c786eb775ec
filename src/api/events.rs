//! What the log says of the API, in one place: one function an event.
//!
//! What a caller can cause at will is said once a second of each caller, with how many `more` there were.

use tracing::{info, warn};

use super::caller::Caller;
use crate::config::Verb;
use crate::id::OaId;
use crate::web::{Account, Throttle};

pub(super) fn listening(socket: &str, address: Option<&str>) {
    info!(event = "api.listening", socket, address, "the API answers");
}

/// How many denials are said a second, of all callers.
const MOST_DENIALS: u32 = 20;
/// How many reports are.
const MOST_REPORTS: u32 = 200;

/// What was said of late.
pub(super) struct Audit {
    denials: Throttle<Account>,
    reports: Throttle<(Account, OaId)>,
}

impl Default for Audit {
    fn default() -> Audit {
        Audit { denials: Throttle::of(MOST_DENIALS), reports: Throttle::of(MOST_REPORTS) }
    }
}

fn if_any(more: u64) -> Option<u64> {
    (more > 0).then_some(more)
}

/// Somebody may not do this; `None`: nothing at all, since the token that he shows is nobody's.
pub(super) fn access_denied(audit: &Audit, caller: &Caller, verb: Option<Verb>, oa_id: Option<&OaId>) {
    // Not the account of the token: one that is nobody's can be another each time.
    let Some(more) = audit.denials.admit(caller.peer.account()).map(if_any) else { return };
    let (oa_id, verb) = (oa_id.map(OaId::as_str), verb.map(Verb::word));
    warn!(event = "access.denied", oa_id, %caller, verb, more, "the API was asked for more than is allowed");
}

pub(super) fn token_reported(
    audit: &Audit,
    caller: &Caller,
    oa_id: &OaId,
    generation: u64,
    error: Option<i64>,
    verdict: &str,
) {
    let cause = (caller.account(), oa_id.clone());
    let Some(more) = audit.reports.admit(cause).map(if_any) else { return };
    info!(
        event = "token.reported", %oa_id, %caller, generation, error, verdict, more,
        "a program says that its access token was refused"
    );
}
