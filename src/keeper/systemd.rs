//! What the service manager is told: readiness, reloads, life, and that more time is needed.
//!
//! Messages go to `$NOTIFY_SOCKET` (sd_notify(3)); where there is none, nothing happens. None of them decides anything
//! here, and one that cannot be sent is no failure of ours.

use std::time::Duration;

use sd_notify::NotifyState;

/// How often the manager hears of us, unless its watchdog wants it more often.
const FEED: Duration = Duration::from_secs(10);
/// For how much longer we ask each time, while something is not on a disk yet.
const EXTENSION: Duration = Duration::from_secs(60);

/// The way to the service manager.
#[derive(Clone, Debug)]
pub(super) struct Manager {
    is_there: bool,
    watchdog: Option<Duration>,
}

impl Manager {
    /// As the environment has it.
    pub(super) fn of_process() -> Manager {
        let is_there = std::env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty());
        Manager { is_there, watchdog: sd_notify::watchdog_enabled().filter(|_| is_there) }
    }

    /// Is there anybody to tell?
    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    /// How often [`Manager::alive`] is to be said: thrice in the time that the watchdog gives.
    pub(super) fn feed_every(&self) -> Duration {
        self.watchdog.map_or(FEED, |watchdog| (watchdog / 3).min(FEED)).max(Duration::from_millis(10))
    }

    /// The store is open, recovered, and at work: or it is so again after a reload.
    pub(super) fn ready(&self, summary: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(&one_line(summary))]);
    }

    /// A reload begins. [`Manager::ready`] says that it is over.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "the monotonic clock cannot be read"),
        }
    }

    /// A summary for people.
    pub(super) fn status(&self, summary: &str) {
        self.send(&[NotifyState::Status(&one_line(summary))]);
    }

    /// The loop that sweeps is alive.
    pub(super) fn alive(&self) {
        if self.watchdog.is_some() {
            self.send(&[NotifyState::Watchdog]);
        }
    }

    /// No new work; what is under way is finished.
    pub(super) fn stopping(&self) {
        self.send(&[
            NotifyState::Stopping,
            NotifyState::Status("stopping; requests under way are finished first"),
        ]);
    }

    /// Something is not on a disk yet, or not read from one: starting or stopping takes longer.
    pub(super) fn need_time(&self) {
        let micros = u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX);
        self.send(&[NotifyState::ExtendTimeoutUsec(micros)]);
    }

    fn send(&self, message: &[NotifyState<'_>]) {
        if let Some(Err(error)) = self.is_there.then(|| sd_notify::notify(message)) {
            tracing::debug!(%error, "the service manager cannot be told");
        }
    }
}

/// A line break in a status would be the beginning of another message.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_whatever_is_in_it() {
        assert_eq!(one_line("a\nREADY=1\r\u{1b}[31mb\0\u{85}"), "a READY=1  [31mb  ");
    }

    #[test]
    fn the_watchdog_is_fed_thrice_in_its_time() {
        let every = |watchdog| Manager { is_there: true, watchdog }.feed_every();
        assert_eq!(every(Some(Duration::from_secs(900))), FEED);
        assert_eq!(every(Some(Duration::from_secs(3))), Duration::from_secs(1));
        assert_eq!(every(None), FEED);
    }
}
