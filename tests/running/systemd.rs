//! What the service manager hears, at a socket of the test's own, and that nothing depends on there being one.

use std::time::Duration;

use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use zalo_tokend::simulator::{Answer, Fault, Rule};

use crate::harness::fake_clock::FakeClock;
use crate::harness::frozen::Frozen;
use crate::harness::manager::Manager;
use crate::harness::rows::*;
use crate::harness::small_disk::{SmallDisk, killed_with_an_answer_in_its_slot};
use crate::harness::{Bench, QUICK};

const READY: &str = "READY=1";
const ALIVE: &str = "WATCHDOG=1";
const MORE_TIME: &str = "EXTEND_TIMEOUT_USEC=60000000";

/// Fed thrice in this time, so that two seconds of a slow machine are forgiven.
const WATCHDOG: Duration = Duration::from_secs(3);

fn monotonic_usec() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1_000).expect("after the start")
}

/// The value of a message's line, which is there once.
fn value<'m>(message: &'m str, key: &str) -> &'m str {
    let mut values = message.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("no {key} in {message:?}"));
    assert_eq!(values.next(), None, "{message:?}");
    value
}

/// Nothing but what sd_notify(3) knows, and no line that a name or an error smuggled in.
fn assert_well_formed(manager: &Manager) {
    let known =
        ["READY", "RELOADING", "MONOTONIC_USEC", "STATUS", "WATCHDOG", "STOPPING", "EXTEND_TIMEOUT_USEC"];
    for message in manager.messages() {
        for line in message.lines() {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{message:?}"));
            assert!(known.contains(&key) && !value.contains(char::is_control), "{message:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_is_said_once_the_recovery_is_done_and_the_start_asks_for_time_until_then() {
    let (bench, disk) = killed_with_an_answer_in_its_slot().await;
    let manager = Manager::beside(&bench);
    let mut daemon = manager.spawn(&bench, Duration::from_millis(300));
    daemon.wait_for("store.failed").await;
    manager.wait_for_more(MORE_TIME, 3).await;
    assert!(manager.with_line(READY).is_empty(), "{:?}", manager.messages());
    let waits = |message: &String| message.starts_with("STATUS=the start waits for the store: ");
    assert_eq!(manager.messages().iter().filter(|message| waits(message)).count(), 1);
    disk.free().await;
    let ready = manager.wait_for_nth(READY, 1).await;
    assert_eq!(bench.status("7").await["generation"], 2, "what the slot held is taken in");
    assert!(value(&ready, "STATUS").starts_with("1 OA: 1 "), "{ready:?}");
    assert!(daemon.stop().await.success());
    assert_well_formed(&manager);
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_said_with_its_time_and_is_over_with_ready_also_when_the_file_is_rejected() {
    let bench = Bench::new().await;
    let manager = Manager::beside(&bench);
    bench.add_granted_oa("7").await;
    let mut daemon = manager.spawn(&bench, WATCHDOG);
    manager.wait_for_nth(READY, 1).await;
    let good = std::fs::read_to_string(bench.config()).expect("read");
    for (n, is_good) in [(1, true), (2, false), (3, true)] {
        bench.write_whole_config(if is_good { &good } else { "[store]\npath = 7\n" });
        let before = monotonic_usec();
        if is_good {
            daemon.reload().await
        } else {
            daemon.reload_in_vain().await
        };
        let ready = manager.wait_for_nth(READY, n + 1).await;
        let reloading = manager.with_line("RELOADING=1").get(n - 1).expect("said before").1.clone();
        let at: u64 = value(&reloading, "MONOTONIC_USEC").parse().expect("a number");
        assert!((before..=monotonic_usec()).contains(&at), "{before} {at}");
        assert!(value(&ready, "STATUS").starts_with("1 OA: 1 scheduled"), "{ready:?}");
    }
    let order: Vec<String> = manager
        .messages()
        .iter()
        .filter_map(|message| message.lines().next().map(str::to_owned))
        .filter(|first| [READY, "RELOADING=1"].contains(&first.as_str()))
        .collect();
    assert_eq!(order.join(" "), "READY=1 RELOADING=1 READY=1 RELOADING=1 READY=1 RELOADING=1 READY=1");
    assert!(daemon.stop().await.success());
    assert_well_formed(&manager);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_fed_while_the_disk_is_full_and_an_answer_waits_for_it() {
    let bench = Bench::new().await;
    let disk = SmallDisk::under(&bench).await;
    let manager = Manager::beside(&bench);
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let mut daemon = manager.spawn(&bench, WATCHDOG);
    manager.wait_for_nth(READY, 1).await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    disk.fill().await;
    bench.simulator.release();
    daemon.wait_for("store.failed").await;
    manager.wait_for_more(ALIVE, 4).await;
    manager.wait_for_status("the store takes no writes: database or disk is full; 1 OA: 1 presenting").await;
    disk.free().await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    manager.wait_for_status("1 OA: 1 ").await;
    manager.wait_for_more(ALIVE, 1).await;
    assert!(manager.longest_gap(ALIVE) < WATCHDOG, "{:?}", manager.longest_gap(ALIVE));
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_fed_while_another_program_holds_the_store() {
    let bench = Bench::new().await;
    let manager = Manager::beside(&bench);
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let mut daemon = manager.spawn(&bench, WATCHDOG);
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    let lock = rusqlite::Connection::open(bench.store()).expect("opened");
    lock.execute_batch("BEGIN IMMEDIATE").expect("locked");
    bench.simulator.release();
    // A write waits five seconds for the lock.
    daemon.wait_for("store.failed").await;
    manager.wait_for_more(ALIVE, 1).await;
    lock.execute_batch("ROLLBACK").expect("let go");
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(manager.longest_gap(ALIVE) < WATCHDOG, "{:?}", manager.longest_gap(ALIVE));
    assert!(daemon.stop().await.success());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_store_hangs_is_fed_only_while_a_request_is_under_way() {
    // Thirty seconds pass for the daemon in one, so that it need not hang for a minute.
    let fed_for = async |is_under_way: bool| {
        let bench = Bench::new().await;
        bench.set_refresh(&QUICK.replace("timeout = \"3s\"", "timeout = \"10m\""));
        FakeClock::hurry(&bench, 30)?;
        let manager = Manager::beside(&bench);
        if is_under_way {
            bench.add_due_oa("7").await;
            bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
        }
        let daemon = manager.spawn(&bench, 3 * WATCHDOG);
        // A start says that it is alive as well, as long as it takes.
        daemon.wait_for("daemon.ready").await;
        manager.wait_for_more(ALIVE, 3).await;
        if is_under_way {
            bench.ledger_until(|ledger| ledger.spends() == 1).await;
        }
        let frozen = Frozen::thread(daemon.pid, "store");
        if is_under_way {
            // Four seconds are two of its minutes.
            tokio::time::sleep(Duration::from_secs(4)).await;
            manager.wait_for_more(ALIVE, 2).await;
        } else {
            manager.wait_for_silence(ALIVE, Duration::from_secs(3)).await;
        }
        drop(frozen);
        manager.wait_for_more(ALIVE, 2).await;
        bench.simulator.release();
        let mut daemon = daemon;
        assert!(daemon.stop().await.success());
        Some(bench.simulator.ledger())
    };
    let (Some(idle), Some(busy)) = tokio::join!(fed_for(false), fed_for(true)) else { return };
    assert_clean(&idle);
    assert_clean(&busy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_said_and_asks_for_time_while_a_request_is_under_way() {
    let bench = Bench::new().await;
    let manager = Manager::beside(&bench);
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let mut daemon = manager.spawn(&bench, Duration::from_millis(300));
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    assert!(manager.with_line("STOPPING=1").is_empty());
    daemon.signal(Signal::TERM);
    manager.wait_for_nth("STOPPING=1", 1).await;
    manager.wait_for_more(MORE_TIME, 3).await;
    manager.wait_for_more(ALIVE, 3).await;
    bench.simulator.release();
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert_eq!(manager.with_line("STOPPING=1").len(), 1);
    assert_well_formed(&manager);
    bench.assert_is_handed_out("7", "stored").await;
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_depends_on_a_manager_that_is_not_there_or_does_not_listen() {
    let bench = Bench::new().await;
    bench.add_granted_oa("7").await;
    let nobody = bench.path("nobody.sock");
    let nobody = nobody.to_str().expect("text");
    let fed = ("WATCHDOG_USEC", "300000");
    for variables in [&[fed][..], &[fed, ("NOTIFY_SOCKET", "")], &[fed, ("NOTIFY_SOCKET", nobody)]] {
        let mut daemon = bench.spawn(variables);
        daemon.wait_for("daemon.ready").await;
        daemon.reload().await;
        assert!(bench.run(&["refresh", "7"]).await.status.success());
        assert!(daemon.stop().await.success());
        assert!(
            !daemon.log().contains("\"WARN\"") && !daemon.log().contains("\"ERROR\""),
            "{}",
            daemon.log()
        );
    }
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_of_another_process_is_not_fed_and_ones_own_is() {
    for (whose, is_fed) in [("1", false), ("$$", true)] {
        let bench = Bench::new().await;
        let manager = Manager::beside(&bench);
        let script = format!("WATCHDOG_PID={whose} exec \"$0\" \"$@\"");
        *bench.prefix.lock().expect("not poisoned") = vec!["sh".to_owned(), "-c".to_owned(), script];
        bench.set_extra("[schedule]\nheartbeat = \"* * * * * *\"\n");
        let mut daemon = manager.spawn(&bench, Duration::from_millis(300));
        daemon.wait_for_nth("fleet.heartbeat", 2).await;
        assert!(daemon.stop().await.success());
        assert_eq!(!manager.with_line(ALIVE).is_empty(), is_fed, "{:?}", manager.messages());
        assert_well_formed(&manager);
    }
}
