//! Which links are shown to people: those that lead where consent is given, and nowhere else. Pure.
//!
//! Whoever clicks the link hands his OA to whom it leads. So the scheme, the host and every character are judged, and
//! what is refused is shown nowhere.

use std::collections::BTreeSet;

use url::{Host, Url};

use crate::http::is_loopback;
use crate::secret::Secret;

/// The longest link that is taken, in bytes.
const LONGEST: usize = 2_048;
/// What is shorter stands in many a link by chance.
const SHORTEST_KEY: usize = 8;

/// The hosts that a vendor's links may lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// By name, in small letters.
    pub names: BTreeSet<String>,
    /// The vendor is a simulation on this machine, whose links may lead back to it without TLS.
    pub on_this_machine: bool,
}

/// The link, if it is one that may be shown.
///
/// # Errors
/// Why not, in words that follow "the link" and hold nothing of it but a host's name.
pub fn check_link(text: &str, hosts: &Hosts, key: &Secret) -> Result<String, String> {
    if text.len() > LONGEST {
        return Err("is longer than 2 KiB".to_owned());
    }
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}".contains(&byte);
    if !text.bytes().all(is_plain) {
        return Err("has a character that no link has".to_owned());
    }
    let url = Url::parse(text).map_err(|_| "is no URL".to_owned())?;
    let is_own = hosts.on_this_machine && is_loopback(&url);
    if url.scheme() != "https" && !(url.scheme() == "http" && is_own) {
        return Err("is not https".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || authority(text).contains('@') {
        return Err("names a user".to_owned());
    }
    let name = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => format!("[{address}]"),
        None => return Err("has no host".to_owned()),
    };
    if !hosts.names.contains(&name) {
        return Err(format!("leads to {}, which link_hosts does not have", shown(&name)));
    }
    if url.port().is_some() && !is_own {
        return Err("names a port".to_owned());
    }
    if key.expose().len() >= SHORTEST_KEY && text.contains(key.expose()) {
        return Err("has the API key in it".to_owned());
    }
    Ok(url.to_string())
}

/// What stands between the scheme and the path, as it is written.
fn authority(text: &str) -> &str {
    let after = text.split_once("://").map_or("", |(_, after)| after);
    after.split(['/', '?', '#']).next().unwrap_or_default()
}

/// A host's name, unless it is too long for one.
fn shown(name: &str) -> &str {
    if name.len() <= 100 { name } else { "another host" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(on_this_machine: bool) -> Hosts {
        let names = ["oauth.zaloapp.com", "127.0.0.1"].map(str::to_owned).into();
        Hosts { names, on_this_machine }
    }

    fn check(text: &str) -> Result<String, String> {
        check_link(text, &hosts(false), &Secret::new("CANARY-key".to_owned()))
    }

    #[test]
    fn a_link_to_zalo_is_taken_as_it_is() {
        let link = "https://oauth.zaloapp.com/v4/oa/permission?app_id=1&redirect_uri=https%3A%2F%2Fv.example%2F&state=a_b-c";
        assert_eq!(check(link).as_deref(), Ok(link));
        assert!(
            check("https://OAUTH.zaloapp.com/x").is_ok() && check("https://oauth.zaloapp.com:443/x").is_ok()
        );
    }

    #[test]
    fn a_link_that_leads_elsewhere_or_hides_where_it_leads_is_refused() {
        for (link, why) in [
            ("http://oauth.zaloapp.com/x", "is not https"),
            ("javascript:alert(1)", "is not https"),
            ("data:text/html,x", "is not https"),
            ("//oauth.zaloapp.com/x", "is no URL"),
            ("https://evil.example/oauth.zaloapp.com", "leads to evil.example"),
            ("https://oauth.zaloapp.com.evil.example/", "leads to"),
            ("https://oauth.zaloapp.com./x", "leads to"),
            ("https://xoauth.zaloapp.com/x", "leads to"),
            ("https://oauth.zaloapp.com@evil.example/", "names a user"),
            ("https://user:pw@oauth.zaloapp.com/", "names a user"),
            ("https://@oauth.zaloapp.com/", "names a user"),
            ("https://oauth.zaloapp.com:8443/x", "names a port"),
            ("https://oauth.zaloapp.com\\@evil.example/", "has a character"),
            ("https://oauth.zaloapp.com/\r\nSet-Cookie: a=b", "has a character"),
            ("https://oauth.zaloapp.com/ x", "has a character"),
            ("https://oauth.zaloapp.com/\"onmouseover=", "has a character"),
            ("https://oauth.zaloapp.com/<script>", "has a character"),
            ("https://oauth.zaloapp.com/\u{202e}", "has a character"),
            (" https://oauth.zaloapp.com/", "has a character"),
            ("https:///x", "leads to x"),
            ("https://oauth.zaloapp.com/?k=CANARY-key", "has the API key"),
            ("", "is no URL"),
        ] {
            let refused = check(link).expect_err(link);
            assert!(refused.starts_with(why) && !refused.contains("CANARY"), "{link}: {refused}");
        }
        assert_eq!(
            check(&format!("https://oauth.zaloapp.com/{}", "x".repeat(65_536))),
            Err("is longer than 2 KiB".to_owned())
        );
    }

    #[test]
    fn a_link_without_tls_is_for_a_simulation_on_this_machine() {
        let key = Secret::new("k".to_owned());
        let own = "http://127.0.0.1:8080/vendor/consent/7";
        assert!(check_link(own, &hosts(true), &Secret::new("key".to_owned())).is_ok());
        assert!(check(own).is_err());
        assert!(check_link("http://oauth.zaloapp.com/", &hosts(true), &key).is_err());
        assert!(check_link("http://127.0.0.2:8080/", &hosts(true), &key).is_err());
    }
}
