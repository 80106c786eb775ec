//! A stage for what is measured: simulator, directory, config, store, and the daemon on it.
#![allow(dead_code, reason = "each bench uses its own part of the stage")]

pub mod client;
pub mod figures;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use zalo_tokend::clock::{Clock, Moment, SystemClock, Time};
use zalo_tokend::config::{self, Secrets};
use zalo_tokend::id::{AppId, OaId};
use zalo_tokend::oauth::{Answer, read_token_answer};
use zalo_tokend::simulator::{Kind, Simulator, Variant};
use zalo_tokend::store::{Direct, Import};

/// So many imports are in the log before it is worked into the database.
const IMPORTS_TOGETHER: usize = 2_000;
/// A directory of this machine in which a sync costs nothing, where there is one.
const IN_MEMORY: &str = "/dev/shm";

/// The OAs of a stage.
pub struct Fleet<'f> {
    pub oas: usize,
    /// How long an access token lives.
    pub life: Duration,
    /// When that of the n-th OA ends.
    pub ends: &'f dyn Fn(usize) -> Time,
    /// The section `[refresh]` of the config.
    pub refresh: &'f str,
    /// Further sections.
    pub more: &'f str,
}

pub struct Stage {
    pub simulator: Simulator,
    /// What the ledger counts from.
    pub began_at: Time,
    directory: TempDir,
}

impl Stage {
    pub async fn set_up(fleet: &Fleet<'_>) -> Stage {
        let variant = Variant { access_token_life: fleet.life, ..Variant::default() };
        let began_at = SystemClock::new().now();
        let simulator =
            Simulator::start(([127, 0, 0, 1], 0).into(), variant).await.expect("the simulator starts");
        simulator.add_app(APP, "secret");
        let stage = Stage { simulator, began_at, directory: tempfile::tempdir().expect("a directory") };
        stage.write_config(fleet);
        stage.fill(fleet);
        stage
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_config(&self, fleet: &Fleet<'_>) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(self.path("app.secret"), "secret").expect("written");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(self.path("app.secret"), private).expect("set");
        let mut text = format!(
            "[store]\npath = \"state/tokens.db\"\n{}\n[refresh]\n{}\n[[app]]\nid = \"{APP}\"\n\
             secret_key_file = \"app.secret\"\ntoken_url = \"{}\"\napi_url = \"{}\"\n",
            fleet.more,
            fleet.refresh,
            self.simulator.token_url(),
            self.simulator.api_url()
        );
        for n in 0..fleet.oas {
            text.push_str(&format!("[[oa]]\nid = \"{}\"\napp = \"{APP}\"\n", name(n)));
        }
        std::fs::write(self.path("config.toml"), text).expect("written");
    }

    /// Imports a grant for each OA. Where a sync costs nothing, because each import is a commit of its own; the files
    /// are then brought to where they are to be.
    fn fill(&self, fleet: &Fleet<'_>) {
        let timing = config::load(&self.path("config.toml"), Secrets::LeaveAlone).expect("a config").timing;
        let quick = tempfile::tempdir_in(IN_MEMORY).or_else(|_| tempfile::tempdir()).expect("a directory");
        let path = quick.path().join("state/tokens.db");
        let mut numbers = 0..fleet.oas;
        while !numbers.is_empty() {
            let mut store = Direct::open_to_write(&path).expect("opened");
            for n in numbers.by_ref().take(IMPORTS_TOGETHER) {
                let now = SystemClock::new().read();
                let obtained = (fleet.ends)(n).minus(fleet.life);
                let id = name(n);
                let grant = self.simulator.grant_aged(APP, &id, now.time.since(obtained)).to_string();
                let Answer::Granted(tokens) = read_token_answer(grant.as_bytes()) else { panic!("no grant") };
                let import = Import {
                    oa_id: OaId::from(id),
                    app_id: AppId::from(APP),
                    name: None,
                    tokens,
                    obtained: Moment::of_wall_clock(obtained),
                };
                store.import(&import, &timing, &now).expect("imported");
            }
        }
        if path.exists() {
            std::fs::create_dir(self.path("state")).expect("made");
            std::fs::copy(&path, self.path("state/tokens.db")).expect("copied");
        }
    }

    pub fn start(&self, variables: &[(&str, &Path)]) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zalo-tokend"));
        command.arg("--config").arg(self.path("config.toml")).arg("run").envs(variables.iter().copied());
        let begun = Instant::now();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        Daemon { child, log, begun }
    }

    /// From each answer, as the ledger has it, to the event that says that it is stored, in milliseconds.
    pub fn delays(&self, stored: &[Event]) -> Vec<f64> {
        let stored: Vec<_> = stored.iter().map(|event| (event.oa_id.clone(), event.at)).collect();
        self.since_answers(&stored)
    }

    /// From the last answer to each of these OAs, as the ledger has it, to this point in time, in milliseconds.
    pub fn since_answers(&self, points: &[(String, Time)]) -> Vec<f64> {
        let ledger = self.simulator.ledger();
        let mut sent = std::collections::HashMap::new();
        for entry in ledger.entries() {
            if let (Kind::AnswerSent { .. }, Some(oa_id)) = (&entry.kind, &entry.subject.oa_id) {
                sent.insert(oa_id.to_string(), entry.at_ms);
            }
        }
        let since = |(oa_id, at): &(String, Time)| {
            let answered = i64::try_from(*sent.get(oa_id)?).ok()?;
            Some((at.as_millis() - self.began_at.as_millis() - answered) as f64)
        };
        points.iter().filter_map(since).collect()
    }
}

/// Zalo's numbers are as long.
pub const APP: &str = "1234567890123456789";

/// What the n-th OA is called.
pub fn name(n: usize) -> String {
    (1_000_000_000_000_000_000 + n).to_string()
}

/// A line of the log, as far as it is looked at.
pub struct Event {
    pub oa_id: String,
    pub at: Time,
    /// For `refresh.planned`: when.
    pub refresh_at: Option<Time>,
}

pub struct Daemon {
    child: Child,
    log: BufReader<ChildStderr>,
    pub begun: Instant,
}

impl Daemon {
    /// The next line of one of these events; which of them it is comes first.
    pub fn next(&mut self, names: &[&str]) -> (usize, Event) {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.log.read_line(&mut line).expect("readable") > 0, "the daemon ended");
            // What is not looked for is not taken apart: the daemon needs the same processors.
            let is_there = |name: &&str| line.contains(&format!("\"event\":\"{name}\""));
            let Some(which) = names.iter().position(is_there) else { continue };
            let fields: Value = serde_json::from_str(&line).expect("JSON");
            let time = |name: &str| fields[name].as_str().and_then(|text| Time::parse(text).ok());
            let event = Event {
                oa_id: fields["oa_id"].as_str().unwrap_or_default().to_owned(),
                at: time("timestamp").expect("a timestamp"),
                refresh_at: time("refresh_at"),
            };
            return (which, event);
        }
    }

    /// Reads the log until the n-th event of this name; returns those events.
    pub fn until(&mut self, name: &str, count: usize) -> Vec<Event> {
        (0..count).map(|_| self.next(&[name]).1).collect()
    }

    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told");
        drop(self.log);
        self.child.wait().expect("ended");
    }

    /// The processor time of the process so far.
    pub fn processor_time(&self) -> Duration {
        processor_time(Path::new(&format!("/proc/{}", self.child.id())))
    }

    /// That of its thread which works on the store.
    pub fn processor_time_of_store(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("running");
        let is_store = |task: &PathBuf| {
            std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == "store")
        };
        let store = tasks.flatten().map(|task| task.path()).find(is_store).expect("it lives on");
        processor_time(&store)
    }

    /// A line of `/proc/PID/status` that counts memory, as `VmRSS`, in MiB.
    pub fn memory(&self, what: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("running");
        let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("there");
        let kib = line.trim_start_matches(':').trim().trim_end_matches(" kB");
        kib.parse::<f64>().expect("a number") / 1_024.0
    }
}

/// The processor time of a process or thread, by its directory in `/proc`. A process has also that of the threads that
/// have ended.
pub fn processor_time(directory: &Path) -> Duration {
    let stat = std::fs::read_to_string(directory.join("stat")).expect("running");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    let ticks = |index: usize| fields[index].parse::<u64>().expect("a number");
    // Linux shows ticks of a hundredth of a second, whatever the kernel counts in.
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}
