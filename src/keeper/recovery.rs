//! The start: opening the store and taking up what an earlier run left, as long as it takes.

use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use super::events;
use super::run::RunError;
use crate::clock::Clock;
use crate::config::Config;
use crate::rotation::Roll;
use crate::store::{AppChange, Effect, Opened, Recovered, StoreError};

/// The waits between repeats of a recovery that the disk does not let through: from, to.
const REPEAT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Opens the store. Blocking work is done off the runtime.
pub(super) async fn open(path: PathBuf) -> Result<Opened, RunError> {
    let opened = tokio::task::spawn_blocking(move || Opened::open(&path)).await;
    Ok(opened.map_err(|_| RunError::Internal("opening the store panicked".to_owned()))??)
}

/// Recovers, repeating while the disk does not let us. `None`: it is time to stop.
pub(super) async fn recover(
    mut opened: Opened,
    config: &Config,
    clock: &std::sync::Arc<dyn Clock>,
    stop: &CancellationToken,
) -> Result<Option<Opened>, RunError> {
    let mut recovered = Recovered::default();
    let mut wait = REPEAT.0;
    let mut has_failed = false;
    loop {
        let (timing, slots, now) = (config.timing.clone(), config.max_in_flight, clock.now());
        let mut so_far = std::mem::take(&mut recovered);
        let step = tokio::task::spawn_blocking(move || {
            let mut roll = || Roll(fastrand::f64());
            let outcome = opened.recover(slots, &timing, now, &mut roll, &mut so_far);
            (opened, so_far, outcome)
        });
        let (back, so_far, outcome) =
            step.await.map_err(|_| RunError::Internal("recovering the store panicked".to_owned()))?;
        (opened, recovered) = (back, so_far);
        match outcome {
            Ok(()) => break,
            Err(StoreError::Broken(what)) => return Err(RunError::Unusable(what)),
            Err(error) => {
                if !has_failed {
                    events::store_failed(&error.to_string());
                    has_failed = true;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(REPEAT.1),
            () = stop.cancelled() => return Ok(None),
        }
    }
    if has_failed {
        events::store_recovered("the recovery at start went through");
    }
    tell(&recovered, config, clock.as_ref());
    Ok(Some(opened))
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
        if let (AppChange::Blocked, Some(oa)) = (concluded.app, config.oas.get(oa_id)) {
            events::app_refused(&oa.app, "an answer was taken from its slot");
        }
    }
    let probe_at = clock.now().plus(config.timing.settle);
    for (oa_id, attempt) in &recovered.uncertain {
        let detail = "the program ended before an answer came";
        events::refresh_uncertain(oa_id, *attempt, detail, probe_at);
    }
    if recovered.torn > 0 {
        events::slot_torn(recovered.torn);
    }
}
