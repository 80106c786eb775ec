//! `[authorize]`, and what an `[[app]]` says of consent: how a person is sent to Zalo, and where he comes back to.

use std::net::SocketAddr;
use std::time::Duration;

use toml::de::DeTable;
use url::Url;

use super::files::{self, Around};
use super::problems::{Report, Wrong};
use super::section::Section;
use super::values::{self, Bounds};
use super::{Secrets, schema};
use crate::oauth::is_verifier;
use crate::secret::Secret;

const PERMISSION_URL: &str = "https://oauth.zaloapp.com/v4/oa/permission";
/// How long our own links are good where the file does not say.
const LINK_LIFE: Duration = Duration::from_secs(14 * 86_400);
const LINK_LIVES: Bounds = Bounds::new(Duration::from_secs(60), Duration::from_secs(90 * 86_400));

/// Where people come back to with their consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorize {
    /// The address to listen at; `None`: none, and what a person comes back with is brought by hand.
    pub listen: Option<SocketAddr>,
    /// How long our own links to consent are good.
    pub link_life: Duration,
}

/// How consent is granted to an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consenting {
    /// Where a person comes back to: exactly what is saved for the app at Zalo.
    pub redirect_uri: Url,
    /// The same as it is written: Zalo compares texts.
    pub redirect_text: String,
    /// Where a person grants.
    pub permission_url: Url,
    /// The verifier of an app whose pair is fixed at Zalo. `None`: each consent has one of its own.
    pub fixed_verifier: Option<Secret>,
}

impl Default for Authorize {
    fn default() -> Authorize {
        Authorize { listen: None, link_life: LINK_LIFE }
    }
}

/// The section, or what holds without it.
pub(super) fn authorize(document: &DeTable<'_>, report: &mut Report<'_>) -> Authorize {
    let section = Section::one(document, &schema::AUTHORIZE, report);
    let allow_remote = section.flag("allow_remote", report).unwrap_or(false);
    let listen = section.read("listen", "\"127.0.0.1:8788\"", report, |text| {
        let why = "can be reached from other machines, to which it speaks no TLS";
        values::listen(text, allow_remote, why)
    });
    let link_life = section.read("link_life", "\"14d\"", report, |text| values::duration(text, LINK_LIVES));
    Authorize { listen, link_life: link_life.unwrap_or(LINK_LIFE) }
}

/// What an `[[app]]` says of consent; `None`: nothing, or something wrong, which is reported.
pub(super) fn consenting(
    section: &Section<'_, '_>,
    around: &Around<'_>,
    report: &mut Report<'_>,
) -> Option<Consenting> {
    if section.position("redirect_uri").is_none() {
        for key in ["permission_url", "code_verifier_file"] {
            if let Some(at) = section.position(key) {
                let right = "add the `redirect_uri` that is saved for the app at Zalo, or take this out";
                report.add(at, format!("`{key}` is here, and no `redirect_uri`"), right);
            }
        }
        return None;
    }
    let example = "\"https://shop.example/zalo/callback\"";
    let redirect =
        section.read("redirect_uri", example, report, |text| Ok((values::endpoint(text)?, text.to_owned())));
    let permission_url = match section.position("permission_url") {
        Some(_) => section.read("permission_url", &format!("\"{PERMISSION_URL}\""), report, values::endpoint),
        None => values::endpoint(PERMISSION_URL).ok(),
    };
    let example = "\"/etc/zalo-tokend/app.verifier\"";
    let fixed = section.read("code_verifier_file", example, report, |text| {
        let path = around.path(text)?;
        match around.secrets {
            Secrets::LeaveAlone => return Ok(None),
            Secrets::Read => {}
        }
        let verifier = files::secret(&path)?.secret;
        if is_verifier(verifier.expose()) {
            return Ok(Some(verifier));
        }
        let right =
            "the file holds the code verifier alone: 43 to 128 characters of A-Z, a-z, 0-9, - . _ and ~";
        Err(Wrong::new("names a file with something else than a code verifier", right))
    });
    let (redirect_uri, redirect_text) = redirect?;
    Some(Consenting {
        redirect_uri,
        redirect_text,
        permission_url: permission_url?,
        fixed_verifier: fixed.flatten(),
    })
}
