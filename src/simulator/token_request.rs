//! Reads a request for tokens, with a refresh token or a code, out of a head and a body, and finds what is wrong with
//! its form. Pure; may import
//! id and secret.

use super::connection::Head;
use super::model::{CODE_GRANT, Request};
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
    let field = |name: &str| {
        let found = fields.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.clone())
    };
    let is_code = field("grant_type").as_deref() == Some(CODE_GRANT);
    let (presents, also): (&str, &[&str]) =
        if is_code { ("code", &["code_verifier"]) } else { ("refresh_token", &[]) };
    for name in [presents, "app_id", "grant_type"].iter().chain(also) {
        match fields.iter().filter(|(other, _)| other == *name).count() {
            0 => violations.push(format!("the field {name} is missing")),
            1 => {}
            more => violations.push(format!("the field {name} is there {more} times")),
        }
    }
    if fields.iter().any(|(name, _)| name == "secret_key") {
        violations.push("the app secret is in the body".to_owned());
    }
    if fields.last().is_some_and(|(name, _)| name != presents) {
        violations.push(format!("{presents} is not the last field"));
    }
    let verifier = field("code_verifier");
    if is_code && verifier.as_deref().is_some_and(|verifier| !is_verifier(verifier)) {
        violations
            .push("the code_verifier is not 43 to 128 letters, digits, '-', '.', '_' or '~'".to_owned());
    }
    let request = Request {
        grant_type: field("grant_type").unwrap_or_default(),
        app: AppId::from(field("app_id").unwrap_or_default()),
        app_secret,
        presented: Secret::new(field(presents).unwrap_or_default()),
        verifier: verifier.map(Secret::new),
    };
    Read { request, violations }
}

/// The value of `refresh_token` or `code` in a body whose last byte is missing.
pub(super) fn presented_so_far(body: &[u8]) -> Option<String> {
    let fields = form_urlencoded::parse(body);
    fields
        .filter(|(name, _)| name == "refresh_token" || name == "code")
        .map(|(_, value)| value.into_owned())
        .last()
}

/// Whether it is a code verifier (RFC 7636 section 4.1).
fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

fn is_urlencoded(body: &[u8]) -> bool {
    body.iter().all(|byte| byte.is_ascii_alphanumeric() || b"*-._+%=&".contains(byte) || *byte == b'~')
}
