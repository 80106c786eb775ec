//! A person is called in time, with a link that works.

use zalo_tokend::simulator::{Answer, Fault, Rule};

use super::assert_clean;
use super::harness::{Bench, DEADLINE, Daemon};

/// Zalo refuses this OA's refresh token.
fn refuse(bench: &Bench, oa: &str) {
    let answer = Answer::custom(200, r#"{"error":-14014,"error_name":"Invalid refresh token"}"#);
    bench.simulator.fault(Rule::once(Fault::unspent(answer)).for_oa(oa));
}

/// The link of an event that leads to consent.
async fn follow(bench: &Bench, daemon: &Daemon, link: &str, oa: &str) {
    let sent = daemon.submit(link).await;
    let permission = sent.header("location").expect("it leads to Zalo").to_owned();
    let back = bench.simulator.consent(&permission, oa);
    assert_eq!(daemon.visit(&back).await.status, 200);
    assert_eq!(bench.status(oa).await["state"], "scheduled");
}

#[tokio::test]
async fn the_call_for_a_person_carries_a_link_that_leads_to_consent() {
    let bench = Bench::new().await;
    bench.take_consent();
    bench.add_due_oa("7").await;
    refuse(&bench, "7");
    let daemon = bench.start().await;
    let call = daemon.wait_for_oa("oa.reauthorization_required", "7").await;
    assert_eq!(call["reason"], "refresh_token_rejected");
    let link = call["url"].as_str().expect("a link").to_owned();
    let asked = bench.status("7").await["reauthorization"].clone();
    assert_eq!(asked["reason"], "refresh_token_rejected");
    assert_eq!(asked["url"], link.as_str(), "whoever asks twice gets the same one");
    assert!(asked["since"].is_string() && asked["deadline"].is_string(), "{asked}");
    follow(&bench, &daemon, &link, "7").await;
    assert!(bench.status("7").await["reauthorization"].is_null());
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test]
async fn where_no_link_leads_the_call_says_what_to_do_instead() {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    refuse(&bench, "7");
    let daemon = bench.start().await;
    let call = daemon.wait_for_oa("oa.reauthorization_required", "7").await;
    assert!(call.get("url").is_none(), "{call}");
    assert!(call["message"].as_str().expect("text").contains("zalo-tokend authorize 7"), "{call}");
}

#[tokio::test]
async fn many_at_once_are_one_error_that_names_the_likely_cause_beside_the_single_calls() {
    let bench = Bench::new().await;
    bench.take_consent();
    for oa in ["1", "2", "3", "4"] {
        bench.add_due_oa(oa).await;
        refuse(&bench, oa);
    }
    let daemon = bench.start().await;
    daemon.wait_for_nth("oa.reauthorization_required", 4).await;
    let mass = daemon.wait_for("app.mass_reauthorization").await;
    assert_eq!((&mass["level"], &mass["app_id"], &mass["oas"]), (&"ERROR".into(), &"app".into(), &3.into()));
    assert!(mass["cause"].as_str().expect("text").contains("another program"), "{mass}");
    assert_eq!(daemon.events("app.mass_reauthorization").len(), 1);
}

#[tokio::test]
async fn the_reminder_before_a_refresh_token_ends_carries_a_link_that_leads_to_consent() {
    let bench = Bench::new().await;
    bench.take_consent();
    let extra = "[authorize]\nlisten = \"127.0.0.1:0\"\n[refresh_token]\nremind = [\"91d\"]\n[schedule]\naudit = \"* * * * * *\"\n";
    bench.set_extra(extra);
    bench.add_due_oa("7").await;
    refuse(&bench, "7");
    let daemon = bench.start().await;
    let reminder = daemon.wait_for_oa("refresh_token.expiring", "7").await;
    let link = reminder["url"].as_str().expect("a link").to_owned();
    follow(&bench, &daemon, &link, "7").await;
}

#[tokio::test]
async fn a_hook_is_given_the_link_as_well() {
    let bench = Bench::new().await;
    bench.take_consent();
    let told = bench.path("told.json");
    bench.set_extra(&format!(
        "[authorize]\nlisten = \"127.0.0.1:0\"\n[[publish]]\noas = [\"*\"]\nexec = [\"/bin/sh\", \"-c\", \"cat > {0}.new && mv \
         {0}.new {0}\"]\nevents = [\"oa.reauthorization_required\"]\n",
        told.display()
    ));
    bench.add_due_oa("7").await;
    refuse(&bench, "7");
    let daemon = bench.start().await;
    let call = daemon.wait_for_oa("oa.reauthorization_required", "7").await;
    let told = tokio::time::timeout(DEADLINE, async {
        loop {
            if let Ok(text) = std::fs::read_to_string(&told) {
                return serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    let told = told.await.expect("the hook is run");
    assert!(told["url"].is_string() && told["url"] == call["url"], "{told}");
}
