//! The ledger's judgement: what proves a refresh token unspent, and what does not.

use super::*;

/// A presentation that nobody answers and that spends nothing.
async fn unanswered() -> Play {
    let play = Play::with(Fault::unspent(Answer::CloseWithoutAnswer)).await;
    play.present().await;
    play
}

fn unproven(play: &Play) -> usize {
    play.simulator.ledger().presented_again_without_proof().len()
}

#[tokio::test]
async fn presenting_again_after_silence_is_unproven_and_the_ledger_is_not_clean() {
    let play = unanswered().await;
    assert_eq!(play.present().await.status, Some(200));
    let ledger = play.simulator.ledger();
    assert_eq!(ledger.presented_again_without_proof().len(), 1);
    assert!(!ledger.is_clean());
    assert!(ledger.summary().contains("NOT clean"));
    assert!(ledger.spent_tokens_presented().is_empty(), "it went well, by luck");
}

#[tokio::test]
async fn two_accepted_probes_prove_it_and_one_does_not() {
    for (probes, wanted) in [(1, 1), (2, 0)] {
        let play = unanswered().await;
        for _ in 0..probes {
            assert_eq!(play.probe().await, 0);
        }
        play.present().await;
        assert_eq!(unproven(&play), wanted, "after {probes} probes");
    }
}

#[tokio::test]
async fn probes_before_the_presentation_and_unclear_ones_prove_nothing() {
    let play = Play::with(Fault::unspent(Answer::CloseWithoutAnswer)).await;
    play.probe().await;
    play.probe().await;
    play.present().await;
    play.simulator.with_variant(|variant| variant.probe = ProbeAnswer::Throttled);
    play.probe().await;
    play.probe().await;
    play.present().await;
    assert_eq!(unproven(&play), 1);
}

#[tokio::test]
async fn probes_with_the_access_token_of_another_set_prove_nothing() {
    let play = unanswered().await;
    let other = text(&play.simulator.grant("app", "oa"), "access_token");
    let play = Play { access: other, ..play };
    assert_eq!((play.probe().await, play.probe().await), (0, 0));
    play.present().await;
    assert_eq!(unproven(&play), 1);
}

#[tokio::test]
async fn a_proof_is_used_up_by_one_presentation() {
    let play = unanswered().await;
    play.probe().await;
    play.probe().await;
    play.simulator.fault(Rule::once(Fault::unspent(Answer::CloseWithoutAnswer)));
    play.present().await;
    assert_eq!(unproven(&play), 0);
    play.present().await;
    assert_eq!(unproven(&play), 1);
}

#[tokio::test]
async fn some_answers_prove_it_and_others_do_not() {
    let again = r#"{"access_token":"{access_token}","refresh_token":"{old_refresh_token}"}"#;
    for (status, body, wanted) in [
        (429, "", 0),
        (200, r#"{"error":-14002}"#, 0),
        (401, r#"{"error":"-14004","access_token":""}"#, 0),
        (200, again, 0),
        (200, r#"{"error":-14014}"#, 1),
        (200, r#"{"error":-99999}"#, 1),
        (503, "", 1),
        (200, "", 1),
    ] {
        let play = Play::with(Fault::unspent(Answer::custom(status, body))).await;
        play.present().await;
        play.present().await;
        assert_eq!(unproven(&play), wanted, "{status} {body}");
    }
}

#[tokio::test]
async fn an_answer_of_a_proving_kind_that_does_not_arrive_proves_nothing() {
    let play = Play::new().await;
    play.simulator.add_app("app", "CANARY-other");
    let answer = Answer::TruncatedHead { after: 30, ending: Ending::Rst };
    play.simulator.fault(Rule::once(Fault::spent(answer)));
    play.present().await;
    assert_eq!(play.simulator.ledger().refusals(), 1);
    play.simulator.add_app("app", APP_SECRET);
    play.present().await;
    assert_eq!(unproven(&play), 1);
}

#[tokio::test]
async fn a_set_that_keeps_its_refresh_token_may_present_it_again() {
    let fault = Fault::AfterRequest { spend: Spend::WithoutRotation, answer: Answer::Normal };
    let play = Play::with(fault).await;
    let answer = play.present().await.json();
    assert_eq!(text(&answer, "refresh_token"), play.refresh);
    assert_ne!(text(&answer, "access_token"), play.access);
    assert_eq!(play.present().await.status, Some(200));
    let ledger = play.simulator.ledger();
    assert!(ledger.is_clean(), "{}", ledger.summary());
    assert_eq!(ledger.spends(), 1);
}

#[tokio::test]
async fn an_operators_decision_stands_for_a_proof() {
    let play = unanswered().await;
    play.simulator.allow(Secret::new(play.refresh.clone()).digest());
    play.present().await;
    assert_eq!(unproven(&play), 0);
    assert!(play.simulator.allow_last_presented("oa"));
    assert!(!play.simulator.allow_last_presented("nobody"));
    play.present().await;
    play.present().await;
    assert_eq!(unproven(&play), 1, "one decision, one presentation");
}

#[tokio::test]
async fn a_false_proof_is_told_apart_from_a_client_that_did_not_ask() {
    let play = Play::with(Fault::spent(Answer::CloseWithoutAnswer)).await;
    play.simulator.with_variant(|variant| variant.old_access_token = OldAccessToken::NeverDies);
    play.present().await;
    assert_eq!((play.probe().await, play.probe().await), (0, 0));
    play.present().await;
    let ledger = play.simulator.ledger();
    assert_eq!((ledger.false_proofs().len(), ledger.spent_tokens_presented().len()), (1, 1));
    assert_eq!(ledger.presented_again_without_proof().len(), 0);
    play.present().await;
    let ledger = play.simulator.ledger();
    assert_eq!((ledger.false_proofs().len(), ledger.spent_tokens_presented().len()), (1, 2));
    assert_eq!(ledger.presented_again_without_proof().len(), 1);
}

#[tokio::test]
async fn two_presentations_of_one_oa_at_once_are_a_violation() {
    let play = Play::with(Fault::spent(Answer::Held)).await;
    let mut first = play.connect().await;
    send(&mut first, &play.request()).await;
    play.until(|ledger| ledger.presentations() == 1).await;
    play.present().await;
    play.simulator.release();
    read_answer(&mut first).await;
    let ledger = play.simulator.ledger();
    assert_eq!((ledger.max_under_way_of("oa"), ledger.max_under_way_of_app("app")), (2, 2));
    assert_eq!(ledger.violations().len(), 1);
    assert!(!ledger.is_clean());
}

#[tokio::test]
async fn each_lost_answer_is_told_with_how_it_was_settled() {
    let settled = |play: &Play| play.simulator.ledger().lost_answers()[0].settled;
    let lost = || Play::with(Fault::spent(Answer::CloseWithoutAnswer));

    let play = lost().await;
    play.present().await;
    assert_eq!(settled(&play), Settlement::StillOpen);
    assert_eq!(play.probe().await, -216);
    assert_eq!(settled(&play), Settlement::LeftToAPerson);
    play.simulator.grant("app", "oa");
    assert_eq!(settled(&play), Settlement::Reauthorized);
    assert!(play.simulator.ledger().summary().contains("consent was given anew"));

    let play = lost().await;
    play.present().await;
    play.present().await;
    assert_eq!(settled(&play), Settlement::PresentedWithoutProof);

    let play = lost().await;
    play.simulator.with_variant(|variant| variant.old_access_token = OldAccessToken::DiesAtExpiry);
    play.present().await;
    play.probe().await;
    play.probe().await;
    play.present().await;
    assert_eq!(settled(&play), Settlement::PresentedAfterProof);

    let too_late = Answer::Truncated { after: 10_000, ending: Ending::Rst, length: Length::CloseDelimited };
    let play = Play::with(Fault::spent(too_late)).await;
    let answer = play.present().await.json();
    assert!(play.simulator.ledger().lost_answers().is_empty(), "nothing was cut off");
    assert_eq!(answer["expires_in"], "90000");

    let cut = Answer::Truncated { after: 40, ending: Ending::Fin, length: Length::Told };
    let play = Play::with(Fault::spent(cut)).await;
    play.present().await;
    let salvaged = play.simulator.current_set("oa").expect("an OA");
    let play = Play { refresh: salvaged.refresh_token.expose().to_owned(), ..play };
    assert_eq!(settled(&play), Settlement::StillOpen);
    play.present().await;
    assert_eq!(settled(&play), Settlement::TakenInAllTheSame);
}

#[tokio::test]
async fn what_does_not_come_is_told_with_the_ledger() {
    let play = Play::new().await;
    let short = Duration::from_millis(10);
    let missed = play.simulator.wait_until(|ledger| ledger.spends() == 1, short).await;
    let missed = missed.expect_err("nobody refreshes");
    assert_eq!(missed.ledger.spends(), 0);
    assert!(format!("{missed:?}").contains("GrantMade"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_acts_at_once_on_each_answer_is_never_accused() {
    let mut play = Play::new().await;
    for round in 0..300 {
        if round % 2 == 0 {
            play.simulator.fault(Rule::once(Fault::unspent(Answer::custom(429, ""))));
            assert_eq!(play.present().await.status, Some(429));
        }
        play.refresh = text(&play.present().await.json(), "refresh_token");
    }
    let ledger = play.simulator.ledger();
    assert!(ledger.is_clean(), "{}", ledger.summary());
    assert_eq!((ledger.spends(), ledger.max_under_way()), (300, 1));
}
