//! Events to HTTP servers.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zalo_tokend::simulator::{Answer, Fault, Rule};

use super::harness::rows::ROOMY;
use super::harness::together::at_each;
use super::harness::{Bench, Daemon, FAILPOINT, lock};
use super::receiver::{Receiver, Told, taken};
use super::{events_about, hold_answer, refresh, until};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const BOTH: &str = "\"refresh.succeeded\", \"oa.reauthorization_required\"";

/// A bench that tells the receiver of these events.
async fn bench_for(receiver: &Receiver, events: &str) -> Bench {
    let bench = Bench::new().await;
    bench.write_secret("webhook", SECRET);
    bench.set_extra(&receiver.section(events));
    bench
}

/// A receiver that was told of the first refresh of an OA.
async fn told_of_a_refresh() -> (Receiver, Bench, Daemon, Told) {
    let receiver = Receiver::willing().await;
    let bench = bench_for(&receiver, BOTH).await;
    bench.add_granted_oa("7").await;
    let daemon = bench.start().await;
    refresh(&bench, "7").await;
    let told = receiver.wait_for(1).await.remove(0);
    (receiver, bench, daemon, told)
}

/// The seconds in the signature, which has to be right.
fn signed_at(told: &Told) -> i64 {
    let signature = &told.headers["x-zalo-tokend-signature"];
    let (seconds, digits) = signature
        .split_once(',')
        .and_then(|(t, v1)| Some((t.strip_prefix("t=")?, v1.strip_prefix("v1=")?)))
        .unwrap_or_else(|| panic!("{signature}"));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key");
    mac.update(format!("{seconds}.{}", told.body).as_bytes());
    let right: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digits, right);
    seconds.parse().expect("seconds")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_posted_signed_and_without_a_token() {
    let (receiver, bench, mut daemon, told) = told_of_a_refresh().await;
    assert_eq!(told.line, "POST /hook?key=1 HTTP/1.1");
    assert_eq!(told.headers["content-type"], "application/json");
    assert!(told.headers["user-agent"].starts_with("zalo-tokend/"));
    assert!(told.delivery().len() == 36 && signed_at(&told) > 1_700_000_000);
    let event = told.json();
    assert_eq!(
        (&event["event"], &event["oa_id"], &event["generation"]),
        (&"refresh.succeeded".into(), &"7".into(), &2.into())
    );
    assert!(event.get("recovered").is_none() && event.get("access_token").is_none());
    refresh(&bench, "7").await;
    let second = receiver.wait_for(2).await.remove(1);
    assert_eq!(second.json()["generation"], 3);
    assert_ne!(second.delivery(), told.delivery());
    assert!(daemon.stop().await.success());
    assert_eq!(receiver.told().len(), 2);
    assert!(!daemon.log().contains("/hook"), "what may be secret of the URL");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_comes_again_under_the_same_id_in_order_and_holds_up_no_other_oa() {
    let elsewhere = Receiver::willing().await;
    let redirect = format!("302 Found\r\nLocation: http://{}/", elsewhere.address);
    // The first try for each of these goes wrong, each in another way.
    let answers = [
        ("1", Some("500 No".to_owned())),
        ("2", Some("410 Gone".to_owned())),
        ("3", None),
        ("4", Some(redirect)),
        ("5", taken()),
    ];
    let (oas, open) = (answers.clone().map(|(oa, _)| oa), Mutex::new(BTreeMap::from(answers)));
    let receiver = Receiver::start(move |_, told| {
        let event = told.json();
        lock(&open).remove(event["oa_id"].as_str().expect("an OA")).unwrap_or_else(taken)
    })
    .await;
    let bench = bench_for(&receiver, BOTH).await;
    bench.set_refresh(ROOMY);
    for oa in oas {
        bench.add_granted_oa(oa).await;
    }
    let mut daemon = bench.start().await;
    for _ in 0..2 {
        for oa in oas {
            refresh(&bench, oa).await;
        }
    }
    let of =
        |oa: &str| -> Vec<Told> { receiver.told().into_iter().filter(|told| told.is_about(oa)).collect() };
    until("all are taken", || oas.map(|oa| of(oa).len()) == [3, 3, 3, 3, 2]).await;
    for oa in &oas[..4] {
        let told = of(oa);
        let generations: Vec<_> = told.iter().map(|told| told.json()["generation"].as_u64()).collect();
        assert_eq!(generations, [2, 2, 3].map(Some), "{oa}: the second waits for the first");
        assert_eq!(told[0].delivery(), told[1].delivery(), "{oa}");
        assert!(told.iter().all(|told| signed_at(told) > 0), "{oa}: each try is signed");
        daemon.wait_for_oa("publish.recovered", oa).await;
        assert_eq!(events_about(&daemon, "publish.failed", oa), 1);
    }
    assert!(daemon.stop().await.success());
    let failed = daemon.events("publish.failed");
    let detail =
        |oa: &str| failed.iter().find(|event| event["oa_id"] == oa).expect("told")["detail"].to_string();
    assert!(
        detail("1").contains("500") && detail("2").contains("410") && detail("4").contains("302"),
        "{failed:?}"
    );
    assert!(elsewhere.told().is_empty(), "no redirect is followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_readme_tell_a_right_signature_from_a_wrong_one() {
    if Command::new("openssl").arg("version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "openssl is missing");
        return eprintln!("without openssl nothing was tested");
    }
    let (_receiver, bench, mut daemon, told) = told_of_a_refresh().await;
    assert!(daemon.stop().await.success());
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("read");
    let commands =
        readme.split("```sh\n").find(|block| block.starts_with("t=${signature")).expect("they are there");
    let commands = commands.split("\n```").next().expect("an end");
    let verify = |secret: &str, body: &str| {
        std::fs::write(bench.path("body"), body).expect("written");
        let status = Command::new("sh")
            .args(["-euc", commands])
            .current_dir(bench.directory.path())
            .env("signature", &told.headers["x-zalo-tokend-signature"])
            .env("secret", secret)
            .status();
        status.expect("sh runs").success()
    };
    assert!(verify(SECRET, &told.body));
    assert!(!verify(&SECRET.replace('0', "1"), &told.body));
    assert!(!verify(SECRET, &told.body.replace('2', "3")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_outlives_a_kill_and_is_told_by_the_next_run_under_the_same_id() {
    let receiver =
        Receiver::start(|number, _| if number == 0 { Some("503 Later".to_owned()) } else { taken() }).await;
    let bench = bench_for(&receiver, BOTH).await;
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    refresh(&bench, "7").await;
    daemon.wait_for_oa("publish.failed", "7").await;
    daemon.kill().await;
    let mut daemon = bench.start().await;
    let told = receiver.wait_for(2).await;
    assert_eq!(told[0].delivery(), told[1].delivery());
    assert_eq!(told[0].body, told[1].body);
    assert!(daemon.stop().await.success());
}

/// What the process dies of between what is durable and the outbox, and what is told of it afterwards.
async fn lost_on_the_way((event, fault): (&'static str, Option<Fault>)) {
    let receiver = Receiver::willing().await;
    let bench = bench_for(&receiver, BOTH).await;
    bench.add_granted_oa("7").await;
    bench.add_granted_oa("8").await;
    let mut daemon = bench.start().await;
    daemon.wait_for_nth("oa.imported", 2).await;
    assert!(daemon.stop().await.success());
    if let Some(fault) = fault {
        bench.simulator.fault(Rule::once(fault).for_oa("7"));
    }
    let mut daemon = bench.spawn(&[(FAILPOINT, "publish.outbox.posting=kill@1")]);
    daemon.wait_for("daemon.ready").await;
    let generation = bench.status("7").await["generation"].as_u64().expect("a number");
    // The daemon dies meanwhile.
    bench.run(&["refresh", "7"]).await;
    assert_eq!(daemon.ended().await.signal(), Some(9), "{event}: {}", daemon.log());
    assert!(receiver.told().is_empty());
    let mut daemon = bench.start().await;
    let told = receiver.wait_for(1).await.remove(0).json();
    assert_eq!(
        (&told["event"], &told["oa_id"], &told["recovered"]),
        (&event.into(), &"7".into(), &true.into())
    );
    if event == "refresh.succeeded" {
        assert_eq!(told["generation"], generation + 1);
        assert!(told["expires_at"].is_string());
    } else {
        assert_eq!(told["reason"], "refresh_token_rejected");
    }
    // It is told once, also over another restart, and what comes after it is told as ever.
    assert!(daemon.stop().await.success());
    let mut daemon = bench.start().await;
    refresh(&bench, "8").await;
    assert!(receiver.wait_for(2).await[1].is_about("8"));
    assert!(daemon.stop().await.success());
    assert_eq!(receiver.told().len(), 2, "{:?}", receiver.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_lost_on_its_way_to_the_outbox_is_made_up_for() {
    let rejected = Fault::unspent(Answer::custom(200, r#"{"error":-14014}"#));
    at_each([("refresh.succeeded", None), ("oa.reauthorization_required", Some(rejected))], lost_on_the_way)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_webhook_that_is_gone_is_forgotten_and_without_one_nothing_is_written() {
    let receiver = Receiver::start(|_, _| None).await;
    let bench = bench_for(&receiver, "\"refresh.succeeded\", \"daemon.ready\"").await;
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    // What is about no OA is told as well.
    assert_eq!(receiver.wait_for(1).await[0].json()["event"], "daemon.ready");
    refresh(&bench, "7").await;
    refresh(&bench, "7").await;
    daemon.wait_for_oa("publish.failed", "7").await;
    assert!(daemon.stop().await.success());
    let waiting = |table: &str| -> i64 {
        let conn = rusqlite::Connection::open(bench.store()).expect("opened");
        conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("counted")
    };
    assert_eq!((waiting("outbox"), waiting("webhook")), (3, 1));
    // The publisher is gone, and all that was kept for it.
    bench.set_extra("");
    let mut daemon = bench.start().await;
    until("it is forgotten", || ["outbox", "told", "webhook"].iter().all(|table| waiting(table) == 0)).await;
    refresh(&bench, "7").await;
    assert!(daemon.stop().await.success());
    assert_eq!((waiting("outbox"), waiting("told")), (0, 0), "without a webhook nothing is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_said_during_the_stop_is_told_by_the_next_run() {
    let receiver = Receiver::willing().await;
    let bench = bench_for(&receiver, BOTH).await;
    bench.add_due_oa("7").await;
    hold_answer(&bench, "7");
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait_for("daemon.stopping").await;
    bench.simulator.release();
    assert!(daemon.ended().await.success());
    let mut daemon = bench.start().await;
    let told = receiver.wait_for(1).await;
    assert_eq!(told[0].json()["generation"], 2);
    assert!(daemon.stop().await.success());
    assert!(receiver.told().iter().all(|again| again.delivery() == told[0].delivery()), "at least once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_nobody_takes_for_a_day_is_given_up_with_an_error_and_the_next_goes_on() {
    let is_open = Arc::new(AtomicBool::new(false));
    let own = Arc::clone(&is_open);
    let receiver = Receiver::start(move |_, told| {
        let is_taken = told.json()["generation"] == 3 && own.load(Ordering::SeqCst);
        if is_taken { taken() } else { Some("500 No".to_owned()) }
    })
    .await;
    let bench = bench_for(&receiver, BOTH).await;
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    refresh(&bench, "7").await;
    refresh(&bench, "7").await;
    daemon.wait_for_oa("publish.failed", "7").await;
    assert!(daemon.stop().await.success());
    let conn = rusqlite::Connection::open(bench.store()).expect("opened");
    // As if that had gone on for a day.
    let a_day_older = "UPDATE outbox SET queued_at = queued_at - 90000000, tries = 20, next_at = queued_at \
                       WHERE next_at IS NOT NULL";
    assert_eq!(conn.execute(a_day_older, []).expect("changed"), 1);
    drop(conn);
    is_open.store(true, Ordering::SeqCst);
    let mut daemon = bench.start().await;
    let dead = daemon.wait_for_oa("publish.dead_letter", "7").await;
    assert_eq!((&dead["level"], &dead["count"]), (&"ERROR".into(), &1.into()));
    assert_eq!(dead["delivery"], receiver.told()[0].delivery());
    assert!(dead["detail"].as_str().is_some_and(|detail| detail.contains("500")), "{dead}");
    until("the next is taken", || receiver.told().last().is_some_and(|told| told.json()["generation"] == 3))
        .await;
    daemon.wait_for_oa("publish.recovered", "7").await;
    assert!(daemon.stop().await.success());
    let conn = rusqlite::Connection::open(bench.store()).expect("opened");
    let left: i64 = conn.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).expect("counted");
    assert_eq!(left, 0);
}
