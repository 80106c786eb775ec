//! What a vendor answers: a byte for the style, two for the status, and then the body.

use zalo_tokend::clock::Time;
use zalo_tokend::secret::Secret;
use zalo_tokend::simulator::MARKER;
use zalo_tokend::vendor::{Hosts, Outcome, Said, Shop, ShopOutcome, Style, check_link, read_link, read_shop};

use super::assert_no_secret;

const YEAR_MS: i64 = 366 * 86_400_000;

pub fn check(bytes: &[u8]) {
    let [style, high, low, body @ ..] = bytes else { return };
    let style = [Style::Interits, Style::Etelecom, Style::Sencloud][usize::from(style % 3)];
    let status = u16::from_be_bytes([*high, *low]) % 1_000;
    let key = Secret::new(format!("{MARKER}-key"));
    let hosts = Hosts { names: ["oauth.zaloapp.com".to_owned()].into(), on_this_machine: false };
    let now = Time::from_millis(1_800_000_000_000);

    let answer = read_link(style, status, body, &hosts, &key);
    assert_harmless(&answer.said);
    match answer.outcome {
        Outcome::Link(link) => {
            assert!(link.starts_with("https://oauth.zaloapp.com/"), "{link}");
            assert_eq!(check_link(&link, &hosts, &key), Ok(link.clone()), "what is shown may be shown");
            assert_no_secret(&link);
        }
        Outcome::Nothing => {}
        Outcome::Misconfigured(why) | Outcome::Refused(why) | Outcome::Failed(why) => assert_no_secret(&why),
    }
    let answer = read_shop(status, body, &key, now);
    assert_harmless(&answer.said);
    match answer.outcome {
        ShopOutcome::Told(Shop { status: _, expires_at, updated_at: _ }) => {
            let is_near = |at: Time| (at.as_millis() - now.as_millis()).abs() <= 2 * YEAR_MS;
            assert!(expires_at.is_none_or(is_near), "{expires_at:?}");
        }
        ShopOutcome::NotTold(why) | ShopOutcome::Refused(why) | ShopOutcome::Failed(why) => {
            assert_no_secret(&why)
        }
    }
}

/// What goes into the log is short, is one line, and has nothing of the key.
fn assert_harmless(said: &Said) {
    for text in [&said.code, &said.message, &said.referent_id].into_iter().flatten() {
        assert!(text.chars().count() <= 201 && !text.chars().any(char::is_control), "{text:?}");
        assert_no_secret(text);
    }
}
