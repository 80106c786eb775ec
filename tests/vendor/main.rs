//! OAs that a vendor holds, by the real binary against the vendor that the simulator plays.

mod answers;
mod consent;
#[path = "../harness/mod.rs"]
mod harness;
mod interruptions;
mod people;
mod statuses;

use std::time::Duration;

use harness::{Bench, lock};
use serde_json::Value;
use zalo_tokend::clock::{Clock, SystemClock, Time};
use zalo_tokend::simulator::{Kind, Ledger, VendorAnswer, VendorFault, VendorQuestion, VendorRule};

/// What the vendor takes; logs that show it fail the test.
const KEY: &str = "CANARY-key-of-the-vendor";
const DAY: Duration = Duration::from_secs(86_400);
/// How the links of the vendor begin.
const LINK: &str = "https://oauth.zaloapp.com/v4/oa/permission?app_id=";

fn now() -> Time {
    SystemClock::new().now()
}

/// A bench without OAs of apps, whose config has a key that the vendor takes.
async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.write_secret("vendor", KEY);
    bench.simulator.add_vendor_key(KEY);
    bench
}

/// The same, of these OAs, which the vendor holds for so many days yet, and each with a line of its own.
async fn holding(more: &str, oas: &[(&str, u32, &str)]) -> Bench {
    let bench = bench().await;
    hold(&bench, more, oas);
    bench
}

/// Has the vendor hold these OAs, and puts them into the config, with further lines of the vendor's.
fn hold(bench: &Bench, more: &str, oas: &[(&str, u32, &str)]) {
    bench.set_extra(&sections(bench, more, oas));
}

/// The same, without writing the config: its sections.
fn sections(bench: &Bench, more: &str, oas: &[(&str, u32, &str)]) -> String {
    let mut text = format!(
        "[[vendor]]\nid = \"v\"\nbase_url = \"{}\"\napi_key_file = \"vendor.secret\"\n{more}\n",
        bench.simulator.vendor_url()
    );
    for (oa, days_left, line) in oas {
        let ends_at = now().plus(DAY * *days_left);
        bench.simulator.vendor_oa(oa, "Shop", ends_at.as_millis());
        text.push_str(&format!("[[oa]]\nid = \"{oa}\"\nvendor = \"v\"\n{line}\n"));
    }
    text
}

/// When consent was given, as a line of an OA.
fn given(days_ago: u32) -> String {
    format!("authorized_at = \"{}\"", now().minus(DAY * days_ago))
}

/// From now on these faults happen to whoever asks for a link, one after the other.
fn link_faults(bench: &Bench, faults: impl IntoIterator<Item = VendorFault>) {
    for fault in faults {
        bench.simulator.vendor_fault(VendorRule::once(fault).when_asked(VendorQuestion::ConsentLink));
    }
}

/// An answer in which the vendor says this.
fn saying(status: u16, message: &str) -> VendorFault {
    let message = Some(message.to_owned());
    VendorFault::Answer(VendorAnswer { status, message, ..VendorAnswer::default() })
}

/// How many times the vendor was asked this about an OA.
fn asked(ledger: &Ledger, what: VendorQuestion, oa: &str) -> usize {
    let is_that = |kind: &Kind| matches!(kind, Kind::VendorAsked { what: asked, .. } if *asked == what);
    ledger.entries_of(oa).filter(|entry| is_that(&entry.kind)).count()
}

fn links_asked(bench: &Bench, oa: &str) -> usize {
    asked(&bench.simulator.ledger(), VendorQuestion::ConsentLink, oa)
}

/// The vendor was asked as he wants it, each time.
fn assert_asked_well(bench: &Bench) {
    let ledger = bench.simulator.ledger();
    assert!(ledger.vendor_requests() > 0 && ledger.is_clean(), "{}", ledger.summary());
}

/// A link of the vendor's.
fn assert_is_link(url: &Value) {
    assert!(url.as_str().is_some_and(|url| url.starts_with(LINK)), "{url}");
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
