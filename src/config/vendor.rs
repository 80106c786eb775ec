//! `[[vendor]]`: who holds OAs, where he is asked, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use url::{Host, Url};

use super::files::Around;
use super::fleet::{self, SecretKeys, Seen};
use super::problems::{Report, Wrong};
use super::section::{At, Section};
use super::settings::{LIFETIME, duration};
use super::values;
use crate::id::VendorId;
use crate::secret::Secret;
use crate::vendor::terms::{Style, Terms};

const DAY: Duration = Duration::from_secs(86_400);
/// Where Zalo asks for consent, and where it has people sign in.
const ZALO_HOSTS: [&str; 2] = ["oauth.zaloapp.com", "id.zalo.me"];

const API_KEY: SecretKeys = SecretKeys {
    header: "[[vendor]]",
    file: "api_key_file",
    credential: "api_key_credential",
    examples: ("\"/etc/zalo-tokend/vendor.key\"", "\"vendor.key\""),
};

/// A vendor who holds OAs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vendor {
    /// What the config calls him.
    pub id: VendorId,
    /// The root of his API: `https`, or `http` to this machine; its path does not end in a slash, unless it is one.
    pub base_url: Url,
    /// His key; `None` only with [`super::Secrets::LeaveAlone`].
    pub api_key: Option<Secret>,
    /// By what the clock of his OAs runs.
    pub terms: Terms,
    /// The hosts that his links may lead to, in small letters.
    pub link_hosts: BTreeSet<String>,
}

/// One section. Its problems are reported.
pub(super) fn vendor(
    section: &Section<'_, '_>,
    around: &Around<'_>,
    seen: &mut Seen,
    notes: &mut Vec<String>,
    report: &mut Report<'_>,
) -> Option<Vendor> {
    let id = fleet::id(section, "id", "[[vendor]]", report);
    seen.note_id(id.as_ref(), "vendor", report);
    if section.position("base_url").is_none() {
        report.lack(section.at, "this [[vendor]] has no `base_url`", "add base_url = \"https://…\"");
    }
    let base_url = section.read("base_url", "\"https://host\"", report, values::endpoint_root);
    let api_key = fleet::secret(&API_KEY, section, around, notes, report);
    let styles =
        [("interits", Style::Interits), ("etelecom", Style::Etelecom), ("sencloud", Style::Sencloud)];
    let style = section.read("style", "\"interits\"", report, |text| values::word(text, &styles));
    let terms = Terms {
        style: style.unwrap_or(Style::Interits),
        renew_before: duration(section, "renew_before", 14 * DAY, LIFETIME, report),
        lifetime: duration(section, "lifetime", 90 * DAY, LIFETIME, report),
    };
    let link_hosts = link_hosts(section, base_url.as_ref(), report);
    Some(Vendor { id: VendorId::from(id?.value), base_url: base_url?, api_key, terms, link_hosts })
}

fn link_hosts(
    section: &Section<'_, '_>,
    base_url: Option<&Url>,
    report: &mut Report<'_>,
) -> BTreeSet<String> {
    let example = "[\"oauth.zaloapp.com\"]";
    if section.position("link_hosts").is_none() {
        let own = base_url.and_then(Url::host_str).map(str::to_owned);
        return ZALO_HOSTS.into_iter().map(str::to_owned).chain(own).collect();
    }
    let mut hosts = BTreeSet::new();
    for At { at, value } in section.texts("link_hosts", example, report).unwrap_or_default() {
        match host(value) {
            Ok(host) => drop(hosts.insert(host)),
            Err(wrong) => report.add_value(at, "link_hosts", wrong),
        }
    }
    hosts
}

/// The name of a host, and nothing else.
fn host(text: &str) -> Result<String, Wrong> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let parsed = Host::parse(text).ok().filter(|_| text.bytes().all(is_plain) && !text.ends_with('.'));
    parsed.map(|host| host.to_string()).ok_or_else(|| {
        Wrong::new("names no host", "write names as \"oauth.zaloapp.com\", without https:// and path")
    })
}
