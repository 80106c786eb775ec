//! `history`: the journal of attempts.

use serde::Serialize;

use super::status::{json, unknown_oa};
use super::table::{Table, Tone};
use super::{Failure, OaReport, print};
use crate::clock::{Clock, SystemClock, Time};
use crate::config::Config;
use crate::id::OaId;
use crate::keeper;
use crate::store::{Direct, HistoryEntry, TokenAnswer};

#[derive(Serialize)]
struct Report {
    oa_id: OaId,
    attempts: Vec<HistoryEntry>,
}

pub(super) fn run(config: &Config, arguments: &OaReport) -> Result<(), Failure> {
    let oa_id = arguments.oa.oa_id();
    let store = Direct::open_to_read(&config.store_path)?;
    let attempts = store.history(&oa_id)?;
    if attempts.is_empty() {
        let known = store.token(&keeper::managed(config), &oa_id, SystemClock::new().now())?;
        if matches!(known, TokenAnswer::NoSuchOa) {
            return Err(unknown_oa(oa_id.as_str(), config));
        }
    }
    if arguments.json {
        return print(&(json(&Report { oa_id, attempts })? + "\n"));
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
            attempt.class.clone().unwrap_or_else(|| attempt.phase.clone()),
            or_dash(&attempt.proof),
            or_dash(&attempt.detail),
            attempt.attempt_id.to_string(),
        ];
        table.row(cells.map(|cell| (cell, Tone::Plain)));
    }
    print(&table.render())
}
