//! `appsecret_proof`: by it Zalo's API knows that who has an access token also knows the app's secret.

use crate::secret::Secret;

/// The HMAC-SHA256 of the access token under the app's secret, in hexadecimal digits. It changes with every access token.
pub fn appsecret_proof(app_secret: &Secret, access_token: &Secret) -> String {
    app_secret.hmac(access_token.expose().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn the_proof_is_the_hmac_of_the_token_under_the_secret() {
        let secret = |text: &str| Secret::new(text.to_owned());
        assert_eq!(
            appsecret_proof(&secret("Jefe"), &secret("what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
