//! What becomes of attempts, as it happens, for whoever waits for one: commands at the control socket.

use tokio::sync::broadcast;

use crate::clock::Time;
use crate::id::OaId;
use crate::rotation::Reason;
use crate::store::{Concluded, Effect};

/// How many messages a listener may lag behind before he misses some; he then looks at the store.
const BACKLOG: usize = 1_024;

/// The other end of every listener.
pub(super) struct Told(broadcast::Sender<(OaId, Step)>);

/// What became of an OA.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A request begins.
    Begun,
    /// A new set is stored.
    Refreshed {
        generation: u64,
        expires_at: Option<Time>,
        /// Why a person has to act all the same.
        reason: Option<Reason>,
    },
    /// It failed, the token is proven unspent.
    Failed { detail: String, retry_at: Time },
    /// Nobody knows.
    Uncertain { detail: String },
    /// A person has to grant again.
    Reauthorize { reason: Reason },
    /// A person imported another set meanwhile.
    Superseded,
}

impl Default for Told {
    fn default() -> Told {
        Told(broadcast::channel(BACKLOG).0)
    }
}

impl Told {
    pub(super) fn listen(&self) -> broadcast::Receiver<(OaId, Step)> {
        self.0.subscribe()
    }

    pub(super) fn begun(&self, oa_id: &OaId) {
        self.send(oa_id, Step::Begun);
    }

    /// An attempt is concluded, durably.
    pub(super) fn concluded(&self, oa_id: &OaId, concluded: &Concluded, detail: &str) {
        let detail = detail.to_owned();
        let step = match &concluded.effect {
            Effect::Adopted { generation, expires_at, reason, .. } => {
                Step::Refreshed { generation: *generation, expires_at: *expires_at, reason: *reason }
            }
            Effect::Retry { retry_at } => Step::Failed { detail, retry_at: *retry_at },
            Effect::Uncertain { .. } => Step::Uncertain { detail },
            Effect::Reauthorize { reason } => Step::Reauthorize { reason: *reason },
            Effect::KeptAside | Effect::AlreadyConcluded => Step::Superseded,
        };
        self.send(oa_id, step);
    }

    fn send(&self, oa_id: &OaId, step: Step) {
        // Mostly nobody listens.
        if self.0.receiver_count() > 0 && self.0.send((oa_id.clone(), step)).is_err() {
            tracing::trace!("nobody listens any more");
        }
    }
}
