//! Servers that no browser reaches: what a person came back with is brought by hand.

use super::harness::{Bench, text};
use super::{assert_clean, waiting};

/// The code of an address.
fn code_of(back: &str) -> String {
    let url: url::Url = back.parse().expect("an address");
    url.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned()
}

async fn bring(bench: &Bench, arguments: &[&str], input: &str) -> (i32, String) {
    let output = bench.run_with_input(arguments, input).await;
    (output.status.code().expect("a code"), text(&output.stderr))
}

#[tokio::test]
async fn the_whole_address_out_of_the_browsers_bar_is_taken() {
    let (bench, _daemon) = waiting().await;
    let back = bench.consented("7").await;
    assert_eq!(bring(&bench, &["authorize", "7", "--callback-url", &back], "").await, (0, String::new()));
    assert_eq!(bench.status("7").await["state"], "scheduled");
    let again = bring(&bench, &["authorize", "7", "--callback-url", "-"], &format!(" {back}\n")).await;
    assert_eq!(again, (0, String::new()), "nothing changes");
    let ledger = bench.simulator.ledger();
    assert_clean(&ledger);
    assert_eq!(ledger.codes_spent(), 1);
}

#[tokio::test]
async fn a_code_copied_by_hand_is_taken() {
    let (bench, _daemon) = waiting().await;
    let code = code_of(&bench.consented("7").await);
    assert_eq!(bring(&bench, &["authorize", "7", "--code", "-"], &format!("{code}\n")).await.0, 0);
    assert_eq!(bench.status("7").await["state"], "scheduled");
    let (exit_code, said) = bring(&bench, &["authorize", "7", "--code", &code], "").await;
    assert!(exit_code == 75 && said.contains("no consent for OA 7 was begun"), "{said}");
    assert!(said.contains("authorize 7 --no-wait"), "an option that there is: {said}");
    bench.permission("7").await;
    let (exit_code, said) = bring(&bench, &["authorize", "7", "--code", &code], "").await;
    assert!(exit_code == 1 && said.contains("used before"), "{said}");
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test]
async fn an_app_whose_verifier_is_fixed_at_zalo_needs_no_consent_begun_here() {
    let bench = Bench::new().await;
    bench.take_consent();
    let verifier = "f".repeat(43);
    bench.write_secret("fixed", &verifier);
    super::harness::lock(&bench.app_keys).push_str("code_verifier_file = \"fixed.secret\"\n");
    bench.add_oa("7");
    bench.simulator.administers("app", "7");
    let daemon = bench.start().await;
    let first = bench.consented("7").await;
    assert_eq!(daemon.visit(&first).await.status, 200);
    let url = bench.permission("7").await;
    let challenge = |url: &str| {
        let url: url::Url = url.parse().expect("an address");
        url.query_pairs().find(|(name, _)| name == "code_challenge").expect("a challenge").1.into_owned()
    };
    assert_eq!(challenge(&url), challenge(&bench.permission("7").await), "the pair is fixed");
    let code = code_of(&bench.simulator.consent(&url, "7"));
    assert_eq!(bring(&bench, &["authorize", "7", "--code", &code], "").await.0, 0);
    assert_eq!(bench.status("7").await["generation"], 2);
    assert!(!daemon.log().contains(&verifier), "a verifier stands in the log");
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test]
async fn what_is_wrong_with_what_is_brought_is_said_in_a_sentence() {
    let (bench, daemon) = waiting().await;
    bench.add_oa("8");
    bench.simulator.administers("app", "8");
    daemon.reload().await;
    let eights = bench.consented("8").await;
    for (arguments, exit_code, sentence) in [
        (vec!["authorize", "7", "--callback-url", "no address"], 2, "copy the whole of it"),
        (vec!["authorize", "7", "--callback-url", "https://shop.example/"], 2, "copy the whole of it"),
        (
            vec!["authorize", "7", "--callback-url", "https://shop.example/?code=x&state=y"],
            1,
            "no consent was begun",
        ),
        (vec!["authorize", "7", "--callback-url", &eights], 1, "belongs to a consent for OA 8"),
        (vec!["authorize", "9"], 1, "does not keep OA 9"),
        (vec!["authorize", "7", "--code", "x"], 75, "no consent for OA 7 was begun"),
    ] {
        let (found, said) = bring(&bench, &arguments, "").await;
        assert!(found == exit_code && said.contains(sentence), "{arguments:?}: {found} {said}");
    }
    super::harness::lock(&bench.app_keys).clear();
    bench.write_config();
    daemon.reload().await;
    let (exit_code, said) = bring(&bench, &["authorize", "7"], "").await;
    assert!(exit_code == 1 && said.contains("has no redirect_uri"), "{said}");
}

#[tokio::test]
async fn without_a_daemon_nobody_is_sent_anywhere() {
    let bench = Bench::new().await;
    bench.take_consent();
    bench.add_oa("7");
    let (exit_code, said) = bring(&bench, &["authorize", "7"], "").await;
    assert!(exit_code == 69 && said.contains("start it"), "{said}");
}
