//! What the vendor is asked, by a program with a key: for a link, and how an OA stands. Reads the request, says what is
//! wrong with its form, and answers in the form of the vendor's document or, of the other style, with a bare `url`. May
//! import clock and id.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::fault::{VendorAnswer, VendorData, VendorFault};
use crate::clock::Clock;
use crate::id::OaId;
use crate::simulator::connection::{Connection, Head, Next, Reply, content_type, reason};
use crate::simulator::kind::{Kind, VendorQuestion};
use crate::simulator::ledger::Subject;
use crate::simulator::server;
use crate::simulator::shared::{Locked, Shared};

/// How a key is brought, and an answer given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum Style {
    /// The header `API-KEY`; `code`, `data`, `message` and `referentId`.
    ApiKey,
    /// The header `Authorization: Bearer`; a bare `url`.
    Bearer,
}

/// What is asked at this path, if it is one of the vendor's.
pub(in crate::simulator) fn asked(path: &str) -> Option<(VendorQuestion, Style)> {
    match path {
        "/api/vendor/v1/zalo/refresh-token" => Some((VendorQuestion::ConsentLink, Style::ApiKey)),
        "/api/vendor/v1/zalo/get-shop-oa" => Some((VendorQuestion::ShopOa, Style::ApiKey)),
        other if other.ends_with(".Zalo/RefreshToken") => Some((VendorQuestion::ConsentLink, Style::Bearer)),
        _ => None,
    }
}

/// Serves one such request, the head of which has been read.
pub(in crate::simulator) async fn serve(
    shared: &Shared,
    connection: &mut Connection,
    head: &Head,
    (asked, style): (VendorQuestion, Style),
) -> Next {
    let length = match head.body_length() {
        Ok(length) => length,
        Err(why) => {
            shared.lock().violation(connection.number, &Subject::default(), why);
            return server::close_with(connection, &Reply::text(400, why)).await;
        }
    };
    if connection.fill_to(length).await.is_err() {
        return Next::Close;
    }
    let body = connection.take(length);
    let oa = oa_of(&body);
    let ending = {
        let mut locked = shared.lock();
        let subject = Subject { oa_id: oa.clone(), ..Subject::default() };
        let fault = locked.core.vendor.faults.take(asked, oa.as_ref());
        let described = fault.as_ref().map(|fault| Arc::from(fault.describe()));
        let ending = decide(shared, &locked, head, style, asked, oa.as_ref(), fault);
        let status = if let Ending::Reply(reply) = &ending { Some(reply.status) } else { None };
        // It stands before the client can act on the answer.
        let kind = Kind::VendorAsked { what: asked, status };
        locked.record(Some(connection.number), &subject, kind, described.as_ref());
        for violation in violations(head, style, oa.is_some()) {
            locked.violation(connection.number, &subject, violation);
        }
        ending
    };
    match ending {
        Ending::Reply(reply) => server::keep_open_with(connection, head, &reply).await,
        Ending::Stall => {
            connection.gone().await;
            Next::Close
        }
        Ending::Close => Next::Close,
        Ending::Reset => Next::Reset,
    }
}

/// The OA of a body that is as it should be: one field, and nothing else.
fn oa_of(body: &[u8]) -> Option<OaId> {
    let fields: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let oa = fields.get("oa_id")?.as_str().filter(|oa| !oa.is_empty())?;
    (fields.len() == 1).then(|| OaId::from(oa))
}

/// Every rule of form that the request breaks, a sentence each.
fn violations(head: &Head, style: Style, body_fits: bool) -> Vec<String> {
    let (own, foreign) = match style {
        Style::ApiKey => ("api-key", "authorization"),
        Style::Bearer => ("authorization", "api-key"),
    };
    let is_json = head
        .header("content-type")
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"));
    let takes_all = style == Style::Bearer || head.header("accept") == Some("*/*");
    let mut found = Vec::new();
    let mut hold = |holds: bool, sentence: &str| {
        if !holds {
            found.push(format!("to a vendor: {sentence}"));
        }
    };
    hold(head.method == "POST", "the method is not POST");
    hold(head.query.is_none(), "the URL has a query");
    hold(head.header(own).is_some(), &format!("the header {own} is missing"));
    hold(
        key(head, style).is_some() || head.header(own).is_none(),
        "the header authorization is not of the kind Bearer",
    );
    hold(is_json, "the Content-Type is not application/json");
    hold(takes_all, "the header accept is not */*");
    hold(body_fits, "the body is not {\"oa_id\": \"…\"}");
    for name in [foreign, "secret_key", "access_token"] {
        hold(head.header(name).is_none(), &format!("the header {name} has no business there"));
    }
    found
}

fn key(head: &Head, style: Style) -> Option<&str> {
    match style {
        Style::ApiKey => head.header("api-key"),
        Style::Bearer => head.header("authorization")?.strip_prefix("Bearer "),
    }
}

/// How the vendor answers, if it does.
enum Ending {
    Reply(Reply),
    Stall,
    Close,
    Reset,
}

fn decide(
    shared: &Shared,
    locked: &Locked<'_>,
    head: &Head,
    style: Style,
    asked: VendorQuestion,
    oa: Option<&OaId>,
    fault: Option<VendorFault>,
) -> Ending {
    let vendor = &locked.core.vendor;
    let usual = oa.and_then(|oa| match asked {
        VendorQuestion::ConsentLink => {
            vendor.link(oa, &locked.core.model.variant).map(|url| json!({ "url": url }))
        }
        VendorQuestion::ShopOa => vendor.shop_oa(oa, shared.clock.now()),
    });
    let answer = match fault {
        None => {
            let status = match (head.method.as_str(), key(head, style), oa) {
                ("POST", Some(key), _) if !vendor.knows_key(key) => 401,
                ("POST", None, _) => 401,
                ("POST", Some(_), None) => 400,
                ("POST", Some(_), Some(_)) => {
                    if usual.is_some() {
                        200
                    } else {
                        404
                    }
                }
                (_, _, _) => 405,
            };
            let data = if status == 200 { VendorData::Usual } else { VendorData::Missing };
            VendorAnswer { status, data, ..VendorAnswer::default() }
        }
        Some(VendorFault::Answer(answer)) => answer,
        Some(VendorFault::Huge { bytes }) => VendorAnswer {
            data: VendorData::Usual,
            message: Some("x".repeat(bytes)),
            ..VendorAnswer::default()
        },
        Some(VendorFault::Raw { status, body }) => {
            return Ending::Reply(Reply::new(status, &[content_type("application/json")], &body.0));
        }
        Some(VendorFault::Stall) => return Ending::Stall,
        Some(VendorFault::Close) => return Ending::Close,
        Some(VendorFault::Reset) => return Ending::Reset,
    };
    Ending::Reply(written(style, answer, usual))
}

/// The answer in the words of its style.
fn written(style: Style, answer: VendorAnswer, usual: Option<Value>) -> Reply {
    let mut headers = vec![content_type("application/json")];
    headers.extend(answer.headers);
    if answer.status == 204 {
        return Reply::new(204, &headers[1..], b"");
    }
    let data = match answer.data {
        VendorData::Usual => usual,
        VendorData::Missing => None,
        VendorData::Link(url) => Some(json!({ "url": url })),
        VendorData::Json(data) => Some(data),
    };
    let body = match style {
        Style::ApiKey => json!({
            "code": answer.code.unwrap_or_else(|| Value::from(answer.status)),
            "data": data,
            "message": answer.message.unwrap_or_else(|| reason(answer.status).to_owned()),
            "referentId": answer.referent_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        }),
        Style::Bearer => bare(answer.status, data, answer.message),
    };
    Reply::new(answer.status, &headers, body.to_string().as_bytes())
}

/// The data and nothing else; a message where there is one, or none but the status.
fn bare(status: u16, data: Option<Value>, message: Option<String>) -> Value {
    let message = message.or_else(|| (status >= 300).then(|| reason(status).to_owned()));
    let mut body = data.unwrap_or_else(|| json!({}));
    if let (Some(fields), Some(message)) = (body.as_object_mut(), message) {
        fields.insert("message".to_owned(), Value::from(message));
    }
    body
}
