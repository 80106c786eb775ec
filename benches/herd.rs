//! How fast: ratios measured in one run, against the simulator on loopback. `cargo bench --bench herd` prints them, and
//! ends with 1 where one falls short. `cargo bench --bench herd -- 1000` takes a smaller fleet, for a quick look.
//!
//! The bare loop is what anybody would write: a POST a refresh, each on a connection of its own, as many at once, and
//! nothing stored. Both sides talk to the same simulator on the same cores, one after the other, and the figure is how
//! much of the bare loop's rate is left when every rotation is journalled before and durable after.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use zalo_tokend::clock::{Clock, Moment, SystemClock, Time};
use zalo_tokend::config::{self, Secrets};
use zalo_tokend::id::{AppId, OaId};
use zalo_tokend::oauth::{Answer, read_token_answer};
use zalo_tokend::simulator::{Simulator, Variant};
use zalo_tokend::store::{Direct, Import};

const CONCURRENCY: usize = 256;
/// What an access token of the herd has left to live: it is due, and lives through the run.
const REMAINING: Duration = Duration::from_secs(3_600);
const LIFE: Duration = Duration::from_secs(90_000);

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let herd = sizes.first().copied().unwrap_or(10_000);
    let fleet = sizes.get(1).copied().unwrap_or(herd * 10);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let figures = runtime.block_on(measure(herd, fleet));
    println!("\n{:<64} {:>12} {:>12}", "figure", "measured", "wanted");
    let mut is_short = false;
    for Figure { what, measured, wanted, at_most, unit } in &figures {
        let is_well = if *at_most { measured <= wanted } else { measured >= wanted };
        let sign = if *at_most { "≤" } else { "≥" };
        is_short |= !is_well;
        let note = if is_well { "" } else { "  SHORT" };
        println!(
            "{what:<64} {:>12} {:>12}{note}",
            format!("{measured:.3}{unit}"),
            format!("{sign} {wanted}{unit}")
        );
    }
    std::process::exit(i32::from(is_short));
}

struct Figure {
    what: String,
    measured: f64,
    wanted: f64,
    at_most: bool,
    unit: &'static str,
}

fn at_least(what: impl Into<String>, measured: f64, wanted: f64, unit: &'static str) -> Figure {
    Figure { what: what.into(), measured, wanted, at_most: false, unit }
}

fn at_most(what: impl Into<String>, measured: f64, wanted: f64, unit: &'static str) -> Figure {
    Figure { what: what.into(), measured, wanted, at_most: true, unit }
}

async fn measure(herd: usize, fleet: usize) -> Vec<Figure> {
    let mut figures = Vec::new();
    let bare = bare_loop(herd).await;
    println!("bare loop: {bare:.0} POSTs/s");
    let (rate, mut delays) = rotate_herd(herd, &[]).await;
    println!("herd: {rate:.0} durable rotations/s");
    figures.push(at_least(format!("{herd} due at once, rotations over the bare loop"), rate / bare, 0.5, ""));
    figures.push(at_most(
        "answer sent → durable, p99, during the herd",
        percentile(&mut delays, 99),
        25.0,
        " ms",
    ));
    if let Some(library) = slow_fsync() {
        let (rate, _) = rotate_herd(herd, &[("LD_PRELOAD", &library)]).await;
        println!("herd, each fsync 5 ms longer: {rate:.0} durable rotations/s");
        let what = "the same with each fsync 5 ms longer, over the bare loop";
        figures.push(at_least(what, rate / bare, 0.3, ""));
    } else {
        println!("no C compiler: slow fsyncs are left out");
    }
    let mut alone = rotate_one_by_one(50).await;
    figures.push(at_most("answer sent → durable, p99, alone", percentile(&mut alone, 99), 5.0, " ms"));
    idle(fleet, &mut figures).await;
    figures
}

/// A stage: simulator, directory, config, store.
struct Stage {
    simulator: Simulator,
    /// What the ledger counts from.
    began_at: Time,
    directory: TempDir,
}

impl Stage {
    /// With so many OAs, whose access tokens have so long to live.
    async fn set_up(oas: usize, remaining: impl Fn(usize) -> Duration, refresh: &str) -> Stage {
        let variant = Variant { access_token_life: LIFE, ..Variant::default() };
        let began_at = SystemClock::new().now();
        let simulator =
            Simulator::start(([127, 0, 0, 1], 0).into(), variant).await.expect("the simulator starts");
        simulator.add_app("app", "secret");
        let stage = Stage { simulator, began_at, directory: tempfile::tempdir().expect("a directory") };
        stage.write_config(oas, refresh);
        stage.fill(oas, remaining);
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_config(&self, oas: usize, refresh: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(self.path("app.secret"), "secret").expect("written");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(self.path("app.secret"), private).expect("set");
        let mut text = format!(
            "[store]\npath = \"state/tokens.db\"\n[refresh]\n{refresh}\n[[app]]\nid = \"app\"\nsecret_key_file = \
             \"app.secret\"\ntoken_url = \"{}\"\napi_url = \"{}\"\n",
            self.simulator.token_url(),
            self.simulator.api_url()
        );
        for n in 0..oas {
            text.push_str(&format!("[[oa]]\nid = \"{n}\"\napp = \"app\"\n"));
        }
        std::fs::write(self.path("config.toml"), text).expect("written");
    }

    fn fill(&self, oas: usize, remaining: impl Fn(usize) -> Duration) {
        let timing = config::load(&self.path("config.toml"), Secrets::LeaveAlone).expect("a config").timing;
        let mut store = Direct::open_to_write(&self.path("state/tokens.db")).expect("opened");
        for n in 0..oas {
            let now = SystemClock::new().read();
            let age = LIFE.saturating_sub(remaining(n));
            let id = n.to_string();
            let body = self.simulator.grant_aged("app", &id, age).to_string();
            let Answer::Granted(tokens) = read_token_answer(body.as_bytes()) else { panic!("no grant") };
            let import = Import {
                oa_id: OaId::from(id),
                app_id: AppId::from("app"),
                name: None,
                tokens,
                obtained: Moment::of_wall_clock(now.time.minus(age)),
            };
            store.import(&import, &timing, &now).expect("imported");
        }
    }

    fn start(&self, variables: &[(&str, &Path)]) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zalo-tokend"));
        command.arg("--config").arg(self.path("config.toml")).arg("run").envs(variables.iter().copied());
        let begun = Instant::now();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        Daemon { child, log, begun }
    }
}

struct Daemon {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    begun: Instant,
}

impl Daemon {
    /// Reads the log until the n-th event of this name; returns those events.
    fn until(&mut self, name: &str, count: usize) -> Vec<Value> {
        let (mut found, mut line) = (Vec::new(), String::new());
        while found.len() < count {
            line.clear();
            assert!(self.log.read_line(&mut line).expect("readable") > 0, "the daemon ended");
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["event"] == name {
                found.push(event);
            }
        }
        found
    }

    fn stop(mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told");
        drop(self.log);
        self.child.wait().expect("ended");
    }
}

/// The rate of single POSTs on fresh connections, nothing stored.
async fn bare_loop(count: usize) -> f64 {
    let stage = Stage::set_up(0, |_| REMAINING, "").await;
    let tokens: Vec<String> = (0..count)
        .map(|n| {
            stage.simulator.grant("app", &n.to_string())["refresh_token"].as_str().expect("text").to_owned()
        })
        .collect();
    let client = reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .no_proxy()
        .http1_only()
        .build()
        .expect("a client");
    let (tokens, next) = (Arc::new(tokens), Arc::new(AtomicUsize::new(0)));
    let url = stage.simulator.token_url();
    let begun = Instant::now();
    let workers: Vec<_> = (0..CONCURRENCY)
        .map(|_| {
            let (client, tokens, next, url) =
                (client.clone(), Arc::clone(&tokens), Arc::clone(&next), url.clone());
            tokio::spawn(async move {
                while let Some(token) = tokens.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let form = format!("app_id=app&grant_type=refresh_token&refresh_token={token}");
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
    count as f64 / begun.elapsed().as_secs_f64()
}

const HERD: &str = "before_expiry = \"2h\"\njitter = \"0s\"\nmax_in_flight = 256\ntimeout = \"60s\"";

/// The rate of durable rotations of a herd that is due at once, and how long after each answer its set was durable.
async fn rotate_herd(count: usize, variables: &[(&str, &Path)]) -> (f64, Vec<f64>) {
    let stage = Stage::set_up(count, |_| REMAINING, HERD).await;
    let mut daemon = stage.start(variables);
    let (events, elapsed) = tokio::task::spawn_blocking(move || {
        daemon.until("daemon.ready", 1);
        let begun = Instant::now();
        let events = daemon.until("refresh.succeeded", count);
        let elapsed = begun.elapsed();
        daemon.stop();
        (events, elapsed)
    })
    .await
    .expect("no panic");
    let ledger = stage.simulator.ledger();
    assert!(ledger.is_clean(), "{}", ledger.summary());
    (count as f64 / elapsed.as_secs_f64(), delays(&stage, &events))
}

/// One OA after the other.
async fn rotate_one_by_one(count: usize) -> Vec<f64> {
    let spread = |n: usize| Duration::from_millis(7_200_000 + 2_000 + 100 * n as u64);
    let stage = Stage::set_up(count, spread, HERD).await;
    let mut daemon = stage.start(&[]);
    let events = tokio::task::spawn_blocking(move || {
        let events = daemon.until("refresh.succeeded", count);
        daemon.stop();
        events
    })
    .await
    .expect("no panic");
    delays(&stage, &events)
}

/// From the answer, as the ledger has it, to the event that says that it is stored, in milliseconds.
fn delays(stage: &Stage, events: &[Value]) -> Vec<f64> {
    use zalo_tokend::simulator::Kind;
    let ledger = stage.simulator.ledger();
    let mut sent = std::collections::BTreeMap::new();
    for entry in ledger.entries() {
        if let (Kind::AnswerSent { .. }, Some(oa_id)) = (&entry.kind, &entry.subject.oa_id) {
            sent.insert(oa_id.to_string(), entry.at_ms);
        }
    }
    let since = |event: &Value| {
        let stored = Time::parse(event["timestamp"].as_str()?).ok()?.as_millis() - stage.began_at.as_millis();
        let answered = i64::try_from(*sent.get(event["oa_id"].as_str()?)?).ok()?;
        Some((stored - answered) as f64)
    };
    events.iter().filter_map(since).collect()
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(place).copied().unwrap_or(f64::NAN)
}

/// A large fleet of which nothing is due: start, memory, and processor time.
async fn idle(fleet: usize, figures: &mut Vec<Figure>) {
    let spread = |n: usize| Duration::from_secs(10_800 + (n as u64 * 7) % 75_000);
    let stage = Stage::set_up(fleet, spread, "").await;
    let mut daemon = stage.start(&[]);
    tokio::task::block_in_place(|| daemon.until("daemon.ready", 1));
    let ready = daemon.begun.elapsed().as_secs_f64();
    figures.push(at_most(format!("start to ready with {fleet} OAs"), ready, 1.0, " s"));
    // All of them were imported just now, which is said of each.
    tokio::task::block_in_place(|| daemon.until("refresh.planned", fleet));
    let pid = daemon.child.id();
    let before = processor_seconds(pid);
    let watched = Duration::from_secs(20);
    tokio::time::sleep(watched).await;
    let share = 100.0 * (processor_seconds(pid) - before) / watched.as_secs_f64();
    figures.push(at_most(format!("{fleet} idle OAs, share of a core"), share, 0.5, " %"));
    figures.push(at_most(format!("{fleet} idle OAs, resident memory"), resident_mib(pid), 64.0, " MiB"));
    daemon.stop();
}

fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("running");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
    // Linux shows ticks of a hundredth of a second, whatever the kernel counts in.
    (ticks(11) + ticks(12)) / 100.0
}

fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("running");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("there");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1_024.0
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
