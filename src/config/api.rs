//! `[api]` and `[[access]]`: where the consumers' API listens, and who may do what there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::files::{self, Around};
use super::problems::{Report, Wrong};
use super::section::{At, Section};
use super::{schema, values};
use crate::id::OaId;
use crate::secret::Secret;

/// Where the socket is when neither the file nor systemd says where.
const RUNTIME_DIRECTORY: &str = "/run/zalo-tokend";
const SOCKET_FILE: &str = "api.sock";
/// The socket's mode where the file does not say.
const MODE: u32 = 0o660;

/// The consumers' API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// The Unix socket, as an absolute path. One that systemd hands over takes its place.
    pub socket: PathBuf,
    /// The socket's mode.
    pub mode: u32,
    /// The socket's group; `None`: the daemon's own.
    pub group: Option<u32>,
    /// A TCP address to listen at as well.
    pub listen: Option<SocketAddr>,
    /// How many requests of one peer are answered a second, in the long run.
    pub rate: u32,
    /// How many connections there are at once.
    pub max_connections: u32,
    /// Are there metrics of each OA?
    pub oa_metrics: bool,
    /// Who may do what, beside the daemon's own user, root, and the socket's group.
    pub access: Vec<Access>,
}

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Who.
    pub who: Who,
    /// With which OAs; `None`: with all.
    pub oas: Option<BTreeSet<OaId>>,
    /// What.
    pub verbs: BTreeSet<Verb>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A user of this machine, at the socket.
    User(u32),
    /// The members of a group of this machine, at the socket.
    Group(u32),
    /// Whoever shows this token; `None` only with [`super::Secrets::LeaveAlone`].
    Bearer(Option<Secret>),
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Read tokens, states and events.
    Read,
    /// Say that a token was refused, which may have it refreshed.
    Report,
    /// Refresh, add, import and remove.
    Admin,
}

impl Verb {
    /// The word of the config file.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Read => "read",
            Verb::Report => "report",
            Verb::Admin => "admin",
        }
    }
}

const VERBS: [(&str, Verb); 3] = [("read", Verb::Read), ("report", Verb::Report), ("admin", Verb::Admin)];

/// The API, if the file has the section.
pub(super) fn api(document: &DeTable<'_>, around: &Around<'_>, report: &mut Report<'_>) -> Option<Api> {
    let section = Section::one(document, &schema::API, report);
    let rules = Section::list(document, &schema::ACCESS, report);
    let access: Vec<Access> = rules.iter().filter_map(|rule| self::access(rule, around, report)).collect();
    if !section.is_there() {
        if let Some(rule) = rules.first() {
            report.lack(rule.at, "there is an [[access]] and no [api]", "add [api] to have one");
        }
        return None;
    }
    let socket = section.read("socket", "\"/run/zalo-tokend/api.sock\"", report, |text| around.path(text));
    let listen = listen(&section, &access, report);
    Some(Api {
        socket: socket.unwrap_or_else(|| default_socket(around)),
        mode: section.read("mode", "\"0660\"", report, mode).unwrap_or(MODE),
        group: section.read("group", "\"www-data\"", report, group),
        listen,
        rate: section.number("rate", 1..=1_000_000, report).unwrap_or(2_000),
        max_connections: section.number("max_connections", 1..=65_536, report).unwrap_or(2_048),
        oa_metrics: section.flag("oa_metrics", report).unwrap_or(false),
        access,
    })
}

fn default_socket(around: &Around<'_>) -> PathBuf {
    around.env.runtime_directory.as_deref().unwrap_or(Path::new(RUNTIME_DIRECTORY)).join(SOCKET_FILE)
}

/// Permission bits as `chmod` takes them.
fn mode(text: &str) -> Result<u32, Wrong> {
    let right = "write it as chmod takes it, in quotes: \"0660\"";
    match u32::from_str_radix(text, 8) {
        Ok(mode) if text.len() <= 4 && mode & 0o600 == 0o600 && mode <= 0o777 => Ok(mode),
        Ok(_) => Err(Wrong::new("is no mode of a socket that its owner may use", right)),
        Err(_) => Err(Wrong::new("is no mode", right)),
    }
}

pub(super) fn user(text: &str) -> Result<u32, Wrong> {
    let right = "name a user of this machine, or in [[access]] write its number with `uid`";
    match nix::unistd::User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err(Wrong::new("names a user that there is not", right)),
        Err(error) => Err(Wrong::new(format!("names a user that cannot be looked up: {error}"), right)),
    }
}

pub(super) fn group(text: &str) -> Result<u32, Wrong> {
    let right = "name a group of this machine, or in [[access]] write its number with `gid`";
    match nix::unistd::Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(Wrong::new("names a group that there is not", right)),
        Err(error) => Err(Wrong::new(format!("names a group that cannot be looked up: {error}"), right)),
    }
}

fn listen(section: &Section<'_, '_>, access: &[Access], report: &mut Report<'_>) -> Option<SocketAddr> {
    let allow_remote = section.flag("allow_remote", report).unwrap_or(false);
    let address = section.read("listen", "\"127.0.0.1:8787\"", report, |text| {
        values::listen(text, allow_remote, "can be reached from other machines, which read tokens in clear")
    })?;
    let has_bearer = access.iter().any(|access| matches!(access.who, Who::Bearer(_)));
    if !has_bearer {
        let at = section.position("listen").unwrap_or(section.at);
        let right = "add an [[access]] with a `token_file`: over TCP nobody is known by his user";
        report.lack(at, "`listen` is here, and no token with which somebody could ask there", right);
    }
    Some(address)
}

/// One rule. Its problems are reported.
fn access(section: &Section<'_, '_>, around: &Around<'_>, report: &mut Report<'_>) -> Option<Access> {
    let (who, oas, verbs) =
        (who(section, around, report), oas(section, "[[access]]", report), verbs(section, report));
    Some(Access { who: who?, oas: oas?, verbs: verbs? })
}

const KEYS_OF_WHO: [&str; 5] = ["user", "group", "uid", "gid", "token_file"];

fn who(section: &Section<'_, '_>, around: &Around<'_>, report: &mut Report<'_>) -> Option<Who> {
    let named: Vec<&str> = KEYS_OF_WHO.into_iter().filter(|key| section.position(key).is_some()).collect();
    match named[..] {
        [] => {
            let right = "add one of user, group, uid, gid and token_file";
            report.lack(section.at, "this [[access]] does not say who", right);
            None
        }
        ["user"] => section.read("user", "\"www-data\"", report, user).map(Who::User),
        ["group"] => section.read("group", "\"www-data\"", report, group).map(Who::Group),
        ["uid"] => section.number("uid", 0..=u32::MAX - 1, report).map(Who::User),
        ["gid"] => section.number("gid", 0..=u32::MAX - 1, report).map(Who::Group),
        ["token_file"] => {
            let example = "\"/etc/zalo-tokend/shop.token\"";
            section
                .read("token_file", example, report, |text| {
                    files::made_secret(&around.path(text)?, "token", around.secrets)
                })
                .map(Who::Bearer)
        }
        [first, second, ..] => {
            let what = format!("`{first}` and `{second}` are both here");
            report.add(section.at, what, "write an [[access]] for each");
            None
        }
        [_] => None,
    }
}

/// Which OAs: `None` inside for all of them.
pub(super) fn oas(
    section: &Section<'_, '_>,
    header: &str,
    report: &mut Report<'_>,
) -> Option<Option<BTreeSet<OaId>>> {
    let example = "[\"*\"]";
    if section.position("oas").is_none() {
        let right = "add oas = [\"*\"] for all OAs, or name them";
        report.lack(section.at, format!("this {header} does not say which OAs"), right);
        return None;
    }
    let mut oas = BTreeSet::new();
    let texts = section.texts("oas", example, report)?;
    if texts.iter().any(|text| text.value == "*") {
        return Some(None);
    }
    for At { at, value } in texts {
        match values::id(value) {
            Ok(id) => drop(oas.insert(OaId::from(id))),
            Err(wrong) => report.add_value(at, "oas", wrong),
        }
    }
    Some(Some(oas))
}

fn verbs(section: &Section<'_, '_>, report: &mut Report<'_>) -> Option<BTreeSet<Verb>> {
    if section.position("verbs").is_none() {
        let right = "add verbs = [\"read\", \"report\"], and \"admin\" for who may change things";
        report.lack(section.at, "this [[access]] does not say what may be done", right);
        return None;
    }
    let mut verbs = BTreeSet::new();
    for At { at, value } in section.texts("verbs", "[\"read\", \"report\"]", report)? {
        match values::word(value, &VERBS) {
            Ok(verb) => drop(verbs.insert(verb)),
            Err(wrong) => report.add_value(at, "verbs", wrong),
        }
    }
    Some(verbs)
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::super::{Environment, Secrets, parse};
    use super::*;

    fn api(text: &str) -> Api {
        read(text).expect("valid").api.expect("an API")
    }

    #[test]
    fn without_the_section_there_is_no_api_and_an_empty_one_has_its_defaults() {
        assert_eq!(read("").expect("valid").api, None);
        let Api { socket, mode, group, listen, access, oa_metrics, .. } = api("[api]");
        assert_eq!((socket.as_path(), mode), (Path::new("/run/zalo-tokend/api.sock"), 0o660));
        assert_eq!((group, listen, access, oa_metrics), (None, None, vec![], false));
        let env = Environment { runtime_directory: Some("/run/other".into()), ..Environment::default() };
        let config = parse(Path::new("/e/c.toml"), "[api]", Secrets::LeaveAlone, &env).expect("valid");
        assert_eq!(config.api.map(|api| api.socket), Some("/run/other/api.sock".into()));
    }

    #[test]
    fn everything_that_can_be_said_is_understood() {
        let api = api(
            "[api]\nsocket = \"s\"\nmode = \"0600\"\ngroup = \"root\"\nlisten = \"[::1]:80\"\nrate = 7\n\
             max_connections = 8\noa_metrics = true\n[[access]]\nuser = \"root\"\noas = [\"*\"]\nverbs = [\"read\"]\n\
             [[access]]\ngid = 33\noas = [\"7\", \"8\"]\nverbs = [\"report\", \"admin\"]\n\
             [[access]]\ntoken_file = \"t\"\noas = []\nverbs = []\n",
        );
        assert_eq!((api.socket.as_path(), api.mode, api.group), (Path::new("/e/s"), 0o600, Some(0)));
        assert_eq!((api.rate, api.max_connections, api.oa_metrics), (7, 8, true));
        assert_eq!(api.listen.map(|at| at.to_string()).as_deref(), Some("[::1]:80"));
        let expected = [
            Access { who: Who::User(0), oas: None, verbs: [Verb::Read].into() },
            Access {
                who: Who::Group(33),
                oas: Some(["7", "8"].map(OaId::from).into()),
                verbs: [Verb::Report, Verb::Admin].into(),
            },
            Access { who: Who::Bearer(None), oas: Some([].into()), verbs: [].into() },
        ];
        assert_eq!(api.access, expected);
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        let rule = "[api]\n[[access]]\nuser = \"root\"\noas = [\"*\"]\nverbs = [\"read\"]\n";
        for (text, said) in [
            ("[api]\nlisten = \"0.0.0.0:80\"", "allow_remote = true"),
            ("[api]\nlisten = \"127.0.0.1:80\"", "token_file"),
            ("[api]\nlisten = \"here\"", "127.0.0.1:8787"),
            ("[api]\nmode = \"0460\"", "its owner may use"),
            ("[api]\nmode = \"rw\"", "\"0660\""),
            ("[api]\nmode = 432", "not text in quotes"),
            ("[api]\ngroup = \"no such group\"", "names a group that there is not"),
            ("[api]\noa_metrics = \"yes\"", "true or false"),
            ("[api]\nsockets = \"s\"", "did you mean `socket`?"),
            (&rule.replace("[api]\n", ""), "no [api]"),
            (&rule.replace("user = \"root\"\n", ""), "does not say who"),
            (&rule.replace("user = \"root\"", "user = \"no such user\""), "names a user that there is not"),
            (&rule.replace("user = \"root\"", "user = \"root\"\ngid = 0"), "`user` and `gid` are both here"),
            (&rule.replace("[\"*\"]", "[\"a b\"]"), "a character that no id has"),
            (&rule.replace("oas = [\"*\"]\n", ""), "which OAs"),
            (&rule.replace("[\"read\"]", "[\"reed\"]"), "did you mean \"read\"?"),
            (&rule.replace("verbs = [\"read\"]\n", ""), "what may be done"),
        ] {
            let problems = read(text).expect_err(text);
            assert!(problems.contains(said), "{text}: {problems}");
        }
    }

    #[test]
    fn a_bearer_token_is_read_from_its_file_and_must_not_be_guessable() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("t");
        let write = |text: &str| {
            std::fs::write(&path, text).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
            files::made_secret(&path, "token", Secrets::Read)
        };
        assert!(write("short").is_err_and(|wrong| wrong.right.contains("openssl rand")));
        let long = "0123456789abcdef0123456789abcdef";
        assert_eq!(write(&format!("{long}\n")), Ok(Some(Secret::new(long.to_owned()))));
        assert_eq!(files::made_secret(&path, "token", Secrets::LeaveAlone), Ok(None));
    }
}
