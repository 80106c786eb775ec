//! What to do next: the rules of a refresh, as pure functions over values.
//!
//! ```text
//!                import                      gate barred · 429 · app refused
//!  AwaitingGrant ──────► Scheduled ─────────────────────────────► Retrying
//!        ▲                │  ▲  ▲                                  │  ▲
//!        │ config names   │  │  └───────────── granted ────────────┤  │ proof that
//!        │ another app    │  │ granted                             │  │ it is unspent
//!                         ▼  │                                     ▼  │
//!                       (presenting) ──── no verdict ───────────► Uncertain ──► held for an operator
//!                            │                                     │
//!                            │ token dead                          │ proof that it is spent
//!                            ▼                                     ▼
//!                       ReauthorizationRequired ◄──────────────────┘
//! ```
//!
//! A test or a simulation drives these functions with a clock and dice of its own: `now` and every roll are
//! arguments. Nothing here does IO, and nothing here knows of SQLite or HTTP. May import `oauth`, `clock`, `id`
//! and `secret`.

mod backoff;
mod conclusion;
mod consent;
mod plan;
mod reminder;
mod settling;
mod standing;
pub mod timing;
mod verdict;
mod window;

pub use backoff::{Roll, longest_retry_after, retry_wait, slow_wait, throttled_wait};
pub use conclusion::{AppNews, AttemptEnd, Conclusion, Proof, Successor, after_proof, conclude, give_up};
pub use consent::{CONSENT_LIFE, CodeEnd, code_end, is_too_old};
pub use plan::{Lifetimes, is_due, last_call, refresh_at, spread};
pub use reminder::{Reminder, reminder};
pub use settling::{
    Evidence, Premise, Settling, Step, Testimony, measure, remaining_life, weigh, whole_life,
};
pub use standing::{Reason, Retrying, Standing, Uncertain};
pub use timing::{Timing, Unprovable};
pub use verdict::{AnswerBytes, Ending, Exchange, LONGEST_BODY, Verdict, judge};
pub use window::{Brake, Shift, Window};
