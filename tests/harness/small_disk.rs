//! Disks that are full: a small tmpfs in a mount namespace of the test's own.

use std::time::Duration;

use super::namespace::Namespace;
use super::{Bench, DEADLINE};

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
