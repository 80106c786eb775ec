//! The apps, the vendors and the OAs of a config file, and that they fit together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::de::DeTable;
use url::Url;

use super::files::{self, Around};
use super::problems::{Report, Wrong};
use super::section::{At, Section};
use super::{App, Secrets, Vendor, authorize, schema, values, vendor};
use crate::clock::Time;
use crate::id::{AppId, Managed, OaId, VendorId};
use crate::secret::Secret;
use crate::vendor::terms::{VendorOa, VendorOas};

const TOKEN_URL: &str = "https://oauth.zaloapp.com/v4/oa/access_token";
const API_URL: &str = "https://openapi.zalo.me";

/// The apps, vendors and OAs without a problem of their own.
pub(super) struct Fleet {
    pub(super) apps: BTreeMap<AppId, App>,
    pub(super) vendors: BTreeMap<VendorId, Vendor>,
    pub(super) oas: BTreeMap<OaId, Managed>,
    pub(super) vendor_oas: VendorOas,
    /// What reading the secret files showed to be unwise.
    pub(super) notes: Vec<String>,
}

/// The ids that were seen, and where, whatever else is wrong with those who have them.
#[derive(Default)]
pub(super) struct Seen {
    at: BTreeMap<String, usize>,
    /// One had no id that can be understood, so that an id which is not here may be its own.
    is_incomplete: bool,
}

impl Seen {
    /// Notes the id of one, and reports it if it was there before.
    pub(super) fn note_id(&mut self, id: Option<&At<String>>, kind: &str, report: &mut Report<'_>) {
        match id {
            Some(id) => self.note(id, kind, report),
            None => self.is_incomplete = true,
        }
    }

    fn note(&mut self, id: &At<String>, kind: &str, report: &mut Report<'_>) {
        if let Some(first) = self.at.get(&id.value) {
            let what = format!("the {kind}{} is here a second time", shown(&id.value));
            let right = format!("it stands in line {} already: take one of the two out", report.line(*first));
            report.add(id.at, what, right);
        } else {
            self.at.insert(id.value.clone(), id.at);
        }
    }
}

/// Everything below `[[app]]` and `[[oa]]`.
pub(super) fn fleet(document: &DeTable<'_>, around: &Around<'_>, report: &mut Report<'_>) -> Fleet {
    let mut fleet = Fleet {
        apps: BTreeMap::new(),
        vendors: BTreeMap::new(),
        oas: BTreeMap::new(),
        vendor_oas: BTreeMap::new(),
        notes: Vec::new(),
    };
    let mut seen_apps = Seen::default();
    for section in Section::list(document, &schema::APP, report) {
        if let Some(app) = app(&section, around, &mut seen_apps, &mut fleet.notes, report) {
            fleet.apps.insert(app.id.clone(), app);
        }
    }
    let mut seen_vendors = Seen::default();
    for section in Section::list(document, &schema::VENDOR, report) {
        if let Some(vendor) = vendor::vendor(&section, around, &mut seen_vendors, &mut fleet.notes, report) {
            fleet.vendors.insert(vendor.id.clone(), vendor);
        }
    }
    let mut seen_oas = Seen::default();
    for section in Section::list(document, &schema::OA, report) {
        match oa(&section, &seen_apps, &seen_vendors, &mut seen_oas, report) {
            Some((id, Holder::App(managed))) => drop(fleet.oas.insert(id, managed)),
            Some((id, Holder::Vendor(oa))) => drop(fleet.vendor_oas.insert(id, oa)),
            None => {}
        }
    }
    fleet
}

fn app(
    section: &Section<'_, '_>,
    around: &Around<'_>,
    seen: &mut Seen,
    notes: &mut Vec<String>,
    report: &mut Report<'_>,
) -> Option<App> {
    let id = id(section, "id", "[[app]]", report);
    seen.note_id(id.as_ref(), "app", report);
    let token_url = url(section, "token_url", TOKEN_URL, values::endpoint, report);
    let api_url = url(section, "api_url", API_URL, values::endpoint_root, report);
    let secret_key = secret(&APP_SECRET, section, around, notes, report);
    let consenting = authorize::consenting(section, around, report);
    Some(App { id: AppId::from(id?.value), secret_key, token_url: token_url?, api_url: api_url?, consenting })
}

/// The keys that name where a secret is, and how to write them.
pub(super) struct SecretKeys {
    pub(super) header: &'static str,
    pub(super) file: &'static str,
    pub(super) credential: &'static str,
    /// Of the file and of the credential, as TOML.
    pub(super) examples: (&'static str, &'static str),
}

const APP_SECRET: SecretKeys = SecretKeys {
    header: "[[app]]",
    file: "secret_key_file",
    credential: "secret_key_credential",
    examples: ("\"/etc/zalo-tokend/app.secret\"", "\"app.secret\""),
};

/// The file that a secret is in, and the key and place that name it.
struct SecretSource {
    key: &'static str,
    at: usize,
    path: PathBuf,
}

/// The secret that the section names; its problems are reported.
pub(super) fn secret(
    keys: &SecretKeys,
    section: &Section<'_, '_>,
    around: &Around<'_>,
    notes: &mut Vec<String>,
    report: &mut Report<'_>,
) -> Option<Secret> {
    let source = secret_path(keys, section, around, report)?;
    read_secret(&source, around.secrets, notes, report)
}

fn secret_path(
    keys: &SecretKeys,
    section: &Section<'_, '_>,
    around: &Around<'_>,
    report: &mut Report<'_>,
) -> Option<SecretSource> {
    let SecretKeys { header, file, credential, examples } = *keys;
    let both = section.position(file).zip(section.position(credential));
    if let Some((first, second)) = both {
        let what = format!("`{file}` and `{credential}` are both here");
        report.add(first.max(second), what, "name the secret in one way: take one of the two out");
        return None;
    }
    if section.position(file).or(section.position(credential)).is_none() {
        let right = format!("add {file} = {}, or {credential} under systemd", examples.0);
        report.lack(section.at, format!("this {header} names no secret"), right);
        return None;
    }
    if let Some(At { at, value }) = section.text(file, examples.0, report) {
        let path = around.path(value).map_err(|wrong| report.add_value(at, file, wrong)).ok()?;
        return Some(SecretSource { key: file, at, path });
    }
    let At { at, value } = section.text(credential, examples.1, report)?;
    match (around.credential(value), around.secrets) {
        (Ok(path), Secrets::Read | Secrets::LeaveAlone) => Some(SecretSource { key: credential, at, path }),
        // Whoever needs no secret is not started with credentials.
        (Err(_), Secrets::LeaveAlone) if around.env.credentials_directory.is_none() => None,
        (Err(wrong), Secrets::Read | Secrets::LeaveAlone) => {
            report.add_value(at, credential, wrong);
            None
        }
    }
}

fn read_secret(
    source: &SecretSource,
    secrets: Secrets,
    notes: &mut Vec<String>,
    report: &mut Report<'_>,
) -> Option<Secret> {
    match secrets {
        Secrets::LeaveAlone => return None,
        Secrets::Read => {}
    }
    let file = match files::secret(&source.path) {
        Ok(file) => file,
        Err(wrong) => {
            report.add_value(source.at, source.key, wrong);
            return None;
        }
    };
    if file.is_group_readable {
        notes.push(format!(
            "The secret file {} is readable by its group: make it mode 0600.",
            source.path.display()
        ));
    }
    Some(file.secret)
}

fn url(
    section: &Section<'_, '_>,
    key: &str,
    default: &str,
    read: impl Fn(&str) -> Result<Url, Wrong>,
    report: &mut Report<'_>,
) -> Option<Url> {
    match section.position(key) {
        Some(_) => section.read(key, &format!("\"{default}\""), report, read),
        None => read(default).ok(),
    }
}

/// Who keeps an OA's tokens.
enum Holder {
    /// This daemon, through an app.
    App(Managed),
    /// A vendor.
    Vendor(VendorOa),
}

fn oa(
    section: &Section<'_, '_>,
    apps: &Seen,
    vendors: &Seen,
    seen: &mut Seen,
    report: &mut Report<'_>,
) -> Option<(OaId, Holder)> {
    let id = id(section, "id", "[[oa]]", report);
    if let Some(id) = &id {
        seen.note(id, "OA", report);
    }
    let name = section.read("name", "\"Shop A\"", report, values::name);
    let name = name.map(String::into_boxed_str);
    let holder = match (section.position("app"), section.position("vendor")) {
        (Some(first), Some(second)) => {
            let right = "an app's tokens are kept here, a vendor's by the vendor: take one of the two out";
            report.add(first.max(second), "`app` and `vendor` are both here", right);
            None
        }
        (None, None) => {
            let right = "add app = \"…\", or vendor = \"…\" if a vendor holds it";
            report.lack(section.at, "this [[oa]] has no `app`", right);
            None
        }
        (Some(_), None) => {
            if let Some(at) = section.position("authorized_at") {
                let right = "it is for OAs that a vendor holds; take it out";
                report.add(at, "`authorized_at` means nothing beside `app`", right);
            }
            let app = id_of("app", "[[app]]", section, apps, report);
            app.map(|app| Holder::App(Managed { app_id: AppId::from(app), name }))
        }
        (None, Some(_)) => {
            let vendor = id_of("vendor", "[[vendor]]", section, vendors, report);
            let authorized_at = section.read("authorized_at", "\"2026-09-01T08:00:00+07:00\"", report, time);
            vendor.map(|id| Holder::Vendor(VendorOa { vendor_id: VendorId::from(id), name, authorized_at }))
        }
    };
    Some((OaId::from(id?.value), holder?))
}

/// A point in time.
fn time(text: &str) -> Result<Time, Wrong> {
    Time::parse(text).map_err(|_| {
        let right = "write it as \"2026-09-01T08:00:00+07:00\"";
        Wrong::new("is no point in time with an offset", right)
    })
}

/// The id of the app or vendor under this key.
fn id_of(
    key: &str,
    header: &str,
    section: &Section<'_, '_>,
    seen: &Seen,
    report: &mut Report<'_>,
) -> Option<String> {
    let named = id(section, key, "[[oa]]", report)?;
    if !seen.at.contains_key(&named.value) && !seen.is_incomplete {
        let what = format!("there is no {header} with the id{} that this OA names", shown(&named.value));
        let known: Vec<&str> =
            seen.at.keys().map(String::as_str).filter(|id| schema::is_showable(id)).collect();
        let right = match schema::nearest(&named.value, known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => {
                format!("add {} {header} with this id, or correct it", if key == "app" { "an" } else { "a" })
            }
        };
        report.add(named.at, what, right);
    }
    Some(named.value)
}

/// The id under this key, which must be there.
pub(super) fn id(
    section: &Section<'_, '_>,
    key: &str,
    header: &str,
    report: &mut Report<'_>,
) -> Option<At<String>> {
    if let Some(At { at, value }) = section.digits(key) {
        let right = match schema::is_showable(value) {
            true => format!("put it in quotes: {key} = \"{value}\""),
            false => "put it in quotes".to_owned(),
        };
        report.add(at, format!("`{key}` is a whole number, not text in quotes"), right);
        // It is clear what was meant, and who refers to it is not wrong.
        return Some(At { at, value: value.to_owned() });
    }
    if section.position(key).is_none() {
        report.lack(section.at, format!("this {header} has no `{key}`"), format!("add {key} = \"…\""));
    }
    let At { at, value } = section.text(key, "\"1234567890\"", report)?;
    let id = values::id(value).map_err(|wrong| report.add_value(at, key, wrong)).ok()?;
    Some(At { at, value: id })
}

/// The id in a message, unless it could be a secret.
fn shown(id: &str) -> String {
    if schema::is_showable(id) { format!(" {id}") } else { String::new() }
}
