//! An answer that breaks off after any of its bytes, over the wire, by the real binary: what came of it is used if both
//! tokens are whole, and is no answer otherwise.

mod harness;

use harness::Bench;
use harness::herd::names;
use harness::rows::*;
use zalo_tokend::simulator::{Answer, Ending, Fault, Length, MARKER, Rule};

const LOST: &str = "oa.reauthorization_required";
const ADOPTED: &str = "refresh.succeeded";

/// More bytes than an answer of the simulator has.
const LONGEST: usize = 930;
/// One in so many of them is the last before a reset.
const STRIDE: usize = 4;

/// The body of the answer that made the OA's newest set.
fn body_of(bench: &Bench, oa: &str) -> String {
    let set = bench.simulator.current_set(oa).expect("granted");
    let (access, refresh) = (set.access_token, set.refresh_token);
    serde_json::json!({
        "access_token": access.expose(), "refresh_token": refresh.expose(), "expires_in": "90000"
    })
    .to_string()
}

/// Where in the answer the second token is whole.
fn whole_tokens(body: &str) -> usize {
    let ends = body.match_indices(MARKER).map(|(at, _)| at + body[at..].find('"').expect("closed") + 1);
    ends.max().expect("two tokens")
}

#[tokio::test(flavor = "multi_thread")]
async fn f34_an_answer_cut_after_any_byte_is_used_from_the_end_of_its_second_token_on() {
    let bench = Bench::new().await;
    bench.set_refresh(ROOMY);
    let (ordered, reset) = (names("oafi", LONGEST), names("oars", LONGEST / STRIDE));
    for (oas, ending, stride) in [(&ordered, Ending::Fin, 1), (&reset, Ending::Rst, STRIDE)] {
        for (n, oa) in oas.iter().enumerate() {
            let answer = Answer::Truncated { after: n * stride, ending, length: Length::Told };
            bench.simulator.fault(Rule::once(Fault::spent(answer)).for_oa(oa));
        }
        bench.add_lone_herd(oas, A_WHILE);
    }
    let mut daemon = bench.start().await;
    for (after, oa) in ordered.iter().enumerate() {
        let event = daemon.wait_for_either([LOST, ADOPTED], oa).await;
        let body = body_of(&bench, oa);
        assert!(body.len() < LONGEST, "an answer is longer than was thought: {}", body.len());
        let expected = if after >= whole_tokens(&body) { ADOPTED } else { LOST };
        assert_eq!(event["event"], expected, "cut after {after} of {}", body.len());
    }
    // A reset may also take with it what had come before it.
    for (n, oa) in reset.iter().enumerate() {
        let event = daemon.wait_for_either([LOST, ADOPTED], oa).await;
        let may_be_adopted = n * STRIDE >= whole_tokens(&body_of(&bench, oa));
        assert!(event["event"] == LOST || may_be_adopted, "reset after {}", n * STRIDE);
    }
    assert!(daemon.stop().await.success());
    for event in daemon.events(LOST) {
        assert_eq!(event["reason"], "response_lost", "{event}");
    }
    let ledger = bench.simulator.ledger();
    for oa in ordered.iter().chain(&reset) {
        assert_eq!((ledger.presentations_of(oa), ledger.spends_of(oa)), (1, 1), "{oa}");
    }
    assert_clean(&ledger);
}
