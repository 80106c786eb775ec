//! How fast tokens are read: `cargo bench --bench api`, against a bare server that stores nothing and knows nobody.
//!
//! The bare server is hyper on a Unix socket, in a process of its own, that answers every request with a constant of the
//! same size. Both are asked by the same clients over connections that stay, one after the other in rounds, and the
//! figure is how much of the bare server's rate is left. Then tokens are read, at some distance from each other, while
//! 10,000 OAs are refreshed at once. `API_DUE`, `API_ROUNDS` and `API_IDLE` take other sizes.

#[path = "../stage/mod.rs"]
mod stage;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use stage::client::Client;
use stage::figures::{self, Figure, at_least, at_most, middle, percentile};
use stage::{Daemon, Fleet, Stage, name, processor_time};
use zalo_tokend::clock::{Clock, SystemClock};

/// Programs that read at the same time.
const CLIENTS: usize = 16;
/// How long one side is asked in a round.
const ROUND: Duration = Duration::from_secs(3);
/// While the herd runs: so many programs read, each this often.
const READERS: usize = 4;
const PACE: Duration = Duration::from_millis(2);
const LIFE: Duration = Duration::from_secs(90_000);
const HERD: &str = "before_expiry = \"2h\"\njitter = \"0s\"\nmax_in_flight = 224\ntimeout = \"60s\"";
const API: &str = "[api]\nsocket = \"api.sock\"\nrate = 1000000\n";
/// Says to this program that it is the bare server: the socket, and the size of its answer.
const BARE: &str = "--bare-server";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, is_bare, socket, size] = &arguments[..]
        && is_bare == BARE
    {
        return answer_bare(Path::new(socket), size.parse().expect("a size"));
    }
    let size =
        |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (due, rounds, idle) = (size("API_DUE", 10_000), size("API_ROUNDS", 5), size("API_IDLE", 100_000));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut figures = vec![runtime.block_on(over_bare(rounds)), runtime.block_on(during_a_herd(due))];
    if idle > 0 {
        figures.push(runtime.block_on(idle_fleet(idle)));
    }
    figures::show(&figures);
}

/// The bare server.
fn answer_bare(socket: &Path, size: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::UnixListener::bind(socket).expect("bound");
        loop {
            let (stream, _) = listener.accept().await.expect("accepted");
            let answer = move |_| async move {
                let mut response = Response::new(Body::from(vec![b'x'; size]));
                let headers = response.headers_mut();
                headers.insert("content-type", "application/json".parse().expect("a value"));
                Ok::<_, Infallible>(response)
            };
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
}

/// How many answers a second all the clients get.
fn rate(socket: &Path, oa_id: &str) -> f64 {
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<JoinHandle<usize>> = (0..CLIENTS)
        .map(|_| {
            let (mut client, is_over, oa_id) =
                (Client::connect(socket), Arc::clone(&is_over), oa_id.to_owned());
            std::thread::spawn(move || {
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) {
                    client.token(&oa_id);
                    count += 1;
                }
                count
            })
        })
        .collect();
    let begun = Instant::now();
    std::thread::sleep(ROUND);
    is_over.store(true, Ordering::Relaxed);
    let count: usize = clients.into_iter().map(|client| client.join().expect("no panic")).sum();
    count as f64 / begun.elapsed().as_secs_f64()
}

struct Bare(Child);

impl Drop for Bare {
    fn drop(&mut self) {
        if self.0.kill().and_then(|()| self.0.wait()).is_err() {
            println!("the bare server goes on");
        }
    }
}

async fn over_bare(rounds: usize) -> Figure {
    let end = SystemClock::new().now().plus(LIFE);
    let stage = Stage::set_up(&Fleet { oas: 1, life: LIFE, ends: &|_| end, refresh: HERD, more: API }).await;
    let mut daemon = stage.start(&[]);
    let shares = tokio::task::block_in_place(|| {
        daemon.until("daemon.ready", 1);
        let (api, bare): (PathBuf, PathBuf) = (stage.path("api.sock"), stage.path("bare.sock"));
        let size = Client::connect(&api).token(&name(0));
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let server = Bare(
            command
                .args([BARE.as_ref(), bare.as_os_str(), size.to_string().as_ref()])
                .spawn()
                .expect("it runs"),
        );
        Client::connect(&bare).token(&name(0));
        (0..rounds).map(|_| one_round(&api, &bare, &daemon, &server)).collect::<Vec<f64>>()
    });
    daemon.stop();
    at_least("tokens read over the socket, over a bare server's rate", middle(&mut shares.clone()), 0.7, "")
}

fn one_round(api: &Path, bare: &Path, daemon: &Daemon, server: &Bare) -> f64 {
    let of_server = || processor_time(Path::new(&format!("/proc/{}", server.0.id())));
    let micros = |time: Duration, rate: f64| time.as_secs_f64() * 1e6 / (rate * ROUND.as_secs_f64());
    let before = (of_server(), daemon.processor_time());
    let of_bare = rate(bare, &name(0));
    let of_api = rate(api, &name(0));
    println!(
        "bare {of_bare:.0} answers/s, each {:.1} µs of its server's processor time; tokens {of_api:.0}/s, each {:.1} µs",
        micros(of_server() - before.0, of_bare),
        micros(daemon.processor_time() - before.1, of_api),
    );
    of_api / of_bare
}

/// How long readers wait while all the OAs are refreshed at once.
async fn during_a_herd(due: usize) -> Figure {
    let end = SystemClock::new().now().plus(Duration::from_secs(3_600));
    let stage =
        Stage::set_up(&Fleet { oas: due, life: LIFE, ends: &|_| end, refresh: HERD, more: API }).await;
    let mut daemon = stage.start(&[]);
    let mut waits = tokio::task::block_in_place(|| {
        daemon.until("daemon.ready", 1);
        let is_over = Arc::new(AtomicBool::new(false));
        let readers: Vec<JoinHandle<Vec<f64>>> = (0..READERS)
            .map(|reader| {
                let (mut client, is_over) = (Client::connect(&stage.path("api.sock")), Arc::clone(&is_over));
                std::thread::spawn(move || {
                    let (mut waits, mut turn) = (Vec::new(), reader);
                    while !is_over.load(Ordering::Relaxed) {
                        let asked = Instant::now();
                        client.token(&name(turn * 7_919 % due));
                        waits.push(asked.elapsed().as_secs_f64() * 1e3);
                        turn += READERS;
                        std::thread::sleep(PACE);
                    }
                    waits
                })
            })
            .collect();
        daemon.until("refresh.succeeded", due);
        is_over.store(true, Ordering::Relaxed);
        readers.into_iter().flat_map(|reader| reader.join().expect("no panic")).collect::<Vec<f64>>()
    });
    daemon.stop();
    println!(
        "{} tokens were read during the herd, half of them within {:.2} ms",
        waits.len(),
        percentile(&mut waits, 50)
    );
    at_most(format!("a token read while {due} are refreshed, p99"), percentile(&mut waits, 99), 5.0, " ms")
}

/// The memory of a large fleet at rest, with an API that was asked for each of a tenth of it.
async fn idle_fleet(oas: usize) -> Figure {
    let end = SystemClock::new().now().plus(LIFE);
    let stage = Stage::set_up(&Fleet { oas, life: LIFE, ends: &|_| end, refresh: HERD, more: API }).await;
    let mut daemon = stage.start(&[]);
    let resident = tokio::task::block_in_place(|| {
        daemon.until("daemon.ready", 1);
        daemon.until("refresh.planned", oas);
        let mut client = Client::connect(&stage.path("api.sock"));
        let read: usize = (0..oas / 10).map(|n| client.token(&name(n * 10))).sum();
        println!("{read} bytes of tokens were read of {oas} OAs");
        daemon.memory("VmRSS")
    });
    daemon.stop();
    at_most(format!("{oas} OAs and the API, resident memory"), resident, 64.0, " MiB")
}
