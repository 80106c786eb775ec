//! HTTP clients with everything switched off that re-sends, follows, pools or detours.

use reqwest::{Certificate, Client, Proxy, Url, redirect, retry};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;

/// How long a connection may take to come about, name look-up and TLS included.
pub(super) const CONNECT_CAP: Duration = Duration::from_secs(10);

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The CA file cannot be used.
    #[error("{path} cannot be used as ca_file: {what}; give a file of PEM certificates")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The HTTP library refuses.
    #[error(
        "no HTTPS client can be made: {0}; install the system's CA certificates (package ca-certificates) or set [http] ca_file"
    )]
    Build(String),
}

/// The door to Zalo.
#[derive(Clone)]
pub struct Door {
    secure: Option<Client>,
    plain: Client,
    pub(super) clock: Arc<dyn Clock>,
}

impl Door {
    /// Makes the clients. The one for `https` is made only if `needs_tls`, so that a simulation runs on a machine
    /// without CA certificates.
    ///
    /// A request that is given up after `patience` is not sent any more by the system either: it would go on with what
    /// nobody acknowledged, for minutes after the connection was closed, and Zalo could spend a token that was proven
    /// unspent meanwhile. Nor does it give up much sooner: a network that is back in time still brings the answer.
    ///
    /// # Errors
    /// When the CA file or the system's certificates cannot be used.
    pub fn new(
        proxy: Option<&Url>,
        ca_file: Option<&Path>,
        needs_tls: bool,
        patience: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Door, ClientError> {
        let build = |authorities: Option<Vec<Certificate>>, is_secure: bool| {
            let mut builder = Client::builder()
                .http1_only()
                .https_only(is_secure)
                .pool_max_idle_per_host(0)
                .redirect(redirect::Policy::none())
                .retry(retry::never())
                .referer(false)
                .no_proxy()
                .connect_timeout(CONNECT_CAP)
                .tcp_user_timeout(patience)
                .user_agent(concat!("zalo-tokend/", env!("CARGO_PKG_VERSION")));
            // A plain request goes to this machine: over a proxy elsewhere its secrets would cross the network bare.
            if let Some(proxy) = proxy.filter(|proxy| is_secure || is_loopback(proxy)) {
                builder = builder.proxy(Proxy::all(proxy.clone()).map_err(build_error)?);
            }
            if let Some(authorities) = authorities {
                builder = builder.tls_certs_only(authorities);
            }
            builder.build().map_err(build_error)
        };
        let authorities = ca_file.map(read_authorities).transpose()?;
        let secure = needs_tls.then(|| build(authorities, true)).transpose()?;
        Ok(Door { secure, plain: build(Some(Vec::new()), false)?, clock })
    }

    /// The client for this address; `None` for `https` when none was made.
    pub(super) fn client(&self, url: &Url) -> Option<&Client> {
        if url.scheme() == "https" { self.secure.as_ref() } else { Some(&self.plain) }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn build_error(error: reqwest::Error) -> ClientError {
    ClientError::Build(super::failure::describe(&error.without_url()))
}

fn read_authorities(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    let refuse = |what: String| ClientError::CaFile { path: path.to_owned(), what };
    let pem = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
    let authorities = Certificate::from_pem_bundle(&pem).map_err(|error| refuse(error.to_string()))?;
    if authorities.is_empty() {
        return Err(refuse("there is no certificate in it".to_owned()));
    }
    Ok(authorities)
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
