//! `check`: is the config right, and what would be managed when?

use super::{Failure, complain, exit, fleet, print};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::keeper;
use crate::store::Direct;
use crate::zalo::Door;
use std::sync::Arc;

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    let clock = SystemClock::new();
    let needs_tls =
        config.apps.values().any(|app| app.token_url.scheme() == "https" || app.api_url.scheme() == "https");
    Door::new(config.http.proxy.as_ref(), config.http.ca_file.as_deref(), needs_tls, Arc::new(clock.clone()))
        .map_err(|error| Failure::new(exit::CONFIG, format!("{}: {error}", config.file.display())))?;
    for warning in config.warnings() {
        complain(&format!("warning: {warning}"));
    }
    Direct::check_place(&config.store_path)?;
    let now = clock.now();
    let oas = Direct::open_to_read(&config.store_path)?.statuses(&keeper::managed(config), now)?;
    let managed = config.oas.len();
    let apps = config.apps.len();
    print(&format!(
        "{} is valid: {managed} OA{} over {apps} app{}, store {}\n",
        config.file.display(),
        if managed == 1 { "" } else { "s" },
        if apps == 1 { "" } else { "s" },
        config.store_path.display()
    ))?;
    if oas.is_empty() { Ok(()) } else { print(&fleet::table(&oas, now)) }
}
