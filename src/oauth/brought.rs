//! A token response that somebody brings by hand: both tokens, or nothing.

use super::answer::{Answer, GrantedTokens, Oddity, Unreadable, read_token_answer};

/// The whole token set that somebody brings as Zalo's token response.
///
/// # Errors
/// What it is instead, in words without secrets.
pub fn whole_set(body: &[u8]) -> Result<GrantedTokens, String> {
    let refuse = |what: &str| Err(what.to_owned());
    let tokens = match read_token_answer(body) {
        Answer::Granted(tokens) => tokens,
        Answer::Error(code) => return Err(format!("this is Zalo's error {code}, not a token response")),
        Answer::Unreadable(Unreadable::Empty) => return refuse("nothing came"),
        Answer::Unreadable(Unreadable::NotWhole) => return refuse("not a whole JSON object"),
        Answer::Unreadable(Unreadable::OddToken) => {
            return refuse("a token holds blanks or other characters that no token has");
        }
        Answer::Unreadable(Unreadable::NothingInIt) => return refuse("no token is in it"),
    };
    if tokens.oddities.contains(&Oddity::CutOff) {
        return refuse("not a whole JSON object");
    }
    match (&tokens.access_token, &tokens.refresh_token) {
        (Some(_), Some(_)) => Ok(tokens),
        (None, _) => refuse("access_token is missing"),
        (_, None) => refuse("refresh_token is missing"),
    }
}
