//! Signals, by signal-hook on a thread of its own: it answers also when the runtime is stuck.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use tokio_util::sync::CancellationToken;

use super::events;

/// Listens until dropped.
pub(super) struct Listener {
    handle: Handle,
}

/// SIGTERM and SIGINT ask to stop, however often they come.
pub(super) fn listen(stop: CancellationToken) -> std::io::Result<Listener> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let handle = signals.handle();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                events::reload_unavailable();
            } else {
                stop.cancel();
            }
        }
    })?;
    Ok(Listener { handle })
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.close();
    }
}
