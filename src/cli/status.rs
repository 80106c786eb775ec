//! `status`: how the OAs stand.

use serde::Serialize;

use std::time::Duration;

use super::control::{self, NoReply};
use super::{Failure, exit, fleet, print};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::keeper;
use crate::keeper::control::protocol::{DaemonStatus, Reply, Request};
use crate::store::{AppStatus, Direct, OaStatus};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only this OA
    #[arg(value_name = "OA_ID")]
    oa_id: Option<String>,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    oas: Vec<OaStatus>,
    /// The apps that are held back.
    held_apps: Vec<AppStatus>,
    /// What only the running daemon knows; null without one.
    daemon: Option<DaemonStatus>,
}

/// How long a daemon may take to answer: without it there is less to tell, and that is all.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let now = SystemClock::new().read();
    let store = Direct::open_to_read(&config.store_path)?;
    let mut oas = store.statuses(&keeper::managed(config), &now)?;
    let held_apps = store.held_apps()?;
    drop(store);
    if let Some(wanted) = &arguments.oa_id {
        oas.retain(|oa| oa.oa_id.as_str() == wanted);
        if oas.is_empty() {
            return Err(unknown_oa(wanted, config));
        }
    }
    let asked = control::ask(&config.store_path, &Request::Status {}, PATIENCE, |_| ());
    if arguments.json {
        let daemon = match asked {
            Ok(Reply::Status(daemon)) => Some(daemon),
            Ok(_) | Err(_) => None,
        };
        return print(&(json(&Report { oas, held_apps, daemon })? + "\n"));
    }
    if oas.is_empty() {
        return print(&format!("no OA is configured; add one to {}\n", config.file.display()));
    }
    let mut text = fleet::table(&oas, now.time);
    for app in &held_apps {
        let AppStatus { app_id, state, since, trial_at } = app;
        let since = fleet::relative(Some(*since), now.time);
        let trial = if *trial_at > now.time {
            fleet::relative(Some(*trial_at), now.time)
        } else {
            "with the next of its OAs that is due".to_owned()
        };
        text.push_str(&format!("app {app_id}: {state} since {since}, next trial {trial}\n"));
    }
    print(&(text + &of_daemon(asked) + "\n"))
}

/// The daemon, on one line.
fn of_daemon(asked: Result<Reply, NoReply>) -> String {
    let daemon = match asked {
        Ok(Reply::Status(daemon)) => daemon,
        Err(NoReply::NotRunning) => return "daemon: not running".to_owned(),
        Err(NoReply::NotPermitted) => return "daemon: this user may not ask it".to_owned(),
        Err(NoReply::Stranger(uid)) => return format!("daemon: uid {uid} listens in its place"),
        Ok(_) | Err(NoReply::Silent | NoReply::TooLong | NoReply::Broken(_)) => {
            return "daemon: running, and does not answer".to_owned();
        }
    };
    let DaemonStatus { pid, version, started_at, in_flight, store, undurable, lines_dropped } = daemon;
    let mut text = format!(
        "daemon: running (pid {pid}, version {version}, since {started_at}), {in_flight} under way, store {store}"
    );
    if !undurable.is_empty() {
        text.push_str(&format!("; no disk has taken the new tokens of {}", undurable.join(", ")));
    }
    if lines_dropped > 0 {
        text.push_str(&format!("; {lines_dropped} log lines dropped"));
    }
    text
}

/// Nobody knows this OA.
pub(super) fn unknown_oa(oa_id: &str, config: &Config) -> Failure {
    let file = config.file.display();
    Failure::new(
        exit::FAILED,
        format!(
            "OA {oa_id} is neither in {file} nor in the store; add an [[oa]] section with id = \"{oa_id}\" to {file}"
        ),
    )
}

pub(super) fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::new(exit::FAILED, error.to_string()))
}
