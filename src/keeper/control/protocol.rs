//! What is said at the control socket: one JSON object a line, a request and then replies until one that is the last.
//!
//! Both ends are the same program, so the format may change with each version. It never leaves the machine, and a
//! request may hold an answer of Zalo's, a reply an access token: neither is ever logged.

use serde::{Deserialize, Serialize};

/// The longest request in bytes: room for an answer of 64 KiB in which every byte is escaped.
pub const LONGEST_REQUEST: u64 = 512 * 1024;

/// What a program wants of the daemon.
#[derive(Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What only the daemon knows.
    Status {},
    /// Refresh this OA now, and say what became of it.
    Refresh {
        /// The OA.
        oa_id: String,
        /// Also while its app is braked.
        trial: bool,
    },
    /// An operator's decision.
    Resolve {
        /// The OA.
        oa_id: String,
        /// What is to be done.
        decision: Choice,
    },
    /// The access token of a set that no disk has taken yet, if there is one.
    Undurable {
        /// The OA.
        oa_id: String,
    },
    /// Send a person to Zalo to grant consent for this OA, and say what became of it.
    Authorize {
        /// The OA.
        oa_id: String,
    },
    /// Take what somebody came back from Zalo with.
    Bring {
        /// The OA.
        oa_id: String,
        /// What he came back with.
        brought: Brought,
    },
    /// Consent was given to the vendor who holds this OA.
    Authorized {
        /// The OA.
        oa_id: String,
        /// When, in milliseconds since the Unix epoch; `None`: now.
        at_ms: Option<i64>,
    },
    /// The link at which consent is given to the vendor who holds this OA: it is the text of the reply.
    VendorLink {
        /// The OA.
        oa_id: String,
    },
}

/// What somebody came back from Zalo with. As secret as a token.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Brought {
    /// The code alone.
    Code(String),
    /// The query of the whole address.
    Query(String),
}

/// What an operator decides.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The refresh token is presented once more.
    Present,
    /// The answer is lost.
    GiveUp,
    /// This was read out of the answer that was kept.
    Adopt(String),
}

/// What the daemon says. All but [`Reply::Progress`] and [`Reply::Link`] are the last.
#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// It goes on.
    Progress {
        /// In words.
        text: String,
    },
    /// A person is to open this address; it goes on.
    Link {
        /// The address.
        url: String,
    },
    /// It is done.
    Done {
        /// In words.
        text: String,
    },
    /// It failed.
    Failed {
        /// One sentence that says what to do.
        text: String,
    },
    /// Not now.
    NotNow {
        /// One sentence that says what to do.
        text: String,
    },
    /// What only the daemon knows.
    Status(DaemonStatus),
    /// An access token of a set that no disk has taken yet.
    Undurable {
        /// The token, if there is one.
        held: Option<HeldToken>,
    },
}

/// What only the daemon knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Since when it runs, RFC 3339.
    pub started_at: String,
    /// How many requests are under way.
    pub in_flight: usize,
    /// `well`, or how the store fails.
    pub store: String,
    /// The OAs of whose newest token set there is no copy on a disk.
    pub undurable: Vec<String>,
    /// How many log lines nobody got to see.
    pub lines_dropped: u64,
}

/// An access token that only the daemon has.
#[derive(Serialize, Deserialize)]
pub struct HeldToken {
    /// The token.
    pub access_token: String,
    /// When it ends, in milliseconds since the Unix epoch.
    pub expires_at_ms: i64,
    /// The generation of its set.
    pub generation: u64,
}
