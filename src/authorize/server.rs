//! The server that people's browsers come to: what each address is answered.
//!
//! What is asked for stands in the query alone: a proxy may have any path lead here, as long as it leaves the query as it is.
//! HEAD is answered as GET is, and begins nothing: only a POST, which no preview of a link sends, has a person sent to Zalo.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::desk::{Back, Desk, Guest, NoConsent};
use super::events::{self, Audit};
use super::link::{self, BadLink};
use crate::id::OaId;
use crate::oauth::Callback;
use crate::page::consent::{Oa, Offer, Told, offer, told};
use crate::page::{Asset, Lang, Policy, assets};
use crate::web::{Answers, Peer, Rate, serve};

/// How many browsers are answered at once. Each asks two or three times.
const MOST_CONNECTIONS: u32 = 256;
/// How many requests of one address are answered a second, in the long run. All that come through a proxy have one.
const RATE: u32 = 200;
/// How many times a second somebody is sent out for one OA, in the long run: each time costs the store a row and a sync, and
/// the log a line, and whoever has a link can ask for it as often as he likes.
const DEPARTURES: u32 = 2;
/// The longest query that is looked at.
const LONGEST_QUERY: usize = 8 * 1024;

/// The address, listening.
pub struct Listener(TcpListener);

impl Listener {
    /// Listens there.
    ///
    /// # Errors
    /// When that cannot be.
    pub fn open(address: SocketAddr) -> std::io::Result<Listener> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Listener)
    }

    /// Answers until the daemon stops.
    pub async fn serve(self, desk: Arc<dyn Desk>, stop: CancellationToken) {
        if let Ok(address) = self.0.local_addr() {
            events::listening(&address.to_string());
        }
        serve(self.0, Server::of(desk), MOST_CONNECTIONS, &stop).await;
    }
}

/// Who answers.
#[derive(Clone)]
pub(super) struct Server(Arc<Inner>);

impl Server {
    pub(super) fn of(desk: Arc<dyn Desk>) -> Server {
        let (rate, departures) = (Rate::of(RATE), Rate::of(DEPARTURES));
        Server(Arc::new(Inner { desk, audit: Audit::default(), rate, departures }))
    }
}

struct Inner {
    desk: Arc<dyn Desk>,
    audit: Audit,
    rate: Rate,
    departures: Rate<OaId>,
}

/// What is asked for.
enum Asked {
    /// The page that a link leads to, and with `true` to be sent on from it.
    Link(String, bool),
    /// What somebody came back with.
    Callback(Callback),
    Asset(&'static Asset),
    /// Nothing that there is.
    Nothing,
}

impl Answers for Server {
    async fn answer(self, peer: Arc<Peer>, request: Request<Body>) -> Response {
        let inner = &self.0;
        if let Err(wait) = inner.rate.admit(peer.account()) {
            return too_many(wait);
        }
        let lang = lang_of(&request);
        match asked(&request) {
            Asked::Asset(asset) => of_asset(asset),
            Asked::Nothing => inner.page(StatusCode::NOT_FOUND, &told(lang, &Told::UnknownState)),
            Asked::Link(text, is_to_go) => inner.link(&peer, lang, &text, is_to_go).await,
            Asked::Callback(callback) => {
                let back = inner.desk.come_back(callback).await;
                inner.audit.came_back(&peer, &back);
                inner.page(status_of(&back), &inner.told_of(lang, &back))
            }
        }
    }
}

fn asked(request: &Request<Body>) -> Asked {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let is_looked_at = matches!(*request.method(), Method::GET | Method::HEAD);
    if let Some(asset) = assets::at(path).filter(|_| is_looked_at) {
        return Asked::Asset(asset);
    }
    if query.len() > LONGEST_QUERY || !(is_looked_at || request.method() == Method::POST) {
        return Asked::Nothing;
    }
    let found = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == link::PARAMETER);
    if let Some((_, text)) = found {
        return Asked::Link(text.into_owned(), request.method() == Method::POST);
    }
    let callback = Callback::read(query);
    if request.method() == Method::GET && (callback.state.is_some() || callback.code.is_some()) {
        return Asked::Callback(callback);
    }
    Asked::Nothing
}

fn lang_of(request: &Request<Body>) -> Lang {
    let value = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    Lang::of(None, value(header::COOKIE), value(header::ACCEPT_LANGUAGE))
}

impl Inner {
    async fn link(&self, peer: &Peer, lang: Lang, text: &str, is_to_go: bool) -> Response {
        let guest = match self.desk.guest(text).await {
            Ok(guest) => guest,
            Err(bad) => {
                self.audit.bad_link(peer, bad);
                let told = match bad {
                    BadLink::Forged => Told::LinkInvalid,
                    BadLink::Ended => Told::LinkExpired,
                };
                return self.page(StatusCode::NOT_FOUND, &self::told(lang, &told));
            }
        };
        let Guest { oa_id, name, deadline, is_done } = guest;
        let oa = Oa { id: oa_id.as_str(), name: name.as_deref() };
        if is_done {
            return self.page(StatusCode::OK, &told(lang, &Told::AlreadyGranted { oa }));
        }
        if !is_to_go {
            let action = format!("?{}={text}", link::PARAMETER);
            let offered = Offer { oa_id: oa.id, name: oa.name, action: &action, deadline };
            return self.page(StatusCode::OK, &offer(lang, &offered));
        }
        if let Err(wait) = self.departures.admit(oa_id.clone()) {
            return too_many(wait);
        }
        match self.desk.begin(oa_id.clone()).await {
            Ok(url) => {
                let mut response = self.page(StatusCode::SEE_OTHER, "");
                match HeaderValue::from_str(url.as_str()) {
                    Ok(place) => drop(response.headers_mut().insert(header::LOCATION, place)),
                    Err(_) => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
                }
                response
            }
            Err(NoConsent::NotNow(detail) | NoConsent::Impossible(detail)) => {
                self.page(StatusCode::SERVICE_UNAVAILABLE, &told(lang, &Told::NotNow { detail: &detail }))
            }
        }
    }

    /// The page for somebody who came back.
    fn told_of(&self, lang: Lang, back: &Back) -> String {
        // Of the OA that he was sent out for; whoever names another one in his query learns nothing of it.
        let name = back.oa_id().and_then(|oa_id| self.desk.name_of(oa_id));
        told(lang, &told_of(back, name.as_deref()))
    }

    fn page(&self, status: StatusCode, html: &str) -> Response {
        let mut response = Response::new(Body::from(html.to_owned()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        for (name, value) in (Policy { form_targets: self.desk.origins() }).headers() {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

fn too_many(wait: Duration) -> Response {
    let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "Too many requests.\n");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

fn of_asset(asset: &'static Asset) -> Response {
    let mut response = plain(StatusCode::OK, asset.body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(Asset::CACHE_CONTROL));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// For monitoring in front: a browser shows the page whatever the status is.
fn status_of(back: &Back) -> StatusCode {
    match back {
        Back::Granted { .. } | Back::AlreadyGranted { .. } => StatusCode::OK,
        Back::Checking { .. } | Back::InProgress { .. } => StatusCode::ACCEPTED,
        Back::UnknownState => StatusCode::NOT_FOUND,
        Back::StateExpired { .. } => StatusCode::GONE,
        Back::Declined { .. } | Back::OtherOa { .. } | Back::CodeRefused { .. } | Back::SetRefused { .. } => {
            StatusCode::CONFLICT
        }
        Back::AnswerLost { .. } | Back::NotReached { .. } | Back::AppRefused { .. } => {
            StatusCode::BAD_GATEWAY
        }
        Back::Stopping | Back::NotNow(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// What a person is told of an OA with this name.
fn told_of<'t>(back: &'t Back, name: Option<&'t str>) -> Told<'t> {
    let oa = |oa_id: &'t OaId| Oa { id: oa_id.as_str(), name };
    match back {
        Back::Granted { oa_id, generation: _, next_refresh_at } => {
            Told::Granted { oa: oa(oa_id), next_refresh_at: *next_refresh_at }
        }
        Back::Checking { oa_id } => Told::Checking { oa: oa(oa_id) },
        Back::InProgress { oa_id } => Told::InProgress { oa: oa(oa_id) },
        Back::AlreadyGranted { oa_id } => Told::AlreadyGranted { oa: oa(oa_id) },
        Back::Declined { oa_id } => Told::Declined { oa: oa(oa_id) },
        Back::OtherOa { wanted, got } => {
            let id = got.as_ref().map_or("?", OaId::as_str);
            let got = Oa { id, name: None };
            Told::OtherOa { wanted: oa(wanted), got }
        }
        Back::UnknownState => Told::UnknownState,
        Back::StateExpired { oa_id } => Told::StateExpired { oa: oa(oa_id) },
        Back::CodeRefused { oa_id } => Told::CodeRefused { oa: oa(oa_id), code: None },
        Back::AnswerLost { oa_id } => Told::AnswerLost { oa: oa(oa_id) },
        Back::NotReached { oa_id, detail } => Told::NotReached { oa: oa(oa_id), detail },
        Back::AppRefused { oa_id } => Told::AppRefused { oa: oa(oa_id) },
        Back::SetRefused { oa_id, why } if why == "superseded" => Told::AlreadyGranted { oa: oa(oa_id) },
        Back::SetRefused { oa_id, .. } => Told::CodeRefused { oa: oa(oa_id), code: None },
        Back::Stopping => Told::Stopping,
        Back::NotNow(detail) => Told::NotNow { detail },
    }
}
