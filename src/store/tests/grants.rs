//! The three months: reminders, and grants of which nobody knows whether renewals move their end.

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn old_grants(bench: &Bench, days: u32) -> Vec<String> {
    let old = ends::take_old_grants(&bench.conn, &at(START.plus(DAY * days))).expect("asked");
    old.into_iter().map(|grant| grant.oa_id.to_string()).collect()
}

/// Refreshes the OA on that day, by clocks that agree.
fn refresh(bench: &mut Bench, n: u32, day: u32) {
    bench.now = START.plus(DAY * day);
    let attempt = bench.begin();
    let concluded = bench.conclude(attempt, Verdict::Granted(tokens(n)));
    assert!(matches!(concluded.effect, Effect::Adopted { .. }));
}

#[test]
fn that_nobody_knows_the_end_of_a_grant_is_said_once_76_days_after_it() {
    let mut bench = Bench::with_a_set();
    refresh(&mut bench, 2, 50);
    assert_eq!(old_grants(&bench, 75), [""; 0]);
    assert_eq!(old_grants(&bench, 76), ["oa-1"], "a renewal is no grant");
    assert_eq!(old_grants(&bench, 77), [""; 0], "said once");
    bench.now = START.plus(DAY * 80);
    bench.import(&oa(), 3);
    assert_eq!(old_grants(&bench, 155), [""; 0], "a new grant");
    assert_eq!(old_grants(&bench, 156), ["oa-1"]);
}

#[test]
fn it_is_dropped_for_good_once_an_oa_has_lived_past_the_end_of_its_grant() {
    let mut bench = Bench::with_a_set();
    bench.import(&OaId::from("oa-2"), 20);
    for (n, day) in [(2, 60), (3, 89)] {
        refresh(&mut bench, n, day);
    }
    assert_eq!(old_grants(&bench, 89), ["oa-1", "oa-2"]);
    refresh(&mut bench, 4, 91);
    bench.now = START.plus(DAY * 100);
    bench.import(&OaId::from("oa-3"), 30);
    assert_eq!(old_grants(&bench, 400), [""; 0]);
}

#[test]
fn a_clock_that_jumped_makes_no_grant_old() {
    let bench = Bench::with_a_set();
    let attempt = bench.begin();
    let jumped = Reading { time: START.plus(DAY * 91), ..at(START.plus(HOUR)) };
    bench
        .conn
        .execute("UPDATE oa SET obtained_uptime = 3600000000, obtained_boot = 'this boot'", [])
        .expect("set");
    let attempted = Attempted {
        attempt,
        claim: None,
        started_at: START,
        obtained: Moment::at(&jumped),
        verdict: Verdict::Granted(tokens(2)),
        status: Some(200),
        answer: None,
    };
    conclude(&bench.conn, &attempted, &bench.timing, &jumped, Roll(0.5)).expect("concluded");
    let facts: u32 =
        bench.conn.query_row("SELECT count(*) FROM fact", [], |row| row.get(0)).expect("counted");
    assert_eq!(facts, 0, "nobody has lived past anything");
}

#[test]
fn an_oa_whose_app_is_held_back_is_reminded_of_though_it_is_healthy_itself() {
    let mut bench = Bench::with_a_set();
    bench.import(&OaId::from("oa-2"), 20);
    bench.now = START.plus(DAY * 85);
    let reminded = |bench: &Bench| {
        let due = ends::take_reminders(&bench.conn, &[DAY * 30, DAY * 7], &at(bench.now)).expect("asked");
        due.into_iter().map(|(oa_id, _)| oa_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(reminded(&bench), [""; 0], "both are being renewed");
    let attempt = bench.begin();
    bench.conclude(attempt, Verdict::AppRefused(ErrorCode(-14004)));
    assert_eq!(reminded(&bench), ["oa-1", "oa-2"]);
    assert_eq!(reminded(&bench), [""; 0], "each step once");
}

#[test]
fn a_grant_that_was_imported_while_the_clock_was_behind_proves_nothing_about_renewals() {
    let mut bench = Bench::new();
    let behind = Reading { time: START.minus(DAY * 365), ..at(START) };
    bench.now = behind.time;
    bench.import_obtained(&oa(), 1, Moment::at(&behind));
    for (n, hours) in [(2, 1), (3, 25), (4, 49)] {
        let now = at(START.plus(HOUR * hours));
        let Claimed::Due(claim) = claim(&bench.conn, &oa(), false, &now).expect("claimed") else {
            panic!("not due after {hours} hours")
        };
        let attempt = AttemptId::random();
        present(&bench.conn, &claim, attempt, now.time, 8, &now).expect("presented");
        let attempted = Attempted {
            attempt,
            claim: None,
            started_at: now.time,
            obtained: Moment::at(&now),
            verdict: Verdict::Granted(tokens(n)),
            status: Some(200),
            answer: None,
        };
        conclude(&bench.conn, &attempted, &bench.timing, &now, Roll(0.5)).expect("concluded");
    }
    let grant = rows::load(&bench.conn, &oa()).expect("loaded").expect("there").grant.expect("known");
    assert_eq!(grant.granted_at, START, "its dates were set with the clock");
    assert_eq!(old_grants(&bench, 76), ["oa-1"], "nobody has lived past anything");
}

#[test]
fn a_clock_that_was_ahead_for_a_minute_leaves_the_ladder_and_the_warning_whole() {
    let bench = Bench::new();
    bench.import_obtained(&oa(), 1, Moment::at(&at(START)));
    let latched =
        "UPDATE oa SET state = 'reauthorization_required', reason = 'response_lost', next_action_at = NULL";
    let ladder = [DAY * 30, DAY * 7, DAY];
    let ahead = Reading { time: START.plus(DAY * 3_650), ..at(START.plus(HOUR)) };
    assert_eq!(ends::take_old_grants(&bench.conn, &ahead).expect("asked"), []);
    bench.conn.execute(latched, []).expect("latched");
    assert_eq!(ends::take_reminders(&bench.conn, &ladder, &ahead).expect("asked"), []);
    let due = ends::take_reminders(&bench.conn, &ladder, &at(START.plus(DAY * 89))).expect("asked");
    assert_eq!(due.len(), 1, "a day before the end");
}
