//! Disks that are full: a small tmpfs in a mount namespace of the test's own.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{Bench, DEADLINE, text};

/// A file system of 3 MiB that only this test sees. It goes with the process that holds its namespace.
pub struct SmallDisk {
    _holder: Child,
    enter: Vec<String>,
    pub mount: String,
}

impl SmallDisk {
    /// Mounts it where the bench's store will be, and lets every command of the bench run there.
    pub async fn under(bench: &Bench) -> SmallDisk {
        let mount = bench.path("state");
        std::fs::create_dir(&mount).expect("made");
        let mount = mount.display().to_string();
        let is_root = rustix::process::geteuid().is_root();
        let user: &[&str] = if is_root { &[] } else { &["--user", "--map-root-user"] };
        let script = "mount -t tmpfs -o size=3m,mode=0700 tmpfs \"$0\" && echo mounted && exec cat";
        let mut holder = Command::new("unshare")
            .args(user)
            .args(["--mount", "sh", "-c", script, &mount])
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
        SmallDisk { _holder: holder, enter, mount }
    }

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

    /// Fills it to the last byte.
    pub async fn fill(&self) {
        let filler = format!("{}/filler", self.mount);
        self.shell(&format!("cat /dev/zero > {filler} 2>/dev/null; true")).await;
        let free = self.shell(&format!("df --output=avail {} | tail -1", self.mount)).await;
        assert_eq!(free.trim(), "0", "the disk is full");
    }

    pub async fn free(&self) {
        self.shell(&format!("rm {}/filler", self.mount)).await;
    }
}

impl Bench {
    /// Waits until the command hands out a token that Zalo takes: one that may be in a slot alone.
    pub async fn wait_until_served(&self, oa: &str) {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        let served = tokio::time::timeout(DEADLINE, async {
            loop {
                let token = self.token(oa).await;
                if token.is_some_and(|token| self.simulator.is_valid_access_token(&token)) {
                    return;
                }
                tick.tick().await;
            }
        });
        served.await.expect("the new token is served while the disk is full");
    }
}
