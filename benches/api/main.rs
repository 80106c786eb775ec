//! How fast tokens are read: `cargo bench --bench api`, against a bare server that stores nothing and knows nobody.
//!
//! The bare server is hyper on a Unix socket, in a process of its own, that answers every request with a constant of the
//! same size. Both are asked by the same clients over connections that stay, one after the other in rounds, and the
//! figure is how much of the bare server's rate is left. Then tokens are read, at some distance from each other, while
//! 10,000 OAs are refreshed at once. `API_DUE`, `API_ROUNDS` and `API_IDLE` take other sizes.

#[path = "../stage/mod.rs"]
mod stage;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
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
use stage::figures::{self, Figure, at_least, at_most, middle, percentile};
use stage::{Daemon, Fleet, Stage, name};
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

/// A connection that stays, and the request that is made over it.
struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(socket: &Path) -> Client {
        let mut patience = 200;
        loop {
            match UnixStream::connect(socket) {
                Ok(stream) => return Client { stream, buffer: vec![0; 8_192] },
                Err(error) if patience == 0 => panic!("{}: {error}", socket.display()),
                Err(_) => patience -= 1,
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// Asks, and returns the size of the answer's body.
    fn ask(&mut self, oa_id: &str) -> usize {
        let request = format!("GET /v1/oas/{oa_id}/token HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).expect("sent");
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).expect("an answer");
            assert!(read > 0, "the connection was closed");
            filled += read;
            if let Some((head, body)) = whole(&self.buffer[..filled]) {
                assert!(
                    self.buffer.starts_with(b"HTTP/1.1 200"),
                    "{}",
                    String::from_utf8_lossy(&self.buffer[..head])
                );
                return body;
            }
        }
    }
}

/// The lengths of the head and of the body, if all of it is there.
fn whole(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).expect("HTTP") else { return None };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    let body = std::str::from_utf8(length.value).ok()?.parse().ok()?;
    (bytes.len() >= head + body).then_some((head, body))
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
                    client.ask(&oa_id);
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
        let size = Client::connect(&api).ask(&name(0));
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let _bare = Bare(
            command
                .args([BARE.as_ref(), bare.as_os_str(), size.to_string().as_ref()])
                .spawn()
                .expect("it runs"),
        );
        Client::connect(&bare).ask(&name(0));
        (0..rounds).map(|_| one_round(&api, &bare, &daemon)).collect::<Vec<f64>>()
    });
    daemon.stop();
    at_least("tokens read over the socket, over a bare server's rate", middle(&mut shares.clone()), 0.7, "")
}

fn one_round(api: &Path, bare: &Path, daemon: &Daemon) -> f64 {
    let of_bare = rate(bare, &name(0));
    let before = daemon.processor_time();
    let of_api = rate(api, &name(0));
    let micros = (daemon.processor_time() - before).as_secs_f64() * 1e6 / (of_api * ROUND.as_secs_f64());
    println!(
        "bare {of_bare:.0} answers/s, tokens {of_api:.0}/s, each {micros:.1} µs of the daemon's processor time"
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
                        client.ask(&name(turn * 7_919 % due));
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
        let read: usize = (0..oas / 10).map(|n| client.ask(&name(n * 10))).sum();
        println!("{read} bytes of tokens were read of {oas} OAs");
        daemon.memory("VmRSS")
    });
    daemon.stop();
    at_most(format!("{oas} OAs and the API, resident memory"), resident, 64.0, " MiB")
}
