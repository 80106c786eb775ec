//! The start: opening the store and taking up what an earlier run left, as long as it takes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use super::events;
use super::run::RunError;
use crate::clock::{Clock, Time};
use crate::config::Config;
use crate::rotation::Roll;
use crate::store::{AppChange, Effect, OpenError, Opened, Recovered, StoreError};

/// The waits between repeats of what the disk does not let through: from, to.
const REPEAT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Opens the store and recovers, repeating while the disk does not let us. `None`: it is time to stop.
pub(super) async fn open_and_recover(
    config: &Config,
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
) -> Result<Option<Opened>, RunError> {
    let mut patience = Patience::new(stop);
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
        (opened, recovered, outcome) = recover(opened, recovered, config, clock.now()).await?;
        match outcome {
            Ok(()) => break,
            Err(StoreError::Broken(what)) => return Err(RunError::Unusable(what)),
            Err(error) if patience.wait(&error.to_string()).await => {}
            Err(_) => return Ok(None),
        }
    }
    patience.end();
    tell(&recovered, config, clock.as_ref());
    Ok(Some(opened))
}

/// Waits ever longer for a disk to mend, and says once that it does.
pub(super) struct Patience<'s> {
    wait: Duration,
    has_complained: bool,
    stop: &'s CancellationToken,
}

impl<'s> Patience<'s> {
    pub(super) fn new(stop: &'s CancellationToken) -> Patience<'s> {
        Patience { wait: REPEAT.0, has_complained: false, stop }
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
    now: Time,
) -> Result<Step, RunError> {
    let (timing, slots) = (config.timing.clone(), config.max_in_flight);
    tokio::task::spawn_blocking(move || {
        let mut roll = || Roll(fastrand::f64());
        let outcome = opened.recover(slots, &timing, now, &mut roll, &mut recovered);
        (opened, recovered, outcome)
    })
    .await
    .map_err(|_| RunError::Internal("recovering the store panicked".to_owned()))
}

fn tell(recovered: &Recovered, config: &Config, clock: &dyn Clock) {
    for (oa_id, attempt, concluded) in &recovered.taken_in {
        match &concluded.effect {
            Effect::Adopted { generation, expires_at, refresh_at, reason, oddities } => {
                events::refresh_succeeded(oa_id, *attempt, *generation, *expires_at, Duration::ZERO);
                oddities.iter().for_each(|oddity| events::answer_odd(oa_id, *attempt, *oddity));
                if let Some(refresh_at) = refresh_at {
                    events::refresh_planned(oa_id, *refresh_at);
                }
                if let Some(reason) = reason {
                    events::reauthorization_required(oa_id, *reason);
                }
            }
            Effect::Retry { retry_at } => {
                events::refresh_failed(
                    oa_id,
                    *attempt,
                    "recovered",
                    "an answer was taken from its slot",
                    *retry_at,
                );
            }
            Effect::Uncertain { probe_at } => {
                events::refresh_uncertain(oa_id, *attempt, "an answer was taken from its slot", *probe_at);
            }
            Effect::Reauthorize { reason } => events::reauthorization_required(oa_id, *reason),
            Effect::KeptAside => events::refresh_superseded(oa_id, *attempt),
            Effect::AlreadyConcluded => {}
        }
        let Some(oa) = config.oas.get(oa_id) else { continue };
        match concluded.app {
            AppChange::None => {}
            AppChange::Blocked => events::app_refused(&oa.app, "an answer was taken from its slot"),
            AppChange::Released => events::app_released(&oa.app),
        }
    }
    let probe_at = clock.now().plus(config.timing.settle);
    for (oa_id, attempt) in &recovered.uncertain {
        let detail = "the program ended before an answer came";
        events::refresh_uncertain(oa_id, *attempt, detail, probe_at);
    }
    recovered.orphans.iter().for_each(|attempt| events::answer_orphaned(*attempt));
    if recovered.torn > 0 {
        events::slot_torn(recovered.torn);
    }
}
