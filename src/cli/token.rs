//! `token`: an access token that is valid now.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::status::{json, unknown_oa};
use super::{Failure, OaReport, complain, control, exit, print};
use crate::clock::{Clock, Reading, SystemClock, Time};
use crate::config::{self, Config};
use crate::id::{Fleet, OaId};
use crate::keeper;
use crate::keeper::control::protocol::{Reply, Request};
use crate::secret::Secret;
use crate::store::{Direct, State, TokenAnswer, ValidToken};

#[derive(Serialize)]
struct Record<'t> {
    oa_id: OaId,
    access_token: &'t str,
    expires_at: Time,
    expires_in: u64,
    generation: u64,
    /// Only where it is false: the set is held by the daemon alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<bool>,
}

/// How long a daemon may take to say that it holds nothing that the store has not.
const PATIENCE: Duration = Duration::from_secs(1);

/// A config in which something is wrong, as while somebody edits it, keeps no valid token from a program.
pub(super) fn run(file: &Path, loaded: Result<Config, Failure>, arguments: &OaReport) -> Result<(), Failure> {
    let oa_id = arguments.oa.oa_id();
    let now = SystemClock::new().read();
    let found = match loaded {
        Ok(config) => {
            let found = find(&config.store_path, &keeper::managed(&config), &oa_id, &now)?;
            match found.answer {
                TokenAnswer::NoSuchOa => return Err(unknown_oa(oa_id.as_str(), &config)),
                TokenAnswer::NoneValid(state) => return Err(none_valid(&oa_id, state)),
                TokenAnswer::Valid(valid) => (valid, found.durable),
            }
        }
        Err(failure) => {
            let Some(path) = config::store_path(file) else { return Err(failure) };
            match find(&path, &BTreeMap::new(), &oa_id, &now) {
                Ok(Found { answer: TokenAnswer::Valid(valid), durable }) => {
                    let (file, path) = (file.display(), path.display());
                    complain(&format!(
                        "{file} has mistakes, which zalo-tokend check tells; the token is the one in {path}"
                    ));
                    (valid, durable)
                }
                Ok(_) | Err(_) => return Err(failure),
            }
        }
    };
    show(oa_id, found, now.time, arguments.json)
}

fn show(
    oa_id: OaId,
    (valid, durable): (ValidToken, Option<bool>),
    now: Time,
    as_json: bool,
) -> Result<(), Failure> {
    let access_token = valid.access_token.expose();
    if !as_json {
        return print(&format!("{access_token}\n"));
    }
    let record = Record {
        oa_id,
        access_token,
        expires_at: valid.expires_at,
        expires_in: valid.expires_at.since(now).as_secs(),
        generation: valid.generation,
        durable,
    };
    print(&(json(&record)? + "\n"))
}

struct Found {
    answer: TokenAnswer,
    durable: Option<bool>,
}

/// What the store and the running daemon know; the newer of two sets counts.
fn find(store_path: &Path, managed: &Fleet, oa_id: &OaId, now: &Reading) -> Result<Found, Failure> {
    let held = held_by_daemon(store_path, oa_id);
    let stored = Direct::open_to_read(store_path)
        .map_err(Failure::from)
        .and_then(|store| Ok(store.token(managed, oa_id, now)?));
    let generation = match &stored {
        Ok(TokenAnswer::Valid(valid)) => valid.generation,
        Ok(TokenAnswer::NoneValid(_) | TokenAnswer::NoSuchOa) | Err(_) => 0,
    };
    match held.filter(|held| held.generation > generation) {
        Some(held) => Ok(Found { answer: TokenAnswer::Valid(held), durable: Some(false) }),
        None => Ok(Found { answer: stored?, durable: None }),
    }
}

/// A set that reached the daemon and that no disk has taken yet.
fn held_by_daemon(store_path: &Path, oa_id: &OaId) -> Option<ValidToken> {
    let request = Request::Undurable { oa_id: oa_id.to_string() };
    let Ok(Reply::Undurable { held }) = control::ask(store_path, &request, PATIENCE, |_| ()) else {
        return None;
    };
    held.map(|held| ValidToken {
        access_token: Secret::new(held.access_token),
        expires_at: Time::from_millis(held.expires_at_ms),
        generation: held.generation,
    })
}

fn none_valid(oa_id: &OaId, state: State) -> Failure {
    let what_to_do = match state {
        State::AwaitingGrant => format!("bring one in with: zalo-tokend import {oa_id} < answer.json"),
        State::ReauthorizationRequired => {
            format!("grant consent again, then: zalo-tokend import {oa_id} < answer.json")
        }
        State::Unmanaged => "it is not in the config, so nobody refreshes it; add it there".to_owned(),
        State::Blocked => "Zalo refuses its app's id or secret; correct them".to_owned(),
        State::Scheduled | State::Retrying | State::Presenting | State::Uncertain => {
            "see that the daemon is running, and try again".to_owned()
        }
    };
    let sentence = format!("OA {oa_id} has no valid access token now (state {}); {what_to_do}", state.word());
    Failure::new(exit::NOT_NOW, sentence)
}
