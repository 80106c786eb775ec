//! The durations and limits that rule a refresh, as the operator set them.

use std::time::Duration;

/// What to do with an uncertain OA that no proof can settle any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprovable {
    /// Keep it and ask an operator.
    Hold,
    /// Present its refresh token once more, once a generation, then hold.
    Present,
}

/// The durations and limits that rule a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A refresh is planned this long before the access token ends …
    pub before_expiry: Duration,
    /// … and up to this much earlier, spread over the OAs.
    pub jitter: Duration,
    /// The first wait after a failure that proves the token unspent.
    pub retry_first: Duration,
    /// The longest such wait.
    pub retry_max: Duration,
    /// After an unknown outcome: how long to wait before each question whether the token was spent.
    pub settle: Duration,
    /// What to do when no proof can be had any more.
    pub unprovable: Unprovable,
    /// Requests under way at once, over all OAs; at least 1.
    pub max_in_flight: u32,
    /// How long a refresh token lives when Zalo does not say.
    pub refresh_token_lifetime: Duration,
}

impl Default for Timing {
    /// The values of a config file that says nothing.
    fn default() -> Timing {
        const MINUTE: Duration = Duration::from_secs(60);
        Timing {
            before_expiry: 120 * MINUTE,
            jitter: 20 * MINUTE,
            retry_first: Duration::from_secs(5),
            retry_max: 10 * MINUTE,
            settle: MINUTE,
            unprovable: Unprovable::Hold,
            max_in_flight: 8,
            refresh_token_lifetime: 90 * 24 * 60 * MINUTE,
        }
    }
}
