//! By what a receiver knows that a request is from here, and from when. Pure.

use crate::clock::Time;
use crate::secret::Secret;

/// The value of `X-Zalo-Tokend-Signature`: HMAC-SHA256 of the seconds, a dot and the body, under the secret.
pub(super) fn sign(secret: &Secret, at: Time, body: &str) -> String {
    let seconds = at.as_millis().div_euclid(1_000);
    format!("t={seconds},v1={}", secret.hmac(format!("{seconds}.{body}").as_bytes()))
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
            signature,
            "t=1800000000,v1=fd9e15c0c6b4a6e6adb9700539b1f5bc778a8360249bacbe8ebee9b8e9e1a76b"
        );
    }
}
