//! `resolve`: an operator decides what became of an attempt.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Failure, OaArgument, control, exit, print, source};
use crate::config::Config;
use crate::keeper::control::protocol::{Choice, Request};

/// A decision is a matter of one transaction.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("decision").args(["present", "give_up", "adopt_answer"]).required(true)))]
pub(super) struct Arguments {
    #[command(flatten)]
    oa: OaArgument,
    /// Present the refresh token once more: if it was spent, the grant may be lost
    #[arg(long)]
    present: bool,
    /// The answer is lost: a person has to grant consent again
    #[arg(long)]
    give_up: bool,
    /// Take in the tokens of this file, read out of the answer that was kept; - is stdin
    #[arg(long, value_name = "FILE")]
    adopt_answer: Option<PathBuf>,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let decision = match &arguments.adopt_answer {
        Some(file) => Choice::Adopt(answer(file)?),
        None if arguments.present => Choice::Present,
        None => Choice::GiveUp,
    };
    let request = Request::Resolve { oa_id: arguments.oa.oa_id().to_string(), decision };
    let reply = control::ask(&config.store_path, &request, PATIENCE, |_| ())?;
    print(&(control::words(reply)? + "\n"))
}

fn answer(file: &Path) -> Result<String, Failure> {
    let (shown, bytes) = source::read((file != Path::new("-")).then_some(file))?;
    String::from_utf8(bytes).map_err(|_| {
        Failure::new(
            exit::FAILED,
            format!("{shown}: not text; write a JSON object with the tokens of the answer"),
        )
    })
}
