//! The question that an access token is asked with, `GET /v2.0/oa/getoa`, and its answers. May import id, secret.

use serde_json::json;

use super::connection::{Connection, Head, Next, Reply};
use super::kind::{Kind, ProbeVerdict};
use super::ledger::Subject;
use super::model::AccessToken;
use super::shared::{Locked, Shared};
use super::variant::ProbeAnswer;
use crate::secret::Secret;

/// Serves one probe, the head of which has been read.
pub(super) async fn serve(shared: &Shared, connection: &mut Connection, head: &Head) -> Next {
    let (subject, answer, verdict) = {
        let locked = shared.lock();
        let access = Secret::new(head.header("access_token").unwrap_or_default().to_owned());
        decide(&locked, &access)
    };
    let kind = Kind::Probed { verdict };
    let number = connection.number;
    let Some(reply) = answer else {
        shared.lock().record(Some(number), &subject, kind, None);
        return Next::Close;
    };
    let mut next = Next::KeepOpen;
    shared
        .write_and_record(connection, &reply.bytes, None, |locked, written| {
            // An answer that the client did not wait for proves nothing to it.
            let unheard = Kind::Probed { verdict: ProbeVerdict::Unclear };
            locked.record(Some(number), &subject, if written.is_ok() { kind } else { unheard }, None);
            if written.is_err() {
                next = Next::Close;
            }
        })
        .await;
    next
}

fn decide(locked: &Locked<'_>, access: &Secret) -> (Subject, Option<Reply>, ProbeVerdict) {
    let (worth, set) = locked.core.model.access_token(access, locked.now);
    let subject = set.map_or_else(Subject::default, |(set, refresh)| Subject {
        oa_id: Some(set.oa),
        app_id: Some(set.app),
        token: Some(refresh),
        was_spent: Some(set.spent),
        is_code: false,
        family: set.family,
        generation: set.generation,
    });
    let (reply, verdict) = match locked.core.model.variant.probe {
        ProbeAnswer::Answers => truth(worth, &subject),
        ProbeAnswer::Down => (None, ProbeVerdict::Unclear),
        ProbeAnswer::Throttled => (Some(error(-32, "Rate limit exceeded")), ProbeVerdict::Unclear),
        ProbeAnswer::Html => (Some(Reply::html(502)), ProbeVerdict::Unclear),
        ProbeAnswer::OtherOa => (Some(about("1000000000000000001")), ProbeVerdict::Unclear),
        ProbeAnswer::ErrorCode(code) => {
            let refuses = matches!(code, -216 | -220 | -124);
            let verdict = if refuses { ProbeVerdict::Refused } else { ProbeVerdict::Unclear };
            (Some(error(code, "Error")), verdict)
        }
    };
    (subject, reply, verdict)
}

fn truth(worth: AccessToken, subject: &Subject) -> (Option<Reply>, ProbeVerdict) {
    match (worth, &subject.oa_id) {
        (AccessToken::Good, Some(oa)) => (Some(about(oa.as_str())), ProbeVerdict::Accepted),
        (AccessToken::Good, None) | (AccessToken::Invalid, _) => {
            (Some(error(-216, "Access token is invalid")), ProbeVerdict::Refused)
        }
        (AccessToken::Expired, _) => {
            (Some(error(-220, "Access token is expired or removed")), ProbeVerdict::Refused)
        }
    }
}

fn about(oa: &str) -> Reply {
    let data = json!({ "oa_id": oa, "name": format!("OA {oa}") });
    Reply::json(200, &json!({ "error": 0, "message": "Success", "data": data }).to_string())
}

fn error(code: i64, message: &str) -> Reply {
    Reply::json(200, &json!({ "error": code, "message": message }).to_string())
}
