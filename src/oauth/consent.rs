//! A person's consent: the address that he is sent to, the address that he comes back by, and the form that exchanges the
//! code he brings (RFC 6749 section 4.1, with Zalo's names; RFC 7636 with S256, which Zalo does not let one choose).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use crate::id::{AppId, OaId};
use crate::secret::Secret;

/// How many random bytes a verifier is made of: 43 characters, as Zalo's documents have it.
const VERIFIER_BYTES: usize = 32;
/// How many random bytes a state is made of: 128 bits.
const STATE_BYTES: usize = 16;
/// The longest value of a parameter that is looked at. A code is some hundred characters.
const LONGEST_VALUE: usize = 2_048;

/// The secret of PKCE: whoever has it, and only he, can exchange the code.
pub fn new_verifier() -> Option<Secret> {
    Secret::random(VERIFIER_BYTES)
}

/// What binds the way back to the way there. `None`, here and above: the system has no randomness.
pub fn new_state() -> Option<Secret> {
    Secret::random(STATE_BYTES)
}

/// What a verifier may look like (RFC 7636 section 4.1).
pub fn is_verifier(text: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved)
}

/// The challenge of a verifier: its SHA-256 in base64url without padding.
fn challenge(verifier: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(verifier.digest().as_bytes())
}

/// Where a person grants consent for one of his OAs.
pub fn permission_url(
    permission_page: &Url,
    app: &AppId,
    redirect_uri: &str,
    verifier: &Secret,
    state: &Secret,
) -> Url {
    let mut url = permission_page.clone();
    url.query_pairs_mut()
        .append_pair("app_id", app.as_str())
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("code_challenge", &challenge(verifier))
        .append_pair("state", state.expose());
    url
}

/// What a person comes back with. Nothing in it is to be believed. Without `Debug`: the code is as secret as a token.
#[derive(Clone, Default)]
pub struct Callback {
    /// What binds it to the way there.
    pub state: Option<Secret>,
    /// The code.
    pub code: Option<Secret>,
    /// The OA that consent was given for, as Zalo says.
    pub oa_id: Option<OaId>,
}

impl Callback {
    /// Reads the query of the address. Of a parameter that comes twice neither counts; nor does an empty one, or one longer
    /// than any that makes sense.
    pub fn read(query: &str) -> Callback {
        let only = |wanted: &str| {
            let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == wanted);
            let value = found.next().map(|(_, value)| value.into_owned());
            let value = value.filter(|value| !value.is_empty() && value.len() <= LONGEST_VALUE);
            value.filter(|_| found.next().is_none())
        };
        Callback {
            state: only("state").map(Secret::new),
            code: only("code").map(Secret::new),
            oa_id: only("oa_id").map(OaId::from),
        }
    }
}

/// The urlencoded form that exchanges a code (RFC 6749 section 4.1.3, with Zalo's `app_id`).
///
/// `code` stands last, so that a body without its last byte holds no whole code: a server that reads a form cut off there
/// cannot spend it.
pub fn code_form(app: &AppId, code: &Secret, verifier: &Secret) -> Secret {
    let mut form = form_urlencoded::Serializer::new(String::with_capacity(512));
    form.append_pair("app_id", app.as_str());
    form.append_pair("grant_type", "authorization_code");
    form.append_pair("code_verifier", verifier.expose());
    form.append_pair("code", code.expose());
    Secret::new(form.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    /// RFC 7636, appendix B.
    #[test]
    fn the_challenge_is_the_hash_of_the_verifier() {
        let verifier = secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert!(is_verifier(verifier.expose()));
        assert_eq!(challenge(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_verifier_has_43_characters_and_a_state_128_bits_and_no_two_are_the_same() {
        let (one, other) = (new_verifier().expect("random"), new_verifier().expect("random"));
        assert!(is_verifier(one.expose()) && one.expose().len() == 43 && one != other);
        let state = new_state().expect("random");
        assert_eq!(URL_SAFE_NO_PAD.decode(state.expose()).expect("base64url").len() * 8, 128);
        assert!(state != new_state().expect("random"));
        for odd in ["", &"a".repeat(42), &"a".repeat(129), &format!("{} ", "a".repeat(43))] {
            assert!(!is_verifier(odd), "{odd}");
        }
    }

    #[test]
    fn the_address_has_zalos_four_parameters_and_no_other() {
        let page = "https://oauth.zaloapp.com/v4/oa/permission".parse().expect("a URL");
        let verifier = secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let url =
            permission_url(&page, &AppId::from("12"), "https://s.example/a?b=c&d", &verifier, &secret("s"));
        assert_eq!(
            url.as_str(),
            "https://oauth.zaloapp.com/v4/oa/permission?app_id=12&redirect_uri=https%3A%2F%2Fs.example%2Fa%3Fb%3Dc%26d\
             &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&state=s"
        );
    }

    #[test]
    fn the_code_is_the_last_field_of_the_form() {
        let form = code_form(&AppId::from("12"), &secret("a_b-c"), &secret("v"));
        assert_eq!(form.expose(), "app_id=12&grant_type=authorization_code&code_verifier=v&code=a_b-c");
    }

    #[test]
    fn a_parameter_that_comes_twice_or_is_empty_does_not_count() {
        let read = |query: &str| {
            let Callback { state, code, oa_id } = Callback::read(query);
            [
                state.map(|s| s.expose().to_owned()),
                code.map(|c| c.expose().to_owned()),
                oa_id.map(|o| o.to_string()),
            ]
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read("code=a%2Bb&oa_id=7&state=s&x=y"), [some("s"), some("a+b"), some("7")]);
        assert_eq!(read("code=a&code=b&state=s&state=&oa_id="), [None, None, None]);
        assert_eq!(read(""), [None, None, None]);
        assert_eq!(read(&format!("code={}&state=s", "a".repeat(3_000))), [some("s"), None, None]);
    }
}
