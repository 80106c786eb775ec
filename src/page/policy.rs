//! What a browser may do with a page: the headers that every page is sent with.

use std::fmt::Write;

/// Those headers.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Where a form of this page may end, after a redirect, beside here: origins, as `https://oauth.zaloapp.com`.
    pub form_targets: Vec<String>,
}

impl Policy {
    /// The name and the value of each, names in small letters.
    pub fn headers(&self) -> [(&'static str, String); 5] {
        [
            ("content-security-policy", self.content_security_policy()),
            ("x-content-type-options", "nosniff".to_owned()),
            // With `no-referrer` a browser sends `Origin: null` with the forms of a page (Fetch §3.1), and nobody could tell
            // them from those of a page that wants to do harm. Other servers are told nothing all the same.
            ("referrer-policy", "same-origin".to_owned()),
            ("cross-origin-opener-policy", "same-origin".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ]
    }

    fn content_security_policy(&self) -> String {
        let mut policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
            img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
            .to_owned();
        for target in self.form_targets.iter().filter(|target| is_origin(target)) {
            // To a string it never fails.
            write!(policy, " {target}").unwrap_or_default();
        }
        policy
    }
}

/// Is it one word that stands for an origin and ends nothing?
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_may_end_at_the_named_origins_and_nothing_else_gets_into_the_policy() {
        let form_targets = [
            "https://oauth.zaloapp.com",
            "http://127.0.0.1:8080",
            "https://[::1]:1",
            "*",
            "https://*",
            "https://a b",
            "https://a; script-src *",
            "https://a\r\nx: y",
            "javascript:x",
            "https://",
        ];
        let policy = Policy { form_targets: form_targets.map(str::to_owned).to_vec() };
        let [(name, value), ..] = policy.headers();
        assert_eq!(name, "content-security-policy");
        assert!(
            value.ends_with(
                "; form-action 'self' https://oauth.zaloapp.com http://127.0.0.1:8080 https://[::1]:1"
            ),
            "{value}"
        );
    }
}
