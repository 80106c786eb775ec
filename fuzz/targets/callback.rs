//! The address that a person comes back by, and our own links: whatever anybody writes into a query.

use zalo_tokend::authorize::Link;
use zalo_tokend::clock::Time;
use zalo_tokend::config::check_id;
use zalo_tokend::id::AppId;
use zalo_tokend::oauth::{Callback, code_form};
use zalo_tokend::secret::Secret;

pub fn check(bytes: &[u8]) {
    let Ok(query) = std::str::from_utf8(bytes) else { return };
    let Callback { state, code, oa_id } = Callback::read(query);
    for value in [state.as_ref().map(Secret::expose), code.as_ref().map(Secret::expose)].into_iter().flatten()
    {
        assert!(!value.is_empty() && value.len() <= 2_048, "a value that no parameter has");
    }
    assert!(oa_id.is_none_or(|oa_id| !oa_id.as_str().is_empty()));
    if let Some(code) = code {
        let form = code_form(&AppId::from("1"), &code, &Secret::new("v".repeat(43)));
        let (_, last) = form.expose().rsplit_once("&code=").expect("a code");
        assert!(!last.contains(['&', '=', ' ', '\r', '\n']), "the code is the last field, and nothing else");
        let alone = Callback::read(&format!("code={last}"));
        assert_eq!(alone.code.as_ref().map(Secret::expose), Some(code.expose()), "and whole");
    }
    // Nobody has the key.
    let (key, now) = (Secret::new("the key of the store".to_owned()), Time::from_millis(1_800_000_000_000));
    for text in [query, query.strip_prefix("link=").unwrap_or_default()] {
        if let Ok(link) = Link::read(text, &key, now) {
            assert!(check_id(link.oa_id.as_str()).is_ok() && link.ends > now);
            assert_eq!(link.signed(&key), text, "one text for one link");
        }
    }
}
