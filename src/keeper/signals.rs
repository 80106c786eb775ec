//! Signals, by signal-hook on a thread of its own: it answers also when the runtime is stuck.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The signals that the daemon knows are caught from here on, and answered once it runs.
pub struct Caught(Signals);

impl Caught {
    /// To be called before anything else, so that no signal ends the process in its first moments. Starts no thread.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn from_now_on() -> std::io::Result<Caught> {
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map(Caught)
    }

    /// SIGTERM and SIGINT ask to stop, however often they come. SIGHUP asks for a reload; of several that come while
    /// one is under way, one more is remembered.
    pub(super) fn listen(self, stop: CancellationToken, reload: Arc<Notify>) -> std::io::Result<Listener> {
        let mut signals = self.0;
        let handle = signals.handle();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    reload.notify_one();
                } else {
                    stop.cancel();
                }
            }
        })?;
        Ok(Listener { handle })
    }
}

/// Listens until dropped.
pub(super) struct Listener {
    handle: Handle,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.close();
    }
}
