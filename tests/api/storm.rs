//! Everything that the API can do with an OA, at once.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use zalo_tokend::simulator::{Answer, Fault, Rule};

use super::Response;
use super::harness::http::{Request, ask};
use super::harness::{Bench, DEADLINE};
use super::section;

/// What one client does over and over.
#[derive(Clone, Copy, Debug)]
enum Client {
    WantsLife,
    Reports,
    Refreshes,
    Imports,
    Manages,
    Waits,
}

impl Client {
    /// Does it once, to one of two OAs: 7 is the config's, 8 a program's.
    async fn act(self, socket: &std::path::Path, oa: &str, grant: &str, seen: u64) -> Response {
        let path = format!("/v1/oas/{oa}");
        let (method, target, body) = match self {
            Client::WantsLife => ("GET", format!("{path}/token?min_ttl=90d"), String::new()),
            Client::Reports => {
                ("POST", format!("{path}/token/reject"), json!({"generation": seen}).to_string())
            }
            Client::Refreshes => ("POST", format!("{path}/refresh"), String::new()),
            Client::Imports => ("PUT", format!("{path}/token-set"), grant.to_owned()),
            Client::Manages if seen.is_multiple_of(2) => ("DELETE", path, String::new()),
            Client::Manages => ("PUT", path, json!({"app_id": "app"}).to_string()),
            Client::Waits => ("GET", format!("{path}/token?after={seen}&wait=50ms"), String::new()),
        };
        ask(socket, Request { method, target: &target, headers: &[], body: &body }).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i2_i3_whatever_all_clients_do_at_once_no_token_is_presented_twice() {
    let seconds = std::env::var("ZALO_TOKEND_STORM").map_or(3, |text| text.parse().expect("seconds"));
    let bench = std::sync::Arc::new(Bench::new().await);
    bench.set_extra(&section("rate = 1000000\n"));
    bench.simulator.fault(Rule::forever(Fault::spent(Answer::Delayed(Duration::from_millis(10)))));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    assert_eq!(bench.send("PUT", "/v1/oas/8", r#"{"app_id": "app"}"#).await.status, 200);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut clients = JoinSet::new();
    let kinds = [
        Client::WantsLife,
        Client::Reports,
        Client::Refreshes,
        Client::Imports,
        Client::Manages,
        Client::Waits,
    ];
    for (number, client) in kinds.into_iter().cycle().take(24).enumerate() {
        let bench = std::sync::Arc::clone(&bench);
        clients.spawn(async move {
            let oa = if number % 4 < 2 { "7" } else { "8" };
            let (mut seen, mut best) = (1, 0);
            let mut round = 0_u64;
            while Instant::now() < until {
                round += 1;
                let grant = match client {
                    Client::Imports => bench.simulator.grant("app", oa).to_string(),
                    Client::Reports => {
                        bench.simulator.kill_access_token(oa);
                        String::new()
                    }
                    Client::WantsLife | Client::Refreshes | Client::Manages | Client::Waits => String::new(),
                };
                let about = if matches!(client, Client::Manages) { round } else { seen };
                let socket = bench.api();
                let acting = client.act(&socket, oa, &grant, about);
                let answer = tokio::time::timeout(DEADLINE / 2, acting).await;
                let answer =
                    answer.unwrap_or_else(|_| panic!("{client:?} of OA {oa} at {about} waits for ever"));
                assert!(
                    matches!(answer.status, 200 | 204 | 304 | 404 | 409 | 429 | 502 | 503),
                    "{client:?}: {answer:?}"
                );
                let record: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                if let Some(generation) = record["generation"].as_u64().filter(|_| answer.status == 200) {
                    assert!(generation >= best, "{client:?}: {generation} after {best}");
                    (seen, best) = (generation, generation);
                }
                if matches!(client, Client::Imports | Client::Manages) {
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
            }
        });
    }
    let reloading = async {
        loop {
            daemon.reload().await;
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    };
    let ended = async {
        while let Some(ended) = clients.join_next().await {
            ended.expect("no client fails")
        }
    };
    tokio::select! {
        () = ended => {}
        () = reloading => unreachable!("it does not end"),
        () = tokio::time::sleep(DEADLINE + Duration::from_secs(seconds)) => panic!("somebody waits for ever"),
    }
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean() && ledger.spent_tokens_presented().is_empty(), "{}", ledger.summary());
    assert!(ledger.presentations() > 5, "there was no storm: {}", ledger.summary());
    assert!(["7", "8"].iter().all(|oa| ledger.max_under_way_of(oa) <= 1), "{}", ledger.summary());
}
