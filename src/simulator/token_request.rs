//! Reads a request for tokens out of a head and a body, and finds what is wrong with its form. Pure; may import
//! id and secret.

use super::connection::Head;
use super::model::Request;
use crate::id::AppId;
use crate::secret::Secret;

/// A request, and every rule of form that it breaks, a sentence each.
pub(super) struct Read {
    pub(super) request: Request,
    pub(super) violations: Vec<String>,
}

/// Reads the request. Whatever is missing is read as empty.
pub(super) fn read(head: &Head, body: &[u8]) -> Read {
    let mut violations = Vec::new();
    let fields: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let app_secret = head.header("secret_key").map(|text| Secret::new(text.to_owned()));
    if app_secret.is_none() {
        violations.push("the header secret_key is missing".to_owned());
    }
    let is_form = head
        .header("content-type")
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    if !is_form {
        violations.push("the Content-Type is not application/x-www-form-urlencoded".to_owned());
    }
    if !is_urlencoded(body) {
        violations.push("the body is not urlencoded".to_owned());
    }
    if !head.is_http_1_1 {
        violations.push("the request is not HTTP/1.1".to_owned());
    }
    if head.query.is_some() {
        violations.push("the URL has a query".to_owned());
    }
    for name in ["refresh_token", "app_id", "grant_type"] {
        match fields.iter().filter(|(other, _)| other == name).count() {
            0 => violations.push(format!("the field {name} is missing")),
            1 => {}
            more => violations.push(format!("the field {name} is there {more} times")),
        }
    }
    if fields.iter().any(|(name, _)| name == "secret_key") {
        violations.push("the app secret is in the body".to_owned());
    }
    if fields.last().is_some_and(|(name, _)| name != "refresh_token") {
        violations.push("refresh_token is not the last field".to_owned());
    }
    let field = |name: &str| {
        let found = fields.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let request = Request {
        grant_type: field("grant_type"),
        app: AppId::from(field("app_id")),
        app_secret,
        refresh: Secret::new(field("refresh_token")),
    };
    Read { request, violations }
}

/// The value of `refresh_token` in a body whose last byte is missing.
pub(super) fn refresh_token_so_far(body: &[u8]) -> Option<String> {
    let fields = form_urlencoded::parse(body);
    fields.filter(|(name, _)| name == "refresh_token").map(|(_, value)| value.into_owned()).last()
}

fn is_urlencoded(body: &[u8]) -> bool {
    body.iter().all(|byte| byte.is_ascii_alphanumeric() || b"*-._+%=&".contains(byte) || *byte == b'~')
}
