//! Every status of the vendor's table, and what each is to be met with.

use serde_json::json;
use zalo_tokend::simulator::VendorData;

use super::harness::Daemon;
use super::harness::together::at_each;
use super::*;

/// What is to be done about an answer.
#[derive(Clone, Copy, Debug)]
enum Reaction {
    /// The link is shown, and a person called.
    Link,
    /// There is none: asked again, and no failure.
    Nothing,
    /// An ERROR for this OA, which is asked for again after a reload alone.
    Misconfigured,
    /// An ERROR for the vendor, all of whose OAs wait until the key is corrected.
    Refused,
    /// Asked again until it is well.
    Retried,
}

/// A status, is there a link beside it, and what is done. Where it is no 200 or 201 the link is there all the same: the
/// status decides.
const TABLE: [(u16, bool, Reaction); 14] = [
    (200, true, Reaction::Link),
    (200, false, Reaction::Nothing),
    (201, true, Reaction::Link),
    (201, false, Reaction::Nothing),
    (204, true, Reaction::Nothing),
    (400, true, Reaction::Misconfigured),
    (401, true, Reaction::Refused),
    (403, true, Reaction::Refused),
    (404, true, Reaction::Misconfigured),
    (405, true, Reaction::Misconfigured),
    (500, true, Reaction::Retried),
    (502, true, Reaction::Retried),
    (503, true, Reaction::Retried),
    (504, true, Reaction::Retried),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_status_of_the_vendors_table_has_its_reaction() {
    at_each(TABLE, meet).await;
}

/// One row: `1` is due and its link is answered so, `2` is not due. How OAs stand the vendor does not tell.
async fn meet((status, has_link, reaction): (u16, bool, Reaction)) {
    let bench = holding("", &[("1", 10, &given(80)), ("2", 89, &given(1))]).await;
    let quiet = VendorRule::forever(VendorFault::status(404)).when_asked(VendorQuestion::ShopOa);
    bench.simulator.vendor_fault(quiet.clone());
    let answer = VendorAnswer {
        status,
        data: if has_link { VendorData::Usual } else { VendorData::Missing },
        code: Some(json!(7)),
        message: Some("as agreed".to_owned()),
        referent_id: Some("r-1".to_owned()),
        ..VendorAnswer::default()
    };
    let rule = VendorRule::forever(VendorFault::Answer(answer)).when_asked(VendorQuestion::ConsentLink);
    bench.simulator.vendor_fault(rule);
    let mut daemon = bench.start().await;
    let told = daemon.wait_for(event_of(reaction)).await;
    // A 204 has no body.
    let said = if status == 204 { [json!(null), json!(null), json!(null)] } else { said_in_full() };
    assert_eq!(
        [&told["code"], &told["vendor_message"], &told["referent_id"]],
        said.each_ref(),
        "{status}: {told}"
    );
    let scheduled = ("scheduled", json!(null));
    let stands = async |oa: &str, wanted: (&str, Value)| {
        let seen = bench.status(oa).await;
        assert_eq!(
            (seen["state"].as_str(), &seen["reason"]),
            (Some(wanted.0), &wanted.1),
            "{status}: {seen}"
        );
    };
    let blocked = ("blocked", json!("vendor_refused"));
    let called = |reason: &str| ("reauthorization_required", json!(reason));
    let (one, two) = match reaction {
        Reaction::Link => (called("consent_due"), scheduled),
        Reaction::Nothing => (scheduled.clone(), scheduled),
        Reaction::Misconfigured => (called("vendor_misconfigured"), scheduled),
        Reaction::Refused => (blocked.clone(), blocked),
        Reaction::Retried => (("retrying", json!(null)), scheduled),
    };
    if let Reaction::Link = reaction {
        daemon.wait_for("oa.reauthorization_required").await;
    }
    stands("1", one).await;
    stands("2", two).await;
    meet_further(&bench, &daemon, status, &told, reaction).await;
    // What becomes of it once the vendor has a link to give.
    bench.simulator.clear_vendor_faults();
    bench.simulator.vendor_fault(quiet);
    match reaction {
        Reaction::Link => {}
        Reaction::Nothing | Reaction::Retried => drop(daemon.wait_for("oa.reauthorization_required").await),
        Reaction::Misconfigured | Reaction::Refused => {
            assert_eq!(links_asked(&bench, "1"), 1, "{status}: not before a person has changed something");
            daemon.reload().await;
            daemon.wait_for("oa.reauthorization_required").await;
        }
    }
    stands("1", called("consent_due")).await;
    stands("2", ("scheduled", json!(null))).await;
    assert_is_link(&bench.status("1").await["reauthorization"]["url"]);
    assert!(daemon.stop().await.success());
    assert_eq!((links_asked(&bench, "2"), daemon.events("oa.reauthorization_required").len()), (0, 1));
    assert_asked_well(&bench);
}

fn event_of(reaction: Reaction) -> &'static str {
    match reaction {
        Reaction::Link => "vendor.link_fetched",
        Reaction::Nothing => "vendor.asked_in_vain",
        Reaction::Misconfigured => "vendor.misconfigured",
        Reaction::Refused => "vendor.refused",
        Reaction::Retried => "vendor.failed",
    }
}

fn said_in_full() -> [Value; 3] {
    [json!("7"), json!("as agreed"), json!("r-1")]
}

/// What the event says, and what there is beside it.
async fn meet_further(bench: &Bench, daemon: &Daemon, status: u16, told: &Value, reaction: Reaction) {
    let answers = json!(format!("the vendor answers {status}"));
    let (level, detail, oa) = match reaction {
        Reaction::Link => {
            let called = daemon.wait_for("oa.reauthorization_required").await;
            assert_eq!((&called["url"], &called["level"]), (&told["url"], &json!("ERROR")));
            assert_is_link(&told["url"]);
            ("INFO", json!(null), json!("1"))
        }
        Reaction::Nothing => {
            let asked_thrice = |ledger: &Ledger| asked(ledger, VendorQuestion::ConsentLink, "1") >= 3;
            bench.ledger_until(asked_thrice).await;
            assert_eq!(daemon.events("vendor.asked_in_vain").len(), 1, "said once in a row");
            assert!(daemon.events("vendor.failed").is_empty());
            ("WARN", json!(null), json!("1"))
        }
        Reaction::Misconfigured => ("ERROR", answers, json!("1")),
        Reaction::Refused => {
            assert_eq!(told["vendor"], "v");
            ("ERROR", answers, json!(null))
        }
        Reaction::Retried => {
            daemon.wait_for_nth("vendor.failed", 3).await;
            assert!(told["retry_at"].is_string() && told["asked"] == "refresh-token", "{told}");
            ("WARN", answers, json!("1"))
        }
    };
    assert_eq!((&told["level"], &told["detail"], &told["oa_id"]), (&json!(level), &detail, &oa), "{status}");
}
