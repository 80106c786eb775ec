//! What consumers ask for that goes beyond reading: a token that was refused is looked into, an OA is refreshed.
//!
//! However many ask about the same set of an OA, one question to Zalo and at most one refresh come of it, and all wait for
//! that one: a *flight*. It goes on when they stop waiting. One that brought no newer set is not repeated for a while, so
//! that nobody can have Zalo asked, or a refresh tried, at each call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Number;
use tokio::sync::watch;
use tokio::time::Instant;

use super::caller::Caller;
use super::desk::{Alive, Asked, Occasion};
use super::oa::Oa;
use super::problem::Problem;
use super::{Api, body, events, oas, read};
use crate::config::Verb;
use crate::id::OaId;

/// How long after a flight that brought no newer set the next one may begin for the same set.
const PAUSE: Duration = Duration::from_secs(30);
/// How long anybody waits for what comes of a refresh: it takes a minute at most by default.
const LONGEST: Duration = Duration::from_secs(90);
/// How often it is looked whether there is still somebody to wait for.
const TICK: Duration = Duration::from_secs(1);
/// How many flights are remembered before those that say nothing any more are forgotten.
const MANY: usize = 1_024;

/// The largest number that a report has: 2^53 - 1.
const LARGEST_NUMBER: u64 = 9_007_199_254_740_991;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Landed {
    /// There is a newer set.
    Newer,
    /// Zalo accepts the access token.
    Alive,
    /// A refresh failed; the refresh token is unspent.
    Failed(String),
    /// It cannot be done now.
    NotNow(String),
}

/// The flights, one an OA.
#[derive(Default)]
pub(super) struct Flights(Mutex<BTreeMap<OaId, Flight>>);

struct Flight {
    /// The set that is looked into.
    generation: u64,
    landed: watch::Receiver<Option<Landed>>,
    began: Instant,
}

/// How somebody gets aboard.
enum Boarding {
    /// Here is the flight; with its sender, if it has to begin.
    Flight(watch::Receiver<Option<Landed>>, Option<watch::Sender<Option<Landed>>>),
    /// The last one brought nothing; the next may begin after this.
    TooEarly(Duration),
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<OaId, Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn board(&self, oa_id: &OaId, generation: u64) -> Boarding {
        let mut flights = self.lock();
        if flights.len() >= MANY {
            flights.retain(|_, flight| flight.landed.borrow().is_none() || flight.began.elapsed() < PAUSE);
        }
        if let Some(flight) = flights.get(oa_id).filter(|flight| flight.generation == generation) {
            let is_in_the_air = flight.landed.borrow().is_none() && flight.landed.has_changed().is_ok();
            if is_in_the_air {
                return Boarding::Flight(flight.landed.clone(), None);
            }
            let waited = flight.began.elapsed();
            if waited < PAUSE {
                return Boarding::TooEarly(PAUSE - waited);
            }
        }
        let (sender, landed) = watch::channel(None);
        let flight = Flight { generation, landed: landed.clone(), began: Instant::now() };
        flights.insert(oa_id.clone(), flight);
        Boarding::Flight(landed, Some(sender))
    }
}

impl Api {
    /// Sees to a newer set than this one, and says what came of that. Where its access token is said to be refused, Zalo is
    /// asked first.
    ///
    /// # Errors
    /// When that was tried a short while ago.
    pub(super) async fn newer(
        self: Arc<Self>,
        oa_id: &OaId,
        generation: u64,
        occasion: Occasion,
    ) -> Result<Landed, Problem> {
        let (mut landed, sender) = match self.flights.board(oa_id, generation) {
            Boarding::Flight(landed, sender) => (landed, sender),
            Boarding::TooEarly(wait) => {
                let detail =
                    format!("OA {oa_id}: this set was looked into a moment ago, and there is no newer one");
                return Err(Problem::too_many(wait, detail));
            }
        };
        if let Some(sender) = sender {
            let (api, oa_id) = (Arc::clone(&self), oa_id.clone());
            // In a task of its own: it goes on when nobody waits any more.
            tokio::spawn(async move {
                let landed = tokio::select! {
                    landed = api.fly(oa_id, generation, occasion) => landed,
                    () = api.stop.cancelled() => Landed::NotNow("the daemon is stopping".to_owned()),
                };
                sender.send_replace(Some(landed))
            });
        }
        let landed = tokio::select! {
            landed = landed.wait_for(Option::is_some) => landed.ok().and_then(|landed| landed.clone()),
            () = self.stop.cancelled() => return Err(Problem::stopping()),
        };
        landed.ok_or_else(|| {
            Problem::not_now("looking into it ended in a fault of the program; please report this")
        })
    }

    async fn fly(&self, oa_id: OaId, generation: u64, occasion: Occasion) -> Landed {
        match self.reader.held(&oa_id).await {
            Ok(Some(held)) if held.generation > generation => return Landed::Newer,
            Ok(Some(held)) => match occasion {
                Occasion::TooOld | Occasion::Order => {}
                Occasion::Refused => match self.desk.probe(oa_id.clone(), held).await {
                    Alive::No => {}
                    Alive::Yes => return Landed::Alive,
                    Alive::Unclear(what) => {
                        return Landed::NotNow(format!(
                            "OA {oa_id}: Zalo could not be asked about its token: {what}"
                        ));
                    }
                },
            },
            Ok(None) => return Landed::NotNow(format!("OA {oa_id} has no tokens")),
            Err(error) => return Landed::NotNow(format!("the store cannot be read: {error}")),
        }
        let asked = self.refreshed(&oa_id, generation, Some(generation), occasion).await;
        // Whatever was said of it: what counts is whether there is a newer set.
        match (self.reader.held(&oa_id).await, asked) {
            (Ok(Some(held)), _) if held.generation > generation => Landed::Newer,
            (_, Asked::Refreshed) => Landed::Newer,
            (_, Asked::Failed(what)) => Landed::Failed(what),
            (_, Asked::NotNow(what)) => Landed::NotNow(what),
        }
    }
}

impl Api {
    /// Has it refreshed, and waits for what comes of that: also for a newer set than this that comes from elsewhere, and no
    /// longer than somebody manages the OA. Where a plan is changed meanwhile nobody else says that it is over.
    async fn refreshed(&self, oa_id: &OaId, generation: u64, only: Option<u64>, occasion: Occasion) -> Asked {
        let mut changes = self.reader.changes().await_oa(oa_id);
        let mut asked = self.desk.refresh(oa_id.clone(), only, occasion);
        let mut patience = std::pin::pin!(tokio::time::sleep(LONGEST));
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                biased;
                asked = &mut asked => return asked,
                () = changes.changed() => {
                    let held = self.reader.held(oa_id).await.ok().flatten();
                    if held.is_some_and(|held| held.generation > generation) {
                        return Asked::Refreshed;
                    }
                }
                () = &mut patience => {
                    return Asked::NotNow(format!("OA {oa_id}: no outcome yet; see how it stands later"));
                }
                _ = tick.tick() => {
                    if self.desk.managed(oa_id).is_none() {
                        return Asked::NotNow(format!("nobody manages OA {oa_id} any more"));
                    }
                }
            }
        }
    }
}

/// What a consumer reports.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    /// The generation of the set whose access token was refused.
    #[serde(deserialize_with = "whole")]
    generation: u64,
    /// Zalo's error code.
    #[serde(default, deserialize_with = "whole_or_none")]
    error: Option<i64>,
}

/// A whole number, also where it is written as some languages write their numbers: `3.0`. No larger than all of them have
/// exactly (RFC 8259 §6).
fn whole<'de, D: Deserializer<'de>, N: TryFrom<i64>>(deserializer: D) -> Result<N, D::Error> {
    let number = Number::deserialize(deserializer)?;
    let written = || number.as_f64().filter(|float| float.fract() == 0.0).map(|float| float as i64);
    let whole = number.as_i64().or_else(written).filter(|whole| whole.abs_diff(0) <= LARGEST_NUMBER);
    whole.and_then(|whole| N::try_from(whole).ok()).ok_or_else(|| D::Error::custom("not a whole number"))
}

fn whole_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let written = Option::<Number>::deserialize(deserializer)?;
    written.map(|number| whole(number).map_err(D::Error::custom)).transpose()
}

pub(super) async fn reject(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Oa(oa_id): Oa,
    body: Body,
) -> Result<Response, Problem> {
    api.require(&caller, Verb::Report, &oa_id)?;
    let body = body::whole(body).await?;
    // Without the parser's words: they repeat what was read.
    let Report { generation, error } = serde_json::from_slice(&body)
        .map_err(|_| Problem::bad_request("the body is {\"generation\": NUMBER, \"error\": ZALO'S CODE}"))?;
    let current = read(api.reader.held(&oa_id)).await?.map_or(0, |held| held.generation);
    if generation > current {
        let detail = format!("OA {oa_id} has no set of generation {generation} yet; its newest is {current}");
        return Err(Problem::conflict("no_such_generation", detail));
    }
    let verdict = if generation < current {
        "newer"
    } else {
        match Arc::clone(&api).newer(&oa_id, generation, Occasion::Refused).await? {
            Landed::Newer => "refreshed",
            Landed::Alive => "alive",
            Landed::Failed(what) => {
                return Err(api.said(&caller, &oa_id, generation, error, Problem::refresh_failed(what)));
            }
            Landed::NotNow(what) => {
                return Err(api.said(&caller, &oa_id, generation, error, Problem::not_now(what)));
            }
        }
    };
    events::token_reported(&api.audit, &caller, &oa_id, generation, error, verdict);
    // Who may report and not read has done what he may, and gets no token for it.
    if !api.rights().may(&caller, Verb::Read, &oa_id) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let valid = api.valid(&oa_id).await?;
    api.record(&oa_id, &valid, false, Some(verdict))
}

impl Api {
    /// Says that this came of a report.
    fn said(
        &self,
        caller: &Caller,
        oa_id: &OaId,
        generation: u64,
        error: Option<i64>,
        problem: Problem,
    ) -> Problem {
        events::token_reported(&self.audit, caller, oa_id, generation, error, problem.kind());
        problem
    }
}

pub(super) async fn refresh(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Oa(oa_id): Oa,
) -> Result<Response, Problem> {
    api.require(&caller, Verb::Admin, &oa_id)?;
    api.require_own_tokens(&oa_id)?;
    if api.desk.managed(&oa_id).is_none() {
        return Err(Problem::no_such_oa(&oa_id));
    }
    let generation = read(api.reader.held(&oa_id)).await?.map_or(0, |held| held.generation);
    let asked = tokio::select! {
        asked = api.refreshed(&oa_id, generation, None, Occasion::Order) => asked,
        () = api.stop.cancelled() => return Err(Problem::stopping()),
    };
    match asked {
        Asked::Refreshed => oas::status(&api, &oa_id).await,
        Asked::Failed(what) => Err(Problem::refresh_failed(what)),
        Asked::NotNow(what) => Err(Problem::not_now(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_who_ask_about_the_same_set_share_one_flight_and_one_that_brought_nothing_is_not_repeated_at_once()
     {
        let flights = Flights::default();
        let oa = OaId::from("7");
        let Boarding::Flight(first, Some(sender)) = flights.board(&oa, 1) else { panic!("it begins") };
        assert!(matches!(flights.board(&oa, 1), Boarding::Flight(_, None)), "the same one");
        sender.send_replace(Some(Landed::Alive));
        assert_eq!(*first.borrow(), Some(Landed::Alive));
        let Boarding::TooEarly(wait) = flights.board(&oa, 1) else { panic!("a moment ago") };
        assert_eq!(wait, PAUSE);
        assert!(matches!(flights.board(&OaId::from("8"), 1), Boarding::Flight(_, Some(_))), "another OA");
        tokio::time::advance(PAUSE).await;
        assert!(matches!(flights.board(&oa, 1), Boarding::Flight(_, Some(_))), "after a while");
        assert!(matches!(flights.board(&oa, 2), Boarding::Flight(_, Some(_))), "another set");
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        let read = |body: &str| {
            serde_json::from_str::<Report>(body).ok().map(|report| (report.generation, report.error))
        };
        assert_eq!(read(r#"{"generation": 3, "error": -216}"#), Some((3, Some(-216))));
        assert_eq!(read(r#"{"generation": 3.0, "error": -216.0}"#), Some((3, Some(-216))));
        assert_eq!(read(r#"{"generation": 9007199254740991, "error": null}"#), Some((LARGEST_NUMBER, None)));
        for body in
            ["3.5", "-1", "\"3\"", "null", "1e400", "1e30", "9007199254740992", "-9223372036854775809"]
        {
            assert_eq!(read(&format!("{{\"generation\": {body}}}")), None, "{body}");
        }
        assert_eq!(read(r#"{"generation": 3, "error": 0.5}"#), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flight_whose_task_was_lost_does_not_keep_anybody_waiting() {
        let flights = Flights::default();
        let oa = OaId::from("7");
        let Boarding::Flight(mut landed, Some(sender)) = flights.board(&oa, 1) else { panic!("it begins") };
        drop(sender);
        assert!(landed.wait_for(Option::is_some).await.is_err());
        assert!(matches!(flights.board(&oa, 1), Boarding::TooEarly(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn flights_that_say_nothing_any_more_are_forgotten() {
        let flights = Flights::default();
        for number in 0..2 * MANY {
            if let Boarding::Flight(_, Some(sender)) = flights.board(&OaId::from(number.to_string()), 1) {
                sender.send_replace(Some(Landed::Newer));
            }
            tokio::time::advance(PAUSE).await;
        }
        assert!(flights.lock().len() <= MANY);
    }
}
