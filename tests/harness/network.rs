//! A network of the test's own: two namespaces with a cable between them. On one side is the simulator, with the thread
//! that the test runs on; on the other is whatever the bench starts. The network of the machine is not touched.
//!
//! The addresses are such of the loopback, for which the config accepts plain HTTP. They lie at the ends of the cable: no
//! loopback is up on either side.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use zalo_tokend::simulator::Variant;

use super::{Bench, DEADLINE, lock, text};

const ZALO: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 1);
const DAEMON: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 2);
/// The name of the cable's end, on either side.
const CABLE: &str = "cable";

/// Both sides.
pub struct Network {
    pub zalo: Side,
    pub daemon: Side,
}

/// One side. It goes with the process that holds it.
pub struct Side {
    holder: Child,
}

/// Runs a test in a network of its own, on a thread that does not come back from there.
pub fn in_a_network(test: impl AsyncFnOnce(&Bench, &Network) + Send) {
    if !is_possible() {
        return;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let network = Network::new();
            network.zalo.enter();
            // Its threads begin where this one is.
            let runtime =
                tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let bench = Bench::at(SocketAddr::from((ZALO, 0)), Variant::default()).await;
                *lock(&bench.prefix) = network.daemon.words();
                test(&bench, &network).await;
            });
        });
    });
}

/// Whether this user is root and has what it takes. In CI root must have it.
fn is_possible() -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can move a thread into a network of its own: nothing was tested");
        return false;
    }
    let trial = "nft list ruleset && ip link add cable type veth peer name other";
    let trial = Command::new("unshare").args(["--net", "sh", "-c", trial]).output();
    let why_not = match trial {
        Ok(output) if output.status.success() => return true,
        Ok(output) => text(&output.stderr),
        Err(error) => format!("unshare (util-linux): {error}"),
    };
    assert!(std::env::var_os("CI").is_none(), "no network of its own: {why_not}");
    eprintln!("no network of its own, so nothing was tested (apt-get install nftables iproute2): {why_not}");
    false
}

impl Network {
    fn new() -> Network {
        let network = Network { zalo: Side::new(), daemon: Side::new() };
        let peer = network.daemon.holder.id().to_string();
        let cable = ["ip", "link", "add", CABLE, "type", "veth", "peer", "name", CABLE, "netns", &peer];
        network.zalo.run(&cable);
        for (side, address) in [(&network.zalo, ZALO), (&network.daemon, DAEMON)] {
            side.run(&["sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/cable/route_localnet"]);
            side.run(&["ip", "address", "add", &format!("{address}/24"), "dev", CABLE]);
            side.up();
            side.run(&["nft", "add table inet test"]);
            for hook in ["input", "output"] {
                let chain = format!("add chain inet test {hook} {{ type filter hook {hook} priority 0; }}");
                side.run(&["nft", &chain]);
            }
        }
        network
    }
}

impl Side {
    fn new() -> Side {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo there && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut said = String::new();
        let mut stdout = BufReader::new(holder.stdout.take().expect("piped"));
        stdout.read_line(&mut said).expect("read");
        assert_eq!(said.trim(), "there");
        Side { holder }
    }

    /// Moves this thread there.
    fn enter(&self) {
        let namespace = File::open(format!("/proc/{}/ns/net", self.holder.id())).expect("its namespace");
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("entered");
    }

    /// What runs a command there.
    fn words(&self) -> Vec<String> {
        ["nsenter", "--target", &self.holder.id().to_string(), "--net"].map(str::to_owned).to_vec()
    }

    fn run(&self, command: &[&str]) -> String {
        let words = self.words();
        let output = Command::new(&words[0]).args(&words[1..]).args(command).output().expect("nsenter runs");
        assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub fn up(&self) {
        self.run(&["ip", "link", "set", CABLE, "up"]);
    }

    pub fn down(&self) {
        self.run(&["ip", "link", "set", CABLE, "down"]);
    }

    /// What comes in there and is like this meets this end: `drop`, or `reject with tcp reset`.
    pub fn input(&self, like: &str, end: &str) {
        self.rule("input", like, end);
    }

    /// The same of what goes out.
    pub fn output(&self, like: &str, end: &str) {
        self.rule("output", like, end);
    }

    fn rule(&self, hook: &str, like: &str, end: &str) {
        self.run(&["nft", &format!("add rule inet test {hook} {like} counter {end}")]);
    }

    /// Everything passes again.
    pub fn lift(&self) {
        self.run(&["nft", "flush table inet test"]);
    }

    /// Waits until so many packets have met their end there.
    pub async fn until_met(&self, packets: u64) {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let met = async {
            while self.met() < packets {
                tick.tick().await;
            }
        };
        tokio::time::timeout(DEADLINE, met).await.expect("packets come");
    }

    fn met(&self) -> u64 {
        let rules = self.run(&["nft", "list table inet test"]);
        let counts = rules.split("counter packets ").skip(1);
        counts.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.holder.kill().expect("killed");
        self.holder.wait().expect("waited for");
    }
}
