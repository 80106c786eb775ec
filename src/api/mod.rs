//! The consumers' API: HTTP/1.1 with JSON on a Unix socket, and at a TCP address if the config wants one.
//!
//! ```text
//!  socket ──► connections ──► router ──► rights ──► route ──► reader (the store's durable truth)
//!             who, how many,             may he?      │
//!             how fast                                └─────► desk (what only the keeper can do)
//! ```
//!
//! It reads what is durable and refreshes nothing: what needs a refresh is asked of the keeper through [`Desk`], which
//! decides. No refresh token and no app secret gets here. Nobody who reads waits for a refresh that he did not ask for,
//! for a commit, or for another OA. May import `store`, `config`, `telemetry`, `clock`, `id`, `secret`, `oauth` and
//! `failpoint`.

mod asked;
mod caller;
mod connections;
mod desk;
mod events;
mod listen;
mod oas;
mod peer_groups;
mod problem;
mod rate;
mod rights;
mod routes;
mod token;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use desk::{Alive, Asked, BoxFuture, Desk, Dismissed, Enlisted};
pub use listen::{ListenError, Listeners, inherited};

use crate::clock::Clock;
use crate::config;
use crate::id::OaId;
use crate::store::{Reader, StoreError};
use crate::telemetry::Feed;
use asked::Flights;
use caller::Caller;
use config::Verb;
use problem::Problem;
use rate::Rate;
use rights::Rights;

/// How long the store may take to answer somebody who reads.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the API is made of.
pub struct Parts {
    /// What only the keeper can do.
    pub desk: Arc<dyn Desk>,
    /// The way to look at the store.
    pub reader: Reader,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// The log's events.
    pub feed: Feed,
    /// No more answers.
    pub stop: CancellationToken,
}

/// The API, as its routes see it.
pub struct Api {
    desk: Arc<dyn Desk>,
    reader: Reader,
    clock: Arc<dyn Clock>,
    feed: Feed,
    stop: CancellationToken,
    rights: RwLock<Arc<Rights>>,
    rate: Rate,
    flights: Flights,
}

impl Api {
    /// The API with these rights.
    pub fn new(parts: Parts, config: &config::Api) -> Arc<Api> {
        let Parts { desk, reader, clock, feed, stop } = parts;
        Arc::new(Api {
            desk,
            reader,
            clock,
            feed,
            stop,
            rights: RwLock::new(Arc::new(Rights::of(config))),
            rate: Rate::of(config.rate),
            flights: Flights::default(),
        })
    }

    /// Takes over other rights and another rate. What was begun goes on.
    pub fn go_over_to(&self, config: &config::Api) {
        self.rate.set(config.rate);
        *self.rights.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Rights::of(config));
    }

    /// Answers until the daemon stops.
    pub async fn serve(self: Arc<Api>, listeners: Listeners, max_connections: u32) {
        connections::serve(self, listeners, max_connections).await;
    }

    fn rights(&self) -> Arc<Rights> {
        Arc::clone(&self.rights.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// May the caller do this with this OA? If not, that is a problem, and an event.
    fn require(&self, caller: &Caller, verb: Verb, oa_id: &OaId) -> Result<(), Problem> {
        if self.rights().may(caller, verb, oa_id) {
            return Ok(());
        }
        events::access_denied(caller, verb, Some(oa_id));
        Err(Problem::denied(format!("this needs the right to {} OA {oa_id}", verb.word())))
    }

    /// The same where all OAs are concerned.
    fn require_all(&self, caller: &Caller, verb: Verb) -> Result<(), Problem> {
        if self.rights().may_all(caller, verb) {
            return Ok(());
        }
        events::access_denied(caller, verb, None);
        Err(Problem::denied(format!("this needs the right to {} all OAs", verb.word())))
    }
}

/// What the store says, if it does so in time.
async fn read<T>(asking: impl Future<Output = Result<T, StoreError>>) -> Result<T, Problem> {
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Problem::store(&error.to_string())),
        Err(_) => Err(Problem::store("it does not answer")),
    }
}
