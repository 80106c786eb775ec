//! One request for a page: who asks, in which language, and how he is answered.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::SESSION_COOKIE;
use crate::api::caller::Caller;
use crate::api::problem::Problem;
use crate::api::{Api, body, events, of_type};
use crate::clock::Time;
use crate::config::{self, EVENTS, Verb};
use crate::id::OaId;
use crate::page::{self, Lang, Trouble, Viewer};

/// Why somebody does not get what he asks for.
pub(super) enum Refusal {
    /// As the API has it.
    Problem(Problem),
    /// He may read nothing; he is sent to where he can show a token, with the OA that he wants to see.
    SignIn(Option<OaId>),
    /// As only the pages have it.
    Trouble(StatusCode, Trouble, String),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal::Problem(problem)
    }
}

/// A request for a page.
pub(in crate::api) struct Visit {
    pub(super) api: Arc<Api>,
    pub(super) caller: Caller,
    pub(super) lang: Lang,
    pub(super) now: Time,
    /// What the forms of the page are known by.
    pub(super) csrf: String,
    /// The language that the query asks for.
    chosen: Option<Lang>,
    /// Does a proxy say that the browser speaks TLS?
    is_secure: bool,
    query: String,
}

impl FromRequestParts<Arc<Api>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Visit, Response> {
        let caller = Extension::<Caller>::from_request_parts(parts, api).await;
        let Extension(caller) = caller.map_err(IntoResponse::into_response)?;
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let chosen = field(query.as_bytes(), "lang").and_then(|code| Lang::named(&code));
        let now = api.clock.now();
        Ok(Visit {
            csrf: api.seal.csrf(&caller, now),
            api: Arc::clone(api),
            caller,
            lang: lang(query.as_bytes(), &parts.headers),
            now,
            chosen,
            is_secure: text(&parts.headers, "x-forwarded-proto").is_some_and(|proto| proto == "https"),
            query,
        })
    }
}

impl Visit {
    /// Who looks at the page, as the page has it.
    pub(super) fn viewer(&self) -> Viewer<'_> {
        Viewer {
            lang: self.lang,
            now: self.now,
            csrf: &self.csrf,
            has_session: self.caller.has_session,
            events: &EVENTS,
        }
    }

    /// The OA that this part of the query names, if an OA can be named so.
    pub(super) fn oa_in_query(&self, name: &str) -> Option<OaId> {
        oa_in(self.query.as_bytes(), name)
    }

    /// May he read anything?
    pub(super) fn may_look(&self, wanted: Option<&OaId>) -> Result<(), Refusal> {
        let may = self.api.rights().may_any(&self.caller, Verb::Read);
        may.then_some(()).ok_or_else(|| Refusal::SignIn(wanted.cloned()))
    }

    /// The fields of a form that came from a page of ours.
    pub(super) async fn form(
        &self,
        sent: Body,
        verb: Option<Verb>,
        oa_id: Option<&OaId>,
    ) -> Result<Vec<u8>, Refusal> {
        let sent = body::whole(sent).await?;
        let csrf = field(&sent, "csrf").unwrap_or_default();
        if self.api.seal.is_of_our_form(&csrf, &self.caller, self.now) {
            return Ok(sent);
        }
        events::access_denied(&self.api.audit, &self.caller, verb, oa_id);
        Err(Refusal::Trouble(StatusCode::FORBIDDEN, Trouble::FormNotOurs, String::new()))
    }

    /// What he is answered.
    pub(super) fn answer(&self, outcome: Result<Response, Refusal>) -> Response {
        match outcome {
            Ok(response) => response,
            Err(Refusal::Problem(problem)) => self.with_choice(refused(self.lang, problem)),
            Err(Refusal::SignIn(None)) => self.sent_to("/login"),
            Err(Refusal::SignIn(Some(oa_id))) => self.sent_to(&format!("/login?oa={oa_id}")),
            Err(Refusal::Trouble(status, trouble, detail)) => {
                let mut response = self.page(page::trouble(self.lang, trouble, &detail));
                *response.status_mut() = status;
                response
            }
        }
    }

    /// This page. Keeps the language that was chosen.
    pub(super) fn page(&self, html: String) -> Response {
        self.with_choice(of_type(HTML, html))
    }

    /// To this address of this server, or to that of a consent.
    pub(super) fn sent_to(&self, address: &str) -> Response {
        let mut response = StatusCode::SEE_OTHER.into_response();
        match HeaderValue::from_str(address) {
            Ok(address) => drop(response.headers_mut().insert(header::LOCATION, address)),
            Err(_) => return self.answer(Err(Problem::not_now("the address is none").into())),
        }
        self.with_choice(response)
    }

    /// With this session, or with the end of it.
    pub(super) fn with_session(&self, mut response: Response, session: &str, seconds: u64) -> Response {
        let cookie =
            format!("{SESSION_COOKIE}={session}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict");
        self.set_cookie(&mut response, cookie);
        response
    }

    fn with_choice(&self, mut response: Response) -> Response {
        if let Some(lang) = self.chosen {
            self.set_cookie(&mut response, lang.cookie());
        }
        response
    }

    fn set_cookie(&self, response: &mut Response, mut cookie: String) {
        if self.is_secure {
            cookie.push_str("; Secure");
        }
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
}

const HTML: &str = "text/html; charset=utf-8";

/// The language of who sends this query with these headers.
pub(super) fn lang(query: &[u8], headers: &HeaderMap) -> Lang {
    let chosen = field(query, "lang");
    Lang::of(chosen.as_deref(), text(headers, "cookie"), text(headers, "accept-language"))
}

/// A problem, as a page.
pub(super) fn refused(lang: Lang, problem: Problem) -> Response {
    let trouble = match problem.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Trouble::NotAllowed,
        StatusCode::NOT_FOUND => Trouble::NotFound,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
            Trouble::NotUnderstood
        }
        StatusCode::TOO_MANY_REQUESTS => Trouble::TooOften,
        _ => Trouble::NotNow,
    };
    let html = page::trouble(lang, trouble, problem.detail());
    let mut response = problem.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(HTML));
    *response.body_mut() = html.into();
    response
}

/// A header, if it is text.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The first field of this name in a form or a query.
pub(super) fn field(form: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(form).find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}

/// The OA that a field names, if an OA can be named so.
pub(super) fn oa_in(form: &[u8], name: &str) -> Option<OaId> {
    field(form, name).filter(|oa_id| config::check_id(oa_id).is_ok()).map(OaId::from)
}
