//! The daemon's everyday life, by the real binary: import, refresh, hand out, stop.

use std::time::Duration;

use zalo_tokend::simulator::{Answer, Fault, Rule};

use crate::harness::rows::*;
use crate::harness::{Bench, QUICK, text};

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

#[tokio::test(flavor = "multi_thread")]
async fn f10_nothing_is_begun_after_a_stop_was_asked_for() {
    let bench = Bench::new().await;
    bench.set_refresh(&format!("{QUICK}max_in_flight = 1\n"));
    for oa in ["7", "8", "9"] {
        bench.add_due_oa(oa).await;
    }
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait_for("daemon.stopping").await;
    // Not by an operator either; and then the one slot becomes free for which the others wait.
    let asked = bench.run(&["refresh", "8"]).await;
    assert!(!asked.status.success(), "{}", text(&asked.stdout));
    bench.simulator.release();
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert_eq!(daemon.events("refresh.succeeded").len(), 1);
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.incomplete()), (1, 0), "{}", ledger.summary());
    let mut daemon = bench.start().await;
    daemon.wait_for_nth("refresh.succeeded", 2).await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean() && ledger.presentations() == 3, "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_killed_while_nothing_is_due_it_refreshes_at_its_planned_time_after_the_restart() {
    let bench = Bench::new().await;
    bench.add_oa("7");
    // Due five minutes before the end, which is four seconds from now.
    bench.import_with("app", "7", Duration::from_secs(304)).await;
    let refresh_at = time(&bench.status("7").await, "next_refresh_at");
    let expires_at = time(&bench.status("7").await, "access_token_expires_at");
    let mut daemon = bench.start().await;
    daemon.kill().await;
    let mut daemon = bench.start().await;
    let started = time(&daemon.wait_for_oa("refresh.started", "7").await, "timestamp");
    assert!(refresh_at <= started && started < expires_at, "{refresh_at} {started} {expires_at}");
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean() && ledger.presentations() == 1, "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn f50_tokens_of_five_seconds_a_minute_and_400_days_are_refreshed_in_time_and_in_no_busy_loop() {
    let rows = [("5", 5_u64), ("60", 60), ("400", 400 * 86_400)];
    let bench = Bench::new().await;
    for (oa, seconds) in rows {
        let body = format!(
            r#"{{"access_token":"{{access_token}}","refresh_token":"{{refresh_token}}","expires_in":{seconds}}}"#
        );
        bench.simulator.fault(Rule::forever(Fault::spent(Answer::custom(200, body))).for_oa(oa));
        bench.add_lone_oa(oa, A_WHILE).await;
    }
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends_of("5") >= 4).await;
    for (oa, _) in rows {
        daemon.wait_for_oa("refresh.succeeded", oa).await;
    }
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    for (oa, seconds) in rows {
        // The plan leaves five minutes, or half of a life that is shorter than ten.
        let half = Duration::from_secs(seconds) / 2;
        let planned = daemon.events_of("refresh.planned", oa);
        for succeeded in daemon.events_of("refresh.succeeded", oa) {
            let said = time(&succeeded, "timestamp");
            let plan = planned.iter().find(|plan| time(plan, "timestamp") >= said).expect("a plan");
            let lead = time(&succeeded, "expires_at").since(time(plan, "refresh_at"));
            assert!(lead >= half.min(Duration::from_secs(300)), "{oa}: {plan} {succeeded}");
        }
        let presented = moments(&ledger, oa, is_presented);
        let shortest = u64::try_from(half.as_millis()).expect("it fits");
        let is_busy = presented.windows(2).any(|pair| pair[1] + 50 < pair[0] + shortest);
        assert!(!presented.is_empty() && !is_busy, "{oa}: {presented:?}");
    }
    assert_eq!(ledger.presentations_of("400"), 1, "{}", ledger.summary());
    assert_clean(&ledger);
}
