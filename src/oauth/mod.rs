//! Zalo's words, and nothing but words: what is sent, and what an answer says.
//!
//! Pure: no IO, no clock, no dice. Zalo's field names and error codes stand here and nowhere else. What follows
//! from an answer is for `rotation` to say. May import `id` and `secret`.

mod answer;
mod brought;
mod code;
mod consent;
mod fields;
mod probe;
mod proof;
mod request;

pub use answer::{Answer, GrantedTokens, Oddity, Unreadable, read_token_answer};
pub use brought::whole_set;
pub use code::{ErrorCode, Meaning};
pub use consent::{Callback, code_form, is_verifier, new_state, new_verifier, permission_url};
pub use probe::{ProbeAnswer, read_probe_answer};
pub use proof::appsecret_proof;
pub use request::{PROBE_PATH, SECRET_HEADER, TOKEN_HEADER, refresh_form};

use std::time::Duration;

/// How long an access token lives when the answer does not say so in a way that can be believed: 25 hours, what
/// Zalo answers today.
pub const DEFAULT_ACCESS_TOKEN_LIFE: Duration = Duration::from_secs(90_000);
