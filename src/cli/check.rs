//! `check`: is the config right, and what would be managed when?

use super::{Failure, complain, exit, fleet, print};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::keeper;
use crate::store::Direct;
use std::sync::Arc;

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    let clock = SystemClock::new();
    keeper::open_door(config, Arc::new(clock.clone()))
        .map_err(|error| Failure::new(exit::CONFIG, format!("{}: {error}", config.file.display())))?;
    for warning in config.warnings() {
        complain(&format!("warning: {warning}"));
    }
    Direct::check_place(&config.store_path)?;
    let now = clock.read();
    let oas = Direct::open_to_read(&config.store_path)?.statuses(&keeper::managed(config), &now)?;
    let managed = config.oas.len();
    let apps = config.apps.len();
    print(&format!(
        "{} is valid: {managed} OA{} over {apps} app{}, store {}\n",
        config.file.display(),
        if managed == 1 { "" } else { "s" },
        if apps == 1 { "" } else { "s" },
        config.store_path.display()
    ))?;
    if oas.is_empty() { Ok(()) } else { print(&fleet::table(&oas, now.time)) }
}
