//! Which route is answered where, and what holds for all of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};

use super::caller::Caller;
use super::problem::Problem;
use super::{Api, asked, events, oas, token};

pub(super) fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/v1/oas", get(oas::list))
        .route("/v1/oas/{oa_id}", get(oas::one).put(oas::enlist).delete(oas::dismiss))
        .route("/v1/oas/{oa_id}/history", get(oas::history))
        .route("/v1/oas/{oa_id}/token", get(token::get))
        .route("/v1/oas/{oa_id}/token/reject", post(asked::reject))
        .route("/v1/oas/{oa_id}/token-set", put(oas::import))
        .route("/v1/oas/{oa_id}/refresh", post(asked::refresh))
        .fallback(async || Problem::no_such_route())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(middleware::from_fn_with_state(Arc::clone(&api), admit))
        .with_state(api)
}

/// What every request has to pass, and what every answer has.
async fn admit(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let Some(caller) = request.extensions().get::<Caller>() else {
        return Problem::unauthorized().into_response();
    };
    let is_stranger = api.rights().is_stranger(caller);
    let account = if is_stranger { caller.peer.account() } else { caller.account() };
    if let Err(wait) = api.rate.admit(account) {
        return Problem::too_many(wait, "this peer asks more often than [api] rate allows").into_response();
    }
    if is_stranger {
        events::access_denied(&api.audit, caller, None, None);
        return Problem::unauthorized().into_response();
    }
    // What changes something is not done because a web page has a browser ask for it.
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_safe && request.headers().contains_key(header::ORIGIN) {
        return Problem::denied("requests of web pages change nothing here").into_response();
    }
    let mut response = next.run(request).await;
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
