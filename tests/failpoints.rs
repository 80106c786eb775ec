//! The running daemon is killed, or a part of it panics, at each step of a refresh, of a slot and of a question. The points
//! stand in the source as `failpoint::pass("…")`, and are in the program of the tests alone. Those of the start, of a reload
//! and of an import are passed in `interrupted.rs`, those of what is handed out in `publish/`, those of a
//! consent in `consent/`, those of a question to a vendor in `vendor/`.

mod harness;
mod source_files;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use harness::rows::*;
use harness::small_disk::bench_with_an_answer_held;
use harness::together::at_each;
use harness::{Bench, Daemon, FAILPOINT};
use source_files::source_files;
use zalo_tokend::simulator::{Answer, Fault, Kind, Ledger, Rule};

use Then::{Adopted, Person, Proven, Refreshed};

/// What becomes of the OA whose refresh was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Then {
    /// Nothing counted as presented: it is presented.
    Refreshed,
    /// It counted as presented, and Zalo said twice that it is not spent: it is presented.
    Proven,
    /// The answer was kept: it is adopted, and nothing more is presented.
    Adopted,
    /// The answer is lost, and a person is called.
    Person,
}

/// The point, its passage, and what may become of the OA.
type Row = (&'static str, u32, &'static [Then]);

/// A quick bench with an OA that is due.
async fn bench_with_a_due_oa(fault: Option<Fault>) -> Bench {
    let bench = Bench::new().await;
    bench.set_refresh(ROOMY);
    bench.simulator.fault(Rule::once(fault.unwrap_or(Fault::spent(Answer::Normal))));
    bench.add_due_oa("7").await;
    bench
}

/// What became of the OA since the ledger looked as `before`, by the ledger and by what the store holds. Whatever it was,
/// nothing was presented without proof, and what is handed out is what Zalo takes.
async fn outcome(bench: &Bench, daemon: &Daemon, before: &Ledger, what: &str) -> Then {
    let ledger = bench.simulator.ledger();
    assert_clean(&ledger);
    assert!(
        ledger.spends() == 1 && ledger.spent_tokens_presented().is_empty(),
        "{what}: {}",
        ledger.summary()
    );
    let status = bench.status("7").await;
    if status["state"] == "reauthorization_required" {
        assert_eq!(
            (&status["reason"], &status["generation"]),
            (&"response_lost".into(), &1.into()),
            "{what}"
        );
        return Person;
    }
    assert_eq!(
        (&status["state"], &status["generation"]),
        (&"scheduled".into(), &2.into()),
        "{what}: {status}"
    );
    bench.assert_is_handed_out("7", what).await;
    let is_doubted = !daemon.events_of("refresh.uncertain", "7").is_empty();
    let accepted = if ledger.presentations() > 1 {
        moments_after_first(&ledger, "7", is_accepted)
    } else {
        let since = before.entries().last().map_or(0, |entry| entry.at_ms);
        let spent_at = moments(&ledger, "7", |kind| matches!(kind, Kind::Spent { .. }))[0];
        moments(&ledger, "7", is_accepted).into_iter().filter(|at| (since..spent_at).contains(at)).collect()
    };
    match (is_doubted || ledger.presentations() > 1, before.presentations()) {
        (true, _) => {
            let span = accepted.last().zip(accepted.first()).map(|(last, first)| last - first);
            assert!(span.is_some_and(|span| span >= SETTLE_MS), "{what}: presented after {accepted:?}");
            Proven
        }
        (false, 0) => Refreshed,
        (false, _) => Adopted,
    }
}

/// Is there nothing more to be done?
async fn is_settled(bench: &Bench) -> bool {
    let status = bench.status("7").await;
    status["generation"] == 2 || status["state"] == "reauthorization_required"
}

/// Starts again what was ended, and says what becomes of the OA.
async fn outcome_after_restart(bench: &Bench, before: &Ledger, what: &str) -> Then {
    let has_ended_well = is_settled(bench).await;
    let mut daemon = bench.start().await;
    if !has_ended_well {
        daemon.wait_for_either(["refresh.succeeded", "oa.reauthorization_required"], "7").await;
    }
    assert!(daemon.stop().await.success(), "{what}");
    outcome(bench, &daemon, before, what).await
}

async fn killed(bench: Bench, (point, n, expected): Row) -> Then {
    let mut daemon = bench.spawn_with_failpoint(point, "kill", n);
    assert_eq!(daemon.ended().await.signal(), Some(9), "{point} is not passed {n} times: {}", daemon.log());
    let before = bench.simulator.ledger();
    let then = outcome_after_restart(&bench, &before, point).await;
    assert!(expected.contains(&then), "{point} {n}: {then:?}");
    then
}

async fn panicked(bench: Bench, (point, n, expected): Row) -> Then {
    let mut daemon = bench.spawn_with_failpoint(point, "panic", n);
    daemon.wait_for("program.panicked").await;
    let before = bench.simulator.ledger();
    daemon.wait_for_either(["refresh.succeeded", "oa.reauthorization_required"], "7").await;
    assert!(daemon.stop().await.success(), "{point}");
    let told = ["program.panicked", "refresh.succeeded", "oa.reauthorization_required"];
    let told = told.map(|name| daemon.events(name).len());
    assert!(told == [1, 1, 0] || told == [1, 0, 1], "{point}: {}", daemon.log());
    let then = outcome(&bench, &daemon, &before, point).await;
    assert!(expected.contains(&then), "{point} {n}: {then:?}");
    then
}

#[tokio::test(flavor = "multi_thread")]
async fn f18_killed_at_each_step_of_a_refresh_it_ends_with_a_valid_set_or_a_person_is_called() {
    let rows: [Row; 10] = [
        ("attempt.claimed", 1, &[Refreshed]),
        ("gate.asked", 1, &[Refreshed]),
        ("gate.journalled", 1, &[Proven]),
        ("gate.opened", 1, &[Proven]),
        // Whether the byte left before the process was gone is not ours to say.
        ("gate.released", 1, &[Proven, Person]),
        ("answer.begun", 1, &[Person]),
        ("answer.read", 1, &[Person]),
        ("attempt.presented", 1, &[Person]),
        ("attempt.judged", 1, &[Person]),
        ("attempt.concluded", 1, &[Adopted]),
    ];
    at_each(rows, |row| async move { killed(bench_with_a_due_oa(None).await, row).await }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f26_a_panic_at_any_step_of_an_attempt_loses_no_answer_that_was_read() {
    let rows: [Row; 11] = [
        ("attempt.claimed", 1, &[Refreshed]),
        ("gate.asked", 1, &[Refreshed]),
        ("gate.journalled", 1, &[Refreshed]),
        ("gate.opened", 1, &[Proven]),
        ("gate.released", 1, &[Proven, Person]),
        // No byte of the body was read.
        ("answer.begun", 1, &[Person]),
        ("answer.read", 1, &[Adopted]),
        ("attempt.presented", 1, &[Adopted]),
        ("attempt.judged", 1, &[Adopted]),
        // Stored, and nobody was told: that is made up for.
        ("attempt.stored", 1, &[Adopted]),
        ("attempt.concluded", 1, &[Adopted]),
    ];
    at_each(rows, |row| async move { panicked(bench_with_a_due_oa(None).await, row).await }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f26_an_answer_whose_conclusion_panics_again_and_again_is_in_its_slot_and_the_next_start_adopts_it() {
    let bench = bench_with_a_due_oa(None).await;
    let mut daemon = bench.spawn(&[(FAILPOINT, "attempt.judged=panic@1+")]);
    bench.wait_until_served("7").await;
    daemon.wait_for_nth("program.panicked", 2).await;
    assert!(daemon.events("refresh.succeeded").is_empty(), "I5: not before it is in the store");
    let before = bench.simulator.ledger();
    assert!(daemon.stop().await.success(), "nothing is lost by the stop");
    assert_eq!(outcome_after_restart(&bench, &before, "again and again").await, Adopted);
}

/// What becomes of the OA when the process ends at the n-th commit, if there are so many before the end of its refresh.
async fn ended_at_a_commit((point, action, n): (&'static str, &'static str, u32)) -> Option<Then> {
    let bench = bench_with_a_due_oa(None).await;
    let mut daemon = bench.spawn_with_failpoint(point, action, n);
    if !daemon.ends_before("refresh.succeeded").await {
        daemon.kill().await;
        return None;
    }
    let status = daemon.ended().await;
    // A panic of the thread that commits ends the process: the next one has to find the answer in its slot.
    assert_eq!(
        (status.signal(), status.code()),
        if action == "kill" { (Some(9), None) } else { (None, Some(1)) }
    );
    let before = bench.simulator.ledger();
    let is_adopted = bench.status("7").await["generation"] == 2;
    let then = outcome_after_restart(&bench, &before, &format!("{point} {action} {n}")).await;
    let may_be_lost = action == "kill" && !is_adopted;
    let expected = match (before.spends(), may_be_lost) {
        (0, _) => [Refreshed, Proven],
        (_, true) => [Person, Person],
        (_, false) => [Adopted, Adopted],
    };
    assert!(expected.contains(&then), "{point} {action} {n}: {then:?}");
    Some(then)
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_ended_before_and_after_each_commit_of_a_refresh_the_outcome_is_what_the_disk_holds() {
    let rows = ["store.committing", "store.committed"]
        .into_iter()
        .flat_map(|point| ["kill", "panic"].map(|action| (point, action)))
        .flat_map(|(point, action)| (1..=6).map(move |n| (point, action, n)));
    let then: BTreeSet<Then> = at_each(rows, ended_at_a_commit).await.into_iter().flatten().collect();
    assert_eq!(then, BTreeSet::from([Refreshed, Proven, Adopted, Person]), "no commit was left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn f46_killed_at_each_step_of_a_question_zalo_is_asked_again_and_a_verdict_that_was_stored_holds() {
    let unspent: [Row; 5] = [
        ("doubt.asked", 1, &[Proven]),
        ("doubt.asked", 2, &[Proven]),
        ("doubt.weighed", 1, &[Proven]),
        ("doubt.weighed", 2, &[Proven]),
        ("doubt.settled", 1, &[Proven]),
    ];
    let spent: [Row; 3] =
        [("doubt.asked", 1, &[Person]), ("doubt.weighed", 1, &[Person]), ("doubt.settled", 1, &[Person])];
    let rows = unspent.map(|row| (row, Fault::unspent(Answer::Reset)));
    let rows = rows.into_iter().chain(spent.map(|row| (row, Fault::spent(Answer::Reset))));
    let run = |(row, fault)| async move {
        killed(bench_with_a_due_oa(Some(fault)).await, row).await;
    };
    at_each(rows, run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f26_a_panic_while_zalo_is_asked_costs_a_question() {
    let rows: [Row; 3] =
        [("doubt.asked", 1, &[Proven]), ("doubt.weighed", 2, &[Proven]), ("doubt.settled", 1, &[Proven])];
    let run = |row| async move {
        panicked(bench_with_a_due_oa(Some(Fault::unspent(Answer::Reset))).await, row).await;
    };
    at_each(rows, run).await;
}

/// A disk that takes nothing when the answer comes, and that is free again only when the answer is in its slot, or when the
/// process has ended.
async fn ended_around_its_slot((action, (point, n, expected)): (&'static str, Row)) {
    let (bench, disk) = bench_with_an_answer_held().await;
    let mut daemon = bench.spawn_with_failpoint(point, action, n);
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    let before = bench.simulator.ledger();
    disk.fill().await;
    bench.simulator.release();
    if point.starts_with("slot.clear") {
        bench.wait_until_served("7").await;
        disk.free().await;
    }
    let what = format!("{point} {action}");
    let then = if action == "kill" {
        assert_eq!(daemon.ended().await.signal(), Some(9), "{what}: {}", daemon.log());
        if !point.starts_with("slot.clear") {
            disk.free().await;
        }
        outcome_after_restart(&bench, &before, &what).await
    } else {
        daemon.wait_for("program.panicked").await;
        if !point.starts_with("slot.clear") {
            disk.free().await;
        }
        daemon.wait_for_oa("refresh.succeeded", "7").await;
        assert!(daemon.stop().await.success(), "{what}");
        outcome(&bench, &daemon, &before, &what).await
    };
    assert!(expected.contains(&then), "{what}: {then:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_a_panic_while_its_slot_is_filled_does_not_keep_an_answer_out_of_it() {
    let (bench, disk) = bench_with_an_answer_held().await;
    let mut daemon = bench.spawn_with_failpoint("slot.filling", "panic", 1);
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    let before = bench.simulator.ledger();
    disk.fill().await;
    bench.simulator.release();
    daemon.wait_for("program.panicked").await;
    // Out of the slot: a token that only the daemon has is marked.
    bench.wait_until_durable("7").await;
    daemon.kill().await;
    disk.free().await;
    assert_eq!(outcome_after_restart(&bench, &before, "filled after the panic").await, Adopted);
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_ended_around_the_slot_an_answer_is_safe_from_the_moment_that_all_of_it_is_on_the_disk() {
    let killed: [Row; 5] = [
        ("slot.filling", 1, &[Person]),
        ("slot.unmarked", 1, &[Adopted]),
        ("slot.filled", 1, &[Adopted]),
        ("slot.clearing", 1, &[Adopted]),
        ("slot.cleared", 1, &[Adopted]),
    ];
    let panicked = killed.map(|(point, n, _)| ("panic", (point, n, &[Adopted] as &[Then])));
    at_each(killed.map(|row| ("kill", row)).into_iter().chain(panicked), ended_around_its_slot).await;
}

/// The points of the source.
fn points() -> Vec<String> {
    let mut points = Vec::new();
    for file in source_files("src") {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let named = text.split("failpoint::pass(\"").skip(1);
        points.extend(named.map(|rest| rest.split('"').next().expect("a name").to_owned()));
    }
    points
}

#[test]
fn every_point_stands_in_the_source_once_and_is_passed_in_a_test() {
    let points = points();
    let once: BTreeSet<&String> = points.iter().collect();
    assert!(once.len() == points.len() && once.len() > 20, "{points:?}");
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let texts = [
        "failpoints.rs",
        "interrupted.rs",
        "publish/file.rs",
        "publish/webhook.rs",
        "consent/crashes.rs",
        "vendor/interruptions.rs",
    ]
    .map(|file| std::fs::read_to_string(tests.join(file)).expect("a readable file"))
    .concat();
    let is_passed =
        |point: &str| [format!("\"{point}\""), format!("\"{point}=")].iter().any(|word| texts.contains(word));
    let unpassed: Vec<_> = once.iter().filter(|point| !is_passed(point)).collect();
    assert!(unpassed.is_empty(), "no test passes {unpassed:?}");
}
