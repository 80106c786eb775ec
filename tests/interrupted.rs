//! A start, a reload and an import that are killed again and again at each of their steps end as one that nobody
//! interrupted. The steps are failpoints: see `failpoints.rs`.

mod harness;

use std::os::unix::process::ExitStatusExt;

use harness::rows::*;
use harness::small_disk::SmallDisk;
use harness::together::at_each;
use harness::{Bench, QUICK, text};
use serde_json::Value;
use zalo_tokend::simulator::{Answer, Fault, Rule};

/// The steps of a start, and how often in a row it can be killed there: a slot that was cleared is so for good.
const STEPS: [(&str, u32); 9] = [
    ("recovery.begun", 3),
    ("recovery.checkpointed", 3),
    ("recovery.taken_in", 3),
    ("slot.clearing", 3),
    ("slot.cleared", 1),
    ("recovery.abandoned", 3),
    ("recovery.sized", 3),
    ("recovery.prepared", 3),
    ("start.managed", 3),
];

/// What a killed daemon left: the answer of OA 1 in its slot, and OA 2 without an answer.
async fn left_to_recover() -> (Bench, SmallDisk) {
    let bench = Bench::new().await;
    let disk = SmallDisk::under(&bench).await;
    bench.set_refresh(&QUICK.replace("\"3s\"", "\"1m\""));
    for (oa, fault) in [("1", Fault::spent(Answer::Held)), ("2", Fault::unspent(Answer::Stall))] {
        bench.simulator.fault(Rule::once(fault).for_oa(oa));
        bench.add_lone_oa(oa, A_WHILE).await;
    }
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.presentations() == 2 && ledger.spends() == 1).await;
    disk.fill().await;
    bench.simulator.release();
    bench.wait_until_served("1").await;
    daemon.kill().await;
    disk.free().await;
    (bench, disk)
}

async fn killed_at(bench: &Bench, point: &str) {
    let mut daemon = bench.spawn_with_failpoint(point, "kill", 1);
    assert_eq!(daemon.ended().await.signal(), Some(9), "{point}: {}", daemon.log());
    bench.assert_is_handed_out("1", point).await;
}

/// What the store holds, but for the times at which it was done.
async fn held(bench: &Bench) -> Vec<Value> {
    let mut held = Vec::new();
    for oa in ["1", "2"] {
        held.push(bench.status(oa).await);
        held.extend(bench.history(oa).await);
    }
    let is_told_apart = |field: &str| !field.ends_with("_at") && field != "attempt_id";
    held.iter_mut()
        .filter_map(Value::as_object_mut)
        .for_each(|row| row.retain(|field, _| is_told_apart(field)));
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn f07_a_recovery_that_is_killed_over_and_over_at_any_of_its_steps_ends_as_one_that_is_not() {
    let (bench, disk) = left_to_recover().await;
    let (state, saved) = (&disk.mount, bench.path("saved").display().to_string());
    disk.shell(&format!("cp -a {state} {saved}")).await;
    let copy = format!("rm -rf {state}/* && cp -a {saved}/. {state}/");
    let restore = || disk.shell(&copy);
    killed_at(&bench, "start.managed").await;
    let uninterrupted = held(&bench).await;
    assert_eq!(uninterrupted[0]["generation"], 2, "{uninterrupted:?}");
    for (point, times) in STEPS {
        restore().await;
        for _ in 0..times {
            killed_at(&bench, point).await;
        }
        killed_at(&bench, "start.managed").await;
        assert_eq!(held(&bench).await, uninterrupted, "{point}");
    }

    restore().await;
    for (point, _) in STEPS {
        killed_at(&bench, point).await;
    }
    assert_eq!(held(&bench).await, uninterrupted, "one step after another");
    bench.set_refresh(QUICK);
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.succeeded", "2").await;
    assert!(daemon.stop().await.success());
    bench.assert_is_handed_out("1", "after all").await;
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations_of("1"), ledger.presentations_of("2")), (1, 2), "{}", ledger.summary());
    assert_eq!((ledger.spends_of("1"), ledger.spends_of("2")), (1, 1));
    assert_clean(&ledger);
}

/// The steps of a reload.
const RELOAD: [&str; 6] =
    ["reload.read", "reload.made", "reload.grown", "reload.managed", "reload.in_force", "reload.done"];

/// A reload that is cut short at this point, while a request of OA 9 is under way.
async fn reload_is_cut_short((point, action): (&'static str, &'static str)) {
    let bench = Bench::new().await;
    bench.set_refresh(&format!("{QUICK}max_in_flight = 2\n").replace("\"3s\"", "\"1m\""));
    bench.add_granted_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)).for_oa("9"));
    bench.add_lone_oa("9", A_WHILE).await;
    let mut daemon = bench.spawn_with_failpoint(point, action, 1);
    daemon.wait_for("daemon.ready").await;
    bench.ledger_until(|ledger| ledger.spends_of("9") == 1).await;
    // More room for answers, more OAs of more apps, another secret.
    bench.set_refresh(ROOMY);
    bench.add_app("other");
    bench.add_oa_of("other", "8");
    daemon.signal(rustix::process::Signal::HUP);
    if action == "kill" {
        assert_eq!(daemon.ended().await.signal(), Some(9), "{point}: {}", daemon.log());
        daemon = bench.start().await;
        let required = daemon.wait_for_oa("oa.reauthorization_required", "9").await;
        assert_eq!(required["reason"], "response_lost", "{point}: its answer had not come");
        bench.import_with("9", "9", A_WHILE).await;
    } else {
        daemon.wait_for("config.rejected").await;
        assert_eq!(daemon.events("program.panicked").len(), 1, "{point}");
        daemon.reload().await;
        bench.simulator.release();
    }
    daemon.wait_for_oa("refresh.succeeded", "9").await;
    let answer = bench.simulator.grant("other", "8");
    bench.import("8", &answer).await;
    for oa in ["7", "8"] {
        let asked = bench.run(&["refresh", oa]).await;
        assert!(asked.status.success(), "{point} {oa}: {}", text(&asked.stderr));
        bench.assert_is_handed_out(oa, point).await;
    }
    bench.assert_is_handed_out("9", point).await;
    assert!(daemon.stop().await.success(), "{point}");
    let ledger = bench.simulator.ledger();
    assert!(ledger.spent_tokens_presented().is_empty(), "{point}: {}", ledger.summary());
    assert_clean(&ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn f24_a_reload_that_is_killed_between_its_steps_leaves_a_store_that_the_new_config_fits() {
    at_each(RELOAD.map(|point| (point, "kill")), reload_is_cut_short).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f24_a_reload_that_panics_ends_no_later_one_and_costs_no_request_under_way() {
    at_each(RELOAD.map(|point| (point, "panic")), reload_is_cut_short).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f09_an_import_that_is_killed_has_taken_the_set_or_not_and_can_be_repeated() {
    for (point, generation) in [("import.committing", 0), ("import.committed", 1)] {
        let bench = Bench::new().await;
        bench.add_oa("7");
        let answer = bench.simulator.grant("app", "7");
        let killed = bench.run_with_failpoint(point, &["import", "7"], &answer.to_string()).await;
        assert_eq!(killed.status.signal(), Some(9), "{point}");
        assert_eq!(bench.status("7").await["generation"], generation, "{point}");
        bench.import("7", &answer).await;
        assert_eq!(bench.status("7").await["generation"], 1, "{point}");
        bench.assert_is_handed_out("7", point).await;
    }
}
