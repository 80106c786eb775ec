//! The door to vendors: one question, one request, one answer. Nothing of an answer is judged here.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, header};
use url::Url;

use super::request::Request;
use crate::http::{self, Speaks, failure};
use crate::secret::Secret;

/// How long a question may take in all, however long a request may else. It spends nothing, so it can be asked again.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a connection may take to come about.
const CONNECT_CAP: Duration = Duration::from_secs(10);
/// An answer has some hundred bytes; what is longer is none.
const LONGEST_BODY: usize = 64 * 1024;

/// The HTTP clients for vendors.
#[derive(Clone)]
pub struct Door {
    secure: Option<Client>,
    plain: Client,
    /// How long a question may take.
    cap: Duration,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Door {
    /// Makes the clients; the one for `https` only if `needs_tls`, so that a simulation runs on a machine without CA
    /// certificates. `timeout` is the wall-clock cap of one request; one to a vendor takes half a minute at most.
    ///
    /// # Errors
    /// When the CA file or the system's certificates cannot be used, in words.
    pub fn new(
        proxy: Option<&Url>,
        ca_file: Option<&Path>,
        needs_tls: bool,
        timeout: Duration,
    ) -> Result<Door, String> {
        let cap = timeout.min(LONGEST);
        let limited = |builder: ClientBuilder| builder.connect_timeout(CONNECT_CAP).timeout(cap);
        let secure = if needs_tls {
            let authorities = ca_file.map(http::authorities).transpose()?;
            Some(http::client(&Speaks::Securely(authorities.as_deref()), proxy, limited)?)
        } else {
            None
        };
        // A plain request goes to this machine: over a proxy elsewhere its key would cross the network bare.
        let own_proxy = proxy.filter(|proxy| http::is_loopback(proxy));
        Ok(Door { secure, plain: http::client(&Speaks::Plainly, own_proxy, limited)?, cap })
    }

    /// Asks.
    ///
    /// # Errors
    /// When no whole answer came, in words without secrets.
    pub async fn ask(&self, request: Request, key: &Secret) -> Result<Reply, String> {
        match tokio::time::timeout(self.cap, self.exchange(request, key)).await {
            Ok(reply) => reply,
            Err(_) => Err(format!("no answer within {:?}", self.cap)),
        }
    }

    async fn exchange(&self, request: Request, key: &Secret) -> Result<Reply, String> {
        let Request { url, key_header, key_prefix, body } = request;
        let client = if url.scheme() == "https" { self.secure.as_ref() } else { Some(&self.plain) };
        let client = client.ok_or("no HTTPS client was made for this address")?;
        let mut shown = header::HeaderValue::from_str(&format!("{key_prefix}{}", key.expose()))
            .map_err(|_| "this API key fits into no header".to_owned())?;
        shown.set_sensitive(true);
        let words = |error: reqwest::Error| failure::describe(&error.without_url());
        let asking = client
            .post(url)
            .header(header::ACCEPT, "*/*")
            .header(header::CONTENT_TYPE, "application/json")
            .header(key_header, shown)
            .body(body);
        let mut response = asking.send().await.map_err(words)?;
        let (status, mut body) = (response.status().as_u16(), Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(words)? {
            if body.len() + chunk.len() > LONGEST_BODY {
                return Err("the answer is longer than 64 KiB".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, body })
    }
}
