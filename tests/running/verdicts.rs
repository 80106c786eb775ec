//! What an answer means: the rows of the design's table that end with this answer, over the wire, by the real
//! binary. One OA with an app of its own for each kind of answer, all in one daemon, so that none of them may delay
//! another (I10). What is tried again with the same token is in `refused.rs`, what leaves an OA uncertain in
//! `unknown.rs`.

use std::time::Duration;

use zalo_tokend::simulator::{Answer, Ending, Fault, Length, Rule, Spend};

use crate::harness::Bench;
use crate::harness::rows::*;

#[tokio::test(flavor = "multi_thread")]
async fn f38_whatever_brings_both_tokens_is_adopted() {
    const PAIR: &str =
        r#"{"access_token":"{access_token}","refresh_token":"{refresh_token}","expires_in":2}"#;
    let pair = |status| Answer::custom(status, PAIR);
    let unclosed = PAIR.trim_end_matches('}');
    let reset_at_the_end =
        Answer::Truncated { after: usize::MAX, ending: Ending::Rst, length: Length::CloseDelimited };
    let rows: Vec<(&str, bool, Answer)> = vec![
        ("status 500", false, pair(500)),
        ("status 429", false, pair(429)),
        ("status 302", false, with_headers(302, &[("Location", "/elsewhere")], PAIR)),
        ("said to be HTML", false, with_headers(200, &[("Content-Type", "text/html")], PAIR)),
        ("unknown fields", false, {
            let more = r#"{"ref":{"access_token":"x"},"list":[1,{}],"oa_id":1,"refresh_token_expires_in":"7776000","#;
            Answer::custom(200, PAIR.replacen('{', more, 1))
        }),
        ("an error of 0 beside them", false, Answer::custom(200, PAIR.replacen('{', r#"{"error":0,"#, 1))),
        ("an error beside them", false, Answer::custom(200, PAIR.replacen('{', r#"{"error":-14014,"#, 1))),
        ("a byte order mark", false, Answer::custom(200, format!("\u{feff}{PAIR}"))),
        ("blanks around it", false, Answer::custom(200, format!("\r\n\t {PAIR} \n"))),
        ("wrapped in data", false, {
            Answer::custom(200, format!(r#"{{"error":0,"message":"Success","data":{PAIR}}}"#))
        }),
        ("a field twice", true, {
            Answer::custom(200, PAIR.replacen('{', r#"{"access_token":"{old_refresh_token}","#, 1))
        }),
        ("something behind it", true, Answer::custom(200, format!("{PAIR}<!-- gateway 7 -->"))),
        ("broken off in its object", true, Answer::custom(200, unclosed)),
        ("never ended", true, with_headers(200, &[("Content-Length", "9999")], unclosed)),
        ("reset behind its last byte", false, reset_at_the_end),
    ];
    let bench = Bench::with_rows(&rows, |(_, _, answer)| Fault::spent(answer.clone())).await;
    let mut daemon = bench.start().await;
    for ((what, is_odd, answer), oa) in rows.iter().zip(oas()) {
        let succeeded = daemon.wait_for_oa("refresh.succeeded", &oa).await;
        assert_eq!(succeeded["generation"], 2, "{what}");
        if matches!(answer, Answer::Custom { .. }) {
            // Told to live for two seconds, it is refreshed again: with the refresh token that came.
            assert_eq!(daemon.wait_for_oa_nth("refresh.succeeded", &oa, 2).await["generation"], 3, "{what}");
            assert_eq!(bench.simulator.ledger().spends_of(&oa), 2, "{what}");
        }
        bench.assert_is_handed_out(&oa, what).await;
        let odd = daemon.events_of("refresh.answer_odd", &oa);
        assert_eq!(!odd.is_empty(), *is_odd, "{what}: {odd:?}");
        assert!(odd.iter().all(|event| event["level"] == "WARN"), "{what}");
    }
    assert!(daemon.stop().await.success());
    assert!(daemon.events("refresh.uncertain").is_empty(), "{}", daemon.log());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn f38_a_life_is_believed_if_it_is_whole_seconds_and_else_counts_as_90000() {
    let rows: [(&str, u64, bool); 18] = [
        (r#","expires_in":"3600""#, 3_600, false),
        (r#","expires_in":3600"#, 3_600, false),
        (r#","expires_in":3600.0"#, 3_600, false),
        (r#","expires_in":"34560000""#, 34_560_000, false),
        (r#","expires_in":34560001"#, 90_000, true),
        (r#","expires_in":1e300"#, 90_000, true),
        (r#","expires_in":18446744073709551616"#, 90_000, true),
        (r#","expires_in":0"#, 90_000, true),
        (r#","expires_in":"0""#, 90_000, true),
        (r#","expires_in":-90000"#, 90_000, true),
        (r#","expires_in":3600.5"#, 90_000, true),
        (r#","expires_in":"soon""#, 90_000, true),
        (r#","expires_in":"""#, 90_000, true),
        (r#","expires_in":null"#, 90_000, true),
        (r#","expires_in":true"#, 90_000, true),
        (r#","expires_in":[3600]"#, 90_000, true),
        (r#","expires_in":{}"#, 90_000, true),
        ("", 90_000, true),
    ];
    let body = |expires_in: &str| {
        format!(r#"{{"access_token":"{{access_token}}","refresh_token":"{{refresh_token}}"{expires_in}}}"#)
    };
    let bench = Bench::with_rows(&rows, |row| Fault::spent(Answer::custom(200, body(row.0)))).await;
    let mut daemon = bench.start().await;
    for ((what, seconds, is_odd), oa) in rows.into_iter().zip(oas()) {
        let started = time(&daemon.wait_for_oa("refresh.started", &oa).await, "timestamp");
        let succeeded = daemon.wait_for_oa("refresh.succeeded", &oa).await;
        // The life counts from the opening of the gate, which lies between the two events.
        let (life, to_the_millisecond) = (Duration::from_secs(seconds), Duration::from_millis(2));
        let expires_at = time(&succeeded, "expires_at");
        assert!(expires_at >= started.plus(life).minus(to_the_millisecond), "{what}: {succeeded}");
        let latest = time(&succeeded, "timestamp").plus(life).plus(to_the_millisecond);
        assert!(expires_at <= latest, "{what}: {succeeded}");
        let odd = daemon.events_of("refresh.answer_odd", &oa);
        assert_eq!(odd.len(), usize::from(is_odd), "{what}: {odd:?}");
        bench.assert_is_handed_out(&oa, what).await;
    }
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!(ledger.presentations(), rows.len(), "{}", ledger.summary());
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f40_an_access_token_alone_is_served_and_a_person_is_told() {
    let rows = [
        r#"{"access_token":"{access_token}","expires_in":3600}"#,
        r#"{"access_token":"{access_token}","refresh_token":"","expires_in":3600}"#,
        r#"{"access_token":"{access_token}","refresh_token":null,"expires_in":3600}"#,
    ];
    let bench = Bench::with_rows(&rows, |body| Fault::spent(Answer::custom(200, *body))).await;
    bench.add_pacemaker().await;
    let mut daemon = bench.start().await;
    for (what, oa) in rows.into_iter().zip(oas()) {
        let told = daemon.wait_for_oa("oa.reauthorization_required", &oa).await;
        assert_eq!(
            (&told["reason"], &told["level"]),
            (&"refresh_token_missing".into(), &"ERROR".into()),
            "{what}"
        );
        bench.assert_is_handed_out(&oa, what).await;
        let status = bench.status(&oa).await;
        assert_eq!(status["state"], "reauthorization_required", "{what}");
        assert_eq!(
            (&status["generation"], &status["access_token_valid"]),
            (&2.into(), &true.into()),
            "{what}"
        );
    }
    let ledger = bench.beats(LONG_AFTER).await;
    for (what, oa) in rows.into_iter().zip(oas()) {
        assert_eq!(ledger.presentations_of(&oa), 1, "{what}");
    }
    assert!(daemon.stop().await.success());
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_alone_is_adopted_and_presented_at_once() {
    let rows = [
        r#"{"refresh_token":"{refresh_token}","expires_in":"90000"}"#,
        r#"{"access_token":"","refresh_token":"{refresh_token}"}"#,
    ];
    let bench = Bench::with_rows(&rows, |body| Fault::spent(Answer::custom(200, *body))).await;
    let mut daemon = bench.start().await;
    for (what, oa) in rows.into_iter().zip(oas()) {
        assert_eq!(daemon.wait_for_oa_nth("refresh.succeeded", &oa, 2).await["generation"], 3, "{what}");
        bench.assert_is_handed_out(&oa, what).await;
        let ledger = bench.simulator.ledger();
        assert_eq!((ledger.presentations_of(&oa), ledger.spends_of(&oa)), (2, 2), "{what}");
    }
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn f39_a_refresh_token_that_is_handed_out_again_is_proven_unspent_by_that() {
    let again = r#"{"access_token":"{access_token}","refresh_token":"{old_refresh_token}","expires_in":2}"#;
    let bench = Bench::with_rows(&[again], |body| Fault::AfterRequest {
        spend: Spend::WithoutRotation,
        answer: Answer::custom(200, *body),
    })
    .await;
    let mut daemon = bench.start().await;
    assert_eq!(daemon.wait_for_oa_nth("refresh.succeeded", "100", 2).await["generation"], 3);
    bench.assert_is_handed_out("100", "the second set").await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.spends()), (2, 1), "{}", ledger.summary());
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f39_a_refresh_token_that_was_used_before_is_not_taken_for_a_new_one() {
    let bench = Bench::new().await;
    bench.set_refresh(ROOMY);
    bench.add_lone_oa("7", A_WHILE).await;
    bench.add_pacemaker().await;
    let first = bench.simulator.current_set("7").expect("granted").refresh_token.expose().to_owned();
    let new = r#"{"access_token":"{access_token}","refresh_token":"{refresh_token}","expires_in":1}"#;
    for body in [new.to_owned(), new.replace("{refresh_token}", &first)] {
        bench.simulator.fault(Rule::once(Fault::spent(Answer::custom(200, body))).for_oa("7"));
    }
    let mut daemon = bench.start().await;
    let told = daemon.wait_for_oa("oa.reauthorization_required", "7").await;
    assert_eq!(told["reason"], "refresh_token_repeated");
    assert_eq!(daemon.events_of("refresh.succeeded", "7").len(), 2);
    let ledger = bench.beats(LONG_AFTER).await;
    assert_eq!((ledger.presentations_of("7"), ledger.spends_of("7")), (2, 2), "{}", ledger.summary());
    assert!(daemon.stop().await.success());
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f39_what_cannot_be_a_token_is_kept_as_it_came_and_not_adopted() {
    let rows = [
        ("a blank", r#"{"access_token":"{access_token}","refresh_token":" {refresh_token}"}"#),
        ("a line's end", r#"{"access_token":"{access_token}\n","refresh_token":"{refresh_token}"}"#),
        ("a zero", r#"{"access_token":"{access_token}","refresh_token":"{refresh_token}\u0000"}"#),
        ("a tab", r#"{"access_token":"\t{access_token}","refresh_token":"{refresh_token}"}"#),
    ];
    let bench = Bench::with_rows(&rows, |(_, body)| Fault::spent(Answer::custom(200, *body))).await;
    let mut daemon = bench.start().await;
    for ((what, _), oa) in rows.into_iter().zip(oas()) {
        daemon.wait_for_oa("refresh.uncertain", &oa).await;
        let told = daemon.wait_for_oa("oa.reauthorization_required", &oa).await;
        assert_eq!(told["reason"], "response_lost", "{what}");
        let history = bench.history(&oa).await;
        assert_eq!(history[0]["answer_kept"], true, "{what}: {history:?}");
        assert_eq!(bench.status(&oa).await["generation"], 1, "{what}");
        assert_eq!(bench.simulator.ledger().presentations_of(&oa), 1, "{what}");
    }
    assert!(daemon.stop().await.success());
    assert!(daemon.events("refresh.succeeded").is_empty());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn f30_a_dead_refresh_token_is_presented_once_and_never_again() {
    let rows = [
        (200, r#"{"error":-14014,"error_name":"Invalid refresh token","access_token":""}"#),
        (200, r#"{"error":"-14014"}"#),
        (400, r#"{"error":-14014}"#),
        (429, r#"{"error":-14014}"#),
        (500, r#"{"data":{"error":-14014}}"#),
    ];
    let bench =
        Bench::with_rows(&rows, |(status, body)| Fault::unspent(Answer::custom(*status, *body))).await;
    bench.add_pacemaker().await;
    let mut daemon = bench.start().await;
    for ((status, body), oa) in rows.into_iter().zip(oas()) {
        let told = daemon.wait_for_oa("oa.reauthorization_required", &oa).await;
        assert_eq!(told["reason"], "refresh_token_rejected", "{status} {body}");
        bench.assert_is_handed_out(&oa, body).await;
    }
    bench.beats(LONG_AFTER).await;
    assert!(daemon.stop().await.success());
    let mut daemon = bench.start().await;
    let ledger = bench.beats(LONG_AFTER).await;
    for ((status, body), oa) in rows.into_iter().zip(oas()) {
        assert_eq!(ledger.presentations_of(&oa), 1, "{status} {body}");
        let asked = moments_after_first(&ledger, &oa, is_probed);
        assert!(asked.is_empty(), "{status} {body}: nobody has to ask");
        let state = bench.status(&oa).await;
        assert_eq!(state["state"], "reauthorization_required", "{status} {body}");
    }
    bench.import_with("100", "100", A_WHILE).await;
    daemon.wait_for_oa("refresh.succeeded", "100").await;
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_an_unknown_code_is_tried_five_times_with_a_proof_before_each_and_then_told() {
    let rows = [("number", "-14020", 5), ("string", r#""-14020""#, 5), ("twice", "404", 2)];
    let bench = Bench::new().await;
    bench.set_refresh(&ROOMY.replace("400ms", "200ms").replace("300ms", "200ms"));
    for ((_, code, times), oa) in rows.into_iter().zip(oas()) {
        let body = format!(r#"{{"error":{code},"error_name":"?"}}"#);
        let fault = Fault::unspent(Answer::custom(200, body));
        bench
            .simulator
            .fault(if times == 5 { Rule::forever(fault) } else { Rule::times(times, fault) }.for_oa(&oa));
        bench.add_lone_oa(&oa, A_WHILE).await;
    }
    bench.add_pacemaker().await;
    let mut daemon = bench.start().await;
    for ((what, _, _), oa) in rows.into_iter().zip(oas()).take(2) {
        let told = daemon.wait_for_oa("oa.reauthorization_required", &oa).await;
        assert_eq!(told["reason"], "error_-14020", "{what}");
        bench.assert_is_handed_out(&oa, what).await;
    }
    daemon.wait_for_oa("refresh.succeeded", "102").await;
    let ledger = bench.beats(LONG_AFTER).await;
    for ((what, _, times), oa) in rows.into_iter().zip(oas()) {
        let expected = if times == 5 { 5 } else { 3 };
        assert_eq!(ledger.presentations_of(&oa), expected, "{what}");
        assert_eq!(daemon.events_of("refresh.uncertain", &oa).len(), times as usize, "{what}");
    }
    assert!(daemon.stop().await.success());
    assert_clean(&ledger);
}
