//! `run`: the daemon, in the foreground.

use std::time::Duration;

use super::{Failure, exit, owner, runtime};
use crate::api;
use crate::config::Config;
use crate::keeper::{self, Caught, RunError};
use crate::publish::PublishError;
use crate::telemetry;

/// How long work that blocks, such as a name look-up that hangs, may hold up the end of the process.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

pub(super) fn run(load: impl FnOnce() -> Result<Config, Failure>) -> Result<(), Failure> {
    let signals = Caught::from_now_on()?;
    let inherited = api::inherited();
    let config = load()?;
    owner::take_on_owner(&config.store_path)?;
    let telemetry = telemetry::start(&config.log.level, config.log.is_json())
        .map_err(|what| Failure::new(exit::FAILED, format!("the log cannot be started: {what}")))?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(keeper::run(config, telemetry.control(), signals, inherited));
    runtime.shutdown_timeout(LAST_PATIENCE);
    let ended = outcome.map_err(Failure::from);
    if !telemetry.end()
        && let Err(failure) = &ended
    {
        // The sentence would wait on stderr for a reader that stalls, and nobody start the daemon again meanwhile.
        std::process::exit(failure.exit_code.into());
    }
    ended
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        let exit_code = match error {
            RunError::Store(error) => return Failure::from(error),
            RunError::Unusable(_)
            | RunError::Client(_)
            | RunError::Publish(PublishError::Client(_))
            | RunError::Schedule(_) => exit::CONFIG,
            RunError::System(_)
            | RunError::Ended(_)
            | RunError::Publish(PublishError::Store(_))
            | RunError::Hangs
            | RunError::Internal(_) => exit::FAILED,
        };
        Failure::new(exit_code, error.to_string())
    }
}
