//! The HTTP client for webhooks: what it sends goes to the server that the config names, once a try.
//!
//! Not the door to Zalo: no token goes through here, and nothing of an answer is believed but its status.

use reqwest::{Certificate, Client, Proxy, Url, redirect, retry};
use std::error::Error;
use std::time::Duration;

use super::super::UnusableClient;
use crate::config::Http;

/// The wall-clock cap of one try.
const CAP: Duration = Duration::from_secs(10);

/// A server that is told of events.
pub(super) struct Server {
    client: Client,
    url: Url,
}

impl Server {
    /// # Errors
    /// When the CA file or the system's certificates cannot be used.
    pub(super) fn new(url: Url, http: &Http) -> Result<Server, UnusableClient> {
        Ok(Server { client: client(http, &url)?, url })
    }

    /// Sends it, and says in words why it was not taken.
    pub(super) async fn send(&self, sent: &Sent<'_>) -> Result<(), String> {
        let request = self
            .client
            .post(self.url.clone())
            .header("Content-Type", "application/json")
            .header("X-Zalo-Tokend-Signature", sent.signature)
            .header("X-Zalo-Tokend-Delivery", sent.delivery)
            .body(sent.body.to_owned());
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("the server answers {}", answer.status().as_u16())),
            Err(error) => Err(described(&error.without_url())),
        }
    }
}

fn client(http: &Http, url: &Url) -> Result<Client, UnusableClient> {
    let is_secure = url.scheme() == "https";
    let mut builder = Client::builder()
        .http1_only()
        .https_only(is_secure)
        .pool_max_idle_per_host(0)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .timeout(CAP)
        .user_agent(concat!("zalo-tokend/", env!("CARGO_PKG_VERSION")));
    let refuse = |error: &dyn Error| UnusableClient(format!("no client for webhooks can be made: {error}"));
    // A plain request goes to this machine, and so does not go over a proxy elsewhere.
    if let Some(proxy) = http.proxy.as_ref().filter(|_| is_secure) {
        builder = builder.proxy(Proxy::all(proxy.clone()).map_err(|error| refuse(&error.without_url()))?);
    }
    match &http.ca_file {
        Some(path) if is_secure => {
            let pem = std::fs::read(path).map_err(|error| refuse(&error))?;
            let authorities =
                Certificate::from_pem_bundle(&pem).map_err(|error| refuse(&error.without_url()))?;
            builder = builder.tls_certs_only(authorities);
        }
        Some(_) | None if is_secure => {}
        Some(_) | None => builder = builder.tls_certs_only(Vec::<Certificate>::new()),
    }
    builder.build().map_err(|error| refuse(&error.without_url()))
}

/// One try's headers and body.
pub(super) struct Sent<'s> {
    pub(super) body: &'s str,
    pub(super) signature: &'s str,
    pub(super) delivery: &'s str,
}

/// An error on one line, with its causes, without control characters.
fn described(error: &dyn Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let said: String = error.to_string().chars().filter(|c| !c.is_control()).collect();
        if !words.last().is_some_and(|last| last.contains(&said)) {
            words.push(said);
        }
        cause = error.source();
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_is_waited_for_ten_seconds() {
        // The system takes the connection, and nobody reads what comes.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("bound");
        let url = Url::parse(&format!("http://{address}/secret")).expect("a URL");
        let server = Server::new(url, &Http::default()).expect("a client");
        let began = tokio::time::Instant::now();
        let sent = Sent { body: "{}", signature: "t=0,v1=0", delivery: "1" };
        let outcome = server.send(&sent).await;
        assert!(began.elapsed() >= CAP && began.elapsed() < 2 * CAP, "{:?}", began.elapsed());
        assert!(outcome.is_err_and(|detail| detail.contains("timed out") && !detail.contains("secret")));
    }
}
