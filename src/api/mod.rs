//! The consumers' API: HTTP/1.1 with JSON on a Unix socket, and at a TCP address if the config wants one.
//!
//! ```text
//!  socket ──► web ──► router ──► rights ──► route ──► reader (the store's durable truth)
//!             who,     how       may he?      │
//!             how many fast?                  └─────► desk (what only the keeper can do)
//! ```
//!
//! It reads what is durable and refreshes nothing: what needs a refresh is asked of the keeper through [`Desk`], which
//! decides. No refresh token and no app secret gets here. Nobody who reads waits for a refresh that he did not ask for,
//! for a commit, or for another OA. May import `store`, `config`, `telemetry`, `page`, `web`, `clock`, `id`, `secret`,
//! `oauth` and `failpoint`.

mod asked;
mod body;
mod caller;
mod counted;
mod desk;
mod events;
mod exposition;
mod health;
mod listen;
mod metrics;
mod oa;
mod oas;
mod openapi;
mod page;
mod problem;
mod rights;
mod routes;
mod stream;
#[cfg(test)]
mod tests;
mod token;
mod wire;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use tokio_util::sync::CancellationToken;

pub use desk::{Alive, Asked, BoxFuture, Desk, Dismissed, Enlisted, Occasion};
pub use listen::{ListenError, Listeners, inherited};
pub use wire::{History, List, Record};

use crate::clock::Clock;
use crate::config;
use crate::id::OaId;
use crate::store::{Reader, StoreError};
use crate::telemetry::{Feed, LogControl};
use crate::web::{self, Rate};
use asked::Flights;
use caller::Caller;
use config::Verb;
use counted::{Counted, Fleet};
use events::Audit;
use metrics::Metrics;
use page::Seal;
use problem::Problem;
use rights::Rights;
use routes::Entrance;
use stream::Streams;

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
    /// The log, and its events.
    pub log: LogControl,
    /// No more answers.
    pub stop: CancellationToken,
}

/// The API, as its routes see it.
pub struct Api {
    desk: Arc<dyn Desk>,
    reader: Reader,
    clock: Arc<dyn Clock>,
    log: LogControl,
    stop: CancellationToken,
    rights: RwLock<Arc<Rights>>,
    rate: Rate,
    flights: Flights,
    audit: Audit,
    streams: Streams,
    seal: Seal,
    metrics: Arc<Metrics>,
    /// Are there metrics of each OA?
    oa_metrics: bool,
    fleet: Counted<Fleet>,
    needing: Counted<Vec<OaId>>,
    oa_series: Counted<String>,
}

impl Api {
    /// The API with these rights.
    pub fn new(parts: Parts, config: &config::Api) -> Arc<Api> {
        let Parts { desk, reader, clock, log, stop } = parts;
        let metrics = Arc::new(Metrics::new());
        let counting = Arc::clone(&metrics);
        log.feed().observe(move |happening| counting.count(happening));
        let api = Api {
            desk,
            reader,
            clock,
            log,
            stop,
            rights: RwLock::new(Arc::new(Rights::of(config))),
            rate: Rate::of(config.rate),
            flights: Flights::default(),
            audit: Audit::default(),
            streams: Streams::default(),
            seal: Seal::default(),
            metrics,
            oa_metrics: config.oa_metrics,
            fleet: Counted::default(),
            needing: Counted::default(),
            oa_series: Counted::default(),
        };
        api.go_over_to(config);
        Arc::new(api)
    }

    /// Takes over other rights and another rate. What was begun goes on.
    pub fn go_over_to(&self, config: &config::Api) {
        self.rate.set(config.rate);
        let fleet = self.desk.fleet();
        let apps: BTreeSet<&str> = fleet.values().map(|managed| managed.app_id.as_str()).collect();
        self.metrics.know_apps(apps);
        *self.rights.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Rights::of(config));
    }

    /// What is to see each of the store's transactions: how long it took, and whether it was committed.
    pub fn commit_observer(&self) -> impl Fn(Duration, bool) + Send + Sync + use<> {
        self.metrics.commit_observer()
    }

    /// Answers until the daemon stops.
    pub async fn serve(self: Arc<Api>, listeners: Listeners, max_connections: u32) {
        events::listening(&listeners.path(), listeners.address().as_deref());
        web::serve(listeners, Entrance::of(&self), max_connections, &self.stop).await;
    }

    fn feed(&self) -> &Feed {
        self.log.feed()
    }

    fn rights(&self) -> Arc<Rights> {
        Arc::clone(&self.rights.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// May the caller do this with this OA? If not, that is a problem, and an event.
    fn require(&self, caller: &Caller, verb: Verb, oa_id: &OaId) -> Result<(), Problem> {
        if self.rights().may(caller, verb, oa_id) {
            return Ok(());
        }
        events::access_denied(&self.audit, caller, Some(verb), Some(oa_id));
        Err(Problem::denied(format!("this needs the right to {} OA {oa_id}", verb.word())))
    }

    /// The same where all OAs are concerned.
    fn require_all(&self, caller: &Caller, verb: Verb) -> Result<(), Problem> {
        if self.rights().may_all(caller, verb) {
            return Ok(());
        }
        events::access_denied(&self.audit, caller, Some(verb), None);
        Err(Problem::denied(format!("this needs the right to {} all OAs", verb.word())))
    }
}

/// An answer of this type. What holds for all of them, [`routes`] adds.
fn of_type(content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// What the store says, if it does so in time.
async fn read<T>(asking: impl Future<Output = Result<T, StoreError>>) -> Result<T, Problem> {
    in_time(asking).await.map_err(|what| Problem::store(&what))
}

/// The same, with the trouble in words.
async fn in_time<T>(asking: impl Future<Output = Result<T, StoreError>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("it does not answer".to_owned()),
    }
}
