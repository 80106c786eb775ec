//! By what a receiver knows that a request is from here, and from when. Pure.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::Time;
use crate::secret::Secret;

/// The value of `X-Zalo-Tokend-Signature`: HMAC-SHA256 of the seconds, a dot and the body, under the secret.
pub(super) fn sign(secret: &Secret, at: Time, body: &str) -> Option<String> {
    let seconds = at.as_millis().div_euclid(1_000);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(format!("{seconds}.{body}").as_bytes());
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("t={seconds},v1={digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// printf '%s' '1800000000.{"event":"refresh.succeeded"}' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
    #[test]
    fn a_signature_is_what_openssl_makes_of_it() {
        let secret = Secret::new("0123456789abcdef0123456789abcdef".to_owned());
        let signature =
            sign(&secret, Time::from_millis(1_800_000_000_999), r#"{"event":"refresh.succeeded"}"#);
        assert_eq!(
            signature.as_deref(),
            Some("t=1800000000,v1=fd9e15c0c6b4a6e6adb9700539b1f5bc778a8360249bacbe8ebee9b8e9e1a76b")
        );
    }
}
