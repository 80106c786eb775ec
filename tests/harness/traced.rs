//! One thread of the daemon, disturbed at a chosen system call: strace makes the n-th of a kind fail, or kills the
//! process before it. Only from here on are calls counted, so that n names a step of what the test has begun.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::DEADLINE;
use super::frozen::find;

/// Whether strace is there and may look at what it did not start. In CI it must be so.
pub fn is_possible() -> bool {
    let version = std::process::Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let is_allowed = rustix::process::geteuid().is_root() || matches!(scope.trim(), "" | "0");
    let is_possible = version.is_ok() && is_allowed;
    assert!(is_possible || std::env::var_os("CI").is_none(), "strace is missing, or may not attach");
    if !is_possible {
        eprintln!(
            "strace is missing, or this user may not attach it: nothing was tested (apt-get install strace)"
        );
    }
    is_possible
}

/// A thread that is disturbed until this is dropped.
pub struct Traced {
    tracer: Child,
}

impl Traced {
    /// Disturbs the thread of this name, as strace's `--inject` has it: `fdatasync:error=EIO:when=2`.
    pub async fn thread(process: u32, name: &str, injection: &str) -> Traced {
        let mut command = tracer(injection);
        command.args(["-p", &find(process, name).to_string()]).stderr(Stdio::piped());
        let mut tracer = command.kill_on_drop(true).spawn().expect("strace runs");
        let mut said = BufReader::new(tracer.stderr.take().expect("piped")).lines();
        let attached = async {
            while let Some(line) = said.next_line().await.expect("read") {
                if line.contains("attached") {
                    return;
                }
            }
            panic!("strace does not attach: this user may not trace its own processes");
        };
        tokio::time::timeout(DEADLINE, attached).await.expect("strace attaches");
        Traced { tracer }
    }

    /// Disturbs it no longer.
    pub async fn leave(mut self) {
        let pid = self.tracer.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
        if let Some(pid) = pid {
            // Asked to, it lets the thread go on before it ends.
            rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signalled");
        }
        tokio::time::timeout(DEADLINE, self.tracer.wait()).await.expect("strace ends").expect("waited for");
    }
}

/// The words before the program, for one that is disturbed from its start on, in whichever thread comes to n first.
pub fn from_the_start(injection: &str) -> Vec<String> {
    // Behind its back, so that the program is still the child of the test.
    let words = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e"];
    words.into_iter().map(str::to_owned).chain([format!("inject={injection}")]).collect()
}

fn tracer(injection: &str) -> Command {
    let mut command = Command::new("strace");
    command.args(["-o", "/dev/null", "-e", "signal=none", "-e", &format!("inject={injection}")]);
    command
}
