//! `token`: an access token that is valid now.

use std::time::Duration;

use serde::Serialize;

use super::status::{json, unknown_oa};
use super::{Failure, OaReport, control, exit, print};
use crate::clock::{Clock, Reading, SystemClock, Time};
use crate::config::Config;
use crate::id::OaId;
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

pub(super) fn run(config: &Config, arguments: &OaReport) -> Result<(), Failure> {
    let oa_id = arguments.oa.oa_id();
    let now = SystemClock::new().read();
    let held = held_by_daemon(config, &oa_id);
    let stored = stored(config, &oa_id, &now);
    let generation = match &stored {
        Ok(TokenAnswer::Valid(valid)) => valid.generation,
        Ok(TokenAnswer::NoneValid(_) | TokenAnswer::NoSuchOa) | Err(_) => 0,
    };
    let held = held.filter(|held| held.generation > generation);
    let durable = held.is_some().then_some(false);
    let answer = match held {
        Some(held) => TokenAnswer::Valid(held),
        None => stored?,
    };
    let valid = match answer {
        TokenAnswer::NoSuchOa => return Err(unknown_oa(oa_id.as_str(), config)),
        TokenAnswer::NoneValid(state) => return Err(none_valid(&oa_id, state)),
        TokenAnswer::Valid(valid) => valid,
    };
    let access_token = valid.access_token.expose();
    if !arguments.json {
        return print(&format!("{access_token}\n"));
    }
    let record = Record {
        oa_id,
        access_token,
        expires_at: valid.expires_at,
        expires_in: valid.expires_at.since(now.time).as_secs(),
        generation: valid.generation,
        durable,
    };
    print(&(json(&record)? + "\n"))
}

fn stored(config: &Config, oa_id: &OaId, now: &Reading) -> Result<TokenAnswer, Failure> {
    Ok(Direct::open_to_read(&config.store_path)?.token(&keeper::managed(config), oa_id, now)?)
}

/// A set that reached the daemon and that no disk has taken yet.
fn held_by_daemon(config: &Config, oa_id: &OaId) -> Option<ValidToken> {
    let request = Request::Undurable { oa_id: oa_id.to_string() };
    let Ok(Reply::Undurable { held }) = control::ask(config, &request, PATIENCE, |_| ()) else { return None };
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
