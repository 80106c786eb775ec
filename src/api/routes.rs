//! Which route is answered where, and what holds for all of them.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use tokio::time::Instant;

use super::caller::Caller;
use super::problem::Problem;
use super::{Api, asked, events, exposition, health, oas, openapi, stream, token};

/// The routes that answer anybody who can connect, whatever token he shows.
const FOR_ANYBODY: [&str; 2] = ["/healthz", "/readyz"];

const GET: (&str, MethodFilter) = ("GET", MethodFilter::GET);
const POST: (&str, MethodFilter) = ("POST", MethodFilter::POST);
const PUT: (&str, MethodFilter) = ("PUT", MethodFilter::PUT);
const DELETE: (&str, MethodFilter) = ("DELETE", MethodFilter::DELETE);

/// One route: its method, its path, and who answers.
struct Route(&'static str, &'static str, MethodRouter<Arc<Api>>);

/// All of them; `openapi.json` is held to these.
fn table() -> [Route; 14] {
    [
        route(GET, "/v1/oas", oas::list),
        route(GET, "/v1/oas/{oa_id}", oas::one),
        route(PUT, "/v1/oas/{oa_id}", oas::enlist),
        route(DELETE, "/v1/oas/{oa_id}", oas::dismiss),
        route(GET, "/v1/oas/{oa_id}/history", oas::history),
        route(GET, "/v1/oas/{oa_id}/token", token::get),
        route(POST, "/v1/oas/{oa_id}/token/reject", asked::reject),
        route(PUT, "/v1/oas/{oa_id}/token-set", oas::import),
        route(POST, "/v1/oas/{oa_id}/refresh", asked::refresh),
        route(GET, "/v1/events", stream::events),
        route(GET, "/healthz", health::alive),
        route(GET, "/readyz", health::ready),
        route(GET, "/metrics", exposition::get),
        route(GET, "/openapi.json", openapi::get),
    ]
}

fn route<H, T>((method, filter): (&'static str, MethodFilter), path: &'static str, answer: H) -> Route
where
    H: Handler<T, Arc<Api>>,
    T: 'static,
{
    Route(method, path, on(filter, answer))
}

/// The method and the path of each route.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    static ALL: LazyLock<Vec<(&str, &str)>> =
        LazyLock::new(|| table().iter().map(|Route(method, path, _)| (*method, *path)).collect());
    ALL.iter().copied()
}

pub(super) fn router(api: Arc<Api>) -> Router {
    table()
        .into_iter()
        .fold(Router::new(), |router, Route(_, path, answer)| router.route(path, answer))
        .fallback(async || Problem::no_such_route())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(middleware::from_fn_with_state(Arc::clone(&api), answer))
        .with_state(api)
}

/// Answers, and counts how long that took.
async fn answer(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, route) = (request.method().clone(), request.extensions().get::<MatchedPath>().cloned());
    let route = route.as_ref().map(MatchedPath::as_str);
    let mut response = admit(&api, request, route, next).await;
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    api.metrics.answered(route, method.as_str(), response.status(), began.elapsed());
    response
}

/// What every request has to pass.
async fn admit(api: &Api, request: Request, route: Option<&str>, next: Next) -> Response {
    let Some(caller) = request.extensions().get::<Caller>() else {
        return Problem::unauthorized().into_response();
    };
    let is_stranger = api.rights().is_stranger(caller);
    let account = if is_stranger { caller.peer.account() } else { caller.account() };
    if let Err(wait) = api.rate.admit(account) {
        return Problem::too_many(wait, "this peer asks more often than [api] rate allows").into_response();
    }
    if is_stranger && !route.is_some_and(|route| FOR_ANYBODY.contains(&route)) {
        events::access_denied(&api.audit, caller, None, None);
        return Problem::unauthorized().into_response();
    }
    // What changes something is not done because a web page has a browser ask for it.
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_safe && request.headers().contains_key(header::ORIGIN) {
        return Problem::denied("requests of web pages change nothing here").into_response();
    }
    next.run(request).await
}
