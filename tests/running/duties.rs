//! The recurring duties, by their cron expressions.

use zalo_tokend::simulator::{Answer, Fault, Rule};

use crate::harness::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn the_heartbeat_counts_the_fleet_by_state() {
    let bench = Bench::new().await;
    bench.set_extra("[schedule]\nheartbeat = \"* * * * * *\"\n");
    bench.add_granted_oa("7").await;
    bench.add_oa("8");
    let mut daemon = bench.start().await;
    let heartbeat = daemon.wait_for_nth("fleet.heartbeat", 2).await;
    assert_eq!((&heartbeat["scheduled"], &heartbeat["awaiting_grant"]), (&1.into(), &1.into()));
    assert_eq!(heartbeat["lines_dropped"], 0);
    assert_eq!(heartbeat["next_refresh_at"], bench.status("7").await["next_refresh_at"]);
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_the_ladder_is_said_once_for_an_oa_that_nobody_renews_also_over_a_restart() {
    let bench = Bench::new().await;
    bench.set_extra(
        "[schedule]\naudit = \"* * * * * *\"\nheartbeat = \"* * * * * *\"\n[refresh_token]\nlifetime = \"10d\"\nremind = [\"30d\", \"14d\", \"7d\"]\n",
    );
    bench.add_due_oa("7").await;
    bench.add_granted_oa("8").await;
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::custom(200, r#"{"error":-14014}"#))));
    let mut daemon = bench.start().await;
    let expiring = daemon.wait_for("refresh_token.expiring").await;
    assert_eq!((&expiring["oa_id"], &expiring["step"]), (&"7".into(), &"14d 0h".into()));
    assert_eq!(expiring["level"], "WARN");
    daemon.wait_for_nth("fleet.heartbeat", 3).await;
    assert!(daemon.stop().await.success());
    assert_eq!(daemon.events("refresh_token.expiring").len(), 1);

    let mut daemon = bench.start().await;
    daemon.wait_for_nth("fleet.heartbeat", 3).await;
    assert!(daemon.stop().await.success());
    assert!(daemon.events("refresh_token.expiring").is_empty(), "it was said before the restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_that_ends_without_successor_is_said_once() {
    let bench = Bench::new().await;
    bench.set_extra("[schedule]\nheartbeat = \"* * * * * *\"\n");
    bench.simulator.with_variant(|variant| variant.access_token_life = std::time::Duration::from_secs(3));
    bench.simulator.fault(Rule::forever(Fault::unspent(Answer::custom(200, r#"{"error":-14014}"#))));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    let expired = daemon.wait_for_oa("access_token.expired", "7").await;
    assert_eq!(expired["level"], "ERROR");
    assert_eq!(expired["since"], bench.status("7").await["access_token_expires_at"]);
    assert_eq!(bench.token("7").await, None);
    let heartbeats = daemon.events("fleet.heartbeat").len();
    daemon.wait_for_nth("fleet.heartbeat", heartbeats + 3).await;
    assert_eq!(daemon.events("access_token.expired").len(), 1);
    assert!(daemon.stop().await.success());
}
