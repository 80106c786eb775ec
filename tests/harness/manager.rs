//! A service manager: a socket that takes what the daemon says of itself, each message with the time of its arrival.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::UnixDatagram;
use tokio::sync::watch;

use super::{Bench, DEADLINE, Daemon, lock};

/// What came so far.
pub struct Manager {
    socket: PathBuf,
    messages: Arc<Mutex<Vec<(Instant, String)>>>,
    changed: watch::Receiver<usize>,
}

impl Manager {
    pub fn beside(bench: &Bench) -> Manager {
        let socket = bench.path("notify.sock");
        let listener = UnixDatagram::bind(&socket).expect("bound");
        let messages = Arc::<Mutex<Vec<(Instant, String)>>>::default();
        let (tell, changed) = watch::channel(0);
        let own_messages = Arc::clone(&messages);
        tokio::spawn(async move {
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(length) = listener.recv(&mut bytes).await {
                let message = String::from_utf8(bytes[..length].to_vec()).expect("text");
                lock(&own_messages).push((Instant::now(), message));
                tell.send_modify(|count| *count += 1);
            }
        });
        Manager { socket, messages, changed }
    }

    /// Starts the daemon under this manager, whose watchdog bites after so long.
    pub fn spawn(&self, bench: &Bench, watchdog: Duration) -> Daemon {
        let micros = watchdog.as_micros().to_string();
        let socket = self.socket.to_str().expect("text");
        bench.spawn(&[("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", &micros)])
    }

    /// Every message so far.
    pub fn messages(&self) -> Vec<String> {
        lock(&self.messages).iter().map(|(_, message)| message.clone()).collect()
    }

    /// The messages so far that have this line.
    pub fn with_line(&self, line: &str) -> Vec<(Instant, String)> {
        lock(&self.messages).iter().filter(|(_, message)| has_line(message, line)).cloned().collect()
    }

    /// Waits for the n-th message that has this line.
    pub async fn wait_for_nth(&self, line: &str, n: usize) -> String {
        let mut changed = self.changed.clone();
        let found = tokio::time::timeout(DEADLINE, async {
            loop {
                changed.borrow_and_update();
                if let Some((_, message)) = self.with_line(line).get(n - 1) {
                    return message.clone();
                }
                changed.changed().await.expect("the manager listens");
            }
        });
        found.await.unwrap_or_else(|_| panic!("no {line} came:\n{:?}", self.messages()))
    }

    /// Waits until what it is told of the daemon's state begins with these words.
    pub async fn wait_for_status(&self, words: &str) {
        let mut changed = self.changed.clone();
        let found = tokio::time::timeout(DEADLINE, async {
            loop {
                changed.borrow_and_update();
                let messages = self.messages();
                let lines = messages.iter().flat_map(|message| message.lines());
                let newest = lines.filter_map(|line| line.strip_prefix("STATUS=")).next_back();
                if newest.is_some_and(|status| status.starts_with(words)) {
                    return;
                }
                changed.changed().await.expect("the manager listens");
            }
        });
        found.await.unwrap_or_else(|_| panic!("no state {words:?} came:\n{:?}", self.messages()));
    }

    /// So many more of them come from now on.
    pub async fn wait_for_more(&self, line: &str, more: usize) {
        let before = self.with_line(line).len();
        self.wait_for_nth(line, before + more).await;
    }

    /// Waits until nothing with this line has come for so long.
    pub async fn wait_for_silence(&self, line: &str, silence: Duration) {
        let quiet = tokio::time::timeout(DEADLINE, async {
            let mut changed = self.changed.clone();
            loop {
                let before = self.with_line(line).len();
                let until = tokio::time::Instant::now() + silence;
                loop {
                    if tokio::time::timeout_at(until, changed.changed()).await.is_err() {
                        return;
                    }
                    if self.with_line(line).len() > before {
                        break;
                    }
                }
            }
        });
        quiet.await.unwrap_or_else(|_| panic!("{line} goes on"));
    }

    /// The longest that the manager waited for the next message with this line.
    pub fn longest_gap(&self, line: &str) -> Duration {
        let times: Vec<Instant> = self.with_line(line).into_iter().map(|(at, _)| at).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

fn has_line(message: &str, line: &str) -> bool {
    message.lines().any(|own| own == line)
}
