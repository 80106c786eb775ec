//! `link`: an address by which an administrator without an account here grants consent for one OA, and does nothing else.

use std::time::Duration;

use super::{Failure, OaArgument, exit, owner, print};
use crate::authorize::address_of_link;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::id::{AppId, OaId};
use crate::keeper;
use crate::store::{Direct, State};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    oa: OaArgument,
    /// How long it is good, from 1m to 90d [default: `link_life` of the config]
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_life)]
    life: Option<Duration>,
}

fn parse_life(text: &str) -> Result<Duration, String> {
    let life = humantime::parse_duration(text)
        .map_err(|error| format!("not a duration ({error}); give one such as 2h or 7d"))?;
    let accepted = Duration::from_secs(60)..=Duration::from_secs(90 * 86_400);
    if accepted.contains(&life) { Ok(life) } else { Err("give a duration from 1m to 90d".to_owned()) }
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let (oa_id, file) = (arguments.oa.oa_id(), config.file.display());
    if config.vendor_oas.contains_key(&oa_id) {
        let what = format!(
            "OA {oa_id} is held by a vendor, who alone gives links to consent; see zalo-tokend status {oa_id}, or use \
             zalo-tokend authorize {oa_id}"
        );
        return Err(Failure::new(exit::FAILED, what));
    }
    // After the config was read, and before anything in the store is.
    owner::take_on_owner(&config.store_path)?;
    let store = Direct::open_to_read(&config.store_path)?;
    let app_id = &app_of(config, &store, &oa_id)?;
    let consenting = config.apps.get(app_id).and_then(|app| app.consenting.as_ref()).ok_or_else(|| {
        let what = format!("[[app]] {app_id} in {file} has no redirect_uri; add the callback address that is saved for it at Zalo");
        Failure::new(exit::CONFIG, what)
    })?;
    if config.authorize.listen.is_none() {
        let what = format!(
            "[authorize] in {file} has no `listen`, so that nobody would answer at a link; add it, or use zalo-tokend authorize {oa_id}"
        );
        return Err(Failure::new(exit::CONFIG, what));
    }
    let key = store.link_key()?.ok_or_else(|| {
        let what = "the store has no key for links yet; start the daemon once, and try again";
        Failure::new(exit::NOT_NOW, what)
    })?;
    let life = arguments.life.unwrap_or(config.authorize.link_life);
    let address = address_of_link(&consenting.redirect_uri, &key, &oa_id, SystemClock::new().now(), life);
    print(&format!("{address}\n"))
}

/// The app that keeps this OA, by the config or because a program wants it.
fn app_of(config: &Config, store: &Direct, oa_id: &OaId) -> Result<AppId, Failure> {
    if let Some(managed) = config.oas.get(oa_id) {
        return Ok(managed.app_id.clone());
    }
    let now = SystemClock::new().read();
    let all = store.statuses(&keeper::managed(config), &keeper::at_vendors(config), &now)?;
    let known = all.into_iter().find(|oa| oa.oa_id == *oa_id && oa.state != State::Unmanaged);
    known.and_then(|oa| oa.app_id).ok_or_else(|| {
        let file = config.file.display();
        let what = format!("{file} has no OA {oa_id}; add an [[oa]] section and reload the daemon");
        Failure::new(exit::FAILED, what)
    })
}
