//! What the daemon takes out of the config: values that a reload replaces as a whole.

use reqwest::Url;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::run::Doors;
use crate::config::{self, Authorize, Config, Consenting};
use crate::id::{AppId, Fleet, VendorId};
use crate::rotation::Timing;
use crate::secret::Secret;
use crate::store::AtVendors;
use crate::vendor::{self, Hosts, Terms};
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
    pub(super) vendor_door: vendor::Door,
    pub(super) vendors: BTreeMap<VendorId, Arc<Vendor>>,
    /// The OAs that they hold.
    pub(super) at_vendors: AtVendors,
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

/// A vendor's address, key and terms.
pub(super) struct Vendor {
    pub(super) base_url: Url,
    pub(super) api_key: Secret,
    pub(super) terms: Terms,
    pub(super) hosts: Hosts,
}

impl Vendor {
    /// Where the vendor's links may lead, as origins.
    pub(super) fn link_origins(&self) -> Vec<String> {
        let Hosts { names, on_this_machine } = &self.hosts;
        let own = on_this_machine.then(|| self.base_url.origin().ascii_serialization());
        names.iter().map(|name| format!("https://{name}")).chain(own).collect()
    }
}

impl Settings {
    pub(super) fn of(config: &Config, Doors { door, vendor_door }: Doors) -> Settings {
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
            vendor_door,
            vendors: config.vendors.values().filter_map(vendor_of).collect(),
            at_vendors: at_vendors(config),
            remind: config.remind.clone(),
            keep_history: config.schedule.keep_history,
            authorize: config.authorize.clone(),
        }
    }
}

/// How many OAs the config has.
pub(super) fn count(config: &Config) -> usize {
    config.oas.len() + config.vendor_oas.len()
}

fn vendor_of(vendor: &config::Vendor) -> Option<(VendorId, Arc<Vendor>)> {
    let config::Vendor { id, base_url, api_key, terms, link_hosts } = vendor;
    // The config has `http` to this machine alone.
    let on_this_machine = base_url.scheme() == "http";
    let hosts = Hosts { names: link_hosts.clone(), on_this_machine };
    let api_key = api_key.clone()?;
    Some((id.clone(), Arc::new(Vendor { base_url: base_url.clone(), api_key, terms: *terms, hosts })))
}

/// The OAs that vendors hold, as the store wants them.
pub fn at_vendors(config: &Config) -> AtVendors {
    let terms = config.vendors.values().map(|vendor| (vendor.id.clone(), vendor.terms)).collect();
    AtVendors { oas: Arc::clone(&config.vendor_oas), terms: Arc::new(terms) }
}

/// The OAs of the config, as the store wants them.
pub fn managed(config: &Config) -> Arc<Fleet> {
    Arc::clone(&config.oas)
}
