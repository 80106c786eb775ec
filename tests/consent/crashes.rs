//! The daemon is killed, or a part of it panics, at each step of the exchange of a code.

use std::os::unix::process::ExitStatusExt;

use super::harness::together::at_each;
use super::harness::{Bench, Daemon};
use super::{assert_clean, waiting};

/// What becomes of a consent that was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Its code was not presented: the page may be loaded again.
    StillOpen,
    /// Its code counts as presented, and no answer was kept: one more click.
    Lost,
    /// What came is kept, and counts.
    Granted,
}
use Then::{Granted, Lost, StillOpen};

/// The point, and what may become of the consent.
type Row = (&'static str, &'static [Then]);

const STEPS: [Row; 14] = [
    ("consent.claimed", &[StillOpen]),
    ("gate.asked", &[StillOpen]),
    ("gate.journalled", &[Lost]),
    ("gate.opened", &[Lost]),
    ("gate.released", &[Lost]),
    ("answer.begun", &[Lost]),
    ("answer.read", &[Lost]),
    ("attempt.presented", &[Lost]),
    ("attempt.judged", &[Lost]),
    ("attempt.stored", &[Granted]),
    ("attempt.concluded", &[Granted]),
    ("consent.exchanged", &[Granted]),
    ("consent.asked", &[Granted]),
    ("consent.adopted", &[Granted]),
];

/// A daemon, in whose program something happens at this point, and an address to come back by.
async fn about_to(point: &str, action: &str) -> (Bench, Daemon, String) {
    let (bench, mut daemon) = waiting().await;
    let back = bench.consented("7").await;
    assert!(daemon.stop().await.success());
    let daemon = bench.spawn_with_failpoint(point, action, 1);
    daemon.wait_for("daemon.ready").await;
    (bench, daemon, back)
}

/// What became of it, by the page that is loaded again, and by the ledger.
async fn outcome(bench: &Bench, daemon: &Daemon, back: &str, what: &str) -> Then {
    // What waits to be verified is verified at the start.
    let mut page = daemon.visit(back).await;
    if page.status == 202 {
        daemon.wait_for_oa("consent.granted", "7").await;
        page = daemon.visit(back).await;
    }
    let spent = bench.simulator.ledger().codes_spent();
    let text = page.page();
    let then = match page.status {
        200 if text.contains("Đã cấp quyền xong") => StillOpen,
        200 => Granted,
        502 => Lost,
        status => panic!("{what}: {status} {text}"),
    };
    match then {
        StillOpen | Granted => assert_eq!(spent, 1, "{what}"),
        Lost => {
            assert!(spent <= 1, "{what}");
            assert_eq!(bench.status("7").await["state"], "awaiting_grant", "{what}");
            assert_eq!(daemon.visit(&bench.consented("7").await).await.status, 200, "{what}: one more click");
        }
    }
    let status = bench.status("7").await;
    assert_eq!(
        (&status["state"], &status["generation"]),
        (&"scheduled".into(), &1.into()),
        "{what}: {status}"
    );
    let current = bench.simulator.current_set("7").expect("granted");
    assert_eq!(bench.token("7").await.as_deref(), Some(current.access_token.expose()), "{what}");
    assert_clean(&bench.simulator.ledger());
    then
}

async fn killed_at((point, may_be): Row) {
    let (bench, mut daemon, back) = about_to(point, "kill").await;
    let visit = daemon.begin_visit(&back).await;
    assert_eq!(daemon.ended().await.signal(), Some(9), "{point}: {}", daemon.log());
    drop(visit);
    let daemon = bench.start().await;
    let then = outcome(&bench, &daemon, &back, point).await;
    assert!(may_be.contains(&then), "{point}: {then:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_of_an_exchange_no_code_is_presented_twice_and_no_answer_that_was_stored_is_lost()
{
    at_each(STEPS, killed_at).await;
}

async fn panicked_at((point, _): Row) {
    let (bench, daemon, back) = about_to(point, "panic").await;
    let visit = daemon.begin_visit(&back).await;
    daemon.wait_for("program.panicked").await;
    drop(visit);
    let what = format!("panic at {point}");
    // The page is loaded again until the exchange, which goes on in another task, has come to its end.
    let page = daemon.visit_until_over(&back).await;
    let text = page.page();
    assert!(matches!(page.status, 200 | 502), "{what}: {} {text}", page.status);
    outcome(&bench, &daemon, &back, &what).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_panics_in_an_exchange_what_came_is_kept_and_no_code_is_presented_twice() {
    at_each(STEPS, panicked_at).await;
}

#[tokio::test]
async fn killed_while_a_set_of_another_oa_is_kept_aside_it_is_kept_aside_after_the_next_start() {
    let (bench, mut daemon) = waiting().await;
    bench.simulator.administers("app", "8");
    let others = bench.simulator.consent(&bench.permission("7").await, "8").replace("oa_id=8", "oa_id=7");
    assert!(daemon.stop().await.success());
    let mut daemon = bench.spawn_with_failpoint("consent.refused", "kill", 1);
    daemon.wait_for("daemon.ready").await;
    let visit = daemon.begin_visit(&others).await;
    assert_eq!(daemon.ended().await.signal(), Some(9));
    drop(visit);
    let daemon = bench.start().await;
    assert_eq!(daemon.visit(&others).await.status, 409);
    assert_eq!(bench.status("7").await["state"], "awaiting_grant");
    assert_clean(&bench.simulator.ledger());
}
