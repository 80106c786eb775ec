//! `import`: a person brings a token set.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Failure, OaArgument, exit, held_by_vendor, owner, print, runtime, source};
use crate::clock::{Clock, Moment, Reading, SystemClock, Time};
use crate::config::{App, Config};
use crate::id::{Managed, OaId};
use crate::oauth::{GrantedTokens, Oddity, ProbeAnswer, whole_set};
use crate::store::{Direct, Import, Imported};
use crate::zalo::Door;

/// Clocks of two machines differ; an answer from further ahead than this is not believed.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    oa: OaArgument,
    /// Read the answer from this file instead of stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// When the answer was given, if it is not fresh, as 2026-11-22T08:00:00+07:00
    #[arg(long, value_name = "RFC3339", value_parser = parse_time)]
    obtained_at: Option<Time>,
    /// Ask Zalo whose token it is, and refuse a mismatch
    #[arg(long)]
    verify: bool,
}

fn parse_time(text: &str) -> Result<Time, String> {
    Time::parse(text)
        .map_err(|_| "not a point in time with an offset, such as 2026-11-22T08:00:00+07:00".to_owned())
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let oa_id = arguments.oa.oa_id();
    let (oa, app) = configured(config, &oa_id)?;
    let tokens = read(arguments)?;
    let clock = SystemClock::new();
    let now = clock.read();
    let obtained = obtained(arguments, &now)?;
    if arguments.verify {
        verify(config, app, &oa_id, &tokens)?;
    }
    owner::take_on_owner(&config.store_path)?;
    let is_odd = tokens.oddities.contains(&Oddity::ExpiresIn);
    let import = Import {
        oa_id,
        app_id: app.id.clone(),
        name: oa.name.as_deref().map(str::to_owned),
        tokens,
        obtained,
    };
    let imported = Direct::open_to_write(&config.store_path)?.import(&import, &config.timing, &now)?;
    if is_odd {
        print("expires_in is missing or not a whole number of seconds; 90000 is assumed\n")?;
    }
    report(&import.oa_id, imported)
}

fn configured<'c>(config: &'c Config, oa_id: &OaId) -> Result<(&'c Managed, &'c App), Failure> {
    let file = config.file.display();
    if let Some(oa) = config.vendor_oas.get(oa_id) {
        return Err(held_by_vendor(exit::FAILED, oa_id, &oa.vendor_id, "there is nothing to import"));
    }
    let oa = config.oas.get(oa_id).ok_or_else(|| {
        Failure::new(
            exit::FAILED,
            format!("{file} has no OA {oa_id}; add an [[oa]] section with id = \"{oa_id}\" and its app, then import again"),
        )
    })?;
    let app = config.apps.get(&oa.app_id).ok_or_else(|| {
        Failure::new(exit::CONFIG, format!("{file} has no app {}; add an [[app]] section", oa.app_id))
    })?;
    Ok((oa, app))
}

fn read(arguments: &Arguments) -> Result<GrantedTokens, Failure> {
    let (source, body) = source::read(arguments.file.as_deref())?;
    whole_set(&body).map_err(|what| {
        let wanted = "give Zalo's token response as it came: a JSON object with access_token, refresh_token and expires_in";
        Failure::new(exit::FAILED, format!("{source}: {what}; {wanted}"))
    })
}

fn obtained(arguments: &Arguments, now: &Reading) -> Result<Moment, Failure> {
    match arguments.obtained_at {
        None => Ok(Moment::at(now)),
        Some(at) if at > now.time.plus(CLOCK_TOLERANCE) => Err(Failure::new(
            exit::FAILED,
            format!(
                "--obtained-at {at} lies in the future (it is {}); give the time of the answer",
                now.time
            ),
        )),
        Some(at) => Ok(Moment::of_wall_clock(at)),
    }
}

/// Asks Zalo whose the access token is.
fn verify(config: &Config, app: &App, oa_id: &OaId, tokens: &GrantedTokens) -> Result<(), Failure> {
    let Some(access_token) = &tokens.access_token else { return Ok(()) };
    let needs_tls = app.api_url.scheme() == "https";
    let door = Door::new(
        config.http.proxy.as_ref(),
        config.http.ca_file.as_deref(),
        needs_tls,
        config.timeout,
        Arc::new(SystemClock::new()),
    )
    .map_err(|error| Failure::new(exit::CONFIG, error.to_string()))?;
    let unclear = |what: String| {
        Failure::new(
            exit::NOT_NOW,
            format!("Zalo could not be asked whose token this is: {what}; try again, or leave --verify away"),
        )
    };
    match runtime()?.block_on(door.whose(&app.api_url, access_token)) {
        Ok(ProbeAnswer::Accepted(owner)) if owner == *oa_id => Ok(()),
        Ok(ProbeAnswer::Accepted(owner)) => Err(Failure::new(
            exit::FAILED,
            format!(
                "this token belongs to OA {owner}, not to OA {oa_id}; nothing was changed. Import it for OA {owner}, or bring the right one"
            ),
        )),
        Ok(ProbeAnswer::Refused(code)) => Err(Failure::new(
            exit::FAILED,
            format!("Zalo refuses this access token (error {code}); nothing was changed. Bring a fresh one"),
        )),
        Ok(ProbeAnswer::Error(code)) => Err(unclear(format!("it answered error {code}"))),
        Ok(ProbeAnswer::Unreadable) => Err(unclear("it gave no answer to the question".to_owned())),
        Err(what) => Err(unclear(what)),
    }
}

fn report(oa_id: &OaId, imported: Imported) -> Result<(), Failure> {
    match imported {
        Imported::Adopted { generation, refresh_at } => print(&format!(
            "OA {oa_id}: the set is the current one now (generation {generation}); next refresh at {refresh_at}\n"
        )),
        Imported::Unchanged { generation } => print(&format!(
            "OA {oa_id}: this set is the current one already (generation {generation}); nothing changed\n"
        )),
        Imported::UsedBefore { at } => Err(Failure::new(
            exit::FAILED,
            format!(
                "OA {oa_id}: the refresh token of this set was presented at {at} and may be spent; nothing was changed. Grant consent again and import the new answer"
            ),
        )),
        Imported::OfAnotherOa(owner) => Err(Failure::new(
            exit::FAILED,
            format!(
                "this set belongs to OA {owner}, where it was imported or refreshed; nothing was changed. Bring OA {oa_id}'s own answer"
            ),
        )),
    }
}
