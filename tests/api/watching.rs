//! Watching: events as they happen, health, metrics, and the document that says all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

use zalo_tokend::simulator::MARKER;

use super::harness::http::{Request, ask, ask_over};
use super::harness::small_disk::SmallDisk;
use super::harness::{Bench, DEADLINE, text};
use super::{healthy, section};

/// One block of a stream: its fields, comments under `""`.
type Block = BTreeMap<String, String>;

/// A client of `/v1/events`.
struct Events {
    lines: BufReader<UnixStream>,
    head: String,
}

impl Events {
    async fn open(bench: &Bench, target: &str, headers: &[(&str, &str)]) -> Events {
        let mut stream = UnixStream::connect(bench.api()).await.expect("the API listens");
        let request = Request { headers, ..Request::get(target) };
        stream.write_all(&request.bytes()).await.expect("sent");
        let mut events = Events { lines: BufReader::new(stream), head: String::new() };
        loop {
            match events.line().await.as_deref() {
                Some("") => return events,
                Some(line) => events.head.push_str(&format!("{}\n", line.to_ascii_lowercase())),
                None => panic!("no answer: {}", events.head),
            }
        }
    }

    /// The next line; `None`: the stream has ended.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(DEADLINE, self.lines.read_line(&mut line)).await;
        let length = read.expect("a line in time").expect("readable");
        assert!(!line.contains(MARKER), "a secret is in the stream");
        (length > 0).then(|| line.trim_end().to_owned())
    }

    /// The next block; `None`: the stream has ended. The lengths of the chunks are left out.
    async fn block(&mut self) -> Option<Block> {
        let mut block = Block::new();
        loop {
            let line = self.line().await?;
            match line.split_once(':') {
                Some((name, value)) => {
                    block.insert(name.to_owned(), value.trim_start().to_owned());
                }
                None if line.is_empty() && !block.is_empty() => return Some(block),
                None => {}
            }
        }
    }

    /// The next event: its id, name and data.
    async fn event(&mut self) -> (String, String, Value) {
        loop {
            let block = self.block().await.expect("the stream goes on");
            let (Some(name), Some(data)) = (block.get("event"), block.get("data")) else { continue };
            return (block["id"].clone(), name.clone(), serde_json::from_str(data).expect("JSON"));
        }
    }

    /// The next event of this name.
    async fn wait_for(&mut self, wanted: &str) -> (String, Value) {
        let waiting = async {
            loop {
                let (id, name, data) = self.event().await;
                if name == wanted {
                    return (id, data);
                }
            }
        };
        // Heartbeats come for ever.
        tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("no {wanted} came"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_the_lines_of_the_log_and_goes_on_where_it_was_left() {
    let (bench, mut daemon) = healthy().await;
    let mut events = Events::open(&bench, "/v1/events", &[]).await;
    assert!(events.head.starts_with("http/1.1 200"), "{}", events.head);
    assert!(events.head.contains("content-type: text/event-stream\n"), "{}", events.head);
    assert!(events.head.contains("cache-control: no-store\n"), "{}", events.head);
    let began_at = events.block().await.expect("where it begins")["id"].clone();
    assert!(bench.run(&["refresh", "7"]).await.status.success());
    let (id, data) = events.wait_for("refresh.succeeded").await;
    let logged = daemon.wait_for("refresh.succeeded").await;
    for field in ["event", "level", "oa_id", "attempt_id", "generation", "message", "duration_ms"] {
        assert_eq!(data[field], logged[field], "{field}");
    }
    drop(events);
    // What was said while nobody listened is there, once, and in order.
    bench.send("DELETE", "/v1/oas/7", "").await;
    assert_eq!(bench.send("PUT", "/v1/oas/8", r#"{"app_id": "app"}"#).await.status, 200);
    let mut events = Events::open(&bench, "/v1/events", &[("Last-Event-ID", &id)]).await;
    let mut names = Vec::new();
    while names.last().is_none_or(|name| name != "oa.enlisted") {
        let (_, name, _) = events.event().await;
        names.push(name);
    }
    assert!(names.iter().all(|name| name != "refresh.succeeded" && name != "gap"), "{names:?}");
    let mut events = Events::open(&bench, "/v1/events", &[("Last-Event-ID", &began_at)]).await;
    assert_eq!(events.wait_for("refresh.succeeded").await.0, id, "the same event has the same id");

    assert!(daemon.stop().await.success());
    let mut last = String::new();
    while let Some(line) = events.line().await {
        last = if line.is_empty() { last } else { line };
    }
    assert_eq!(last, "0", "it ends as an answer that is whole");

    // An id of another run.
    let mut daemon = bench.start().await;
    let mut events = Events::open(&bench, "/v1/events", &[("Last-Event-ID", &id)]).await;
    let (_, name, data) = events.event().await;
    assert!(name == "gap" && data["detail"].as_str().is_some_and(|text| text.contains("again")), "{data}");
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_the_events_of_the_oas_that_he_may_read_and_of_no_others() {
    let (bench, address) = with_tokens("max_connections = 64").await;
    bench.add_granted_oa("7").await;
    bench.add_granted_oa("8").await;
    let mut daemon = bench.start().await;
    let mut of_seven = Events::open(&bench, "/v1/events?oa_id=7", &[]).await;
    let mut all = Events::open(&bench, "/v1/events", &[]).await;
    let request = |token: &str, target: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
    };
    // Over TCP, with a token that is good for OA 8 alone.
    let mut theirs = TcpStream::connect(&address).await.expect("it listens");
    theirs.write_all(request(EIGHT, "/v1/events").as_bytes()).await.expect("sent");
    let mut first = [0; 12];
    theirs.read_exact(&mut first).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
    let stream = TcpStream::connect(&address).await.expect("it listens");
    let denied = ask_over(stream, request(EIGHT, "/v1/events?oa_id=7").as_bytes()).await;
    assert_eq!((denied.status, denied.problem().as_str()), (403, "access_denied"));
    for oa in ["7", "8"] {
        assert!(bench.run(&["refresh", oa]).await.status.success());
        all.wait_for("refresh.succeeded").await;
    }
    let about = |(_, data): (String, Value)| data["oa_id"].clone();
    assert_eq!(about(of_seven.wait_for("refresh.succeeded").await), "7");
    daemon.reload().await;
    all.wait_for("config.reloaded").await;
    assert!(daemon.stop().await.success());
    let mut seen = String::new();
    tokio::time::timeout(DEADLINE, theirs.read_to_string(&mut seen)).await.expect("ended").expect("text");
    let data: Vec<&str> = seen.lines().filter(|line| line.starts_with("data: ")).collect();
    assert!(data.iter().any(|line| line.contains("refresh.succeeded")), "{seen}");
    assert!(data.iter().all(|line| line.contains(r#""oa_id":"8""#)), "{seen}");
    let mut names = Vec::new();
    while let Some(block) = of_seven.block().await {
        names.extend(block.get("event").cloned());
    }
    assert!(!names.contains(&"config.reloaded".to_owned()), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_no_more_than_so_many_streams_and_one_that_ends_makes_room() {
    let (bench, mut daemon) = healthy().await;
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(Events::open(&bench, "/v1/events", &[]).await);
    }
    let refused = bench.get("/v1/events").await;
    assert_eq!((refused.status, refused.problem().as_str()), (429, "too_many_requests"));
    assert!(refused.header("retry-after").is_some());
    drop(open);
    let again = tokio::time::timeout(DEADLINE, async {
        while refuses(&bench).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    again.await.expect("there is room again");
    assert!(daemon.stop().await.success());
}

/// Is one more stream refused?
async fn refuses(bench: &Bench) -> bool {
    Events::open(bench, "/v1/events", &[]).await.head.starts_with("http/1.1 429")
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_is_whose_store_takes_writes_and_an_oa_without_a_token_is_counted() {
    let (bench, address) = with_tokens("").await;
    bench.add_granted_oa("7").await;
    bench.add_oa("9");
    let mut daemon = bench.start().await;
    let alive = bench.get("/healthz").await;
    assert_eq!((alive.status, alive.json()), (200, json!({"status": "alive"})));
    let ready = bench.get("/readyz").await;
    let told = json!({
        "ready": true, "store": "well", "detail": null, "oas": 2, "without_valid_token": {"awaiting_grant": 1}
    });
    assert_eq!((ready.status, ready.json()), (200, told));
    // Without rights, and with a token that is nobody's.
    for authorization in ["", "Authorization: Bearer 00000000000000000000000000000000\r\n"] {
        for (target, body) in [("/readyz", json!({"ready": true})), ("/healthz", json!({"status": "alive"}))]
        {
            let stream = TcpStream::connect(&address).await.expect("it listens");
            let request =
                format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization}\r\n");
            let answer = ask_over(stream, request.as_bytes()).await;
            assert_eq!((answer.status, answer.json()), (200, body));
        }
    }
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_makes_the_daemon_unready_and_says_why() {
    let bench = Bench::new().await;
    bench.set_extra(&section(""));
    let disk = SmallDisk::under(&bench).await;
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    disk.fill().await;
    // Some writes find room in what the store has already.
    let mut taken = 0;
    while bench.send("PUT", &format!("/v1/oas/more{taken}"), r#"{"app_id": "app"}"#).await.status == 200 {
        taken += 1;
    }
    daemon.wait_for("store.failed").await;
    let unready = bench.get("/readyz").await;
    assert_eq!((unready.status, &unready.json()["store"]), (503, &json!("takes_no_writes")));
    assert_eq!(unready.json()["ready"], json!(false));
    assert!(unready.json()["oas"].as_u64().is_some_and(|oas| oas > taken), "it can be read");
    assert!(sample(&bench.metrics().await, "store_writable") == 0.0);
    disk.free().await;
    daemon.wait_for("store.recovered").await;
    assert_eq!(bench.get("/readyz").await.status, 200);
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_openmetrics_begin_at_zero_and_count_what_happens() {
    let (bench, mut daemon) = healthy().await;
    let before = bench.metrics().await;
    assert_eq!(sample(&before, "refreshes_total{outcome=\"succeeded\",class=\"granted\"}"), 0.0);
    assert_eq!(sample(&before, "probes_total{verdict=\"unspent\"}"), 0.0);
    assert_eq!(sample(&before, "app_changes_total{app_id=\"app\",change=\"braked\"}"), 0.0);
    assert_eq!(sample(&before, "log_lines_dropped_total"), 0.0);
    assert_eq!(sample(&before, "oas{state=\"scheduled\"}"), 1.0);
    let left = sample(&before, "access_token_expiry_seconds{state=\"scheduled\"}");
    assert!((80_000.0..=90_000.0).contains(&left), "{left}");
    assert!(before.keys().all(|series| !series.contains("oa_id=")), "no series of single OAs");
    assert!(bench.run(&["refresh", "7"]).await.status.success());
    bench.get("/v1/oas/7/token").await;
    bench.get("/v1/oas/no%FFtext").await;
    bench.get("/elsewhere").await;
    let after = bench.metrics().await;
    assert_eq!(sample(&after, "refreshes_total{outcome=\"succeeded\",class=\"granted\"}"), 1.0);
    assert_eq!(sample(&after, "refresh_duration_seconds_count"), 1.0);
    assert_eq!(sample(&after, "events_total{event=\"refresh.started\"}"), 1.0);
    let commits = "store_commit_duration_seconds_count{outcome=\"committed\"}";
    assert!(sample(&after, commits) > sample(&before, commits), "the store's commits are seen");
    let answers = |route: &str, status: &str| {
        let labels = format!("{{route=\"{route}\",method=\"GET\",status=\"{status}\"}}");
        sample(&after, &format!("api_request_duration_seconds_count{labels}"))
    };
    assert_eq!(answers("/v1/oas/{oa_id}/token", "2xx"), 1.0);
    assert_eq!((answers("/v1/oas/{oa_id}", "4xx"), answers("other", "4xx")), (1.0, 1.0));
    assert_eq!(answers("/metrics", "2xx"), 1.0);

    assert!(daemon.stop().await.success());
    bench.set_extra(&section("oa_metrics = true"));
    let mut daemon = bench.start().await;
    let of_each = bench.metrics().await;
    assert_eq!(sample(&of_each, "oa_state{oa_id=\"7\",state=\"scheduled\"}"), 1.0);
    assert_eq!(sample(&of_each, "oa_generation{oa_id=\"7\"}"), 2.0);
    assert!(sample(&of_each, "oa_access_token_expiry_timestamp_seconds{oa_id=\"7\"}") > 1.7e9);
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_takes_the_metrics_for_what_they_are() {
    if std::process::Command::new("promtool").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "promtool is missing");
        eprintln!("promtool is missing; nothing was tested");
        return;
    }
    let bench = Bench::new().await;
    bench.set_extra(&section("oa_metrics = true"));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    let file = bench.path("metrics");
    let metrics = text(&bench.get("/metrics").await.body);
    // promtool reads the older form, where a counter's family is called as its samples are.
    let counters = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"));
    let older = counters.fold(metrics.clone(), |text, counter| {
        let rename = |text: String, word: &str| {
            text.replace(&format!("# {word} {counter} "), &format!("# {word} {counter}_total "))
        };
        rename(rename(text, "HELP"), "TYPE")
    });
    std::fs::write(&file, older).expect("written");
    let input = std::fs::File::open(&file).expect("readable");
    let mut promtool = std::process::Command::new("promtool");
    let output = promtool.args(["check", "metrics"]).stdin(input).output().expect("promtool runs");
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_handed_out() {
    let (bench, mut daemon) = healthy().await;
    let answer = bench.get("/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.json()["openapi"], "3.1.0");
    assert!(daemon.stop().await.success());
}

/// The token that is good for OA 8.
const EIGHT: &str = "8888888888888888888888888888888888888888";

/// A bench whose API listens at this TCP address as well, where a token is good for OA 8.
async fn with_tokens(more: &str) -> (Bench, String) {
    let bench = Bench::new().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address").to_string();
    bench.write_secret("eight", EIGHT);
    bench.set_extra(&section(&format!(
        "listen = \"{address}\"\n{more}\n[[access]]\ntoken_file = \"eight.secret\"\noas = [\"8\"]\nverbs = [\"read\"]\n"
    )));
    (bench, address)
}

/// Each series and its value.
type Samples = BTreeMap<String, f64>;

impl Bench {
    /// The metrics, taken apart and held to what OpenMetrics wants.
    async fn metrics(&self) -> Samples {
        let answer = ask(&self.api(), Request::get("/metrics")).await;
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)));
        let text = text(&answer.body);
        assert!(!text.contains(MARKER), "a secret is in the metrics");
        let lines: Vec<&str> = text.lines().collect();
        let Some((&"# EOF", lines)) = lines.split_last() else { panic!("no end: {text}") };
        let (mut samples, mut family, mut families) = (Samples::new(), "", BTreeSet::new());
        for line in lines {
            if let Some(told) = line.strip_prefix("# ") {
                let mut words = told.splitn(3, ' ');
                assert!(matches!(words.next(), Some("HELP" | "TYPE" | "UNIT")), "{line}");
                let name = words.next().expect("a family");
                assert!(name == family || families.insert(name), "{name} comes in two parts");
                family = name;
                continue;
            }
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().expect("a name");
            let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} is not of {family}"));
            assert!(["", "_total", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
            let series = series.strip_prefix("zalo_tokend_").expect("the program's own");
            let is_new = samples.insert(series.to_owned(), value.parse().expect("a number")).is_none();
            assert!(is_new, "{series} comes twice");
        }
        samples
    }
}

fn sample(samples: &Samples, series: &str) -> f64 {
    *samples.get(series).unwrap_or_else(|| panic!("no {series} in {samples:#?}"))
}
