//! What is sent to Zalo: paths, headers and the form of a refresh.

use crate::id::AppId;
use crate::secret::Secret;

/// The header that carries the app secret to the token endpoint. It goes nowhere else.
pub const SECRET_HEADER: &str = "secret_key";

/// The header that carries an access token to Zalo's API.
pub const TOKEN_HEADER: &str = "access_token";

/// The read-only question that tells whether an access token is alive, below `api_url`.
pub const PROBE_PATH: &str = "/v2.0/oa/getoa";

/// The urlencoded form of a refresh (RFC 6749 section 6, with Zalo's `app_id`).
///
/// `refresh_token` stands last, so that a body without its last byte holds no whole token: a server that reads a
/// form cut off there cannot spend it.
pub fn refresh_form(app: &AppId, refresh_token: &Secret) -> Secret {
    let mut form = form_urlencoded::Serializer::new(String::with_capacity(512));
    form.append_pair("app_id", app.as_str());
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("refresh_token", refresh_token.expose());
    Secret::new(form.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refresh_token_is_the_last_field_of_the_form() {
        let form = refresh_form(&AppId::from("123"), &Secret::new("a_b-c".to_owned()));
        assert_eq!(form.expose(), "app_id=123&grant_type=refresh_token&refresh_token=a_b-c");
    }
}
