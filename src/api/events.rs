//! What the log says of the API, in one place: one function an event.

use tracing::{info, warn};

use super::caller::Caller;
use crate::config::Verb;
use crate::id::OaId;

pub(super) fn listening(socket: &str, address: Option<&str>) {
    info!(event = "api.listening", socket, address, "the API answers");
}

pub(super) fn access_denied(caller: &Caller, verb: Verb, oa_id: Option<&OaId>) {
    let oa_id = oa_id.map(OaId::as_str);
    warn!(event = "access.denied", oa_id, %caller, verb = verb.word(), "the API was asked for more than is allowed");
}

pub(super) fn token_reported(
    caller: &Caller,
    oa_id: &OaId,
    generation: u64,
    error: Option<i64>,
    verdict: &str,
) {
    info!(
        event = "token.reported", %oa_id, %caller, generation, error, verdict,
        "a program says that its access token was refused"
    );
}
