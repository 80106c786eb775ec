//! An answer of the token endpoint: a byte that says how it came, and its body.

use std::time::Duration;

use zalo_tokend::oauth::{Answer, ErrorCode, GrantedTokens, Oddity, read_token_answer};
use zalo_tokend::rotation::{AnswerBytes, Ending, Exchange, Verdict, judge};

use super::assert_no_secret;

const LONGEST_ACCESS_TOKEN_LIFE: Duration = Duration::from_secs(34_560_000);

pub fn check(bytes: &[u8]) {
    let Some((how, body)) = bytes.split_first() else { return };
    let (is_whole, is_throttled) = (how & 1 == 0, how & 2 != 0);
    let answer = AnswerBytes {
        status: if is_throttled { 429 } else { 200 },
        retry_after: None,
        body: body.to_vec(),
        ending: if is_whole { Ending::Whole } else { Ending::CutOff("the answer broke off".to_owned()) },
    };
    let exchange = Exchange::Answered(answer);
    assert_no_secret(&format!("{exchange:?}"));
    let verdict = judge(&exchange);
    assert_no_secret(&verdict.detail());
    assert_no_secret(&format!("{verdict:?}"));
    match &verdict {
        Verdict::Granted(tokens) => {
            assert_granted(tokens);
            let has_both = tokens.access_token.is_some() && tokens.refresh_token.is_some();
            assert!(is_whole || has_both, "half of what broke off");
        }
        Verdict::Dead(code) | Verdict::AppRefused(code) => {
            assert!(is_whole, "a verdict out of what broke off");
            assert_ne!(*code, ErrorCode(0), "no error");
        }
        Verdict::Throttled { .. } => assert!(is_throttled),
        Verdict::Unknown { .. } => {}
        Verdict::NotPresented { .. } => panic!("an answer to what was not presented"),
    }
}

/// Tokens that can be stored, sent in a header and presented, and lives that can be planned by.
pub fn assert_granted(tokens: &GrantedTokens) {
    let both = [&tokens.access_token, &tokens.refresh_token];
    assert!(both.iter().any(|token| token.is_some()), "granted, and no token");
    for token in both.into_iter().flatten() {
        let is_one = !token.expose().is_empty() && token.expose().bytes().all(|b| b.is_ascii_graphic());
        assert!(is_one, "no token");
    }
    assert!((Duration::from_secs(1)..=LONGEST_ACCESS_TOKEN_LIFE).contains(&tokens.access_token_life));
    assert!(tokens.refresh_token_life.is_none_or(|life| life >= Duration::from_secs(1)));
    assert_eq!(read_token_answer(as_zalo_says(tokens).as_bytes()), Answer::Granted(plain(tokens)));
}

/// The same tokens as Zalo answers them.
fn as_zalo_says(tokens: &GrantedTokens) -> String {
    let mut answer = serde_json::Map::new();
    let mut say = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            answer.insert(key.to_owned(), value.into());
        }
    };
    say("access_token", tokens.access_token.as_ref().map(|token| token.expose().to_owned()));
    say("refresh_token", tokens.refresh_token.as_ref().map(|token| token.expose().to_owned()));
    say("expires_in", Some(tokens.access_token_life.as_secs().to_string()));
    say("refresh_token_expires_in", tokens.refresh_token_life.map(|life| life.as_secs().to_string()));
    serde_json::Value::Object(answer).to_string()
}

fn plain(tokens: &GrantedTokens) -> GrantedTokens {
    GrantedTokens { oddities: Vec::<Oddity>::new(), ..tokens.clone() }
}
