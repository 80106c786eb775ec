//! Clocks that jump, creep and stand still, as the verbs see them.

use super::*;

/// Both clocks, which need not agree: hours since the start.
fn clocks(by_wall: i64, by_uptime: u32) -> Reading {
    let time = Time::from_millis(START.as_millis() + by_wall * 3_600_000);
    Reading { time, uptime: Uptime(HOUR * (1_000 + by_uptime)), boot: "this boot".into() }
}

fn is_due(bench: &Bench, now: &Reading) -> bool {
    let due = bench.due_by(now).expect("due");
    let claimed = claim(&bench.conn, &oa(), false, now).expect("claimed");
    assert_eq!(!due.is_empty(), matches!(claimed, Claimed::Due(_)), "the sweep and the claim agree");
    !due.is_empty()
}

#[test]
fn a_wall_clock_that_creeps_or_jumps_back_makes_nothing_due_early_and_nothing_late() {
    let bench = Bench::with_a_set();
    for hours in [0, -1, -2, -24, -24 * 3_650] {
        assert!(!is_due(&bench, &clocks(hours, 22)), "{hours}");
        assert!(is_due(&bench, &clocks(hours, 23)), "{hours}: a token that can be renewed is");
    }
}

#[test]
fn a_wall_clock_that_jumps_forward_makes_one_early_refresh_and_no_loop() {
    let mut bench = Bench::with_a_set();
    let ten_years = 24 * 3_650;
    assert!(is_due(&bench, &clocks(ten_years, 1)));
    bench.now = clocks(ten_years, 1).time;
    let Claimed::Due(claim) = claim(&bench.conn, &oa(), false, &clocks(ten_years, 1)).expect("claimed")
    else {
        panic!("due")
    };
    let attempt = AttemptId::random();
    present(&bench.conn, &claim, attempt, bench.now, 8, &clocks(ten_years, 1)).expect("presented");
    let attempted = Attempted {
        attempt,
        claim: Some(claim),
        started_at: bench.now,
        obtained: Moment::at(&clocks(ten_years, 1)),
        verdict: Verdict::Granted(tokens(2)),
        status: Some(200),
        answer: None,
    };
    conclude(&bench.conn, &attempted, &bench.timing, &clocks(ten_years, 1), Roll(0.5)).expect("concluded");
    assert!(!is_due(&bench, &clocks(ten_years, 2)), "no loop");
    assert!(!is_due(&bench, &clocks(2, 3)), "nor when it is set right again");
    assert!(is_due(&bench, &clocks(2, 1 + 23)), "and it does not wait for ten years");
}

#[test]
fn the_next_plan_is_waited_for_by_whichever_clock_has_it_sooner() {
    let bench = Bench::with_a_set();
    let wait = |now: &Reading| fleet::until_next_due(&bench.conn, now).expect("asked").expect("planned");
    let last_hour = ..=HOUR;
    assert!(last_hour.contains(&wait(&clocks(22, 22))));
    assert!(last_hour.contains(&wait(&clocks(-24 * 3_650, 22))), "the wall clock was set back");
    assert!(last_hour.contains(&wait(&clocks(22, 1))), "it was set forward");
    assert!(!last_hour.contains(&wait(&clocks(1, 1))));
    assert!(
        last_hour.contains(&wait(&after_restart(START.plus(HOUR * 22)))),
        "after a restart there is only one"
    );
}

#[test]
fn a_suspend_counts_and_a_restart_of_the_machine_leaves_the_wall_clock_alone() {
    let bench = Bench::with_a_set();
    assert!(is_due(&bench, &clocks(72, 72)));
    let after = |hours: u32| after_restart(START.plus(HOUR * hours));
    assert!(!is_due(&bench, &after(22)) && is_due(&bench, &after(23)));
}

#[test]
fn an_end_is_not_announced_on_the_word_of_a_clock_that_jumped() {
    let bench = Bench::new();
    bench.import_obtained(&oa(), 1, Moment::at(&clocks(0, 0)));
    let expired = |now: &Reading| ends::expired(&bench.conn, now).expect("asked").len();
    assert_eq!(expired(&clocks(90_000, 1)), 0, "it is being refreshed");
    assert_eq!(expired(&clocks(26, 26)), 1);
    assert_eq!(expired(&clocks(-5, 26)), 0, "said by the wall clock, or not yet");
    bench.conn.execute("UPDATE oa SET state = 'retrying'", []).expect("changed");
    assert_eq!(expired(&clocks(90_000, 1)), 1, "what is not healthy is looked at by a person");
}

#[test]
fn a_token_is_not_handed_out_past_its_life_because_the_wall_clock_was_set_back() {
    let bench = Bench::new();
    bench.import_obtained(&oa(), 1, Moment::at(&clocks(0, 0)));
    let is_handed_out = |now: &Reading| {
        let managed = [].into();
        matches!(held::token(&bench.conn, None, &managed, &oa(), now).expect("asked"), TokenAnswer::Valid(_))
    };
    assert!(is_handed_out(&clocks(-100, 24)));
    assert!(!is_handed_out(&clocks(-100, 26)) && !is_handed_out(&clocks(26, 26)));
    assert!(is_handed_out(&after_restart(START.plus(24 * HOUR))));
}

#[test]
fn i10_a_token_that_lives_is_handed_out_although_the_wall_clock_jumped_past_its_end() {
    let bench = Bench::new();
    bench.import_obtained(&oa(), 1, Moment::at(&clocks(0, 0)));
    let ahead = clocks(90_000, 5);
    let answer = held::token(&bench.conn, None, &[].into(), &oa(), &ahead).expect("asked");
    let TokenAnswer::Valid(valid) = answer else { panic!("{answer:?}") };
    assert_eq!(valid.expires_at.since(ahead.time), 20 * HOUR, "as the wall clock has it now");
}

/// A day later by the clock that nobody sets, and by the wall clock whatever it says: what is old goes.
fn prune_a_day_later(bench: &Bench, by_wall: Time) {
    let day = day::turn(&bench.conn, by_wall, HOUR * 24).expect("turned");
    while journal::prune(&bench.conn, HOUR * 24 * 180, day).expect("pruned") > 0 {}
}

fn spend(bench: &Bench, generation: u32) {
    bench.conn.execute("UPDATE oa SET next_action_at = 0", []).expect("due");
    let attempt = bench.begin();
    bench.conclude(attempt, Verdict::Granted(tokens(generation + 1)));
}

fn assert_used_before(bench: &Bench, generations: std::ops::RangeInclusive<u32>) {
    for generation in generations {
        let imported = bench.import(&oa(), generation);
        assert!(matches!(imported, Imported::UsedBefore { .. }), "{generation}: {imported:?}");
    }
}

#[test]
fn i3_no_token_is_forgotten_because_a_clock_is_ahead_of_its_time_also_over_restarts() {
    let bench = Bench::with_a_set();
    spend(&bench, 1);
    for _ in 0..9 {
        prune_a_day_later(&bench, START.plus(HOUR * 24 * 3_650));
    }
    assert_used_before(&bench, 1..=1);
}

#[test]
fn i3_no_token_is_forgotten_because_it_was_seen_by_a_clock_that_was_behind() {
    let mut bench = Bench::with_a_set();
    prune_a_day_later(&bench, START);
    bench.now = START.minus(HOUR * 24 * 3_650);
    spend(&bench, 1);
    spend(&bench, 2);
    bench.now = START.plus(HOUR);
    prune_a_day_later(&bench, bench.now);
    assert_used_before(&bench, 1..=2);
}

#[test]
fn i3_no_token_is_forgotten_because_an_earlier_version_stamped_one_in_the_future() {
    let bench = Bench::with_a_set();
    spend(&bench, 1);
    let ahead = START.plus(HOUR * 24 * 3_650).as_millis();
    let newest = "UPDATE refresh_token SET first_seen_at = ?1 WHERE presented_by IS NULL";
    assert_eq!(bench.conn.execute(newest, [ahead]).expect("stamped"), 1);
    bench.conn.execute("DELETE FROM fact", []).expect("no day yet");
    prune_a_day_later(&bench, START.plus(HOUR * 24));
    assert_used_before(&bench, 1..=1);
}

#[test]
fn what_is_truly_old_is_forgotten() {
    let mut bench = Bench::with_a_set();
    spend(&bench, 1);
    spend(&bench, 2);
    for day in 1..=402 {
        bench.now = START.plus(HOUR * 24 * day);
        prune_a_day_later(&bench, bench.now);
    }
    assert!(matches!(bench.import(&oa(), 1), Imported::Adopted { .. }));
}

#[test]
fn a_plan_made_by_a_clock_that_was_set_back_since_is_due_now() {
    let bench = Bench::with_a_set();
    let years_ago = START.minus(HOUR * 24 * 3_650);
    let due = bench.due_by(&after_restart(years_ago)).expect("due");
    assert_eq!(due.len(), 1);
    assert_eq!(bench.due_by(&at(START)).expect("due"), []);
}
