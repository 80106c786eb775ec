//! Each fault, as the client meets it and as the ledger keeps it.

use super::*;

const WAIT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn at_accept_a_connection_can_be_closed_reset_or_never_read() {
    let play = Play::with(Fault::CloseAtAccept).await;
    let mut stream = play.connect().await;
    assert_eq!(read_answer(&mut stream).await.end, End::Fin);

    play.simulator.fault(Rule::once(Fault::ResetAtAccept));
    let mut stream = play.connect().await;
    assert_eq!(read_answer(&mut stream).await.end, End::Rst);

    play.simulator.fault(Rule::once(Fault::StallAtAccept));
    let mut stream = play.connect().await;
    send(&mut stream, &play.request()).await;
    let ledger = play.until(|ledger| ledger.connections() == 3).await;
    assert_eq!(ledger.incomplete(), 2, "the third is still held");
    drop(stream);
    let ledger = play.until(|ledger| ledger.incomplete() == 3).await;
    assert_eq!((ledger.presentations(), ledger.spends()), (0, 0));
    assert!(kinds(&ledger, 3).contains(&Kind::Incomplete { body_bytes: 0, of: None, answered: false }));
    assert_eq!(play.present().await.status, Some(200), "the faults are used up");
}

/// Sends all but the last byte.
async fn withhold(play: &Play) -> (TcpStream, u8, usize) {
    let bytes = play.request();
    let (last, before) = bytes.split_last().expect("a request");
    let mut stream = play.connect().await;
    send(&mut stream, before).await;
    (stream, *last, bytes.len() - head_length(&bytes).expect("a head"))
}

#[tokio::test]
async fn a_request_that_ends_before_its_last_byte_is_not_a_presentation() {
    let play = Play::new().await;
    let (stream, _, length) = withhold(&play).await;
    drop(stream);
    let ledger = play.until(|ledger| ledger.incomplete() == 1).await;
    let kind = Kind::Incomplete { body_bytes: length - 1, of: Some(length), answered: false };
    assert_eq!(kinds(&ledger, 1), [Kind::Connected, kind]);
    assert_eq!(play.present().await.status, Some(200));
    assert!(play.simulator.ledger().is_clean());
}

#[tokio::test]
async fn a_reset_before_the_last_byte_leaves_the_token_alone() {
    let play = Play::new().await;
    play.simulator.fault(Rule::once(Fault::ResetBeforeLastByte).for_oa("oa"));
    let (mut stream, _, length) = withhold(&play).await;
    assert_eq!(read_answer(&mut stream).await.end, End::Rst);
    let ledger = play.until(has_ended).await;
    let kind = Kind::Incomplete { body_bytes: length - 1, of: Some(length), answered: false };
    assert_eq!(kinds(&ledger, 1), [Kind::Connected, kind]);
    let entry = ledger.entries_of("oa").last().expect("the OA was recognised");
    assert_eq!(entry.fault.as_deref(), Some("reset before the last byte"));
}

#[tokio::test]
async fn an_answer_before_the_last_byte_notes_whether_that_byte_came() {
    for comes in [false, true] {
        let early = Fault::AnswerBeforeLastByte {
            status: 429,
            headers: vec![("Retry-After".to_owned(), "5".to_owned())],
            body: Body::from("slow down"),
        };
        let play = Play::with(early).await;
        let (mut stream, last, length) = withhold(&play).await;
        let got = read_answer(&mut stream).await;
        assert_eq!((got.status, got.body.as_slice()), (Some(429), &b"slow down"[..]));
        assert!(got.head.contains("Retry-After: 5"));
        if comes {
            send(&mut stream, &[last]).await;
            let ledger = play.until(has_ended).await;
            let sent = Kind::AnswerSent { status: 429, says: Said::Throttled };
            assert_eq!(kinds(&ledger, 1), [Kind::Connected, Kind::Presented, sent]);
        } else {
            drop(stream);
            let ledger = play.until(has_ended).await;
            let kind = Kind::Incomplete { body_bytes: length - 1, of: Some(length), answered: true };
            assert_eq!(kinds(&ledger, 1), [Kind::Connected, kind]);
        }
        assert_eq!(play.simulator.ledger().spends(), 0);
    }
}

#[tokio::test]
async fn a_client_that_sends_all_at_once_has_presented_whatever_came_early() {
    for fault in [
        Fault::ResetBeforeLastByte,
        Fault::AnswerBeforeLastByte { status: 503, headers: Vec::new(), body: Body::default() },
    ] {
        let play = Play::with(fault).await;
        play.present().await;
        let ledger = play.until(has_ended).await;
        assert_eq!((ledger.presentations(), ledger.spends()), (1, 0));
        play.present().await;
        assert_eq!(play.simulator.ledger().presented_again_without_proof().len(), 1);
    }
}

#[tokio::test]
async fn a_stall_before_the_last_byte_lasts_until_the_client_goes() {
    let play = Play::with(Fault::StallBeforeLastByte).await;
    let (mut stream, last, _) = withhold(&play).await;
    send(&mut stream, &[last]).await;
    play.until(|ledger| ledger.presentations() == 1).await;
    drop(stream);
    let ledger = play.until(has_ended).await;
    let unanswered = Kind::Unanswered { status: None, says: Said::Nothing };
    assert_eq!(kinds(&ledger, 1), [Kind::Connected, Kind::Presented, unanswered]);
}

#[tokio::test]
async fn without_an_answer_a_spent_token_is_a_lost_answer_and_an_unspent_one_is_not() {
    for (answer, end) in [(Answer::CloseWithoutAnswer, End::Fin), (Answer::Reset, End::Rst)] {
        let play = Play::with(Fault::spent(answer.clone())).await;
        assert_eq!(play.present().await.end, end);
        let ledger = play.simulator.ledger();
        assert_eq!((ledger.spends(), ledger.answers_lost()), (1, 1));
        assert_eq!(play.probe().await, -216);

        let play = Play::with(Fault::unspent(answer)).await;
        assert_eq!(play.present().await.end, end);
        let ledger = play.simulator.ledger();
        assert_eq!((ledger.spends(), ledger.answers_lost()), (0, 0));
        assert_eq!(play.probe().await, 0);
    }
}

#[tokio::test]
async fn a_stalled_answer_is_lost_when_the_client_goes() {
    let play = Play::with(Fault::spent(Answer::Stall)).await;
    play.present_and_go().await;
    let ledger = play.until(|ledger| ledger.answers_lost() == 1).await;
    assert_eq!(ledger.spends(), 1);
}

#[tokio::test]
async fn a_slow_queue_spends_the_token_after_the_client_has_gone() {
    let play = Play::with(Fault::spent_later(WAIT, Answer::Stall)).await;
    play.present_and_go().await;
    assert_eq!(play.probe().await, 0, "not yet");
    let ledger = play.until(|ledger| ledger.answers_lost() == 1).await;
    assert!(ledger.entries_of("oa").any(|entry| matches!(entry.kind, Kind::Spent { late: true, .. })));
    assert_eq!(play.probe().await, -216);
}

#[tokio::test]
async fn a_slow_queue_can_answer_before_it_spends() {
    let play = Play::with(Fault::spent_later(WAIT, Answer::custom(504, "late"))).await;
    assert_eq!(play.present().await.status, Some(504));
    assert_eq!(play.simulator.ledger().spends(), 0);
    let ledger = play.until(|ledger| ledger.spends() == 1).await;
    assert_eq!(ledger.answers_sent(), 1);
    play.until(|ledger| ledger.answers_lost() == 1).await;
}

#[tokio::test]
async fn a_slow_queue_delivers_to_a_client_that_waits() {
    let play = Play::with(Fault::spent_later(WAIT, Answer::Normal)).await;
    assert!(play.present().await.json()["refresh_token"].is_string());
    let ledger = play.simulator.ledger();
    assert_eq!((ledger.spends(), ledger.answers_sent(), ledger.answers_lost()), (1, 1, 0));
}

#[tokio::test]
async fn an_answer_can_be_delayed_or_held_until_released() {
    let play = Play::with(Fault::spent(Answer::Delayed(WAIT))).await;
    assert!(play.present().await.json()["refresh_token"].is_string());

    let play = Play::with(Fault::spent(Answer::Held)).await;
    play.simulator.release();
    let mut stream = play.connect().await;
    send(&mut stream, &play.request()).await;
    let ledger = play.until(|ledger| ledger.spends() == 1).await;
    assert_eq!(ledger.answers_sent(), 0, "a release before it is no release of it");
    play.simulator.release();
    assert!(read_answer(&mut stream).await.json()["refresh_token"].is_string());
}

#[tokio::test]
async fn an_answer_can_be_cut_at_any_byte_of_its_body() {
    for (ending, end) in [(Ending::Fin, End::Fin), (Ending::Rst, End::Rst)] {
        for length in [Length::Told, Length::CloseDelimited] {
            for after in [0, 1, 400] {
                let play = Play::with(Fault::spent(Answer::Truncated { after, ending, length })).await;
                let got = play.present().await;
                assert_eq!((got.status, got.body.len(), &got.end), (Some(200), after, &end));
                assert_eq!(got.head.contains("Content-Length"), length == Length::Told);
                assert_eq!(play.simulator.ledger().answers_lost(), 1);
            }
        }
    }
}

#[tokio::test]
async fn a_head_can_be_cut() {
    let fault = Fault::spent(Answer::TruncatedHead { after: 11, ending: Ending::Fin });
    let play = Play::with(fault).await;
    let got = play.present().await;
    assert_eq!((got.head.as_str(), got.end), ("HTTP/1.1 20", End::Fin));
    assert_eq!(play.simulator.ledger().answers_lost(), 1);
}

#[tokio::test]
async fn an_answer_can_drip() {
    let per_byte = Duration::from_micros(50);
    let play = Play::with(Fault::spent(Answer::Dripped { per_byte })).await;
    assert!(play.present().await.json()["refresh_token"].is_string());
    play.simulator.fault(Rule::once(Fault::unspent(Answer::Dripped { per_byte: SOON })));
    play.present_and_go().await;
    play.until(|ledger| ledger.entries().iter().any(|e| matches!(e.kind, Kind::Unanswered { .. }))).await;
}

#[tokio::test]
async fn an_answer_of_ones_own_gets_the_real_tokens() {
    let body =
        r#"{"data":{"refresh_token":"{refresh_token}","access_token":"{access_token}"},"expires_in":1e400}"#;
    let play = Play::with(Fault::spent(Answer::custom(200, body))).await;
    let got = play.present().await;
    let current = play.simulator.current_set("oa").expect("an OA");
    let said = String::from_utf8(got.body).expect("text");
    assert!(said.contains(current.access_token.expose()) && said.contains(current.refresh_token.expose()));
    assert!(said.ends_with(r#""expires_in":1e400}"#));
    assert_eq!(play.simulator.ledger().answers_sent(), 1);

    let play = Play::with(Fault::spent(Answer::custom(502, "<html>"))).await;
    assert_eq!(play.present().await.status, Some(502));
    assert_eq!(play.simulator.ledger().answers_lost(), 1, "the tokens were not in it");
}

#[tokio::test]
async fn an_answer_can_be_endless_have_a_huge_header_or_lead_elsewhere() {
    let play = Play::with(Fault::spent(Answer::Endless)).await;
    let mut stream = play.connect().await;
    send(&mut stream, &play.request()).await;
    let mut sink = vec![0; 1_000_000];
    stream.read_exact(&mut sink).await.expect("more than anybody wants");
    drop(stream);
    play.until(|ledger| ledger.answers_lost() == 1).await;

    let play = Play::with(Fault::spent(Answer::HugeHeader { bytes: 1_000_000 })).await;
    let got = play.present().await;
    assert!(got.head.len() > 1_000_000 && got.json()["access_token"].is_string());

    let play = Play::with(Fault::unspent(Answer::Redirect { status: 307, location: None })).await;
    let got = play.present().await;
    assert_eq!(got.status, Some(307));
    let to = got.head.split("Location: http://").nth(1).and_then(|rest| rest.split('/').next());
    let mut stream = TcpStream::connect(to.expect("a place")).await.expect("it listens");
    let head = format!("POST /redirect-target HTTP/1.1\r\nsecret_key: {APP_SECRET}\r\n\r\n");
    send(&mut stream, head.as_bytes()).await;
    read_answer(&mut stream).await;
    let ledger = play.simulator.ledger();
    assert_eq!(ledger.redirects_followed(), 1);
    assert!(!ledger.is_clean());
}

#[tokio::test]
async fn a_fault_for_one_oa_leaves_the_others_alone() {
    let play = Play::new().await;
    play.simulator.fault(Rule::forever(Fault::unspent(Answer::Normal)).for_oa("other"));
    assert_eq!(play.present().await.status, Some(200));
    let other = play.simulator.grant("app", "other");
    let play = Play { refresh: text(&other, "refresh_token"), ..play };
    assert_eq!(play.present().await.status, Some(503));
    play.simulator.clear_faults();
    assert_eq!(play.present().await.status, Some(200));
}
