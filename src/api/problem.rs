//! What goes wrong, as RFC 9457 has it: JSON with a stable word for programs and a sentence for people.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::of_type;
use crate::id::{OaId, VendorId};
use crate::store::State;

/// A problem.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// The stable word.
    kind: &'static str,
    /// A sentence that says what to do.
    detail: String,
    more: Map<String, Value>,
    retry_after: Option<Duration>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, kind, detail: detail.into(), more: Map::new(), retry_after: None }
    }

    /// Something is wrong with the request itself.
    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// The body is longer than any that makes sense.
    pub(super) fn too_large() -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is longer than 64 KiB")
    }

    /// The body does not come in a while.
    pub(super) fn too_slow() -> Problem {
        let detail = "the body did not come in time; send it at once";
        Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail)
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The stable word.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    /// The caller may not do this.
    pub(super) fn denied(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "access_denied", detail)
    }

    /// The token that the caller shows is nobody's.
    pub(super) fn unauthorized() -> Problem {
        let detail = "show a token that [[access]] knows: Authorization: Bearer TOKEN";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// There is no such route.
    pub(super) fn no_such_route() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "no_such_route", "the routes stand in /openapi.json")
    }

    /// The route does not know this method.
    pub(super) fn method_not_allowed() -> Problem {
        let detail = "this route has no such method; the routes stand in /openapi.json";
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }

    /// Neither the config nor the store has this OA.
    pub(super) fn no_such_oa(oa_id: &OaId) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "no_such_oa", format!("neither config nor store has OA {oa_id}"))
    }

    /// It has no access token that can be used now.
    pub(super) fn no_valid_token(oa_id: &OaId, state: State, reason: Option<&str>) -> Problem {
        let detail = format!("OA {oa_id} has no valid access token now (state {})", state.word());
        let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_valid_token", detail);
        problem.more.insert("state".to_owned(), state.word().into());
        problem.more.insert("reason".to_owned(), reason.into());
        problem
    }

    /// A vendor keeps its tokens, so there is none to hand out.
    pub(super) fn none_of_vendors(
        oa_id: &OaId,
        vendor: &VendorId,
        state: State,
        reason: Option<&str>,
    ) -> Problem {
        let mut problem = Problem::no_valid_token(oa_id, state, reason);
        problem.detail = format!("OA {oa_id} is held by vendor {vendor}, which keeps its tokens");
        problem.more.insert("vendor".to_owned(), vendor.as_str().into());
        problem
    }

    /// A vendor keeps its tokens, so nothing is done about them here.
    pub(super) fn held_by_vendor(oa_id: &OaId, vendor: &VendorId) -> Problem {
        let detail = format!("OA {oa_id} is held by vendor {vendor}, which keeps its tokens");
        let mut problem = Problem::conflict("held_by_vendor", detail);
        problem.more.insert("vendor".to_owned(), vendor.as_str().into());
        problem
    }

    /// The store cannot be read or does not take it.
    pub(super) fn store(what: &str) -> Problem {
        let detail = format!("the store cannot be used now: {what}; free or repair the disk, and try again");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail)
    }

    /// It cannot be done now.
    pub(super) fn not_now(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_now", detail)
    }

    /// A refresh was tried and failed; its token is unspent.
    pub(super) fn refresh_failed(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_GATEWAY, "refresh_failed", detail)
    }

    /// It stands against how things are.
    pub(super) fn conflict(kind: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, kind, detail)
    }

    /// The caller asks too often.
    pub(super) fn too_many(retry_after: Duration, detail: impl Into<String>) -> Problem {
        let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail);
        problem.retry_after = Some(retry_after);
        problem
    }

    /// The daemon ends.
    pub(super) fn stopping() -> Problem {
        Problem::not_now("the daemon is stopping; ask again after its next start")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { status, kind, detail, more, retry_after } = self;
        let mut body = json!({
            "type": kind,
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": detail,
        });
        if let Value::Object(body) = &mut body {
            body.extend(more);
        }
        let mut response = of_type("application/problem+json", body.to_string());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if let Some(wait) = retry_after {
            // Whole seconds, and not too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_whole_seconds_that_are_not_too_few() {
        let told = |millis| {
            let response = Problem::too_many(Duration::from_millis(millis), "x").into_response();
            response.headers()[header::RETRY_AFTER].to_str().expect("text").to_owned()
        };
        assert_eq!([told(0), told(1_000), told(1_001)], ["1", "1", "2"]);
    }
}
