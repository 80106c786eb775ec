//! The daemon as a child process, and its log.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr};

use super::super::{Failure, exit};
use super::stage::Stage;

/// Longer than any request may take; a daemon that still runs then hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Killed when dropped.
pub(super) struct Daemon {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    fate: Fate,
    /// It has said something: it takes signals by now.
    has_spoken: bool,
}

/// What was done to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Running,
    AskedToStop,
    /// By force, or before it took signals: nothing is said of how it ends.
    Killed,
}

impl Daemon {
    pub(super) fn start(stage: &Stage) -> Result<Daemon, Failure> {
        let mut command = stage.command();
        command.arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let Some(log) = child.stderr.take() else {
            return Err(Failure::new(exit::FAILED, "the daemon's log cannot be read"));
        };
        Ok(Daemon { child, log: BufReader::new(log).lines(), fate: Fate::Running, has_spoken: false })
    }

    /// The next line of the log; `None` when the log has ended, or does not end in time. May be dropped while it
    /// waits.
    pub(super) async fn next_line(&mut self) -> Option<String> {
        let patience = if self.fate == Fate::Running { Duration::MAX } else { PATIENCE };
        let line = tokio::time::timeout(patience, self.log.next_line()).await.ok()?.ok()?;
        self.has_spoken |= line.is_some();
        line
    }

    /// SIGHUP.
    pub(super) fn ask_to_reload(&self) {
        self.signal(Signal::HUP);
    }

    /// SIGTERM.
    pub(super) fn ask_to_stop(&mut self) {
        self.fate = match self.fate {
            Fate::Running | Fate::AskedToStop if self.has_spoken => Fate::AskedToStop,
            Fate::Running | Fate::AskedToStop | Fate::Killed => Fate::Killed,
        };
        self.signal(Signal::TERM);
    }

    /// SIGKILL. What it had said by then can still be read.
    pub(super) fn kill(&mut self) {
        self.fate = Fate::Killed;
        self.signal(Signal::KILL);
    }

    pub(super) fn was_killed(&self) -> bool {
        self.fate == Fate::Killed
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let Some(pid) = pid else { return };
        if let Err(error) = kill_process(pid, signal) {
            tracing::debug!(%error, "the daemon has ended already");
        }
    }

    /// Waits for the end, by force if it must be. An error says what was wrong about it.
    pub(super) async fn ended(&mut self) -> Result<(), String> {
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() || self.was_killed() => Ok(()),
            Ok(Ok(status)) => Err(format!("the daemon ended with {status}")),
            Ok(Err(error)) => Err(format!("the daemon's end cannot be seen: {error}")),
            Err(_) => {
                let killed =
                    self.child.kill().await.map_or_else(|error| error.to_string(), |()| "killed".to_owned());
                Err(format!("the daemon did not end within {PATIENCE:?} ({killed})"))
            }
        }
    }
}
