//! The daemon's log for people: which events are worth a line, and what it says.

use serde_json::Value;

use super::super::table::Tone;
use super::shops::place_of;
use crate::clock::{Clock, SystemClock, Time};

/// One line of the daemon's log.
pub(super) struct Event {
    /// The event's name.
    pub(super) name: String,
    /// Which of the shops it is about.
    pub(super) place: Option<usize>,
    fields: Value,
}

impl Event {
    /// `None` for a line that is no event.
    pub(super) fn read(line: &str) -> Option<Event> {
        let fields: Value = serde_json::from_str(line).ok()?;
        let name = fields["event"].as_str()?.to_owned();
        let place = fields["oa_id"].as_str().and_then(place_of);
        Some(Event { name, place, fields })
    }

    pub(super) fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or_default()
    }

    fn number(&self, field: &str) -> u64 {
        self.fields[field].as_u64().unwrap_or_default()
    }

    /// The detail without the layers that an error of the wire came through.
    fn cause(&self) -> &str {
        let detail = self.text("detail");
        let is_of_the_wire = detail.starts_with("error sending request");
        detail.rsplit(": ").next().filter(|_| is_of_the_wire).unwrap_or(detail)
    }

    /// What is wrong with a config, without the directory that it is in and without what would be right.
    fn first_problem(&self) -> &str {
        let problem = self.text("problems").split([';', '\n']).next().unwrap_or_default();
        problem.rsplit_once('/').map_or(problem, |(_, rest)| rest)
    }

    /// A person has to do something about it.
    pub(super) fn needs_a_person(&self) -> bool {
        matches!(self.name.as_str(), "oa.reauthorization_required" | "oa.decision_needed")
    }

    pub(super) fn tone(&self) -> Tone {
        match self.text("level") {
            "ERROR" => Tone::Bad,
            "WARN" => Tone::Warning,
            _ if matches!(self.name.as_str(), "refresh.succeeded" | "app.released") => Tone::Good,
            _ => Tone::Plain,
        }
    }

    /// The event in a few words; `None` for what happens all the time.
    pub(super) fn spoken(&self) -> Option<String> {
        Some(match self.name.as_str() {
            "refresh.started" | "refresh.planned" | "fleet.heartbeat" => return None,
            "oa.imported" => format!("generation {} was imported", self.number("generation")),
            "refresh.succeeded" => {
                format!("generation {}, after {} ms", self.number("generation"), self.number("duration_ms"))
            }
            "refresh.failed" => {
                format!("{}; proven unspent, again in {}", self.cause(), until(self.text("retry_at")))
            }
            "refresh.uncertain" => {
                format!("{}; spent or not? Zalo is asked in {}", self.cause(), until(self.text("probe_at")))
            }
            "refresh.probed" => format!("{}: {}", self.text("verdict"), self.text("detail")),
            "oa.reauthorization_required" => {
                format!("{}: a person must grant consent again", self.text("reason"))
            }
            "app.braked" => {
                format!(
                    "two outcomes in a row unknown; one trial at a time, in {}",
                    until(self.text("trial_at"))
                )
            }
            "app.released" => "a trial succeeded: all OAs of the app go on".to_owned(),
            "config.reloaded" => {
                let [added, changed, removed] =
                    ["added", "changed", "removed"].map(|field| self.number(field));
                let sections = match self.text("sections") {
                    "" => String::new(),
                    sections => format!("; other settings of [{sections}]"),
                };
                format!("{added} added, {changed} changed, {removed} removed{sections}")
            }
            "config.rejected" => format!("{}; the old config stays in force", self.first_problem()),
            _ => self.text("message").to_owned(),
        })
    }
}

fn until(at: &str) -> String {
    match Time::parse(at) {
        Ok(at) => format!("{:.1}s", at.since(SystemClock::new().now()).as_secs_f64()),
        Err(_) => "a while".to_owned(),
    }
}
