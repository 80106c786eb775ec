//! `GET /metrics`: what was counted, and how the fleet stands, in the text form of OpenMetrics 1.0.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use axum::extract::{Extension, State};
use axum::response::Response;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use super::caller::Caller;
use super::counted::Fleet;
use super::metrics::PREFIX;
use super::problem::Problem;
use super::{Api, in_time, of_type};
use crate::clock::Time;
use crate::config::Verb;
use crate::store::{self, OaStatus};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How many OAs are looked at in one go for the series of each.
const PAGE: usize = 1_000;
/// The states of an app that is held back.
const HELD: [&str; 2] = ["braked", "blocked"];

pub(super) async fn get(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    api.require_all(&caller, Verb::Read)?;
    // Where the store cannot be read, what was counted is told all the same.
    let fleet = api.fleet().await.ok();
    let oas = if api.oa_metrics { api.oa_series().await.ok() } else { None };
    let text = written(&api, fleet.as_deref(), oas.as_ref().map(|text| text.as_str()));
    let text = text.map_err(|_| Problem::not_now("the metrics cannot be written; please report this"))?;
    Ok(of_type(CONTENT_TYPE, text))
}

fn written(api: &Api, fleet: Option<&Fleet>, oas: Option<&str>) -> Result<String, fmt::Error> {
    let mut text = String::new();
    text::encode_registry(&mut text, &api.metrics.registry)?;
    text::encode_registry(&mut text, &of_the_process(api, fleet.is_some()))?;
    if let Some(fleet) = fleet {
        text::encode_registry(&mut text, &of_the_fleet(fleet, api.clock.now()))?;
    }
    text.push_str(oas.unwrap_or_default());
    text::encode_eof(&mut text)?;
    Ok(text)
}

fn of_the_process(api: &Api, is_readable: bool) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    let dropped = ConstCounter::new(api.log.lines_dropped());
    registry.register("log_lines_dropped", "Lines of the log that its reader did not take", dropped);
    let started = ConstGauge::new(seconds(api.desk.started_at()));
    registry.register_with_unit("start_time", "When the daemon started", Unit::Seconds, started);
    let is_well = api.desk.store_failure().is_none();
    registry.register("store_writable", "1: the store takes writes", ConstGauge::new(i64::from(is_well)));
    registry.register("store_readable", "1: the store can be read", ConstGauge::new(i64::from(is_readable)));
    registry
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

fn of_the_fleet(fleet: &Fleet, now: Time) -> Registry {
    let Fleet { overview, held_apps } = fleet;
    let (oas, unserved): (Family<InState, Gauge>, Family<InState, Gauge>) = Default::default();
    let expiry = Family::<InState, Gauge<f64, AtomicU64>>::default();
    for state in store::State::ALL {
        let label = InState { state: state.word() };
        oas.get_or_create(&label).set(whole(overview.counts.get(&state).copied()));
        unserved.get_or_create(&label).set(whole(overview.unserved.get(&state).copied()));
        if let Some(end) = overview.first_ends.get(&state) {
            expiry.get_or_create(&label).set(seconds(*end) - seconds(now));
        }
    }
    let apps = Family::<InState, Gauge>::default();
    for state in HELD {
        let held = held_apps.iter().filter(|app| app.state == state).count() as u64;
        apps.get_or_create(&InState { state }).set(whole(Some(held)));
    }
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register("oas", "OAs by state", oas);
    let help = "Managed OAs that no valid access token can be handed out for, by state";
    registry.register("oas_without_valid_token", help, unserved);
    let help = "How long the first access token of an OA in this state still lives; below 0: it has ended";
    registry.register_with_unit("access_token_expiry", help, Unit::Seconds, expiry);
    registry.register("apps_held", "Apps that are held back", apps);
    registry
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOa {
    oa_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OaInState {
    oa_id: String,
    state: &'static str,
}

/// The series of each OA, as text.
pub(super) async fn oa_series(api: &Api) -> Result<String, String> {
    let states = Family::<OaInState, Gauge>::default();
    let ends = Family::<OfOa, Gauge<f64, AtomicU64>>::default();
    let generations = Family::<OfOa, Gauge<i64, AtomicI64>>::default();
    let mut after = None;
    loop {
        let page = api.reader.statuses(after, PAGE, api.desk.fleet(), api.clock.read());
        let page = in_time(page).await?;
        for OaStatus { oa_id, state, generation, access_token_expires_at, .. } in &page {
            let label = OfOa { oa_id: oa_id.to_string() };
            let in_state = OaInState { oa_id: oa_id.to_string(), state: state.word() };
            states.get_or_create(&in_state).set(1);
            generations.get_or_create(&label).set(whole(Some(*generation)));
            if let Some(end) = access_token_expires_at {
                ends.get_or_create(&label).set(seconds(*end));
            }
        }
        let is_last = page.len() < PAGE;
        after = page.last().map(|oa| oa.oa_id.clone());
        if is_last || after.is_none() {
            break;
        }
    }
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register("oa_state", "1: the OA is in this state", states);
    let help = "When the OA's access token ends";
    registry.register_with_unit("oa_access_token_expiry_timestamp", help, Unit::Seconds, ends);
    registry.register("oa_generation", "The generation of the OA's set", generations);
    let mut text = String::new();
    text::encode_registry(&mut text, &registry).map_err(|error| error.to_string())?;
    Ok(text)
}

fn whole(count: Option<u64>) -> i64 {
    i64::try_from(count.unwrap_or_default()).unwrap_or(i64::MAX)
}

/// Since 1970.
fn seconds(time: Time) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of any year that comes are exact")]
    let millis = time.as_millis() as f64;
    millis / 1_000.0
}
