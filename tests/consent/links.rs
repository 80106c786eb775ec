//! Our own links: who has one is sent to Zalo for one OA, and may do nothing else.

use super::harness::http::{Request, ask};
use super::harness::{Bench, text};
use super::{assert_clean, waiting};

async fn link(bench: &Bench, arguments: &[&str]) -> String {
    let output = bench.run(&[&["link"], arguments].concat()).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim_end().to_owned()
}

#[tokio::test]
async fn a_link_leads_by_one_click_to_consent_and_then_has_done_its_work() {
    let (bench, daemon) = waiting().await;
    let link = link(&bench, &["7"]).await;
    assert!(link.starts_with("https://shop.example/zalo/callback?link=7."), "{link}");
    let page = daemon.visit(&link).await;
    assert!(page.status == 200 && page.page().contains("Cấp quyền trên Zalo"), "{}", page.page());
    assert!(daemon.events("consent.begun").is_empty(), "looking begins nothing");
    let sent = daemon.submit(&link).await;
    assert_eq!(sent.status, 303);
    let permission = sent.header("location").expect("a place").to_owned();
    let origin = bench.simulator.permission_url().replace("/v4/oa/permission", "");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains(&format!("form-action 'self' {origin}")), "{policy}");
    let back = bench.simulator.consent(&permission, "7");
    assert_eq!(daemon.visit(&back).await.status, 200);
    assert_eq!(bench.status("7").await["state"], "scheduled");
    for page in [daemon.visit(&link).await, daemon.submit(&link).await] {
        assert!(page.status == 200 && page.page().contains("từ trước"), "{}", page.page());
    }
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test]
async fn a_link_is_good_over_restarts_and_for_its_own_oa_only() {
    let (bench, mut daemon) = waiting().await;
    let link = link(&bench, &["7", "--for", "2h"]).await;
    daemon.kill().await;
    let daemon = bench.start().await;
    assert_eq!(daemon.visit(&link).await.status, 200);
    let of_another = link.replace("link=7.", "link=8.");
    for (forged, page) in
        [(of_another, "không dùng được"), (link[..link.len() - 1].to_owned(), "không dùng được")]
    {
        let shown = daemon.visit(&forged).await;
        assert!(shown.status == 404 && shown.page().contains(page), "{}", shown.page());
        assert_eq!(daemon.submit(&forged).await.status, 404);
    }
    assert_eq!(daemon.wait_for("consent.refused").await["why"], "link_forged");
    assert!(daemon.events("consent.begun").is_empty());
}

#[tokio::test]
async fn what_a_link_needs_is_said_where_it_is_missing() {
    let bench = Bench::new().await;
    bench.add_oa("7");
    let fails = async |arguments: &[&str]| {
        let output = bench.run(arguments).await;
        (output.status.code().expect("a code"), text(&output.stderr))
    };
    let (exit_code, said) = fails(&["link", "8"]).await;
    assert!(exit_code == 1 && said.contains("has no OA 8"), "{said}");
    let (exit_code, said) = fails(&["link", "7"]).await;
    assert!(exit_code == 78 && said.contains("has no redirect_uri"), "{said}");
    bench.take_consent();
    let (exit_code, said) = fails(&["link", "7"]).await;
    assert!(exit_code == 75 && said.contains("start the daemon once"), "{said}");
    bench.set_extra("");
    let (exit_code, said) = fails(&["link", "7"]).await;
    assert!(exit_code == 78 && said.contains("has no `listen`"), "{said}");
    let (exit_code, said) = fails(&["link", "7", "--for", "1s"]).await;
    assert!(exit_code == 2 && said.contains("from 1m to 90d"), "{said}");
}

#[tokio::test]
async fn who_has_a_link_sends_himself_out_a_few_times_a_second_and_no_more() {
    let (bench, daemon) = waiting().await;
    let link = link(&bench, &["7"]).await;
    let began = std::time::Instant::now();
    let (mut sent_out, mut turned_away) = (0, 0);
    for _ in 0..100 {
        let answer = daemon.submit(&link).await;
        match answer.status {
            303 => sent_out += 1,
            429 => turned_away += usize::from(answer.header("retry-after").is_some()),
            status => panic!("{status}"),
        }
    }
    let most = 4 + 2 * (usize::try_from(began.elapsed().as_secs()).expect("few") + 1);
    assert!(sent_out >= 4 && sent_out <= most, "{sent_out} of {most}");
    assert_eq!(sent_out + turned_away, 100);
    assert_eq!(daemon.visit(&link).await.status, 200, "the page itself is shown");
}

#[tokio::test]
async fn a_link_is_had_for_an_oa_that_a_program_wants_kept_and_a_vendors_oa_is_sent_to_him() {
    let bench = Bench::new().await;
    bench.take_consent();
    bench.write_secret("vendor", "CANARY-key-of-the-vendor");
    let vendor =
        "[[vendor]]\nid = \"v\"\nbase_url = \"http://127.0.0.1:9\"\napi_key_file = \"vendor.secret\"\n";
    let extra = "[api]\nsocket = \"api.sock\"\n[authorize]\nlisten = \"127.0.0.1:0\"\n";
    bench.set_extra(&format!("{extra}{vendor}[[oa]]\nid = \"9\"\nvendor = \"v\"\n"));
    let mut daemon = bench.start().await;
    let wanted = Request { method: "PUT", target: "/v1/oas/8", headers: &[], body: r#"{"app_id": "app"}"# };
    assert!(ask(&bench.path("api.sock"), wanted).await.status < 300);
    let eights = link(&bench, &["8"]).await;
    assert_eq!(daemon.visit(&eights).await.status, 200);
    let output = bench.run(&["link", "9"]).await;
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("held by a vendor"), "{said}");
    assert!(daemon.stop().await.success());
    let url = bench.status("8").await["reauthorization"]["url"].clone();
    assert!(url.as_str().is_some_and(|url| url.contains("link=8.")), "also without a daemon: {url}");
}
