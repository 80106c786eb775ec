//! The log's events, for whoever wants them inside the program: the API's stream, hooks, webhooks, metrics.
//!
//! An event is taken as the log takes it, at whatever level the log is set to, and holds what its line holds: no secret.
//! The newest are kept in memory; each reader has a place of its own in them and reads at his own pace. One who falls too
//! far behind is told that he missed some. Nobody who speaks waits for anybody who reads. As long as nobody has asked for
//! them, nothing is kept.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::{Map, Value};
use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter};

use crate::clock::{Clock, SystemClock, Time};

/// How many events are kept: what a herd says in a quarter of a second, in some four MiB.
const MOST_KEPT: usize = 8_192;

/// One event of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Happening {
    /// Counts the events of this run, from 1.
    pub number: u64,
    /// When it was said.
    pub time: Time,
    /// `INFO`, `WARN` or `ERROR`.
    pub level: &'static str,
    /// Its name, as `refresh.succeeded`.
    pub event: Box<str>,
    /// The OA that it is about, if it is about one.
    pub oa_id: Option<Box<str>>,
    /// All its other fields, `message` among them.
    pub fields: Map<String, Value>,
}

impl Happening {
    /// A text field.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    /// A field that is a whole number.
    pub fn number_in(&self, field: &str) -> Option<u64> {
        self.fields.get(field).and_then(Value::as_u64)
    }

    /// The same object as the log's line.
    pub fn to_json(&self) -> Value {
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), self.time.to_string().into());
        line.insert("level".to_owned(), self.level.into());
        line.insert("event".to_owned(), (*self.event).into());
        if let Some(oa_id) = &self.oa_id {
            line.insert("oa_id".to_owned(), (**oa_id).into());
        }
        line.extend(self.fields.clone());
        Value::Object(line)
    }
}

type Observer = Box<dyn Fn(&Happening) + Send + Sync>;

/// The events. Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    is_wanted: AtomicBool,
    kept: Mutex<Kept>,
    /// The number of the newest.
    newest: watch::Sender<u64>,
    /// Sees each event where it is said, and misses none.
    observer: OnceLock<Observer>,
}

#[derive(Default)]
struct Kept {
    said: u64,
    events: VecDeque<Arc<Happening>>,
}

impl Default for Feed {
    fn default() -> Feed {
        Feed(Arc::new(Inner {
            is_wanted: AtomicBool::new(false),
            kept: Mutex::default(),
            newest: watch::channel(0).0,
            observer: OnceLock::new(),
        }))
    }
}

impl Feed {
    /// What is said from now on is kept.
    pub fn want(&self) {
        self.0.is_wanted.store(true, Ordering::SeqCst);
    }

    /// Calls this for each event that is said from now on, by whoever says it: it must not wait. Only the first observer
    /// counts.
    pub fn observe(&self, observer: impl Fn(&Happening) + Send + Sync + 'static) {
        if self.0.observer.set(Box::new(observer)).is_ok() {
            self.want();
        }
    }

    /// Reads what is said from now on.
    pub fn read(&self) -> FeedReader {
        self.read_after(u64::MAX)
    }

    /// Reads what was said after the event of this number, or if it was not said yet, what is said from now on.
    pub fn read_after(&self, number: u64) -> FeedReader {
        self.want();
        let after = number.min(lock(&self.0.kept).said);
        FeedReader { feed: self.clone(), after, newest: self.0.newest.subscribe() }
    }

    fn say(&self, level: &'static str, time: Time, said: Said) {
        let Some(event) = said.event else { return };
        let happening = {
            let mut kept = lock(&self.0.kept);
            kept.said += 1;
            let happening = Arc::new(Happening {
                number: kept.said,
                time,
                level,
                event,
                oa_id: said.oa_id,
                fields: said.fields,
            });
            if kept.events.len() == MOST_KEPT {
                kept.events.pop_front();
            }
            kept.events.push_back(Arc::clone(&happening));
            happening
        };
        if let Some(observer) = self.0.observer.get() {
            observer(&happening);
        }
        // Numbers may come here out of order; the newest stays.
        self.0.newest.send_if_modified(|newest| {
            let is_newer = happening.number > *newest;
            *newest = (*newest).max(happening.number);
            is_newer
        });
    }

    /// The layer that takes events in.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'s> tracing_subscriber::registry::LookupSpan<'s>,
    {
        Intake { feed: self.clone(), clock: SystemClock::new() }.with_filter(NamedEvents)
    }
}

#[cfg(test)]
impl Feed {
    /// Takes in what is said in there.
    pub(crate) fn hear(&self, work: impl FnOnce()) {
        use tracing_subscriber::layer::SubscriberExt;
        let subscriber = tracing_subscriber::registry().with(self.layer());
        tracing::subscriber::with_default(subscriber, work);
    }
}

/// One reader's place in the feed.
pub struct FeedReader {
    feed: Feed,
    after: u64,
    newest: watch::Receiver<u64>,
}

/// What a reader finds.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    /// The next events, in order.
    Events(Vec<Arc<Happening>>),
    /// So many were said and are not kept any more.
    Missed(u64),
}

impl FeedReader {
    /// The number of the last event that was read.
    pub fn place(&self) -> u64 {
        self.after
    }

    /// The next events, at most `most`, as soon as there is one.
    pub async fn next(&mut self, most: usize) -> Read {
        loop {
            self.newest.borrow_and_update();
            if let Some(read) = self.read_now(most) {
                return read;
            }
            if self.newest.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn read_now(&mut self, most: usize) -> Option<Read> {
        let kept = lock(&self.feed.0.kept);
        let first = kept.said - kept.events.len() as u64;
        if self.after < first {
            let missed = first - self.after;
            self.after = first;
            return Some(Read::Missed(missed));
        }
        let skipped = usize::try_from(self.after - first).unwrap_or(usize::MAX);
        let events: Vec<_> = kept.events.iter().skip(skipped).take(most).cloned().collect();
        self.after += events.len() as u64;
        (!events.is_empty()).then_some(Read::Events(events))
    }
}

/// Takes the events that have a name, whatever the log's own filter is.
struct NamedEvents;

impl<S> Filter<S> for NamedEvents {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        is_named(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        if is_named(metadata) {
            tracing::subscriber::Interest::always()
        } else {
            tracing::subscriber::Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::INFO)
    }
}

fn is_named(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && *metadata.level() <= Level::INFO && metadata.fields().field("event").is_some()
}

struct Intake {
    feed: Feed,
    clock: SystemClock,
}

impl<S: Subscriber> Layer<S> for Intake {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !self.feed.0.is_wanted.load(Ordering::SeqCst) {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        self.feed.say(event.metadata().level().as_str(), self.clock.now(), said);
    }
}

/// The fields of an event, as they are visited.
#[derive(Default)]
struct Said {
    event: Option<Box<str>>,
    oa_id: Option<Box<str>>,
    fields: Map<String, Value>,
}

impl Said {
    fn note(&mut self, field: &Field, value: Value) {
        match (field.name(), &value) {
            ("event", Value::String(text)) => self.event = Some(text.as_str().into()),
            ("oa_id", Value::String(text)) => self.oa_id = Some(text.as_str().into()),
            (name, _) => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.note(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.note(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.note(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.note(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // A value that cannot be written says nothing.
        if write!(text, "{value:?}").is_ok() {
            self.note(field, text.into());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(feed: &Feed, work: impl FnOnce()) {
        feed.hear(work);
    }

    #[tokio::test]
    async fn an_event_is_kept_as_its_line_has_it_and_what_has_no_name_is_not() {
        let feed = Feed::default();
        let mut reader = feed.read();
        said(&feed, || {
            tracing::info!("no event");
            tracing::debug!(event = "too.quiet", "of no interest");
            tracing::warn!(event = "refresh.failed", oa_id = %"7", tries = 3_u64, gone = None::<u64>, "it failed");
        });
        let Read::Events(events) = reader.next(10).await else { panic!("nothing was missed") };
        assert_eq!(events.len(), 1);
        let Happening { number, level, event, oa_id, fields, .. } = &*events[0];
        assert_eq!((*number, *level, &**event, oa_id.as_deref()), (1, "WARN", "refresh.failed", Some("7")));
        assert_eq!(Value::Object(fields.clone()), serde_json::json!({"tries": 3, "message": "it failed"}));
        assert_eq!(events[0].to_json()["event"], "refresh.failed");
        assert_eq!((events[0].text("message"), events[0].number_in("tries")), (Some("it failed"), Some(3)));
    }

    #[tokio::test]
    async fn a_reader_reads_on_where_he_was_and_is_told_what_he_missed() {
        let feed = Feed::default();
        feed.want();
        let say = |count: usize| said(&feed, || (0..count).for_each(|_| tracing::info!(event = "e", "x")));
        say(5);
        let mut reader = feed.read_after(2);
        let numbers = |read: Read| match read {
            Read::Events(events) => events.iter().map(|event| event.number).collect::<Vec<_>>(),
            Read::Missed(count) => panic!("{count} missed"),
        };
        assert_eq!(numbers(reader.next(2).await), [3, 4]);
        assert_eq!(numbers(reader.next(2).await), [5]);
        say(MOST_KEPT + 1);
        assert_eq!(reader.next(1).await, Read::Missed(1));
        assert_eq!(numbers(reader.next(1).await), [7]);
        // From another run, which had said more.
        let mut ahead = feed.read_after(1_000_000);
        say(1);
        assert_eq!(numbers(ahead.next(1).await), [5 + MOST_KEPT as u64 + 2]);
    }

    #[test]
    fn nothing_is_kept_while_nobody_wants_it_and_an_observer_sees_all() {
        let feed = Feed::default();
        said(&feed, || tracing::info!(event = "early", "x"));
        assert_eq!(lock(&feed.0.kept).said, 0);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&seen);
        feed.observe(move |happening| lock(&own).push(happening.event.to_string()));
        said(&feed, || {
            tracing::info!(event = "one", "x");
            tracing::error!(event = "two", "x");
        });
        assert_eq!(*lock(&seen), ["one", "two"]);
    }
}
