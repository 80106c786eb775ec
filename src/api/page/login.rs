//! `/login` and `/logout`: a token of `[[access]]` that is shown once, and a cookie that stands for it for a while.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;

use super::seal::SESSION;
use super::visit::{Refusal, Visit, field, oa_in};
use crate::api::caller::Caller;
use crate::api::events;
use crate::api::problem::Problem;
use crate::config::Verb;
use crate::id::OaId;
use crate::page;
use crate::secret::Secret;

/// `GET /login`.
pub(in crate::api) async fn form(visit: Visit) -> Response {
    let oa_id = visit.oa_in_query("oa");
    visit.page(page::login(visit.lang, &visit.csrf, oa_id.as_ref().map(OaId::as_str), false))
}

/// `POST /login`.
pub(in crate::api) async fn enter(visit: Visit, sent: Body) -> Response {
    visit.answer(entered(&visit, sent).await)
}

async fn entered(visit: &Visit, sent: Body) -> Result<Response, Refusal> {
    let sent = visit.form(sent, None, None).await?;
    let (api, oa_id) = (&visit.api, oa_in(&sent, "oa"));
    let token = Secret::new(field(&sent, "token").unwrap_or_default().trim().to_owned()).digest();
    let caller = Caller { bearer: Some(token), has_session: true, ..visit.caller.clone() };
    let rights = api.rights();
    if !rights.has(&token) {
        events::access_denied(&api.audit, &caller, None, None);
        let oa_id = oa_id.as_ref().map(OaId::as_str);
        let mut response = visit.page(page::login(visit.lang, &visit.csrf, oa_id, true));
        *response.status_mut() = StatusCode::FORBIDDEN;
        return Ok(response);
    }
    if !rights.may_any(&caller, Verb::Read) {
        return Err(Problem::denied("this token has no right to read").into());
    }
    let address = oa_id.map_or_else(|| "/".to_owned(), |oa_id| format!("/oas/{oa_id}"));
    let session = api.seal.session(&token, visit.now);
    Ok(visit.with_session(visit.sent_to(&address), &session, SESSION.as_secs()))
}

/// `POST /logout`.
pub(in crate::api) async fn end(visit: Visit, sent: Body) -> Response {
    let ended = visit.form(sent, None, None).await;
    visit.answer(ended.map(|_| visit.with_session(visit.sent_to("/login"), "", 0)))
}
