//! The log: one JSON object a line on stderr, or plain text on a terminal.
//!
//! Lines are handed to a thread of their own through a bounded queue: a reader that stalls or went away costs
//! lines, which are counted, and never stops the program. A panic becomes a line that says where, and not what:
//! its message could hold anything. [`feed`] hands the same events out inside the program. May import `clock`.

pub mod feed;

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

pub use feed::Feed;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// How many lines wait for a slow reader before the next ones are dropped.
const WAITING_LINES: usize = 16_384;

/// How long the end of the log waits for its reader: somewhat longer than the queue itself does.
const LAST_WORDS: Duration = Duration::from_millis(1_500);

/// The running log.
pub struct Telemetry {
    control: LogControl,
    end: End,
}

/// The end of the queue.
struct End {
    guard: WorkerGuard,
    /// Disconnected when the queue's thread has ended.
    written: mpsc::Receiver<()>,
}

type Form = Box<dyn Layer<Registry> + Send + Sync>;

/// Changes the running log, and knows how many lines it lost.
#[derive(Clone)]
pub struct LogControl {
    lines: NonBlocking,
    dropped: LinesDropped,
    filter: reload::Handle<EnvFilter, Registry>,
    form: reload::Handle<Form, Registry>,
    feed: Feed,
}

impl LogControl {
    /// The counter of lines that nobody got to see.
    pub fn lines_dropped(&self) -> u64 {
        self.dropped.count()
    }

    /// The same events, for whoever wants them inside the program.
    pub fn feed(&self) -> &Feed {
        &self.feed
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

#[cfg(test)]
impl LogControl {
    /// That of a log that nobody writes to.
    pub(crate) fn of_no_log() -> LogControl {
        let (lines, dropped, _end) = queue(io::sink());
        let (_layer, filter) = reload::Layer::new(EnvFilter::new("off"));
        let (_layer, form) = reload::Layer::new(form(lines.clone(), true));
        LogControl { lines, dropped, filter, form, feed: Feed::default() }
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

/// Where the lines go, with the writes counted that it does not take.
struct Counted<W> {
    to: W,
    failed: Arc<AtomicU64>,
    /// Dropped with this, when the queue's thread ends.
    _written: mpsc::Sender<()>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.to.write_all(line).is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Of an error the queue's thread would forget that it was told to end. Nothing is buffered: what was not
        // taken is counted.
        self.to.flush().or(Ok(()))
    }
}

/// The queue: where lines go in, what is lost on the way, and its end.
fn queue(to: impl Write + Send + 'static) -> (NonBlocking, LinesDropped, End) {
    let failed = Arc::new(AtomicU64::new(0));
    let (tell, written) = mpsc::channel();
    let (lines, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(Counted { to, failed: Arc::clone(&failed), _written: tell });
    let dropped = LinesDropped { queue: lines.error_counter(), failed };
    (lines, dropped, End { guard, written })
}

/// Starts the log for the whole process.
///
/// # Errors
/// When `filter` is no filter, or a log was started before.
pub fn start(filter: &str, as_json: bool) -> Result<Telemetry, String> {
    let (filter, filter_handle) = reload::Layer::new(parse(filter)?);
    let (lines, dropped, end) = queue(io::stderr());
    let (form, form_handle) = reload::Layer::new(form(lines.clone(), as_json));
    let feed = Feed::default();
    let registry = tracing_subscriber::registry().with(form.with_filter(filter)).with(feed.layer());
    registry.try_init().map_err(|error| error.to_string())?;
    log_panics();
    let control = LogControl { lines, dropped, filter: filter_handle, form: form_handle, feed };
    Ok(Telemetry { control, end })
}

impl Telemetry {
    /// What changes the log while it runs.
    pub fn control(&self) -> LogControl {
        self.control.clone()
    }

    /// Ends the log when what still waits is written, or after a while. `false`: it is not, and whoever writes to
    /// stderr now waits for its reader as well.
    pub fn end(self) -> bool {
        self.end.wait()
    }
}

impl End {
    fn wait(self) -> bool {
        let End { guard, written } = self;
        // To a queue that is full the guard cannot say that this is the end, and it complains of that on stdout:
        // under systemd the same socket whose reader stalls. So it is dropped where nobody waits for it.
        let end = std::thread::Builder::new().name("log-end".to_owned()).spawn(move || drop(guard));
        end.is_ok() && written.recv_timeout(LAST_WORDS) == Err(mpsc::RecvTimeoutError::Disconnected)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Takes lines while it is not locked.
    #[derive(Clone, Default)]
    struct Stalling(Arc<Mutex<Vec<u8>>>);

    impl Write for Stalling {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const MORE_THAN_WAIT: u64 = WAITING_LINES as u64 + 1_000;

    fn say(lines: &mut NonBlocking, count: u64) {
        for _ in 0..count {
            lines.write_all(b"line\n").expect("never refused");
        }
    }

    #[test]
    fn every_line_is_either_written_or_counted_as_dropped() {
        let reader = Stalling::default();
        let (mut lines, dropped, end) = queue(reader.clone());
        let stalled = reader.0.lock().expect("no panic");
        say(&mut lines, MORE_THAN_WAIT);
        // One line may be in the writer's hands.
        assert!((999..=1_000).contains(&dropped.count()), "{}", dropped.count());
        drop(stalled);
        assert!(end.wait());
        let written = reader.0.lock().expect("no panic").iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(written + dropped.count(), MORE_THAN_WAIT);
    }

    #[test]
    fn a_line_that_is_refused_is_counted() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let (mut lines, dropped, end) = queue(Full);
        say(&mut lines, 10);
        assert!(end.wait());
        assert_eq!(dropped.count(), 10);
    }

    #[test]
    fn the_end_says_when_the_reader_stalls() {
        let reader = Stalling::default();
        let (mut lines, _dropped, end) = queue(reader.clone());
        let stalled = reader.0.lock().expect("no panic");
        say(&mut lines, MORE_THAN_WAIT);
        assert!(!end.wait());
        drop(stalled);
    }
}
