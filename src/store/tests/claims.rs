//! What is claimed, and what is not.

use super::*;

#[test]
fn i2_an_oa_with_an_open_attempt_is_not_claimed_again_and_the_index_holds_it() {
    let bench = Bench::with_a_set();
    let claim = bench.claim().expect("claimable");
    bench.begin();
    assert!(bench.claim().is_none());
    assert_eq!(bench.present(&claim).1, Journalled::Stale);
    let forced = bench.conn.execute(
        "INSERT INTO attempt (attempt_id, oa_id, app_id, generation, token_digest, phase, started_at) \
         VALUES (x'00', 'oa-1', 'app', 1, x'00', 'presenting', 0)",
        [],
    );
    assert!(forced.is_err(), "the unique index must refuse a second open attempt");
}

#[test]
fn an_oa_that_is_not_due_or_whose_app_is_blocked_is_not_claimed() {
    let bench = Bench::with_a_set();
    let claimed = |now| claim(&bench.conn, &oa(), false, &at(now)).expect("claimed");
    assert!(matches!(claimed(START), Claimed::NotNow));
    assert!(matches!(claimed(START.plus(24 * HOUR)), Claimed::Due(_)));
    let years_ago = START.minus(HOUR * 24 * 3_650);
    assert!(matches!(claimed(years_ago), Claimed::NotNow), "the other clock knows better");
    let after_restart = claim(&bench.conn, &oa(), false, &after_restart(years_ago)).expect("claimed");
    assert!(matches!(after_restart, Claimed::Due(_)), "planned in the future: the clock was set back");
    let attempt = bench.begin();
    bench.conclude(attempt, Verdict::AppRefused(ErrorCode(-14004)));
    assert!(matches!(claimed(START.plus(HOUR / 2)), Claimed::NotNow));
    assert!(matches!(claimed(START.plus(HOUR)), Claimed::Due(_)), "the trial");
}

#[test]
fn i8_a_failure_before_the_journal_leaves_an_oa_alone_that_another_attempt_made_uncertain() {
    let bench = Bench::with_a_set();
    let claim = bench.claim().expect("due");
    let (attempt, written) = bench.present(&claim);
    assert_eq!(written, Journalled::Written);
    let failed = || Verdict::NotPresented { detail: "no connection".to_owned(), retry_after: None };
    let fail = || bench.conclude_with(AttemptId::random(), Some(claim.clone()), failed()).effect;

    assert_eq!(fail(), Effect::AlreadyConcluded, "while it is presented");
    bench.unknown(attempt);
    assert_eq!(fail(), Effect::AlreadyConcluded, "while it is uncertain");
    assert_eq!(bench.state().0, State::Uncertain);
    assert!(matches!(bench.prove(attempt), Settled::Retry { .. }));
    assert!(matches!(fail(), Effect::Retry { .. }), "proven unspent");
    let again = bench.begin();
    bench.conclude(again, Verdict::Dead(ErrorCode(-14014)));
    assert_eq!(fail(), Effect::AlreadyConcluded, "and when a person is called");
    assert_eq!(bench.state().0, State::ReauthorizationRequired);
}
