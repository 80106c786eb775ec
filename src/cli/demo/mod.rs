//! `demo`: simulator and daemon together, for a person to watch.
//!
//! `stage` is what it runs on, `script` which fault comes when and what came of it, `words` the daemon's log for
//! people, `board` what is known, `screen` the same on a terminal, `verdict` the end. The daemon is the real
//! binary in a process of its own, and everything said of it comes from its log, its store and the simulator's
//! ledger. May import what commands may.

mod board;
mod daemon;
mod screen;
mod script;
mod stage;
mod verdict;
mod words;

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Failure, exit, print, runtime};
use board::Board;
use daemon::Daemon;
use screen::Screen;
use stage::{ACCESS_TOKEN_LIFE, BEFORE_EXPIRY, SHOPS, Stage};
use verdict::Ending;
use words::Event;

/// How long a demo may be told to run: long enough for a fault or two, short enough to be watched.
const LENGTHS: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(600));
/// How often the store is looked at, and the table drawn.
const TICK: Duration = Duration::from_millis(250);
/// How long beyond its length the demo waits for what is still open.
const LATEST: Duration = Duration::from_secs(5);
/// How long a person takes from the alarm to the new consent.
const CONSENT: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How long to run, from 15s to 10m
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

/// The file that keeps the daemon's log.
struct Log {
    file: File,
    name: PathBuf,
}

impl Log {
    fn open(name: &Path) -> Result<Log, Failure> {
        let mut open = File::options();
        match open.append(true).create(true).mode(0o600).open(name) {
            Ok(file) => Ok(Log { file, name: name.to_owned() }),
            Err(error) => Err(Log::failure(name, &error)),
        }
    }

    /// Line and newline in one piece, so that a file that others append to as well keeps whole lines.
    fn append(&mut self, line: &str) -> Result<(), Failure> {
        let line = format!("{line}\n");
        self.file.write_all(line.as_bytes()).map_err(|error| Log::failure(&self.name, &error))
    }

    fn failure(name: &Path, error: &std::io::Error) -> Failure {
        let sentence = format!("the log cannot be kept in {}: {error}; name another file", name.display());
        Failure::new(exit::FAILED, sentence)
    }
}

/// Sets the stage, plays, and judges. Whatever goes wrong: the daemon is ended and the directory removed.
async fn play(length: Duration, log: Option<Log>) -> Result<(), Failure> {
    let stop = stop_on_signal()?;
    let mut show = Show {
        stage: Stage::set_up().await?,
        board: Board::new(length),
        screen: if wants_screen() { Screen::open() } else { None },
        consents: Vec::new(),
        last_words: String::new(),
        log,
    };
    show.narrate(&format!(
        "the simulator listens on {}, the store is in {}",
        show.stage.simulator.addr(),
        show.stage.directory.path().display()
    ))?;
    for (place, shop) in SHOPS.iter().enumerate() {
        show.stage.grant(shop, Stage::first_age(place)).await?;
    }
    show.narrate(&format!(
        "{} OAs are imported; an access token lives {ACCESS_TOKEN_LIFE:?} and is refreshed {BEFORE_EXPIRY:?} \
         before its end; faults begin when every OA was refreshed once",
        SHOPS.len()
    ))?;
    let mut daemon = Daemon::start(&show.stage)?;
    let ending = show.watch(&mut daemon, &stop).await?;
    let well_ended = show.lower_the_curtain(daemon).await?;
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

/// The demo while it runs.
struct Show {
    stage: Stage,
    board: Board,
    screen: Option<Screen>,
    /// Which shop's person grants consent again, and when.
    consents: Vec<(usize, Instant)>,
    /// The last line of the daemon's that is no event: why it could not go on.
    last_words: String,
    /// Where the daemon's log is kept, if it is.
    log: Option<Log>,
}

impl Show {
    /// Watches until the time is over and nothing is open, or until it has to end.
    async fn watch(&mut self, daemon: &mut Daemon, stop: &CancellationToken) -> Result<Ending, Failure> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                line = daemon.next_line() => match line {
                    Some(line) => self.hear(&line)?,
                    None => return Ok(Ending::DaemonGone),
                },
                _ = tick.tick() => {
                    self.look();
                    if self.is_over() {
                        return Ok(Ending::InTime);
                    }
                    self.direct().await?;
                    self.draw()?;
                }
                () = stop.cancelled() => return Ok(Ending::Interrupted),
            }
        }
    }

    fn is_over(&self) -> bool {
        let elapsed = self.board.elapsed();
        let is_settled = self.board.are_all_scheduled() && !self.board.script.has_open();
        elapsed >= self.board.length && is_settled || elapsed >= self.board.length + LATEST
    }

    /// Takes in one line of the daemon's log.
    fn hear(&mut self, line: &str) -> Result<(), Failure> {
        if let Some(log) = &mut self.log {
            log.append(line)?;
        }
        let Some(event) = Event::read(line) else {
            line.clone_into(&mut self.last_words);
            return Ok(());
        };
        self.board.script.strike(&self.stage.simulator.ledger());
        let spoken = self.board.hear(&event);
        if let (Some(place), true) = (event.place, event.needs_a_person()) {
            self.consents.push((place, Instant::now() + CONSENT));
        }
        match (spoken, &self.screen) {
            (Some(text), None) => {
                let name = event.place.map_or("", |place| SHOPS[place].name);
                let second = self.board.elapsed().as_secs_f64();
                let line = format!("{second:>6.1}s  {name:<12}  {:<27}  {text}", event.name);
                print(&(line + "\n"))
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// What the demo itself does, in plain mode.
    fn narrate(&self, what: &str) -> Result<(), Failure> {
        if self.screen.is_some() {
            return Ok(());
        }
        print(&format!("{:>6.1}s  -- {what}\n", self.board.elapsed().as_secs_f64()))
    }

    /// Looks at the store and the ledger. A store that cannot be read at this moment is looked at again soon.
    fn look(&mut self) {
        if let Ok(statuses) = tokio::task::block_in_place(|| self.stage.statuses()) {
            self.board.see(statuses);
        }
        let ledger = self.stage.simulator.ledger();
        self.board.script.strike(&ledger);
        self.board.count(&ledger);
    }

    /// Goes on in the script: the next fault, the next consent.
    async fn direct(&mut self) -> Result<(), Failure> {
        if let Some(told) = self.board.next_fault(&self.stage).await? {
            self.narrate(&told)?;
        }
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) = self.consents.drain(..).partition(|(_, at)| *at <= now);
        self.consents = later;
        for (place, _) in due {
            let shop = &SHOPS[place];
            self.narrate(&format!("a person grants consent for {} again and imports the answer", shop.name))?;
            self.stage.grant(shop, Duration::ZERO).await?;
        }
        Ok(())
    }

    fn draw(&mut self) -> Result<(), Failure> {
        match &mut self.screen {
            Some(screen) => screen.draw(&self.board),
            None => Ok(()),
        }
    }

    /// Ends the daemon and hears its last words. Says what was wrong about its end, if anything.
    async fn lower_the_curtain(&mut self, mut daemon: Daemon) -> Result<Result<(), String>, Failure> {
        daemon.ask_to_stop();
        while let Some(line) = daemon.next_line().await {
            self.hear(&line)?;
        }
        let with_last_words = |how: String| match self.last_words.as_str() {
            "" => how,
            words => format!("{how}; it said: {words}"),
        };
        let ended = daemon.ended().await.map_err(with_last_words);
        self.look();
        self.draw()?;
        Ok(ended)
    }
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
