//! What the daemon takes out of the config: values that a reload replaces as a whole.

use reqwest::Url;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Authorize, Config, Consenting};
use crate::id::{AppId, Fleet};
use crate::rotation::Timing;
use crate::secret::Secret;
use crate::zalo::{Caps, Door};

/// What the daemon works by. Whoever has begun something finishes it by the settings that he began with.
pub(super) struct Settings {
    pub(super) door: Door,
    pub(super) timing: Arc<Timing>,
    pub(super) caps: Caps,
    pub(super) apps: BTreeMap<AppId, Endpoint>,
    /// Their names.
    pub(super) app_ids: Arc<BTreeSet<AppId>>,
    pub(super) managed: Arc<Fleet>,
    pub(super) remind: Vec<Duration>,
    pub(super) keep_history: Duration,
    pub(super) authorize: Authorize,
}

/// An app's addresses and its secret.
pub(super) struct Endpoint {
    pub(super) token_url: Url,
    pub(super) api_url: Url,
    pub(super) secret_key: Secret,
    /// How consent is granted to it.
    pub(super) consenting: Option<Consenting>,
}

impl Settings {
    pub(super) fn of(config: &Config, door: Door) -> Settings {
        let apps = config.apps.values().filter_map(|app| {
            let secret_key = app.secret_key.clone()?;
            let endpoint = Endpoint {
                token_url: app.token_url.clone(),
                api_url: app.api_url.clone(),
                secret_key,
                consenting: app.consenting.clone(),
            };
            Some((app.id.clone(), endpoint))
        });
        let apps: BTreeMap<AppId, Endpoint> = apps.collect();
        Settings {
            door,
            timing: Arc::new(config.timing.clone()),
            caps: Caps { answer: config.timeout },
            app_ids: Arc::new(apps.keys().cloned().collect()),
            apps,
            managed: managed(config),
            remind: config.remind.clone(),
            keep_history: config.schedule.keep_history,
            authorize: config.authorize.clone(),
        }
    }
}

/// The OAs of the config, as the store wants them.
pub fn managed(config: &Config) -> Arc<Fleet> {
    Arc::clone(&config.oas)
}
