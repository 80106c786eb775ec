//! The acts: what is done to the OAs, their apps and the daemon, each in a few words and in a sentence.

use std::time::Duration;

use super::shops::{NEWCOMER, RENAMED, SHOPS};
use crate::simulator::{Answer, Fault};

/// How late the slow answer comes.
const SLOW: Duration = Duration::from_millis(1_500);
/// When a request that was let go is looked at all the same: after the first question, before the second.
const LATE: Duration = Duration::from_millis(700);
/// What a gateway says whose upstream is gone.
const BAD_GATEWAY: &str = "<html><head><title>502 Bad Gateway</title></head>\
     <body><center><h1>502 Bad Gateway</h1></center></body></html>";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    ResetBeforeLastByte,
    LostUnspent,
    LostSpent,
    Unavailable,
    Refused,
    Slow,
    SpentLate,
    /// The token endpoint of one app is sick for all its OAs.
    Outage,
    /// A config that is none, and SIGHUP.
    BrokenConfig,
    /// A config that is another one, and SIGHUP.
    Reload,
    /// The daemon dies while it waits for an answer.
    KilledUnspent,
    KilledSpent,
}

/// Whom an act concerns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// One shop and its next refresh.
    Shop,
    /// One shop and its next refresh, and the whole daemon with it.
    ShopAndDaemon,
    /// All branches of the chain.
    Chain,
    /// The config.
    Config,
}

/// In the order in which they come: those that say most first, so that a short run has them.
pub(super) const ROUND: [Act; 12] = [
    Act::ResetBeforeLastByte,
    Act::LostUnspent,
    Act::Outage,
    Act::BrokenConfig,
    Act::Reload,
    Act::KilledUnspent,
    Act::LostSpent,
    Act::Unavailable,
    Act::Refused,
    Act::Slow,
    Act::SpentLate,
    Act::KilledSpent,
];

impl Act {
    pub(super) fn whom(self) -> Whom {
        match self {
            Act::ResetBeforeLastByte
            | Act::LostUnspent
            | Act::LostSpent
            | Act::Unavailable
            | Act::Refused
            | Act::Slow
            | Act::SpentLate => Whom::Shop,
            Act::KilledUnspent | Act::KilledSpent => Whom::ShopAndDaemon,
            Act::Outage => Whom::Chain,
            Act::BrokenConfig | Act::Reload => Whom::Config,
        }
    }

    /// How long before the end it begins at the latest: room for its refresh, and for a question, a person and a
    /// new consent, or for the brake's trials.
    pub(super) fn length(self) -> Duration {
        Duration::from_secs(match self.whom() {
            Whom::Shop | Whom::Config => 6,
            Whom::ShopAndDaemon => 7,
            Whom::Chain => 9,
        })
    }

    /// In a table.
    pub(super) fn label(self) -> &'static str {
        match self {
            Act::ResetBeforeLastByte => "reset before the last byte",
            Act::LostUnspent => "answer lost, not spent",
            Act::LostSpent => "reset after the spend",
            Act::Unavailable => "503, not spent",
            Act::Refused => "connection refused",
            Act::Slow => "slow answer",
            Act::SpentLate => "reset, spent shortly after",
            Act::Outage => "outage: 502 for all",
            Act::BrokenConfig => "broken config, SIGHUP",
            Act::Reload => "changed config, SIGHUP",
            Act::KilledUnspent => "kill -9, not spent",
            Act::KilledSpent => "kill -9 after the spend",
        }
    }

    /// What is about to happen, as a sentence.
    pub(super) fn announced(self, name: &str) -> String {
        match self {
            Act::ResetBeforeLastByte => {
                format!("the next connection of {name} is reset before the last byte of its request")
            }
            Act::LostUnspent => {
                format!("the next request of {name} gets no answer; its refresh token is NOT spent")
            }
            Act::LostSpent => {
                format!("the next answer to {name} is lost by a reset; its refresh token IS spent")
            }
            Act::Unavailable => {
                format!("the next request of {name} gets a gateway's 503; its refresh token is not spent")
            }
            Act::Refused => {
                format!("the token endpoint refuses connections for a second, just when {name} is due")
            }
            Act::Slow => format!("the next answer to {name} comes {SLOW:?} late"),
            Act::SpentLate => format!(
                "the next request of {name} is reset, and its refresh token spent only {LATE:?} later: between the \
                 two questions"
            ),
            Act::Outage => format!(
                "the token endpoint answers every branch of {name} with a gateway's 502; nothing is spent"
            ),
            Act::BrokenConfig => {
                "the config file is written anew with a slip of the pen in it, and SIGHUP sent".to_owned()
            }
            Act::Reload => format!(
                "the config file is written anew, and SIGHUP sent: {} comes with an app of its own, {} is called {} \
                 from now on, and timeout is another",
                SHOPS[NEWCOMER].name, SHOPS[RENAMED.0].name, RENAMED.1
            ),
            Act::KilledUnspent => format!(
                "the next answer to {name} is held, and the daemon killed (kill -9) while it waits for it; the \
                 refresh token is NOT spent"
            ),
            Act::KilledSpent => format!(
                "the next answer to {name} is held, and the daemon killed (kill -9) while it waits for it; the \
                 refresh token IS spent"
            ),
        }
    }

    /// The fault at the simulator; `None` where it is done in another way.
    pub(super) fn fault(self) -> Option<Fault> {
        Some(match self {
            Act::ResetBeforeLastByte => Fault::ResetBeforeLastByte,
            Act::LostUnspent => Fault::unspent(Answer::CloseWithoutAnswer),
            Act::LostSpent => Fault::spent(Answer::Reset),
            Act::Unavailable => Fault::unspent(Answer::Normal),
            Act::Slow => Fault::spent(Answer::Delayed(SLOW)),
            Act::SpentLate => Fault::spent_later(LATE, Answer::Reset),
            Act::Outage => Fault::unspent(Answer::custom(502, BAD_GATEWAY)),
            Act::KilledUnspent => Fault::unspent(Answer::Held),
            Act::KilledSpent => Fault::spent(Answer::Held),
            Act::Refused | Act::BrokenConfig | Act::Reload => return None,
        })
    }
}
