//! What Zalo's API says of an access token: the body of its answer.

use zalo_tokend::oauth::{ProbeAnswer, read_probe_answer};

pub fn check(body: &[u8]) {
    let answer = read_probe_answer(body);
    match &answer {
        ProbeAnswer::Accepted(oa) => {
            assert!(!oa.as_str().is_empty(), "accepted, and nobody's");
            let said = serde_json::json!({ "error": 0, "data": { "oa_id": oa.as_str() } }).to_string();
            assert_eq!(read_probe_answer(said.as_bytes()), answer);
        }
        ProbeAnswer::Refused(code) => assert!(code.kills_access_token(), "refused by {code}"),
        ProbeAnswer::Error(code) => assert!(!code.kills_access_token() && code.0 != 0, "no refusal: {code}"),
        ProbeAnswer::Unreadable => {}
    }
    // An answer that broke off says nothing, and so does anything that follows one that did not.
    if let Some(cut) = body.strip_suffix(b"}")
        && !cut.contains(&b'}')
    {
        assert_eq!(read_probe_answer(cut), ProbeAnswer::Unreadable);
    }
}
