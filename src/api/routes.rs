//! Which route is answered where, and what holds for all of them.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use tokio::time::Instant;
use tower_service::Service;

use super::caller::Caller;
use super::problem::Problem;
use super::{Api, asked, events, exposition, health, oas, openapi, page, stream, token};
use crate::web::{Answers, Peer};

/// The routes that answer anybody who can connect, whatever token he shows.
const FOR_ANYBODY: [&str; 4] = ["/healthz", "/readyz", "/login", "/assets/{name}"];

const GET: (&str, MethodFilter) = ("GET", MethodFilter::GET);
const POST: (&str, MethodFilter) = ("POST", MethodFilter::POST);
const PUT: (&str, MethodFilter) = ("PUT", MethodFilter::PUT);
const DELETE: (&str, MethodFilter) = ("DELETE", MethodFilter::DELETE);

/// One route: its method, its path, and who answers.
struct Route(&'static str, &'static str, MethodRouter<Arc<Api>>);

const TOKEN: &str = "/v1/oas/{oa_id}/token";

/// Those of programs; `openapi.json` is held to these.
fn table() -> [Route; 14] {
    [
        route(GET, "/v1/oas", oas::list),
        route(GET, "/v1/oas/{oa_id}", oas::one),
        route(PUT, "/v1/oas/{oa_id}", oas::enlist),
        route(DELETE, "/v1/oas/{oa_id}", oas::dismiss),
        route(GET, "/v1/oas/{oa_id}/history", oas::history),
        route(GET, TOKEN, token::get),
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

/// Those of people.
fn pages() -> [Route; 8] {
    [
        route(GET, "/", page::home),
        route(GET, "/oas/{oa_id}", page::one),
        route(GET, "/oas/{oa_id}/authorize", page::back),
        route(POST, "/oas/{oa_id}/authorize", page::authorize),
        route(GET, "/login", page::form),
        route(POST, "/login", page::enter),
        route(POST, "/logout", page::end),
        route(GET, "/assets/{name}", page::asset),
    ]
}

fn route<H, T>((method, filter): (&'static str, MethodFilter), path: &'static str, answer: H) -> Route
where
    H: Handler<T, Arc<Api>>,
    T: 'static,
{
    Route(method, path, on(filter, answer))
}

type Named = Vec<(&'static str, &'static str)>;

fn named(routes: &[Route]) -> Named {
    routes.iter().map(|Route(method, path, _)| (*method, *path)).collect()
}

/// The method and the path of each route of programs.
pub(super) fn of_programs() -> impl Iterator<Item = (&'static str, &'static str)> {
    static ALL: LazyLock<Named> = LazyLock::new(|| named(&table()));
    ALL.iter().copied()
}

/// Of each route of people.
fn of_people() -> impl Iterator<Item = (&'static str, &'static str)> {
    static ALL: LazyLock<Named> = LazyLock::new(|| named(&pages()));
    ALL.iter().copied()
}

/// Of each route.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    of_programs().chain(of_people())
}

/// Is this one of the pages' routes?
fn is_page(template: &str) -> bool {
    of_people().any(|(_, page)| page == template)
}

/// The template of the route that this path is one of, whatever the method is.
fn template_of(path: &str) -> Option<&'static str> {
    let fits = |template: &str| {
        let (mut wanted, mut found) = (template.split('/'), path.split('/'));
        loop {
            match (wanted.next(), found.next()) {
                (None, None) => return true,
                (Some(wanted), Some(found))
                    if wanted == found || wanted.starts_with('{') && !found.is_empty() => {}
                _ => return false,
            }
        }
    };
    // What is nearly always asked for comes first.
    std::iter::once(TOKEN).chain(all().map(|(_, template)| template)).find(|template| fits(template))
}

/// What every request comes in by, and every answer goes out by.
#[derive(Clone)]
pub(super) struct Entrance {
    api: Arc<Api>,
    router: Router,
}

impl Entrance {
    pub(super) fn of(api: &Arc<Api>) -> Entrance {
        let router = table()
            .into_iter()
            .chain(pages())
            .fold(Router::new(), |router, Route(_, path, answer)| router.route(path, answer))
            .fallback(async || Problem::no_such_route())
            .method_not_allowed_fallback(async || Problem::method_not_allowed())
            .with_state(Arc::clone(api));
        Entrance { api: Arc::clone(api), router }
    }
}

impl Answers for Entrance {
    /// Answers, and counts how long that took.
    async fn answer(mut self, peer: Arc<Peer>, mut request: Request) -> Response {
        let began = Instant::now();
        let (method, route) = (request.method().clone(), template_of(request.uri().path()));
        let is_page = route.is_some_and(is_page);
        let mut caller = Caller::of(peer, request.headers());
        // What a browser sends by itself changes nothing but through the forms of the pages.
        if is_page || is_safe(&method) {
            caller = page::with_session(&self.api, caller, request.headers());
        }
        let mut response = match admit(&self.api, &caller, &request, route) {
            Ok(()) => {
                request.extensions_mut().insert(caller);
                self.router.call(request).await.unwrap_or_else(|never| match never {})
            }
            Err(problem) if is_page => page::refused(request.uri(), request.headers(), problem),
            Err(problem) => problem.into_response(),
        };
        if is_page {
            page::guard(&self.api, &mut response);
        }
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().entry(header::CACHE_CONTROL).or_insert(no_store);
        self.api.metrics.answered(route, method.as_str(), response.status(), began.elapsed());
        response
    }
}

/// What every request has to pass.
fn admit(api: &Api, caller: &Caller, request: &Request, route: Option<&str>) -> Result<(), Problem> {
    let is_stranger = api.rights().is_stranger(caller);
    let account = if is_stranger { caller.peer.account() } else { caller.account() };
    if let Err(wait) = api.rate.admit(account) {
        return Err(Problem::too_many(wait, "this peer asks more often than [api] rate allows"));
    }
    if is_stranger && !route.is_some_and(|route| FOR_ANYBODY.contains(&route)) {
        events::access_denied(&api.audit, caller, None, None);
        return Err(Problem::unauthorized());
    }
    // What changes something is not done because a web page has a browser ask for it, unless it is a page of ours.
    let (headers, is_page) = (request.headers(), route.is_some_and(is_page));
    if is_safe(request.method()) || !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    match (is_page, page::is_from_here(headers)) {
        (true, true) => Ok(()),
        (true, false) => Err(Problem::denied(
            "this comes from a page of another address than it goes to; a proxy has to pass the header Host on",
        )),
        (false, _) => Err(Problem::denied("requests of web pages change nothing here")),
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_by_its_template() {
        for (path, template) in [
            ("/v1/oas", Some("/v1/oas")),
            ("/v1/oas/7/token", Some(TOKEN)),
            ("/v1/oas/%37/token", Some(TOKEN)),
            ("/v1/oas//token", None),
            ("/v1/oas/7/token/", None),
            ("/v1/oas/7/tokens", None),
            ("/", Some("/")),
            ("/login", Some("/login")),
            ("/oas/7", Some("/oas/{oa_id}")),
            ("/oas/", None),
            ("/assets/x", Some("/assets/{name}")),
            ("", None),
            ("/healthz", Some("/healthz")),
        ] {
            assert_eq!(template_of(path), template, "{path}");
        }
    }
}
