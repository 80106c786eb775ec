//! What nobody knows of, and the proofs without which no token is presented again.

use super::*;

#[test]
fn i3_a_token_is_not_presented_again_without_a_proof_even_if_the_state_says_so() {
    let bench = Bench::with_a_set();
    let claim = bench.claim().expect("claimable");
    let attempt = bench.begin();
    bench.unknown(attempt);
    // As a wrong program would: closed without proof, and planned again.
    bench.conn.execute("UPDATE attempt SET phase = 'closed'", []).expect("closed");
    bench.conn.execute("UPDATE oa SET state = 'retrying', next_action_at = 0", []).expect("planned");
    assert!(bench.claim().is_none(), "nothing is even begun");
    assert_eq!(bench.present(&claim).1, Journalled::Stale);
    // I8: a person is called instead of waiting in silence.
    assert!(latch_unproven(&bench.conn, &oa(), &at(bench.due())).expect("latched"));
    assert_eq!(bench.state(), (State::ReauthorizationRequired, Some("response_lost".to_owned())));
}

#[test]
fn i3_a_proof_allows_one_presentation_and_is_used_up_by_it() {
    let bench = Bench::with_a_set();
    let first = bench.begin();
    bench.unknown(first);
    assert!(matches!(bench.prove(first), Settled::Retry { .. }));
    let claim = bench.claim().expect("claimable");
    let second = bench.begin();
    bench.unknown(second);
    bench.conn.execute("UPDATE attempt SET phase = 'closed'", []).expect("closed");
    bench.conn.execute("UPDATE oa SET state = 'retrying', next_action_at = 0", []).expect("planned");
    assert!(bench.claim().is_none());
    assert_eq!(bench.present(&claim).1, Journalled::Stale, "the first proof must not serve twice");
}

#[test]
fn i3_a_row_whose_gate_was_barred_proves_its_token_unspent() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    let barred = Verdict::NotPresented { detail: "the cap ended".to_owned(), retry_after: None };
    assert!(matches!(bench.conclude(attempt, barred).effect, Effect::Retry { .. }));
    bench.begin();
}

#[test]
fn an_undocumented_code_is_tried_five_times_in_all_and_then_named() {
    let bench = Bench::with_a_set();
    for presentation in 1..=5 {
        let attempt = bench.begin();
        let verdict = Verdict::Unknown { code: Some(ErrorCode(-14020)), detail: "odd".to_owned() };
        bench.conclude(attempt, verdict);
        let settled = bench.prove(attempt);
        match presentation {
            5 => assert_eq!(settled, Settled::Reauthorize { reason: Reason::Error(ErrorCode(-14020)) }),
            _ => assert!(matches!(settled, Settled::Retry { .. })),
        }
    }
    assert_eq!(bench.state(), (State::ReauthorizationRequired, Some("error_-14020".to_owned())));
}

#[test]
fn held_for_an_operator_or_presented_once_more_as_the_config_says() {
    let bench = Bench::with_a_set();
    let hold = |attempt, present_once| {
        settle::hold(&bench.conn, attempt, present_once, &bench.timing, &at(bench.now), Roll(0.5))
            .expect("held")
    };
    let attempt = bench.begin();
    bench.unknown(attempt);
    assert!(matches!(hold(attempt, true), Settled::Retry { .. }));
    let attempt = bench.begin();
    bench.unknown(attempt);
    assert_eq!(hold(attempt, true), Settled::Held, "once a generation");
    assert_eq!(bench.state(), (State::Uncertain, Some("unprovable".to_owned())));
    assert_eq!(settle::doubt(&bench.conn, &oa()).expect("asked").map(|doubt| doubt.attempt), None);
}

#[test]
fn f08_at_a_start_what_was_presenting_becomes_uncertain_once() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    assert_eq!(bench.state().0, State::Presenting);
    let abandon = || {
        settle::abandon_presenting(&bench.conn, &bench.timing, &at(bench.now), &mut || Roll(0.5))
            .expect("abandoned")
    };
    assert_eq!(
        abandon().into_iter().map(|gone| (gone.oa_id, gone.attempt)).collect::<Vec<_>>(),
        [(oa(), attempt)]
    );
    assert_eq!(abandon(), []);
    assert_eq!(bench.state().0, State::Uncertain);
    assert_eq!(bench.token().as_deref(), Some("access-1"));
    assert!(bench.claim().is_none());
}

#[test]
fn i4_an_answer_with_tokens_is_taken_in_although_its_attempt_was_given_up() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    let given_up = settle::abandon_presenting(&bench.conn, &bench.timing, &at(bench.now), &mut || Roll(0.5));
    assert_eq!(given_up.expect("given up").len(), 1);
    let concluded = bench.conclude(attempt, Verdict::Granted(tokens(2)));
    assert!(matches!(concluded.effect, Effect::Adopted { generation: 2, .. }));
    assert_eq!(bench.state().0, State::Scheduled);
}

#[test]
fn an_access_token_that_zalo_refused_is_not_handed_out() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    bench.unknown(attempt);
    assert!(bench.token().is_some());
    settle::prove_spent(&bench.conn, attempt, &bench.timing, &at(bench.now)).expect("proven");
    assert_eq!(bench.token(), None);
}
