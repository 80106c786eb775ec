//! The config file: read, checked as a whole, and turned into values that the program can trust.
//!
//! Decides what a config file may say. Every problem is found in one go, with its line and column; a file with
//! one problem yields no [`Config`] at all. Prints nothing and logs nothing: [`Problems`] and
//! [`Config::warnings`] are handed to whoever asked. Secrets are read from their own files, never from this one,
//! and no message repeats text that could be a secret.
//! May import `clock`, `secret`, `id`, `rotation::timing`, `vendor::terms`, `oauth::is_verifier` and
//! `http::is_loopback`.

mod api;
mod authorize;
mod difference;
mod files;
mod fleet;
mod plain;
mod problems;
mod publish;
mod schema;
mod section;
mod settings;
mod template;
mod values;
mod vendor;
mod warnings;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeTable;
use url::Url;

pub use api::{Access, Api, Verb, Who};
pub use authorize::{Authorize, Consenting};
pub use difference::Difference;
pub use problems::Problems;
pub use publish::{EVENTS, Format, Hook, OA_ID, Publish, Publisher, TokenFile, Webhook};
pub use vendor::Vendor;

use crate::id::{AppId, Fleet, VendorId};
use crate::rotation::timing::Timing;
use crate::secret::Secret;
use crate::vendor::terms::VendorOas;

/// The largest config file that is read, in bytes: some 100,000 OAs.
const LARGEST_FILE: u64 = 16 << 20;

/// Whether the files that the config names are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// Read the app secrets, and look into the CA file: for what talks to Zalo.
    Read,
    /// Open none of them: for commands that only need the store, perhaps run by somebody who may not read them.
    LeaveAlone,
}

/// What the surroundings say, apart from the file itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Where state goes under systemd (`StateDirectory=`).
    pub state_directory: Option<PathBuf>,
    /// Where credentials are under systemd (`LoadCredential=`).
    pub credentials_directory: Option<PathBuf>,
    /// Where sockets go under systemd (`RuntimeDirectory=`).
    pub runtime_directory: Option<PathBuf>,
}

impl Environment {
    /// From `$STATE_DIRECTORY`, `$CREDENTIALS_DIRECTORY` and `$RUNTIME_DIRECTORY`: of each the first, if there are several.
    pub fn of_process() -> Environment {
        Environment {
            state_directory: directory("STATE_DIRECTORY"),
            credentials_directory: directory("CREDENTIALS_DIRECTORY"),
            runtime_directory: directory("RUNTIME_DIRECTORY"),
        }
    }
}

/// The first directory of a colon-separated variable, if it names one.
fn directory(variable: &str) -> Option<PathBuf> {
    let value = std::env::var_os(variable)?;
    std::env::split_paths(&value).next().filter(|path| !path.as_os_str().is_empty())
}

/// A config file without a problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file that it was read from, as it was named.
    pub file: PathBuf,
    /// The store, as an absolute path.
    pub store_path: PathBuf,
    /// How much is logged, and in what form.
    pub log: Log,
    /// The durations and limits that rule a refresh.
    pub timing: Timing,
    /// The wall-clock cap of one request, connection and body included.
    pub timeout: Duration,
    /// How the outside is reached.
    pub http: Http,
    /// How long before a refresh token ends a person is reminded; longest first, each once.
    pub remind: Vec<Duration>,
    /// When the recurring work is done.
    pub schedule: Schedule,
    /// The Zalo apps.
    pub apps: BTreeMap<AppId, App>,
    /// The OAs that are kept; the app of each is in `apps`. Shared with whoever works with them.
    pub oas: Arc<Fleet>,
    /// The vendors who hold OAs.
    pub vendors: BTreeMap<VendorId, Vendor>,
    /// The OAs that they hold; none of them is in `oas`. Shared likewise.
    pub vendor_oas: Arc<VendorOas>,
    /// The consumers' API; `None`: the file does not have it.
    pub api: Option<Api>,
    /// Where people come back to with their consent.
    pub authorize: Authorize,
    /// Where tokens and events are handed out to without being asked for.
    pub publish: Vec<Publish>,
    /// Unwise things that only reading the files could tell.
    notes: Vec<String>,
}

impl Config {
    /// What is accepted but unwise in production, one plain sentence each, in the order of the file's sections.
    pub fn warnings(&self) -> Vec<String> {
        warnings::of(self)
    }
}

/// How much is logged, and in what form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A filter that `tracing_subscriber::EnvFilter` accepts.
    pub level: String,
    /// None: text on a terminal, else JSON.
    pub format: Option<LogFormat>,
}

impl Log {
    /// Are lines to be JSON? What the file does not say, stderr decides.
    pub fn is_json(&self) -> bool {
        let is_terminal = || std::io::IsTerminal::is_terminal(&std::io::stderr());
        self.format.map_or_else(|| !is_terminal(), |format| format == LogFormat::Json)
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// How the outside is reached.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Http {
    /// A proxy for every request, `http` or `https`. It may hold a password: `Debug` leaves that out.
    pub proxy: Option<Url>,
    /// PEM certificates to trust instead of the system's, as an absolute path.
    pub ca_file: Option<PathBuf>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Http { proxy, ca_file } = self;
        let proxy = proxy.as_ref().map(|url| url.origin().ascii_serialization());
        f.debug_struct("Http").field("proxy", &proxy).field("ca_file", ca_file).finish()
    }
}

/// When the recurring work is done: cron expressions of six fields, seconds first, in UTC, each with a next time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Look for what is due.
    pub sweep: String,
    /// Say how the fleet is.
    pub heartbeat: String,
    /// Look at the lifetimes of refresh tokens.
    pub audit: String,
    /// Remove old journal rows.
    pub prune: String,
    /// How long a journal row is kept.
    pub keep_history: Duration,
}

/// A Zalo app.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// Its id.
    pub id: AppId,
    /// Its secret; None only with [`Secrets::LeaveAlone`].
    pub secret_key: Option<Secret>,
    /// The token endpoint: `https`, or `http` to this machine; no user, query or fragment.
    pub token_url: Url,
    /// The root of the OA API, likewise; its path does not end in a slash, unless it is one.
    pub api_url: Url,
    /// How consent is granted to it; `None`: only by hand.
    pub consenting: Option<Consenting>,
}

/// Reads and checks the config file, in the environment of this process.
///
/// # Errors
/// Every problem of the file, or the one that it cannot be read.
pub fn load(file: &Path, secrets: Secrets) -> Result<Config, Problems> {
    let text = files::config_text(file, LARGEST_FILE).map_err(|wrong| Problems::unreadable(file, &wrong))?;
    parse(file, &text, secrets, &Environment::of_process())
}

/// Is this the id of an OA or an app?
///
/// # Errors
/// What it is instead, in words that follow the name of what it is the id of.
pub fn check_id(text: &str) -> Result<(), String> {
    values::id(text).map(drop).map_err(|wrong| wrong.to_string())
}

/// Can an OA be called so?
///
/// # Errors
/// Why not, in words that follow "name".
pub fn check_name(text: &str) -> Result<(), String> {
    values::name(text).map(drop).map_err(|wrong| wrong.to_string())
}

/// The store that a config file names, also where other things in it are wrong. `None`: that is not sure.
pub fn store_path(file: &Path) -> Option<PathBuf> {
    let text = files::config_text(file, LARGEST_FILE).ok()?;
    let env = Environment::of_process();
    settings::store_path_alone(file, &text, &files::Around::new(file, Secrets::LeaveAlone, &env))
}

/// Checks `text` as the content of `file`; relative paths in it start where `file` is.
///
/// # Errors
/// Every problem of the text and of the files that it names, in the order of the text.
pub fn parse(file: &Path, text: &str, secrets: Secrets, env: &Environment) -> Result<Config, Problems> {
    match parse_in_parts(file, text, secrets, env) {
        Some(config) => Ok(config),
        None => parse_whole(file, text, secrets, env),
    }
}

fn parse_whole(file: &Path, text: &str, secrets: Secrets, env: &Environment) -> Result<Config, Problems> {
    let mut report = problems::Report::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        report.syntax(error.span().map_or(text.len(), |span| span.start), error.message());
    }
    let around = files::Around::new(file, secrets, env);
    let config = settings::config(file, document.get_ref(), &around, &mut report);
    report.conclude(config)
}

/// A large fleet, in little memory. `None`: it is not written plainly, or there is a problem.
fn parse_in_parts(file: &Path, text: &str, secrets: Secrets, env: &Environment) -> Option<Config> {
    let plain::Parted { rest, oas } = plain::part(text)?;
    let are_whole = rest.iter().all(|part| DeTable::parse(part).is_ok());
    let rest = rest.concat();
    // Elsewhere it would be something that no section can be added to, or that has to be looked at together with them.
    let has_other_oas = || DeTable::parse(&rest).is_ok_and(|rest| rest.get_ref().contains_key("oa"));
    if oas.is_empty() || !are_whole || has_other_oas() {
        return None;
    }
    let config = parse_whole(file, &rest, secrets, env).ok()?;
    let are_known = oas.values().all(|oa| config.apps.contains_key(&oa.app_id));
    are_known.then(|| Config { oas: Arc::new(oas), ..config })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const APP: &str = "[[app]]\nid = \"a\"\nsecret_key_file = \"s\"\n";
    const OAS: &str = "[[oa]]\nid = \"1\"\napp = \"a\"\n\n# A shop.\n[[oa]] # another\n\tid=\"2\"\r\napp = \"a\"\n\
                       name = \"Cửa hàng = [[oa]] # B\"\n";

    /// What stands in the file `/e/c.toml`.
    pub(super) fn read(text: &str) -> Result<Config, String> {
        let env = Environment::default();
        parse(Path::new("/e/c.toml"), text, Secrets::LeaveAlone, &env)
            .map_err(|problems| problems.to_string())
    }

    fn in_parts(text: &str) -> Option<Config> {
        parse_in_parts(Path::new("c.toml"), text, Secrets::LeaveAlone, &Environment::default())
    }

    fn whole(text: &str) -> Result<Config, Problems> {
        parse_whole(Path::new("c.toml"), text, Secrets::LeaveAlone, &Environment::default())
    }

    #[test]
    fn plain_sections_are_taken_out_wherever_they_stand_and_mean_the_same() {
        let later = "[[oa]]\nid = \"3\"\napp = \"a\"";
        for text in [
            format!("{APP}{OAS}"),
            format!("{OAS}{APP}{later}"),
            format!("[log]\nlevel = \"info\"\n{OAS}{APP}[store]\npath = \"/x/y\"\n{later}"),
        ] {
            assert_eq!(in_parts(&text).as_ref(), whole(&text).ok().as_ref(), "{text}");
            assert!(in_parts(&text).is_some_and(|config| config.oas.len() >= 2), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_or_not_right_goes_the_usual_way() {
        for odd in [
            "[[oa]]\nid = \"1\"\napp = \"a\"\n",
            "[[oa]]\nid = \"9\"\n",
            "[[oa]]\nid = \"9\"\napp = \"b\"\n",
            "[[oa]]\nid = \"9\"\nid = \"9\"\napp = \"a\"\n",
            "[[oa]]\nid = 9\napp = \"a\"\n",
            "[[oa]]\nid = \"9\"\napp = \"a\"\nname = \"\\u0041\"\n",
            "[[oa]]\nid = \"9\"\napp = \"a\"\nname = \"\"\"\nid = \"8\"\n\"\"\"\n",
            "[[oa]]\nid = \"9\"\napp = \"a\" name = \"x\"\n",
            "[[oa]]\nid = \"9\"\napp = \"a\"\ncolour = \"x\"\n",
            "[[ oa ]]\nid = \"9\"\napp = \"a\"\n",
            "[oa.x]\nid = \"9\"\n",
            "[refresh_token]\nremind = [\n[[oa]]\nid = \"9\"\napp = \"a\"\n[log]\n]\n",
            "[log]\nlevel = '''\n[[oa]]\nid = \"9\"\napp = \"a\"\n[x]\n'''\n",
            "[log\n",
        ] {
            let text = format!("{APP}{OAS}{odd}");
            assert_eq!(in_parts(&text), None, "{text}");
        }
        assert_eq!(in_parts(&format!("oa = []\n{APP}{OAS}")), None);
        assert_eq!(in_parts(APP), None);
    }

    /// Lines that make all kinds of things of their neighbours.
    fn some_lines() -> impl Strategy<Value = String> {
        let line = proptest::sample::select(vec![
            "[[oa]]",
            "[[oa]]",
            "[[oa]] # c",
            " [[oa]]",
            "[[oa]]x",
            "[oa]",
            "[oa.x]",
            "oa = []",
            "[[app]]",
            "[log]",
            "[[x]]",
            "id = \"1\"",
            "id = \"3\"",
            "id=\"4\"",
            "id = '5'",
            "app = \"a\"",
            "app = \"a\"",
            "app = \"b\"",
            "name = \"n\"",
            "name = \"\\n\"",
            "name = \"\"\"",
            "\"\"\"",
            "'''",
            "level = '''",
            "level = [",
            "]",
            "# c",
            "",
            "\r",
            "level = \"info\"",
        ]);
        proptest::collection::vec(line, 0..3)
            .prop_map(|lines| lines.iter().map(|line| format!("{line}\n")).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn a_file_that_is_read_in_parts_means_what_it_means_as_a_whole(
            before in some_lines(), between in some_lines(), after in some_lines(),
        ) {
            let text = format!("{before}{APP}{between}{OAS}{after}");
            if let Some(config) = in_parts(&text) {
                prop_assert_eq!(Ok(config), whole(&text), "{}", text);
            }
        }
    }
}
