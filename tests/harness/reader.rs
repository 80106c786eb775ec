//! A daemon whose log somebody else reads: slowly, not at all, or no longer. The test is that reader.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe::{OpenOptions, Receiver};
use tokio::process::Child;

use super::{Bench, DEADLINE, assert_no_secret};

/// A running daemon whose log is not read by the harness. Killed when dropped.
pub struct Unheard {
    child: Child,
}

impl Bench {
    /// Starts the daemon with this for its stdout and its stderr, as systemd gives it one socket for both.
    pub fn spawn_into(&self, log: impl Into<Stdio>, stdout: impl Into<Stdio>) -> Unheard {
        let mut command = self.command();
        command.arg("run").stdin(Stdio::null()).stdout(stdout).stderr(log).kill_on_drop(true);
        Unheard { child: command.spawn().expect("the binary runs") }
    }
}

impl Unheard {
    pub fn ask_to_stop(&self) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("running");
        kill_process(pid, Signal::TERM).expect("signalled");
    }

    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("the daemon ends").expect("waited for")
    }
}

/// Reads a log only while it is asked to.
pub struct Reader {
    lines: Lines<BufReader<Receiver>>,
    /// What it has read so far.
    pub read: Vec<String>,
}

impl Reader {
    /// A pipe: the reader, and twice the end to write to.
    pub fn of_a_pipe() -> io::Result<(Reader, OwnedFd, OwnedFd)> {
        let (reader, writer) = io::pipe()?;
        let reader = Receiver::from_owned_fd(OwnedFd::from(reader))?;
        Ok((Reader::new(reader), OwnedFd::from(writer.try_clone()?), OwnedFd::from(writer)))
    }

    /// A pipe with a name, so that after one reader went away another can come.
    pub fn of_a_fifo(fifo: &Path) -> io::Result<(Reader, OwnedFd)> {
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(rustix::fs::CWD, fifo, kind, mode, 0)?;
        // Without a reader the writer would wait to open it.
        let reader = Reader::again(fifo)?;
        Ok((reader, std::fs::OpenOptions::new().write(true).open(fifo)?.into()))
    }

    pub fn again(fifo: &Path) -> io::Result<Reader> {
        Ok(Reader::new(OpenOptions::new().open_receiver(fifo)?))
    }

    fn new(receiver: Receiver) -> Reader {
        Reader { lines: BufReader::new(receiver).lines(), read: Vec::new() }
    }

    /// Reads on until such an event comes.
    pub async fn until(&mut self, name: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let found = tokio::time::timeout(DEADLINE, async {
            loop {
                let line = self.lines.next_line().await.expect("readable")?;
                let event: Option<Value> = serde_json::from_str(&line).ok();
                self.read.push(line);
                if let Some(event) = event.filter(|event| event["event"] == name && is_wanted(event)) {
                    return Some(event);
                }
            }
        });
        let found = found.await.unwrap_or_else(|_| panic!("no such {name} came"));
        found.unwrap_or_else(|| panic!("the log ended without such a {name}"))
    }

    /// Reads whatever waits in the pipe and what comes until the writer is gone.
    pub async fn rest(&mut self) {
        let end = async {
            while let Some(line) = self.lines.next_line().await.expect("readable") {
                self.read.push(line);
            }
        };
        tokio::time::timeout(DEADLINE, end).await.expect("the log ends");
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_no_secret(self.read.join("\n").as_bytes(), "the log");
        }
    }
}
