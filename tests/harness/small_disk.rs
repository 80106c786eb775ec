//! Disks that are full: a small tmpfs in a mount namespace of the test's own.

use std::time::Duration;

use serde_json::Value;

use super::namespace::Namespace;
use super::{Bench, DEADLINE};
use zalo_tokend::simulator::{Answer, Fault, Rule};

/// A file system of 3 MiB that only this test sees.
pub struct SmallDisk {
    namespace: Namespace,
    pub mount: String,
}

impl SmallDisk {
    /// Mounts it where the bench's store will be, and lets every command of the bench run there.
    pub async fn under(bench: &Bench) -> SmallDisk {
        let mount = bench.path("state");
        std::fs::create_dir(&mount).expect("made");
        let mount = mount.display().to_string();
        let script = "mount -t tmpfs -o size=3m,mode=0700 tmpfs \"$0\"";
        SmallDisk { namespace: Namespace::around(bench, script, &mount).await, mount }
    }

    pub async fn shell(&self, script: &str) -> String {
        self.namespace.shell(script).await
    }

    /// Fills it to the last byte.
    pub async fn fill(&self) {
        let filler = format!("{}/filler", self.mount);
        self.shell(&format!("cat /dev/zero > {filler} 2>/dev/null; true")).await;
        let free = self.shell(&format!("df --output=avail {} | tail -1", self.mount)).await;
        assert_eq!(free.trim(), "0", "the disk is full");
    }

    /// Lets the answer go that is held, and that finds no room on any disk: the slots lose theirs, and nothing else has any.
    pub async fn take_no_answer(&self, bench: &Bench) {
        bench.ledger_until(|ledger| ledger.spends() == 1).await;
        self.shell(&format!("truncate --size=0 {}/tokens.db-slots", self.mount)).await;
        self.fill().await;
        bench.simulator.release();
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

    /// The same, and that it is on a disk.
    pub async fn wait_until_durable(&self, oa: &str) {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        let is_durable = async || {
            let output = self.run(&["token", oa, "--json"]).await;
            let record: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let token = record["access_token"].as_str();
            record["durable"].is_null()
                && token.is_some_and(|token| self.simulator.is_valid_access_token(token))
        };
        let durable = tokio::time::timeout(DEADLINE, async {
            while !is_durable().await {
                tick.tick().await;
            }
        });
        durable.await.expect("the new token is on a disk");
    }
}

/// A due OA whose answer the simulator holds, over a disk of its own.
pub async fn bench_with_an_answer_held() -> (Bench, SmallDisk) {
    let bench = Bench::new().await;
    let disk = SmallDisk::under(&bench).await;
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    (bench, disk)
}

/// The same after a daemon whose answer came to the full disk, and went to its slot, was killed.
pub async fn killed_with_an_answer_in_its_slot() -> (Bench, SmallDisk) {
    let (bench, disk) = bench_with_an_answer_held().await;
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    disk.fill().await;
    bench.simulator.release();
    bench.wait_until_served("7").await;
    daemon.kill().await;
    (bench, disk)
}
