//! HTTP clients with everything switched off that re-sends, follows, pools or detours, and their failures in words.
//!
//! The door to Zalo and the webhooks have clients of their own, each with its time limits; what must never happen on the
//! wire is settled here for both. Imports nothing of ours.

pub mod failure;

use std::path::Path;

use reqwest::{Certificate, Client, ClientBuilder, Proxy, redirect, retry};
use url::{Host, Url};

/// What a client speaks, and to whom.
pub enum Speaks<'c> {
    /// TLS, to who shows a certificate of these authorities; `None`: of the system's.
    Securely(Option<&'c [Certificate]>),
    /// Plain text: to this machine.
    Plainly,
}

/// A client that makes one request of one call: no redirect, no retry, no connection used again, HTTP/1.1, and no proxy but
/// this. `limited` sets its time limits.
///
/// # Errors
/// What the library says against it, in words without addresses.
pub fn client(
    speaks: &Speaks<'_>,
    proxy: Option<&Url>,
    limited: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<Client, String> {
    let refuse = |error: reqwest::Error| failure::describe(&error.without_url());
    let mut builder = Client::builder()
        .http1_only()
        .https_only(matches!(speaks, Speaks::Securely(_)))
        .pool_max_idle_per_host(0)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .user_agent(concat!("zalo-tokend/", env!("CARGO_PKG_VERSION")));
    if let Some(proxy) = proxy {
        builder = builder.proxy(Proxy::all(proxy.clone()).map_err(refuse)?);
    }
    match speaks {
        Speaks::Securely(None) => {}
        Speaks::Securely(Some(authorities)) => {
            builder = builder.tls_certs_only(authorities.iter().cloned());
        }
        // So that it can be made on a machine without any.
        Speaks::Plainly => builder = builder.tls_certs_only(Vec::<Certificate>::new()),
    }
    limited(builder).build().map_err(refuse)
}

/// The authorities of a file of PEM certificates.
///
/// # Errors
/// Why there are none in it, in words.
pub fn authorities(path: &Path) -> Result<Vec<Certificate>, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let authorities = Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string())?;
    if authorities.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(authorities)
}

/// Does this URL lead to this machine, by its text alone (RFC 8252 §7.3, §8.3)?
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_request_takes_a_proxy_on_this_machine_and_no_other() {
        for (proxy, is_taken) in [
            ("http://127.0.0.1:3128", true),
            ("http://127.8.9.10:3128", true),
            ("http://[::1]:3128", true),
            ("http://localhost:3128", true),
            ("http://10.0.0.1:3128", false),
            ("http://localhost.example:3128", false),
        ] {
            assert_eq!(is_loopback(&proxy.parse().expect("an address")), is_taken, "{proxy}");
        }
    }
}
