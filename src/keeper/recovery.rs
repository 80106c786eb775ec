//! The start: opening the store and taking up what an earlier run left, as long as it takes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use super::news::{self, News};
use super::run::RunError;
use super::systemd::Manager;
use super::{Keeper, consent, events};
use crate::clock::{Clock, Reading};
use crate::config::Config;
use crate::rotation::Roll;
use crate::secret::Secret;
use crate::store::{AbandonedCode, OpenError, Opened, Recovered, StoreError, TakenIn};

/// The waits between repeats of what the disk does not let through: from, to.
const REPEAT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Opens the store and recovers, repeating while the disk does not let us. `None`: it is time to stop.
pub(super) async fn open_and_recover(
    config: &Config,
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
    manager: &Manager,
) -> Result<Option<(Opened, Recovered)>, RunError> {
    let mut patience = Patience::new(stop, manager);
    let mut opened = loop {
        match open(config.store_path.clone()).await? {
            Ok(opened) => break opened,
            Err(OpenError::Unavailable(what)) if patience.wait(&what).await => {}
            Err(OpenError::Unavailable(_)) => return Ok(None),
            Err(refusal) => return Err(refusal.into()),
        }
    };
    let mut recovered = Recovered::default();
    loop {
        let outcome;
        (opened, recovered, outcome) = recover(opened, recovered, config, clock.read()).await?;
        match outcome {
            Ok(()) => break,
            Err(StoreError::Broken(what)) => return Err(RunError::Unusable(what)),
            Err(error) if patience.wait(&error.to_string()).await => {}
            Err(_) => return Ok(None),
        }
    }
    patience.end();
    Ok(Some((opened, recovered)))
}

/// Waits ever longer for a disk to mend, and says once that it does.
pub(super) struct Patience<'s> {
    wait: Duration,
    has_complained: bool,
    stop: &'s CancellationToken,
    manager: &'s Manager,
}

impl<'s> Patience<'s> {
    pub(super) fn new(stop: &'s CancellationToken, manager: &'s Manager) -> Patience<'s> {
        Patience { wait: REPEAT.0, has_complained: false, stop, manager }
    }

    /// The disk let us through.
    pub(super) fn end(self) {
        if self.has_complained {
            events::store_recovered("the start went through");
        }
    }

    /// `false`: it is time to stop.
    pub(super) async fn wait(&mut self, what: &str) -> bool {
        if !self.has_complained {
            events::store_failed(what);
            self.manager.status(&format!("the start waits for the store: {what}"));
            self.has_complained = true;
        }
        tokio::select! {
            () = tokio::time::sleep(self.wait) => {
                self.wait = (self.wait * 2).min(REPEAT.1);
                true
            }
            () = self.stop.cancelled() => false,
        }
    }
}

/// Opens the store, off the runtime.
async fn open(path: PathBuf) -> Result<Result<Opened, OpenError>, RunError> {
    tokio::task::spawn_blocking(move || Opened::open(&path))
        .await
        .map_err(|_| RunError::Internal("opening the store panicked".to_owned()))
}

type Step = (Opened, Recovered, Result<(), StoreError>);

/// Goes through the recovery once, off the runtime.
async fn recover(
    opened: Opened,
    mut recovered: Recovered,
    config: &Config,
    now: Reading,
) -> Result<Step, RunError> {
    let timing = config.timing.clone();
    let slots = usize::try_from(timing.max_in_flight).unwrap_or(usize::MAX);
    tokio::task::spawn_blocking(move || {
        let mut roll = || Roll(fastrand::f64());
        let outcome = opened.recover(slots, &timing, &now, &mut roll, &mut recovered);
        (opened, recovered, outcome)
    })
    .await
    .map_err(|_| RunError::Internal("recovering the store panicked".to_owned()))
}

/// Says what an earlier run had left, once there is a keeper. Our own links are signed with `link_key`.
pub(super) fn tell(keeper: &Keeper, recovered: &Recovered, link_key: Option<Secret>) {
    if let Some(key) = link_key {
        keeper.link_key.get_or_init(|| key);
    }
    for taken_in in &recovered.taken_in {
        let TakenIn { oa_id, app_id, attempt, class, detail, concluded } = taken_in;
        let duration = Duration::ZERO;
        News { oa_id, app_id, attempt: *attempt, class, detail, duration }.tell(keeper, concluded);
    }
    let probe_at = keeper.now().plus(keeper.timing().settle);
    let detail = "the program ended before an answer came";
    for abandoned in &recovered.abandoned {
        news::tell_abandoned(abandoned, detail, probe_at);
    }
    for (oa_id, attempt, stage) in &recovered.codes_taken_in {
        consent::tell(oa_id, *attempt, Some(stage), "taken_in", "its answer was taken in from its slot");
    }
    for AbandonedCode { oa_id, attempt } in &recovered.codes_abandoned {
        events::consent_failed(oa_id, *attempt, "answer_lost", detail);
    }
    recovered.orphans.iter().for_each(|attempt| events::answer_orphaned(*attempt));
    if recovered.torn > 0 {
        events::slot_torn(recovered.torn);
    }
}
