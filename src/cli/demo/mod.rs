//! `demo`: simulator and daemon together, for a person to watch.
//!
//! `stage` is what it runs on, `shops` who is on it, `file` the config. `act` is what can be done to them, `script`
//! which act comes next, `staged` what came of it. `show` plays them: `daemon` is the real binary in a process of its
//! own, and everything said of it comes from its log (`words`), its store and the simulator's ledger (`board`).
//! `consumer` is a shop's program that takes its tokens from it.
//! `screen` shows that on a terminal, `verdict` is the end, `log` keeps the daemon's log. May import what commands may.

mod act;
mod board;
mod consumer;
mod daemon;
mod file;
mod log;
mod screen;
mod script;
mod shops;
mod show;
mod stage;
mod staged;
mod verdict;
mod words;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Failure, runtime};
use board::Board;
use daemon::Daemon;
use log::Log;
use screen::Screen;
use shops::{NEWCOMER, SHOPS};
use show::Show;
use stage::{ACCESS_TOKEN_LIFE, BEFORE_EXPIRY, Stage};

/// How long a demo may be told to run: long enough for a few acts, short enough to be watched.
const LENGTHS: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(600));

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How long to run, from 15s to 10m; from 30s on it shows everything
    #[arg(long = "for", value_name = "DURATION", default_value = "45s", value_parser = parse_length)]
    length: Duration,
    /// Append the daemon's log to this file, each line as it comes; a new file is readable by its owner alone
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

fn parse_length(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text)
        .map_err(|error| format!("not a duration ({error}); give one such as 45s or 2m"))?;
    if (LENGTHS.0..=LENGTHS.1).contains(&length) {
        Ok(length)
    } else {
        Err("give a duration from 15s to 10m".to_owned())
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let log = arguments.log.as_deref().map(Log::open).transpose()?;
    let runtime = runtime()?;
    runtime.block_on(play(arguments.length, log))
}

/// Sets the stage, plays, and judges. Whatever goes wrong: the daemon is ended and the directory removed.
async fn play(length: Duration, log: Option<Log>) -> Result<(), Failure> {
    let stop = stop_on_signal()?;
    let board = Board::new(length);
    let stage = Stage::set_up().await?;
    let first = SHOPS.iter().take(NEWCOMER);
    for shop in first.clone() {
        stage.grant(shop, Stage::first_age(shop)).await?;
    }
    let daemon = Daemon::start(&stage)?;
    let screen = if wants_screen() { Screen::open() } else { None };
    let mut show = Show::new(stage, board, screen, daemon, log);
    show.narrate(&format!(
        "the simulator listens on {}, the store is in {}",
        show.stage.simulator.addr(),
        show.stage.directory.path().display()
    ))?;
    show.narrate(&format!(
        "{} OAs are imported; an access token lives {ACCESS_TOKEN_LIFE:?} and is refreshed {BEFORE_EXPIRY:?} \
         before its end; what goes wrong begins when every OA was refreshed once",
        first.count()
    ))?;
    let ending = show.watch(&stop).await?;
    let well_ended = show.lower_the_curtain().await?;
    let Show { stage, board, screen, .. } = show;
    drop(screen);
    verdict::tell(stage, &board, &ending, well_ended).await
}

/// Cancelled at SIGINT, SIGTERM or SIGHUP, however often they come.
fn stop_on_signal() -> Result<CancellationToken, Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let stop = CancellationToken::new();
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let tell = stop.clone();
    std::thread::spawn(move || signals.forever().for_each(|_| tell.cancel()));
    Ok(stop)
}

/// A table that is drawn over and over needs a terminal that can do that, and nobody who asked for plain text.
fn wants_screen() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    std::io::stdout().is_terminal() && !is_dumb && !is_set("NO_COLOR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_takes_from_15_seconds_to_10_minutes() {
        for good in ["15s", "45s", "1m 30s", "10m"] {
            assert!(parse_length(good).is_ok(), "{good}");
        }
        for bad in ["14s", "601s", "1h", "45", "", "soon"] {
            assert!(parse_length(bad).is_err(), "{bad}");
        }
    }
}
