//! Exchanges that do not go through at once.

use std::time::Duration;

use zalo_tokend::simulator::{Answer, Fault, ProbeAnswer, Rule};

use super::harness::Bench;
use super::harness::frozen::Frozen;
use super::{assert_clean, waiting};

#[tokio::test]
async fn an_answer_that_is_lost_ends_the_consent_and_its_code_is_never_presented_again() {
    let (bench, daemon) = waiting().await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Reset)));
    let back = bench.consented("7").await;
    for status in [502, 502] {
        let page = daemon.visit(&back).await;
        assert!(
            page.status == status && page.page().contains("Không nhận được câu trả lời"),
            "{}",
            page.page()
        );
    }
    assert_eq!(daemon.wait_for("consent.failed").await["why"], "answer_lost");
    assert_eq!(bench.history("7").await[0]["class"], "answer_lost");
    assert_eq!(bench.simulator.ledger().presentations(), 1);
    assert_eq!(daemon.visit(&bench.consented("7").await).await.status, 200, "one more click mends it");
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test]
async fn where_zalo_cannot_be_reached_the_code_is_unspent_and_the_page_may_be_loaded_again() {
    let (bench, daemon) = waiting().await;
    let back = bench.consented("7").await;
    bench.simulator.go_down().await;
    // Bound and not listened at: nobody else gets it meanwhile, and whoever connects is refused at once.
    let held = tokio::net::TcpSocket::new_v4().expect("a socket");
    held.set_reuseaddr(true).expect("set");
    held.bind(bench.simulator.addr()).expect("it is free");
    let page = daemon.visit(&back).await;
    assert!(
        page.status == 502 && page.page().contains("Chưa liên lạc được"),
        "{} {}",
        page.status,
        daemon.log()
    );
    daemon.wait_for("consent.postponed").await;
    drop(held);
    bench.simulator.come_up().await.expect("nobody else has it");
    for (status, body) in [(429, ""), (200, r#"{"error":-14004}"#)] {
        bench.simulator.fault(Rule::once(Fault::unspent(Answer::custom(status, body))));
        assert_eq!(daemon.visit(&back).await.status, 502);
    }
    assert_eq!(daemon.visit(&back).await.status, 200);
    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean(), "{}", ledger.summary());
    assert_eq!(ledger.codes_spent(), 1);
}

#[tokio::test]
async fn a_set_of_which_zalo_cannot_say_whose_it_is_waits_over_a_restart_and_then_counts() {
    let (bench, mut daemon) = waiting().await;
    bench.simulator.with_variant(|variant| variant.probe = ProbeAnswer::Down);
    let back = bench.consented("7").await;
    let page = daemon.visit(&back).await;
    assert!(page.status == 202 && page.page().contains("Đang kiểm tra"), "{}", page.page());
    daemon.wait_for("consent.unverified").await;
    assert_eq!(bench.token("7").await, None, "it does not count");
    daemon.kill().await;
    let daemon = bench.start().await;
    assert_eq!(daemon.visit(&back).await.status, 202);
    daemon.wait_for("consent.unverified").await;
    bench.simulator.with_variant(|variant| variant.probe = ProbeAnswer::Answers);
    daemon.wait_for_oa("consent.granted", "7").await;
    assert_eq!(bench.status("7").await["state"], "scheduled");
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test]
async fn a_code_waits_for_a_refresh_under_way_and_wins_over_it() {
    let bench = Bench::new().await;
    bench.take_consent();
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Delayed(Duration::from_secs(1)))));
    let daemon = bench.start().await;
    daemon.wait_for("refresh.started").await;
    let back = bench.consented("7").await;
    assert_eq!(daemon.visit(&back).await.status, 200);
    let status = bench.status("7").await;
    assert_eq!((status["state"].as_str(), status["generation"].as_u64()), (Some("scheduled"), Some(3)));
    let current = bench.simulator.current_set("7").expect("granted");
    assert_eq!(bench.token("7").await.as_deref(), Some(current.access_token.expose()));
    let ledger = bench.simulator.ledger();
    assert_clean(&ledger);
    assert_eq!(ledger.max_under_way_of("7"), 1);
}

#[tokio::test]
async fn a_stop_waits_for_a_code_that_is_past_the_gate_and_its_answer_is_kept() {
    let (bench, mut daemon) = waiting().await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let visit = daemon.begin_visit(&bench.consented("7").await).await;
    bench.ledger_until(|ledger| ledger.codes_spent() == 1).await;
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait_for("daemon.stopping").await;
    bench.simulator.release();
    assert!(daemon.ended().await.success());
    drop(visit);
    let has_asked = !daemon.events("consent.granted").is_empty();
    let daemon = bench.start().await;
    if !has_asked {
        daemon.wait_for_oa("consent.granted", "7").await;
    }
    assert_eq!(bench.status("7").await["state"], "scheduled");
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_while_the_store_hangs_the_answer_is_in_its_slot_and_counts_after_the_next_start() {
    let (bench, mut daemon) = waiting().await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let visit = daemon.begin_visit(&bench.consented("7").await).await;
    bench.ledger_until(|ledger| ledger.codes_spent() == 1).await;
    let frozen = Frozen::thread(daemon.pid, "store");
    bench.simulator.release();
    bench.wait_until_a_slot_is_filled(&daemon).await;
    daemon.signal(rustix::process::Signal::KILL);
    // Nothing of it goes on: what is killed does not wake up.
    drop(frozen);
    daemon.ended().await;
    drop(visit);
    let daemon = bench.start().await;
    daemon.wait_for_oa("consent.granted", "7").await;
    assert_eq!(bench.status("7").await["state"], "scheduled");
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_zalo_to_say_whose_a_set_is() {
    let (bench, mut daemon) = waiting().await;
    // It takes questions and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let elsewhere = format!("http://{}", silent.local_addr().expect("bound"));
    let config = std::fs::read_to_string(bench.config()).expect("written");
    std::fs::write(
        bench.config(),
        config.replace(
            &format!("api_url = \"{}\"", bench.simulator.api_url()),
            &format!("api_url = \"{elsewhere}\""),
        ),
    )
    .expect("written");
    daemon.reload().await;
    let visit = daemon.begin_visit(&bench.consented("7").await).await;
    let asked = tokio::time::timeout(super::harness::DEADLINE, silent.accept()).await.expect("in time");
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.ended().await.success(), "{}", daemon.log());
    drop((visit, asked));
    bench.write_config();
    let daemon = bench.start().await;
    daemon.wait_for_oa("consent.granted", "7").await;
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_hangs_no_number_of_visitors_is_kept_waiting() {
    let (_bench, daemon) = waiting().await;
    let forged = "/cb?code=x&state=AAAAAAAAAAAAAAAAAAAAAA&oa_id=7";
    assert_eq!(daemon.visit(forged).await.status, 404);
    let frozen = Frozen::thread(daemon.pid, "store");
    // Each of them waits a moment and goes away. Whoever is one too many is told so.
    let mut told = None;
    for _ in 0..600 {
        let visit = daemon.visit(forged);
        told = tokio::time::timeout(Duration::from_millis(20), visit).await.ok();
        if told.is_some() {
            break;
        }
    }
    assert_eq!(told.expect("somebody is turned away").status, 503);
    drop(frozen);
    daemon.wait_for("consent.refused").await;
}

#[tokio::test]
async fn a_set_that_comes_for_an_oa_that_left_the_config_meanwhile_waits_until_it_is_back() {
    let (bench, daemon) = waiting().await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let visit = daemon.begin_visit(&bench.consented("7").await).await;
    bench.ledger_until(|ledger| ledger.codes_spent() == 1).await;
    bench.remove_oa("7");
    daemon.reload().await;
    bench.simulator.release();
    daemon.wait_for_oa("consent.unverified", "7").await;
    bench.add_oa("7");
    daemon.reload().await;
    daemon.wait_for_oa("consent.granted", "7").await;
    drop(visit);
    assert_eq!(bench.status("7").await["state"], "scheduled");
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test]
async fn an_address_that_somebody_else_has_is_listened_at_as_soon_as_it_is_free() {
    let bench = Bench::new().await;
    bench.take_consent();
    bench.add_oa("7");
    let others = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = others.local_addr().expect("an address");
    bench.set_extra(&format!("[authorize]\nlisten = \"{address}\"\n"));
    let daemon = bench.start().await;
    daemon.wait_for("authorize.unavailable").await;
    drop(others);
    daemon.wait_for("authorize.listening").await;
}
