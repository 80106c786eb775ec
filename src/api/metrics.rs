//! What is counted while the daemon runs, for `GET /metrics`: by the events as they are said, by the store's transactions
//! and by the API's answers.
//!
//! Whatever there may be many words of is folded: a word that is not known here counts as `other`, so that nothing that
//! comes from outside makes a series. All are there from the start, at 0. [`exposition`](super::exposition) writes them
//! out.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::routes;
use crate::config::EVENTS;
use crate::telemetry::feed::Happening;

/// Before each name.
pub(super) const PREFIX: &str = "zalo_tokend";
const OTHER: &str = "other";
/// How many apps have series of their own.
const MOST_APPS: usize = 256;

const REFRESH_SECONDS: [f64; 11] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0];
const COMMIT_SECONDS: [f64; 12] = [0.0003, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];
const REQUEST_SECONDS: [f64; 11] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0, 100.0];

/// How a refresh can end that failed, in the words of its verdict.
const CLASSES: [&str; 7] = ["not_presented", "throttled", "app_refused", "dead", "granted", "unknown", OTHER];
const VERDICTS: [&str; 4] = ["unspent", "spent", "inconclusive", OTHER];
const APP_CHANGES: [&str; 3] = ["braked", "refused", "released"];
/// Why a person is called. `error`: a code that nobody has documented.
const REASONS: [&str; 7] = [
    "response_lost",
    "refresh_token_rejected",
    "refresh_token_missing",
    "refresh_token_repeated",
    "unprovable",
    "error",
    OTHER,
];
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", OTHER];
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The events that nobody is told of by a publisher, and what any other counts as.
const OTHER_EVENTS: [&str; 6] =
    ["daemon.stopped", "publish.dead_letter", "publish.failed", "publish.recovered", "publish.said", OTHER];

/// The events that the program says, and what any other counts as.
fn events() -> impl Iterator<Item = &'static str> {
    EVENTS.into_iter().chain(OTHER_EVENTS)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refresh {
    outcome: &'static str,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Probe {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reauthorization {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AppChange {
    app_id: Arc<str>,
    change: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Said {
    event: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Commit {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: &'static str,
    method: &'static str,
    status: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// What is counted. It knows nobody: whoever counts has a handle of it.
pub(super) struct Metrics {
    pub(super) registry: Registry,
    refreshes: Family<Refresh, Counter>,
    refresh_durations: Histogram,
    probes: Family<Probe, Counter>,
    reauthorizations: Family<Reauthorization, Counter>,
    app_changes: Family<AppChange, Counter>,
    /// The apps that have series of their own.
    apps: Mutex<BTreeSet<Arc<str>>>,
    said: Family<Said, Counter>,
    commits: Histograms<Commit>,
    requests: Histograms<Request>,
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix(PREFIX),
            refreshes: Family::default(),
            refresh_durations: Histogram::new(REFRESH_SECONDS),
            probes: Family::default(),
            reauthorizations: Family::default(),
            app_changes: Family::default(),
            apps: Mutex::default(),
            said: Family::default(),
            commits: Family::new_with_constructor(|| Histogram::new(COMMIT_SECONDS)),
            requests: Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
        };
        metrics.register();
        metrics.begin_at_zero();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        // Not the type `info`, which older readers do not know.
        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The program", build);
        let help = "Refreshes by outcome and by what Zalo's answer was";
        registry.register("refreshes", help, self.refreshes.clone());
        let help = "From the beginning of a refresh that succeeded to its new set being durable";
        registry.register_with_unit("refresh_duration", help, Unit::Seconds, self.refresh_durations.clone());
        let help = "Answers of Zalo about the old access token of a refresh whose outcome was unknown";
        registry.register("probes", help, self.probes.clone());
        let help = "Grants that a person had to be called for";
        registry.register("reauthorizations", help, self.reauthorizations.clone());
        registry.register("app_changes", "Apps that were held back or let go on", self.app_changes.clone());
        registry.register("events", "Events of the log by name", self.said.clone());
        let help = "The store's transactions, from their beginning to their commit being durable";
        registry.register_with_unit("store_commit_duration", help, Unit::Seconds, self.commits.clone());
        let help =
            "The API's answers, from a request's head to the answer's, with what the caller chose to wait";
        registry.register_with_unit("api_request_duration", help, Unit::Seconds, self.requests.clone());
    }

    /// Makes the series that can be foreseen.
    fn begin_at_zero(&self) {
        let refresh = |outcome, class| drop(self.refreshes.get_or_create(&Refresh { outcome, class }));
        refresh("succeeded", "granted");
        refresh("superseded", "granted");
        refresh("uncertain", "unknown");
        refresh("refused", "dead");
        refresh("refused", "unknown");
        CLASSES.iter().for_each(|class| refresh("failed", class));
        VERDICTS.iter().for_each(|verdict| drop(self.probes.get_or_create(&Probe { verdict })));
        REASONS
            .iter()
            .for_each(|reason| drop(self.reauthorizations.get_or_create(&Reauthorization { reason })));
        events().for_each(|event| drop(self.said.get_or_create(&Said { event })));
        ["committed", "failed"]
            .iter()
            .for_each(|outcome| drop(self.commits.get_or_create(&Commit { outcome })));
        for (method, route) in routes::all() {
            for status in ["2xx", "4xx", "5xx"] {
                drop(self.requests.get_or_create(&Request { route, method, status }));
            }
        }
    }

    /// Gives these apps their series.
    pub(super) fn know_apps<'a>(&self, apps: impl IntoIterator<Item = &'a str>) {
        for app in apps {
            let app_id = self.app(Some(app));
            for change in APP_CHANGES {
                drop(self.app_changes.get_or_create(&AppChange { app_id: Arc::clone(&app_id), change }));
            }
        }
    }

    /// The app, or `other` if there are too many.
    fn app(&self, app_id: Option<&str>) -> Arc<str> {
        let app_id = app_id.unwrap_or(OTHER);
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = apps.get(app_id) {
            return Arc::clone(known);
        }
        let app: Arc<str> = Arc::from(if apps.len() < MOST_APPS { app_id } else { OTHER });
        apps.insert(Arc::clone(&app));
        app
    }

    /// Counts an event. Called by whoever says it.
    pub(super) fn count(&self, happening: &Happening) {
        self.said.get_or_create(&Said { event: folded(&happening.event, events()) }).inc();
        let word = |field| happening.text(field).unwrap_or_default();
        match &*happening.event {
            "refresh.succeeded" => {
                self.refreshed("succeeded", "granted");
                let millis = happening.number_in("duration_ms").unwrap_or_default();
                self.refresh_durations.observe(Duration::from_millis(millis).as_secs_f64());
            }
            "refresh.failed" => self.refreshed("failed", folded(word("class"), CLASSES)),
            "refresh.uncertain" => self.refreshed("uncertain", "unknown"),
            "refresh.superseded" => self.refreshed("superseded", "granted"),
            "refresh.probed" => {
                self.probes.get_or_create(&Probe { verdict: folded(word("verdict"), VERDICTS) }).inc();
            }
            "oa.reauthorization_required" => self.called_for(word("reason")),
            "app.braked" => self.app_changed(happening, "braked"),
            "app.refused" => self.app_changed(happening, "refused"),
            "app.released" => self.app_changed(happening, "released"),
            _ => {}
        }
    }

    fn refreshed(&self, outcome: &'static str, class: &'static str) {
        self.refreshes.get_or_create(&Refresh { outcome, class }).inc();
    }

    fn called_for(&self, reason: &str) {
        let reason = folded(if reason.starts_with("error_") { "error" } else { reason }, REASONS);
        self.reauthorizations.get_or_create(&Reauthorization { reason }).inc();
        match reason {
            "refresh_token_rejected" => self.refreshed("refused", "dead"),
            "error" => self.refreshed("refused", "unknown"),
            _ => {}
        }
    }

    fn app_changed(&self, happening: &Happening, change: &'static str) {
        let app_id = self.app(happening.text("app_id"));
        self.app_changes.get_or_create(&AppChange { app_id, change }).inc();
    }

    /// Counts an answer of the API, by the template of its route.
    pub(super) fn answered(
        &self,
        route: Option<&'static str>,
        method: &str,
        status: StatusCode,
        took: Duration,
    ) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        let request = Request {
            route: route.unwrap_or(OTHER),
            method: folded(method, METHODS),
            status: STATUS_CLASSES.get(class).copied().unwrap_or(OTHER),
        };
        self.requests.get_or_create(&request).observe(took.as_secs_f64());
    }

    /// What sees the store's transactions. It holds nothing but its own counters.
    pub(super) fn commit_observer(&self) -> impl Fn(Duration, bool) + Send + Sync + use<> {
        let commits = self.commits.clone();
        move |took, is_committed| {
            let outcome = if is_committed { "committed" } else { "failed" };
            commits.get_or_create(&Commit { outcome }).observe(took.as_secs_f64());
        }
    }
}

/// The word if it is a known one.
fn folded(word: &str, known: impl IntoIterator<Item = &'static str>) -> &'static str {
    known.into_iter().find(|known| *known == word).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use prometheus_client::encoding::text;
    use serde_json::{Map, Value, json};

    fn said(event: &str, fields: Value) -> Happening {
        let Value::Object(fields) = fields else { panic!("an object") };
        let (event, fields) = (event.into(), Map::from_iter(fields));
        Happening { number: 1, time: Time::from_millis(0), level: "INFO", event, oa_id: None, fields }
    }

    /// The samples that are not 0, by their names and labels.
    fn samples(metrics: &Metrics) -> Vec<String> {
        let mut text = String::new();
        text::encode(&mut text, &metrics.registry).expect("written");
        let is_of_interest =
            |line: &&str| !line.starts_with('#') && !line.ends_with(" 0") && !line.contains("_sum");
        text.lines().filter(is_of_interest).map(str::to_owned).collect()
    }

    #[test]
    fn words_that_nobody_knows_make_no_series() {
        let metrics = Metrics::new();
        let lines = |metrics: &Metrics| {
            let mut text = String::new();
            text::encode(&mut text, &metrics.registry).expect("written");
            text.lines().count()
        };
        let before = lines(&metrics);
        for number in 0..1_000 {
            let word = format!("word{number}");
            metrics.count(&said(&word, json!({})));
            metrics.count(&said("refresh.failed", json!({"class": word})));
            metrics.count(&said("refresh.probed", json!({"verdict": word})));
            metrics.count(&said("oa.reauthorization_required", json!({"reason": word})));
            metrics.count(&said("oa.reauthorization_required", json!({"reason": format!("error_{number}")})));
            metrics.answered(None, &word, StatusCode::OK, Duration::ZERO);
        }
        // One histogram, of requests to no route.
        assert_eq!(lines(&metrics) - before, REQUEST_SECONDS.len() + 3);
        metrics.know_apps(["first"]);
        let before = lines(&metrics);
        for number in 0..1_000 {
            metrics.count(&said("app.braked", json!({"app_id": format!("app{number}")})));
        }
        assert_eq!(lines(&metrics) - before, MOST_APPS, "all but the first, and the others");
    }

    #[test]
    fn each_event_counts_where_it_belongs() {
        let metrics = Metrics::new();
        metrics.count(&said("refresh.succeeded", json!({"duration_ms": 150})));
        metrics.count(&said("refresh.failed", json!({"class": "throttled"})));
        metrics.count(&said("oa.reauthorization_required", json!({"reason": "refresh_token_rejected"})));
        metrics.know_apps(["1"]);
        metrics.count(&said("app.refused", json!({"app_id": "1"})));
        metrics.commit_observer()(Duration::from_millis(3), false);
        let samples = samples(&metrics);
        for sample in [
            "zalo_tokend_refreshes_total{outcome=\"succeeded\",class=\"granted\"} 1",
            "zalo_tokend_refreshes_total{outcome=\"failed\",class=\"throttled\"} 1",
            "zalo_tokend_refreshes_total{outcome=\"refused\",class=\"dead\"} 1",
            "zalo_tokend_reauthorizations_total{reason=\"refresh_token_rejected\"} 1",
            "zalo_tokend_app_changes_total{app_id=\"1\",change=\"refused\"} 1",
            "zalo_tokend_events_total{event=\"refresh.failed\"} 1",
            "zalo_tokend_refresh_duration_seconds_bucket{le=\"0.2\"} 1",
            "zalo_tokend_store_commit_duration_seconds_count{outcome=\"failed\"} 1",
        ] {
            assert!(samples.iter().any(|found| found == sample), "no {sample} in {samples:#?}");
        }
        let too_fast = "zalo_tokend_refresh_duration_seconds_bucket{le=\"0.1\"}";
        assert!(!samples.iter().any(|found| found.starts_with(too_fast)), "{samples:#?}");
    }

    #[test]
    fn the_events_are_those_that_the_program_says() {
        let mut found = BTreeSet::from([OTHER.to_owned()]);
        let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in
                std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("there").path())
            {
                if entry.is_dir() {
                    folders.push(entry);
                    continue;
                }
                let text = std::fs::read_to_string(entry).unwrap_or_default();
                let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                found.extend(
                    program
                        .split("event = \"")
                        .skip(1)
                        .filter_map(|rest| rest.split_once('"').map(|(name, _)| name.to_owned())),
                );
            }
        }
        assert_eq!(events().map(str::to_owned).collect::<BTreeSet<_>>(), found);
    }
}
