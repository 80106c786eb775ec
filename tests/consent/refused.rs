//! What changes nothing: declined, of another OA, forged, replayed, expired, swapped.

use std::time::Duration;

use super::harness::together::all;
use super::{assert_clean, waiting};

#[tokio::test]
async fn each_end_of_a_consent_has_a_page_and_an_event_and_changes_nothing() {
    let (bench, daemon) = waiting().await;
    bench.simulator.administers("app", "8");
    let declined = bench.simulator.decline(&bench.permission("7").await);
    let page = daemon.visit(&declined).await;
    assert!(page.status == 409 && page.page().contains("Chưa được đồng ý"), "{}", page.page());
    assert_eq!(daemon.wait_for("consent.refused").await["why"], "declined");

    let url = bench.permission("7").await;
    let others = bench.simulator.consent(&url, "8");
    let page = daemon.visit(&others).await;
    assert!(page.status == 409 && page.page().contains("Nhầm Official Account"), "{}", page.page());
    assert_eq!(daemon.wait_for_nth("consent.refused", 2).await["why"], "other_oa");
    let right = bench.simulator.consent(&url, "7");
    assert_eq!(daemon.visit(&right).await.status, 200, "he may choose again");

    let page = daemon.visit(&right).await;
    assert!(page.status == 200 && page.page().contains("từ trước"), "a second click: {}", page.page());
    assert_eq!(daemon.wait_for_nth("consent.refused", 3).await["why"], "already_granted");

    bench.simulator.with_variant(|variant| variant.code_life = Duration::ZERO);
    let page = daemon.visit(&bench.consented("7").await).await;
    assert!(page.status == 409 && page.page().contains("Zalo không nhận mã"), "{}", page.page());
    let failed = daemon.wait_for("consent.failed").await;
    assert_eq!(failed["why"], "code_refused");

    let page = daemon.visit("/zalo/callback?code=x&state=AAAAAAAAAAAAAAAAAAAAAA&oa_id=7").await;
    assert!(page.status == 404 && page.page().contains("Không nhận ra"), "{}", page.page());
    assert_eq!(bench.status("7").await["generation"], 1);
    let ledger = bench.simulator.ledger();
    assert_clean(&ledger);
    assert_eq!(ledger.codes_spent(), 1);
}

#[tokio::test]
async fn a_set_that_zalo_says_is_anothers_is_kept_and_does_not_count() {
    let (bench, daemon) = waiting().await;
    bench.simulator.administers("app", "8");
    let back = bench.simulator.consent(&bench.permission("7").await, "8");
    // Somebody changes the address that he is sent back by.
    let swapped = back.replace("oa_id=8", "oa_id=7");
    assert_ne!(back, swapped);
    let page = daemon.visit(&swapped).await;
    assert!(page.status == 409 && page.page().contains("Nhầm Official Account"), "{}", page.page());
    assert_eq!(daemon.wait_for("consent.failed").await["why"], "other_oa");
    assert_eq!(bench.status("7").await["state"], "awaiting_grant");
    assert_eq!(bench.token("7").await, None);
    assert_eq!(bench.history("7").await[0]["class"], "other_oa");
    assert_clean(&bench.simulator.ledger());
}

#[tokio::test]
async fn a_thousand_forged_replayed_expired_and_swapped_callbacks_change_nothing() {
    let (bench, daemon) = waiting().await;
    bench.simulator.administers("app", "8");
    let used = bench.consented("7").await;
    assert_eq!(daemon.visit(&used).await.status, 200);
    let before = (bench.status("7").await, bench.token("7").await);
    let open = bench.consented("7").await;
    let of = |url: &str, name: &str| {
        let url: url::Url = url.parse().expect("an address");
        url.query_pairs().find(|(found, _)| found == name).expect("there").1.into_owned()
    };
    let (open_state, used_state, used_code) = (of(&open, "state"), of(&used, "state"), of(&used, "code"));
    let hostile = |n: usize| match n % 10 {
        0 => format!("/cb?code=x{n}&state=AAAAAAAAAAAAAAAAAAAA{n:02}&oa_id=7"),
        1 => used.clone(),
        2 => format!("/cb?code={used_code}&state={used_state}&oa_id=8"),
        3 => format!("/cb?code={used_code}&state={open_state}&oa_id=8"),
        4 => format!("/cb?code=&state={used_state}"),
        5 => format!("/cb?code=x&state={open_state}&state={open_state}"),
        6 => format!("/cb?code=x&state={}&oa_id=7", &open_state[1..]),
        7 => format!("/cb?state=%00%0d%0aSet-Cookie:x=y&code=%22%3E%3Cscript%3E{n}&oa_id=%3Cscript%3E"),
        8 => format!("/cb?code=x&state={}&oa_id=7", "s".repeat(7_000)),
        _ => format!("/cb?link={n}.1.9999999999999.{}", "0".repeat(64)),
    };
    for part in 0..20 {
        let visits = (0..50).map(|n| {
            let (daemon, target) = (&daemon, hostile(part * 50 + n));
            async move {
                let page = daemon.visit_in_turn(&target).await;
                let text = page.page();
                assert!(
                    !text.contains("<script>") && page.header("set-cookie").is_none(),
                    "{target}: {text}"
                );
                assert!(page.header("location").is_none(), "{target}: {page:?}");
                page.status
            }
        });
        let statuses = all(visits).await;
        assert!(statuses.iter().all(|status| matches!(status, 200 | 404 | 409)), "{statuses:?}");
    }
    assert_eq!((bench.status("7").await, bench.token("7").await), before);
    assert_eq!(daemon.visit(&open).await.status, 200, "whoever is in the middle of it is not disturbed");
    assert_eq!(bench.status("7").await["generation"], 2);
    let ledger = bench.simulator.ledger();
    assert_clean(&ledger);
    assert_eq!((ledger.codes_spent(), ledger.presentations()), (2, 2), "nothing else went to Zalo");
    let refused = daemon.events("consent.refused");
    assert!(refused.len() < 300, "{} lines", refused.len());
    assert!(refused.iter().any(|event| event["more"].as_u64().is_some()), "how many more there were is said");
}

#[tokio::test]
async fn an_old_page_that_is_opened_once_more_ends_nobodys_waiting() {
    let (bench, daemon) = waiting().await;
    let declined = bench.simulator.decline(&bench.permission("7").await);
    assert_eq!(daemon.visit(&declined).await.status, 409);
    let used = bench.consented("7").await;
    assert_eq!(daemon.visit(&used).await.status, 200);
    let authorizing = bench.authorize("7").await;
    for (old, status) in [(&declined, 409), (&used, 200)] {
        assert_eq!(daemon.visit(old).await.status, status);
    }
    assert_eq!(daemon.visit(&bench.simulator.consent(&authorizing.url, "7")).await.status, 200);
    let (exit_code, said) = authorizing.ended().await;
    assert_eq!(exit_code, 0, "{said}");
    assert_eq!(bench.status("7").await["generation"], 2);
    assert_clean(&bench.simulator.ledger());
}
