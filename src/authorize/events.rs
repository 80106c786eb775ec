//! What the log says of those who come here: one function an event. What anybody can cause at will is said some times a
//! second at most, with how many `more` there were. No state, code or link is in any of it.

use tracing::{info, warn};

use super::desk::Back;
use super::link::BadLink;
use crate::id::OaId;
use crate::web::{Account, Peer, Throttle};

/// How many of those who come in vain are said a second, in all. Of one address, one reason and one OA it is one.
const MOST: u32 = 20;

pub(super) fn listening(address: &str) {
    info!(event = "authorize.listening", address, "people can come back with consent");
}

/// What was said of late.
pub(super) struct Audit(Throttle<(Account, String, Option<OaId>)>);

impl Default for Audit {
    fn default() -> Audit {
        Audit(Throttle::of(MOST))
    }
}

impl Audit {
    /// Somebody came back. What came of a code the keeper says; here it is said if nothing was begun by it.
    pub(super) fn came_back(&self, peer: &Peer, back: &Back) {
        match back {
            Back::Granted { .. }
            | Back::Checking { .. }
            | Back::AnswerLost { .. }
            | Back::NotReached { .. }
            | Back::AppRefused { .. } => {}
            Back::InProgress { .. }
            | Back::AlreadyGranted { .. }
            | Back::Declined { .. }
            | Back::OtherOa { .. }
            | Back::UnknownState
            | Back::StateExpired { .. }
            | Back::CodeRefused { .. }
            | Back::SetRefused { .. }
            | Back::Stopping
            | Back::NotNow(_) => self.refused(peer, back.oa_id(), back.word()),
        }
    }

    /// Somebody has a link that is none.
    pub(super) fn bad_link(&self, peer: &Peer, bad: BadLink) {
        let why = match bad {
            BadLink::Forged => "link_forged",
            BadLink::Ended => "link_ended",
        };
        self.refused(peer, None, why);
    }

    fn refused(&self, peer: &Peer, oa_id: Option<&OaId>, why: &str) {
        let cause = (peer.account(), why.to_owned(), oa_id.cloned());
        let Some(more) = self.0.admit(cause) else { return };
        let (oa_id, more) = (oa_id.map(OaId::as_str), (more > 0).then_some(more));
        let caller = match peer {
            Peer::Address(address) => address.to_string(),
            Peer::Process { uid, .. } => format!("uid {uid}"),
        };
        warn!(
            event = "consent.refused",
            oa_id, why, caller, more, "somebody came with a consent that changes nothing"
        );
    }
}
