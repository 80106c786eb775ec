//! `/v1/oas`: how the OAs stand, and those that a program manages.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::desk::{Dismissed, Enlisted};
use super::oa::Oa;
use super::problem::Problem;
use super::rights::Reach;
use super::wire::{History, List};
use super::{Api, body, of_type, read};
use crate::clock::Reading;
use crate::config::{self, Verb};
use crate::id::{AppId, OaId};
use crate::oauth::whole_set;
use crate::store::{Imported, OaStatus};

/// How many OAs one answer has at most, and without being asked.
const MOST_LISTED: usize = 1_000;

/// Which part of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// Those that come after this one, by id.
    after: Option<String>,
    /// So many at most.
    limit: Option<usize>,
}

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    part: Result<Query<Part>, QueryRejection>,
) -> Result<Response, Problem> {
    let rights = api.rights();
    if !rights.may_any(&caller, Verb::Read) {
        api.require_all(&caller, Verb::Read)?;
    }
    let Query(Part { after, limit }) = part.map_err(|_| {
        Problem::bad_request("the query is not understood; it has after=OA_ID and limit=NUMBER")
    })?;
    let limit = limit.unwrap_or(MOST_LISTED);
    if !(1..=MOST_LISTED).contains(&limit) {
        return Err(Problem::bad_request(format!(
            "limit is 1 to {MOST_LISTED}; ask for more in parts, with after"
        )));
    }
    let (after, now) = (after.map(OaId::from), api.clock.read());
    let held_apps =
        if rights.may_all(&caller, Verb::Read) { read(api.reader.held_apps()).await? } else { Vec::new() };
    let (oas, next) = self::part(&api, &rights.oas(&caller, Verb::Read), after, limit, now).await?;
    json(StatusCode::OK, &List { oas, held_apps, next })
}

/// The OAs within this reach that come after this one, by id, and after which the next part begins.
pub(super) async fn part(
    api: &Api,
    reach: &Reach,
    after: Option<OaId>,
    limit: usize,
    now: Reading,
) -> Result<(Vec<OaStatus>, Option<OaId>), Problem> {
    let (mut oas, next) = match reach {
        Reach::All => {
            let oas = read(api.reader.statuses(after, limit, api.desk.fleet(), now)).await?;
            let next = (oas.len() == limit).then(|| oas.last().map(|oa| oa.oa_id.clone())).flatten();
            (oas, next)
        }
        // Of other OAs he does not even learn that they are there.
        Reach::These(own) => {
            let mut own = own.iter().filter(|oa_id| after.as_ref().is_none_or(|after| *oa_id > after));
            let part: Vec<OaId> = own.by_ref().take(limit).cloned().collect();
            let next = own.next().and_then(|_| part.last().cloned());
            let named = part.into_iter().map(|oa_id| (api.desk.managed(&oa_id), oa_id)).collect();
            (read(api.reader.statuses_of(named, now)).await?, next)
        }
    };
    oas.iter_mut().for_each(|oa| oa.point_to(|oa_id| api.desk.consent_link(oa_id)));
    Ok((oas, next))
}

pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Oa(oa_id): Oa,
) -> Result<Response, Problem> {
    api.require(&caller, Verb::Read, &oa_id)?;
    status(&api, &oa_id).await
}

impl Api {
    /// # Errors
    /// When a vendor keeps the OA's tokens.
    pub(super) fn require_own_tokens(&self, oa_id: &OaId) -> Result<(), Problem> {
        self.desk.vendor_of(oa_id).map_or(Ok(()), |vendor| Err(Problem::held_by_vendor(oa_id, &vendor)))
    }
}

/// How the OA stands, as an answer.
pub(super) async fn status(api: &Api, oa_id: &OaId) -> Result<Response, Problem> {
    let (managed, now) = (api.desk.managed(oa_id), api.clock.read());
    match read(api.reader.status(oa_id, managed, now)).await? {
        Some(mut status) => {
            status.point_to(|oa_id| api.desk.consent_link(oa_id));
            json(StatusCode::OK, &status)
        }
        None => Err(Problem::no_such_oa(oa_id)),
    }
}

pub(super) async fn history(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Oa(oa_id): Oa,
) -> Result<Response, Problem> {
    api.require(&caller, Verb::Read, &oa_id)?;
    let attempts = read(api.reader.history(&oa_id)).await?;
    let is_known = async || -> Result<bool, Problem> {
        let status = api.reader.status(&oa_id, api.desk.managed(&oa_id), api.clock.read());
        Ok(read(status).await?.is_some())
    };
    if attempts.is_empty() && !is_known().await? {
        return Err(Problem::no_such_oa(&oa_id));
    }
    json(StatusCode::OK, &History { oa_id, attempts })
}

/// How an OA is to be managed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    app_id: String,
    name: Option<String>,
}

pub(super) async fn enlist(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Oa(oa_id): Oa,
    body: Body,
) -> Result<Response, Problem> {
    api.require(&caller, Verb::Admin, &oa_id)?;
    let Wanted { app_id, name } = serde_json::from_slice(&body::whole(body).await?)
        .map_err(|_| Problem::bad_request("the body is {\"app_id\": \"…\", \"name\": \"…\"}"))?;
    let wrong = |what: String| Problem::bad_request(what);
    config::check_id(&app_id).map_err(|what| wrong(format!("app_id {what}")))?;
    if let Some(name) = &name {
        config::check_name(name).map_err(|what| wrong(format!("name {what}")))?;
    }
    let app_id = AppId::from(app_id);
    match read(api.desk.enlist(oa_id.clone(), app_id.clone(), name)).await? {
        Enlisted::Done => status(&api, &oa_id).await,
        Enlisted::InConfig => Err(in_config(&oa_id)),
        Enlisted::NoSuchApp => {
            let detail = format!("the config has no app {app_id}; add an [[app]] and reload");
            Err(Problem::conflict("no_such_app", detail))
        }
    }
}

fn in_config(oa_id: &OaId) -> Problem {
    let detail = format!("OA {oa_id} stands in the config file; change it there and reload");
    Problem::conflict("in_config", detail)
}

pub(super) async fn dismiss(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Oa(oa_id): Oa,
) -> Result<Response, Problem> {
    api.require(&caller, Verb::Admin, &oa_id)?;
    match read(api.desk.dismiss(oa_id.clone())).await? {
        Dismissed::Done => Ok(StatusCode::NO_CONTENT.into_response()),
        Dismissed::InConfig => Err(in_config(&oa_id)),
        Dismissed::Unknown => Err(Problem::no_such_oa(&oa_id)),
    }
}

/// What became of an import.
#[derive(Serialize)]
struct Taken {
    oa_id: OaId,
    generation: u64,
    /// It was the current set already.
    unchanged: bool,
}

pub(super) async fn import(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Oa(oa_id): Oa,
    body: Body,
) -> Result<Response, Problem> {
    api.require(&caller, Verb::Admin, &oa_id)?;
    api.require_own_tokens(&oa_id)?;
    let tokens = whole_set(&body::whole(body).await?).map_err(|what| {
        Problem::bad_request(format!("{what}; give Zalo's token response as it came, with both tokens in it"))
    })?;
    match read(api.desk.import(oa_id.clone(), tokens)).await? {
        None => Err(Problem::no_such_oa(&oa_id)),
        Some(Imported::Adopted { generation, .. }) => {
            json(StatusCode::OK, &Taken { oa_id, generation, unchanged: false })
        }
        Some(Imported::Unchanged { generation }) => {
            json(StatusCode::OK, &Taken { oa_id, generation, unchanged: true })
        }
        Some(Imported::UsedBefore { at }) => {
            let detail = format!(
                "the refresh token of this set was presented at {at} and may be spent; nothing was changed. Grant \
                 consent again and bring the new answer"
            );
            Err(Problem::conflict("used_before", detail))
        }
        Some(Imported::OfAnotherOa(_)) => {
            let detail = "this set belongs to another OA; nothing was changed. Bring this OA's own answer";
            Err(Problem::conflict("of_another_oa", detail))
        }
    }
}

/// As JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(body)
        .map_err(|_| Problem::not_now("the answer cannot be written; please report this"))?;
    let mut response = of_type("application/json", body);
    *response.status_mut() = status;
    Ok(response)
}
