//! What is asked of the keeper here, and what he says.

use std::future::Future;
use std::pin::Pin;

use url::Url;

use super::link::BadLink;
use crate::clock::Time;
use crate::id::OaId;
use crate::oauth::Callback;

/// A future that borrows the desk.
pub type BoxFuture<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;

/// Why nobody is sent to give consent. In sentences that say what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoConsent {
    /// It cannot be now.
    NotNow(String),
    /// It cannot be as things are.
    Impossible(String),
}

/// What became of somebody who came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Back {
    /// The set that came is the current one.
    Granted {
        /// The OA.
        oa_id: OaId,
        /// Its generation.
        generation: u64,
        /// When it will be refreshed.
        next_refresh_at: Option<Time>,
    },
    /// A set came and is kept; whose it is could not be asked yet, and will be.
    Checking {
        /// The OA.
        oa_id: OaId,
    },
    /// Somebody came back with this before, and it is under way.
    InProgress {
        /// The OA.
        oa_id: OaId,
    },
    /// Somebody came back with this before, and it is done.
    AlreadyGranted {
        /// The OA.
        oa_id: OaId,
    },
    /// There is no code: he declined.
    Declined {
        /// The OA.
        oa_id: OaId,
    },
    /// He consented for another OA.
    OtherOa {
        /// The OA that consent was to be given for.
        wanted: OaId,
        /// The one that it was given for, where that is an id.
        got: Option<OaId>,
    },
    /// Nobody was sent away with this.
    UnknownState,
    /// He took longer than ten minutes.
    StateExpired {
        /// The OA.
        oa_id: OaId,
    },
    /// Zalo refuses the code.
    CodeRefused {
        /// The OA.
        oa_id: OaId,
    },
    /// Nobody knows what became of the code.
    AnswerLost {
        /// The OA.
        oa_id: OaId,
    },
    /// The code is unspent: Zalo could not be reached, or wants to be asked later.
    NotReached {
        /// The OA.
        oa_id: OaId,
        /// What stood against it.
        detail: String,
    },
    /// Zalo refuses the app; the code is unspent.
    AppRefused {
        /// The OA.
        oa_id: OaId,
    },
    /// The set that came does not count; it is kept. Why, in a stable word.
    SetRefused {
        /// The OA.
        oa_id: OaId,
        /// The word.
        why: String,
    },
    /// The daemon ends; what he brought is as it was.
    Stopping,
    /// Not now. In a sentence.
    NotNow(String),
}

impl Back {
    /// The stable word for it.
    pub fn word(&self) -> &str {
        match self {
            Back::Granted { .. } => "granted",
            Back::Checking { .. } => "checking",
            Back::InProgress { .. } => "in_progress",
            Back::AlreadyGranted { .. } => "already_granted",
            Back::Declined { .. } => "declined",
            Back::OtherOa { .. } => "other_oa",
            Back::UnknownState => "state_unknown",
            Back::StateExpired { .. } => "state_expired",
            Back::CodeRefused { .. } => "code_refused",
            Back::AnswerLost { .. } => "answer_lost",
            Back::NotReached { .. } => "not_reached",
            Back::AppRefused { .. } => "app_refused",
            Back::SetRefused { why, .. } => why,
            Back::Stopping => "stopping",
            Back::NotNow(_) => "not_now",
        }
    }

    /// The OA that it is about, if that is known.
    pub fn oa_id(&self) -> Option<&OaId> {
        match self {
            Back::Granted { oa_id, .. }
            | Back::Checking { oa_id }
            | Back::InProgress { oa_id }
            | Back::AlreadyGranted { oa_id }
            | Back::Declined { oa_id }
            | Back::StateExpired { oa_id }
            | Back::CodeRefused { oa_id }
            | Back::AnswerLost { oa_id }
            | Back::NotReached { oa_id, .. }
            | Back::AppRefused { oa_id }
            | Back::SetRefused { oa_id, .. } => Some(oa_id),
            Back::OtherOa { wanted, .. } => Some(wanted),
            Back::UnknownState | Back::Stopping | Back::NotNow(_) => None,
        }
    }
}

/// Whom a link is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The OA that consent may be given for.
    pub oa_id: OaId,
    /// What people call it.
    pub name: Option<String>,
    /// By when it has to be given.
    pub deadline: Option<Time>,
    /// Consent was given since the link was made, and none is asked for.
    pub is_done: bool,
}

/// The keeper, as those who come with consent see him.
pub trait Desk: Send + Sync + 'static {
    /// Whom this link is for.
    fn guest<'d>(&'d self, link: &'d str) -> BoxFuture<'d, Result<Guest, BadLink>>;

    /// Where somebody is to be sent to give consent for this OA.
    fn begin(&self, oa_id: OaId) -> BoxFuture<'_, Result<Url, NoConsent>>;

    /// What people call this OA.
    fn name_of(&self, oa_id: &OaId) -> Option<String>;

    /// Somebody came back with this.
    fn come_back(&self, callback: Callback) -> BoxFuture<'_, Back>;

    /// Where [`Desk::begin`] may send somebody to.
    fn origins(&self) -> Vec<String>;
}
