//! The config file of the demo, as it is written first, with a slip of the pen in it, and later.

use std::path::{Path, PathBuf};

use super::shops::{NEWCOMER, RENAMED, SHOPS, Shop};
use super::stage::BEFORE_EXPIRY;
use crate::simulator::Simulator;

/// What stands in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Edition {
    First,
    /// No config: a duration without its unit.
    Broken,
    /// One OA with its app more, one with another name, another timing.
    Second,
}

/// Where the daemon's API is.
pub(super) fn api_socket(directory: &Path) -> PathBuf {
    directory.join("api.sock")
}

impl Edition {
    fn timeout(self) -> &'static str {
        match self {
            Edition::First => "4s",
            Edition::Broken => "5",
            Edition::Second => "5s",
        }
    }

    fn has(self, place: usize) -> bool {
        self == Edition::Second || place != NEWCOMER
    }

    fn name(self, place: usize) -> &'static str {
        match self {
            Edition::Second if place == RENAMED.0 => RENAMED.1,
            Edition::First | Edition::Broken | Edition::Second => SHOPS[place].name,
        }
    }

    /// The whole file.
    pub(super) fn text(self, simulator: &Simulator, directory: &Path) -> String {
        let store = directory.join("tokens.db");
        // As TOML writes it: a directory's name may hold anything.
        let store = toml::Value::String(store.display().to_string());
        let socket = toml::Value::String(api_socket(directory).display().to_string());
        let mut text = format!(
            r#"[store]
path = {store}

[api]
socket = {socket}

[log]
level = "info"
format = "json"

[refresh]
before_expiry = "{BEFORE_EXPIRY:?}"
jitter = "0s"
timeout = "{}"
retry_first = "500ms"
retry_max = "2s"
settle = "500ms"

[schedule]
heartbeat = "* * * * * *"
"#,
            self.timeout()
        );
        let shops = || SHOPS.iter().enumerate().filter(|(place, _)| self.has(*place));
        let (token_url, api_url) = (simulator.token_url(), simulator.api_url());
        let mut apps: Vec<&str> = shops().map(|(_, shop)| shop.app_id).collect();
        apps.dedup();
        for app in apps {
            text.push_str(&format!(
                "\n[[app]]\nid = \"{app}\"\nsecret_key_file = \"{app}.secret\"\ntoken_url = \"{token_url}\"\n\
                 api_url = \"{api_url}\"\n"
            ));
        }
        for (place, Shop { oa_id, app_id, .. }) in shops() {
            let name = self.name(place);
            text.push_str(&format!("\n[[oa]]\nid = \"{oa_id}\"\napp = \"{app_id}\"\nname = \"{name}\"\n"));
        }
        text
    }
}
