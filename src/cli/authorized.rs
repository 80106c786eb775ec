//! `authorized`: a person says that consent was given to the vendor who holds an OA.

use std::time::Duration;

use super::control::{self, NoReply};
use super::{Failure, OaArgument, exit, owner, print};
use crate::clock::{CLOCK_TOLERANCE, Clock, SystemClock, Time};
use crate::config::Config;
use crate::id::OaId;
use crate::keeper;
use crate::keeper::control::protocol::Request;
use crate::store::Direct;

/// It is a matter of one transaction.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    oa: OaArgument,
    /// When it was given, if that is not now, as 2026-11-22T08:00:00+07:00
    #[arg(long, value_name = "RFC3339", value_parser = parse_time)]
    at: Option<Time>,
}

fn parse_time(text: &str) -> Result<Time, String> {
    Time::parse(text)
        .map_err(|_| "not a point in time with an offset, such as 2026-11-22T08:00:00+07:00".to_owned())
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let (oa_id, now) = (arguments.oa.oa_id(), SystemClock::new().read());
    let file = config.file.display();
    if !config.vendor_oas.contains_key(&oa_id) {
        let what = match config.oas.contains_key(&oa_id) {
            true => {
                format!("OA {oa_id} is not held by a vendor; bring its tokens in: zalo-tokend import {oa_id}")
            }
            false => format!("{file} has no OA {oa_id}; add an [[oa]] section with its id and vendor"),
        };
        return Err(Failure::new(exit::FAILED, what));
    }
    if let Some(at) = arguments.at.filter(|at| *at > now.time.plus(CLOCK_TOLERANCE)) {
        let what = format!("--at {at} lies in the future (it is {}); give the time of the consent", now.time);
        return Err(Failure::new(exit::FAILED, what));
    }
    let request = Request::Authorized { oa_id: oa_id.to_string(), at_ms: arguments.at.map(Time::as_millis) };
    let said = match control::ask(&config.store_path, &request, PATIENCE, |_| ()) {
        Ok(reply) => control::words(reply)?,
        Err(NoReply::NotRunning) => by_store(config, &oa_id, arguments.at.unwrap_or(now.time))?,
        Err(why) => return Err(why.into()),
    };
    print(&(said + "\n"))
}

/// Without a daemon, straight into the store.
fn by_store(config: &Config, oa_id: &OaId, at: Time) -> Result<String, Failure> {
    owner::take_on_owner(&config.store_path)?;
    let now = SystemClock::new().read();
    let mut store = Direct::open_to_write(&config.store_path)?;
    match store.authorize_at_vendor(oa_id, at, &keeper::at_vendors(config), &now)? {
        Some(ends_at) => Ok(format!("OA {oa_id}: consent counts from {at}, until {ends_at}")),
        None => Err(Failure::new(exit::FAILED, format!("OA {oa_id} is not held by a vendor"))),
    }
}
