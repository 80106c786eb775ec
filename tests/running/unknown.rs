//! Unknown is a state, not an error: whatever comes back that says nothing about the refresh token leaves its OA
//! uncertain, durably, until the old access token has told. Over the wire, by the real binary, judged by the
//! simulator's ledger. How Zalo may behave otherwise than we believe is in `premise.rs`.

use std::time::Duration;

use zalo_tokend::simulator::{Answer, Ending, Fault, Ledger, ProbeAnswer, Rule, Settlement};

use crate::harness::Bench;
use crate::harness::rows::*;

const HTML: &str = "<html><body>Bad Gateway</body></html>";

/// Answers that are none and have no test of their own.
fn no_answers() -> Vec<(&'static str, Answer)> {
    vec![
        ("an empty object", Answer::custom(200, "{}")),
        ("an error of 0", Answer::custom(200, r#"{"error":0,"access_token":"","refresh_token":""}"#)),
        ("no text", Answer::custom(200, vec![0x1f, 0x8b, 8, 0, 0xff, 0xfe])),
        ("a token with a blank", Answer::custom(200, r#"{"access_token":"a b","refresh_token":"r"}"#)),
        ("a token that is a number", Answer::custom(200, r#"{"access_token":"a","refresh_token":7}"#)),
        ("half a head", Answer::TruncatedHead { after: 12, ending: Ending::Rst }),
        ("a head alone", Answer::TruncatedHead { after: usize::MAX, ending: Ending::Fin }),
    ]
}

/// Between the first and the second presentation the access token was accepted twice, `settle` apart, and no
/// sooner than `settle` after the first.
fn assert_proven_in_time(ledger: &Ledger, oa: &str, what: &str) {
    let presented = moments(ledger, oa, is_presented);
    let accepted = moments_after_first(ledger, oa, is_accepted);
    assert!(accepted.len() >= 2, "{what}: {presented:?} {accepted:?}");
    assert!(accepted[0] + 2 >= presented[0] + SETTLE_MS, "{what}: asked too early");
    assert!(accepted[1] + 2 >= accepted[0] + SETTLE_MS, "{what}: asked again too early");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_spent_nothing_is_presented_again_after_two_acceptances() {
    assert_presented_again_with_proof(no_answers()).await;
}

async fn assert_presented_again_with_proof(rows: Vec<(&'static str, Answer)>) {
    let bench = Bench::with_rows(&rows, |(_, answer)| Fault::unspent(answer.clone())).await;
    let mut daemon = bench.start().await;
    for ((what, _), oa) in rows.iter().zip(oas()) {
        assert_eq!(daemon.wait_for_oa("refresh.uncertain", &oa).await["level"], "WARN", "{what}");
        assert_eq!(daemon.wait_for_oa("refresh.succeeded", &oa).await["generation"], 2, "{what}");
        bench.assert_is_handed_out(&oa, what).await;
        let ledger = bench.simulator.ledger();
        assert_eq!((ledger.presentations_of(&oa), ledger.spends_of(&oa)), (2, 1), "{what}");
        assert_proven_in_time(&ledger, &oa, what);
        let verdicts = daemon.events_of("refresh.probed", &oa);
        let verdicts: Vec<_> = verdicts.iter().map(|event| event["verdict"].clone()).collect();
        assert_eq!(verdicts, ["inconclusive", "unspent"], "{what}");
    }
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_spent_the_token_is_never_presented_again_and_a_person_is_told() {
    assert_left_to_a_person(no_answers()).await;
}

async fn assert_left_to_a_person(rows: Vec<(&'static str, Answer)>) {
    let bench = Bench::with_rows(&rows, |(_, answer)| Fault::spent(answer.clone())).await;
    bench.add_pacemaker().await;
    let mut daemon = bench.start().await;
    for ((what, _), oa) in rows.iter().zip(oas()) {
        let told = daemon.wait_for_oa("oa.reauthorization_required", &oa).await;
        assert_eq!((&told["reason"], &told["level"]), (&"response_lost".into(), &"ERROR".into()), "{what}");
    }
    let ledger = bench.beats(LONG_AFTER).await;
    for ((what, _), oa) in rows.iter().zip(oas()) {
        let asked = moments_after_first(&ledger, &oa, is_probed).len();
        assert_eq!((ledger.presentations_of(&oa), asked), (1, 1), "{what}");
        assert_eq!(daemon.events_of("refresh.probed", &oa)[0]["verdict"], "spent", "{what}");
    }
    let lost = ledger.lost_answers();
    assert!(lost.iter().all(|lost| lost.settled == Settlement::LeftToAPerson), "{}", ledger.summary());
    assert!(daemon.stop().await.success());
    assert_clean(&ledger);
}

/// Of such an answer nothing is concluded, whether or not the token was spent.
async fn assert_says_nothing(rows: Vec<(&'static str, Answer)>) {
    tokio::join!(assert_presented_again_with_proof(rows.clone()), assert_left_to_a_person(rows));
}

#[tokio::test(flavor = "multi_thread")]
async fn f20_a_request_that_nobody_answered_is_made_again_once_its_token_is_proven_unspent() {
    assert_says_nothing(vec![("silence", Answer::Stall)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_a_connection_that_ends_without_an_answer_says_nothing() {
    assert_says_nothing(vec![("closed", Answer::CloseWithoutAnswer), ("reset", Answer::Reset)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f27_a_redirect_is_not_followed_and_says_nothing() {
    let redirect = |status| Answer::Redirect { status, location: None };
    assert_says_nothing(vec![
        ("301", redirect(301)),
        ("302", redirect(302)),
        ("303", redirect(303)),
        ("307", redirect(307)),
        ("308", redirect(308)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f28_what_a_gateway_says_says_nothing() {
    assert_says_nothing(vec![
        ("500", Answer::custom(500, "Internal Server Error")),
        ("502", Answer::custom(502, HTML)),
        ("503", Answer::custom(503, "")),
        ("504", Answer::custom(504, r#"{"message":"timeout"}"#)),
        ("200 and HTML", Answer::custom(200, HTML)),
        ("200 and plain text", with_headers(200, &[("Content-Type", "text/plain")], "OK")),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_an_empty_200_says_nothing() {
    assert_says_nothing(vec![
        ("empty", Answer::custom(200, "")),
        ("blank", Answer::custom(200, "\r\n")),
        ("no content", Answer::custom(204, "")),
    ])
    .await;
}

/// Megabytes of blanks in a few KiB, for whoever unpacks what says that it is packed.
fn bomb() -> Answer {
    // RFC 1951, fixed codes: the last block, one blank, and then 258 times the byte before, again and again.
    let bits: String = ["1", "10", "01010000"].into_iter().chain(["1100010100000"; 10_000]).collect();
    let packed = bits
        .as_bytes()
        .chunks(8)
        .map(|eight| eight.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit == b'1') << at));
    let body: Vec<u8> = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3].into_iter().chain(packed).collect();
    let gzip = ("Content-Encoding".to_owned(), "gzip".to_owned());
    Answer::Custom { status: 200, headers: vec![gzip], body: body.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn f36_an_answer_without_end_is_read_to_its_cap_and_says_nothing() {
    assert_says_nothing(vec![
        ("a body without end", Answer::Endless),
        ("a header of a megabyte", Answer::HugeHeader { bytes: 1_000_000 }),
        ("a gzip bomb", bomb()),
        ("a length of 10 GiB", with_headers(200, &[("Content-Length", "10737418240")], "{")),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_access_token_is_handed_out_while_a_request_is_under_way_and_while_its_fate_is_unknown() {
    let bench = Bench::new().await;
    let old = bench.add_lone_oa("7", A_WHILE).await;
    bench.simulator.with_variant(|variant| variant.probe = ProbeAnswer::Down);
    for answer in [Answer::Held, Answer::Normal] {
        bench.simulator.fault(Rule::once(Fault::unspent(answer)).for_oa("7"));
    }
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.presentations() == 1).await;
    assert_eq!(bench.status("7").await["state"], "presenting");
    assert_eq!(bench.token("7").await.as_ref(), Some(&old));
    bench.simulator.release();
    daemon.wait_for("refresh.uncertain").await;
    bench.ledger_until(|ledger| ledger.probes() >= 2).await;
    let status = bench.status("7").await;
    assert_eq!((&status["state"], &status["access_token_valid"]), (&"uncertain".into(), &true.into()));
    assert_eq!(bench.token("7").await, Some(old));
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_a_queue_that_spends_after_the_client_gave_up_is_not_taken_for_unspent() {
    let bench = Bench::new().await;
    bench.set_refresh(&ROOMY.replace("settle = \"300ms\"", "settle = \"1s\""));
    // After the first question and well before the second.
    let later = Duration::from_millis(1_300);
    let rows =
        [Answer::Reset, Answer::CloseWithoutAnswer, Answer::custom(200, ""), Answer::custom(504, "<html>")];
    for (answer, oa) in rows.iter().zip(oas()) {
        bench.simulator.fault(Rule::once(Fault::spent_later(later, answer.clone())).for_oa(&oa));
        bench.add_lone_oa(&oa, A_WHILE).await;
    }
    let mut daemon = bench.start().await;
    for (answer, oa) in rows.iter().zip(oas()) {
        let told = daemon.wait_for_oa("oa.reauthorization_required", &oa).await;
        assert_eq!(told["reason"], "response_lost", "{answer:?}");
    }
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    for (answer, oa) in rows.iter().zip(oas()) {
        assert_eq!((ledger.presentations_of(&oa), ledger.spends_of(&oa)), (1, 1), "{answer:?}");
        assert_eq!(ledger.max_under_way_of(&oa), 1);
    }
    assert!(ledger.false_proofs().is_empty(), "{}", ledger.summary());
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f44_without_a_clear_answer_it_is_asked_again_until_there_is_one() {
    let bench = Bench::new().await;
    bench.set_refresh(&ROOMY.replace("300ms", "100ms").replace("400ms", "200ms"));
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::Reset)).for_oa("1"));
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Reset)).for_oa("2"));
    bench.simulator.with_variant(|variant| variant.probe = ProbeAnswer::Down);
    for oa in ["1", "2"] {
        bench.add_lone_oa(oa, A_WHILE).await;
    }
    let mut daemon = bench.start().await;
    for probe in [
        ProbeAnswer::Down,
        ProbeAnswer::Throttled,
        ProbeAnswer::Html,
        ProbeAnswer::OtherOa,
        ProbeAnswer::ErrorCode(-204),
        ProbeAnswer::ErrorCode(-219),
        ProbeAnswer::ErrorCode(-223),
    ] {
        bench.simulator.with_variant(|variant| variant.probe = probe);
        let so_far = bench.simulator.ledger();
        // The first of the two may have been on its way when the answers changed.
        let asked = |ledger: &Ledger| ["1", "2"].map(|oa| ledger.probes_of(oa) >= so_far.probes_of(oa) + 2);
        bench.ledger_until(|ledger| asked(ledger) == [true; 2]).await;
    }
    for oa in ["1", "2"] {
        assert_eq!(bench.status(oa).await["state"], "uncertain");
        let verdicts = daemon.events_of("refresh.probed", oa);
        assert!(verdicts.iter().all(|event| event["verdict"] == "inconclusive"), "{verdicts:?}");
        assert_eq!(bench.simulator.ledger().presentations_of(oa), 1);
    }
    bench.simulator.with_variant(|variant| variant.probe = ProbeAnswer::Answers);
    daemon.wait_for_oa("refresh.succeeded", "1").await;
    assert_eq!(daemon.wait_for("oa.reauthorization_required").await["oa_id"], "2");
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations_of("1"), ledger.presentations_of("2")), (2, 1));
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f44_the_waits_between_questions_grow_while_nobody_answers() {
    let bench = Bench::new().await;
    bench.set_refresh(&ROOMY.replace("300ms", "100ms").replace("400ms", "10s"));
    bench.simulator.with_variant(|variant| variant.probe = ProbeAnswer::Down);
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::Reset)));
    bench.add_lone_oa("7", A_WHILE).await;
    let mut daemon = bench.start().await;
    let ledger = bench.ledger_until(|ledger| moments_after_first(ledger, "7", is_probed).len() >= 5).await;
    let asked = moments_after_first(&ledger, "7", is_probed);
    let waits: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (wait, least) in waits.iter().zip([100, 200, 400, 800]) {
        assert!(wait + 2 >= least, "{waits:?}");
    }
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn f46_after_a_kill_the_questions_begin_anew_two_of_them_and_settle_apart() {
    let bench = Bench::with_rows(&[()], |()| Fault::unspent(Answer::Reset)).await;
    bench.set_refresh(&ROOMY.replace("settle = \"300ms\"", "settle = \"2s\""));
    let mut daemon = bench.start().await;
    // One acceptance was heard by a process that is gone: it counts for nothing.
    daemon.wait_for_oa("refresh.probed", "100").await;
    daemon.kill().await;
    bench.set_refresh(ROOMY);
    let before = bench.simulator.ledger().entries().len();
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.succeeded", "100").await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    let since = &ledger.entries()[before..];
    let presented = since.iter().position(|entry| is_presented(&entry.kind)).expect("presented again");
    let accepted: Vec<u64> =
        since[..presented].iter().filter(|entry| is_accepted(&entry.kind)).map(|entry| entry.at_ms).collect();
    assert!(accepted.len() >= 2, "{}", ledger.summary());
    assert!(accepted[1] + 2 >= accepted[0] + SETTLE_MS, "{accepted:?}");
    assert_eq!((ledger.presentations(), ledger.spends()), (2, 1));
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f19_a_kill_between_the_spend_and_its_answer_is_found_out_after_the_restart() {
    let bench = Bench::with_rows(&[()], |()| Fault::spent(Answer::Held)).await;
    bench.add_pacemaker().await;
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends_of("100") == 1).await;
    daemon.kill().await;
    bench.import_with(PACEMAKER, PACEMAKER, A_WHILE).await;
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.uncertain", "100").await;
    let told = daemon.wait_for_oa("oa.reauthorization_required", "100").await;
    assert_eq!(told["reason"], "response_lost");
    let ledger = bench.beats(LONG_AFTER).await;
    assert_eq!((ledger.presentations_of("100"), ledger.spends_of("100")), (1, 1), "{}", ledger.summary());
    assert!(daemon.stop().await.success());
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f18_a_kill_after_the_gate_with_nothing_spent_ends_well_however_often() {
    let bench = Bench::with_rows(&[()], |()| Fault::unspent(Answer::Stall)).await;
    bench.simulator.with_variant(|variant| variant.probe = ProbeAnswer::Down);
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.presentations() == 1).await;
    for _ in 0..2 {
        daemon.kill().await;
        daemon = bench.start().await;
        assert_eq!(bench.status("100").await["state"], "uncertain");
    }
    bench.simulator.with_variant(|variant| variant.probe = ProbeAnswer::Answers);
    daemon.wait_for_oa("refresh.succeeded", "100").await;
    assert!(daemon.stop().await.success());
    bench.assert_is_handed_out("100", "after the kills").await;
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.spends()), (2, 1), "{}", ledger.summary());
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f37_a_kill_with_half_an_answer_read_leaves_it_unknown() {
    let body = r#"{"access_token":"{access_token}","refresh_token":"{refresh_token}""#;
    let never_ends = with_headers(200, &[("Content-Length", "9999")], body);
    let bench = Bench::with_rows(&[never_ends], |answer| Fault::spent(answer.clone())).await;
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.answers_sent() == 1).await;
    daemon.kill().await;
    let mut daemon = bench.start().await;
    let told = daemon.wait_for_oa("oa.reauthorization_required", "100").await;
    assert_eq!(told["reason"], "response_lost");
    assert!(daemon.stop().await.success());
    assert_eq!(bench.simulator.ledger().presentations(), 1);
    assert_clean(&bench.simulator.ledger());
}
