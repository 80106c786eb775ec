//! What a person is asked to do about an OA: why, since when, and by when.

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::rows::OaRow;
use super::view::State;
use crate::clock::Time;
use crate::id::OaId;
use crate::rotation::Reason;

/// A person is asked to grant consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reauthorization {
    /// Why, in a stable word: the OA's reason, or `awaiting_grant`, or `refresh_token_expiring`.
    pub reason: String,
    /// Since when; null where nobody noted it.
    pub since: Option<Time>,
    /// Where consent is given; null where no link leads there.
    pub url: Option<String>,
    /// By when it has to be given so that the OA does not fall silent; null where it is silent already.
    pub deadline: Option<Time>,
}

/// What is asked of a person. `None`: nothing. Where the link leads is for others to say.
pub(super) fn of(row: &OaRow, state: State, reason: Option<Reason>, now: Time) -> Option<Reauthorization> {
    let access_token_ends = row.set.as_ref().and_then(|set| set.access_token_expires_at);
    let since = row.planned.as_ref().map(|planned| planned.time);
    let (word, since, deadline) = match (state, reason) {
        (State::ReauthorizationRequired, reason) => (reason?.to_string(), since, access_token_ends),
        (State::AwaitingGrant, Some(reason)) => (reason.to_string(), None, access_token_ends),
        (State::AwaitingGrant, None) => (State::AwaitingGrant.word().to_owned(), None, None),
        (State::Uncertain, Some(reason)) => (reason.to_string(), since, access_token_ends),
        (State::Scheduled | State::Retrying | State::Presenting | State::Uncertain | State::Blocked, _) => {
            // What the ladder of reminders has begun to count down.
            let set = row.set.as_ref().filter(|_| row.reminded_step.is_some())?;
            ("refresh_token_expiring".to_owned(), None, Some(set.refresh_token_expires_at))
        }
        (State::Unmanaged, _) => return None,
    };
    let deadline = deadline.filter(|deadline| *deadline > now);
    Some(Reauthorization { reason: word, since, url: None, deadline })
}

/// The managed OAs of which something is asked, or may be: the most urgent first, those that never had consent last. Goes
/// over the whole fleet, and looks at no token.
pub(super) fn needing(conn: &Connection, now: Time) -> rusqlite::Result<Vec<OaId>> {
    conn.prepare_cached(
        "SELECT oa_id, set_app_id IS NULL AS is_new, CASE WHEN state IN ('scheduled', 'retrying') AND set_app_id = app_id \
         THEN refresh_token_expires_at ELSE access_token_expires_at END AS silent_at FROM oa \
         WHERE app_id IS NOT NULL AND (state IN ('awaiting_grant', 'reauthorization_required') \
         OR state = 'uncertain' AND next_action_at IS NULL OR set_app_id <> app_id OR reminded_step IS NOT NULL) \
         UNION ALL SELECT oa_id, ends_at IS NULL, ends_at FROM vendor_oa WHERE is_managed = 1 AND (is_disconnected = 1 \
         OR due_at IS NULL OR due_at <= ?1 OR link IS NOT NULL OR reminded_step IS NOT NULL) \
         ORDER BY is_new, silent_at, oa_id",
    )?
    .query_map([now.as_millis()], |row| Ok(OaId::from(row.get::<_, String>(0)?)))?
    .collect()
}
