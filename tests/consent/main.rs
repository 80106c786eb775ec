//! Consent of a person for an OA of our own app: real binary, the simulator's own page, its ledger.

#[path = "../harness/mod.rs"]
mod harness;

mod by_hand;
mod calling;
mod crashes;
mod disks;
mod links;
mod refused;
mod undecided;

use std::process::Stdio;

use harness::{Bench, DEADLINE, Daemon, text};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use zalo_tokend::simulator::Ledger;

/// A command that waits for somebody to come back.
struct Authorizing {
    child: Child,
    /// Where he is sent.
    url: String,
}

impl Bench {
    /// `authorize OA`, as far as the address.
    async fn authorize(&self, oa: &str) -> Authorizing {
        let mut child = Command::new(env!("CARGO_BIN_EXE_zalo-tokend"))
            .arg("--config")
            .arg(self.config())
            .args(["authorize", oa])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let url = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("an address in time");
        let url = url.expect("readable").expect("a line");
        let mut rest = lines.into_inner();
        // What it says last is heard as well.
        tokio::spawn(async move { tokio::io::copy(&mut rest, &mut tokio::io::sink()).await });
        Authorizing { child, url }
    }

    /// Begins a consent and says where a person is to be sent.
    async fn permission(&self, oa: &str) -> String {
        let output = self.run(&["authorize", oa, "--no-wait"]).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    /// Begins a consent and gives it. Returns the address that the browser is sent back to.
    async fn consented(&self, oa: &str) -> String {
        let url = self.permission(oa).await;
        self.simulator.consent(&url, oa)
    }
}

impl Authorizing {
    /// How it ends.
    async fn ended(self) -> (i32, String) {
        let output = tokio::time::timeout(DEADLINE, self.child.wait_with_output()).await;
        let output = output.expect("it ends").expect("waited for");
        (output.status.code().expect("a code"), text(&output.stderr))
    }
}

/// A daemon that takes consent, with the OA 7, which has no tokens yet.
async fn waiting() -> (Bench, Daemon) {
    let bench = Bench::new().await;
    bench.take_consent();
    bench.add_oa("7");
    bench.simulator.administers("app", "7");
    let daemon = bench.start().await;
    (bench, daemon)
}

/// No code was presented that could have been spent, and the client did nothing that it must not.
#[track_caller]
fn assert_clean(ledger: &Ledger) {
    assert!(ledger.is_clean(), "{}", ledger.summary());
    assert!(ledger.codes_presented_again().is_empty(), "{}", ledger.summary());
}

#[tokio::test]
async fn a_person_who_consents_in_the_browser_has_the_oa_scheduled() {
    let (bench, daemon) = waiting().await;
    let authorizing = bench.authorize("7").await;
    assert!(authorizing.url.starts_with(&bench.simulator.permission_url()), "{}", authorizing.url);
    let back = bench.simulator.consent(&authorizing.url, "7");
    let page = daemon.visit(&back).await;
    assert_eq!(page.status, 200, "{}", page.page());
    assert!(page.page().contains("Đã cấp quyền xong"));
    assert_eq!(authorizing.ended().await.0, 0);
    let status = bench.status("7").await;
    assert_eq!((status["state"].as_str(), status["generation"].as_u64()), (Some("scheduled"), Some(1)));
    assert!(status["reauthorization"].is_null());
    let current = bench.simulator.current_set("7").expect("granted");
    assert_eq!(bench.token("7").await.as_deref(), Some(current.access_token.expose()));
    daemon.wait_for("consent.begun").await;
    assert_eq!(daemon.wait_for("consent.granted").await["generation"], 1);
    daemon.wait_for("oa.imported").await;
    daemon.wait_for("refresh.planned").await;
    assert_eq!(bench.history("7").await[0]["class"], "granted");
    let (_, state) = back.split_once("state=").expect("a state");
    let state = state.split('&').next().expect("a part");
    assert!(state.len() == 22 && !daemon.log().contains(state), "a state stands in the log");
    let ledger = bench.simulator.ledger();
    assert_clean(&ledger);
    assert_eq!((ledger.codes_made(), ledger.codes_spent()), (1, 1));
}

#[tokio::test]
async fn what_consent_brings_is_refreshed_as_every_set_is() {
    let (bench, daemon) = waiting().await;
    daemon.visit(&bench.consented("7").await).await;
    let output = bench.run(&["refresh", "7"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(bench.status("7").await["generation"], 2);
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test]
async fn the_page_is_in_the_browsers_language_and_may_do_nothing_but_be_read() {
    let (bench, daemon) = waiting().await;
    let back = bench.consented("7").await;
    let page = daemon.request("GET", &back, &[("Accept-Language", "en-GB,vi;q=0.5")]).await;
    assert!(
        page.page().contains("<html lang=\"en\"") && page.page().contains("Authorized"),
        "{}",
        page.page()
    );
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
}
