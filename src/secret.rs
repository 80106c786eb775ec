//! Tokens and app secrets: text that no log, error or `Debug` shows.
//!
//! [`Secret`] wraps the `secrecy` crate's wiped string and adds what the program needs beyond it: comparison
//! and the [`Digest`] under which the store knows a refresh token. Files that hold secrets are judged here too.
//! Imports nothing of ours.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

/// A token or an app secret. `Debug` and `Display` show that there is one, never what it is.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes the text in; the original is moved, not copied.
    pub fn new(text: String) -> Secret {
        Secret(SecretString::from(text))
    }

    /// So many random bytes of the system's, in base64url without padding. `None`: the system has none.
    pub fn random(bytes: usize) -> Option<Secret> {
        let mut random = vec![0; bytes];
        getrandom::fill(&mut random).ok()?;
        Some(Secret::new(URL_SAFE_NO_PAD.encode(random)))
    }

    /// The text itself. Every call is a place where a secret may get out: keep them few.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The HMAC-SHA256 of a message under this secret, in hexadecimal digits.
    pub fn hmac(&self, message: &[u8]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.expose().as_bytes()) else {
            unreachable!("a key of HMAC may have any length")
        };
        mac.update(message);
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// SHA-256 of the text: enough to recognise it, useless to anybody else.
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.expose().as_bytes()).into())
    }
}

impl AsRef<Secret> for Secret {
    fn as_ref(&self) -> &Secret {
        self
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.digest() == other.digest()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// SHA-256 of a refresh token. It names a token without being one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From the 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }
}

/// The first eight hexadecimal digits: enough to tell two tokens apart in a ledger.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        let secret = Secret::new("CANARY-token".to_owned());
        assert!(!format!("{secret:?}").contains("CANARY"));
        assert!(!format!("{:?}", Some(&secret)).contains("CANARY"));
    }

    #[test]
    fn secrets_compare_by_their_text() {
        let same = Secret::new("a".to_owned()) == Secret::new("a".to_owned());
        let other = Secret::new("a".to_owned()) == Secret::new("b".to_owned());
        assert!(same && !other);
    }
}
