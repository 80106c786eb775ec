//! The apps and the OAs of a config file, and that they fit together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::de::DeTable;
use url::Url;

use super::files::{self, Around};
use super::problems::{Report, Wrong};
use super::section::{At, Section};
use super::{App, Secrets, authorize, schema, values};
use crate::id::{AppId, Managed, OaId};
use crate::secret::Secret;

const TOKEN_URL: &str = "https://oauth.zaloapp.com/v4/oa/access_token";
const API_URL: &str = "https://openapi.zalo.me";

/// The apps and OAs without a problem of their own.
pub(super) struct Fleet {
    pub(super) apps: BTreeMap<AppId, App>,
    pub(super) oas: BTreeMap<OaId, Managed>,
    /// What reading the secret files showed to be unwise.
    pub(super) notes: Vec<String>,
}

/// The ids that were seen, and where, whatever else is wrong with those who have them.
#[derive(Default)]
struct Seen {
    at: BTreeMap<String, usize>,
    /// One had no id that can be understood, so that an id which is not here may be its own.
    is_incomplete: bool,
}

impl Seen {
    /// Notes an id, and reports it if it was there before.
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
    let mut fleet = Fleet { apps: BTreeMap::new(), oas: BTreeMap::new(), notes: Vec::new() };
    let mut seen_apps = Seen::default();
    for section in Section::list(document, &schema::APP, report) {
        if let Some(app) = app(&section, around, &mut seen_apps, &mut fleet.notes, report) {
            fleet.apps.insert(app.id.clone(), app);
        }
    }
    let mut seen_oas = Seen::default();
    for section in Section::list(document, &schema::OA, report) {
        fleet.oas.extend(oa(&section, &seen_apps, &mut seen_oas, report));
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
    match &id {
        Some(id) => seen.note(id, "app", report),
        None => seen.is_incomplete = true,
    }
    let token_url = url(section, "token_url", TOKEN_URL, values::endpoint, report);
    let api_url = url(section, "api_url", API_URL, values::endpoint_root, report);
    let secret_key = match secret_path(section, around, report) {
        Some(source) => read_secret(&source, around.secrets, notes, report),
        None => None,
    };
    let consenting = authorize::consenting(section, around, report);
    Some(App { id: AppId::from(id?.value), secret_key, token_url: token_url?, api_url: api_url?, consenting })
}

/// The file that an app's secret is in, and the key and place that name it.
struct SecretSource {
    key: &'static str,
    at: usize,
    path: PathBuf,
}

fn secret_path(
    section: &Section<'_, '_>,
    around: &Around<'_>,
    report: &mut Report<'_>,
) -> Option<SecretSource> {
    let (file, credential) = ("secret_key_file", "secret_key_credential");
    let both = section.position(file).zip(section.position(credential));
    if let Some((first, second)) = both {
        let what = format!("`{file}` and `{credential}` are both here");
        report.add(first.max(second), what, "name the secret in one way: take one of the two out");
        return None;
    }
    if section.position(file).or(section.position(credential)).is_none() {
        let right = format!("add {file} = \"/etc/zalo-tokend/app.secret\", or {credential} under systemd");
        report.lack(section.at, "this [[app]] names no secret", right);
        return None;
    }
    if let Some(At { at, value }) = section.text(file, "\"/etc/zalo-tokend/app.secret\"", report) {
        let path = around.path(value).map_err(|wrong| report.add_value(at, file, wrong)).ok()?;
        return Some(SecretSource { key: file, at, path });
    }
    let At { at, value } = section.text(credential, "\"app.secret\"", report)?;
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

fn oa(
    section: &Section<'_, '_>,
    apps: &Seen,
    seen: &mut Seen,
    report: &mut Report<'_>,
) -> Option<(OaId, Managed)> {
    let id = id(section, "id", "[[oa]]", report);
    if let Some(id) = &id {
        seen.note(id, "OA", report);
    }
    let app = id_of_app(section, apps, report);
    let name = section.read("name", "\"Shop A\"", report, values::name);
    let name = name.map(String::into_boxed_str);
    Some((OaId::from(id?.value), Managed { app_id: AppId::from(app?), name }))
}

fn id_of_app(section: &Section<'_, '_>, apps: &Seen, report: &mut Report<'_>) -> Option<String> {
    let app = id(section, "app", "[[oa]]", report)?;
    if !apps.at.contains_key(&app.value) && !apps.is_incomplete {
        let what = format!("there is no [[app]] with the id{} that this OA names", shown(&app.value));
        let known: Vec<&str> =
            apps.at.keys().map(String::as_str).filter(|id| schema::is_showable(id)).collect();
        let right = match schema::nearest(&app.value, known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "add an [[app]] with this id, or correct it".to_owned(),
        };
        report.add(app.at, what, right);
    }
    Some(app.value)
}

/// The id under this key, which must be there.
fn id(section: &Section<'_, '_>, key: &str, header: &str, report: &mut Report<'_>) -> Option<At<String>> {
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
