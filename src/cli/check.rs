//! `check`: is the config right, and what would be managed when?

use super::{Failure, complain, exit, fleet, print};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::keeper;
use crate::store::Direct;
use std::sync::Arc;

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    let clock = SystemClock::new();
    keeper::open_doors(config, Arc::new(clock.clone()))
        .map_err(|error| Failure::new(exit::CONFIG, format!("{}: {error}", config.file.display())))?;
    for warning in config.warnings() {
        complain(&format!("warning: {warning}"));
    }
    Direct::check_place(&config.store_path)?;
    let now = clock.read();
    let store = Direct::open_to_read(&config.store_path)?;
    let oas = store.statuses(&keeper::managed(config), &keeper::at_vendors(config), &now)?;
    let managed = config.oas.len();
    let apps = config.apps.len();
    print(&format!(
        "{} is valid: {managed} OA{} over {apps} app{}{}, store {}\n",
        config.file.display(),
        if managed == 1 { "" } else { "s" },
        if apps == 1 { "" } else { "s" },
        of_vendors(config),
        config.store_path.display()
    ))?;
    if oas.is_empty() { Ok(()) } else { print(&fleet::table(&oas, now.time)) }
}

/// What vendors hold, in words that go on.
fn of_vendors(config: &Config) -> String {
    let (oas, vendors) = (config.vendor_oas.len(), config.vendors.len());
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    match vendors {
        0 => String::new(),
        _ => format!(", {oas} OA{} held by {vendors} vendor{}", plural(oas), plural(vendors)),
    }
}
