//! The question to Zalo's API: is this access token alive, and whose is it?

use reqwest::{Url, header};
use std::time::Duration;

use super::client::Door;
use crate::http::failure;
use crate::id::OaId;
use crate::oauth::{PROBE_PATH, ProbeAnswer, TOKEN_HEADER, read_probe_answer};
use crate::rotation::Testimony;
use crate::secret::Secret;

/// How long a question may take in all. It spends nothing, so it can be asked again.
const PROBE_CAP: Duration = Duration::from_secs(15);
/// An OA's profile is some kilobytes; what is longer is none.
const LONGEST_BODY: usize = 256 * 1024;

impl Door {
    /// Asks Zalo about an access token that should be `oa`'s.
    pub async fn probe(&self, api_url: &Url, access_token: &Secret, oa: &OaId) -> Testimony {
        match self.whose(api_url, access_token).await {
            Err(what) => Testimony::Unclear(what),
            Ok(ProbeAnswer::Accepted(owner)) if owner == *oa => Testimony::Accepted,
            Ok(ProbeAnswer::Accepted(_)) => {
                Testimony::Unclear("Zalo names another OA for this token".to_owned())
            }
            Ok(ProbeAnswer::Refused(code)) => Testimony::Refused(code),
            Ok(ProbeAnswer::Error(code)) => {
                Testimony::Unclear(format!("an error that is not about the token (error {code})"))
            }
            Ok(ProbeAnswer::Unreadable) => Testimony::Unclear("not an answer to the question".to_owned()),
        }
    }

    /// Asks Zalo whose an access token is.
    ///
    /// # Errors
    /// When no answer came, in words without secrets.
    pub async fn whose(&self, api_url: &Url, access_token: &Secret) -> Result<ProbeAnswer, String> {
        match tokio::time::timeout(PROBE_CAP, self.ask(api_url, access_token)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {PROBE_CAP:?}")),
        }
    }

    async fn ask(&self, api_url: &Url, access_token: &Secret) -> Result<ProbeAnswer, String> {
        let mut url = api_url.clone();
        url.set_path(&format!("{}{PROBE_PATH}", api_url.path().trim_end_matches('/')));
        let client = self.client(&url).ok_or("no HTTPS client was made for this address")?;
        let mut token = header::HeaderValue::from_str(access_token.expose())
            .map_err(|_| "this access token fits into no header".to_owned())?;
        token.set_sensitive(true);
        let words = |error: reqwest::Error| failure::describe(&error.without_url());
        let mut response = client.get(url).header(TOKEN_HEADER, token).send().await.map_err(words)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(words)? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_BODY {
                return Err("the answer is longer than 256 KiB".to_owned());
            }
        }
        Ok(read_probe_answer(&body))
    }
}
