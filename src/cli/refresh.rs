//! `refresh`: one OA, now, by the running daemon.

use std::time::Duration;

use super::{Failure, OaArgument, complain, control, print};
use crate::config::Config;
use crate::keeper::control::protocol::Request;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    oa: OaArgument,
    /// How long to wait for the outcome, from 1s to 1h; what is under way goes on after that
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = parse_timeout)]
    timeout: Duration,
    /// Try it also while its app is braked: this OA is the trial, and its refresh token is at risk
    #[arg(long)]
    trial: bool,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text)
        .map_err(|error| format!("not a duration ({error}); give one such as 90s or 2m"))?;
    if (Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&timeout) {
        Ok(timeout)
    } else {
        Err("give a duration from 1s to 1h".to_owned())
    }
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let oa_id = arguments.oa.oa_id();
    let request = Request::Refresh { oa_id: oa_id.to_string(), trial: arguments.trial };
    // On stderr: stdout has the outcome alone.
    let progress = |text: &str| complain(&format!("OA {oa_id}: {text}"));
    let reply = control::ask(&config.store_path, &request, arguments.timeout, progress)?;
    print(&(control::words(reply)? + "\n"))
}
