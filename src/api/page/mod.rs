//! The pages for people, at `/` of the API: what they show, who may see it, and the button that leads to consent.
//!
//! Who asks has the rights that he has in the API: by his user and groups at the socket, by the token that he shows, or by
//! that which he showed at `/login` (`seal`). What changes something is done only for a form of a page that this caller
//! got from here (its CSRF token), and that no page of another server sent (`Origin`). How a page looks is for the room
//! `page`; where consent leads, for the keeper.

mod login;
mod seal;
#[cfg(test)]
mod tests;
mod visit;

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

pub(super) use login::{end, enter, form};
pub(super) use seal::Seal;
use visit::{Refusal, Visit, text};

use super::caller::Caller;
use super::oa::Oa;
use super::problem::Problem;
use super::rights::Reach;
use super::{Api, oas, of_type, read};
use crate::authorize::NoConsent;
use crate::config::Verb;
use crate::id::OaId;
use crate::page::{self, Asset, Home, Listed, Policy, Trouble, assets, cookie};
use crate::store::OaStatus;

/// How many OAs a page has, of those that need a person and of the others.
const MOST_LISTED: usize = 100;
/// How many attempts the page of an OA has.
const MOST_ATTEMPTS: usize = 100;
/// The cookie that holds a session.
const SESSION_COOKIE: &str = "zalo_tokend";

/// `GET /`: all OAs.
pub(super) async fn home(visit: Visit) -> Response {
    visit.answer(overview(&visit).await)
}

async fn overview(visit: &Visit) -> Result<Response, Refusal> {
    visit.may_look(None)?;
    let (api, now) = (&visit.api, visit.api.clock.read());
    let reach = api.rights().oas(&visit.caller, Verb::Read);
    let may_read = |oa_id: &&OaId| match &reach {
        Reach::All => true,
        Reach::These(own) => own.contains(*oa_id),
    };
    let all = api.needing().await.map_err(|what| Problem::store(&what))?;
    let urgent = all.iter().filter(may_read).take(MOST_LISTED);
    let urgent = urgent.map(|oa_id| (api.desk.managed(oa_id), oa_id.clone())).collect();
    let mut needing = read(api.reader.statuses_of(urgent, now.clone())).await?;
    let passed_by = needing.len();
    needing.retain(|status| status.reauthorization.is_some());
    // What was settled since they were counted.
    let settled = passed_by - needing.len();
    let all_needing = all.iter().filter(may_read).count() - settled;
    let after = visit.oa_in_query("after");
    let (mut others, next) = oas::part(api, &reach, after.clone(), MOST_LISTED, now).await?;
    let shown: BTreeSet<&OaId> = needing.iter().map(|status| &status.oa_id).collect();
    others.retain(|status| !shown.contains(&status.oa_id));
    let home = Home {
        all_needing: all_needing.max(needing.len()),
        needing: &visit.listed(needing),
        others: &visit.listed(others),
        after: after.as_ref(),
        next: next.as_ref(),
    };
    Ok(visit.page(page::home(&visit.viewer(), &home)))
}

impl Visit {
    fn listed(&self, statuses: Vec<OaStatus>) -> Vec<Listed> {
        let rights = self.api.rights();
        let listed = |status: OaStatus| {
            let may_authorize = rights.may(&self.caller, Verb::Admin, &status.oa_id);
            Listed { status, may_authorize }
        };
        statuses.into_iter().map(listed).collect()
    }
}

/// `GET /oas/{oa_id}`: one OA, and what was done about it.
pub(super) async fn one(visit: Visit, oa: Result<Oa, Problem>) -> Response {
    visit.answer(details(&visit, oa).await)
}

/// The OA that the path names, for who may read any.
fn named(visit: &Visit, oa: Result<Oa, Problem>) -> Result<OaId, Refusal> {
    visit.may_look(oa.as_ref().ok().map(|Oa(oa_id)| oa_id))?;
    Ok(oa?.0)
}

async fn details(visit: &Visit, oa: Result<Oa, Problem>) -> Result<Response, Refusal> {
    let (api, oa_id) = (&visit.api, &named(visit, oa)?);
    api.require(&visit.caller, Verb::Read, oa_id)?;
    let status = read(api.reader.status(oa_id, api.desk.managed(oa_id), api.clock.read())).await?;
    let status = status.ok_or_else(|| Problem::no_such_oa(oa_id))?;
    let attempts = read(api.reader.history(oa_id)).await?;
    let shown = &attempts[..attempts.len().min(MOST_ATTEMPTS)];
    let listed = visit.listed(vec![status]);
    let [oa] = &*listed else { return Err(Problem::no_such_oa(oa_id).into()) };
    Ok(visit.page(page::one(&visit.viewer(), oa, shown, shown.len() < attempts.len())))
}

/// `POST /oas/{oa_id}/authorize`: sends somebody out for consent.
pub(super) async fn authorize(visit: Visit, oa: Result<Oa, Problem>, sent: Body) -> Response {
    visit.answer(sent_out(&visit, oa, sent).await)
}

/// `GET /oas/{oa_id}/authorize`: back to the OA, for who opens again where the button led him.
pub(super) async fn back(visit: Visit, oa: Result<Oa, Problem>) -> Response {
    let back = oa.map(|Oa(oa_id)| visit.sent_to(&format!("/oas/{oa_id}")));
    visit.answer(back.map_err(Refusal::from))
}

async fn sent_out(visit: &Visit, oa: Result<Oa, Problem>, sent: Body) -> Result<Response, Refusal> {
    let (api, oa_id) = (&visit.api, named(visit, oa)?);
    api.require(&visit.caller, Verb::Admin, &oa_id)?;
    visit.form(sent, Some(Verb::Admin), Some(&oa_id)).await?;
    if api.desk.managed(&oa_id).is_none() && api.desk.vendor_of(&oa_id).is_none() {
        return Err(Problem::no_such_oa(&oa_id).into());
    }
    let consent = tokio::select! {
        consent = api.desk.consent(oa_id) => consent,
        () = api.stop.cancelled() => return Err(Problem::stopping().into()),
    };
    let impossible = |what: String| Refusal::Trouble(StatusCode::CONFLICT, Trouble::NotYet, what);
    match consent {
        Ok(address) if matches!(address.scheme(), "https" | "http") => Ok(visit.sent_to(address.as_str())),
        Ok(_) => Err(impossible("the address where consent is given is that of no web page".to_owned())),
        Err(NoConsent::NotNow(what)) => Err(Problem::not_now(what).into()),
        Err(NoConsent::Impossible(what)) => Err(impossible(what)),
    }
}

/// `GET /assets/{name}`: what the pages are made of, for anybody who can connect.
pub(super) async fn asset(uri: Uri, headers: HeaderMap) -> Response {
    let Some(asset) = assets::at(uri.path()) else { return Problem::no_such_route().into_response() };
    let etag = asset.etag();
    let is_known = text(&headers, "if-none-match")
        .is_some_and(|known| known.split(',').any(|known| known.trim() == etag));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        of_type(asset.content_type, asset.body)
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(Asset::CACHE_CONTROL));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// The caller with the rights of his session, if he has one whose token still has rights. A token that he shows himself goes
/// before.
pub(super) fn with_session(api: &Api, caller: Caller, headers: &HeaderMap) -> Caller {
    if caller.bearer.is_some() {
        return caller;
    }
    let session = text(headers, "cookie").and_then(|cookies| cookie(cookies, SESSION_COOKIE));
    let token = session.and_then(|session| api.seal.of_session(session, api.clock.now()));
    match token.filter(|token| api.rights().has(token)) {
        Some(token) => Caller { bearer: Some(token), has_session: true, ..caller },
        None => caller,
    }
}

/// Does a page of this server send this, as far as the browser says?
pub(super) fn is_from_here(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return !headers.contains_key(header::ORIGIN);
    };
    let origin = origin.to_str().unwrap_or_default();
    let from = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    from.zip(text(headers, "host"))
        .is_some_and(|(from, host)| !host.is_empty() && from.eq_ignore_ascii_case(host))
}

/// A problem, as a page for who sent this query with these headers.
pub(super) fn refused(uri: &Uri, headers: &HeaderMap, problem: Problem) -> Response {
    visit::refused(visit::lang(uri.query().unwrap_or_default().as_bytes(), headers), problem)
}

/// What every answer at a page's route is sent with.
pub(super) fn guard(api: &Api, response: &mut Response) {
    let policy = Policy { form_targets: api.desk.consent_origins() };
    for (name, value) in policy.headers() {
        if let Ok(value) = HeaderValue::from_str(&value) {
            // An asset says for itself how long it may be kept.
            response.headers_mut().entry(HeaderName::from_static(name)).or_insert(value);
        }
    }
}
