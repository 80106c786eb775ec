//! One daemon a store, one attempt an OA, and imports from other processes at any moment.

mod harness;

use harness::{Bench, text};
use zalo_tokend::simulator::{Answer, Fault, Rule};

#[tokio::test(flavor = "multi_thread")]
async fn f05_a_second_daemon_on_the_store_is_refused_with_the_first_ones_pid() {
    let bench = Bench::new().await;
    bench.add_oa("7");
    let mut first = bench.start().await;
    let second = bench.run(&["run"]).await;
    assert_eq!(second.status.code(), Some(75));
    let said = text(&second.stderr);
    assert!(said.contains(&format!("pid {}", first.pid)), "{said}");
    assert!(first.is_running());
    first.kill().await;
    let mut third = bench.start().await;
    assert!(third.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_picked_up_by_the_running_daemon_also_when_its_sweep_is_rare() {
    let bench = Bench::new().await;
    bench.add_oa("7");
    bench.set_extra("[schedule]\nsweep = \"0 0 4 1 1 *\"\n");
    let mut daemon = bench.start().await;
    assert_eq!(daemon.wait_for_oa("oa.awaiting_grant", "7").await["level"], "WARN");
    bench.import_due("7").await;
    daemon.wait_for_oa("oa.imported", "7").await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    assert!(bench.simulator.ledger().is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn f43_an_import_during_a_request_wins_and_the_late_answer_is_kept_aside() {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    assert_eq!(bench.status("7").await["state"], "presenting");

    bench.import_due("7").await;
    let imported = bench.simulator.current_set("7").expect("granted").access_token.expose().to_owned();
    assert_eq!(bench.token("7").await.as_deref(), Some(imported.as_str()), "adopted at once");
    daemon.wait_for_oa("oa.imported", "7").await;
    assert_eq!(bench.simulator.ledger().presentations(), 1, "nothing is claimed until the answer came");

    bench.simulator.release();
    daemon.wait_for_oa("refresh.superseded", "7").await;
    let succeeded = daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert_eq!(succeeded["generation"], 4, "the imported set was refreshed; 2 is the number of the late one");
    assert!(daemon.stop().await.success());
    let history = bench.history("7").await;
    let aside = history.iter().find(|attempt| attempt["class"] == "superseded").expect("in the journal");
    assert_eq!(aside["answer_kept"], false, "dropped with the next whole set");
    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean(), "{}", ledger.summary());
    assert_eq!(ledger.max_under_way_of("7"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn f09_used_and_foreign_sets_are_refused_and_the_current_one_changes_nothing() {
    let bench = Bench::new().await;
    bench.add_oa("7");
    bench.add_oa("8");
    let answer = bench.simulator.grant("app", "7").to_string();
    let import = async |oa: &str| bench.run_with_input(&["import", oa], &answer).await;
    assert_eq!(import("7").await.status.code(), Some(0));
    let again = import("7").await;
    assert_eq!(again.status.code(), Some(0));
    assert!(text(&again.stdout).contains("nothing changed"));
    assert_eq!(bench.status("7").await["generation"], 1);
    let foreign = import("8").await;
    assert_eq!(foreign.status.code(), Some(1));
    assert!(text(&foreign.stderr).contains("belongs to OA 7"), "{}", text(&foreign.stderr));

    // Refreshed once, the first answer is used.
    bench.set_refresh("before_expiry = \"30d\"\njitter = \"0s\"\n");
    bench.simulator.with_variant(|variant| variant.access_token_life = std::time::Duration::from_secs(2));
    let short = bench.simulator.grant("app", "7").to_string();
    assert!(bench.run_with_input(&["import", "7"], &short).await.status.success());
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    let used = bench.run_with_input(&["import", "7"], &short).await;
    assert_eq!(used.status.code(), Some(1));
    assert!(text(&used.stderr).contains("was presented at"), "{}", text(&used.stderr));
    assert!(daemon.stop().await.success());
    assert!(bench.simulator.ledger().is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_oas_due_at_once_keep_to_max_in_flight_and_each_is_refreshed_once() {
    let bench = Bench::new().await;
    bench.set_refresh("before_expiry = \"5m\"\njitter = \"0s\"\nmax_in_flight = 4\n");
    let oas: Vec<String> = (1..=60).map(|n| n.to_string()).collect();
    for oa in &oas {
        bench.add_due_oa(oa).await;
    }
    bench.simulator.fault(Rule::forever(Fault::spent(Answer::Delayed(std::time::Duration::from_millis(20)))));
    let mut daemon = bench.start().await;
    daemon.wait_for_nth("refresh.succeeded", oas.len()).await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.spends()), (60, 60));
    assert!(ledger.max_under_way() <= 4, "{}", ledger.max_under_way());
    assert!(ledger.is_clean(), "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn f09_imports_while_refreshes_run_never_break_the_ledger() {
    let bench = Bench::new().await;
    bench.set_refresh("before_expiry = \"30d\"\njitter = \"0s\"\nsettle = \"200ms\"\nretry_first = \"50ms\"\nretry_max = \"200ms\"\n");
    bench.simulator.with_variant(|variant| variant.access_token_life = std::time::Duration::from_secs(2));
    for oa in ["1", "2", "3"] {
        bench.add_granted_oa(oa).await;
    }
    let mut daemon = bench.start().await;
    for round in 0..20 {
        let oa = ["1", "2", "3"][round % 3];
        let answer = bench.simulator.grant("app", oa);
        bench.import(oa, &answer).await;
    }
    let spends = bench.simulator.ledger().spends();
    bench.ledger_until(|ledger| ledger.spends() >= spends + 6).await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean(), "{}", ledger.summary());
    for oa in ["1", "2", "3"] {
        assert_eq!(bench.status(oa).await["state"], "scheduled");
        assert_eq!(ledger.max_under_way_of(oa), 1);
    }
}
