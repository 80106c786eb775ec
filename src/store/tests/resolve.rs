//! An operator's decisions.

use super::*;
use crate::store::{Decision, Resolved};

impl Bench {
    fn resolve(&self, attempt: AttemptId, decision: &Decision) -> Resolved {
        let now = at(self.now);
        decisions::resolve(&self.conn, &oa(), attempt, decision, &self.timing, &now, Roll(0.5))
            .expect("resolved")
    }

    fn undecided(&self) -> Option<AttemptId> {
        decisions::undecided(&self.conn, &oa()).expect("asked")
    }

    /// An OA of whose attempt nobody knows, or of which the answer is known to be lost.
    fn in_doubt(is_lost: bool) -> (Bench, AttemptId) {
        let bench = Bench::with_a_set();
        let attempt = bench.begin();
        bench.unknown(attempt);
        if is_lost {
            settle::prove_spent(&bench.conn, attempt, &bench.timing, &at(bench.now)).expect("proven");
        }
        assert_eq!(bench.undecided(), Some(attempt));
        (bench, attempt)
    }
}

#[test]
fn i3_an_operator_who_says_so_has_the_token_presented_once_more_and_only_once() {
    for is_lost in [false, true] {
        let (bench, attempt) = Bench::in_doubt(is_lost);
        assert_eq!(bench.resolve(attempt, &Decision::Present), Resolved::Retry { retry_at: bench.now });
        assert_eq!(bench.resolve(attempt, &Decision::Present), Resolved::Gone, "it is decided");
        let again = bench.begin();
        bench.unknown(again);
        assert_eq!(bench.state().0, State::Uncertain);
        assert!(bench.claim().is_none(), "one decision, one presentation");
    }
}

#[test]
fn giving_up_calls_a_person_and_keeps_the_tokens() {
    let (bench, attempt) = Bench::in_doubt(false);
    assert_eq!(bench.resolve(attempt, &Decision::GiveUp), Resolved::GivenUp);
    assert_eq!(bench.state(), (State::ReauthorizationRequired, Some("response_lost".to_owned())));
    assert_eq!(bench.token().as_deref(), Some("access-1"));
    assert_eq!(bench.undecided(), Some(attempt), "there may still be an answer to take in");
}

#[test]
fn what_a_person_read_out_of_the_kept_answer_becomes_the_next_generation() {
    for is_lost in [false, true] {
        let (bench, attempt) = Bench::in_doubt(is_lost);
        let resolved = bench.resolve(attempt, &Decision::Adopt(tokens(2)));
        assert!(matches!(resolved, Resolved::Adopted { generation: 2, reason: None, .. }), "{resolved:?}");
        assert_eq!(bench.token().as_deref(), Some("access-2"));
        assert_eq!((bench.state().0, bench.undecided()), (State::Scheduled, None));
    }
}

#[test]
fn an_access_token_alone_is_served_and_a_person_is_called() {
    let (bench, attempt) = Bench::in_doubt(true);
    let half = GrantedTokens { refresh_token: None, ..tokens(2) };
    let resolved = bench.resolve(attempt, &Decision::Adopt(half));
    assert!(
        matches!(resolved, Resolved::Adopted { reason: Some(Reason::RefreshTokenMissing), .. }),
        "{resolved:?}"
    );
    assert_eq!(bench.token().as_deref(), Some("access-2"));
}

#[test]
fn i4_tokens_that_were_in_use_before_are_not_taken_for_those_of_the_lost_answer() {
    let (bench, attempt) = Bench::in_doubt(false);
    assert_eq!(bench.resolve(attempt, &Decision::Adopt(tokens(1))), Resolved::Old, "the presented one");
    for (refresh, access) in [(None, 1), (tokens(1).refresh_token, 2)] {
        let mixed = GrantedTokens { refresh_token: refresh, ..tokens(access) };
        assert_eq!(bench.resolve(attempt, &Decision::Adopt(mixed)), Resolved::Old);
    }
    assert_eq!(
        (bench.state().0, bench.undecided()),
        (State::Uncertain, Some(attempt)),
        "nothing was changed"
    );
}

#[test]
fn a_decision_about_an_attempt_that_something_else_has_settled_changes_nothing() {
    let (bench, attempt) = Bench::in_doubt(false);
    bench.import(&oa(), 5);
    for decision in [Decision::Present, Decision::GiveUp, Decision::Adopt(tokens(6))] {
        assert_eq!(bench.resolve(attempt, &decision), Resolved::Gone);
    }
    assert_eq!(bench.token().as_deref(), Some("access-5"));
}
