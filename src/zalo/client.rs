//! The clients of the door to Zalo.

use reqwest::{Client, ClientBuilder, Url};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::http::{self, Speaks};

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
        let limited =
            |builder: ClientBuilder| builder.connect_timeout(CONNECT_CAP).tcp_user_timeout(patience);
        let authorities = ca_file.map(|path| http::authorities(path).map_err(|what| (path, what)));
        let authorities = authorities
            .transpose()
            .map_err(|(path, what)| ClientError::CaFile { path: path.to_owned(), what })?;
        let secure =
            needs_tls.then(|| http::client(&Speaks::Securely(authorities.as_deref()), proxy, limited));
        let secure = secure.transpose().map_err(ClientError::Build)?;
        // A plain request goes to this machine: over a proxy elsewhere its secrets would cross the network bare.
        let own_proxy = proxy.filter(|proxy| http::is_loopback(proxy));
        let plain = http::client(&Speaks::Plainly, own_proxy, limited).map_err(ClientError::Build)?;
        Ok(Door { secure, plain, clock })
    }

    /// The client for this address; `None` for `https` when none was made.
    pub(super) fn client(&self, url: &Url) -> Option<&Client> {
        if url.scheme() == "https" { self.secure.as_ref() } else { Some(&self.plain) }
    }
}
