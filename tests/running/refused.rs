//! What proves by itself that the refresh token is unspent: a gate that stayed barred, a 429, a refused app. Over the
//! wire, by the real binary, judged by the simulator's ledger.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use zalo_tokend::clock::Time;
use zalo_tokend::simulator::{Answer, Entry, Fault, Kind, Ledger, MARKER, Rule, Said};

use crate::harness::Bench;
use crate::harness::rows::*;

#[tokio::test(flavor = "multi_thread")]
async fn f14_a_gate_that_opened_before_an_early_end_is_judged_by_what_came() {
    let rows = [
        ("reset", Fault::ResetBeforeLastByte, 0),
        ("503", early(503, &[], "<html>"), 0),
        ("429", early(429, &[], ""), 0),
        ("429 for a while", early(429, &[("Retry-After", "1")], ""), 1_000),
    ];
    let bench = Bench::with_rows(&rows, |(_, fault, _)| fault.clone()).await;
    let mut daemon = bench.start().await;
    for ((what, _, shortest), oa) in rows.iter().zip(oas()) {
        assert_eq!(daemon.wait_for_oa("refresh.succeeded", &oa).await["generation"], 2, "{what}");
        bench.assert_is_handed_out(&oa, what).await;
        let ledger = bench.simulator.ledger();
        // Nobody can say whether the commit or the early end was faster. The ledger can.
        let failed = daemon.events_of("refresh.failed", &oa);
        let doubted = daemon.events_of("refresh.uncertain", &oa);
        assert_eq!(failed.len() + doubted.len(), 1, "{what}");
        if failed.iter().any(|event| event["class"] == "not_presented") {
            assert_eq!(ledger.presentations_of(&oa), 1, "{what}: the last byte left once");
        } else {
            let proven = moments(&ledger, &oa, is_accepted).len() >= 2;
            assert!(proven || what.starts_with("429"), "{what}: presented again after a proof");
        }
        for event in failed {
            let wait = time(&event, "retry_at").since(time(&event, "timestamp"));
            assert!(wait + Duration::from_millis(500) >= Duration::from_millis(*shortest), "{what}: {event}");
        }
    }
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_a_refused_connection_is_tried_again_until_the_endpoint_is_back() {
    let bench = Bench::new().await;
    let old = bench.add_lone_oa("7", A_WHILE).await;
    bench.simulator.go_down().await;
    let mut daemon = bench.start().await;
    let failed = daemon.wait_for_oa_nth("refresh.failed", "7", 4).await;
    assert_eq!(failed["class"], "not_presented");
    assert_eq!(bench.token("7").await, Some(old), "handed out meanwhile");
    assert_eq!(bench.simulator.ledger().presentations(), 0);
    bench.simulator.come_up().await.expect("the same port");
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.spends()), (1, 1), "{}", ledger.summary());
    assert!(daemon.events("refresh.uncertain").is_empty());
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f29_a_429_is_waited_out_as_long_as_it_asks_within_an_hour() {
    let in_three_seconds = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
    let long_ago = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH);
    let in_a_year = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(365 * 86_400));
    // Retry-After, and the shortest and the longest wait in milliseconds without the usual backoff, which may be
    // added to it and is all that is left where nothing is asked for.
    let rows = [
        (Some("2"), 2_000, 2_000),
        (Some(" 1 "), 1_000, 1_000),
        (Some(in_three_seconds.as_str()), 0, 3_000),
        (Some("0"), 0, 0),
        (None, 0, 0),
        (Some(long_ago.as_str()), 0, 0),
        (Some("-5"), 0, 0),
        (Some("soon"), 0, 0),
        (Some("99999999999999999999999"), 3_600_000, 3_600_000),
        (Some("86400"), 3_600_000, 3_600_000),
        (Some(in_a_year.as_str()), 3_600_000, 3_600_000),
    ];
    let backoff = Duration::from_millis(400);
    let bench = Bench::with_rows(&rows, |(retry_after, _, _)| {
        let headers: Vec<_> = retry_after.iter().map(|value| ("Retry-After", *value)).collect();
        Fault::unspent(with_headers(429, &headers, r#"{"error":-32,"message":"Rate limit exceeded"}"#))
    })
    .await;
    let mut daemon = bench.start().await;
    let date = Time::parse(
        &humantime::format_rfc3339(httpdate::parse_http_date(&in_three_seconds).expect("a date")).to_string(),
    )
    .expect("a point in time");
    for ((retry_after, shortest, longest), oa) in rows.into_iter().zip(oas()) {
        let what = retry_after.unwrap_or("none");
        let failed = daemon.wait_for_oa("refresh.failed", &oa).await;
        assert_eq!(failed["class"], "throttled", "{what}");
        // The wait counts from the answer, which lies between the two events.
        let started = time(&daemon.wait_for_oa("refresh.started", &oa).await, "timestamp");
        let (retry_at, slack) = (time(&failed, "retry_at"), Duration::from_millis(2));
        let earliest = started.plus(Duration::from_millis(shortest)).minus(slack);
        let latest =
            time(&failed, "timestamp").plus(Duration::from_millis(longest)).plus(backoff).plus(slack);
        assert!(earliest <= retry_at && retry_at <= latest, "{what}: {failed}");
        if longest == 3_600_000 {
            let status = bench.status(&oa).await;
            assert_eq!((&status["state"], &status["access_token_valid"]), (&"retrying".into(), &true.into()));
            assert_eq!(bench.simulator.ledger().presentations_of(&oa), 1, "{what}");
            continue;
        }
        daemon.wait_for_oa("refresh.succeeded", &oa).await;
        let again = time(&daemon.wait_for_oa_nth("refresh.started", &oa, 2).await, "timestamp");
        assert!(again >= retry_at && (what != in_three_seconds || again >= date), "{what}: {failed}");
        let ledger = bench.simulator.ledger();
        let throttled = |kind: &Kind| matches!(kind, Kind::AnswerSent { says: Said::Throttled, .. });
        let (presented, answered) = (moments(&ledger, &oa, is_presented), moments(&ledger, &oa, throttled));
        assert_eq!((presented.len(), answered.len()), (2, 1), "{what}");
        assert!(presented[1] + 2 >= answered[0] + shortest, "{what}: {presented:?} {answered:?}");
    }
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn f29_what_a_429_asks_for_is_kept_across_a_restart() {
    let bench = Bench::with_rows(&["2"], |seconds| {
        Fault::unspent(with_headers(429, &[("Retry-After", *seconds)], ""))
    })
    .await;
    let mut daemon = bench.start().await;
    let failed = daemon.wait_for_oa("refresh.failed", "100").await;
    daemon.kill().await;
    let mut daemon = bench.start().await;
    let started = daemon.wait_for_oa("refresh.started", "100").await;
    assert!(time(&started, "timestamp") >= time(&failed, "retry_at"), "{failed} {started}");
    daemon.wait_for_oa("refresh.succeeded", "100").await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    let presented = moments(&ledger, "100", is_presented);
    let answered = moments(&ledger, "100", |kind| matches!(kind, Kind::AnswerSent { status: 429, .. }));
    assert_eq!((presented.len(), answered.len()), (2, 1), "{}", ledger.summary());
    assert!(presented[1] + 2 >= answered[0] + 2_000, "{presented:?} {answered:?}");
    assert_clean(&ledger);
}

/// Three OAs of an app whose credentials Zalo refuses, and the pacemaker beside them.
async fn bench_with_a_refused_app() -> Bench {
    let bench = Bench::new().await;
    bench.set_refresh(ROOMY);
    bench.add_app("shop");
    bench.simulator.add_app("shop", &format!("{MARKER}-another-secret"));
    for oa in ["1", "2", "3"] {
        bench.add_oa_of("shop", oa);
        bench.import_with("shop", oa, A_WHILE).await;
    }
    bench.add_pacemaker().await;
    bench
}

async fn assert_is_blocked(bench: &Bench) {
    for oa in ["1", "2", "3"] {
        let status = bench.status(oa).await;
        assert_eq!((&status["state"], &status["reason"]), (&"blocked".into(), &"app_refused".into()), "{oa}");
        bench.assert_is_handed_out(oa, "blocked").await;
    }
}

fn presentations_of_shop(ledger: &Ledger) -> Vec<usize> {
    ["1", "2", "3"].map(|oa| ledger.presentations_of(oa)).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn f31_a_refused_secret_stops_all_oas_of_its_app_until_one_trial_succeeds() {
    let bench = bench_with_a_refused_app().await;
    let mut daemon = bench.start().await;
    let refused = daemon.wait_for("app.refused").await;
    assert_eq!((&refused["app_id"], &refused["level"]), (&"shop".into(), &"ERROR".into()));
    let ledger = bench.beats(LONG_AFTER).await;
    assert_is_blocked(&bench).await;
    let costs = presentations_of_shop(&ledger);
    assert!(costs.iter().all(|times| *times <= 1) && costs.contains(&1), "{costs:?}");
    assert_eq!(daemon.events("app.refused").len(), 1);
    assert!(daemon.stop().await.success());

    // A start with the secret as wrong as it was: one trial of one OA, whatever the others are due for.
    let mut daemon = bench.start().await;
    let ledger = bench.beats(LONG_AFTER).await;
    assert_is_blocked(&bench).await;
    let now = presentations_of_shop(&ledger);
    assert_eq!(now.iter().sum::<usize>(), costs.iter().sum::<usize>() + 1, "{}", ledger.summary());
    assert!(daemon.stop().await.success());
    assert_clean(&ledger);

    // A start with the right secret: the others wait for the trial's answer, and then go on.
    bench.simulator.add_app("shop", &format!("{MARKER}-secret-of-shop"));
    for oa in ["1", "2", "3"] {
        bench.simulator.fault(Rule::once(Fault::spent(Answer::Delayed(Duration::from_secs(1)))).for_oa(oa));
    }
    let before = bench.simulator.ledger().entries().len();
    let mut daemon = bench.start().await;
    let released = daemon.wait_for("app.released").await;
    assert_eq!((&released["app_id"], &released["level"]), (&"shop".into(), &"INFO".into()));
    for oa in ["1", "2", "3"] {
        daemon.wait_for_oa("refresh.succeeded", oa).await;
        bench.assert_is_handed_out(oa, "released").await;
    }
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    let of_shop = |entry: &&Entry| entry.subject.app_id.as_ref().is_some_and(|app| app.as_str() == "shop");
    let since = ledger.entries()[before..]
        .iter()
        .filter(of_shop)
        .filter(|entry| matches!(entry.kind, Kind::Presented | Kind::AnswerSent { .. }));
    let first: Vec<bool> = since.map(|entry| entry.kind == Kind::Presented).take(2).collect();
    assert_eq!(first, [true, false], "one trial, answered before anything else was presented");
    assert_eq!(ledger.spends_of("1") + ledger.spends_of("2") + ledger.spends_of("3"), 3);
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f31_both_codes_and_both_spellings_of_them_refuse_the_app_and_spend_nothing() {
    let rows = [
        (200, r#"{"error":-14002,"error_name":"Invalid app id"}"#),
        (200, r#"{"error":"-14002"}"#),
        (400, r#"{"error":-14004,"access_token":""}"#),
        (500, r#"{"error":"-14004"}"#),
        (429, r#"{"error":-14004}"#),
    ];
    let bench =
        Bench::with_rows(&rows, |(status, body)| Fault::unspent(Answer::custom(*status, *body))).await;
    let mut daemon = bench.start().await;
    for ((_, body), oa) in rows.into_iter().zip(oas()) {
        let failed = daemon.wait_for_oa("refresh.failed", &oa).await;
        let wait = time(&failed, "retry_at").since(time(&failed, "timestamp"));
        assert!(wait > Duration::from_secs(3_500), "the next trial of its app is in an hour: {failed}");
        let status = bench.status(&oa).await;
        assert_eq!(
            (&status["state"], &status["reason"]),
            (&"blocked".into(), &"app_refused".into()),
            "{body}"
        );
        bench.assert_is_handed_out(&oa, body).await;
    }
    let refused: BTreeSet<String> =
        daemon.events("app.refused").iter().map(|e| e["app_id"].to_string()).collect();
    assert_eq!(refused.len(), rows.len());
    assert!(daemon.stop().await.success());
    let mut daemon = bench.start().await;
    for ((_, body), oa) in rows.into_iter().zip(oas()) {
        daemon.wait_for_oa("refresh.succeeded", &oa).await;
        assert_eq!(bench.simulator.ledger().presentations_of(&oa), 2, "{body}");
    }
    daemon.wait_for_nth("app.released", rows.len()).await;
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}
