//! The window and the brake, as the verbs hold them.

use super::*;
use crate::rotation::AppNews;
use crate::store::Hurried;

fn unknown() -> Verdict {
    Verdict::Unknown { code: None, detail: "502".to_owned() }
}

impl Bench {
    /// A set of each of so many OAs of the one app, all due.
    fn with_a_herd(count: u32) -> Bench {
        let mut bench = Bench::new();
        for n in 1..=count {
            bench.import(&OaId::from(format!("herd-{n:03}")), n);
        }
        bench.now = START.plus(24 * HOUR);
        bench
    }

    fn due_beside(&self, under_way: &[&Due]) -> Vec<Due> {
        fleet::due_refreshes(&self.conn, &sweep(under_way), &at(self.now)).expect("due")
    }

    fn try_to_present(&self, oa_id: &OaId) -> (AttemptId, Journalled) {
        let Claimed::Due(claim) = claim(&self.conn, oa_id, false, &at(self.now)).expect("claimed") else {
            panic!("{oa_id} is not due")
        };
        let attempt = AttemptId::random();
        (attempt, present(&self.conn, &claim, attempt, self.now, 8, &at(self.now)).expect("asked"))
    }

    fn present_one(&self, oa_id: &OaId) -> AttemptId {
        let (attempt, journalled) = self.try_to_present(oa_id);
        assert_eq!(journalled, Journalled::Written);
        attempt
    }

    /// An OA that is due and has no attempt open, whether its app has room or not.
    fn try_another(&self) -> Journalled {
        let is_free =
            |oa_id: &OaId| matches!(claim(&self.conn, oa_id, false, &at(self.now)), Ok(Claimed::Due(_)));
        let mut herd = (1..=50).map(|n| OaId::from(format!("herd-{n:03}")));
        self.try_to_present(&herd.find(is_free).expect("one is left")).1
    }

    /// The app's endpoint says something, by another of its OAs.
    fn hear(&self, news: AppNews, now: Time) {
        let heard = apps::Heard { app_id: &AppId::from("app"), news, began_at: now, next_at: None };
        apps::hear(&self.conn, &heard, &self.timing, now, Roll(0.5)).expect("heard");
    }

    /// Two attempts are lost, and the app is braked.
    fn brake(&self) -> Vec<AttemptId> {
        let attempts: Vec<_> = self.due_beside(&[]).iter().map(|due| self.present_one(&due.oa_id)).collect();
        attempts.iter().for_each(|attempt| drop(self.conclude(*attempt, unknown())));
        attempts
    }

    fn prove_spent(&self, attempt: AttemptId) {
        settle::prove_spent(&self.conn, attempt, &self.timing, &at(self.now)).expect("proven");
    }

    fn trial_at(&self) -> Time {
        let app = apps::load(&self.conn, &AppId::from("app")).expect("loaded");
        app.window.brake.expect("braked").trial_at()
    }
}

fn ids(due: &[Due]) -> Vec<&str> {
    due.iter().map(|due| due.oa_id.as_str()).collect()
}

#[test]
fn a_herd_enters_by_two_and_a_gateway_that_spends_costs_two_and_then_one_a_wait() {
    let mut bench = Bench::with_a_herd(50);
    let due = bench.due_beside(&[]);
    assert_eq!(due.len(), 2);
    let attempts: Vec<_> = due.iter().map(|due| bench.present_one(&due.oa_id)).collect();
    assert_eq!(bench.due_beside(&due.iter().collect::<Vec<_>>()), []);
    assert_eq!(bench.try_another(), Journalled::HeldBack, "the gate counts for itself");
    assert_eq!(bench.conclude(attempts[0], unknown()).app, AppChange::None);
    assert_eq!(bench.due_beside(&[&due[1]]), [], "nothing beside what is under way");
    assert_eq!(bench.try_another(), Journalled::HeldBack);
    let AppChange::Braked { trial_at } = bench.conclude(attempts[1], unknown()).app else {
        panic!("not braked")
    };
    assert_eq!(bench.due_beside(&[]), []);
    for _ in 0..10 {
        bench.now = bench.trial_at();
        let due = bench.due_beside(&[]);
        assert_eq!(due.len(), 1, "one a wait");
        let attempt = bench.present_one(&due[0].oa_id);
        assert_eq!(bench.try_another(), Journalled::HeldBack, "one at a time");
        assert_eq!(bench.conclude(attempt, unknown()).app, AppChange::None, "it was said");
        assert!(bench.due_beside(&[]).is_empty() && bench.trial_at() > bench.now);
    }
    assert!(bench.now > trial_at);
    bench.now = bench.trial_at();
    let due = bench.due_beside(&[]);
    let attempt = bench.present_one(&due[0].oa_id);
    assert_eq!(bench.conclude(attempt, Verdict::Granted(tokens(900))).app, AppChange::Released);
    assert_eq!(bench.due_beside(&[]).len(), 2);
}

#[test]
fn i10_an_app_that_is_held_back_delays_no_other_whatever_is_due_of_it() {
    let mut bench = Bench::with_a_herd(30);
    bench.now = START;
    bench.import_of("other", &OaId::from("zz"), 500);
    bench.now = START.plus(24 * HOUR);
    for due in bench.due_beside(&[]).iter().filter(|due| due.app_id.as_str() == "app") {
        let attempt = bench.present_one(&due.oa_id);
        bench.conclude(attempt, unknown());
    }
    let free_for_one =
        fleet::due_refreshes(&bench.conn, &Sweep { free: 1, ..sweep(&[]) }, &at(bench.now)).expect("due");
    assert_eq!(ids(&free_for_one), ["zz"]);
}

#[test]
fn while_attempts_turn_out_spent_the_trial_waits_until_a_quarter_of_the_lead_is_left() {
    let mut bench = Bench::with_a_herd(4);
    bench.timing.jitter = Duration::ZERO;
    let due = bench.due_beside(&[]);
    let attempts: Vec<_> = due.iter().map(|due| bench.present_one(&due.oa_id)).collect();
    attempts.iter().for_each(|attempt| drop(bench.conclude(*attempt, unknown())));
    let soon = bench.trial_at();
    settle::prove_spent(&bench.conn, attempts[0], &bench.timing, &at(bench.now)).expect("proven");
    // Tokens of 25 hours with a lead of two.
    let last_call = START.plus(25 * HOUR).minus(HOUR / 2);
    assert_eq!(bench.trial_at(), last_call);
    bench.now = last_call;
    let due = bench.due_beside(&[]);
    assert_eq!(due.len(), 1);
    let attempt = bench.present_one(&due[0].oa_id);
    bench.conclude(attempt, unknown());
    assert!(bench.trial_at() > last_call);
    let proof = Proof::OldTokenAccepted;
    let now = at(bench.now);
    settle::prove_unspent(&bench.conn, attempts[1], proof, &bench.timing, &now, Roll(0.5)).expect("proven");
    assert!(bench.trial_at() < bench.now.plus(HOUR) && soon < last_call, "unspent: the usual wait is enough");
}

#[test]
fn a_trial_that_fails_under_a_spending_gateway_is_followed_by_the_last_call_of_the_next() {
    let mut bench = Bench::new();
    bench.timing.jitter = Duration::ZERO;
    for n in 1..=4 {
        bench.now = START.plus(HOUR * n);
        bench.import(&OaId::from(format!("herd-{n:03}")), n);
    }
    bench.now = START.plus(24 * HOUR);
    // The first is due; the second is tried by its last call, and the third not before its own.
    for n in 1..=2 {
        let last_call = START.plus(HOUR * (25 + n)).minus(HOUR / 2);
        bench.now = if n == 1 { bench.now } else { last_call };
        let due = bench.due_beside(&[]);
        assert_eq!(due[0].oa_id.as_str(), format!("herd-{n:03}"));
        let attempt = bench.present_one(&due[0].oa_id);
        bench.conclude(attempt, unknown());
        bench.hear(AppNews::Lost, bench.now);
        settle::prove_spent(&bench.conn, attempt, &bench.timing, &at(bench.now)).expect("proven");
        assert_eq!(bench.trial_at(), last_call.plus(HOUR));
    }
    bench.now = bench.trial_at();
    let attempt = bench.present_one(&OaId::from("herd-003"));
    bench.conclude(attempt, unknown());
    assert_eq!(bench.trial_at(), START.plus(HOUR * 29).minus(HOUR / 2), "before anything was asked about it");
}

#[test]
fn a_crash_loop_under_a_sick_gateway_burns_no_more_than_the_window() {
    let mut bench = Bench::with_a_herd(50);
    let mut presented = 0;
    for start in 0..20 {
        for due in bench.due_beside(&[]) {
            bench.present_one(&due.oa_id);
            presented += 1;
        }
        // The program is killed before any answer, and starts again a second later.
        let now = at(bench.now);
        let abandoned = settle::abandon_presenting(&bench.conn, &bench.timing, &now, &mut || Roll(0.5))
            .expect("recovered");
        let is_braked = abandoned.iter().any(|gone| matches!(gone.app, AppChange::Braked { .. }));
        assert_eq!(is_braked, start == 0);
        bench.now = bench.now.plus(Duration::from_secs(1));
    }
    assert_eq!(presented, 2);
}

#[test]
fn an_operator_who_asks_while_a_refresh_ends_does_not_cause_another() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    bench.conclude(attempt, Verdict::Granted(tokens(2)));
    let hurry = |generation| fleet::hurry(&bench.conn, &oa(), generation, &at(bench.now)).expect("asked");
    assert_eq!(hurry(1), Hurried::IsNewer);
    assert!(
        matches!(claim(&bench.conn, &oa(), false, &at(bench.now)), Ok(Claimed::NotNow)),
        "it was refreshed since"
    );
    assert_eq!(hurry(2), Hurried::Due);
    assert!(matches!(claim(&bench.conn, &oa(), false, &at(bench.now)), Ok(Claimed::Due(_))));
}

#[test]
fn a_blocked_and_braked_app_waits_for_both() {
    let mut bench = Bench::with_a_herd(5);
    let attempt = bench.present_one(&OaId::from("herd-001"));
    bench.conclude(attempt, unknown());
    let attempt = bench.present_one(&OaId::from("herd-002"));
    assert_eq!(bench.conclude(attempt, Verdict::AppRefused(ErrorCode(-14004))).app, AppChange::Blocked);
    apps::allow_trials(&bench.conn, bench.now).expect("allowed");
    let due = bench.due_beside(&[]);
    assert_eq!(due.len(), 1, "a start allows one trial");
    let attempt = bench.present_one(&due[0].oa_id);
    assert!(matches!(bench.conclude(attempt, unknown()).app, AppChange::Braked { .. }));
    apps::allow_trials(&bench.conn, bench.now).expect("allowed");
    assert_eq!(bench.due_beside(&[]), [], "a start allows no trial under a brake");
    bench.now = bench.trial_at();
    assert_eq!(bench.due_beside(&[]).len(), 1);
}

#[test]
fn after_a_pause_a_gateway_that_is_slow_in_failing_costs_two_as_well() {
    let bench = Bench::with_a_herd(50);
    (0..3).for_each(|_| bench.hear(AppNews::Granted, START.plus(2 * HOUR)));
    let mut under_way: Vec<Due> = Vec::new();
    for _ in 0..3 {
        for due in bench.due_beside(&under_way.iter().collect::<Vec<_>>()) {
            bench.present_one(&due.oa_id);
            under_way.push(due);
        }
    }
    assert_eq!(under_way.len(), 2, "what was learnt hours ago opens nothing while no answer comes");
    assert_eq!(bench.try_another(), Journalled::HeldBack);
}

#[test]
fn a_crash_under_a_spending_gateway_waits_for_the_next_oas_last_call() {
    let mut bench = Bench::new();
    bench.timing.jitter = Duration::ZERO;
    for n in 1..=6 {
        bench.now = START.plus(HOUR * n);
        bench.import(&OaId::from(format!("herd-{n:03}")), n);
    }
    bench.now = START.plus(24 * HOUR);
    let attempt = bench.present_one(&OaId::from("herd-001"));
    bench.conclude(attempt, unknown());
    bench.hear(AppNews::Lost, bench.now);
    bench.prove_spent(attempt);
    let last_call = |n: u32| START.plus(HOUR * (25 + n)).minus(HOUR / 2);
    assert_eq!(bench.trial_at(), last_call(2));
    bench.now = last_call(2);
    bench.present_one(&bench.due_beside(&[])[0].oa_id);
    bench.now = bench.now.plus(Duration::from_secs(1));
    let now = at(bench.now);
    settle::abandon_presenting(&bench.conn, &bench.timing, &now, &mut || Roll(0.5)).expect("recovered");
    assert_eq!(bench.trial_at(), last_call(3), "and not for the one that was just lost");
}

#[test]
fn after_a_start_a_trial_leaves_the_questions_the_time_to_begin_anew() {
    let mut bench = Bench::with_a_herd(50);
    bench.brake();
    for _ in 0..10 {
        // Started again whenever a trial is due, before any question was answered.
        bench.now = bench.trial_at();
        let now = at(bench.now);
        settle::abandon_presenting(&bench.conn, &bench.timing, &now, &mut || Roll(0.5)).expect("recovered");
        assert_eq!(bench.due_beside(&[]), []);
    }
}

#[test]
fn a_trial_is_followed_by_a_wait_whatever_it_brought_but_a_success() {
    let mut bench = Bench::with_a_herd(50);
    bench.brake();
    let dead = || Verdict::Dead(ErrorCode(-14014));
    let throttled = || Verdict::Throttled { retry_after: None };
    for verdict in [dead(), throttled(), dead(), throttled()] {
        bench.now = bench.trial_at();
        let due = bench.due_beside(&[]);
        assert_eq!(due.len(), 1);
        let attempt = bench.present_one(&due[0].oa_id);
        bench.conclude(attempt, verdict);
        assert_eq!(bench.due_beside(&[]), []);
    }
}

#[test]
fn a_block_and_a_brake_of_a_clock_that_was_ahead_end_when_it_is_set_right() {
    let ahead = 24 * HOUR * 3_650;
    let bench = Bench::with_a_herd(5);
    let attempt = bench.present_one(&OaId::from("herd-001"));
    bench.conclude(attempt, Verdict::AppRefused(ErrorCode(-14004)));
    bench.hear(AppNews::Refused, bench.now.plus(ahead));
    let later = at(bench.now.plus(2 * HOUR));
    let due = bench.due_by(&later).expect("due");
    assert_eq!(due.len(), 1, "within an hour");

    let mut bench = Bench::with_a_herd(5);
    let right = START.plus(HOUR);
    bench.now = right.plus(ahead);
    let attempts = bench.brake();
    bench.now = right.plus(Duration::from_secs(60));
    let (proof, now) = (Proof::OldTokenAccepted, at(bench.now));
    settle::prove_unspent(&bench.conn, attempts[0], proof, &bench.timing, &now, Roll(0.5)).expect("proven");
    bench.now = right.plus(24 * HOUR);
    assert_eq!(bench.due_beside(&[]).len(), 1, "though something else was decided meanwhile");
}

#[test]
fn a_hold_is_over_in_time_for_a_set_that_came_later_and_for_a_refresh_token_that_ends_first() {
    let mut bench = Bench::with_a_herd(2);
    bench.timing.jitter = Duration::ZERO;
    let attempts: Vec<_> = bench.due_beside(&[]).iter().map(|due| bench.present_one(&due.oa_id)).collect();
    bench.import(&OaId::from("late"), 50);
    attempts.iter().for_each(|attempt| drop(bench.conclude(*attempt, unknown())));
    bench.prove_spent(attempts[0]);
    let obtained = Moment::of_wall_clock(bench.now.minus(20 * HOUR));
    bench.import_obtained(&OaId::from("later"), 60, obtained);
    bench.now = bench.now.plus(5 * HOUR).minus(HOUR / 4);
    assert_eq!(bench.due_beside(&[]).len(), 1);

    let mut bench = Bench::new();
    for n in 1..=4 {
        let tokens = GrantedTokens { access_token_life: 24 * HOUR * 400, ..tokens(n) };
        let (oa_id, app_id) = (OaId::from(format!("herd-{n:03}")), AppId::from("app"));
        let brought = Import { oa_id, app_id, name: None, tokens, obtained: Moment::of_wall_clock(START) };
        import(&bench.conn, &brought, &bench.timing, &at(START)).expect("imported");
    }
    bench.now = START.plus(24 * HOUR * 88);
    let attempts = bench.brake();
    bench.prove_spent(attempts[0]);
    assert!(bench.trial_at() < START.plus(24 * HOUR * 90), "{}", bench.trial_at());
}

#[test]
fn a_trial_that_an_operator_asks_for_costs_no_other_oa_its_wait() {
    let bench = Bench::with_a_herd(50);
    let attempts = bench.brake();
    bench.prove_spent(attempts[0]);
    let before = bench.trial_at();
    let chosen = OaId::from("herd-050");
    let claimed = claim(&bench.conn, &chosen, true, &at(bench.now)).expect("claimed");
    let Claimed::Due(claimed) = claimed else { panic!("an operator wants it") };
    let presented = |claimed: &Claim| {
        let attempt = AttemptId::random();
        (attempt, present(&bench.conn, claimed, attempt, bench.now, 8, &at(bench.now)).expect("asked"))
    };
    let verdict = Verdict::NotPresented { detail: "refused".to_owned(), retry_after: None };
    bench.conclude_with(AttemptId::random(), Some(claimed.clone()), verdict);
    assert!(bench.trial_at() >= before && bench.due_beside(&[]).is_empty(), "nobody asked for another one");
    let (attempt, journalled) = presented(&claimed);
    assert_eq!(journalled, Journalled::Written);
    let another = claim(&bench.conn, &OaId::from("herd-049"), true, &at(bench.now)).expect("claimed");
    let Claimed::Due(another) = another else { panic!("an operator wants it") };
    assert_eq!(presented(&another).1, Journalled::HeldBack, "one at a time also then");
    assert_eq!(bench.conclude(attempt, Verdict::Granted(tokens(900))).app, AppChange::Released);
}

#[test]
fn a_reload_allows_a_trial_though_one_with_the_secret_before_is_under_way() {
    let mut bench = Bench::with_a_herd(5);
    let refused = || Verdict::AppRefused(ErrorCode(-14004));
    let attempt = bench.present_one(&OaId::from("herd-001"));
    bench.conclude(attempt, refused());
    apps::allow_trials(&bench.conn, bench.now).expect("a start");
    let attempt = bench.present_one(&bench.due_beside(&[])[0].oa_id);
    bench.now = bench.now.plus(Duration::from_secs(1));
    apps::allow_trials(&bench.conn, bench.now).expect("the reload with the right secret");
    bench.now = bench.now.plus(Duration::from_secs(1));
    bench.conclude(attempt, refused());
    assert_eq!(bench.due_beside(&[]).len(), 1);
}

#[test]
fn i10_rows_that_cannot_be_worked_with_delay_no_other() {
    let bench = Bench::with_a_herd(5);
    for due in bench.due_beside(&[]) {
        bench
            .conn
            .execute("UPDATE oa SET obtained_at = NULL WHERE oa_id = ?1", [due.oa_id.as_str()])
            .expect("cut");
    }
    let due = bench.due_beside(&[]);
    let can_go =
        |due: &Due| matches!(claim(&bench.conn, &due.oa_id, false, &at(bench.now)), Ok(Claimed::Due(_)));
    assert!(due.len() == 2 && due.iter().all(can_go), "a row that lacks a part is not chosen");
    let passed_over = due.iter().map(|due| due.oa_id.clone()).collect();
    let others =
        fleet::due_refreshes(&bench.conn, &Sweep { passed_over, free: 2, ..sweep(&[]) }, &at(bench.now))
            .expect("due");
    assert_eq!(others.len(), 1, "nor one whose claim failed");
    let unknown_app = Sweep { apps: Arc::new(["other"].map(AppId::from).into()), ..sweep(&[]) };
    assert_eq!(fleet::due_refreshes(&bench.conn, &unknown_app, &at(bench.now)).expect("due"), []);
    bench.conn.execute("UPDATE oa SET failures = -1 WHERE oa_id = 'herd-005'", []).expect("broken");
    let statuses =
        view::statuses(&bench.conn, None, &[].into(), view::Page::WHOLE, &at(bench.now)).expect("of all");
    assert_eq!(statuses.len(), 5);
}
