//! `GET /healthz` and `GET /readyz`: does the daemon live, and is it of use?

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;

use super::Api;
use super::caller::Caller;
use super::oas::json;
use super::problem::Problem;
use crate::config::Verb;
use crate::store;

/// For anybody who can connect.
pub(super) async fn alive() -> Result<Response, Problem> {
    json(StatusCode::OK, &json!({"status": "alive"}))
}

/// What is told to who may read.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    /// `well`, `takes_no_writes` or `unreadable`.
    store: &'static str,
    /// What the store's trouble is, in words.
    detail: Option<String>,
    /// How many OAs are managed; null where the store cannot be read.
    oas: Option<u64>,
    /// Those that no valid token can be handed out for, by state: they make nothing unready, a person or time mends them.
    without_valid_token: BTreeMap<&'static str, u64>,
}

/// Ready is whose store takes writes and can be read.
pub(super) async fn ready(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let readiness = readiness(&api).await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let rights = api.rights();
    if rights.is_stranger(&caller) || !rights.may_any(&caller, Verb::Read) {
        return json(status, &json!({"ready": readiness.ready}));
    }
    json(status, &readiness)
}

async fn readiness(api: &Arc<Api>) -> Readiness {
    let (fleet, failure) = (api.fleet().await, api.desk.store_failure());
    let (store, detail) = match (&fleet, failure) {
        (_, Some(what)) => ("takes_no_writes", Some(what)),
        (Err(what), None) => ("unreadable", Some(what.clone())),
        (Ok(_), None) => ("well", None),
    };
    let mut readiness =
        Readiness { ready: detail.is_none(), store, detail, oas: None, without_valid_token: BTreeMap::new() };
    if let Ok(fleet) = fleet {
        let counts = &fleet.overview.counts;
        let managed = counts.iter().filter(|(state, _)| **state != store::State::Unmanaged);
        readiness.oas = Some(managed.map(|(_, count)| count).sum());
        readiness.without_valid_token =
            fleet.overview.unserved.iter().map(|(state, count)| (state.word(), *count)).collect();
    }
    readiness
}
