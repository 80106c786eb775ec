//! The permission page, `/v4/oa/permission`, on which an administrator gives consent in a browser: shows it, and takes
//! its form. What is decided there is `consent`'s. May import id.

use super::connection::{Connection, Head, Next, Reply};
use super::consent::{self, Asked, Refusal};
use super::html::{escaped, hidden, page};
use super::server;
use super::shared::{Locked, Shared};
use crate::id::OaId;

/// Where consent is asked for.
pub(super) const PATH: &str = "/v4/oa/permission";

const TITLE: &str = "Zalo (simulator)";

/// Serves one request for the page or with its form, the head of which has been read.
pub(super) async fn serve(shared: &Shared, connection: &mut Connection, head: &Head) -> Next {
    let Ok(length) = head.body_length() else { return Next::Close };
    if connection.fill_to(length).await.is_err() {
        return Next::Close;
    }
    let form = connection.take(length);
    let reply = {
        let mut locked = shared.lock();
        let query = head.query.as_deref().unwrap_or_default();
        let reply = match head.method.as_str() {
            "GET" => show(&locked, &Asked::read(query.as_bytes())),
            "POST" => decide(&mut locked, connection.number, &form),
            _ => Ok(Reply::html(405)),
        };
        reply.unwrap_or_else(refused)
    };
    server::keep_open_with(connection, head, &reply).await
}

fn show(locked: &Locked<'_>, asked: &Asked) -> Result<Reply, Refusal> {
    consent::admit(locked, asked)?;
    let app = asked.app();
    let oas: Vec<&OaId> = locked.core.consents.administered(&app).collect();
    let fields = [
        ("app_id", Some(&asked.app)),
        ("redirect_uri", Some(&asked.redirect_uri)),
        ("code_challenge", Some(&asked.challenge)),
        ("state", asked.state.as_ref()),
    ];
    let kept: String = fields.iter().filter_map(|(name, value)| Some(hidden(name, (*value)?))).collect();
    let mut content = format!(
        "<p>Ứng dụng <b>{app}</b> muốn thay mặt Official Account của bạn. / \
         App <b>{app}</b> asks to act for your Official Account.</p>\n\
         <form method=\"post\" action=\"{PATH}\">\n{kept}",
        app = escaped(&asked.app)
    );
    content.push_str(&choice(&oas));
    content.push_str("</form>\n");
    Ok(page(200, TITLE, &content))
}

/// The OAs, of which one can be chosen, and the buttons.
fn choice(oas: &[&OaId]) -> String {
    let mut text = String::new();
    if oas.is_empty() {
        text.push_str(
            "<p>Bạn không quản trị Official Account nào. / You administer no Official Account.</p>\n",
        );
    } else {
        let checked = if oas.len() == 1 { " checked" } else { "" };
        text.push_str("<fieldset>\n<legend>Official Account</legend>\n");
        for oa in oas {
            let oa = escaped(oa.as_str());
            text.push_str(&format!(
                "<label><input type=\"radio\" name=\"oa_id\" value=\"{oa}\" required{checked}> OA {oa}</label>\n"
            ));
        }
        text.push_str("</fieldset>\n<button name=\"decision\" value=\"allow\">Cho phép / Allow</button>\n");
    }
    // One can decline without having chosen.
    text.push_str("<button name=\"decision\" value=\"decline\" formnovalidate>Từ chối / Decline</button>\n");
    text
}

fn decide(locked: &mut Locked<'_>, connection: u64, form: &[u8]) -> Result<Reply, Refusal> {
    let asked = Asked::read(form);
    let field = |wanted: &str| {
        form_urlencoded::parse(form).find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    let place = match (field("decision").as_deref(), field("oa_id")) {
        (Some("allow"), Some(oa)) => consent::allow(locked, Some(connection), &asked, &OaId::from(oa))?,
        (Some("decline"), _) => consent::decline(locked, Some(connection), &asked)?,
        (Some("allow"), None) => return show(locked, &asked),
        (Some(_) | None, _) => return Err(Refusal { code: None, reason: "Nothing was decided" }),
    };
    let headers = [("Location", place.as_str()), ("Cache-Control", "no-store")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Reply::new(302, &headers, b""))
}

fn refused(refusal: Refusal) -> Reply {
    let code = refusal.code.map_or_else(String::new, |code| format!("error {code}: "));
    page(200, TITLE, &format!("<p role=\"alert\">{code}{}</p>\n", refusal.reason))
}
