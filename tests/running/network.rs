//! A real network between daemon and simulator that drops, resets and swallows what it likes, and whose cable is pulled.
//! The simulator's ledger judges; what each packet met is counted by the rule that it met.

use zalo_tokend::simulator::{Answer, Fault, Rule};

use crate::harness::network::{Network, in_a_network};
use crate::harness::rows::*;
use crate::harness::{Bench, Daemon};

/// A request is given up after a second.
fn hasty() -> String {
    ROOMY.replace("timeout = \"3s\"", "timeout = \"1s\"")
}

/// What goes to the token endpoint. Questions go to another port.
fn to_tokens(bench: &Bench) -> String {
    format!("tcp dport {}", bench.simulator.addr().port())
}

/// What comes from there.
fn from_tokens(bench: &Bench) -> String {
    format!("tcp sport {}", bench.simulator.addr().port())
}

/// The packet with the last byte of a request: TCP's and IP's headers are 40 bytes, or 52 with timestamps.
fn last_byte(bench: &Bench) -> String {
    format!("{} meta length {{ 41, 53 }}", to_tokens(bench))
}

/// What carries something beyond a handshake and acknowledgements.
const CARRIES_BYTES: &str = "meta length > 60";

/// An OA that is due and whose answer waits; the daemon is past the gate.
async fn answer_held(bench: &Bench) -> Daemon {
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    bench.add_due_oa("7").await;
    let daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    daemon
}

/// One presentation brought a set that is handed out.
async fn assert_refreshed(bench: &Bench, mut daemon: Daemon) {
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    bench.assert_is_handed_out("7", "at the end").await;
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.spends()), (1, 1), "{}", ledger.summary());
    assert_clean(&ledger);
}

/// The answer is lost, and that is found out by asking.
async fn assert_lost(bench: &Bench, mut daemon: Daemon) {
    let required = daemon.wait_for_oa("oa.reauthorization_required", "7").await;
    assert_eq!(required["reason"], "response_lost");
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!((ledger.presentations(), ledger.spends()), (1, 1), "{}", ledger.summary());
    assert_clean(&ledger);
}

#[test]
fn f20_an_answer_that_the_network_drops_to_the_end_is_known_to_be_lost() {
    in_a_network(async |bench: &Bench, network: &Network| {
        bench.set_refresh(&hasty());
        let daemon = answer_held(bench).await;
        network.zalo.output(&from_tokens(bench), "drop");
        bench.simulator.release();
        daemon.wait_for_oa("refresh.uncertain", "7").await;
        network.zalo.until_met(2).await;
        assert_lost(bench, daemon).await;
    });
}

#[test]
fn i4_an_answer_that_the_network_drops_for_a_while_comes_all_the_same() {
    in_a_network(async |bench: &Bench, network: &Network| {
        bench.set_refresh(&ROOMY.replace("\"3s\"", "\"30s\""));
        let daemon = answer_held(bench).await;
        network.zalo.output(&from_tokens(bench), "drop");
        bench.simulator.release();
        // The packet, and the same sent again.
        network.zalo.until_met(3).await;
        network.zalo.lift();
        assert_refreshed(bench, daemon).await;
    });
}

#[test]
fn f22_an_answer_that_is_reset_in_its_middle_is_kept_as_far_as_it_came() {
    in_a_network(async |bench: &Bench, network: &Network| {
        bench.set_refresh(ROOMY);
        let per_byte = std::time::Duration::from_millis(2);
        bench.simulator.fault(Rule::once(Fault::spent(Answer::Dripped { per_byte })));
        bench.add_due_oa("7").await;
        // Counts, and lets everything pass.
        network.daemon.input(&format!("{} meta length 41-60", from_tokens(bench)), "accept");
        let daemon = bench.start().await;
        // Its head is shorter than that, and its body longer.
        network.daemon.until_met(120).await;
        network.zalo.input(&to_tokens(bench), "reject with tcp reset");
        daemon.wait_for_oa("refresh.uncertain", "7").await;
        assert_lost(bench, daemon).await;
        assert_eq!(bench.history("7").await[0]["answer_kept"], true);
    });
}

#[test]
fn f22_a_reset_that_meets_the_last_byte_leaves_a_token_that_is_proven_unspent() {
    in_a_network(async |bench: &Bench, network: &Network| {
        bench.set_refresh(ROOMY);
        network.zalo.input(&last_byte(bench), "reject with tcp reset");
        bench.add_due_oa("7").await;
        let daemon = bench.start().await;
        daemon.wait_for_oa("refresh.uncertain", "7").await;
        network.zalo.until_met(1).await;
        assert_eq!(bench.simulator.ledger().presentations(), 0, "the byte did not arrive");
        network.zalo.lift();
        assert_refreshed(bench, daemon).await;
    });
}

#[test]
fn f14_a_reset_of_what_comes_before_the_last_byte_costs_no_token() {
    in_a_network(async |bench: &Bench, network: &Network| {
        bench.set_refresh(ROOMY);
        let early = format!("{} {CARRIES_BYTES}", to_tokens(bench));
        network.zalo.input(&early, "reject with tcp reset");
        bench.add_due_oa("7").await;
        let daemon = bench.start().await;
        // Whichever is first, the reset or the gate.
        daemon.wait_for_either(["refresh.failed", "refresh.uncertain"], "7").await;
        assert_eq!(bench.simulator.ledger().presentations(), 0);
        network.zalo.lift();
        assert_refreshed(bench, daemon).await;
    });
}

/// Connections meet this end, until they pass again.
fn no_connection(end: &str) {
    in_a_network(async |bench: &Bench, network: &Network| {
        bench.set_refresh(&hasty());
        network.zalo.input(&format!("{} tcp flags & (syn | ack) == syn", to_tokens(bench)), end);
        bench.add_due_oa("7").await;
        let daemon = bench.start().await;
        let failed = daemon.wait_for_oa_nth("refresh.failed", "7", 2).await;
        assert_eq!(failed["class"], "not_presented", "{failed}");
        network.zalo.until_met(2).await;
        network.zalo.lift();
        assert!(daemon.events("refresh.uncertain").is_empty());
        assert_refreshed(bench, daemon).await;
    });
}

#[test]
fn f12_connections_that_the_network_resets_cost_no_token() {
    no_connection("reject with tcp reset");
}

#[test]
fn f12_connections_that_the_network_swallows_cost_no_token() {
    no_connection("drop");
}

#[test]
fn f21_a_request_that_the_network_swallowed_does_not_reach_zalo_after_it_was_given_up() {
    in_a_network(async |bench: &Bench, network: &Network| {
        bench.set_refresh(&hasty());
        network.zalo.input(&format!("{} {CARRIES_BYTES}", to_tokens(bench)), "drop");
        bench.add_due_oa("7").await;
        let daemon = bench.start().await;
        // All of it was sent, as far as the process can see.
        daemon.wait_for_oa("refresh.uncertain", "7").await;
        // What the system still held back would be sent again now.
        network.zalo.lift();
        assert_refreshed(bench, daemon).await;
    });
}

#[test]
fn i4_a_cable_that_is_pulled_for_a_moment_costs_no_answer() {
    in_a_network(async |bench: &Bench, network: &Network| {
        bench.set_refresh(&ROOMY.replace("\"3s\"", "\"30s\""));
        let daemon = answer_held(bench).await;
        network.daemon.down();
        bench.simulator.release();
        bench.ledger_until(|ledger| ledger.answers_sent() == 1).await;
        network.daemon.up();
        assert_refreshed(bench, daemon).await;
    });
}

#[test]
fn f20_a_cable_that_stays_pulled_leaves_an_uncertain_oa_that_is_asked_about_when_it_is_back() {
    in_a_network(async |bench: &Bench, network: &Network| {
        bench.set_refresh(&hasty());
        let daemon = answer_held(bench).await;
        network.daemon.down();
        bench.simulator.release();
        daemon.wait_for_oa("refresh.uncertain", "7").await;
        let probed = daemon.wait_for_oa("refresh.probed", "7").await;
        assert_eq!(probed["verdict"], "inconclusive");
        network.daemon.up();
        assert_lost(bench, daemon).await;
    });
}

#[test]
fn f12_an_oa_that_falls_due_while_a_cable_is_pulled_is_refreshed_when_it_is_back() {
    for is_own_end in [true, false] {
        in_a_network(async |bench: &Bench, network: &Network| {
            bench.set_refresh(&hasty());
            bench.add_oa("7");
            let daemon = bench.start().await;
            let end = if is_own_end { &network.daemon } else { &network.zalo };
            end.down();
            bench.import_due("7").await;
            let failed = daemon.wait_for_oa_nth("refresh.failed", "7", 2).await;
            assert_eq!(failed["class"], "not_presented", "{failed}");
            end.up();
            assert_refreshed(bench, daemon).await;
        });
    }
}
