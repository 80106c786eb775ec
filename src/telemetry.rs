//! The log: one JSON object a line on stderr, or plain text on a terminal.
//!
//! Lines are handed to a thread of their own through a bounded queue: a reader that stalls or went away costs
//! lines, which are counted, and never stops the program. A panic becomes a line that says where, and not what:
//! its message could hold anything. Imports nothing of ours.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// How many lines wait for a slow reader before the next ones are dropped.
const WAITING_LINES: usize = 16_384;

/// The running log. Dropped, it writes what still waits, for a second at the most.
pub struct Telemetry {
    lines: LinesDropped,
    _guard: WorkerGuard,
}

/// Counts the lines that nobody got to see.
#[derive(Clone)]
pub struct LinesDropped {
    queue: ErrorCounter,
    failed: Arc<AtomicU64>,
}

impl LinesDropped {
    /// How many so far.
    pub fn count(&self) -> u64 {
        (self.queue.dropped_lines() as u64).saturating_add(self.failed.load(Ordering::Relaxed))
    }
}

/// stderr, with the writes counted that it does not take.
struct Counted {
    failed: Arc<AtomicU64>,
}

impl Write for Counted {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Starts the log for the whole process.
///
/// # Errors
/// When `filter` is no filter, or a log was started before.
pub fn start(filter: &str, as_json: bool) -> Result<Telemetry, String> {
    // The scheduler tells at level info of every job that it makes.
    let filter =
        EnvFilter::try_new(format!("tokio_cron_scheduler=warn,{filter}")).map_err(|e| e.to_string())?;
    let failed = Arc::new(AtomicU64::new(0));
    let (lines, guard): (NonBlocking, _) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(Counted { failed: Arc::clone(&failed) });
    let dropped = LinesDropped { queue: lines.error_counter(), failed };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines).with_target(false);
    let started = if as_json {
        log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        log.try_init()
    };
    started.map_err(|error| error.to_string())?;
    log_panics();
    Ok(Telemetry { lines: dropped, _guard: guard })
}

impl Telemetry {
    /// The counter of lines that nobody got to see.
    pub fn lines_dropped(&self) -> LinesDropped {
        self.lines.clone()
    }
}

fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(
            event = "program.panicked",
            place,
            "a part of the program panicked; please report this"
        );
    }));
}
