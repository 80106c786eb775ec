//! After the gate: one request, one connection, and the whole answer or as much of it as came (I6, I7).

mod wire;

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use wire::*;
use zalo_tokend::rotation::LONGEST_BODY;
use zalo_tokend::zalo::Presented;

/// Lets an attempt through the gate and plays the server with it. What the script leaves unsaid, nobody says: the
/// connection then stays open until the client closes it. Only one request may come, and one connection.
async fn after_the_gate(answer: Duration, script: impl AsyncFnOnce(&mut Wire)) -> Presented {
    let server = Server::start().await;
    let mut attempt = Attempt::start(&plain_door(), server.url("http"), answer);
    assert!(attempt.commit(Ok(())));
    let mut wire = server.accept().await;
    wire.read_request().await;
    let (presented, ()) = tokio::join!(attempt.end(), async {
        script(&mut wire).await;
        assert_eq!(wire.rest().await, b"", "more than one request came");
    });
    server.assert_nobody_else_came().await;
    presented
}

async fn after_saying(text: impl AsRef<[u8]>) -> Presented {
    let script = async |wire: &mut Wire| {
        wire.say(text).await;
        wire.finish().await;
    };
    after_the_gate(LONG, script).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_or_resets_gave_no_answer() {
    assert_no_answer(&after_saying("").await);
    assert_no_answer(&after_the_gate(LONG, async |wire| wire.reset()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_never_ends_is_no_answer() {
    let half = "HTTP/1.1 200 OK\r\ncontent-le";
    assert_no_answer(&after_saying(half).await);
    let stalls = async |wire: &mut Wire| assert!(wire.say(half).await);
    assert_no_answer(&after_the_gate(SHORT, stalls).await);
    let resets = async |wire: &mut Wire| {
        wire.say(half).await;
        wire.reset();
    };
    assert_no_answer(&after_the_gate(LONG, resets).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_waited_for_to_the_cap() {
    let started = Instant::now();
    assert_no_answer(&after_the_gate(SHORT, async |_| ()).await);
    assert!(started.elapsed() >= SHORT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cap_counts_from_the_opening_of_the_gate() {
    let server = Server::start().await;
    let mut attempt = Attempt::start(&plain_door(), server.url("http"), SHORT);
    let mut wire = server.accept().await;
    wire.read_all_but_the_last_byte().await;
    tokio::time::sleep(SHORT * 2 / 3).await;
    assert!(attempt.commit(Ok(())));
    wire.read_request().await;
    tokio::time::sleep(SHORT * 2 / 3).await;
    wire.say(answer("200 OK", TOKEN_SET)).await;
    assert_eq!(whole(&attempt.end().await), (200, TOKEN_SET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_http_is_no_answer() {
    for text in
        ["\u{1}\u{2}\u{3}\r\n\r\n", "SSH-2.0-OpenSSH_9.6\r\n", "HTTP/1.1 200 OK\r\nbad header\r\n\r\n{}"]
    {
        assert_no_answer(&after_saying(text).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f36_a_header_of_a_megabyte_is_no_answer() {
    let long = "a".repeat(1 << 20);
    let presented = after_the_gate(LONG, async |wire| {
        // The client may hang up in the middle of it.
        wire.say(format!("HTTP/1.1 200 OK\r\nx-long: {long}\r\ncontent-length: 2\r\n\r\n{{}}")).await;
    });
    assert_no_answer(&presented.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_of_a_body_that_broke_off_is_kept() {
    let half = &TOKEN_SET[..50];
    let announced = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{half}", TOKEN_SET.len());
    let chunked =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{half}\r\n", half.len());
    let inside_a_chunk =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{half}", TOKEN_SET.len());
    let bad_chunk = format!("{chunked}zzz\r\n");
    for text in [&announced, &chunked, &inside_a_chunk, &bad_chunk] {
        let presented = after_saying(text).await;
        assert_eq!(answered(&presented).status, 200);
        assert_eq!(cut_off(&presented), half.as_bytes(), "{text}");
    }
    let stalls = async |wire: &mut Wire| assert!(wire.say(&announced).await);
    assert_eq!(cut_off(&after_the_gate(SHORT, stalls).await), half.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_before_a_reset_is_kept() {
    let half = &TOKEN_SET[..50];
    let presented = after_the_gate(LONG, async |wire| {
        wire.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{half}", TOKEN_SET.len())).await;
        // A reset drops what the other side has not read yet, so it is given the time to read.
        tokio::time::sleep(SILENCE).await;
        wire.reset();
    });
    assert_eq!(cut_off(&presented.await), half.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f35_a_body_that_drips_past_the_cap_is_kept_as_far_as_it_came() {
    let presented = after_the_gate(SHORT, async |wire| {
        wire.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", TOKEN_SET.len())).await;
        for byte in TOKEN_SET.bytes() {
            if !wire.say([byte]).await {
                return;
            }
            tokio::time::sleep(SHORT / 20).await;
        }
        panic!("the client listened for longer than its cap");
    });
    let presented = presented.await;
    let came = cut_off(&presented);
    assert!(!came.is_empty() && TOKEN_SET.as_bytes().starts_with(came));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f35_a_body_that_drips_within_the_cap_is_read_whole() {
    let presented = after_the_gate(LONG, async |wire| {
        for byte in answer("200 OK", TOKEN_SET).bytes() {
            assert!(wire.say([byte]).await);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(whole(&presented.await), (200, TOKEN_SET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f36_a_body_is_read_up_to_64_kib() {
    let fits = "x".repeat(LONGEST_BODY);
    assert_eq!(whole(&after_saying(answer("200 OK", &fits)).await), (200, fits.as_str()));
    for too_long in ["x".repeat(LONGEST_BODY + 1), "x".repeat(5 << 20)] {
        let presented = after_the_gate(LONG, async |wire| {
            // The client may hang up in the middle of it.
            wire.say(answer("200 OK", &too_long)).await;
        });
        assert_eq!(cut_off(&presented.await), fits.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_connection_ends_a_body_of_unannounced_length() {
    let half = &TOKEN_SET[..50];
    let presented = after_saying(format!("HTTP/1.0 200 OK\r\n\r\n{half}")).await;
    assert_eq!(whole(&presented), (200, half));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_answer_does_not_wait_for_the_end_of_its_connection() {
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{TOKEN_SET}\r\n0\r\n\r\n",
        TOKEN_SET.len()
    );
    for text in [answer("200 OK", TOKEN_SET), chunked] {
        let presented = after_the_gate(LONG, async |wire| assert!(wire.say(text).await));
        assert_eq!(whole(&presented.await), (200, TOKEN_SET));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_after_an_interim_one_counts() {
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"] {
        let presented = after_saying(format!("{interim}{interim}{}", answer("200 OK", TOKEN_SET))).await;
        assert_eq!(whole(&presented), (200, TOKEN_SET));
    }
    assert_no_answer(&after_saying("HTTP/1.1 100 Continue\r\n\r\n").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_answer_is_not_listened_to() {
    let twice = format!("{}{}", answer("200 OK", TOKEN_SET), answer("200 OK", r#"{"error":-14014}"#));
    assert_eq!(whole(&after_saying(twice).await), (200, TOKEN_SET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_s_status_and_body_are_handed_on_as_they_are() {
    for status in [400, 401, 429, 500, 502, 503, 504] {
        let body = r#"{"error":-14014,"message":"x"}"#;
        let presented = after_saying(answer(&format!("{status} x"), body)).await;
        assert_eq!(whole(&presented), (status, body));
    }
    assert_eq!(whole(&after_saying("HTTP/1.1 204 No Content\r\n\r\n").await), (204, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f27_a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = Server::start().await;
    for status in [301, 302, 303, 307, 308] {
        let location = elsewhere.url("http");
        let text = format!("HTTP/1.1 {status} x\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(whole(&after_saying(text).await), (status, ""));
    }
    elsewhere.assert_nobody_else_came().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_request_takes_a_connection_of_its_own() {
    let (server, door) = (Server::start().await, plain_door());
    let mut wires = Vec::new();
    for _ in 0..3 {
        let mut attempt = Attempt::start(&door, server.url("http"), LONG);
        assert!(attempt.commit(Ok(())));
        let mut wire = server.accept().await;
        wire.read_request().await;
        let kept = format!(
            "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nkeep-alive: timeout=600\r\ncontent-length: {}\r\n\r\n{TOKEN_SET}",
            TOKEN_SET.len()
        );
        wire.say(kept).await;
        assert_eq!(whole(&attempt.end().await), (200, TOKEN_SET));
        wires.push(wire);
    }
    for mut wire in wires {
        assert_eq!(wire.rest().await, b"", "a connection was used again");
    }
    server.assert_nobody_else_came().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_read_as_seconds_or_as_a_date() {
    let date = |millis: i64| {
        let since = Duration::from_millis(u64::try_from(millis).expect("after 1970"));
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since)
    };
    let later = date(NOW.as_millis() + 90_000);
    assert_eq!(later, "Sun, 22 Nov 2026 01:01:30 GMT");
    let earlier = date(NOW.as_millis() - 90_000);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    for (value, expected) in [
        ("120", seconds(120)),
        ("0", seconds(0)),
        (later.as_str(), seconds(90)),
        ("Sunday, 22-Nov-26 01:01:30 GMT", seconds(90)),
        (earlier.as_str(), seconds(0)),
        ("99999999999999999999999", seconds(u64::MAX)),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("\u{ff}", None),
    ] {
        let text = format!("HTTP/1.1 429 x\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(answered(&after_saying(text).await).retry_after, expected, "{value}");
    }
    assert_eq!(answered(&after_saying(answer("429 x", "")).await).retry_after, None);
}
