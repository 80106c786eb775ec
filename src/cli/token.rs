//! `token`: an access token that is valid now.

use serde::Serialize;

use super::status::{json, unknown_oa};
use super::{Failure, OaReport, exit, print};
use crate::clock::{Clock, SystemClock, Time};
use crate::config::Config;
use crate::id::OaId;
use crate::keeper;
use crate::store::{Direct, State, TokenAnswer};

#[derive(Serialize)]
struct Record<'t> {
    oa_id: OaId,
    access_token: &'t str,
    expires_at: Time,
    expires_in: u64,
    generation: u64,
}

pub(super) fn run(config: &Config, arguments: &OaReport) -> Result<(), Failure> {
    let oa_id = arguments.oa.oa_id();
    let now = SystemClock::new().now();
    let answer = Direct::open_to_read(&config.store_path)?.token(&keeper::managed(config), &oa_id, now)?;
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
        expires_in: valid.expires_at.since(now).as_secs(),
        generation: valid.generation,
    };
    print(&(json(&record)? + "\n"))
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
