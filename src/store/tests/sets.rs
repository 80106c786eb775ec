//! Sets that come, from Zalo and from people, and which of them becomes the next generation.

use super::*;

#[test]
fn a_granted_set_becomes_the_next_generation_and_repeating_the_conclusion_changes_nothing() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    let concluded = bench.conclude(attempt, Verdict::Granted(tokens(2)));
    assert!(matches!(concluded.effect, Effect::Adopted { generation: 2, reason: None, .. }));
    assert_eq!(bench.conclude(attempt, Verdict::Granted(tokens(3))).effect, Effect::AlreadyConcluded);
    assert_eq!(bench.token().as_deref(), Some("access-2"));
    assert_eq!(bench.state().0, State::Scheduled);
}

#[test]
fn an_access_token_without_successor_is_served_and_a_person_is_called() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    let only_access = GrantedTokens { refresh_token: None, ..tokens(2) };
    let concluded = bench.conclude(attempt, Verdict::Granted(only_access));
    assert!(matches!(concluded.effect, Effect::Adopted { reason: Some(Reason::RefreshTokenMissing), .. }));
    assert_eq!(bench.token().as_deref(), Some("access-2"));
    assert_eq!(bench.kept_answers(), 1, "the raw answer is kept for a person");
    assert!(bench.claim().is_none());
}

#[test]
fn i4_an_answer_without_refresh_token_deletes_none() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    bench.conclude(attempt, Verdict::Granted(GrantedTokens { refresh_token: None, ..tokens(2) }));
    let held: String =
        bench.conn.query_row("SELECT refresh_token FROM oa", [], |row| row.get(0)).expect("held");
    assert_eq!(held, "refresh-1");
    assert!(bench.claim().is_none());
}

#[test]
fn a_refresh_token_without_access_token_is_adopted_and_due_at_once() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    let only_refresh = GrantedTokens { access_token: None, ..tokens(2) };
    let concluded = bench.conclude(attempt, Verdict::Granted(only_refresh));
    assert!(matches!(concluded.effect, Effect::Adopted { refresh_at: Some(at), .. } if at == START));
    assert_eq!(bench.token(), None);
    assert!(bench.claim().is_some());
}

#[test]
fn the_token_just_used_may_be_presented_again_when_it_is_handed_out_again_and_an_older_one_may_not() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    let same = GrantedTokens { refresh_token: Some(Secret::new("refresh-1".to_owned())), ..tokens(2) };
    let concluded = bench.conclude(attempt, Verdict::Granted(same));
    assert!(matches!(concluded.effect, Effect::Adopted { generation: 2, reason: None, .. }));
    let attempt = bench.begin();
    bench.conclude(attempt, Verdict::Granted(tokens(3)));
    let attempt = bench.begin();
    let older = GrantedTokens { refresh_token: Some(Secret::new("refresh-1".to_owned())), ..tokens(4) };
    let concluded = bench.conclude(attempt, Verdict::Granted(older));
    assert!(matches!(concluded.effect, Effect::Adopted { reason: Some(Reason::RefreshTokenRepeated), .. }));
    assert_eq!(bench.token().as_deref(), Some("access-4"));
    assert_eq!(bench.kept_answers(), 1);
    assert!(bench.claim().is_none());
}

#[test]
fn a_dead_token_latches_keeps_its_access_token_and_brings_no_further_claim() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    let concluded = bench.conclude(attempt, Verdict::Dead(ErrorCode(-14014)));
    assert_eq!(concluded.effect, Effect::Reauthorize { reason: Reason::RefreshTokenRejected });
    assert!(bench.claim().is_none());
    assert_eq!(bench.token().as_deref(), Some("access-1"));
    assert_eq!(bench.import(&oa(), 1), Imported::UsedBefore { at: bench.due() });
    assert!(matches!(bench.import(&oa(), 5), Imported::Adopted { .. }));
    assert_eq!(bench.state().0, State::Scheduled);
}

#[test]
fn i4_a_set_that_comes_after_an_import_is_kept_aside_and_never_overwrites_it() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    let imported = bench.import(&oa(), 7);
    assert!(matches!(imported, Imported::Adopted { generation: 3, .. }), "2 is the late set's, in its slot");
    assert!(bench.claim().is_none(), "nothing is claimed while the old attempt is under way");
    assert_eq!(bench.conclude(attempt, Verdict::Granted(tokens(2))).effect, Effect::KeptAside);
    assert_eq!(bench.token().as_deref(), Some("access-7"));
    assert_eq!(bench.kept_answers(), 1);
    assert!(bench.claim().is_some());
}

#[test]
fn an_import_ends_an_uncertain_attempt_and_a_late_proof_about_it_changes_nothing() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    bench.unknown(attempt);
    bench.import(&oa(), 7);
    assert_eq!(bench.state().0, State::Scheduled);
    assert_eq!(bench.prove(attempt), Settled::Gone);
    assert_eq!(
        settle::prove_spent(&bench.conn, attempt, &bench.timing, &at(bench.now)).expect("asked"),
        Settled::Gone
    );
    assert_eq!(bench.state().0, State::Scheduled);
}

#[test]
fn the_current_set_imported_again_changes_nothing_and_used_or_foreign_ones_are_refused() {
    let bench = Bench::with_a_set();
    assert_eq!(bench.import(&oa(), 1), Imported::Unchanged { generation: 1 });
    let attempt = bench.begin();
    assert_eq!(bench.import(&oa(), 1), Imported::Unchanged { generation: 1 });
    bench.conclude(attempt, Verdict::Granted(tokens(2)));
    assert_eq!(bench.import(&oa(), 1), Imported::UsedBefore { at: bench.due() });
    assert_eq!(bench.import(&OaId::from("oa-2"), 2), Imported::OfAnotherOa(oa()));
    assert_eq!(bench.token().as_deref(), Some("access-2"));
}

#[test]
fn a_conclusion_of_which_nobody_was_told_is_told_by_its_repetition_as_long_as_it_stands() {
    let timeout = || Verdict::Unknown { code: None, detail: "timeout".to_owned() };
    let verdicts: [fn() -> Verdict; 6] = [
        || Verdict::Granted(tokens(2)),
        || Verdict::Granted(GrantedTokens { access_token: None, ..tokens(2) }),
        || Verdict::Granted(GrantedTokens { refresh_token: None, ..tokens(2) }),
        || Verdict::Dead(ErrorCode(-14014)),
        || Verdict::Throttled { retry_after: None },
        || Verdict::Unknown { code: None, detail: "timeout".to_owned() },
    ];
    for verdict in verdicts {
        let bench = Bench::with_a_set();
        let claim = bench.claim().expect("claimable");
        let attempt = bench.begin();
        let first = bench.conclude_with(attempt, Some(claim.clone()), verdict()).effect;
        assert_ne!(first, Effect::AlreadyConcluded);
        let again = || bench.conclude_with(attempt, Some(claim.clone()), verdict()).effect;
        assert_eq!(again(), first);
        assert_eq!(bench.conclude(attempt, verdict()).effect, Effect::AlreadyConcluded, "an earlier run's");
        bench.import(&oa(), 7);
        assert_eq!(again(), Effect::AlreadyConcluded, "another set stands now");
        assert_eq!(bench.token().as_deref(), Some("access-7"));
    }
    // A set that another one overtook was not adopted, though it counts as many sets.
    let bench = Bench::with_a_set();
    let claim = bench.claim().expect("claimable");
    let attempt = bench.begin();
    bench.import(&oa(), 7);
    let again = |verdict| bench.conclude_with(attempt, Some(claim.clone()), verdict).effect;
    assert_eq!(again(Verdict::Granted(tokens(2))), Effect::KeptAside);
    assert_eq!(again(Verdict::Granted(tokens(2))), Effect::AlreadyConcluded);
    assert_eq!(again(timeout()), Effect::AlreadyConcluded);
}
