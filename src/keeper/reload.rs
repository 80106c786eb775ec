//! SIGHUP: the config is read again, and taken over as a whole or not at all.
//!
//! **The order.** Everything that can fail comes first and changes nothing that counts: the file and its secrets are
//! read and checked, clients and cron jobs are made, room for more answers is made. Then the store takes over which OAs
//! there are, in one transaction; if it does not, nothing has changed. What follows cannot fail: the settings are
//! replaced at once for whoever begins something from then on. **What is under way** goes on by the settings that it
//! began with, and is stored under those that are in force when it ends. Several signals are one reload each, or one
//! together: what counts is that the file is read after the last.

use std::sync::Arc;
use tokio::sync::{Mutex, Notify};

use super::duties::Duties;
use super::run::{announce, open_doors};
use super::settings::Settings;
use super::{Keeper, events};
use crate::api::Api;
use crate::config::{self, Config, Difference, Secrets};
use crate::failpoint;

/// Reloads when it is asked to.
#[derive(Clone)]
pub(super) struct Reloader {
    pub(super) keeper: Arc<Keeper>,
    /// The config in force.
    pub(super) config: Config,
    pub(super) duties: Arc<Mutex<Duties>>,
    /// The API, if it answers.
    pub(super) api: Option<Arc<Api>>,
    /// SIGHUP came.
    pub(super) asked: Arc<Notify>,
}

impl Reloader {
    /// Until the daemon stops.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                () = self.keeper.stop.cancelled() => break,
                () = self.asked.notified() => {}
            }
            self.keeper.manager.reloading();
            // In a task of its own, so that a panic in there does not end all reloads to come.
            match tokio::spawn(self.clone().reload_and_tell()).await {
                Ok(reloaded) => self = reloaded,
                Err(_) => events::config_rejected(
                    "the reload panicked, and may have been taken over in part; please report this",
                ),
            }
            self.keeper.manager.ready(&self.keeper.summary().await);
        }
        if let Err(error) = self.duties.lock().await.shutdown().await {
            tracing::debug!(%error, "the scheduler cannot be stopped");
        }
    }

    async fn reload_and_tell(mut self) -> Reloader {
        match self.reload().await {
            Ok(difference) => {
                let Difference { added, changed, removed, sections, .. } = &difference;
                events::config_reloaded(*added, *changed, *removed, &sections.join(", "));
                self.announce(&difference).await;
            }
            Err(problems) => events::config_rejected(&problems),
        }
        self
    }

    /// # Errors
    /// Everything that stands against it, in words; nothing has changed then.
    async fn reload(&mut self) -> Result<Difference, String> {
        let keeper = Arc::clone(&self.keeper);
        let file = self.config.file.clone();
        let read = move || config::load(&file, Secrets::Read);
        let config = tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| "reading the config panicked; please report this".to_owned())?
            .map_err(|problems| problems.to_string())?;
        failpoint::pass("reload.read");
        if let Some(obstacle) = Difference::obstacle(&self.config, &config) {
            return Err(obstacle);
        }
        let difference = Difference::between(&self.config, &config);
        // Always a new one: what stands in the CA file may be another.
        let doors = open_doors(&config, Arc::clone(&keeper.clock)).map_err(|error| error.to_string())?;
        let jobs = self.duties.lock().await.prepare(&config.schedule);
        let jobs = jobs.map_err(|error| format!("[schedule]: {error}"))?;
        let publishing =
            keeper.publishers.prepare(&config).await.map_err(|error| format!("[[publish]]: {error}"))?;
        failpoint::pass("reload.made");
        let slots = usize::try_from(config.timing.max_in_flight).unwrap_or(usize::MAX);
        keeper.store.grow_slots(slots).await.map_err(|error| {
            format!(
                "max_in_flight: there is no room for the answers of {slots} requests: {error}; free the disk"
            )
        })?;
        failpoint::pass("reload.grown");
        let settings = Settings::of(&config, doors);
        let timing = Arc::clone(&settings.timing);
        let managed_alone = keeper.managing.write().await;
        let (managed, at_vendors) = (Arc::clone(&settings.managed), settings.at_vendors.clone());
        let managing = keeper.store.manage(managed, at_vendors, timing, keeper.read_clock());
        let by_program = managing.await.map_err(|error| {
            format!("the store does not take it: {error}; free or repair the disk, and send SIGHUP again")
        })?;

        failpoint::pass("reload.managed");
        // In this order, so that no OA that goes over from a program to the config is gone in between.
        keeper.publishers.go_over_to(publishing);
        *keeper.settings.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(settings);
        keeper.set_by_program(by_program);
        drop(managed_alone);
        self.config = config;
        failpoint::pass("reload.in_force");
        self.take_effect(jobs).await;
        failpoint::pass("reload.done");
        Ok(difference)
    }

    /// The new settings are in force: what depends on them follows.
    async fn take_effect(&mut self, jobs: super::duties::Prepared) {
        if let (Some(api), Some(config)) = (&self.api, &self.config.api) {
            api.go_over_to(config);
        }
        if let Err(error) = self.duties.lock().await.go_over_to(jobs).await {
            // The sweep has a tick of its own, so no OA waits for this.
            tracing::warn!(%error, "a cron expression is not in force; restart the daemon to apply it");
        }
        if let Err(what) = self.keeper.log.set(&self.config.log.level, self.config.log.is_json()) {
            tracing::warn!(what, "the log cannot be changed; restart the daemon to apply [log]");
        }
        // The credentials may be better now.
        if let Err(error) = self.keeper.store.allow_trials(self.keeper.now()).await {
            tracing::debug!(%error, "blocked apps wait for their next trial");
        }
        self.keeper.wake.notify_one();
    }

    /// Says of the OAs that are new, or moved, what a person has to do about them.
    async fn announce(&self, difference: &Difference) {
        let settings = self.keeper.settings();
        for oa_id in difference.added_oas.iter().chain(&difference.changed_oas) {
            let managed = settings.managed.get(oa_id).cloned();
            let status = self.keeper.store.status(oa_id.clone(), managed, self.keeper.read_clock());
            if let Ok(Some(oa)) = status.await {
                announce(&self.keeper, &oa);
            }
        }
    }
}
