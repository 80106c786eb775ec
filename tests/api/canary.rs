//! No refresh token and no app secret leaves by any route, whatever is asked and whatever goes wrong.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zalo_tokend::simulator::{Answer, Fault, MARKER, Rule};

use super::harness::http::{Request, Response, ask};
use super::harness::{Bench, text};
use super::section;

const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"];

/// The answer without the access tokens that it is for. Everything else that is a secret has the marker.
fn assert_no_other_secret(what: &str, answer: &Response) {
    let mut body = text(&answer.body);
    if let Ok(record) = serde_json::from_slice::<serde_json::Value>(&answer.body)
        && let Some(token) = record["access_token"].as_str()
    {
        body = body.replace(token, "");
    }
    assert!(!body.contains(MARKER), "{what}: {body}");
    let headers = format!("{:?}", answer.headers);
    assert!(!headers.contains(MARKER), "{what}: {headers}");
}

impl Bench {
    async fn ask_everything(&self, what: &str) {
        let grant = self.simulator.grant("app", "7").to_string();
        let odd =
            format!("{{\"access_token\": \"{MARKER}\", \"refresh_token\": 7, \"generation\": \"{MARKER}\"}}");
        let bearer = format!("Bearer {MARKER}-wrong");
        let app = "{\"app_id\": \"app\"}";
        let paths = [
            "",
            "/7",
            "/7/token",
            "/7/token/reject",
            "/7/refresh",
            "/7/token-set",
            "/7/history",
            "/8",
            "/8/token",
            "/8/token-set",
        ];
        let paths = paths.map(|path| format!("/v1/oas{path}"));
        let queries = ["", "?proof=true", "?after=1&wait=10ms", "?min_ttl=90d", "?secret=1"];
        for path in
            paths.iter().map(String::as_str).chain(["/", "/openapi.json", "/metrics", "/healthz", "/readyz"])
        {
            for method in METHODS {
                for body in [grant.as_str(), odd.as_str(), app, "{\"generation\": 1}"] {
                    self.ask_one(what, method, path, body, &[]).await;
                }
            }
            for query in queries {
                self.ask_one(what, "GET", &format!("{path}{query}"), "", &[]).await;
            }
            self.ask_one(what, "GET", path, "", &[("Authorization", &bearer)]).await;
        }
    }

    async fn ask_one(&self, what: &str, method: &str, target: &str, body: &str, headers: &[(&str, &str)]) {
        let answer = ask(&self.api(), Request { method, target, headers, body }).await;
        assert_no_other_secret(&format!("{what}: {method} {target}"), &answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_no_refresh_token_and_no_app_secret_leaves_by_any_route_also_where_something_goes_wrong() {
    let bench = Bench::new().await;
    bench.set_extra(&section("rate = 1000000\n"));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    let mut stream = UnixStream::connect(bench.api()).await.expect("the API listens");
    let listen = Request { headers: &[("Accept", "text/event-stream")], ..Request::get("/v1/events") };
    stream.write_all(&listen.bytes()).await.expect("sent");
    bench.ask_everything("well").await;
    // Answers of Zalo that repeat what they were asked, and one that cannot be understood.
    let secrets = format!("{{\"error\": -14, \"message\": \"{MARKER}\", \"{MARKER}\": 1}}");
    bench.simulator.fault(Rule::forever(Fault::unspent(Answer::custom(429, secrets.clone()))));
    bench.ask_everything("throttled").await;
    bench.simulator.clear_faults();
    bench.simulator.fault(Rule::forever(Fault::unspent(Answer::custom(200, format!("<html>{MARKER}")))));
    bench.ask_everything("odd").await;
    bench.simulator.clear_faults();
    bench.simulator.add_app("app", "another secret");
    bench.ask_everything("refused").await;
    // The harness looks through the log.
    assert!(daemon.stop().await.success());
    let mut events = Vec::new();
    stream.read_to_end(&mut events).await.expect("it ended with the daemon");
    let events = text(&events);
    assert!(events.contains("event: refresh.failed") && events.contains("event: app.refused"), "{events}");
    assert!(!events.contains(MARKER), "{events}");
}
