//! A message to a follower, `POST /v3.0/oa/message/cs`, as the shops' own programs send it. What the ledger judges by are the
//! daemon's questions, so these are counted apart. May import id, secret.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;

use super::connection::{Connection, Head, Next, Reply};
use super::model::AccessToken;
use super::server;
use super::shared::Shared;
use crate::id::OaId;
use crate::secret::Secret;

/// What became of an OA's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// Sent.
    pub taken: u32,
    /// Not sent, because of the access token.
    pub refused: u32,
}

/// By OA.
pub(super) type Counts = HashMap<OaId, Messages>;

#[derive(Deserialize)]
struct Message {
    recipient: Recipient,
    message: Text,
}

#[derive(Deserialize)]
struct Recipient {
    user_id: String,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

/// Serves one such request, the head of which has been read.
pub(super) async fn serve(shared: &Shared, connection: &mut Connection, head: &Head) -> Next {
    let Ok(length) = head.body_length() else { return Next::Close };
    if connection.fill_to(length).await.is_err() {
        return Next::Close;
    }
    let body = connection.take(length);
    let reply = decide(shared, head, &body);
    server::keep_open_with(connection, head, &reply).await
}

fn decide(shared: &Shared, head: &Head, body: &[u8]) -> Reply {
    let access = Secret::new(head.header("access_token").unwrap_or_default().to_owned());
    let mut locked = shared.lock();
    let (worth, set) = locked.core.model.access_token(&access, locked.now);
    let read = serde_json::from_slice(body).ok();
    let whole =
        read.filter(|read: &Message| !read.recipient.user_id.is_empty() && !read.message.text.is_empty());
    let (code, says) = match (worth, whole) {
        (AccessToken::Invalid, _) => (-216, "Access token is invalid"),
        (AccessToken::Expired, _) => (-220, "Access token is expired or removed"),
        (AccessToken::Good, None) => (-201, "Message or recipient is invalid"),
        (AccessToken::Good, Some(_)) => (0, "Success"),
    };
    if let Some((set, _)) = set {
        let counted = locked.core.messages.entry(set.oa).or_default();
        match worth {
            AccessToken::Good => counted.taken += u32::from(code == 0),
            AccessToken::Invalid | AccessToken::Expired => counted.refused += 1,
        }
    }
    Reply::json(200, &json!({ "error": code, "message": says }).to_string())
}
