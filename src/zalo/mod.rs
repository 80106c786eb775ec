//! The door to Zalo: the one place that speaks HTTP to it.
//!
//! [`Door::present`] sends a refresh through the gate, [`Door::probe`] asks whether an access token is alive. Both
//! say what happened and decide nothing. One call is one request on a connection of its own: no redirects, no
//! retries, no pool, HTTP/1.1, no proxy but the configured one. May import `oauth`, `rotation`, `clock`, `id`,
//! `secret` and `failpoint`.

mod client;
mod gate;
mod probe;
mod received;
mod token_endpoint;

pub use client::{ClientError, Door};
pub use gate::Gate;
pub use received::Received;
pub use token_endpoint::{Caps, JournalFailure, Presentation, Presented, read_retry_after};
