//! OAs that a vendor holds, by the real binary against a vendor of the tests' own.

mod answers;
mod consent;
#[path = "../harness/mod.rs"]
mod harness;
mod interruptions;
mod people;
mod vendor;

use std::time::Duration;

use harness::{Bench, lock};
use serde_json::Value;
use zalo_tokend::clock::{Clock, SystemClock, Time};

use vendor::Vendor;

/// What the vendor takes; logs that show it fail the test.
const KEY: &str = "CANARY-key-of-the-vendor";
const DAY: Duration = Duration::from_secs(86_400);
const LINK: &str = "https://oauth.zaloapp.com/v4/oa/permission?app_id=1&state=2";

fn now() -> Time {
    SystemClock::new().now()
}

/// A bench without OAs of apps, with a vendor in its config.
async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.write_secret("vendor", KEY);
    bench
}

/// The sections of a vendor of this style, with further lines, and of OAs of his, each with a line of its own.
fn sections(vendor: &Vendor, more: &str, oas: &[(&str, &str)]) -> String {
    let mut text = format!(
        "[[vendor]]\nid = \"v\"\nbase_url = \"http://{}\"\napi_key_file = \"vendor.secret\"\n{more}\n",
        vendor.address
    );
    for (oa, line) in oas {
        text.push_str(&format!("[[oa]]\nid = \"{oa}\"\nvendor = \"v\"\n{line}\n"));
    }
    text
}

/// When consent was given, as a line of an OA.
fn given(days_ago: u32) -> String {
    format!("authorized_at = \"{}\"", now().minus(DAY * days_ago))
}

/// The events of this name about an OA.
fn about(daemon: &harness::Daemon, name: &str, oa: &str) -> Vec<Value> {
    daemon.events(name).into_iter().filter(|event| event["oa_id"] == oa).collect()
}

/// Adds the audit, every second, to the config.
fn with_audit(bench: &Bench, sections: &str, remind: &str) {
    *lock(&bench.extra) =
        format!("[schedule]\naudit = \"* * * * * *\"\n[refresh_token]\nremind = [{remind}]\n{sections}");
    bench.write_config();
}
