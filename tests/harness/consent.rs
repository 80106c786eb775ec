//! People who grant consent: they open addresses, and come back.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::http::{Request, Response, ask_over};
use super::{Bench, Daemon, text};

/// Where they come back to. Nobody listens there: a test goes to where the daemon says that it listens.
pub const REDIRECT_URI: &str = "https://shop.example/zalo/callback";

impl Daemon {
    /// Where the daemon takes people who come back.
    pub async fn consent_address(&self) -> SocketAddr {
        let listening = self.wait_for("authorize.listening").await;
        listening["address"].as_str().expect("an address").parse().expect("an address")
    }

    /// Opens this address of the daemon's, as a browser does behind a proxy that passes it on.
    pub async fn visit(&self, url: &str) -> Response {
        self.request("GET", url, &[]).await
    }

    /// Sends this form, which has no fields.
    pub async fn submit(&self, url: &str) -> Response {
        self.request("POST", url, &[]).await
    }

    /// Opens this address and does not wait for the page.
    pub async fn begin_visit(&self, url: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.consent_address().await).await.expect("the daemon listens");
        stream.write_all(&Request::get(&target_of(url)).bytes()).await.expect("sent");
        stream
    }

    /// Opens this address, and once more as long as too much is asked at once.
    pub async fn visit_in_turn(&self, url: &str) -> Response {
        loop {
            let page = self.visit(url).await;
            if page.status != 429 {
                return page;
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    }

    /// Loads the page again until what it waits for has come to its end.
    pub async fn visit_until_over(&self, url: &str) -> Response {
        let over = tokio::time::timeout(super::DEADLINE, async {
            loop {
                let page = self.visit(url).await;
                if page.status != 202 {
                    return page;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        });
        over.await.unwrap_or_else(|_| panic!("it does not come to its end:\n{}", self.log()))
    }

    pub async fn request(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> Response {
        let stream = TcpStream::connect(self.consent_address().await).await.expect("the daemon listens");
        let target = target_of(url);
        ask_over(stream, &Request { method, target: &target, headers, body: "" }.bytes()).await
    }
}

/// What of an address is asked for.
pub fn target_of(url: &str) -> String {
    let after = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after.find('/').map_or("/", |at| &after[at..]);
    path.to_owned()
}

impl Response {
    /// The page as text.
    pub fn page(&self) -> String {
        assert_eq!(self.header("content-type"), Some("text/html; charset=utf-8"), "{self:?}");
        text(&self.body)
    }
}

impl Bench {
    /// Waits until an answer is in a slot, on the disk as this daemon sees it.
    pub async fn wait_until_a_slot_is_filled(&self, daemon: &Daemon) {
        let file = format!("/proc/{}/root{}-slots", daemon.pid, self.store().display());
        // What marks a slot as filled is written last.
        let is_filled = || {
            std::fs::read(&file).is_ok_and(|slots| slots.chunks(64 * 1024 + 4096).any(|slot| slot[0] != 0))
        };
        let filled = tokio::time::timeout(super::DEADLINE, async {
            while !is_filled() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        filled.await.expect("an answer goes to its slot");
    }
}
