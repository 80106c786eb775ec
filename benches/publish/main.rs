//! How soon a new token is where it is wanted: `cargo bench --bench publish`, on a machine that does nothing else.
//!
//! A hundred OAs are refreshed one after the other. From the moment at which the simulator sent the answer it is measured
//! until a program that waits for a newer set has it, until it has been read once more by an ordinary request, and until
//! it stands in its file.

#[path = "../stage/mod.rs"]
mod stage;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use stage::client::Client;
use stage::figures::{self, at_most, percentile};
use stage::{Fleet, Stage, name};
use zalo_tokend::clock::{Clock, SystemClock, Time};

const OAS: usize = 100;
/// Between two refreshes.
const APART: Duration = Duration::from_millis(50);
const LIFE: Duration = Duration::from_secs(90_000);
const LEAD: Duration = Duration::from_secs(7_200);
/// Until the first one: the programs have to be waiting by then.
const HEAD_START: Duration = Duration::from_secs(5);
const REFRESH: &str = "before_expiry = \"2h\"\njitter = \"0s\"";
const MORE: &str =
    "[api]\nsocket = \"api.sock\"\n[[publish]]\noas = [\"*\"]\nfile = \"tokens/{oa_id}.json\"\n";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut waits = runtime.block_on(measure());
    let mut figure = |what: &str, which: usize| {
        println!("{what}: half of them within {:.0} ms", percentile(&mut waits[which], 50));
        at_most(format!("answer sent → {what}, p99"), percentile(&mut waits[which], 99), 10.0, " ms")
    };
    let figures =
        [figure("with who waits for it", 0), figure("read by a request", 1), figure("in its file", 2)];
    figures::show(&figures);
}

async fn measure() -> [Vec<f64>; 3] {
    let begin = SystemClock::new().now().plus(LEAD + HEAD_START);
    let ends = |n: usize| begin.plus(APART * u32::try_from(n).expect("few"));
    let stage =
        Stage::set_up(&Fleet { oas: OAS, life: LIFE, ends: &ends, refresh: REFRESH, more: MORE }).await;
    let mut daemon = stage.start(&[]);
    let waits = tokio::task::block_in_place(|| {
        daemon.until("daemon.ready", 1);
        let programs: Vec<_> = (0..OAS)
            .map(|n| {
                let mut client = Client::connect(&stage.path("api.sock"));
                std::thread::spawn(move || wait_and_read(&mut client, &name(n)))
            })
            .collect();
        daemon.until("refresh.succeeded", OAS);
        let read: Vec<(String, Time, Time)> =
            programs.into_iter().map(|program| program.join().expect("no panic")).collect();
        let times = |pick: fn(&(String, Time, Time)) -> Time| -> Vec<(String, Time)> {
            read.iter().map(|read| (read.0.clone(), pick(read))).collect()
        };
        let files: Vec<(String, Time)> = (0..OAS)
            .map(|n| (name(n), renamed_at(&stage.path(&format!("tokens/{}.json", name(n))))))
            .collect();
        [times(|read| read.1), times(|read| read.2), files].map(|points| stage.since_answers(&points))
    });
    daemon.stop();
    waits
}

/// When a newer set came to who waited for it, and when it had been read once more.
fn wait_and_read(client: &mut Client, oa_id: &str) -> (String, Time, Time) {
    let clock = SystemClock::new();
    let (status, _) = client.get(&format!("/v1/oas/{oa_id}/token?after=1&wait=60s"));
    let waited = clock.now();
    assert_eq!(status, 200, "it came in time");
    let (_, body) = client.get(&format!("/v1/oas/{oa_id}/token"));
    let read = clock.now();
    let record: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!(record["generation"], 2, "{record}");
    (oa_id.to_owned(), waited, read)
}

/// When the file came to its name, with the new set in it.
fn renamed_at(path: &Path) -> Time {
    let mut patience = 200;
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.contains("\"generation\":2") || text.contains("\"generation\": 2") {
            let found = std::fs::metadata(path).expect("there");
            return Time::from_millis(found.ctime() * 1_000 + found.ctime_nsec() / 1_000_000);
        }
        assert!(patience > 0, "{} never came: {text}", path.display());
        patience -= 1;
        std::thread::sleep(Duration::from_millis(25));
    }
}
