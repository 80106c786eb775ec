//! Zalo as it should be: refreshing, the order of its checks, the probe, and what counts as a violation.

use super::*;

#[tokio::test]
async fn a_refresh_spends_the_old_set_and_makes_a_new_one() {
    let play = Play::new().await;
    assert_eq!(play.probe().await, 0);
    let got = play.present().await;
    assert_eq!((got.status, &got.end), (Some(200), &End::Whole));
    let answer = got.json();
    assert_eq!(answer["expires_in"], "90000");
    assert_eq!(answer.get("refresh_token_expires_in"), None);
    let current = play.simulator.current_set("oa").expect("an OA");
    assert_eq!(current.generation, 1);
    assert_eq!(text(&answer, "refresh_token"), current.refresh_token.expose());
    assert!(play.simulator.is_valid_access_token(&text(&answer, "access_token")));
    assert_eq!(play.probe().await, -216);
    let ledger = play.simulator.ledger();
    assert!(ledger.is_clean(), "{}", ledger.summary());
    assert_eq!((ledger.presentations(), ledger.spends(), ledger.answers_sent()), (1, 1, 1));
    assert_eq!((ledger.answers_lost(), ledger.probes(), ledger.max_under_way_of("oa")), (0, 2, 1));
}

#[tokio::test]
async fn a_spent_token_gets_an_empty_answer_or_the_error_as_the_variant_says() {
    let play = Play::new().await;
    play.present().await;
    let empty = play.present().await;
    assert_eq!((empty.status, empty.body.len()), (Some(200), 0));
    play.simulator.with_variant(|variant| variant.spent_token_answer = SpentTokenAnswer::Error14014);
    assert_eq!(play.present().await.json()["error"], -14014);
    let ledger = play.simulator.ledger();
    assert_eq!(ledger.spent_tokens_presented().len(), 2);
    assert_eq!(ledger.presented_again_without_proof().len(), 2);
    assert!(!ledger.is_clean());
}

#[tokio::test]
async fn the_checks_come_in_zalos_order() {
    let play = Play::new().await;
    for (bytes, code) in [
        (request("other", "wrong", "none"), -14002),
        (request("app", "wrong", "none"), -14004),
        (request("app", APP_SECRET, "none"), -14014),
        (with_body(APP_SECRET, "grant_type=password&app_id=app&refresh_token=none"), -14001),
    ] {
        let mut stream = play.connect().await;
        send(&mut stream, &bytes).await;
        let got = read_answer(&mut stream).await;
        assert_eq!((got.status, got.json()["error"].as_i64()), (Some(200), Some(code)));
    }
    play.simulator.add_app("second", APP_SECRET);
    let mut stream = play.connect().await;
    send(&mut stream, &request("second", APP_SECRET, &play.refresh)).await;
    assert_eq!(read_answer(&mut stream).await.json()["error"], -14014, "the token is another app's");
    assert_eq!(play.simulator.ledger().spends(), 0);
}

#[tokio::test]
async fn ends_of_life_are_told_and_kept() {
    let play = Play::new().await;
    play.simulator.with_variant(|variant| variant.tells_refresh_token_life = true);
    let told = play.simulator.grant_aged("app", "old", Duration::from_secs(90_001));
    assert_eq!(told["refresh_token_expires_in"], "7776000");
    let play = Play { access: text(&told, "access_token"), refresh: text(&told, "refresh_token"), ..play };
    assert_eq!(play.probe().await, -220);
    assert_eq!(play.present().await.status, Some(200));
    assert_eq!(play.simulator.ledger().spends_of("old"), 1);
}

#[tokio::test]
async fn a_probe_says_what_the_variant_wants() {
    let play = Play::new().await;
    let mut say = Vec::new();
    for probe in [
        ProbeAnswer::Answers,
        ProbeAnswer::Throttled,
        ProbeAnswer::OtherOa,
        ProbeAnswer::ErrorCode(-204),
        ProbeAnswer::ErrorCode(-216),
        ProbeAnswer::Html,
        ProbeAnswer::Down,
    ] {
        play.simulator.with_variant(|variant| variant.probe = probe);
        say.push(play.probe_raw().await);
    }
    assert_eq!(say[0].json()["data"]["oa_id"], "oa");
    assert_eq!(say[1].json()["error"], -32);
    assert_ne!(say[2].json()["data"]["oa_id"], "oa");
    assert_eq!(say[3].json()["error"], -204);
    assert_eq!(say[4].json()["error"], -216);
    assert_eq!(say[5].status, Some(502));
    assert_eq!((say[6].status, &say[6].end), (None, &End::Fin));
    let ledger = play.simulator.ledger();
    let said: Vec<ProbeVerdict> = ledger.entries_of("oa").filter_map(verdict).collect();
    let (accepted, refused, unclear) = (ProbeVerdict::Accepted, ProbeVerdict::Refused, ProbeVerdict::Unclear);
    assert_eq!(said, [accepted, unclear, unclear, unclear, refused, unclear, unclear]);
}

fn verdict(entry: &Entry) -> Option<ProbeVerdict> {
    if let Kind::Probed { verdict } = entry.kind { Some(verdict) } else { None }
}

#[tokio::test]
async fn every_breach_of_form_is_a_violation() {
    let play = Play::new().await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let secret = format!("secret_key: {APP_SECRET}\r\n");
    let good = "grant_type=refresh_token&app_id=app&refresh_token=none";
    for (path, headers, body, wanted) in [
        ("", format!("{secret}{form}"), good, None),
        ("", form.to_owned(), good, Some("secret_key is missing")),
        ("", secret.clone(), good, Some("Content-Type")),
        ("?x=1", format!("{secret}{form}"), good, Some("query")),
        (
            "",
            format!("{secret}{form}"),
            "refresh_token=none&grant_type=refresh_token&app_id=app",
            Some("last"),
        ),
        ("", format!("{secret}{form}"), "{\"refresh_token\":\"none\"}", Some("urlencoded")),
        (
            "",
            format!("{secret}{form}"),
            "app_id=app&app_id=app&grant_type=refresh_token&refresh_token=none",
            Some("2 times"),
        ),
        (
            "",
            format!("{secret}{form}"),
            "secret_key=x&app_id=app&grant_type=refresh_token&refresh_token=none",
            Some("secret is in the body"),
        ),
        ("", format!("{secret}{form}Transfer-Encoding: chunked\r\n"), good, Some("without its length")),
    ] {
        let before = play.simulator.ledger().violations().len();
        let mut stream = play.connect().await;
        let length = body.len();
        let head = format!("POST /v4/oa/access_token{path} HTTP/1.1\r\nHost: z\r\n{headers}");
        send(&mut stream, format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes()).await;
        read_answer(&mut stream).await;
        play.assert_said_since(before, wanted);
    }
}

#[tokio::test]
async fn a_second_request_on_one_connection_is_a_violation() {
    let play = Play::new().await;
    let mut stream = play.connect().await;
    send(&mut stream, &request("app", APP_SECRET, "none")).await;
    read_answer(&mut stream).await;
    assert!(play.simulator.ledger().is_clean());
    send(&mut stream, &request("app", APP_SECRET, "another")).await;
    read_answer(&mut stream).await;
    let ledger = play.simulator.ledger();
    assert_eq!(ledger.violations().len(), 1);
    assert!(ledger.summary().contains("Reused"), "{}", ledger.summary());
}

#[tokio::test]
async fn heads_and_bodies_have_a_limit() {
    let play = Play::new().await;
    let mut stream = play.connect().await;
    let huge = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(80_000));
    // The simulator may close before it has read all of it.
    stream.write_all(huge.as_bytes()).await.unwrap_or_default();
    play.until(|ledger| ledger.violations().len() == 1).await;
    let mut stream = play.connect().await;
    send(&mut stream, b"POST /v4/oa/access_token HTTP/1.1\r\nContent-Length: 70000\r\n\r\n").await;
    assert_eq!(read_answer(&mut stream).await.status, Some(400));
}

#[tokio::test]
async fn while_it_is_down_connections_are_refused_and_probes_are_answered() {
    let play = Play::new().await;
    play.simulator.go_down().await;
    let refused = TcpStream::connect(play.simulator.addr()).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(play.probe().await, 0);
    play.simulator.come_up().await.expect("the port is still ours");
    assert_eq!(play.present().await.status, Some(200));
}

#[tokio::test]
async fn thousands_of_oas_are_served() {
    let play = Play::new().await;
    for number in 0..2_000 {
        play.simulator.grant("app", &number.to_string());
    }
    let address = play.simulator.addr();
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..200 {
        let set = play.simulator.current_set(&number.to_string()).expect("granted");
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            send(&mut stream, &request("app", APP_SECRET, set.refresh_token.expose())).await;
            read_answer(&mut stream).await.status
        });
    }
    assert!(clients.join_all().await.iter().all(|status| *status == Some(200)));
    let ledger = play.simulator.ledger();
    assert_eq!(ledger.spends(), 200);
    assert!(ledger.is_clean(), "{}", ledger.summary());
    assert!(ledger.max_under_way() <= 200 && ledger.max_under_way_of("7") == 1);
}

#[tokio::test]
async fn the_ledger_and_the_debug_texts_show_no_token() {
    let play = Play::with(Fault::spent(Answer::Normal)).await;
    play.present().await;
    play.probe().await;
    let ledger = play.simulator.ledger();
    let shown = format!(
        "{ledger:?}{}{}{:?}{:?}",
        ledger.summary(),
        serde_json::to_string(&ledger).expect("JSON"),
        play.simulator,
        play.simulator.current_set("oa")
    );
    assert!(!shown.contains(MARKER));
    play.simulator.shutdown().await;
}
