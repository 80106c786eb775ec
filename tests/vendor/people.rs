//! What people and programs are told of an OA that a vendor holds, and what they can do.

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::harness::http::{Request, ask};
use super::*;

/// The last word of the daemon at its control socket.
async fn wanted_link(bench: &Bench, oa: &str) -> Value {
    let socket = bench.path("state/tokens.db-control");
    let mut stream = UnixStream::connect(socket).await.expect("it listens");
    let request = json!({"do": "vendor_link", "oa_id": oa}).to_string() + "\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut lines = BufReader::new(stream).lines();
    let mut last = Value::Null;
    while let Some(line) = lines.next_line().await.expect("read") {
        last = serde_json::from_str(&line).expect("JSON");
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_gets_a_link_before_it_is_time_and_nobody_is_called_for_it() {
    let bench = holding("", &[("1", 89, &given(1))]).await;
    let daemon = bench.start().await;
    let link = wanted_link(&bench, "1").await["text"].clone();
    assert_is_link(&link);
    assert_eq!(wanted_link(&bench, "1").await, json!({"reply": "done", "text": link}));
    assert_eq!(links_asked(&bench, "1"), 1, "the one that is out counts");
    daemon.wait_for_oa("vendor.link_fetched", "1").await;
    let status = bench.status("1").await;
    assert_eq!((&status["state"], &status["reauthorization"]["url"]), (&json!("scheduled"), &link));
    assert!(daemon.events("oa.reauthorization_required").is_empty());
    assert_eq!(wanted_link(&bench, "no").await["reply"], "failed");
    assert_asked_well(&bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_why_there_is_no_link() {
    let bench = holding("", &[("1", 89, &given(1))]).await;
    let daemon = bench.start().await;
    for (fault, why) in [
        (VendorFault::status(204), "he has none to give now"),
        (VendorFault::status(200), "he has none to give now"),
        (VendorFault::status(404), "the vendor answers 404; correct"),
        (VendorFault::status(503), "the vendor answers 503; try again"),
        (VendorFault::link("https://evil.example/"), "the link leads to evil.example, which link_hosts"),
        (VendorFault::status(403), "the vendor answers 403, which means that he refuses the API key"),
    ] {
        link_faults(&bench, [fault]);
        let reply = wanted_link(&bench, "1").await;
        let text = reply["text"].as_str().expect("text");
        assert!(reply["reply"] == "failed" && text.contains(why), "{reply}");
    }
    daemon.wait_for("vendor.refused").await;
    // A person may try.
    assert_is_link(&wanted_link(&bench, "1").await["text"]);
    daemon.wait_for("vendor.released").await;
    assert_asked_well(&bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_a_token_of_it_is_told_who_keeps_it() {
    let bench = bench().await;
    let api = format!("[api]\nsocket = \"{}\"\n", bench.path("api.sock").display());
    bench.set_extra(&format!("{api}{}", sections(&bench, "", &[("1", 89, &given(1))])));
    bench.add_oa("own");
    let link = bench.run(&["link", "1"]).await;
    assert!(harness::text(&link.stderr).contains("OA 1 is held by a vendor, who alone gives links"));
    let kept = "OA 1 is held by vendor v, which keeps its tokens";
    let said = async |arguments: &[&str], input: &str, code: i32| {
        let output = bench.run_with_input(arguments, input).await;
        let text = harness::text(&output.stderr);
        assert_eq!((output.status.code(), text.contains(kept)), (Some(code), true), "{arguments:?}: {text}");
    };
    for is_running in [false, true] {
        let daemon = if is_running { Some(bench.start().await) } else { None };
        said(&["token", "1"], "", 75).await;
        said(&["import", "1"], "{}", 1).await;
        if daemon.is_some() {
            said(&["refresh", "1"], "", 1).await;
            said(&["resolve", "1", "--give-up"], "", 1).await;
        }
        let history = bench.run(&["history", "1"]).await;
        assert!(history.status.success(), "{}", harness::text(&history.stderr));
        let table = harness::text(&bench.run(&["status"]).await.stdout);
        assert!(table.lines().any(|line| line.starts_with("1 ") && line.contains("scheduled")), "{table}");
        let checked = harness::text(&bench.run(&["check"]).await.stdout);
        assert!(checked.contains("1 OA over 1 app, 1 OA held by 1 vendor, store"), "{checked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_tells_who_keeps_its_tokens_and_is_ready_without_them() {
    let bench = bench().await;
    let socket = bench.path("api.sock");
    bench.set_extra(&format!(
        "[api]\nsocket = \"{}\"\n{}",
        socket.display(),
        sections(&bench, "", &[("1", 89, &given(1))])
    ));
    let _daemon = bench.start().await;
    let list = ask(&socket, Request::get("/v1/oas")).await.json();
    assert_eq!(
        (&list["oas"][0]["vendor"], &list["oas"][0]["state"]),
        (&json!("v"), &json!("scheduled")),
        "{list}"
    );
    assert_eq!(ask(&socket, Request::get("/v1/oas/1")).await.json()["app_id"], json!(null));
    let token = ask(&socket, Request::get("/v1/oas/1/token")).await;
    assert_eq!((token.status, token.problem().as_str()), (503, "no_valid_token"));
    assert_eq!(token.json()["vendor"], "v");
    let ready = ask(&socket, Request::get("/readyz")).await;
    assert_eq!((ready.status, ready.json()["without_valid_token"].clone()), (200, json!({})));
    assert_eq!(ready.json()["oas"], 1);
    for (method, target, body) in [
        ("POST", "/v1/oas/1/refresh", ""),
        ("PUT", "/v1/oas/1/token-set", "{}"),
        ("PUT", "/v1/oas/1", "{\"app_id\": \"app\"}"),
        ("DELETE", "/v1/oas/1", ""),
    ] {
        let refused = ask(&socket, Request { method, target, headers: &[], body }).await;
        assert_eq!(refused.status, 409, "{method} {target}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_it_can_be_said_that_consent_was_given() {
    let bench = holding("", &[("1", 10, "")]).await;
    bench.add_oa("own");
    let at = now().minus(80 * DAY).to_string();
    let output = bench.run(&["authorized", "1", "--at", &at]).await;
    assert!(output.status.success(), "{}", harness::text(&output.stderr));
    assert!(harness::text(&output.stdout).contains("until"), "{}", harness::text(&output.stdout));
    let status = bench.status("1").await;
    assert_eq!((&status["granted_at"], &status["state"]), (&json!(at), &json!("scheduled")));
    for (arguments, phrase) in [
        (&["authorized", "own"][..], "is not held by a vendor"),
        (&["authorized", "no"], "add an [[oa]] section"),
        (&["authorized", "1", "--at", "2099-01-01T00:00:00Z"], "lies in the future"),
    ] {
        let output = bench.run(arguments).await;
        let text = harness::text(&output.stderr);
        assert!(output.status.code() == Some(1) && text.contains(phrase), "{arguments:?}: {text}");
    }
    let daemon = bench.start().await;
    daemon.wait_for_oa("oa.reauthorization_required", "1").await;
}
