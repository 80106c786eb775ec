//! Tests of the verbs, over a database in memory: the rules that hold even if the daemon is wrong.

mod brake;
mod clocks;
mod grants;
mod resolve;
mod versions;

use rusqlite::Connection;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::conclude::{Attempted, Concluded, Effect, conclude};
use super::fleet::{self, Due, Sweep};
use super::held::{self, TokenAnswer};
use super::import::{Import, Imported, import};
use super::present::{Claim, Claimed, Journalled, claim, latch_unproven, present};
use super::settle::{self, Settled};
use super::view::{self, State};
use super::{AppChange, apps, day, ends, journal, resolve as decisions, rows, schema};
use crate::clock::{Moment, Reading, Time, Uptime};
use crate::id::{AppId, AttemptId, Managed, OaId};
use crate::oauth::{ErrorCode, GrantedTokens};
use crate::rotation::{Proof, Reason, Roll, Timing, Verdict};
use crate::secret::Secret;

const START: Time = Time::from_millis(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

struct Bench {
    conn: Connection,
    timing: Timing,
    now: Time,
}

fn tokens(n: u32) -> GrantedTokens {
    GrantedTokens {
        access_token: Some(Secret::new(format!("access-{n}"))),
        refresh_token: Some(Secret::new(format!("refresh-{n}"))),
        access_token_life: 25 * HOUR,
        refresh_token_life: None,
        oddities: Vec::new(),
    }
}

/// Both clocks, in agreement.
fn at(time: Time) -> Reading {
    Reading { time, uptime: Uptime(HOUR * 1_000 + time.since(START)), boot: "this boot".into() }
}

/// The same in another boot of the machine.
fn after_restart(time: Time) -> Reading {
    Reading { uptime: Uptime(HOUR), boot: "another boot".into(), ..at(time) }
}

/// A sweep with ten places, beside these.
fn sweep(under_way: &[&Due]) -> Sweep {
    Sweep {
        under_way: under_way.iter().map(|due| (due.oa_id.clone(), due.app_id.clone())).collect(),
        passed_over: BTreeSet::new(),
        apps: Arc::new(["app", "other"].map(AppId::from).into()),
        free: 10,
        most: 8,
    }
}

fn oa() -> OaId {
    OaId::from("oa-1")
}

impl Bench {
    fn new() -> Bench {
        let conn = Connection::open_in_memory().expect("in memory");
        schema::migrate(&conn).expect("migrated");
        Bench { conn, timing: Timing::default(), now: START }
    }

    /// With one OA that holds the set number 1.
    fn with_a_set() -> Bench {
        let bench = Bench::new();
        assert!(matches!(bench.import(&oa(), 1), Imported::Adopted { generation: 1, .. }));
        bench
    }

    fn import(&self, oa_id: &OaId, n: u32) -> Imported {
        self.import_of("app", oa_id, n)
    }

    fn import_of(&self, app_id: &str, oa_id: &OaId, n: u32) -> Imported {
        self.bring(app_id, oa_id, n, Moment::of_wall_clock(self.now))
    }

    fn import_obtained(&self, oa_id: &OaId, n: u32, obtained: Moment) -> Imported {
        self.bring("app", oa_id, n, obtained)
    }

    fn bring(&self, app_id: &str, oa_id: &OaId, n: u32, obtained: Moment) -> Imported {
        let app_id = AppId::from(app_id);
        let brought = Import { oa_id: oa_id.clone(), app_id, name: None, tokens: tokens(n), obtained };
        import(&self.conn, &brought, &self.timing, &at(self.now)).expect("imported")
    }

    /// What a sweep would begin, if nothing were under way.
    fn due_by(&self, now: &Reading) -> rusqlite::Result<Vec<Due>> {
        fleet::due_refreshes(&self.conn, &sweep(&[]), now)
    }

    /// When every plan is due.
    fn due(&self) -> Time {
        self.now.plus(30 * 24 * HOUR)
    }

    fn claim(&self) -> Option<Claim> {
        match claim(&self.conn, &oa(), false, &at(self.due())).expect("claimed") {
            Claimed::Due(claim) => Some(claim),
            Claimed::NotNow | Claimed::Unproven => None,
        }
    }

    fn present(&self, claim: &Claim) -> (AttemptId, Journalled) {
        let attempt = AttemptId::random();
        (attempt, present(&self.conn, claim, attempt, self.now, 8, &at(self.due())).expect("presented"))
    }

    /// Claims and presents; both have to work.
    fn begin(&self) -> AttemptId {
        let (attempt, journalled) = self.present(&self.claim().expect("claimable"));
        assert_eq!(journalled, Journalled::Written);
        attempt
    }

    fn conclude(&self, attempt: AttemptId, verdict: Verdict) -> Concluded {
        self.conclude_with(attempt, None, verdict)
    }

    fn conclude_with(&self, attempt: AttemptId, claim: Option<Claim>, verdict: Verdict) -> Concluded {
        let attempted = Attempted {
            attempt,
            claim,
            started_at: self.now,
            obtained: Moment::at(&at(self.now)),
            verdict,
            status: Some(200),
            answer: Some(b"the raw answer".to_vec()),
        };
        conclude(&self.conn, &attempted, &self.timing, &at(self.now), Roll(0.5)).expect("concluded")
    }

    fn unknown(&self, attempt: AttemptId) {
        let verdict = Verdict::Unknown { code: None, detail: "timeout".to_owned() };
        assert!(matches!(self.conclude(attempt, verdict).effect, Effect::Uncertain { .. }));
    }

    fn prove(&self, attempt: AttemptId) -> Settled {
        settle::prove_unspent(
            &self.conn,
            attempt,
            Proof::OldTokenAccepted,
            &self.timing,
            &at(self.now),
            Roll(0.5),
        )
        .expect("proven")
    }

    fn state(&self) -> (State, Option<String>) {
        let managed = [(oa(), Managed { app_id: AppId::from("app"), name: None })].into();
        let mut statuses =
            view::statuses(&self.conn, None, &managed, view::Page::WHOLE, &at(self.now)).expect("statuses");
        let status = statuses.remove(0);
        (status.state, status.reason)
    }

    fn token(&self) -> Option<String> {
        let managed = [(oa(), Managed { app_id: AppId::from("app"), name: None })].into();
        match held::token(&self.conn, None, &managed, &oa(), &at(self.now)).expect("token") {
            TokenAnswer::Valid(valid) => Some(valid.access_token.expose().to_owned()),
            TokenAnswer::NoSuchOa | TokenAnswer::NoneValid(_) => None,
        }
    }

    fn kept_answers(&self) -> usize {
        view::history(&self.conn, &oa()).expect("history").iter().filter(|entry| entry.answer_kept).count()
    }
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

#[test]
fn i4_a_set_that_comes_after_an_import_is_kept_aside_and_never_overwrites_it() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    assert!(matches!(bench.import(&oa(), 7), Imported::Adopted { generation: 2, .. }));
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

impl Bench {
    fn begin_open(&self) -> AttemptId {
        view::history(&self.conn, &oa()).expect("history")[0].attempt_id
    }
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
fn an_oa_moved_to_another_app_waits_for_a_grant_and_moved_back_goes_on() {
    let bench = Bench::with_a_set();
    let manage = |app: &str| {
        let managed = [(oa(), Managed { app_id: AppId::from(app), name: None })].into();
        fleet::manage(&bench.conn, &managed, &bench.timing, bench.now).expect("managed");
        view::statuses(&bench.conn, None, &managed, view::Page::WHOLE, &at(bench.now))
            .expect("statuses")
            .remove(0)
    };
    let moved = manage("other");
    assert_eq!((moved.state, moved.reason.as_deref()), (State::AwaitingGrant, Some("app_changed")));
    assert!(bench.claim().is_none());
    assert_eq!(manage("app").state, State::Scheduled);
    assert!(bench.claim().is_some());
}

#[test]
fn an_oa_that_left_the_config_keeps_its_tokens_and_is_left_alone() {
    let bench = Bench::with_a_set();
    fleet::manage(&bench.conn, &[].into(), &bench.timing, bench.now).expect("managed");
    assert!(bench.claim().is_none());
    assert_eq!(bench.due_by(&at(START.plus(48 * HOUR))).expect("due"), []);
    let status = view::statuses(&bench.conn, None, &[].into(), view::Page::WHOLE, &at(bench.now))
        .expect("statuses")
        .remove(0);
    assert_eq!((status.state, status.access_token_valid), (State::Unmanaged, true));
}

#[test]
fn a_plan_made_by_a_clock_that_was_set_back_since_is_due_now() {
    let bench = Bench::with_a_set();
    let years_ago = START.minus(HOUR * 24 * 3_650);
    let due = bench.due_by(&after_restart(years_ago)).expect("due");
    assert_eq!(due.len(), 1);
    assert_eq!(bench.due_by(&at(START)).expect("due"), []);
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
fn migrating_again_changes_nothing() {
    let conn = Connection::open_in_memory().expect("in memory");
    schema::migrate(&conn).expect("migrated");
    schema::migrate(&conn).expect("a second time changes nothing");
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("version");
    assert_eq!(usize::try_from(version).expect("small"), schema::newest_version());
}
