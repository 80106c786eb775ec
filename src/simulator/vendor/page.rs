//! What the vendor's link leads to, where it leads to the simulator: a page on which a person consents. May import id.

use super::{consent, encoded};
use crate::id::OaId;
use crate::simulator::connection::{Connection, Head, Next, Reply};
use crate::simulator::html::{escaped, page};
use crate::simulator::server;
use crate::simulator::shared::Shared;

/// Below this stands the id of the OA.
pub(in crate::simulator) const PREFIX: &str = "/vendor/consent/";

const TITLE: &str = "Zalo (simulator)";

/// Where a person consents for this OA.
pub(super) fn path(oa: &OaId) -> String {
    format!("{PREFIX}{}", encoded(oa.as_str()))
}

/// Serves one request for the page or with its form, the head of which has been read.
pub(in crate::simulator) async fn serve(shared: &Shared, connection: &mut Connection, head: &Head) -> Next {
    let Ok(length) = head.body_length() else { return Next::Close };
    if connection.fill_to(length).await.is_err() {
        return Next::Close;
    }
    connection.take(length);
    let oa = shared.lock().core.vendor.oas.keys().find(|oa| path(oa) == head.path).cloned();
    let reply = match (head.method.as_str(), oa) {
        (_, None) => page(404, TITLE, "<p role=\"alert\">Không có OA này. / There is no such OA.</p>\n"),
        ("GET", Some(oa)) => offer(&oa),
        ("POST", Some(oa)) => {
            consent(shared, Some(connection.number), &oa);
            page(200, TITLE, "<p role=\"status\">Đã cấp quyền. / Authorized.</p>\n")
        }
        (_, Some(_)) => Reply::html(405),
    };
    server::keep_open_with(connection, head, &reply).await
}

fn offer(oa: &OaId) -> Reply {
    let content = format!(
        "<p>Nhà cung cấp muốn thay mặt OA <b>{oa}</b>. / A vendor asks to act for OA <b>{oa}</b>.</p>\n\
         <form method=\"post\" action=\"{action}\">\n<button>Cho phép / Allow</button>\n</form>\n",
        oa = escaped(oa.as_str()),
        action = escaped(&path(oa)),
    );
    page(200, TITLE, &content)
}
