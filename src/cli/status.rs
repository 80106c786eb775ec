//! `status`: how the OAs stand.

use serde::Serialize;

use super::{Failure, exit, fleet, print};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::keeper;
use crate::store::{Direct, OaStatus};

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
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let now = SystemClock::new().now();
    let mut oas = Direct::open_to_read(&config.store_path)?.statuses(&keeper::managed(config), now)?;
    if let Some(wanted) = &arguments.oa_id {
        oas.retain(|oa| oa.oa_id.as_str() == wanted);
        if oas.is_empty() {
            return Err(unknown_oa(wanted, config));
        }
    }
    if arguments.json {
        return print(&(json(&Report { oas })? + "\n"));
    }
    if oas.is_empty() {
        return print(&format!("no OA is configured; add one to {}\n", config.file.display()));
    }
    print(&fleet::table(&oas, now))
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
