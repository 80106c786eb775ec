//! One run of a hook: a process group of its own, which is gone when this returns.
//!
//! A run has ended when its process has, and whatever that started has closed the run's output: so nothing of it goes on
//! beside the next. What does not end in time is asked to by SIGTERM, and then killed, the whole group.

use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::output::{self, Heard};
use crate::secret::Secret;

/// How long a run may go on after it was asked to end.
const AFTER_TERM: Duration = Duration::from_secs(1);
/// How long a run may go on when the daemon stops, before it is asked to end.
const AT_A_STOP: Duration = Duration::from_secs(2);

/// What is run.
pub(super) struct Run {
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<(&'static str, String)>,
    pub(super) input: Secret,
    /// What must not be in the log.
    pub(super) token: Option<Secret>,
    pub(super) timeout: Duration,
}

/// What came of it.
pub(super) struct Ended {
    /// In words, if it did not go well.
    pub(super) outcome: Result<(), String>,
    /// What it wrote.
    pub(super) said: Vec<String>,
}

impl Run {
    pub(super) async fn run(self, stop: &CancellationToken) -> Ended {
        let (command, environment) = (self.command.clone(), self.environment.clone());
        // It returns when the program is begun, for which its disk may be waited for.
        let starting = tokio::task::spawn_blocking(move || start(&command, &environment));
        let failed =
            |what: String| Ended { outcome: Err(format!("cannot be run: {what}")), said: Vec::new() };
        let mut child = match timeout(self.timeout, starting).await {
            Ok(Ok(Ok(child))) => child,
            Ok(Ok(Err(error))) => return failed(error.to_string()),
            Ok(Err(_)) => return failed("a fault of the program; please report this".to_owned()),
            Err(_) => return failed(format!("it did not begin within {}s", self.timeout.as_secs())),
        };
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let heard = [Mutex::default(), Mutex::default()];
        let outcome = self.watch(&mut child, group, &heard, stop).await;
        let heard = heard.map(|heard| heard.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ended { outcome, said: output::lines(&heard, self.token.as_ref()) }
    }

    /// Gives it its input, hears it out, and waits for its end.
    async fn watch(
        &self,
        child: &mut Child,
        group: Option<Pid>,
        heard: &[Mutex<Heard>; 2],
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let token = self.token.as_ref();
        let whole = async {
            let ((), (), (), status) = tokio::join!(
                give(stdin, &self.input),
                hear(stdout, &heard[0], token),
                hear(stderr, &heard[1], token),
                child.wait(),
            );
            status
        };
        let mut whole = std::pin::pin!(whole);
        let why = tokio::select! {
            biased;
            status = &mut whole => return judged(status),
            () = sleep(self.timeout) => format!("did not end within {}s", self.timeout.as_secs()),
            () = async { stop.cancelled().await; sleep(AT_A_STOP).await } => "was ended by the stop".to_owned(),
        };
        for signal in [Signal::TERM, Signal::KILL] {
            if let Some(group) = group
                && let Err(error) = kill_process_group(group, signal)
            {
                tracing::debug!(%error, "a hook's group cannot be signalled");
            }
            if timeout(AFTER_TERM, &mut whole).await.is_ok() {
                break;
            }
        }
        Err(why)
    }
}

fn start(command: &[String], environment: &[(&'static str, String)]) -> std::io::Result<Child> {
    let (program, arguments) =
        command.split_first().ok_or(std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

fn judged(status: std::io::Result<ExitStatus>) -> Result<(), String> {
    match status {
        Ok(status) if status.success() => Ok(()),
        // `exit status: 1`, or `signal: 9 (SIGKILL)`.
        Ok(status) => Err(format!("ended with {status}")),
        Err(error) => Err(format!("cannot be waited for: {error}")),
    }
}

async fn give(stdin: Option<ChildStdin>, input: &Secret) {
    if let Some(mut stdin) = stdin
        && let Err(error) = stdin.write_all(input.expose().as_bytes()).await
    {
        // It need not read it.
        tracing::debug!(%error, "a hook did not read its input");
    }
}

async fn hear(stream: Option<impl AsyncRead + Unpin>, heard: &Mutex<Heard>, token: Option<&Secret>) {
    let Some(mut stream) = stream else { return };
    let mut bytes = [0; 4_096];
    // What cannot be read any more has come to its end.
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        heard.lock().unwrap_or_else(PoisonError::into_inner).take_in(&bytes[..count], token);
    }
}
