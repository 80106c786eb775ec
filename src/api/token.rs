//! `GET /v1/oas/{oa_id}/token`: the access token that can be used now.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;

use super::caller::Caller;
use super::desk::Occasion;
use super::oa::Oa;
use super::problem::Problem;
use super::wire::Record;
use super::{Api, of_type, read};
use crate::clock::{Reading, Time};
use crate::config::Verb;
use crate::id::OaId;
use crate::secret::Secret;
use crate::store::{Held, OaStatus, ValidToken};

/// The longest that anybody is kept waiting.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How long a refresh for `min_ttl` is waited for: as long as one takes at most by default, and a little.
const REFRESH_WAIT: Duration = Duration::from_secs(90);

/// What can be asked with the token.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wishes {
    /// Only a set of a later generation.
    after: Option<u64>,
    /// So long to wait for it.
    wait: Option<String>,
    /// So much life is to be left.
    min_ttl: Option<String>,
    /// With the `appsecret_proof`.
    proof: Option<bool>,
}

/// An access token that can be handed out.
pub(super) struct Valid {
    token: Token,
    /// When it ends.
    pub(super) expires_at: Time,
    /// Of its set.
    pub(super) generation: u64,
    /// When it was found valid.
    now: Time,
}

/// Where it is.
enum Token {
    /// In the store or in a slot.
    Durable(Arc<Held>),
    /// In the daemon alone.
    Undurable(Secret),
}

impl Valid {
    fn access_token(&self) -> &Secret {
        match &self.token {
            Token::Durable(held) => &held.access_token,
            Token::Undurable(access_token) => access_token,
        }
    }

    fn is_durable(&self) -> bool {
        matches!(self.token, Token::Durable(_))
    }
}

pub(super) async fn get(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Oa(oa_id): Oa,
    wishes: Result<Query<Wishes>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.require(&caller, Verb::Read, &oa_id)?;
    let Wishes { after, wait, min_ttl, proof } = understood(wishes)?;
    let wait = wait.map(|text| duration("wait", &text)).transpose()?.unwrap_or_default();
    let min_ttl = min_ttl.map(|text| duration("min_ttl", &text)).transpose()?;
    let may_have_waited = after.is_some() || min_ttl.is_some();
    let valid = match after {
        None => api.valid(&oa_id).await?,
        Some(after) => match api.newer_than(&oa_id, after, wait.min(LONGEST_WAIT)).await? {
            Some(valid) => valid,
            None => return Ok(not_modified(after)),
        },
    };
    let valid = match min_ttl {
        Some(wanted) => api.with_life(&oa_id, valid, wanted).await?,
        None => valid,
    };
    if may_have_waited {
        // Meanwhile his right may have been taken away.
        api.require(&caller, Verb::Read, &oa_id)?;
    }
    if valid.is_durable() && is_known(&headers, valid.generation) {
        return Ok(not_modified(valid.generation));
    }
    let proof = proof.unwrap_or(false);
    api.record(&oa_id, &valid, proof, None)
}

/// What was asked, without the words of a parser that repeats it.
fn understood(wishes: Result<Query<Wishes>, QueryRejection>) -> Result<Wishes, Problem> {
    let wishes = wishes.map(|Query(wishes)| wishes);
    wishes.map_err(|_| {
        Problem::bad_request(
            "the query is not understood; it has after=GENERATION, wait=60s, min_ttl=10m and proof=true",
        )
    })
}

fn duration(name: &str, text: &str) -> Result<Duration, Problem> {
    humantime::parse_duration(text)
        .map_err(|_| Problem::bad_request(format!("{name} is no duration; write it as 90s, 10m or 2h")))
}

fn etag(generation: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{generation}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Does the caller have this generation already (RFC 9110 §13.1.2)?
fn is_known(headers: &HeaderMap, generation: u64) -> bool {
    let own = format!("\"{generation}\"");
    let listed = headers.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|value| value.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == own
    })
}

fn not_modified(generation: u64) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().insert(header::ETAG, etag(generation));
    response
}

impl Api {
    /// The newest set of the OA, if its access token can be used now.
    fn usable(&self, oa_id: &OaId, held: Option<Arc<Held>>, now: &Reading) -> Option<Valid> {
        let stored = held.as_ref().map_or(0, |held| held.generation);
        if let Some(held) = self.desk.undurable(oa_id).filter(|held| held.generation > stored)
            && held.expires_at > now.time
        {
            let ValidToken { access_token, expires_at, generation } = held;
            return Some(Valid {
                token: Token::Undurable(access_token),
                expires_at,
                generation,
                now: now.time,
            });
        }
        let held = held?;
        let (expires_at, generation) = (held.valid_until(now)?, held.generation);
        Some(Valid { token: Token::Durable(held), expires_at, generation, now: now.time })
    }

    /// The access token that can be used now.
    pub(super) async fn valid(&self, oa_id: &OaId) -> Result<Valid, Problem> {
        let now = self.clock.read();
        let held = match self.reader.remembered(oa_id) {
            Some(held) => Some(held),
            None => read(self.reader.held(oa_id)).await?,
        };
        match self.usable(oa_id, held, &now) {
            Some(valid) => Ok(valid),
            None => Err(self.why_none(oa_id, now).await),
        }
    }

    /// Why the OA has no access token that can be used now.
    async fn why_none(&self, oa_id: &OaId, now: Reading) -> Problem {
        let managed = self.desk.managed(oa_id);
        match read(self.reader.status(oa_id, managed.clone(), now)).await {
            Ok(Some(OaStatus { vendor: Some(vendor), state, reason, .. })) => {
                Problem::none_of_vendors(oa_id, &vendor, state, reason.as_deref())
            }
            Ok(Some(status)) => Problem::no_valid_token(oa_id, status.state, status.reason.as_deref()),
            Ok(None) if managed.is_some() => {
                Problem::no_valid_token(oa_id, crate::store::State::AwaitingGrant, None)
            }
            Ok(None) => Problem::no_such_oa(oa_id),
            Err(problem) => problem,
        }
    }

    /// The access token of a set after this generation, as soon as one is durable. `None`: none came in time.
    pub(super) async fn newer_than(
        &self,
        oa_id: &OaId,
        generation: u64,
        wait: Duration,
    ) -> Result<Option<Valid>, Problem> {
        let mut changes = self.reader.changes().await_oa(oa_id);
        let mut patience = std::pin::pin!(tokio::time::sleep(wait));
        loop {
            let held = read(self.reader.held(oa_id)).await?;
            let now = self.clock.read();
            if held.as_ref().is_some_and(|held| held.generation > generation) {
                return match self.usable(oa_id, held, &now) {
                    Some(valid) => Ok(Some(valid)),
                    None => Err(self.why_none(oa_id, now).await),
                };
            }
            if held.is_none() && self.desk.managed(oa_id).is_none() {
                return Err(self.why_none(oa_id, now).await);
            }
            tokio::select! {
                () = changes.changed() => {}
                () = &mut patience => return Ok(None),
                () = self.stop.cancelled() => return Err(Problem::stopping()),
            }
        }
    }

    /// One with at least so much life left, if that can be had: an access token is refreshed for it when half of its life
    /// has gone, so that whoever asks for more than a fresh one has does not have each new one refreshed at once.
    async fn with_life(
        self: &Arc<Self>,
        oa_id: &OaId,
        valid: Valid,
        wanted: Duration,
    ) -> Result<Valid, Problem> {
        let left = valid.expires_at.since(valid.now);
        let life = read(self.reader.held(oa_id)).await?.map(|held| held.life()).unwrap_or_default();
        if left >= wanted.min(life / 2) {
            return Ok(valid);
        }
        let asked = Arc::clone(self).newer(oa_id, valid.generation, Occasion::TooOld);
        if tokio::time::timeout(REFRESH_WAIT, asked).await.is_err() {
            tracing::debug!(%oa_id, "a refresh takes longer than anybody waits for it");
        }
        // Also where there is none with more: what can still be used is handed out.
        self.valid(oa_id).await
    }

    /// The answer with this token in it.
    pub(super) fn record(
        &self,
        oa_id: &OaId,
        valid: &Valid,
        with_proof: bool,
        verdict: Option<&'static str>,
    ) -> Result<Response, Problem> {
        let appsecret_proof = with_proof.then(|| self.desk.appsecret_proof(oa_id, valid.access_token()));
        if matches!(appsecret_proof, Some(None)) {
            let detail = format!("the config does not have OA {oa_id} or its app, so there is no proof");
            return Err(Problem::conflict("no_app", detail));
        }
        let (token, ends) = (valid.access_token(), valid.expires_at);
        let record = Record {
            appsecret_proof: appsecret_proof.flatten(),
            verdict: verdict.map(Cow::Borrowed),
            durable: (!valid.is_durable()).then_some(false),
            ..Record::new(oa_id.clone(), token, ends, valid.generation, valid.now)
        };
        let mut body = Vec::with_capacity(valid.access_token().expose().len() + 256);
        serde_json::to_writer(&mut body, &record)
            .map_err(|_| Problem::not_now("the answer cannot be written; please report this"))?;
        let mut response = of_type("application/json", body);
        if valid.is_durable() {
            response.headers_mut().insert(header::ETAG, etag(valid.generation));
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_known_by_its_tag_in_all_ways_of_writing_it() {
        let known = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, value.parse().expect("a value"));
            is_known(&headers, 7)
        };
        assert!(known("\"7\"") && known("W/\"7\"") && known("\"6\", \"7\"") && known("*"));
        assert!(!known("\"70\"") && !known("7") && !known("\"6\""));
        assert!(!is_known(&HeaderMap::new(), 7));
    }
}
