//! `history`: the journal of attempts.

use std::time::Duration;

use super::means::{Means, Offline};
use super::status::{json, unknown_oa};
use super::table::{Table, Tone};
use super::{Failure, OaReport, client, exit, print, print_bytes};
use crate::api::History;
use crate::clock::{Clock, SystemClock, Time};
use crate::config::Config;
use crate::id::{AttemptId, OaId};
use crate::keeper;
use crate::store::{Direct, HistoryEntry, TokenAnswer};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    report: OaReport,
    /// Print only the raw answer that was kept with this attempt; it is as secret as a token
    #[arg(long, value_name = "ATTEMPT_ID", conflicts_with = "json", value_parser = parse_attempt)]
    answer: Option<AttemptId>,
    #[command(flatten)]
    offline: Offline,
}

/// How long a daemon may take to read a journal.
const PATIENCE: Duration = Duration::from_secs(10);

fn parse_attempt(text: &str) -> Result<AttemptId, String> {
    AttemptId::parse(text).ok_or_else(|| "not the name of an attempt; history shows them".to_owned())
}

pub(super) fn run(means: &Means, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { report, answer, offline } = arguments;
    let oa_id = report.oa.oa_id();
    if let Some(attempt) = answer {
        return print_answer(means.config()?, &oa_id, *attempt);
    }
    let History { oa_id, attempts } = means.tell(
        offline,
        oa_id.as_str(),
        |socket| client::get(socket, &client::route(&oa_id, "/history"), PATIENCE),
        || stored(means.config()?, &oa_id),
    )?;
    if report.json {
        return print(&(json(&History { oa_id, attempts })? + "\n"));
    }
    if attempts.is_empty() {
        return print(&format!("OA {oa_id} has not been refreshed yet\n"));
    }
    let mut table =
        Table::new(&["STARTED", "PRESENTED", "GENERATION", "OUTCOME", "PROOF", "DETAIL", "ATTEMPT"]);
    for attempt in &attempts {
        let or_dash =
            |text: &Option<String>| text.clone().filter(|t| !t.is_empty()).unwrap_or_else(|| "-".to_owned());
        let cells = [
            attempt.started_at.to_string(),
            attempt.presented_at.as_ref().map_or_else(|| "never".to_owned(), Time::to_string),
            attempt.generation.to_string(),
            outcome(attempt),
            or_dash(&attempt.proof),
            or_dash(&attempt.detail),
            attempt.attempt_id.to_string(),
        ];
        table.row(cells.map(|cell| (cell, Tone::Plain)));
    }
    print(&table.render())
}

/// What the store knows.
fn stored(config: &Config, oa_id: &OaId) -> Result<History, Failure> {
    let store = Direct::open_to_read(&config.store_path)?;
    let attempts = store.history(oa_id)?;
    if attempts.is_empty() {
        let known = store.token(&keeper::managed(config), oa_id, &SystemClock::new().read())?;
        if matches!(known, TokenAnswer::NoSuchOa) && !config.vendor_oas.contains_key(oa_id) {
            return Err(unknown_oa(oa_id.as_str(), config));
        }
    }
    Ok(History { oa_id: oa_id.clone(), attempts })
}

/// As secret as a token, and handed out by no daemon.
fn print_answer(config: &Config, oa_id: &OaId, attempt: AttemptId) -> Result<(), Failure> {
    match Direct::open_to_read(&config.store_path)?.kept_answer(oa_id, attempt)? {
        Some(bytes) => print_bytes(&bytes),
        None => Err(Failure::new(
            exit::FAILED,
            format!(
                "no answer is kept with attempt {attempt} of OA {oa_id}; those that are kept are marked in: zalo-tokend history {oa_id}"
            ),
        )),
    }
}

fn outcome(attempt: &HistoryEntry) -> String {
    let outcome = attempt.class.as_ref().unwrap_or(&attempt.phase);
    if attempt.answer_kept { format!("{outcome} (answer kept)") } else { outcome.clone() }
}
