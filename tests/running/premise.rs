//! Zalo may behave otherwise than we believe: the old access token may outlive its successor by a little or for
//! good, the reuse of a spent token may cost the whole family, the question may find nobody to answer it. Whatever
//! it does, a lost answer costs at most one mistaken presentation, and none where it was measured before.

use std::time::Duration;

use serde_json::Value;
use zalo_tokend::simulator::{
    Answer, Entry, Fault, Ledger, OldAccessToken, ProbeAnswer, Rule, SpentTokenAnswer, Variant,
};

use crate::harness::rows::*;
use crate::harness::{Bench, Daemon};

/// Less than an access token of 90000 s is trusted to live on, because clocks differ.
const ALMOST_NOTHING: Duration = Duration::from_secs(20);

/// The end of an OA that no longer helps itself: the event and its reason.
async fn end_of(daemon: &Daemon, oa: &str) -> (&'static str, Value) {
    tokio::select! {
        told = daemon.wait_for_oa("oa.reauthorization_required", oa) => ("reauthorize", told["reason"].clone()),
        told = daemon.wait_for_oa("oa.decision_needed", oa) => ("decide", told["reason"].clone()),
    }
}

/// No spent token was presented but for a false proof, of which there is at most one a lost answer.
fn assert_costs_at_most_one(ledger: &Ledger, oa: &str, what: &str) {
    let of_oa = |entries: Vec<Entry>| {
        let is_of = |entry: &&Entry| entry.subject.oa_id.as_ref().is_some_and(|id| id.as_str() == oa);
        entries.iter().filter(is_of).count()
    };
    let (spent, mistaken) = (of_oa(ledger.spent_tokens_presented()), of_oa(ledger.false_proofs()));
    assert!(spent == mistaken && spent <= 1, "{what}: {spent} {mistaken}\n{}", ledger.summary());
}

/// How a lost answer ends where nobody has looked yet whether old tokens outlive their successors: its end, and how
/// often the token was presented.
async fn lost_under(what: &str, variant: Variant) -> (&'static str, Value, usize) {
    let bench = Bench::with(variant).await;
    bench.set_refresh(ROOMY);
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Reset)).for_oa("7"));
    bench.add_lone_oa("7", A_WHILE).await;
    bench.add_pacemaker().await;
    let mut daemon = bench.start().await;
    let (end, reason) = end_of(&daemon, "7").await;
    let ledger = bench.beats(LONG_AFTER).await;
    assert!(daemon.stop().await.success());
    assert_costs_at_most_one(&ledger, "7", what);
    assert_clean(&ledger);
    (end, reason, ledger.presentations_of("7"))
}

fn dies_after(millis: u64) -> Variant {
    let old_access_token = OldAccessToken::DiesAfter(Duration::from_millis(millis));
    Variant { old_access_token, ..Variant::default() }
}

fn outlives(
    old_access_token: OldAccessToken,
    answer: SpentTokenAnswer,
    reuse_revokes_family: bool,
) -> Variant {
    Variant { old_access_token, spent_token_answer: answer, reuse_revokes_family, ..Variant::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_token_that_dies_before_the_second_question_costs_no_second_presentation() {
    let (at_once, soon, later) = tokio::join!(
        lost_under("at once", Variant::default()),
        lost_under("sooner than settle", dies_after(SETTLE_MS / 3)),
        lost_under("between settle and twice that", dies_after(SETTLE_MS * 3 / 2)),
    );
    for end in [at_once, soon, later] {
        assert_eq!(end, ("reauthorize", "response_lost".into(), 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_token_that_outlives_its_successor_costs_one_mistaken_presentation_and_then_a_person_decides()
{
    use OldAccessToken::{DiesAtExpiry, NeverDies};
    use SpentTokenAnswer::{Empty, Error14014};
    let (lives_on, never_dies, told_dead, revoked, a_while) = tokio::join!(
        lost_under("to its expiry", outlives(DiesAtExpiry, Empty, false)),
        lost_under("for ever", outlives(NeverDies, Empty, false)),
        lost_under("told that it is dead", outlives(DiesAtExpiry, Error14014, false)),
        lost_under("reuse revokes the family", outlives(DiesAtExpiry, Empty, true)),
        lost_under("longer than twice settle", dies_after(SETTLE_MS * 5)),
    );
    assert_eq!(lives_on, ("decide", "unprovable".into(), 2));
    assert_eq!(never_dies, ("decide", "unprovable".into(), 2));
    assert_eq!(told_dead, ("reauthorize", "refresh_token_rejected".into(), 2));
    assert_eq!(revoked, ("reauthorize", "response_lost".into(), 2));
    // By when it dies the first mistake is made or not yet; there is no second.
    assert!(a_while.2 <= 2, "{a_while:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_lost_answer_costs_at_most_one_mistaken_presentation() {
    let rows = [
        ("reset", Answer::Reset),
        ("200 and empty", Answer::custom(200, "")),
        ("502", Answer::custom(502, "<html>")),
        ("an unknown code", Answer::custom(200, r#"{"error":-14020}"#)),
        ("another code", Answer::custom(500, r#"{"error":"1"}"#)),
        ("a redirect", Answer::Redirect { status: 307, location: None }),
    ];
    let bench = Bench::with_rows(&rows, |(_, answer)| Fault::spent(answer.clone())).await;
    bench.simulator.with_variant(|variant| variant.old_access_token = OldAccessToken::DiesAtExpiry);
    bench.add_pacemaker().await;
    let mut daemon = bench.start().await;
    for ((what, _), oa) in rows.iter().zip(oas()) {
        assert_eq!(end_of(&daemon, &oa).await, ("decide", "unprovable".into()), "{what}");
    }
    let ledger = bench.beats(LONG_AFTER).await;
    for ((what, _), oa) in rows.iter().zip(oas()) {
        assert_costs_at_most_one(&ledger, &oa, what);
    }
    assert!(daemon.stop().await.success());
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f45_where_old_tokens_were_seen_to_outlive_their_successors_acceptance_proves_nothing() {
    let bench = Bench::new().await;
    bench.set_refresh(ROOMY);
    bench.simulator.with_variant(|variant| variant.old_access_token = OldAccessToken::DiesAtExpiry);
    let rows = [
        ("1", Fault::spent(Answer::Reset)),
        ("2", Fault::unspent(Answer::Reset)),
        ("3", Fault::spent(Answer::custom(200, r#"{"error":-14020}"#))),
    ];
    for oa in ["0", "1", "2", "3", "4"] {
        bench.add_oa(oa);
    }
    bench.import_with("app", "0", A_WHILE).await;
    bench.add_pacemaker().await;
    let mut daemon = bench.start().await;
    let told = daemon.wait_for_app("app.old_token_outlives", "app").await;
    assert_eq!(told["level"], "WARN");
    for (oa, fault) in rows {
        bench.simulator.fault(Rule::once(fault).for_oa(oa));
        let old = bench.import_with("app", oa, A_WHILE).await;
        let (end, reason) = end_of(&daemon, oa).await;
        assert_eq!((end, reason), ("decide", "unprovable".into()), "{oa}");
        let status = bench.status(oa).await;
        assert_eq!(
            (&status["state"], &status["reason"]),
            (&"uncertain".into(), &"unprovable".into()),
            "{oa}"
        );
        assert_eq!(bench.token(oa).await, Some(old), "{oa}: handed out while it lives");
    }
    // A refusal proves as much as ever.
    bench.simulator.with_variant(|variant| variant.old_access_token = OldAccessToken::DiesAtOnce);
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Reset)).for_oa("4"));
    bench.import_with("app", "4", A_WHILE).await;
    assert_eq!(end_of(&daemon, "4").await, ("reauthorize", "response_lost".into()));
    daemon.kill().await;

    bench.import_with(PACEMAKER, PACEMAKER, A_WHILE).await;
    let mut daemon = bench.start().await;
    let ledger = bench.beats(LONG_AFTER).await;
    for oa in ["1", "2", "3", "4"] {
        let asked = moments_after_first(&ledger, oa, is_probed).len();
        assert_eq!((ledger.presentations_of(oa), asked), (1, 1), "{oa}");
    }
    assert!(ledger.spent_tokens_presented().is_empty(), "{}", ledger.summary());
    assert!(daemon.stop().await.success());
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_is_believed_once_where_nobody_looked_and_always_where_old_tokens_were_seen_to_die() {
    let bench = Bench::new().await;
    bench.set_refresh(ROOMY);
    bench.add_oa("0");
    bench.add_oa("1");
    bench.import_with("app", "0", A_WHILE).await;
    bench.simulator.fault(Rule::times(3, Fault::unspent(Answer::Reset)).for_oa("1"));
    bench.simulator.fault(Rule::times(3, Fault::unspent(Answer::Reset)).for_oa("2"));
    bench.add_lone_oa("2", A_WHILE).await;
    let mut daemon = bench.start().await;
    // The app of OA 0 is looked at after its first success; that of OA 2 never had one.
    bench.ledger_until(|ledger| !moments(ledger, "0", is_refused).is_empty()).await;
    bench.import_with("app", "1", A_WHILE).await;
    daemon.wait_for_oa("refresh.succeeded", "1").await;
    assert_eq!(end_of(&daemon, "2").await, ("decide", "unprovable".into()));
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!(ledger.presentations_of("1"), 4, "{}", ledger.summary());
    assert_eq!(ledger.presentations_of("2"), 2, "{}", ledger.summary());
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f45_what_nothing_can_prove_any_more_is_held_for_an_operator_and_an_import_heals_it() {
    let bench = Bench::new().await;
    bench.set_refresh(ROOMY);
    let rows = [
        // What the old token's life was when it was asked about, and what was said.
        ("1", Fault::unspent(Answer::Reset), ALMOST_NOTHING),
        ("2", Fault::spent(Answer::Reset), ALMOST_NOTHING),
        ("3", Fault::unspent(Answer::custom(200, r#"{"error":-14020}"#)), ALMOST_NOTHING),
        // It ends while it is asked about.
        ("4", Fault::unspent(Answer::Reset), Duration::from_secs(32)),
    ];
    bench.simulator.with_variant(|variant| variant.probe = ProbeAnswer::Down);
    for (oa, fault, remaining) in rows.clone() {
        bench.simulator.fault(Rule::once(fault).for_oa(oa));
        bench.add_lone_oa(oa, remaining).await;
    }
    bench.add_pacemaker().await;
    let mut daemon = bench.start().await;
    for (oa, _, _) in &rows {
        let needed = daemon.wait_for_oa("oa.decision_needed", oa).await;
        assert_eq!((&needed["reason"], &needed["level"]), (&"unprovable".into(), &"ERROR".into()), "{oa}");
        let status = bench.status(oa).await;
        assert_eq!(
            (&status["state"], &status["reason"]),
            (&"uncertain".into(), &"unprovable".into()),
            "{oa}"
        );
    }
    let asked: Vec<usize> = rows.iter().map(|row| bench.simulator.ledger().probes_of(row.0)).collect();
    bench.beats(LONG_AFTER).await;
    assert!(rows.iter().all(|row| daemon.events_of("oa.decision_needed", row.0).len() == 1));
    assert!(daemon.stop().await.success());
    bench.simulator.with_variant(|variant| variant.probe = ProbeAnswer::Answers);
    let mut daemon = bench.start().await;
    let ledger = bench.beats(LONG_AFTER).await;
    for ((oa, _, _), asked) in rows.iter().zip(asked) {
        assert_eq!((ledger.presentations_of(oa), ledger.probes_of(oa)), (1, asked), "{oa}: held is held");
    }
    for (oa, _, _) in &rows {
        bench.import_with(oa, oa, A_WHILE).await;
        assert_eq!(daemon.wait_for_oa("refresh.succeeded", oa).await["generation"], 3, "{oa}");
        bench.assert_is_handed_out(oa, oa).await;
        assert_eq!(bench.status(oa).await["state"], "scheduled", "{oa}");
    }
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_token_near_its_end_still_proves_by_being_accepted_and_no_longer_by_being_refused() {
    let bench = Bench::new().await;
    bench.set_refresh(ROOMY);
    for (oa, fault) in [("1", Fault::unspent(Answer::Reset)), ("2", Fault::spent(Answer::Reset))] {
        bench.simulator.fault(Rule::once(fault).for_oa(oa));
        bench.add_lone_oa(oa, ALMOST_NOTHING).await;
    }
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.succeeded", "1").await;
    assert_eq!(end_of(&daemon, "2").await, ("decide", "unprovable".into()));
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations_of("1"), ledger.presentations_of("2")), (2, 1));
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f45_with_unprovable_present_the_token_is_presented_exactly_once_more() {
    let bench = Bench::new().await;
    bench.set_refresh(&format!("{ROOMY}unprovable = \"present\"\n"));
    bench.simulator.with_variant(|variant| variant.probe = ProbeAnswer::Down);
    let rows = [
        ("1", Rule::once(Fault::unspent(Answer::Reset)), "succeeds"),
        ("2", Rule::times(2, Fault::unspent(Answer::Reset)), "held"),
        ("3", Rule::once(Fault::spent(Answer::Reset)), "held"),
        ("4", Rule::times(2, Fault::unspent(Answer::custom(200, r#"{"error":-14020}"#))), "held"),
    ];
    for (oa, rule, _) in rows.clone() {
        bench.simulator.fault(rule.for_oa(oa));
        bench.add_lone_oa(oa, ALMOST_NOTHING).await;
    }
    bench.add_pacemaker().await;
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.succeeded", "1").await;
    for oa in ["2", "3", "4"] {
        assert_eq!(end_of(&daemon, oa).await, ("decide", "unprovable".into()), "{oa}");
    }
    bench.beats(LONG_AFTER).await;
    assert!(daemon.stop().await.success());
    let mut daemon = bench.start().await;
    let ledger = bench.beats(LONG_AFTER).await;
    for (oa, _, end) in &rows {
        assert_eq!(ledger.presentations_of(oa), 2, "{oa} {end}");
    }
    // The one presentation without proof that the operator asked for, for each of them.
    assert_eq!(ledger.presented_again_without_proof().len(), rows.len(), "{}", ledger.summary());
    assert!(ledger.violations().is_empty(), "{}", ledger.summary());
    assert!(daemon.stop().await.success());
}
