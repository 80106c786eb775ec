//! `token`: an access token that is valid now.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::client::{self, Trouble};
use super::means::{Means, Offline};
use super::status::{json, unknown_oa};
use super::{Failure, OaReport, complain, control, exit, held_by_vendor, print};
use crate::api::Record;
use crate::clock::{Clock, Reading, SystemClock, Time, spoken};
use crate::config;
use crate::id::{Fleet, OaId, VendorId};
use crate::keeper;
use crate::keeper::control::protocol::{Reply, Request};
use crate::secret::Secret;
use crate::store::{Direct, State, TokenAnswer, ValidToken};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    report: OaReport,
    /// Only one that lives so long from now, such as 10m; the daemon is asked to refresh an older one first
    #[arg(long, value_name = "DURATION", value_parser = parse_life)]
    min_ttl: Option<Duration>,
    #[command(flatten)]
    offline: Offline,
}

fn parse_life(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("not a duration ({error}); give one such as 10m or 2h"))
}

/// How long a daemon may take to say that it holds nothing that the store has not.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it may take to hand out a token.
const TOKEN_PATIENCE: Duration = Duration::from_secs(10);
/// How much longer, if it has to refresh one first: a refresh takes that long at most by default, and a little.
const REFRESH_PATIENCE: Duration = Duration::from_secs(100);

pub(super) fn run(means: &Means, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { report, min_ttl, offline } = arguments;
    let oa_id = report.oa.oa_id();
    let found = means.tell(
        offline,
        oa_id.as_str(),
        |socket| by_api(socket, &oa_id, *min_ttl),
        || by_store(means, &oa_id, !offline.offline),
    )?;
    let now = SystemClock::new().now();
    let left = found.expires_at.since(now);
    if let Some(wanted) = min_ttl.filter(|wanted| left < *wanted) {
        let (left, wanted) = (spoken(left), spoken(wanted));
        let sentence = format!(
            "OA {oa_id}: its access token lives {left} more and not {wanted}; no newer one is to be had now, see \
             zalo-tokend status {oa_id}"
        );
        return Err(Failure::new(exit::NOT_NOW, sentence));
    }
    show(found, now, report.json)
}

fn by_api(socket: &Path, oa_id: &OaId, min_ttl: Option<Duration>) -> Result<Record, Trouble> {
    match min_ttl {
        None => client::get(socket, &client::route(oa_id, "/token"), TOKEN_PATIENCE),
        Some(wanted) => {
            let target = client::route(oa_id, &format!("/token?min_ttl={}ms", wanted.as_millis()));
            client::get(socket, &target, TOKEN_PATIENCE + REFRESH_PATIENCE)
        }
    }
}

/// A config in which something is wrong, as while somebody edits it, keeps no valid token from a program.
fn by_store(means: &Means, oa_id: &OaId, asks_daemon: bool) -> Result<Record, Failure> {
    let now = SystemClock::new().read();
    let record = |valid: ValidToken, durable| {
        let ValidToken { access_token, expires_at, generation } = valid;
        let record = Record::new(oa_id.clone(), access_token, expires_at, generation, now.time);
        Record { durable, ..record }
    };
    match &means.config {
        Ok(config) => {
            let (answer, durable) =
                find(&config.store_path, &keeper::managed(config), oa_id, &now, asks_daemon)?;
            match answer {
                TokenAnswer::NoSuchOa | TokenAnswer::NoneValid(_)
                    if config.vendor_oas.contains_key(oa_id) =>
                {
                    let vendor = config.vendor_oas.get(oa_id).map(|oa| oa.vendor_id.as_str());
                    Err(none_here(oa_id.as_str(), vendor.unwrap_or_default()))
                }
                TokenAnswer::NoSuchOa => Err(unknown_oa(oa_id.as_str(), config)),
                TokenAnswer::NoneValid(state) => Err(none_valid(oa_id.as_str(), state)),
                TokenAnswer::Valid(valid) => Ok(record(valid, durable)),
            }
        }
        Err(failure) => {
            let Some(path) = config::store_path(&means.file) else { return Err(failure.clone()) };
            match find(&path, &BTreeMap::new(), oa_id, &now, asks_daemon) {
                Ok((TokenAnswer::Valid(valid), durable)) => {
                    let (file, path) = (means.file.display(), path.display());
                    complain(&format!(
                        "{file} has mistakes, which zalo-tokend check tells; the token is the one in {path}"
                    ));
                    Ok(record(valid, durable))
                }
                Ok(_) | Err(_) => Err(failure.clone()),
            }
        }
    }
}

fn show(found: Record, now: Time, as_json: bool) -> Result<(), Failure> {
    if !as_json {
        return print(&format!("{}\n", found.access_token.expose()));
    }
    // It took a while to come here.
    let record = Record { expires_in: found.expires_at.since(now).as_secs(), ..found };
    print(&(json(&record)? + "\n"))
}

/// What the store and the running daemon know; the newer of two sets counts. With `false`: it is held by the daemon alone.
fn find(
    store_path: &Path,
    managed: &Fleet,
    oa_id: &OaId,
    now: &Reading,
    asks_daemon: bool,
) -> Result<(TokenAnswer, Option<bool>), Failure> {
    let held = if asks_daemon { held_by_daemon(store_path, oa_id) } else { None };
    let stored = Direct::open_to_read(store_path)
        .map_err(Failure::from)
        .and_then(|store| Ok(store.token(managed, oa_id, now)?));
    let generation = match &stored {
        Ok(TokenAnswer::Valid(valid)) => valid.generation,
        Ok(TokenAnswer::NoneValid(_) | TokenAnswer::NoSuchOa) | Err(_) => 0,
    };
    match held.filter(|held| held.generation > generation) {
        Some(held) => Ok((TokenAnswer::Valid(held), Some(false))),
        None => Ok((stored?, None)),
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

/// A vendor keeps its tokens.
pub(super) fn none_here(oa_id: &str, vendor: &str) -> Failure {
    let vendor = VendorId::from(vendor);
    held_by_vendor(exit::NOT_NOW, &OaId::from(oa_id), &vendor, "ask that vendor to send for you")
}

pub(super) fn none_valid(oa_id: &str, state: State) -> Failure {
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
