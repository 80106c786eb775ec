//! Apps whose id or secret is refused.

use super::*;

#[test]
fn a_refused_app_blocks_all_its_oas_but_for_one_trial_and_a_success_releases_them() {
    let mut bench = Bench::with_a_set();
    for n in 2..=5 {
        bench.import(&OaId::from(format!("oa-{n}")), n);
    }
    bench.now = START.plus(24 * HOUR);
    let due = |now| bench.due_by(&at(now)).expect("due");
    assert_eq!(due(bench.now).len(), 2, "as many as the window lets through");
    let attempt = bench.begin();
    assert_eq!(bench.conclude(attempt, Verdict::AppRefused(ErrorCode(-14004))).app, AppChange::Blocked);
    assert_eq!(bench.state(), (State::Blocked, Some("app_refused".to_owned())));
    assert_eq!(due(bench.now), []);
    assert_eq!(due(bench.now.plus(HOUR)).len(), 1, "one trial an hour");
    apps::allow_trials(&bench.conn, bench.now).expect("allowed");
    assert_eq!(due(bench.now).len(), 1, "a start allows one trial");
    let attempt = bench.begin();
    assert_eq!(bench.conclude(attempt, Verdict::AppRefused(ErrorCode(-14004))).app, AppChange::None);
    assert_eq!(due(bench.now), []);
    let attempt = bench.begin();
    assert_eq!(bench.conclude(attempt, Verdict::Granted(tokens(9))).app, AppChange::Released);
    assert_eq!(due(bench.now.plus(HOUR)).len(), 2, "the window opens anew");
}

#[test]
fn an_attempt_that_was_under_way_when_its_app_was_refused_is_no_trial() {
    let mut bench = Bench::with_a_set();
    bench.import(&OaId::from("oa-2"), 2);
    let attempt = bench.begin();
    let other = bench.conclude_with(AttemptId::random(), None, Verdict::AppRefused(ErrorCode(-14004)));
    assert_eq!(other.effect, Effect::AlreadyConcluded);
    bench.conclude(attempt, Verdict::AppRefused(ErrorCode(-14004)));
    let due = |now| bench.due_by(&at(now)).expect("due").len();
    assert_eq!(due(START.plus(HOUR / 2)), 0);
    bench.now = START;
    let unpresented = Verdict::NotPresented { detail: "reset".to_owned(), retry_after: None };
    let claim =
        match claim(&bench.conn, &OaId::from("oa-2"), false, &at(START.plus(2 * HOUR))).expect("claimed") {
            Claimed::Due(claim) => claim,
            Claimed::NotNow | Claimed::Unproven => panic!("the trial is due"),
        };
    bench.conclude_with(AttemptId::random(), Some(claim), unpresented);
    assert_eq!(bench.due_by(&at(START.plus(HOUR / 2))).expect("due").len(), 0);
}

#[test]
fn a_clock_that_went_back_neither_storms_nor_silences_a_blocked_app() {
    let mut bench = Bench::with_a_set();
    let attempt = bench.begin();
    bench.conclude(attempt, Verdict::AppRefused(ErrorCode(-14004)));
    bench.now = START.minus(72 * HOUR);
    let due = |now| bench.due_by(&at(now)).expect("due").len();
    assert_eq!(due(bench.now), 1, "refused in the future: a trial is due");
    let Claimed::Due(claim) = claim(&bench.conn, &oa(), false, &at(bench.now)).expect("claimed") else {
        panic!("the trial is due")
    };
    let attempt = AttemptId::random();
    let journalled = present(&bench.conn, &claim, attempt, bench.now, 8, &at(bench.now)).expect("presented");
    assert_eq!(journalled, Journalled::Written);
    bench.conclude(attempt, Verdict::Throttled { retry_after: Some(HOUR / 2) });
    assert_eq!(due(bench.now), 0, "no storm");
    assert_eq!(due(bench.now.plus(HOUR)), 1);
}
