//! What is remembered of an attempt, and for how long.

use super::*;

impl Bench {
    fn begin_open(&self) -> AttemptId {
        view::history(&self.conn, &oa()).expect("history")[0].attempt_id
    }
}

#[test]
fn raw_answers_are_kept_until_the_next_whole_set() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    bench.unknown(attempt);
    assert_eq!(bench.kept_answers(), 1);
    bench.prove(attempt);
    assert_eq!(bench.kept_answers(), 1);
    let attempt = bench.begin();
    bench.conclude(attempt, Verdict::Granted(tokens(2)));
    assert_eq!(bench.kept_answers(), 0);
}

#[test]
fn i4_what_was_kept_aside_outlives_an_outage() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    bench.import(&oa(), 7);
    assert_eq!(bench.conclude(attempt, Verdict::Granted(tokens(2))).effect, Effect::KeptAside);
    for _ in 0..10 {
        let attempt = bench.begin();
        bench.unknown(attempt);
        bench.prove(attempt);
    }
    let history = view::history(&bench.conn, &oa()).expect("history");
    let aside = history.iter().find(|entry| entry.class.as_deref() == Some("superseded"));
    assert!(aside.is_some_and(|entry| entry.answer_kept));
}

#[test]
fn answers_of_an_outage_do_not_fill_the_disk() {
    let bench = Bench::with_a_set();
    for _ in 0..60 {
        let attempt = bench.begin();
        bench.conclude(attempt, Verdict::Throttled { retry_after: None });
    }
    assert_eq!(bench.kept_answers(), 0, "a 429 holds no successor");
    let rows = view::history(&bench.conn, &oa()).expect("history").len();
    assert!(rows <= 21, "{rows}");
    for _ in 0..10 {
        let attempt = bench.begin();
        bench.unknown(attempt);
        bench.prove(attempt);
    }
    assert_eq!(bench.kept_answers(), 3, "the newest are kept");
}

#[test]
fn a_failure_before_the_gate_is_journalled_without_a_presentation_and_only_a_few_such_rows_are_kept() {
    let bench = Bench::with_a_set();
    for _ in 0..50 {
        let verdict = Verdict::NotPresented { detail: "refused".to_owned(), retry_after: None };
        let concluded = bench.conclude_with(AttemptId::random(), bench.claim(), verdict);
        assert!(matches!(concluded.effect, Effect::Retry { .. }));
    }
    let history = view::history(&bench.conn, &oa()).expect("history");
    assert_eq!(history.len(), 20);
    assert!(history.iter().all(|entry| entry.presented_at.is_none()));
    assert_eq!(bench.begin(), bench.begin_open());
}

#[test]
fn pruning_forgets_old_attempts_but_not_what_protects_the_current_token() {
    let mut bench = Bench::with_a_set();
    let attempt = bench.begin();
    bench.conclude(attempt, Verdict::Granted(tokens(2)));
    let claim = bench.claim().expect("claimable");
    let attempt = bench.begin();
    bench.unknown(attempt);
    bench.now = START.plus(HOUR * 24 * 1_000);
    let gone = journal::prune(&bench.conn, HOUR * 24 * 180, bench.now).expect("pruned");
    assert_eq!(gone, 2, "the first attempt, and the token that it spent");
    bench.conn.execute("UPDATE attempt SET phase = 'closed'", []).expect("closed");
    bench.conn.execute("UPDATE oa SET state = 'retrying', next_action_at = 0", []).expect("planned");
    assert!(bench.claim().is_none());
    assert_eq!(bench.present(&claim).1, Journalled::Stale, "presented, and still known to be");
}

#[test]
fn a_proof_survives_pruning_as_long_as_its_token_is_held() {
    let mut bench = Bench::with_a_set();
    let attempt = bench.begin();
    let same = GrantedTokens { refresh_token: Some(Secret::new("refresh-1".to_owned())), ..tokens(2) };
    bench.conclude(attempt, Verdict::Granted(same));
    bench.now = START.plus(HOUR * 24 * 1_000);
    while journal::prune(&bench.conn, HOUR, bench.now).expect("pruned") > 0 {}
    bench.begin();
}
