//! `status`: how the OAs stand.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::client::{self, Trouble};
use super::control::{self, NoReply};
use super::means::{Means, Offline};
use super::{Failure, exit, fleet, print};
use crate::api::List;
use crate::authorize::standing_link;
use crate::clock::{Clock, Reading, SystemClock};
use crate::config::Config;
use crate::id::{AppId, OaId};
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
    #[command(flatten)]
    offline: Offline,
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
/// How long it may take for a part of the list.
const LIST_PATIENCE: Duration = Duration::from_secs(10);

/// What store or API know.
struct Seen {
    oas: Vec<OaStatus>,
    held_apps: Vec<AppStatus>,
}

pub(super) fn run(means: &Means, arguments: &Arguments) -> Result<(), Failure> {
    let now = SystemClock::new().read();
    let wanted = arguments.oa_id.as_deref();
    let Seen { oas, held_apps } = means.tell(
        &arguments.offline,
        wanted.unwrap_or_default(),
        |socket| by_api(socket, wanted),
        || by_store(means.config()?, wanted, &now),
    )?;
    let asked = match &means.config {
        _ if arguments.offline.offline => Err(Unasked::NotWanted),
        Err(_) => Err(Unasked::NoReply(NoReply::NotPermitted)),
        Ok(config) => {
            control::ask(&config.store_path, &Request::Status {}, PATIENCE, |_| ()).map_err(Unasked::NoReply)
        }
    };
    if arguments.json {
        let daemon = match asked {
            Ok(Reply::Status(daemon)) => Some(daemon),
            Ok(_) | Err(_) => None,
        };
        return print(&(json(&Report { oas, held_apps, daemon })? + "\n"));
    }
    if oas.is_empty() {
        return print(&format!("no OA is configured; add one to {}\n", means.file.display()));
    }
    let mut text = fleet::table(&oas, now.time);
    for oa in &oas {
        if let Some(url) = oa.reauthorization.as_ref().and_then(|asked| asked.url.as_ref()) {
            text.push_str(&format!("OA {}: consent is granted at {url}\n", oa.oa_id));
        }
    }
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

/// What the API tells: of one OA, or of all in as many parts as it takes.
fn by_api(socket: &Path, wanted: Option<&str>) -> Result<Seen, Trouble> {
    let part = |target: &str| client::get::<List>(socket, target, LIST_PATIENCE);
    if let Some(wanted) = wanted {
        let oa = client::get(socket, &client::route(&OaId::from(wanted), ""), LIST_PATIENCE)?;
        let List { held_apps, .. } = part("/v1/oas?limit=1")?;
        return Ok(Seen { oas: vec![oa], held_apps });
    }
    let List { mut oas, held_apps, mut next } = part("/v1/oas")?;
    while let Some(after) = next {
        let query: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("after", after.as_str()).finish();
        let more = part(&format!("/v1/oas?{query}"))?;
        oas.extend(more.oas);
        next = more.next;
    }
    Ok(Seen { oas, held_apps })
}

/// What the store tells.
fn by_store(config: &Config, wanted: Option<&str>, now: &Reading) -> Result<Seen, Failure> {
    let store = Direct::open_to_read(&config.store_path)?;
    let mut oas = store.statuses(&keeper::managed(config), &keeper::at_vendors(config), now)?;
    let key = store.link_key()?;
    let link = |app_id: Option<&AppId>, oa_id: &OaId| {
        let consenting = config.apps.get(app_id?)?.consenting.as_ref()?;
        standing_link(&config.authorize, consenting, key.as_ref()?, oa_id, now.time)
    };
    for oa in &mut oas {
        let app_id = oa.app_id.clone();
        oa.point_to(|oa_id| link(app_id.as_ref(), oa_id));
    }
    if let Some(wanted) = wanted {
        oas.retain(|oa| oa.oa_id.as_str() == wanted);
        if oas.is_empty() {
            return Err(unknown_oa(wanted, config));
        }
    }
    Ok(Seen { oas, held_apps: store.held_apps()? })
}

/// Why the daemon told nothing that only it knows.
enum Unasked {
    /// It was not to be asked.
    NotWanted,
    NoReply(NoReply),
}

/// The daemon, on one line.
fn of_daemon(asked: Result<Reply, Unasked>) -> String {
    let daemon = match asked {
        Ok(Reply::Status(daemon)) => daemon,
        Err(Unasked::NotWanted) => return "daemon: not asked".to_owned(),
        Err(Unasked::NoReply(NoReply::NotRunning)) => return "daemon: not running".to_owned(),
        Err(Unasked::NoReply(NoReply::NotPermitted)) => {
            return "daemon: this user may not ask it how it is".to_owned();
        }
        Err(Unasked::NoReply(NoReply::Stranger(uid))) => {
            return format!("daemon: uid {uid} listens in its place");
        }
        Ok(_) | Err(Unasked::NoReply(NoReply::Silent | NoReply::TooLong | NoReply::Broken(_))) => {
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
