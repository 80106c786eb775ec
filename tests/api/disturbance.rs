//! Clients that stall, flood and stay disturb neither a refresh, nor another reader, nor the stop; and readers are not
//! disturbed by a disk.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use zalo_tokend::clock::Time;
use zalo_tokend::simulator::{Answer, Fault, MARKER, Rule};

use super::harness::frozen::Frozen;
use super::harness::together::all;
use super::harness::{Bench, DEADLINE};
use super::limits::Kept;
use super::section;

/// How many connections only stay.
const IDLE: usize = 1_000;
/// How many send a head that never ends.
const DRIPPING: usize = 100;
/// How many read one token after the other.
const BUSY: usize = 64;

fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.map(|now| now.max(limit.maximum.map_or(8_192, |most| most.min(8_192))));
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).expect("it may be raised");
}

async fn connect(bench: &Bench, bytes: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(bench.api()).await.expect("the API listens");
    stream.write_all(bytes).await.expect("sent");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_a_hundred_that_drip_and_64_that_never_stop_reading_delay_no_refresh_and_no_reader() {
    allow_many_files();
    let bench = Bench::new().await;
    bench.set_extra(&section("rate = 1000000\nmax_connections = 4096\n"));
    bench.add_granted_oa("8").await;
    // Five minutes before its end it is refreshed: four seconds from now.
    bench.add_lone_oa("7", Duration::from_secs(304)).await;
    let mut daemon = bench.start().await;
    let planned = bench.get("/v1/oas/7").await.json()["next_refresh_at"].as_str().expect("a plan").to_owned();
    let (mut staying, mut readers) = (Vec::new(), JoinSet::new());
    for _ in 0..IDLE {
        staying.push(connect(&bench, b"").await);
    }
    for _ in 0..DRIPPING {
        staying.push(connect(&bench, b"GET /v1/oas/8/token HTTP/1.1\r\nX: ").await);
    }
    for _ in 0..BUSY {
        let mut connection = Kept::to_socket(&bench).await;
        readers.spawn(async move {
            loop {
                let request = super::harness::http::Request::get("/v1/oas/8/token");
                assert_eq!(connection.ask(request).await.status, 200);
            }
        });
    }
    let dripping = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            for stream in &mut staying[IDLE..] {
                stream.write_all(b"x").await.expect("still there");
            }
        }
    };
    let refreshed = async {
        let begun = daemon.wait_for_oa("refresh.started", "7").await["timestamp"].clone();
        for _ in 0..100 {
            assert_eq!(bench.get("/v1/oas/7/token").await.status, 200);
        }
        daemon.wait_for_oa("refresh.succeeded", "7").await;
        begun
    };
    let begun = tokio::select! {
        begun = refreshed => begun,
        () = dripping => unreachable!("it does not end"),
        Some(ended) = readers.join_next() => panic!("a reader ended: {ended:?}"),
    };
    let time = |text: &str| Time::parse(text).expect("a time");
    let late = time(begun.as_str().expect("a time")).since(time(&planned));
    assert!(late < Duration::from_secs(5), "begun {late:?} after its plan");
    let begun = Instant::now();
    assert!(daemon.stop().await.success());
    assert!(begun.elapsed() < Duration::from_secs(10), "the stop took {:?}", begun.elapsed());
    readers.abort_all();
    assert!(bench.simulator.ledger().is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_disk_hangs_readers_read_on_and_who_wants_to_change_something_is_told_in_time() {
    let bench = Bench::new().await;
    bench.set_extra(&section(""));
    for oa in ["7", "8", "9"] {
        bench.add_granted_oa(oa).await;
    }
    let mut daemon = bench.start().await;
    assert_eq!(bench.get("/v1/oas/7/token").await.status, 200);
    let writer = Frozen::thread(daemon.pid, "store");
    for target in ["/v1/oas/7/token", "/v1/oas/8/token", "/v1/oas/7", "/v1/oas", "/v1/oas/8/token?after=0"] {
        assert_eq!(bench.get(target).await.status, 200, "{target}");
    }
    let readers = Frozen::threads(daemon.pid, "store-read");
    assert_eq!(readers.len(), 1);
    assert_eq!(bench.get("/v1/oas/7/token").await.status, 200, "it is remembered");
    let begun = Instant::now();
    let grant = bench.simulator.grant("app", "8").to_string();
    let (changed, brought, read, waited, reported) = tokio::join!(
        bench.send("PUT", "/v1/oas/10", r#"{"app_id": "app"}"#),
        bench.send("PUT", "/v1/oas/8/token-set", &grant),
        bench.get("/v1/oas/9/token"),
        bench.get("/v1/oas/9/token?after=0&wait=1m"),
        bench.send("POST", "/v1/oas/9/token/reject", r#"{"generation": 1}"#),
    );
    for answer in [changed, brought, read, waited, reported] {
        assert_eq!((answer.status, answer.problem().as_str()), (503, "store_unavailable"), "{answer:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    drop(readers);
    drop(writer);
    assert_eq!(bench.get("/v1/oas/9/token").await.status, 200);
    // What was asked for is done all the same, and once.
    assert_eq!(bench.send("PUT", "/v1/oas/8/token-set", &grant).await.json()["generation"], 2);
    assert_eq!(bench.get("/v1/oas/8/token").await.json()["generation"], 2);
    assert_eq!(bench.send("DELETE", "/v1/oas/10", "").await.status, 204);
    assert!(daemon.stop().await.success());
}

/// An app whose API takes questions and never answers, and its OAs.
struct Deaf {
    listener: TcpListener,
    heard: Vec<TcpStream>,
}

impl Deaf {
    async fn with(bench: &Bench, oas: &[String], more: &str) -> Deaf {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let secret = format!("{MARKER}-secret-of-deaf");
        bench.simulator.add_app("deaf", &secret);
        bench.write_secret("deaf", &secret);
        let rows = oas.iter().map(|oa| format!("[[oa]]\nid = \"{oa}\"\napp = \"deaf\"\n"));
        bench.set_extra(&format!(
            "{}[[app]]\nid = \"deaf\"\nsecret_key_file = \"deaf.secret\"\ntoken_url = \"{}\"\napi_url = \"http://{address}\"\n{}",
            section(more),
            bench.simulator.token_url(),
            rows.collect::<String>(),
        ));
        for oa in oas {
            let grant = bench.simulator.grant("deaf", oa);
            bench.import(oa, &grant).await;
        }
        Deaf { listener, heard: Vec::new() }
    }

    /// Waits until so many have asked.
    async fn hears(&mut self, count: usize) {
        while self.heard.len() < count {
            let accepted = tokio::time::timeout(DEADLINE, self.listener.accept()).await;
            self.heard.push(accepted.expect("it is asked").expect("accepted").0);
        }
    }
}

fn report(oa: &str) -> String {
    let body = "{\"generation\": 1}";
    format!(
        "POST /v1/oas/{oa}/token/reject HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_delayed_neither_by_clients_of_any_kind_nor_by_a_question_that_is_not_answered() {
    let bench = Bench::new().await;
    let mut deaf = Deaf::with(&bench, &["8".to_owned()], "rate = 1000000\n").await;
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    let many = |bytes: String| {
        let bench = &bench;
        async move { all((0..10).map(|_| connect(bench, bytes.as_bytes()))).await }
    };
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut clients = many(get("/v1/oas/7/token?after=1&wait=5m")).await;
    clients.extend(many("GET /v1/oas/7/token HT".to_owned()).await);
    let half = "PUT /v1/oas/7/token-set HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"access";
    clients.extend(many(half.to_owned()).await);
    clients.extend(many(get("/v1/oas/7")).await);
    // Answers that nobody reads, until nothing more fits in between.
    for _ in 0..10 {
        let mut unread = connect(&bench, b"").await;
        let requests = get("/v1/oas/7").repeat(20_000);
        let written = tokio::time::timeout(Duration::from_millis(300), unread.write_all(requests.as_bytes()));
        assert!(written.await.is_err(), "it waits for somebody who reads");
        clients.push(unread);
    }
    clients.extend(many(report("8")).await);
    deaf.hears(1).await;
    let begun = Instant::now();
    assert!(daemon.stop().await.success());
    assert!(begun.elapsed() < Duration::from_secs(5), "the stop took {:?}", begun.elapsed());
    drop(clients);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_readers_whose_disk_hangs() {
    let bench = Bench::new().await;
    bench.set_extra(&section(""));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    let readers = Frozen::threads(daemon.pid, "store-read");
    let mut waiting = Kept::to_socket(&bench).await;
    waiting.say(b"GET /v1/oas/7/token HTTP/1.1\r\nHost: x\r\n\r\n").await;
    daemon.signal(Signal::TERM);
    daemon.wait_for("daemon.stopped").await;
    drop(readers);
    assert!(daemon.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_tokens_are_reported_an_uncertain_oa_does_not_wait_for_them() {
    let bench = Bench::new().await;
    let reported: Vec<String> = (1..=32).map(|n| format!("r{n}")).collect();
    let mut deaf = Deaf::with(&bench, &reported, "").await;
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    let mut reports = Vec::new();
    for oa in &reported {
        reports.push(connect(&bench, report(oa).as_bytes()).await);
    }
    deaf.hears(16).await;
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::Reset)).for_oa("7"));
    let begun = Instant::now();
    assert_eq!(bench.send("POST", "/v1/oas/7/refresh", "").await.status, 503);
    daemon.wait_for_oa("refresh.probed", "7").await;
    // A question that is not answered is given up after a quarter of a minute.
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    assert!(daemon.stop().await.success());
}
