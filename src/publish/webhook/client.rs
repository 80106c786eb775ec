//! The HTTP client for webhooks: what it sends goes to the server that the config names, once a try.
//!
//! Not the door to Zalo: no token goes through here, and nothing of an answer is believed but its status.

use reqwest::{Client, ClientBuilder, Url};
use std::time::Duration;

use super::super::UnusableClient;
use crate::config::Http;
use crate::http::{self, Speaks, failure};

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
    pub(super) fn new(url: Url, config: &Http) -> Result<Server, UnusableClient> {
        Ok(Server { client: client(config, &url)?, url })
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
            Err(error) => Err(failure::describe(&error.without_url())),
        }
    }
}

fn client(config: &Http, url: &Url) -> Result<Client, UnusableClient> {
    let refuse = |what: String| UnusableClient(format!("no client for webhooks can be made: {what}"));
    let limited = |builder: ClientBuilder| builder.timeout(CAP);
    // A plain request goes to this machine, and so does not go over a proxy elsewhere.
    if url.scheme() != "https" {
        return http::client(&Speaks::Plainly, None, limited).map_err(refuse);
    }
    let authorities = config.ca_file.as_deref().map(http::authorities).transpose().map_err(refuse)?;
    http::client(&Speaks::Securely(authorities.as_deref()), config.proxy.as_ref(), limited).map_err(refuse)
}

/// One try's headers and body.
pub(super) struct Sent<'s> {
    pub(super) body: &'s str,
    pub(super) signature: &'s str,
    pub(super) delivery: &'s str,
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
