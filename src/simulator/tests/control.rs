//! The simulator's own requests over HTTP.

use super::*;

async fn ask(play: &Play, method: &str, path: &str, body: &str) -> Got {
    let mut stream = play.connect().await;
    let head =
        format!("{method} /_simulator/{path} HTTP/1.1\r\nHost: z\r\nContent-Length: {}\r\n\r\n", body.len());
    send(&mut stream, format!("{head}{body}").as_bytes()).await;
    read_answer(&mut stream).await
}

#[tokio::test]
async fn a_test_in_any_language_can_play_a_whole_round() {
    let play = Play::new().await;
    let done = ask(&play, "POST", "apps", r#"{"app_id":"9","secret_key":"CANARY-app-secret"}"#).await;
    assert_eq!(done.status, Some(200));
    let granted = ask(&play, "POST", "grants", r#"{"app_id":"9","oa_id":"77","age":"2h"}"#).await.json();
    let fault = r#"{"oa_id":"77","times":1,"fault":{"after_request":{"spend":"no","answer":
        {"custom":{"status":429,"headers":[["Retry-After","1"]],"body":"later"}}}}}"#;
    assert_eq!(ask(&play, "POST", "faults", fault).await.status, Some(200));
    for status in [429, 200] {
        let mut stream = play.connect().await;
        send(&mut stream, &request("9", APP_SECRET, &text(&granted, "refresh_token"))).await;
        assert_eq!(read_answer(&mut stream).await.status, Some(status));
    }
    let ledger = ask(&play, "GET", "ledger", "").await.json();
    assert_eq!((&ledger["clean"], &ledger["presentations"]), (&Value::from(true), &Value::from(2)));
    let entries = ledger["entries"].as_array().expect("entries");
    assert!(entries.iter().any(|entry| entry["kind"] == "spent" && entry["oa_id"] == "77"));
    let summary = ask(&play, "GET", "ledger.txt", "").await;
    assert!(String::from_utf8_lossy(&summary.body).contains("the ledger is clean"));
    assert_eq!(ask(&play, "POST", "release", "").await.status, Some(200));
    assert_eq!(ask(&play, "POST", "allow", r#"{"oa_id":"77"}"#).await.status, Some(200));
    assert_eq!(ask(&play, "DELETE", "faults", "").await.status, Some(200));
}

#[tokio::test]
async fn whose_consent_can_be_had_and_where_it_leads_can_be_said_over_http() {
    let play = Play::new().await;
    let app = r#"{"app_id":"9","secret_key":"CANARY-app-secret","redirect_uris":["http://a.example/"]}"#;
    assert_eq!(ask(&play, "POST", "apps", app).await.status, Some(200));
    let declared = ask(&play, "POST", "administered", r#"{"app_id":"9","oa_id":"77"}"#).await;
    assert_eq!(declared.status, Some(200));
    for (redirect_uri, wanted) in [("http://a.example/", "value=\"77\""), ("http://b.example/", "-14003")] {
        let mut stream = play.connect().await;
        let query = format!("app_id=9&redirect_uri={redirect_uri}&code_challenge=x");
        let request = format!("GET /v4/oa/permission?{query} HTTP/1.1\r\nHost: z\r\n\r\n");
        send(&mut stream, request.as_bytes()).await;
        let page = read_answer(&mut stream).await;
        assert!(String::from_utf8_lossy(&page.body).contains(wanted), "{wanted}: {page:?}");
    }
}

#[tokio::test]
async fn a_vendor_is_played_over_http() {
    let play = Play::new().await;
    let done = |got: Got| assert_eq!(got.status, Some(200), "{got:?}");
    done(ask(&play, "POST", "vendor/keys", r#"{"key":"CANARY-key"}"#).await);
    let oa = r#"{"oa_id":"77","name":"Shop","expires_at":"2026-01-01T00:00:00+07:00"}"#;
    done(ask(&play, "POST", "vendor/oas", oa).await);
    let shop = || async {
        let body = r#"{"oa_id":"77"}"#;
        let head = "POST /api/vendor/v1/zalo/get-shop-oa HTTP/1.1\r\nHost: v\r\nAPI-KEY: CANARY-key\r\n\
            Content-Type: application/json\r\naccept: */*\r\nContent-Length: 14\r\n\r\n";
        let mut stream = play.connect().await;
        send(&mut stream, format!("{head}{body}").as_bytes()).await;
        read_answer(&mut stream).await
    };
    assert_eq!(shop().await.json()["data"]["expires_at"], "2025-12-31T17:00:00Z");
    for (request, status) in [("consent", "P"), ("disconnect", "N")] {
        done(ask(&play, "POST", &format!("vendor/{request}"), r#"{"oa_id":"77"}"#).await);
        assert_eq!(shop().await.json()["data"]["status"], status);
    }
    let fault = r#"{"oa_id":"77","asked":"shop_oa","times":"forever","fault":{"answer":{"status":503}}}"#;
    done(ask(&play, "POST", "vendor/faults", fault).await);
    assert_eq!(shop().await.status, Some(503));
    done(ask(&play, "DELETE", "vendor/faults", "").await);
    assert_eq!(shop().await.status, Some(200));
    let entries = &ask(&play, "GET", "ledger", "").await.json()["entries"];
    let asked = entries.as_array().expect("entries").iter().filter(|entry| entry["kind"] == "vendor_asked");
    let asked: Vec<&Value> = asked.filter(|entry| entry["oa_id"] == "77").collect();
    assert_eq!((asked.len(), &asked[3]["status"]), (5, &Value::from(503)));
    assert_eq!(asked[3]["what"], "shop_oa");
}

#[tokio::test]
async fn a_variant_is_changed_field_by_field() {
    let play = Play::new().await;
    let change =
        r#"{"access_token_life":"5s","old_access_token":{"dies_after":"1m"},"probe":{"error_code":-204}}"#;
    assert_eq!(ask(&play, "PUT", "variant", change).await.status, Some(200));
    assert_eq!(ask(&play, "PUT", "variant", r#"{"reuse_revokes_family":true}"#).await.status, Some(200));
    let now: Variant =
        serde_json::from_value(ask(&play, "GET", "variant", "").await.json()).expect("a variant");
    assert_eq!(
        now,
        Variant {
            access_token_life: Duration::from_secs(5),
            old_access_token: OldAccessToken::DiesAfter(Duration::from_secs(60)),
            probe: ProbeAnswer::ErrorCode(-204),
            reuse_revokes_family: true,
            ..Variant::default()
        }
    );
}

#[tokio::test]
async fn bad_input_is_answered_with_one_sentence() {
    let play = Play::new().await;
    for (method, path, body, wanted) in [
        ("POST", "apps", "{", "not as it should be"),
        ("POST", "grants", r#"{"app_id":"none","oa_id":"1"}"#, "There is no app none"),
        ("POST", "administered", r#"{"app_id":"none","oa_id":"1"}"#, "There is no app none"),
        ("POST", "vendor/oas", r#"{"oa_id":"1","name":"x","expires_at":"soon"}"#, "not as it should be"),
        ("POST", "vendor/consent", r#"{"oa_id":"1"}"#, "does not hold OA 1"),
        ("POST", "vendor/faults", r#"{"fault":{"answer":{"status":99}}}"#, "no HTTP status"),
        ("GET", "vendor/keys", "", "There is no GET /_simulator/vendor/keys"),
        ("POST", "faults", r#"{"fault":"sleep"}"#, "unknown variant"),
        ("POST", "faults", r#"{"oa_id":"1","fault":"close_at_accept"}"#, "cannot know the OA"),
        ("POST", "faults", r#"{"times":"often","fault":"close_at_accept"}"#, "whole number"),
        (
            "POST",
            "faults",
            r#"{"fault":{"after_request":{"answer":{"custom":{"status":100}}}}}"#,
            "no HTTP status",
        ),
        ("PUT", "variant", r#"{"access_token_life":"soon"}"#, "not a duration"),
        ("PUT", "variant", r#"{"color":"red"}"#, "unknown field"),
        ("PUT", "variant", "[]", "not as it should be"),
        ("GET", "nothing", "", "There is no GET /_simulator/nothing"),
    ] {
        let got = ask(&play, method, path, body).await;
        let said = String::from_utf8_lossy(&got.body).into_owned();
        assert_eq!(got.status, Some(400), "{said}");
        assert!(said.contains(wanted) && said.trim_end().lines().count() == 1, "{wanted}: {said}");
    }
}

#[test]
fn every_fault_reads_back_as_it_was_written() {
    let second = Duration::from_secs(1);
    let answers = [
        Answer::Normal,
        Answer::CloseWithoutAnswer,
        Answer::Reset,
        Answer::Stall,
        Answer::Delayed(second),
        Answer::Held,
        Answer::Truncated { after: 3, ending: Ending::Rst, length: Length::CloseDelimited },
        Answer::TruncatedHead { after: 3, ending: Ending::Fin },
        Answer::Dripped { per_byte: second },
        Answer::Custom { status: 200, headers: vec![("A".into(), "b".into())], body: Body(vec![0xff, 0]) },
        Answer::Endless,
        Answer::HugeHeader { bytes: 9 },
        Answer::Redirect { status: 302, location: Some("http://elsewhere/".to_owned()) },
    ];
    let spends = [Spend::Yes, Spend::No, Spend::Later(second), Spend::WithoutRotation];
    let after = answers
        .iter()
        .flat_map(|answer| spends.map(|spend| Fault::AfterRequest { spend, answer: answer.clone() }));
    let before = [
        Fault::CloseAtAccept,
        Fault::ResetAtAccept,
        Fault::StallAtAccept,
        Fault::ResetBeforeLastByte,
        Fault::StallBeforeLastByte,
        Fault::AnswerBeforeLastByte { status: 429, headers: Vec::new(), body: Body::from("x") },
    ];
    for fault in before.into_iter().chain(after) {
        for rule in [Rule::times(3, fault.clone()).for_oa("1"), Rule::forever(fault)] {
            let written = serde_json::to_string(&rule).expect("JSON");
            assert_eq!(serde_json::from_str::<Rule>(&written).expect("a rule"), rule, "{written}");
        }
    }
}
