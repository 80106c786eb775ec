//! Runs the real binary against the simulator, and fails every test whose logs or outputs show a secret.
//!
//! Waiting is always for something: an event in the log, an entry of the ledger, the end of a process. The one
//! deadline there is says that the test hangs; no test depends on how fast the machine is.
#![allow(dead_code, reason = "each test file uses its own part of the harness")]

pub mod consent;
pub mod fake_clock;
pub mod frozen;
pub mod herd;
pub mod http;
pub mod manager;
pub mod namespace;
pub mod network;
pub mod reader;
pub mod resolver;
pub mod rows;
pub mod small_disk;
pub mod together;
pub mod traced;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use zalo_tokend::simulator::{Ledger, MARKER, Simulator, Variant};

/// A test that waits this long hangs.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Says what happens at which point of `src/failpoint.rs`.
pub const FAILPOINT: &str = "ZALO_TOKEND_FAILPOINT";

/// Timings of seconds instead of hours; what a test needs otherwise it says in `refresh`.
pub const QUICK: &str = r#"before_expiry = "5m"
jitter = "0s"
retry_first = "50ms"
retry_max = "400ms"
settle = "300ms"
timeout = "3s"
"#;

/// A simulator, a directory and a config.
pub struct Bench {
    pub simulator: Simulator,
    pub directory: TempDir,
    oas: Mutex<Vec<(String, String)>>,
    apps: Mutex<Vec<String>>,
    /// The content of `[refresh]`.
    pub refresh: Mutex<String>,
    /// Further sections, as they stand in the file.
    pub extra: Mutex<String>,
    /// Further keys of each app.
    pub app_keys: Mutex<String>,
    /// What the binary is run under: nothing, or `nsenter` and its arguments.
    pub prefix: Mutex<Vec<String>>,
}

impl Bench {
    /// With one app `app` and no OA.
    pub async fn new() -> Bench {
        Bench::with(Variant::default()).await
    }

    pub async fn with(variant: Variant) -> Bench {
        Bench::at(([127, 0, 0, 1], 0).into(), variant).await
    }

    /// The same with a simulator that listens there.
    pub async fn at(listen: SocketAddr, variant: Variant) -> Bench {
        let simulator = Simulator::start(listen, variant).await.expect("the simulator starts");
        let bench = Bench {
            simulator,
            directory: tempfile::tempdir().expect("a temporary directory"),
            oas: Mutex::default(),
            apps: Mutex::default(),
            refresh: Mutex::new(QUICK.to_owned()),
            extra: Mutex::default(),
            app_keys: Mutex::default(),
            prefix: Mutex::default(),
        };
        bench.add_app("app");
        bench
    }

    /// Adds an app to the simulator and to the config, with its secret in a file.
    pub fn add_app(&self, app: &str) {
        self.add_app_unwritten(app);
        self.write_config();
    }

    fn add_app_unwritten(&self, app: &str) {
        let secret = format!("{MARKER}-secret-of-{app}");
        self.simulator.add_app(app, &secret);
        self.write_secret(app, &secret);
        lock(&self.apps).push(app.to_owned());
    }

    pub fn write_secret(&self, app: &str, secret: &str) {
        let file = self.path(&format!("{app}.secret"));
        std::fs::write(&file, secret).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("mode set");
    }

    /// Adds an OA of `app` to the config.
    pub fn add_oa(&self, oa: &str) {
        self.add_oa_of("app", oa);
    }

    pub fn add_oa_of(&self, app: &str, oa: &str) {
        lock(&self.oas).push((oa.to_owned(), app.to_owned()));
        self.write_config();
    }

    pub fn remove_oa(&self, oa: &str) {
        lock(&self.oas).retain(|(id, _)| id != oa);
        self.write_config();
    }

    /// From now on the OA is one of this app's.
    pub fn move_oa(&self, oa: &str, app: &str) {
        for (_, of) in lock(&self.oas).iter_mut().filter(|(id, _)| id == oa) {
            app.clone_into(of);
        }
        self.write_config();
    }

    pub fn set_refresh(&self, settings: &str) {
        settings.clone_into(&mut lock(&self.refresh));
        self.write_config();
    }

    pub fn set_extra(&self, sections: &str) {
        sections.clone_into(&mut lock(&self.extra));
        self.write_config();
    }

    /// Has consent be granted at the simulator's own page, and people come back to an address of the daemon's.
    pub fn take_consent(&self) {
        let (page, back) = (self.simulator.permission_url(), consent::REDIRECT_URI);
        *lock(&self.app_keys) = format!("redirect_uri = \"{back}\"\npermission_url = \"{page}\"\n");
        self.set_extra("[authorize]\nlisten = \"127.0.0.1:0\"\n");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("config.toml")
    }

    pub fn store(&self) -> PathBuf {
        self.path("state/tokens.db")
    }

    pub fn write_config(&self) {
        self.write_config_with_store(&self.store());
    }

    pub fn write_config_with_store(&self, store: &Path) {
        let mut text = format!(
            "{}\n[store]\npath = \"{}\"\n[refresh]\n{}",
            lock(&self.extra),
            store.display(),
            lock(&self.refresh)
        );
        for app in &*lock(&self.apps) {
            text.push_str(&format!(
                "[[app]]\nid = \"{app}\"\nsecret_key_file = \"{app}.secret\"\ntoken_url = \"{}\"\napi_url = \"{}\"\n{}",
                self.simulator.token_url(),
                self.simulator.api_url(),
                lock(&self.app_keys),
            ));
        }
        for (oa, app) in &*lock(&self.oas) {
            text.push_str(&format!("[[oa]]\nid = \"{oa}\"\napp = \"{app}\"\n"));
        }
        self.write_whole_config(&text);
    }

    /// Puts this text in the place of the config at once, so that nobody reads half of it.
    pub fn write_whole_config(&self, text: &str) {
        std::fs::write(self.path("config.new"), text).expect("written");
        std::fs::rename(self.path("config.new"), self.config()).expect("renamed");
    }

    /// Runs a command to its end. Its output is searched for secrets, unless it is `token`.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, "").await
    }

    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        self.run_command(self.command(), arguments, input).await
    }

    /// The same, killed at a point of `src/failpoint.rs`.
    pub async fn run_with_failpoint(&self, point: &str, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command();
        command.env(FAILPOINT, format!("{point}=kill@1"));
        self.run_command(command, arguments, input).await
    }

    async fn run_command(&self, mut command: Command, arguments: &[&str], input: &str) -> Output {
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary runs");
        let mut stdin = child.stdin.take().expect("piped");
        // A command that ends without reading its input closes the pipe.
        stdin.write_all(input.as_bytes()).await.ok();
        drop(stdin);
        let output = tokio::time::timeout(DEADLINE, child.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("{arguments:?} hangs"))
            .expect("waited for");
        if arguments.first() != Some(&"token") {
            assert_no_secret(&output.stdout, "stdout");
        }
        assert_no_secret(&output.stderr, "stderr");
        output
    }

    /// Imports a grant that the simulator made; it has to be taken.
    pub async fn import(&self, oa: &str, answer: &Value) {
        let output = self.run_with_input(&["import", oa], &answer.to_string()).await;
        assert!(output.status.success(), "import failed: {}", text(&output.stderr));
    }

    /// Adds an OA and imports a fresh grant.
    pub async fn add_granted_oa(&self, oa: &str) {
        self.add_oa(oa);
        let answer = self.simulator.grant("app", oa);
        self.import(oa, &answer).await;
    }

    /// The same for a grant that is due for a refresh at once: its access token has a minute left.
    pub async fn add_due_oa(&self, oa: &str) {
        self.add_oa(oa);
        self.import_due(oa).await;
    }

    pub async fn import_due(&self, oa: &str) {
        let life = Duration::from_secs(90_000);
        let answer = self.simulator.grant_aged("app", oa, life - Duration::from_secs(120));
        let obtained_at = jiff_now_minus(life - Duration::from_secs(120));
        let output =
            self.run_with_input(&["import", oa, "--obtained-at", &obtained_at], &answer.to_string()).await;
        assert!(output.status.success(), "import failed: {}", text(&output.stderr));
    }

    /// One OA's `status --json`.
    pub async fn status(&self, oa: &str) -> Value {
        let output = self.run(&["status", oa, "--json"]).await;
        assert!(output.status.success(), "status failed: {}", text(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        report["oas"][0].clone()
    }

    /// One OA's journal, newest first.
    pub async fn history(&self, oa: &str) -> Vec<Value> {
        let output = self.run(&["history", oa, "--json"]).await;
        assert!(output.status.success(), "history failed: {}", text(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        report["attempts"].as_array().expect("an array").clone()
    }

    /// What `token` prints, if the OA has a valid one.
    pub async fn token(&self, oa: &str) -> Option<String> {
        let output = self.run(&["token", oa]).await;
        output.status.success().then(|| text(&output.stdout).trim_end().to_owned())
    }

    /// Starts the daemon and waits until it is ready.
    pub async fn start(&self) -> Daemon {
        let daemon = self.spawn(&[]);
        daemon.wait_for("daemon.ready").await;
        daemon
    }

    /// Starts the daemon, with variables in its environment.
    pub fn spawn(&self, variables: &[(&str, &str)]) -> Daemon {
        let mut command = self.command();
        command.arg("run").envs(variables.iter().copied());
        Daemon::spawn(command)
    }

    /// Starts the daemon so that it is ended (`kill`), or a part of it panics (`panic`) or hangs (`hang`), at the n-th
    /// passage of a point of `src/failpoint.rs`.
    pub fn spawn_with_failpoint(&self, point: &str, action: &str, n: u32) -> Daemon {
        self.spawn(&[(FAILPOINT, &format!("{point}={action}@{n}"))])
    }

    /// The binary with its config, under the prefix.
    fn command(&self) -> Command {
        let prefix = lock(&self.prefix).clone();
        let mut words = prefix.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_zalo-tokend")]);
        let mut command = Command::new(words.next().expect("at least the binary"));
        command.args(words).arg("--config").arg(self.config());
        command
    }

    /// Waits until the ledger is as wanted.
    pub async fn ledger_until(&self, wanted: impl Fn(&Ledger) -> bool) -> Ledger {
        self.simulator.wait_until(wanted, DEADLINE).await.expect("the ledger comes to that")
    }
}

/// A running daemon and its log.
pub struct Daemon {
    child: Child,
    pub pid: u32,
    lines: Arc<Mutex<Vec<Value>>>,
    raw: Arc<Mutex<String>>,
    changed: watch::Receiver<usize>,
}

impl Daemon {
    /// Runs a command whose stderr is a daemon's log.
    pub fn spawn(mut command: Command) -> Daemon {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary runs");
        let pid = child.id().expect("running");
        let (lines, raw) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::<Mutex<String>>::default());
        let (tell, changed) = watch::channel(0);
        let mut reader = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (own_lines, own_raw) = (Arc::clone(&lines), Arc::clone(&raw));
        tokio::spawn(async move {
            while let Ok(Some(line)) = reader.next_line().await {
                lock(&own_raw).push_str(&(line.clone() + "\n"));
                if let Ok(value) = serde_json::from_str(&line) {
                    lock(&own_lines).push(value);
                }
                tell.send_modify(|count| *count += 1);
            }
        });
        Daemon { child, pid, lines, raw, changed }
    }

    /// The whole log as text.
    pub fn log(&self) -> String {
        lock(&self.raw).clone()
    }

    /// The events of this name so far.
    pub fn events(&self, name: &str) -> Vec<Value> {
        lock(&self.lines).iter().filter(|line| line["event"] == name).cloned().collect()
    }

    /// Waits for an event.
    pub async fn wait_for(&self, name: &str) -> Value {
        self.wait_for_nth(name, 1).await
    }

    /// Waits for the n-th event of this name.
    pub async fn wait_for_nth(&self, name: &str, n: usize) -> Value {
        self.wait_until(name, |events| events.get(n - 1).cloned()).await
    }

    /// Waits for an event about an OA.
    pub async fn wait_for_oa(&self, name: &str, oa: &str) -> Value {
        self.wait_until(name, |events| events.iter().find(|event| event["oa_id"] == oa).cloned()).await
    }

    /// Waits for whichever of these events comes first about an OA.
    pub async fn wait_for_either(&self, names: [&str; 2], oa: &str) -> Value {
        let wait =
            |name| self.wait_until(name, |events| events.iter().find(|event| event["oa_id"] == oa).cloned());
        tokio::select! {
            event = wait(names[0]) => event,
            event = wait(names[1]) => event,
        }
    }

    async fn wait_until(&self, name: &str, pick: impl Fn(&[Value]) -> Option<Value>) -> Value {
        let mut changed = self.changed.clone();
        let found = tokio::time::timeout(DEADLINE, async {
            loop {
                changed.borrow_and_update();
                if let Some(event) = pick(&self.events(name)) {
                    return Some(event);
                }
                if changed.changed().await.is_err() {
                    return pick(&self.events(name));
                }
            }
        });
        match found.await {
            Ok(Some(event)) => event,
            Ok(None) => panic!("the daemon ended without {name}:\n{}", self.log()),
            Err(_) => panic!("no {name} came:\n{}", self.log()),
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid.cast_signed()).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("signalled");
    }

    /// Sends SIGSTOP, and waits until none of its threads runs any more: on a busy machine that takes a while.
    pub async fn stand_still(&self) {
        self.signal(rustix::process::Signal::STOP);
        let stands = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).expect("a thread that is there");
            // After the name, which may hold anything but a line's end.
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        let stopped = tokio::time::timeout(DEADLINE, async {
            loop {
                let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid)).expect("it is there");
                if tasks.flatten().all(stands) {
                    return;
                }
                tick.tick().await;
            }
        });
        stopped.await.expect("every thread stands still");
    }

    /// Waits until the log has this text.
    pub async fn wait_for_text(&self, text: &str) {
        let mut changed = self.changed.clone();
        let found = tokio::time::timeout(DEADLINE, async {
            while !self.log().contains(text) {
                assert!(changed.changed().await.is_ok(), "the daemon ended without {text}:\n{}", self.log());
            }
        });
        found.await.unwrap_or_else(|_| panic!("no {text} came:\n{}", self.log()));
    }

    /// SIGHUP, and the event that says that the config is in force.
    pub async fn reload(&self) -> Value {
        self.after_hup("config.reloaded").await
    }

    /// SIGHUP, and the event that says that the config is not taken over.
    pub async fn reload_in_vain(&self) -> Value {
        self.after_hup("config.rejected").await
    }

    async fn after_hup(&self, event: &str) -> Value {
        let before = self.events(event).len();
        self.signal(rustix::process::Signal::HUP);
        self.wait_for_nth(event, before + 1).await
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.ended().await
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Waits for the end, and for the log's end.
    pub async fn ended(&mut self) -> ExitStatus {
        let status = tokio::time::timeout(DEADLINE, self.child.wait())
            .await
            .unwrap_or_else(|_| panic!("the daemon does not end:\n{}", lock(&self.raw)))
            .expect("waited for");
        while self.changed.changed().await.is_ok() {}
        status
    }

    /// Does it end without this event?
    pub async fn ends_before(&self, name: &str) -> bool {
        let mut changed = self.changed.clone();
        let ended = tokio::time::timeout(DEADLINE, async {
            while self.events(name).is_empty() {
                if changed.changed().await.is_err() {
                    return self.events(name).is_empty();
                }
            }
            false
        });
        ended.await.unwrap_or_else(|_| panic!("neither {name} nor an end came:\n{}", self.log()))
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("asked").is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_no_secret(self.log().as_bytes(), "the log");
        }
    }
}

pub fn assert_no_secret(bytes: &[u8], place: &str) {
    let text = text(bytes);
    assert!(!text.contains(MARKER), "a secret stands in {place}:\n{text}");
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn jiff_now_minus(age: Duration) -> String {
    use zalo_tokend::clock::{Clock, SystemClock};
    SystemClock::new().now().minus(age).to_string()
}

pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
