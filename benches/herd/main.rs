//! How fast: ratios measured in one run, against the simulator on loopback. `cargo bench --bench herd` prints them, and
//! ends with 1 where one falls short. `HERD_DUE` and `HERD_IDLE` take other sizes than 10,000 and 100,000 OAs, for a
//! quick look; `HERD_ROUNDS` says how often the herd is measured, of which the middle counts.
//!
//! The bare loop is what anybody would write: a POST a refresh, each on a connection of its own, as many at once, and
//! nothing stored. Both sides talk to the same simulator on the same processors, one after the other, and the figure is
//! how much of the bare loop's rate is left when every rotation is journalled before and durable after.

#[path = "../stage/mod.rs"]
mod stage;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stage::figures::{self, Figure, at_least, at_most, middle, percentile};
use stage::{APP, Fleet, Stage, processor_time};
use zalo_tokend::clock::{Clock, SystemClock, Time};

/// As many as the config allows.
const CONCURRENCY: usize = 224;
const HERD: &str = "before_expiry = \"2h\"\njitter = \"0s\"\nmax_in_flight = 224\ntimeout = \"60s\"";
/// What an access token of the herd has left to live: it is due, and lives through the run.
const REMAINING: Duration = Duration::from_secs(3_600);
const LIFE: Duration = Duration::from_secs(90_000);

/// On fast clocks an hour is a minute: a token lives 25 minutes, and the plans of a whole fleet fall into its life.
const FAST: &str = "before_expiry = \"1m\"\njitter = \"0s\"";
const FAST_LIFE: Duration = Duration::from_secs(1_500);
const FAST_LEAD: Duration = Duration::from_secs(60);
const FAST_SPREAD: Duration = Duration::from_secs(1_300);
const FAST_WATCHED: Duration = Duration::from_secs(30);
/// How long before the first plan the store begins to be filled, and for each OA.
const HEAD_START: (Duration, Duration) = (Duration::from_secs(15), Duration::from_micros(1_200));

/// This process, which has the simulator in it.
const OWN: &str = "/proc/self";

fn main() {
    let size = |name: &str, default| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number of OAs"))
    };
    let (due, idle, rounds) =
        (size("HERD_DUE", 10_000), size("HERD_IDLE", 100_000), size("HERD_ROUNDS", 3).max(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let figures = runtime.block_on(measure(due, idle, rounds));
    figures::show(&figures);
}

async fn measure(due: usize, idle: usize, rounds: usize) -> Vec<Figure> {
    let mut figures = herds(due, rounds).await;
    let mut alone = rotate_one_by_one(50).await;
    figures.push(at_most("answer sent → durable, p99, alone", percentile(&mut alone, 99), 5.0, " ms"));
    if idle > 0 {
        figures.extend(large_fleet(idle).await);
    }
    figures
}

/// The herd over the bare loop, in rounds of both: what else this machine does in a round slows both down.
async fn herds(due: usize, rounds: usize) -> Vec<Figure> {
    let slow_fsync = slow_fsync();
    let (mut shares, mut slow_shares, mut delays) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let bare = bare_loop(due).await;
        let (rate, mut of_round) = rotate_herd(due, &[]).await;
        shares.push(rate / bare);
        delays.push(percentile(&mut of_round, 99));
        if let Some(library) = &slow_fsync {
            println!("each fsync 5 ms longer:");
            let (rate, _) = rotate_herd(due, &[("LD_PRELOAD", library)]).await;
            slow_shares.push(rate / bare);
        }
    }
    let mut figures = vec![
        at_least(format!("{due} due at once, rotations over the bare loop"), middle(&mut shares), 0.5, ""),
        at_most("answer sent → durable, p99, during the herd", middle(&mut delays), 25.0, " ms"),
    ];
    if slow_fsync.is_some() {
        let what = "the same with each fsync 5 ms longer, over the bare loop";
        figures.push(at_least(what, middle(&mut slow_shares), 0.3, ""));
    } else {
        println!("no C compiler: slow fsyncs are left out");
    }
    figures
}

/// The rate of single POSTs on fresh connections, nothing stored.
async fn bare_loop(count: usize) -> f64 {
    let ends = |_| SystemClock::new().now().plus(LIFE);
    let stage = Stage::set_up(&Fleet { oas: 0, life: LIFE, ends: &ends, refresh: "", more: "" }).await;
    let token =
        |n: usize| stage.simulator.grant(APP, &n.to_string())["refresh_token"].as_str().map(str::to_owned);
    let tokens: Vec<String> = (0..count).map(|n| token(n).expect("text")).collect();
    let client = reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .no_proxy()
        .http1_only()
        .build()
        .expect("a client");
    let (tokens, next) = (Arc::new(tokens), Arc::new(AtomicUsize::new(0)));
    let url = stage.simulator.token_url();
    let (begun, before) = (Instant::now(), processor_time(Path::new(OWN)));
    let workers: Vec<_> = (0..CONCURRENCY)
        .map(|_| {
            let (client, tokens, next, url) =
                (client.clone(), Arc::clone(&tokens), Arc::clone(&next), url.clone());
            tokio::spawn(async move {
                while let Some(token) = tokens.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let form = format!("app_id={APP}&grant_type=refresh_token&refresh_token={token}");
                    let request = client.post(&url).header("secret_key", "secret");
                    let request =
                        request.header("content-type", "application/x-www-form-urlencoded").body(form);
                    let answer = request.send().await.expect("sent").text().await.expect("answered");
                    assert!(answer.contains("access_token"), "{answer}");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no panic");
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    let micros = (processor_time(Path::new(OWN)) - before).as_secs_f64() * 1e6 / count as f64;
    println!("bare loop: {rate:.0} POSTs/s, each {micros:.0} µs of processor time with the simulator's");
    rate
}

/// The rate of durable rotations of a herd that is due at once, and how long after each answer its set was durable.
async fn rotate_herd(count: usize, variables: &[(&str, &Path)]) -> (f64, Vec<f64>) {
    let end = SystemClock::new().now().plus(REMAINING);
    let stage =
        Stage::set_up(&Fleet { oas: count, life: LIFE, ends: &|_| end, refresh: HERD, more: "" }).await;
    let mut daemon = stage.start(variables);
    tokio::task::block_in_place(|| daemon.until("daemon.ready", 1));
    let (before, own_before) = (daemon.processor_time(), processor_time(Path::new(OWN)));
    let (events, elapsed) = tokio::task::block_in_place(|| {
        let begun = Instant::now();
        let events = daemon.until("refresh.succeeded", count);
        (events, begun.elapsed())
    });
    let (all, of_store) = (daemon.processor_time() - before, daemon.processor_time_of_store());
    let of_simulator = processor_time(Path::new(OWN)) - own_before;
    daemon.stop();
    let ledger = stage.simulator.ledger();
    assert!(ledger.is_clean(), "{}", ledger.summary());
    let (rate, mut delays) = (count as f64 / elapsed.as_secs_f64(), stage.delays(&events));
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    println!(
        "herd: {rate:.0} durable rotations/s, each {:.0} µs of processor time, {:.0} of it the store's thread, and {:.0} µs \
         of the simulator's; answer sent → durable, p50 {} ms, p99 {} ms",
        micros(all),
        micros(of_store),
        micros(of_simulator),
        percentile(&mut delays, 50),
        percentile(&mut delays, 99)
    );
    (rate, delays)
}

/// One OA after the other.
async fn rotate_one_by_one(count: usize) -> Vec<f64> {
    let begin = SystemClock::new().now().plus(Duration::from_secs(7_200 + 2));
    let ends = |n: usize| begin.plus(Duration::from_millis(100) * u32::try_from(n).expect("few"));
    let stage = Stage::set_up(&Fleet { oas: count, life: LIFE, ends: &ends, refresh: HERD, more: "" }).await;
    let mut daemon = stage.start(&[]);
    let events = tokio::task::block_in_place(|| daemon.until("refresh.succeeded", count));
    daemon.stop();
    stage.delays(&events)
}

/// A large fleet: its start, at rest before anything is due, and on fast clocks when its plans fall due.
async fn large_fleet(oas: usize) -> Vec<Figure> {
    let many = u32::try_from(oas).expect("not that many");
    let first = SystemClock::new().now().plus(HEAD_START.0 + HEAD_START.1 * many);
    let ends = |n: usize| first.plus(FAST_SPREAD.mul_f64(n as f64 / oas as f64) + FAST_LEAD);
    let stage = Stage::set_up(&Fleet { oas, life: FAST_LIFE, ends: &ends, refresh: FAST, more: "" }).await;
    let mut daemon = stage.start(&[]);
    tokio::task::block_in_place(|| daemon.until("daemon.ready", 1));
    let ready = daemon.begun.elapsed().as_secs_f64();
    // All of them were imported just now, which is said of each.
    let planned = tokio::task::block_in_place(|| daemon.until("refresh.planned", oas));
    let at_rest = first.since(SystemClock::new().now()).saturating_sub(Duration::from_secs(2));
    assert!(at_rest >= Duration::from_secs(5), "the store was filled too slowly");
    let before = daemon.processor_time();
    tokio::time::sleep(at_rest).await;
    let share = 100.0 * (daemon.processor_time() - before).as_secs_f64() / at_rest.as_secs_f64();
    println!("{oas} OAs at rest: {:.1} MiB at the most since the start", daemon.memory("VmHWM"));
    let resident = daemon.memory("VmRSS");
    let mut lateness = tokio::task::block_in_place(|| on_fast_clocks(&mut daemon, planned, first));
    daemon.stop();
    vec![
        at_most(format!("{oas} OAs, start to ready"), ready, 1.0, " s"),
        at_most(format!("{oas} OAs at rest, share of a core"), share, 0.5, " %"),
        at_most(format!("{oas} OAs at rest, resident memory"), resident, 64.0, " MiB"),
        at_most(
            format!("{oas} OAs on fast clocks, start after plan, p99"),
            percentile(&mut lateness, 99),
            1.0,
            " s",
        ),
    ]
}

/// How late each OA was begun with, in seconds, from when the first plan falls due.
fn on_fast_clocks(daemon: &mut stage::Daemon, planned: Vec<stage::Event>, first: Time) -> Vec<f64> {
    let plan = |event: stage::Event| (event.oa_id, event.refresh_at.expect("a time"));
    let (mut plans, mut lateness): (HashMap<String, Time>, _) =
        (planned.into_iter().map(plan).collect(), Vec::new());
    let until = first.plus(FAST_WATCHED);
    loop {
        let (which, event) = daemon.next(&["refresh.planned", "refresh.started"]);
        if event.at > until {
            break;
        }
        if which == 0 {
            plans.extend([plan(event)]);
        } else {
            let plan = plans.get(&event.oa_id).expect("said before");
            lateness.push(event.at.as_millis().saturating_sub(plan.as_millis()) as f64 / 1e3);
        }
    }
    let rate = lateness.len() as f64 / FAST_WATCHED.as_secs_f64();
    println!(
        "fast clocks: {rate:.0} rotations/s begun, half of them within {:.3} s",
        percentile(&mut lateness, 50)
    );
    lateness
}

/// A library that makes every sync of a file 5 ms longer.
fn slow_fsync() -> Option<PathBuf> {
    const SOURCE: &str = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <unistd.h>\n\
        int fsync(int f) { usleep(5000); return ((int (*)(int))dlsym(RTLD_NEXT, \"fsync\"))(f); }\n\
        int fdatasync(int f) { usleep(5000); return ((int (*)(int))dlsym(RTLD_NEXT, \"fdatasync\"))(f); }\n";
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (source, library) = (directory.join("slow_fsync.c"), directory.join("slow_fsync.so"));
    std::fs::write(&source, SOURCE).ok()?;
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
    compiled.is_ok_and(|status| status.success()).then_some(library)
}
