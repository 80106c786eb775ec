//! A mount namespace of the test's own: what is mounted there, only the commands of one bench see.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{Bench, text};

/// A namespace. It goes with the process that holds it.
pub struct Namespace {
    _holder: Child,
    enter: Vec<String>,
}

impl Namespace {
    /// Runs the script, whose `$0` is `place`, in a namespace of its own, and every command of the bench from now on.
    pub async fn around(bench: &Bench, script: &str, place: &str) -> Namespace {
        let is_root = rustix::process::geteuid().is_root();
        let user: &[&str] = if is_root { &[] } else { &["--user", "--map-root-user"] };
        let mut holder = Command::new("unshare")
            .args(user)
            .args(["--mount", "sh", "-c", &format!("{script} && echo mounted && exec cat"), place])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("unshare (util-linux) is installed");
        let mut lines = BufReader::new(holder.stdout.take().expect("piped")).lines();
        let said = lines.next_line().await.expect("read");
        assert_eq!(said.as_deref(), Some("mounted"), "this user may not mount in a namespace of its own");
        let pid = holder.id().expect("running").to_string();
        let user: &[&str] = if is_root { &[] } else { &["--user", "--preserve-credentials"] };
        let enter: Vec<String> = [&["nsenter", "--target", &pid, "--mount"], user]
            .concat()
            .iter()
            .map(|word| (*word).to_owned())
            .collect();
        bench.prefix.lock().expect("not poisoned").clone_from(&enter);
        Namespace { _holder: holder, enter }
    }

    /// Runs a script there, and returns what it says.
    pub async fn shell(&self, script: &str) -> String {
        let output = Command::new(&self.enter[0])
            .args(&self.enter[1..])
            .args(["sh", "-c", script])
            .current_dir("/")
            .output()
            .await
            .expect("nsenter runs");
        text(&output.stdout)
    }
}
