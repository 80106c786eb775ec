//! The daemon's everyday life, by the real binary: import, refresh, hand out, stop.

mod harness;

use harness::{Bench, text};
use zalo_tokend::simulator::{Answer, Fault, Rule};

/// The body that Postman printed in the published guide, as it stands.
const POSTMAN: &str = r#"{
    "access_token": "KjBhB_pnlb5IqEud_VU-L5VMx2BqwBiz2jMH6FY3cMqFtR0IhV-6BN6AgYBUwwGo1wYJ4wJ8l21qkefNgyUmN7NwdNA2exb2Kk7hPxwaqcj9yjjZlek8K5JTeIEFZgqiOCgR4PUfhXbYq9uph_Q41sMXkm6irEi1O_pUTigUoMasm-r-okQxLMUxuYMJul0xEC38BPlfvrj4eCnHdyRP8sI9z1oVyTbiRPZo6BcmunP5-hStZvtX1ZZroW_4lSm1PjJ84AIRcHjpyxmzcBpkA6YP-XsZqQeEGUoO0gchZWi7wBS8oSwL0XgOnJJHkSv2CUB-OicZpMeaxFnWzR_6QnRgt5IqikbmIUJFM9p4s7bliEnKiCJ08veGO4VyxBzR",
    "refresh_token": "Y1PqsMH4l121HmYLGJZuQOTwJ9GY2uHRxNHLemaydYVKMqNR35RnPjKG0eiYRxTnYn5nkKbKqqI69Yd6MKdpFuX6Gh58QunbjHaycnPl-rJi1mIb65Zd4ELqBQftAzfquHDGzrqiY5IeIKt97GAO2UuxEuW6NUPxtrH7pIOTdZgeObc0EevGawNcl6DXsRmMZevKt6wLX2l0-pZJN9NhHvJqGP0cbEn9ie5lhtsJepUu_NpP9iX1Bpf8MRTe",
    "expires_in": "90000"
}"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_published_answer_is_imported_and_its_token_handed_out() {
    let bench = Bench::new().await;
    bench.add_oa("579745863508352884");
    let output = bench.run_with_input(&["import", "579745863508352884"], POSTMAN).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let token = bench.token("579745863508352884").await.expect("valid");
    assert!(token.starts_with("KjBhB_pnlb5I") && token.ends_with("VyxBzR"));
    let status = bench.status("579745863508352884").await;
    assert_eq!((&status["state"], &status["generation"]), (&"scheduled".into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_due_is_refreshed_and_its_successor_handed_out() {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    let mut daemon = bench.start().await;
    let succeeded = daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert_eq!(succeeded["generation"], 2);
    let token = bench.token("7").await.expect("valid");
    assert!(bench.simulator.is_valid_access_token(&token));
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.spends()), (1, 1));
    assert!(ledger.is_clean(), "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_sigterm_with_a_request_in_flight_stores_its_answer_and_ends_well() {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait_for("daemon.stopping").await;
    daemon.signal(rustix::process::Signal::INT);
    daemon.signal(rustix::process::Signal::TERM);
    bench.simulator.release();
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert_eq!(daemon.events("refresh.succeeded").len(), 1);
    let token = bench.token("7").await.expect("valid");
    assert!(bench.simulator.is_valid_access_token(&token));
}
