//! What any HTTP server of this program needs, whatever it answers: HTTP/1.1 over a Unix socket or TCP.
//!
//! Who is at the other end, how many connections he has and how long he may say nothing, how often he may ask, and how often
//! the log hears of it. What is answered, and to whom, is for others: they bring a listener (`Accepts`) and one who answers
//! (`Answers`), and `serve` does the rest until the daemon stops. May import `secret`.

mod connections;
mod descriptors;
mod impatient;
mod peer;
mod peer_groups;
mod places;
mod rate;
mod throttle;

pub(crate) use connections::{Accepts, Answers, Stream, serve};
#[cfg(test)]
pub(crate) use connections::{SILENCE, talk};
pub(crate) use peer::{Account, Peer};
pub(crate) use places::{Place, Places};
pub(crate) use rate::Rate;
pub(crate) use throttle::Throttle;
