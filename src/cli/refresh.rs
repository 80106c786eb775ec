//! `refresh`: one OA, now, by the running daemon.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::client::{self, Trouble, Unanswered};
use super::control::{self, NoReply};
use super::means::{Means, Offline};
use super::{Failure, OaArgument, complain, exit, print};
use crate::clock::Time;
use crate::id::OaId;
use crate::keeper::control::protocol::{Reply, Request};

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
    #[command(flatten)]
    offline: Offline,
}

pub(super) fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text)
        .map_err(|error| format!("not a duration ({error}); give one such as 90s or 2m"))?;
    if (Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&timeout) {
        Ok(timeout)
    } else {
        Err("give a duration from 1s to 1h".to_owned())
    }
}

pub(super) fn run(means: &Means, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { oa, timeout, trial, offline } = arguments;
    let oa_id = oa.oa_id();
    if offline.offline {
        let sentence =
            "a refresh is the work of the daemon, and --offline keeps from asking it; leave that out";
        return Err(Failure::new(exit::NOT_RUNNING, sentence));
    }
    // The control socket tells more, to those who may ask there.
    let asked = match &means.config {
        Ok(config) if !means.is_named => by_control(&config.store_path, &oa_id, arguments),
        Ok(_) | Err(_) => Err(NoReply::NotPermitted),
    };
    let text = match (asked, &means.socket) {
        (Err(NoReply::NotPermitted), Some(_)) if *trial => {
            let sentence =
                "a trial puts a refresh token at risk; only the daemon's user and root may ask for it";
            return Err(Failure::new(exit::NOT_PERMITTED, sentence));
        }
        (Err(NoReply::NotPermitted), Some(socket)) => by_api(means, socket, &oa_id, *timeout)?,
        (Err(NoReply::NotPermitted), None) => {
            means.config()?;
            return Err(NoReply::NotPermitted.into());
        }
        (asked, _) => control::words(asked?)?,
    };
    print(&(text + "\n"))
}

fn by_control(store_path: &Path, oa_id: &OaId, arguments: &Arguments) -> Result<Reply, NoReply> {
    let request = Request::Refresh { oa_id: oa_id.to_string(), trial: arguments.trial };
    // On stderr: stdout has the outcome alone.
    let progress = |text: &str| complain(&format!("OA {oa_id}: {text}"));
    control::ask(store_path, &request, arguments.timeout, progress)
}

/// What of the answer is told.
#[derive(Deserialize)]
struct Refreshed {
    generation: u64,
    access_token_expires_at: Option<Time>,
}

fn by_api(means: &Means, socket: &Path, oa_id: &OaId, timeout: Duration) -> Result<String, Failure> {
    let answer = client::post(socket, &client::route(oa_id, "/refresh"), timeout);
    let why = match answer {
        Ok(Refreshed { generation, access_token_expires_at }) => {
            let end = access_token_expires_at.map(|at| format!(", valid until {at}")).unwrap_or_default();
            return Ok(format!("OA {oa_id}: refreshed (generation {generation}){end}"));
        }
        Err(Trouble::Problem(problem)) => return Err(means.failure(problem, oa_id.as_str())),
        Err(Trouble::Unanswered(why)) => why,
    };
    Err(match why {
        Unanswered::Silent => NoReply::TooLong.into(),
        Unanswered::NotThere => Failure::new(exit::NOT_RUNNING, why.told(socket)),
        Unanswered::NotPermitted | Unanswered::Stranger(_) => {
            Failure::new(exit::NOT_PERMITTED, why.told(socket))
        }
        Unanswered::Broken(_) | Unanswered::NotNow(_) => Failure::new(exit::NOT_NOW, why.told(socket)),
    })
}
