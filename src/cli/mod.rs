//! The commands: one file each. They read arguments, call the rooms that know, print, and decide nothing.
//!
//! An error is one plain sentence on stderr that says what to do, and an exit code of `sysexits.h` where there is
//! one. May import everything.

mod authorize;
mod authorized;
mod check;
mod client;
mod completions;
mod control;
mod demo;
mod fleet;
mod history;
mod import;
mod link;
mod man;
mod means;
mod owner;
mod refresh;
mod resolve;
mod run;
mod simulate;
mod socket;
mod source;
mod status;
mod table;
mod token;

use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{self, Config, Problems, Secrets};
use crate::id::{OaId, VendorId};
use crate::store::{OpenError, StoreError};
use means::Means;

/// Keeps the tokens of Zalo Official Accounts alive.
///
/// Refreshes each OA's access token shortly before it ends, never presents a refresh token twice without proof
/// that it is unspent, and loses no answer.
#[derive(Parser)]
#[command(name = "zalo-tokend", version)]
struct Arguments {
    /// The config file [default: $ZALO_TOKEND_CONFIG, else /etc/zalo-tokend/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The daemon's API socket, for token, status, history and refresh [default: $ZALO_TOKEND_SOCKET, else that of
    /// the config, else of a config that may not be read: /run/zalo-tokend/api.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon in the foreground; it logs to stderr
    Run,
    /// Check the config, report every problem at once, and show what would be managed; changes nothing
    Check,
    /// Take in a token response in Zalo's own JSON, from stdin or a file, as the OA's current token set
    Import(import::Arguments),
    /// Say that consent was given to the vendor who holds an OA
    Authorized(authorized::Arguments),
    /// Show how the OAs stand
    Status(status::Arguments),
    /// Print an access token that is valid now, and nothing else
    Token(token::Arguments),
    /// Ask the running daemon to refresh an OA now, and wait for the outcome
    Refresh(refresh::Arguments),
    /// Show the journal of refresh attempts, newest first
    History(history::Arguments),
    /// Have a person grant consent for an OA in a browser, and take in what comes of it
    Authorize(authorize::Arguments),
    /// Print an address by which an administrator grants consent for one OA, and can do nothing else
    Link(link::Arguments),
    /// Decide about an OA that is uncertain, or whose answer is lost
    Resolve(resolve::Arguments),
    /// Run the Zalo simulator alone: single-use refresh tokens, a ledger, faults on request
    Simulate(simulate::Arguments),
    /// Run simulator and daemon together for a while, faults included, and print the simulator's ledger
    Demo(demo::Arguments),
    /// Print a shell's completion script
    Completions(completions::Arguments),
    /// Print the manual page, as roff
    Man,
}

/// An argument that names an OA.
#[derive(clap::Args)]
struct OaArgument {
    /// The OA's id
    #[arg(value_name = "OA_ID")]
    oa_id: String,
}

impl OaArgument {
    fn oa_id(&self) -> OaId {
        OaId::from(self.oa_id.as_str())
    }
}

/// An OA, and how to print what is known of it.
#[derive(clap::Args)]
struct OaReport {
    #[command(flatten)]
    oa: OaArgument,
    /// Print the whole record as JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Why a command failed: one sentence, and an exit code.
#[derive(Clone, Debug)]
struct Failure {
    exit_code: u8,
    sentence: String,
}

/// Exit codes of the outward contract.
mod exit {
    pub(super) const FAILED: u8 = 1;
    pub(super) const USAGE: u8 = 2;
    pub(super) const NOT_RUNNING: u8 = 69;
    pub(super) const NOT_NOW: u8 = 75;
    pub(super) const NOT_PERMITTED: u8 = 77;
    pub(super) const CONFIG: u8 = 78;
}

impl Failure {
    fn new(exit_code: u8, sentence: impl Into<String>) -> Failure {
        Failure { exit_code, sentence: sentence.into() }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Failure {
        let exit_code = if problems.is_not_permitted() { exit::NOT_PERMITTED } else { exit::CONFIG };
        Failure::new(exit_code, problems.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        let exit_code = match &error {
            OpenError::Busy { .. } => exit::NOT_NOW,
            OpenError::NotPermitted(_) => exit::NOT_PERMITTED,
            OpenError::Unusable(_) => exit::CONFIG,
            OpenError::Unavailable(_) => exit::FAILED,
        };
        Failure::new(exit_code, error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let (exit_code, what_to_do) = match error {
            StoreError::Unavailable(_) => {
                (exit::NOT_NOW, "see that the disk has room and is well, and try again")
            }
            StoreError::Broken(_) | StoreError::Closed => {
                (exit::FAILED, "keep a copy of the store and report it")
            }
        };
        Failure::new(exit_code, format!("the store did not do it: {error}; {what_to_do}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(exit::FAILED, error.to_string())
    }
}

/// Reads the arguments and runs the command.
pub fn main() -> ExitCode {
    let Arguments { config, socket, command } = Arguments::parse();
    let file = config
        .or_else(|| std::env::var_os("ZALO_TOKEND_CONFIG").filter(|name| !name.is_empty()).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from("/etc/zalo-tokend/config.toml"));
    let load = |secrets| -> Result<Config, Failure> { Ok(config::load(&file, secrets)?) };
    let means = || Means::of(file.clone(), config::load(&file, Secrets::LeaveAlone), socket);
    let done = match command {
        Command::Run => run::run(|| load(Secrets::Read)),
        Command::Check => load(Secrets::Read).and_then(|config| check::run(&config)),
        Command::Import(arguments) => {
            load(Secrets::LeaveAlone).and_then(|config| import::run(&config, &arguments))
        }
        Command::Authorized(arguments) => {
            load(Secrets::LeaveAlone).and_then(|config| authorized::run(&config, &arguments))
        }
        Command::Status(arguments) => status::run(&means(), &arguments),
        Command::Token(arguments) => token::run(&means(), &arguments),
        Command::Refresh(arguments) => refresh::run(&means(), &arguments),
        Command::Resolve(arguments) => {
            load(Secrets::LeaveAlone).and_then(|config| resolve::run(&config, &arguments))
        }
        Command::Authorize(arguments) => {
            load(Secrets::LeaveAlone).and_then(|config| authorize::run(&config, &arguments))
        }
        Command::Link(arguments) => {
            load(Secrets::LeaveAlone).and_then(|config| link::run(&config, &arguments))
        }
        Command::History(arguments) => history::run(&means(), &arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Completions(arguments) => completions::run(Arguments::command(), &arguments),
        Command::Man => man::run(Arguments::command()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { exit_code, sentence }) => {
            complain(&sentence);
            ExitCode::from(exit_code)
        }
    }
}

/// What the program says to these arguments, the first of which is its own name, instead of running a command: help, a
/// version, or what is wrong with them; and its exit code then. `None`: it runs a command.
pub fn instead_of_running(arguments: impl IntoIterator<Item = OsString>) -> Option<(String, i32)> {
    let said = Arguments::try_parse_from(arguments).err()?;
    Some((said.to_string(), said.exit_code()))
}

/// Says it on stderr. A stderr that is closed is no reason to panic: the exit code still tells.
fn complain(sentence: &str) {
    use std::io::Write;
    if writeln!(std::io::stderr(), "{sentence}").is_err() {
        tracing::debug!("stderr is closed");
    }
}

/// Prints to stdout. A reader that went away, as `head` does, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    match std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(exit::FAILED, format!("stdout cannot be written: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A vendor keeps the OA's tokens.
fn held_by_vendor(exit_code: u8, oa_id: &OaId, vendor: &VendorId, so: &str) -> Failure {
    Failure::new(exit_code, format!("OA {oa_id} is held by vendor {vendor}, which keeps its tokens: {so}"))
}

/// A tokio runtime for commands that talk to the network.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
