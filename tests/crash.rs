//! kill -9 at any moment, over and over, judged by the ledger.

#[path = "wire/full.rs"]
mod full;
mod harness;

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{Bench, DEADLINE, Daemon};
use rustix::process::Signal;
use serde_json::Value;
use zalo_tokend::simulator::{Answer, Fault, Ledger, Rule};

const OAS: [&str; 8] = ["1", "2", "3", "4", "5", "6", "7", "8"];
/// The timings under which the OAs are refreshed on and on.
const BUSY: &str = r#"before_expiry = "30d"
jitter = "1s"
settle = "100ms"
retry_first = "50ms"
retry_max = "200ms"
timeout = "5s"
"#;
/// A kill that waits this long for its moment comes all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the environment has under this name, as a number.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a whole number"))
}

/// How many kills: as many as somebody asks for, else as many as there is time for.
fn kills() -> usize {
    let in_ci = if std::env::var_os("CI").is_some() { 200 } else { 25 };
    number("ZALO_TOKEND_KILLS").map_or(in_ci, |count| usize::try_from(count).expect("not that many"))
}

/// Where the dice begin. Says so when the test fails.
struct Seed(u64);

impl Seed {
    fn of_this_run() -> Seed {
        Seed(number("ZALO_TOKEND_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000)))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the moments of the kills: ZALO_TOKEND_SEED={}", self.0);
        }
    }
}

/// Where in the life of a refresh, of a start or of a reload a kill comes.
#[derive(Clone, Copy, Debug)]
struct Moment {
    kind: u8,
    /// How many of what it waits for come before.
    skip: usize,
    /// How long after the last of them.
    delay: Duration,
}

impl Moment {
    fn roll(dice: &mut fastrand::Rng) -> Moment {
        let delay = Duration::from_micros(dice.u64(..20_000));
        Moment { kind: dice.u8(..7), skip: dice.usize(..4), delay }
    }

    async fn comes(self, bench: &Bench, daemon: &Daemon, before: &Ledger) {
        let skip = self.skip;
        match self.kind {
            // The answer is made and not delivered.
            0 => drop(bench.ledger_until(|now| now.spends() > before.spends() + skip).await),
            // A request has just arrived whole.
            1 => drop(bench.ledger_until(|now| now.presentations() > before.presentations() + skip).await),
            // A connection has just come.
            2 => drop(bench.ledger_until(|now| now.connections() > before.connections() + skip).await),
            // A question was answered.
            3 => drop(bench.ledger_until(|now| now.probes() > before.probes()).await),
            // A set has just been stored, others are on the way.
            4 => drop(daemon.wait_for_nth("refresh.succeeded", skip + 1).await),
            // During the recovery.
            5 => drop(daemon.wait_for("daemon.started").await),
            // During a reload.
            _ => {
                daemon.wait_for("daemon.ready").await;
                bench.set_refresh(&format!("{BUSY}max_in_flight = {}\n", 4 + skip));
                daemon.signal(Signal::HUP);
            }
        }
        tokio::time::sleep(self.delay).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_under_load_lose_nothing_that_was_received_and_present_nothing_twice() {
    let seed = Seed::of_this_run();
    let mut dice = fastrand::Rng::with_seed(seed.0);
    let kills = kills();
    let bench = Bench::new().await;
    bench.set_refresh(BUSY);
    bench.simulator.with_variant(|variant| variant.access_token_life = Duration::from_secs(2));
    bench.simulator.fault(Rule::forever(Fault::spent(Answer::Delayed(Duration::from_millis(15)))));
    for oa in OAS {
        bench.add_granted_oa(oa).await;
    }
    let mut stored = BTreeMap::new();
    for n in 0..kills {
        let moment = Moment::roll(&mut dice);
        let before = bench.simulator.ledger();
        let mut daemon = bench.spawn(&[]);
        tokio::select! {
            () = moment.comes(&bench, &daemon, &before) => {}
            () = all_need_a_person(&daemon) => {}
            () = tokio::time::sleep(PATIENCE) => {}
        }
        daemon.kill().await;
        let ledger = bench.simulator.ledger();
        assert!(ledger.is_clean(), "after kill {n}, {moment:?}: {}", ledger.summary());
        for event in daemon.events("refresh.succeeded") {
            let oa = event["oa_id"].as_str().expect("named").to_owned();
            stored.insert(oa, event["generation"].as_u64().expect("a number"));
        }
        // A person grants again where an answer was lost, so that the load goes on.
        for status in statuses(&bench).await {
            let oa = status["oa_id"].as_str().expect("named");
            let generation = status["generation"].as_u64().expect("a number");
            let told = stored.get(oa).copied().unwrap_or(0);
            assert!(generation >= told, "after kill {n}, {moment:?}: what was said to be stored is gone");
            if needs_a_person(&status) {
                let answer = bench.simulator.grant("app", oa);
                bench.import(oa, &answer).await;
            }
        }
    }

    let mut daemon = bench.start().await;
    let settled = tokio::time::timeout(DEADLINE, async {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        while !statuses(&bench).await.iter().all(is_settled) {
            tick.tick().await;
        }
    });
    settled.await.unwrap_or_else(|_| panic!("an OA stays unsettled:\n{}", daemon.log()));
    assert!(daemon.stop().await.success());

    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean(), "{}", ledger.summary());
    assert_eq!(ledger.spent_tokens_presented().len(), 0, "{}", ledger.summary());
    assert!(OAS.iter().all(|oa| ledger.max_under_way_of(oa) <= 1));
    assert!(ledger.spends() >= kills / 5, "there was no load: {}", ledger.summary());
    for oa in OAS {
        let status = bench.status(oa).await;
        if status["state"] == "scheduled" {
            let held = bench.simulator.current_set(oa).expect("granted").access_token;
            let token = bench.token(oa).await;
            assert!(token.is_none_or(|token| token == held.expose()), "OA {oa} holds an older set");
        }
    }
}

/// How every OA stands.
async fn statuses(bench: &Bench) -> Vec<Value> {
    bench.report().await["oas"].as_array().expect("an array").clone()
}

/// Every OA's answer was lost by one kill: nothing will be refreshed any more.
async fn all_need_a_person(daemon: &Daemon) {
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let calls = |event| daemon.events(event).len();
    while calls("oa.reauthorization_required") + calls("oa.decision_needed") < OAS.len() {
        tick.tick().await;
    }
}

fn needs_a_person(status: &Value) -> bool {
    status["state"] == "reauthorization_required" || status["reason"] == "unprovable"
}

fn is_settled(status: &Value) -> bool {
    status["state"] == "scheduled" || needs_a_person(status)
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_killed_before_the_gate_the_token_is_presented_right_after_the_restart() {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    // Nothing answers there, so that the attempt is still connecting when it is killed.
    let (silent, _waiting) = full::full_listener().await;
    let silent_url = format!("http://{}/", silent.local_addr().expect("an address"));
    let config = std::fs::read_to_string(bench.config()).expect("read");
    let elsewhere = config.replace(&bench.simulator.token_url(), &silent_url);
    std::fs::write(bench.config(), elsewhere).expect("written");
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.started", "7").await;
    daemon.kill().await;
    bench.write_config();
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    assert!(daemon.events("refresh.uncertain").is_empty());
    assert!(bench.simulator.ledger().is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn f19_killed_after_the_spend_the_answer_is_known_to_be_lost_and_a_person_is_called() {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::spent(Answer::Held)));
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    daemon.kill().await;
    let mut daemon = bench.start().await;
    assert_eq!(daemon.wait_for_oa("refresh.probed", "7").await["verdict"], "spent");
    let required = daemon.wait_for_oa("oa.reauthorization_required", "7").await;
    assert_eq!((&required["reason"], &required["level"]), (&"response_lost".into(), &"ERROR".into()));
    bench.import_due("7").await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean() && ledger.spent_tokens_presented().is_empty(), "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn f18_killed_after_the_gate_with_nothing_spent_the_token_is_proven_unspent_and_presented_again() {
    let bench = Bench::new().await;
    bench.add_due_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::Stall)));
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.presentations() == 1).await;
    daemon.kill().await;
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.uncertain", "7").await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert_eq!(daemon.events("refresh.probed").len(), 2);
    assert!(daemon.stop().await.success());
    let ledger = bench.simulator.ledger();
    assert_eq!(ledger.presentations(), 2);
    assert!(ledger.is_clean(), "{}", ledger.summary());
}
