//! The log: one JSON object a line on stderr, or plain text on a terminal.
//!
//! Lines are handed to a thread of their own through a bounded queue: a reader that stalls or went away costs
//! lines, which are counted, and never stops the program. A panic becomes a line that says where, and not what:
//! its message could hold anything. Imports nothing of ours.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// How many lines wait for a slow reader before the next ones are dropped.
const WAITING_LINES: usize = 16_384;

/// The running log. Dropped, it writes what still waits, for a second at the most.
pub struct Telemetry {
    control: LogControl,
    _guard: WorkerGuard,
}

type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
type Form = Box<dyn Layer<Filtered> + Send + Sync>;

/// Changes the running log, and knows how many lines it lost.
#[derive(Clone)]
pub struct LogControl {
    lines: NonBlocking,
    dropped: LinesDropped,
    filter: reload::Handle<EnvFilter, Registry>,
    form: reload::Handle<Form, Filtered>,
}

impl LogControl {
    /// The counter of lines that nobody got to see.
    pub fn lines_dropped(&self) -> u64 {
        self.dropped.count()
    }

    /// Goes over to another filter and form. Every line is written in one of the two.
    ///
    /// # Errors
    /// When `filter` is no filter.
    pub fn set(&self, filter: &str, as_json: bool) -> Result<(), String> {
        let filter = parse(filter)?;
        self.form.reload(form(self.lines.clone(), as_json)).map_err(|error| error.to_string())?;
        self.filter.reload(filter).map_err(|error| error.to_string())
    }
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    // The scheduler tells at level info of every job that it makes.
    EnvFilter::try_new(format!("tokio_cron_scheduler=warn,{filter}")).map_err(|error| error.to_string())
}

fn form(lines: NonBlocking, as_json: bool) -> Form {
    let layer = fmt::layer().with_writer(lines).with_target(false);
    if as_json {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        layer.boxed()
    }
}

/// Counts the lines that nobody got to see.
#[derive(Clone)]
struct LinesDropped {
    queue: ErrorCounter,
    failed: Arc<AtomicU64>,
}

impl LinesDropped {
    /// How many so far.
    fn count(&self) -> u64 {
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
    let (filter, filter_handle) = reload::Layer::new(parse(filter)?);
    let failed = Arc::new(AtomicU64::new(0));
    let (lines, guard): (NonBlocking, _) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(Counted { failed: Arc::clone(&failed) });
    let dropped = LinesDropped { queue: lines.error_counter(), failed };
    let (form, form_handle) = reload::Layer::new(form(lines.clone(), as_json));
    tracing_subscriber::registry().with(filter).with(form).try_init().map_err(|error| error.to_string())?;
    log_panics();
    let control = LogControl { lines, dropped, filter: filter_handle, form: form_handle };
    Ok(Telemetry { control, _guard: guard })
}

impl Telemetry {
    /// What changes the log while it runs.
    pub fn control(&self) -> LogControl {
        self.control.clone()
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
