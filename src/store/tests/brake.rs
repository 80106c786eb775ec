//! The window and the brake, as the verbs hold them.

use super::*;
use crate::store::{Due, Hurried};

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
        let under_way = under_way.iter().map(|due| (due.oa_id.clone(), due.app_id.clone())).collect();
        fleet::due_refreshes(&self.conn, &under_way, 100, 8, &at(self.now)).expect("due")
    }

    fn try_to_present(&self, oa_id: &OaId) -> (AttemptId, Journalled) {
        let Claimed::Due(claim) = claim(&self.conn, oa_id, &at(self.now)).expect("claimed") else {
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
        let is_free = |oa_id: &OaId| matches!(claim(&self.conn, oa_id, &at(self.now)), Ok(Claimed::Due(_)));
        let mut herd = (1..=50).map(|n| OaId::from(format!("herd-{n:03}")));
        self.try_to_present(&herd.find(is_free).expect("one is left")).1
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
    let free_for_one = fleet::due_refreshes(&bench.conn, &[].into(), 1, 8, &at(bench.now)).expect("due");
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
        let abandoned = settle::abandon_presenting(&bench.conn, None, &bench.timing, &now, &mut || Roll(0.5))
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
        matches!(claim(&bench.conn, &oa(), &at(bench.now)), Ok(Claimed::NotNow)),
        "it was refreshed since"
    );
    assert_eq!(hurry(2), Hurried::Due);
    assert!(matches!(claim(&bench.conn, &oa(), &at(bench.now)), Ok(Claimed::Due(_))));
}

#[test]
fn a_blocked_and_braked_app_waits_for_both() {
    let mut bench = Bench::with_a_herd(5);
    let attempt = bench.present_one(&OaId::from("herd-001"));
    bench.conclude(attempt, unknown());
    let attempt = bench.present_one(&OaId::from("herd-002"));
    assert_eq!(bench.conclude(attempt, Verdict::AppRefused(ErrorCode(-14004))).app, AppChange::Blocked);
    apps::allow_trials(&bench.conn, None, bench.now).expect("allowed");
    let due = bench.due_beside(&[]);
    assert_eq!(due.len(), 1, "a start allows one trial");
    let attempt = bench.present_one(&due[0].oa_id);
    assert!(matches!(bench.conclude(attempt, unknown()).app, AppChange::Braked { .. }));
    apps::allow_trials(&bench.conn, None, bench.now).expect("allowed");
    assert_eq!(bench.due_beside(&[]), [], "a start allows no trial under a brake");
    bench.now = bench.trial_at();
    assert_eq!(bench.due_beside(&[]).len(), 1);
}
