//! `[[publish]]`: where tokens and events are handed out to without being asked for.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;
use url::Url;

use super::files::{self, Around};
use super::problems::{Report, Wrong};
use super::section::{At, Section};
use super::values::{self, Bounds};
use super::{api, schema, template};
use crate::http::is_loopback;
use crate::id::OaId;
use crate::secret::{Digest, Secret};

/// The placeholder that a file's path may hold.
pub const OA_ID: &str = "{oa_id}";
/// The placeholders of a hook's arguments.
const PLACEHOLDERS: [&str; 3] = [OA_ID, "{event}", "{generation}"];

/// How long a hook may take where the file does not say.
const TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUTS: Bounds = Bounds::new(Duration::from_secs(1), Duration::from_secs(600));
/// The mode of a file where the config does not say.
const MODE: u32 = 0o600;
/// The longest URL that is taken.
const LONGEST_URL: usize = 2_048;

/// The events that hooks and webhooks may be told of: all of the log's, but for what the publishers say themselves, and
/// `daemon.stopped`, which comes when they have ended.
pub const EVENTS: [&str; 57] = [
    "access.denied",
    "access_token.expired",
    "api.listening",
    "api.unavailable",
    "app.braked",
    "app.mass_reauthorization",
    "app.old_token_outlives",
    "app.refused",
    "app.released",
    "authorize.listening",
    "authorize.unavailable",
    "config.rejected",
    "config.reloaded",
    "consent.begun",
    "consent.failed",
    "consent.granted",
    "consent.postponed",
    "consent.refused",
    "consent.unverified",
    "control.unavailable",
    "daemon.ready",
    "daemon.started",
    "daemon.stopping",
    "endpoint.certificate_refused",
    "fleet.heartbeat",
    "oa.app_changed",
    "oa.authorized",
    "oa.awaiting_grant",
    "oa.decision_needed",
    "oa.dismissed",
    "oa.enlisted",
    "oa.imported",
    "oa.reauthorization_required",
    "oa.resolved",
    "oa.unreadable",
    "program.panicked",
    "refresh.answer_odd",
    "refresh.failed",
    "refresh.planned",
    "refresh.probed",
    "refresh.started",
    "refresh.succeeded",
    "refresh.superseded",
    "refresh.uncertain",
    "refresh_token.end_unproven",
    "refresh_token.expiring",
    "store.answer_orphaned",
    "store.failed",
    "store.recovered",
    "store.slot_torn",
    "token.reported",
    "vendor.asked_in_vain",
    "vendor.failed",
    "vendor.link_fetched",
    "vendor.misconfigured",
    "vendor.refused",
    "vendor.released",
];

/// One `[[publish]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Of which OAs; `None`: of all, and what is about none.
    pub oas: Option<BTreeSet<OaId>>,
    /// To whom.
    pub to: Publisher,
}

/// To whom it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publisher {
    /// Tokens into files.
    File(TokenFile),
    /// Events to a program of this machine.
    Exec(Hook),
    /// Events to an HTTP server.
    Webhook(Webhook),
}

/// A file for each OA's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFile {
    /// An absolute path, with [`OA_ID`] in it unless there is one OA only.
    pub path: PathBuf,
    /// What stands in it.
    pub format: Format,
    /// Its mode.
    pub mode: u32,
    /// Its owner; `None`: the daemon's user.
    pub owner: Option<u32>,
    /// Its group; `None`: the daemon's.
    pub group: Option<u32>,
}

/// What stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object.
    Json,
    /// The access token alone, on a line.
    Text,
    /// Variables, as for a shell or systemd's `EnvironmentFile=`.
    Env,
}

/// A program that is run for each event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program, as an absolute path, and its arguments, with placeholders.
    pub command: Vec<String>,
    /// On which events.
    pub events: BTreeSet<&'static str>,
    /// Is the OA's access token in its input?
    pub token: bool,
    /// How long it may take.
    pub timeout: Duration,
}

/// A server that is told of each event. `Debug` leaves out what may be secret in its URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `https`, or `http` to this machine.
    pub url: Url,
    /// On which events.
    pub events: BTreeSet<&'static str>,
    /// What is signed with; `None` only with [`super::Secrets::LeaveAlone`].
    pub secret: Option<Secret>,
}

impl Webhook {
    /// Names it in the store, whatever stands in its URL.
    pub fn key(&self) -> Digest {
        Secret::new(self.url.as_str().to_owned()).digest()
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Webhook { url, events, secret } = self;
        let url = url.origin().ascii_serialization();
        f.debug_struct("Webhook")
            .field("url", &url)
            .field("events", events)
            .field("secret", secret)
            .finish_non_exhaustive()
    }
}

impl Publisher {
    /// What the log calls it: nothing that may be secret in a URL.
    pub fn name(&self) -> String {
        match self {
            Publisher::File(file) => format!("file {}", file.path.display()),
            Publisher::Exec(hook) => format!("exec {}", hook.command.first().map_or("", String::as_str)),
            Publisher::Webhook(hook) => {
                format!("webhook {} {}", hook.url.origin().ascii_serialization(), hook.key())
            }
        }
    }
}

/// All of them. `store` is where none may write.
pub(super) fn publish(
    document: &DeTable<'_>,
    store: &Path,
    around: &Around<'_>,
    report: &mut Report<'_>,
) -> Vec<Publish> {
    let mut found: Vec<Publish> = Vec::new();
    for section in Section::list(document, &schema::PUBLISH, report) {
        let Some(publish) = one(&section, store, around, report) else { continue };
        let is_same = |other: &Publish| match (&other.to, &publish.to) {
            (Publisher::File(a), Publisher::File(b)) => template::may_meet(&a.path, &b.path),
            (Publisher::Webhook(a), Publisher::Webhook(b)) => a.url == b.url,
            (Publisher::Exec(a), Publisher::Exec(b)) => a == b && other.oas == publish.oas,
            (Publisher::File(_) | Publisher::Exec(_) | Publisher::Webhook(_), _) => false,
        };
        if found.iter().any(is_same) {
            report.add(
                section.at,
                "the same is published to above, or may be",
                "write one [[publish]] for it",
            );
        }
        found.push(publish);
    }
    found
}

const KINDS: [&str; 3] = ["file", "exec", "webhook"];
/// The keys of each kind, beside `oas`.
const KEYS: [(&str, &[&str]); 3] = [
    ("file", &["file", "format", "mode", "owner", "group"]),
    ("exec", &["exec", "events", "token", "timeout"]),
    ("webhook", &["webhook", "events", "secret_file"]),
];

/// One section. Its problems are reported.
fn one(
    section: &Section<'_, '_>,
    store: &Path,
    around: &Around<'_>,
    report: &mut Report<'_>,
) -> Option<Publish> {
    let named: Vec<&str> = KINDS.into_iter().filter(|key| section.position(key).is_some()).collect();
    let kind = match named[..] {
        [] => {
            let right = "add one of file, exec and webhook";
            report.lack(section.at, "this [[publish]] does not say to whom", right);
            return None;
        }
        [kind] => kind,
        [first, second, ..] => {
            let what = format!("`{first}` and `{second}` are both here");
            report.add(section.at, what, "write a [[publish]] for each");
            return None;
        }
    };
    foreign_keys(section, kind, report);
    let oas = api::oas(section, "[[publish]]", report);
    let to = match kind {
        "file" => file(section, oas.as_ref(), store, around, report).map(Publisher::File),
        "exec" => hook(section, report).map(Publisher::Exec),
        _ => webhook(section, around, report).map(Publisher::Webhook),
    };
    Some(Publish { oas: oas?, to: to? })
}

/// Reports the keys that this kind does not have.
fn foreign_keys(section: &Section<'_, '_>, kind: &str, report: &mut Report<'_>) {
    let own = KEYS.iter().find(|(of, _)| *of == kind).map_or(&[] as &[&str], |(_, keys)| keys);
    for key in schema::PUBLISH.keys.iter().filter(|key| **key != "oas" && !own.contains(key)) {
        if let Some(at) = section.position(key) {
            let right = format!("its keys are oas, {}; take `{key}` out", own.join(", "));
            report.add(at, format!("`{key}` means nothing beside `{kind}`"), right);
        }
    }
}

fn file(
    section: &Section<'_, '_>,
    oas: Option<&Option<BTreeSet<OaId>>>,
    store: &Path,
    around: &Around<'_>,
    report: &mut Report<'_>,
) -> Option<TokenFile> {
    let is_one = matches!(oas, Some(Some(oas)) if oas.len() == 1) || oas.is_none();
    let example = "\"/run/zalo-tokend/tokens/{oa_id}.json\"";
    let path = section.read("file", example, report, |text| path(text, is_one, store, around));
    let by_name = match path.as_ref().and_then(|path| path.extension()).and_then(|end| end.to_str()) {
        Some("json") => Format::Json,
        Some("env") => Format::Env,
        Some(_) | None => Format::Text,
    };
    let formats = [("json", Format::Json), ("text", Format::Text), ("env", Format::Env)];
    let format = section.read("format", "\"json\"", report, |text| values::word(text, &formats));
    Some(TokenFile {
        format: format.unwrap_or(by_name),
        mode: section.read("mode", "\"0640\"", report, mode).unwrap_or(MODE),
        owner: section.read("owner", "\"www-data\"", report, api::user),
        group: section.read("group", "\"www-data\"", report, api::group),
        path: path?,
    })
}

/// The path of a file, in which nothing but [`OA_ID`] is filled in.
fn path(text: &str, is_one: bool, store: &Path, around: &Around<'_>) -> Result<PathBuf, Wrong> {
    let right = "write it as \"/run/zalo-tokend/tokens/{oa_id}.json\"";
    let path = around.path(text)?;
    let bare = text.replace(OA_ID, "");
    if bare.contains(['{', '}']) {
        return Err(Wrong::new("has a placeholder that there is not; there is {oa_id}", right));
    }
    let is_plain = |part: std::path::Component<'_>| {
        !matches!(part, std::path::Component::ParentDir | std::path::Component::CurDir)
    };
    if text.ends_with('/') || path.file_name().is_none() || !path.components().all(is_plain) {
        return Err(Wrong::new("is no plain path of a file", right));
    }
    if !is_one && !text.contains(OA_ID) {
        let what = "is one file, and more than one OA is meant";
        return Err(Wrong::new(what, "put {oa_id} into the path, or name one OA in `oas`"));
    }
    if path.to_string_lossy().starts_with(&*store.to_string_lossy()) {
        return Err(Wrong::new("is the store's own", right));
    }
    Ok(path)
}

/// Permission bits as `chmod` takes them.
fn mode(text: &str) -> Result<u32, Wrong> {
    let right = "write it as chmod takes it, in quotes: \"0640\"";
    match u32::from_str_radix(text, 8) {
        Ok(mode) if text.len() <= 4 && mode & 0o400 != 0 && mode & !0o664 == 0 => Ok(mode),
        Ok(_) => {
            Err(Wrong::new("is no mode of a file that its owner may read and not all may change", right))
        }
        Err(_) => Err(Wrong::new("is no mode", right)),
    }
}

fn hook(section: &Section<'_, '_>, report: &mut Report<'_>) -> Option<Hook> {
    let command = command(section, report);
    let events = events(section, report);
    let timeout = section.read("timeout", "\"30s\"", report, |text| values::duration(text, TIMEOUTS));
    let token = section.flag("token", report).unwrap_or(false);
    Some(Hook { command: command?, events: events?, token, timeout: timeout.unwrap_or(TIMEOUT) })
}

fn command(section: &Section<'_, '_>, report: &mut Report<'_>) -> Option<Vec<String>> {
    let example = "[\"/usr/local/bin/hook\", \"{oa_id}\"]";
    let words = section.texts("exec", example, report)?;
    let right = format!("write exec = {example}");
    let at = section.position("exec").unwrap_or(section.at);
    let wrong = match words.first() {
        None => Some("is empty"),
        Some(word) if !Path::new(word.value).is_absolute() || word.value.ends_with('/') => {
            Some("does not begin with the whole path of a program")
        }
        Some(word) if word.value.contains(['{', '}']) => Some("has a placeholder in the program's path"),
        Some(_) if words.iter().any(|word| word.value.contains('\0')) => Some("has a zero byte"),
        Some(_) => None,
    };
    if let Some(what) = wrong {
        report.add_value(at, "exec", Wrong::new(what, right));
        return None;
    }
    for At { at, value } in &words {
        if let Some(name) = unknown_placeholder(value) {
            let what = format!("has the placeholder {name}, which there is not");
            report.add_value(*at, "exec", Wrong::new(what, format!("there are {}", PLACEHOLDERS.join(", "))));
        }
    }
    Some(words.into_iter().map(|word| word.value.to_owned()).collect())
}

/// The first `{word}` that is no placeholder. Other braces are text.
fn unknown_placeholder(text: &str) -> Option<&str> {
    text.match_indices('{').find_map(|(at, _)| {
        let end = at + text[at..].find('}')?;
        let is_word = end > at + 1
            && text[at + 1..end].bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            && end - at <= 32;
        let found = &text[at..=end];
        (is_word && !PLACEHOLDERS.contains(&found)).then_some(found)
    })
}

fn events(section: &Section<'_, '_>, report: &mut Report<'_>) -> Option<BTreeSet<&'static str>> {
    let example = "[\"refresh.succeeded\", \"oa.reauthorization_required\"]";
    if section.position("events").is_none() {
        let right = format!("add events = {example}");
        report.lack(section.at, "this [[publish]] does not say which events", right);
        return None;
    }
    let mut events = BTreeSet::new();
    for At { at, value } in section.texts("events", example, report)? {
        match EVENTS.iter().find(|event| **event == value) {
            Some(event) => drop(events.insert(*event)),
            None => report.add_value(at, "events", no_event(value)),
        }
    }
    Some(events)
}

fn no_event(text: &str) -> Wrong {
    let right = match schema::nearest(text, EVENTS) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "the README has a table of the events".to_owned(),
    };
    if text.starts_with("publish.") {
        let right = "take it out; it is in the log";
        return Wrong::new("names an event of the publishers, which are not published", right);
    }
    Wrong::new("names an event that there is not", right)
}

fn webhook(section: &Section<'_, '_>, around: &Around<'_>, report: &mut Report<'_>) -> Option<Webhook> {
    let url = section.read("webhook", "\"https://host/path\"", report, url);
    let events = events(section, report);
    if section.position("secret_file").is_none() {
        let right = "add secret_file, with a secret by which the receiver knows that it is you";
        report.lack(section.at, "this [[publish]] has a webhook and no secret", right);
        return None;
    }
    let secret = section.read("secret_file", "\"/etc/zalo-tokend/hook.secret\"", report, |text| {
        files::made_secret(&around.path(text)?, "secret", around.secrets)
    });
    Some(Webhook { url: url?, events: events?, secret: secret? })
}

/// It may have a secret in its path or its query: no message repeats any of it.
fn url(text: &str) -> Result<Url, Wrong> {
    let right = "write it as \"https://host/path\"";
    let url = Url::parse(text).map_err(|error| Wrong::new(format!("is no URL: {error}"), right))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        _ => {
            let right = "write https://; http:// is for 127.0.0.1, [::1] and localhost only";
            return Err(Wrong::new("is not https://", right));
        }
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(Wrong::new("has a user, a password or a fragment, which a URL here must not", right));
    }
    if text.len() > LONGEST_URL {
        return Err(Wrong::new("is too long", right));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::super::Secrets;
    use super::super::tests::read;
    use super::*;

    fn publish(text: &str) -> Vec<Publish> {
        read(text).unwrap_or_else(|problems| panic!("{text}\n{problems}")).publish
    }

    const ALL: &str = "[[publish]]\noas = [\"*\"]\n";

    #[test]
    fn everything_that_can_be_said_is_understood() {
        let found = publish(&format!(
            "{ALL}file = \"t/{{oa_id}}.json\"\n\
             [[publish]]\noas = [\"7\"]\nfile = \"/u/token\"\nmode = \"0640\"\nowner = \"root\"\ngroup = \"root\"\n\
             {ALL}file = \"/t/{{oa_id}}\"\nformat = \"env\"\n\
             {ALL}exec = [\"/bin/hook\", \"--oa={{oa_id}}\", \"{{event}}\", \"{{\"]\nevents = [\"oa.imported\"]\n\
             token = true\ntimeout = \"5s\"\n\
             {ALL}webhook = \"https://h/secret?key=secret\"\nevents = []\nsecret_file = \"s\"\n"
        ));
        let file = |path: &str, format, mode, owner, group| {
            Publisher::File(TokenFile { path: path.into(), format, mode, owner, group })
        };
        assert_eq!(found[0].to, file("/e/t/{oa_id}.json", Format::Json, 0o600, None, None));
        assert_eq!(found[1].to, file("/u/token", Format::Text, 0o640, Some(0), Some(0)));
        assert_eq!(found[1].oas, Some([OaId::from("7")].into()));
        assert_eq!(found[2].to, file("/t/{oa_id}", Format::Env, 0o600, None, None));
        let command = ["/bin/hook", "--oa={oa_id}", "{event}", "{"].map(str::to_owned).to_vec();
        let hook =
            Hook { command, events: ["oa.imported"].into(), token: true, timeout: Duration::from_secs(5) };
        assert_eq!(found[3].to, Publisher::Exec(hook));
        assert!(matches!(&found[4].to, Publisher::Webhook(hook) if hook.secret.is_none()));
        assert!(!format!("{found:?} {}", found[4].to.name()).contains("secret?"), "a URL may be secret");
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        let file = format!("{ALL}file = \"/t/{{oa_id}}.json\"\n");
        let exec = format!("{ALL}exec = [\"/h\"]\nevents = [\"oa.imported\"]\n");
        let webhook = format!("{ALL}webhook = \"https://h/\"\nevents = []\nsecret_file = \"s\"\n");
        for (text, said) in [
            (ALL.to_owned(), "does not say to whom"),
            (file.replace(ALL, "[[publish]]\n"), "this [[publish]] does not say which OAs"),
            (file.replace("{oa_id}", "7"), "more than one OA is meant"),
            (file.replace("{oa_id}", "{oaid}"), "there is {oa_id}"),
            (file.replace("/t/", "/t/../"), "no plain path"),
            (file.replace("{oa_id}.json", ""), "no plain path"),
            (file.replace("/t/", "/var/lib/zalo-tokend/tokens.db"), "the store's own"),
            (format!("{file}{file}"), "the same is published to above"),
            (format!("{file}mode = \"0666\""), "not all may change"),
            (format!("{file}mode = \"0700\""), "not all may change"),
            (format!("{file}mode = 384"), "not text in quotes"),
            (format!("{file}owner = \"no such user\""), "names a user that there is not"),
            (format!("{file}format = \"jsn\""), "did you mean \"json\"?"),
            (format!("{file}token = true"), "`token` means nothing beside `file`"),
            (format!("{file}exec = [\"/h\"]"), "`file` and `exec` are both here"),
            (exec.replace("\"/h\"", ""), "is empty"),
            (exec.replace("\"/h\"", "\"h\""), "whole path of a program"),
            (exec.replace("\"/h\"", "\"/h\", \"{oa}\""), "the placeholder {oa}, which there is not"),
            (exec.replace("\"/h\"", "\"/{oa_id}\""), "in the program's path"),
            (exec.replace("oa.imported", "oa.importd"), "did you mean \"oa.imported\"?"),
            (exec.replace("oa.imported", "publish.failed"), "are not published"),
            (exec.replace("events", "timeout"), "not text in quotes"),
            (format!("{exec}timeout = \"1h\""), "too long"),
            (webhook.replace("https", "http"), "is not https://"),
            (webhook.replace("h/", "user:CANARY@h/"), "a user, a password"),
            (webhook.replace("secret_file = \"s\"\n", ""), "no secret"),
            (format!("{webhook}{webhook}"), "the same is published to above"),
        ] {
            let problems = read(&text).expect_err(&text);
            assert!(problems.contains(said) && !problems.contains("CANARY"), "{text}: {problems}");
        }
    }

    #[test]
    fn what_the_example_teaches_is_accepted() {
        let example = include_str!("../../config.example.toml");
        let taught = example.lines().filter_map(|line| line.strip_prefix("#   ")).filter(|line| {
            line.starts_with("[[publish]]")
                || schema::PUBLISH.keys.iter().any(|key| line.starts_with(&format!("{key} = ")))
        });
        let taught: Vec<&str> = taught.collect();
        let text = taught
            .join("\n")
            .replace("\"www-data\"", "\"root\"")
            .replace("\"zalo-tokend-clients\"", "\"root\"");
        assert_eq!(publish(&text).len(), 3, "{text}");
        for key in schema::PUBLISH.keys {
            assert!(text.contains(&format!("{key} = ")), "{key} is not taught");
        }
    }

    #[test]
    fn a_webhooks_secret_must_not_be_guessable() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        std::fs::write(&path, "short").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
        assert!(
            files::made_secret(&path, "secret", Secrets::Read)
                .is_err_and(|wrong| wrong.right.contains("openssl rand"))
        );
    }
}
