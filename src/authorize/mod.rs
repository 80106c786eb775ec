//! Where people come with their consent: the address that Zalo sends them back to, and our own links that lead to Zalo.
//!
//! ```text
//!  link ──► offer ──► (button) ──► Zalo's page ──► callback ──► what became of it
//!           page       desk.begin                  desk.come_back   page
//! ```
//!
//! It answers browsers and decides nothing: whose a link is, where a person is sent, and what his code brings are the
//! keeper's, through [`Desk`]. Nothing that comes in here is believed, and no token passes. May import `page`, `web`,
//! `config`, `clock`, `id`, `secret` and `oauth`.

mod desk;
mod events;
mod link;
mod server;
#[cfg(test)]
mod tests;

pub use desk::{Back, BoxFuture, Desk, Guest, NoConsent};
pub use link::{BadLink, Link, address_of_link, standing_link};
pub use server::Listener;
