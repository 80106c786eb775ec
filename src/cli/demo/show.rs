//! The demo while it runs: hears the daemon, looks at store and ledger, and plays the acts by what it finds there.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::super::{Failure, exit, print};
use super::act::{Act, Whom};
use super::board::Board;
use super::consumer::{CUSTOMER, Consumer, Used};
use super::daemon::Daemon;
use super::file::Edition;
use super::log::Log;
use super::screen::Screen;
use super::script::Cue;
use super::shops::{CHAIN, NEWCOMER, SHOPS, app_name, branches};
use super::stage::Stage;
use super::verdict::Ending;
use super::words::Event;
use crate::simulator::Rule;

/// How often the store is looked at, and the table drawn.
const TICK: Duration = Duration::from_millis(250);
/// How long beyond its length the demo waits for what is still open.
const LATEST: Duration = Duration::from_secs(10);
/// The same, while it has not shown everything that it has to: a loaded machine is slow.
const LATEST_OF_ALL: Duration = Duration::from_secs(40);
/// How long a person takes from the alarm to the new consent.
const CONSENT: Duration = Duration::from_secs(2);
/// The endpoint stays down this long, and until the OA that it is meant for has met it.
const DOWN_FOR: Duration = Duration::from_secs(1);

pub(super) struct Show {
    pub(super) stage: Stage,
    pub(super) board: Board,
    pub(super) screen: Option<Screen>,
    pub(super) daemon: Daemon,
    consumer: Consumer,
    /// Which shop's person grants consent, and when.
    consents: Vec<(usize, Instant)>,
    /// Since when the endpoint is down, if it is.
    down_since: Option<Duration>,
    /// The config file would be refused: no command works with it.
    is_config_broken: bool,
    /// The last line of the daemon's that is no event: why it could not go on.
    last_words: String,
    /// Where the daemon's log is kept, if it is.
    log: Option<Log>,
}

impl Show {
    pub(super) fn new(
        stage: Stage,
        board: Board,
        screen: Option<Screen>,
        daemon: Daemon,
        log: Option<Log>,
    ) -> Show {
        let consumer = Consumer::start(&stage);
        Show {
            stage,
            board,
            screen,
            daemon,
            consumer,
            consents: Vec::new(),
            down_since: None,
            is_config_broken: false,
            last_words: String::new(),
            log,
        }
    }

    /// Watches until the time is over and nothing is open, or until it has to end.
    pub(super) async fn watch(&mut self, stop: &CancellationToken) -> Result<Ending, Failure> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                line = self.daemon.next_line() => match line {
                    Some(line) => {
                        self.hear(&line)?;
                        self.react().await?;
                    }
                    None if self.daemon.was_killed() => self.start_again().await?,
                    None => return Ok(Ending::DaemonGone),
                },
                used = self.consumer.next() => self.see_used(used)?,
                _ = tick.tick() => {
                    self.look()?;
                    if self.is_over() {
                        return Ok(Ending::InTime);
                    }
                    self.react().await?;
                    self.go_on_in_the_script().await?;
                    self.draw()?;
                }
                () = stop.cancelled() => return Ok(Ending::Interrupted),
            }
        }
    }

    fn see_used(&mut self, used: Used) -> Result<(), Failure> {
        self.board.used.push(used);
        let name = self.board.name(CUSTOMER).to_owned();
        self.narrate(&format!("{name}: {}", used.told()))
    }

    fn is_over(&self) -> bool {
        let Board { length, script, .. } = &self.board;
        let elapsed = self.board.elapsed();
        let latest = if script.is_played() { LATEST } else { LATEST_OF_ALL };
        let is_settled = script.is_played() && self.board.are_all_scheduled() && !script.has_open();
        elapsed >= *length && is_settled || elapsed >= *length + latest
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
        self.strike();
        let spoken = self.board.hear(&event);
        if let (Some(text), None) = (spoken, &self.screen) {
            let name = match event.place {
                Some(place) => self.board.name(place),
                None => app_name(event.text("app_id")),
            };
            let second = self.board.elapsed().as_secs_f64();
            print(&format!("{second:>6.1}s  {name:<12}  {:<27}  {text}\n", event.name))?;
        }
        self.follow(&event)
    }

    /// Does at once what an event asks of whoever runs the daemon.
    fn follow(&mut self, event: &Event) -> Result<(), Failure> {
        match (event.name.as_str(), event.place) {
            ("daemon.ready", _) => {
                if let Some(staged) = self.board.script.open_act(Whom::ShopAndDaemon) {
                    staged.is_over = staged.has_struck;
                }
            }
            ("config.rejected", _) => {
                self.stage.rewrite_config(Edition::First)?;
                self.is_config_broken = false;
                self.narrate("the config file is set right again")?;
            }
            ("config.reloaded", _) => {
                self.stage.follow_config()?;
                self.expect_consent(NEWCOMER);
            }
            (_, Some(place)) if event.needs_a_person() => self.expect_consent(place),
            _ => {}
        }
        Ok(())
    }

    fn expect_consent(&mut self, place: usize) {
        // A daemon that starts says once more what a person has to do.
        if self.consents.iter().all(|(other, _)| *other != place) {
            self.consents.push((place, Instant::now() + CONSENT));
        }
    }

    fn strike(&mut self) {
        let ledger = self.stage.simulator.ledger();
        self.board.script.staged.iter_mut().for_each(|staged| staged.strike(&ledger));
    }

    /// What the demo itself does.
    pub(super) fn narrate(&mut self, what: &str) -> Result<(), Failure> {
        what.clone_into(&mut self.board.told);
        match self.screen {
            Some(_) => Ok(()),
            None => print(&format!("{:>6.1}s  -- {what}\n", self.board.elapsed().as_secs_f64())),
        }
    }

    /// Looks at the store and the ledger. A store that cannot be read at this moment is looked at again soon.
    fn look(&mut self) -> Result<(), Failure> {
        if let Ok((statuses, trial_at)) = tokio::task::block_in_place(|| self.stage.look())
            && let Some(wait) = self.board.see(statuses, trial_at)
        {
            let seconds = wait.as_secs_f64();
            self.narrate(&format!("{} is braked: its next trial comes in {seconds:.1}s", app_name(CHAIN)))?;
        }
        self.strike();
        self.board.count(&self.stage.simulator.ledger());
        Ok(())
    }

    /// Does what follows from what happened: ends what has lasted long enough, kills, grants consent.
    async fn react(&mut self) -> Result<(), Failure> {
        self.kill_if_it_is_time()?;
        self.end_outage_if_it_is_time()?;
        self.come_up_if_it_is_time().await?;
        if self.is_config_broken {
            return Ok(());
        }
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) = self.consents.drain(..).partition(|(_, at)| *at <= now);
        self.consents = later;
        for (place, _) in due {
            let name = self.board.name(place).to_owned();
            let has_had_tokens = self.board.rows[place].status.as_ref().is_some_and(|row| row.generation > 0);
            let (again, age) = match has_had_tokens {
                true => (" again", Duration::ZERO),
                false => ("", Stage::first_age(&SHOPS[place])),
            };
            self.narrate(&format!("a person grants consent for {name}{again} and imports the answer"))?;
            self.stage.grant(&SHOPS[place], age).await?;
        }
        Ok(())
    }

    fn kill_if_it_is_time(&mut self) -> Result<(), Failure> {
        let ledger = self.stage.simulator.ledger();
        let Some(staged) = self.board.script.open_act(Whom::ShopAndDaemon) else { return Ok(()) };
        if !staged.wants_a_kill(&ledger) {
            return Ok(());
        }
        self.daemon.kill();
        staged.killed();
        self.narrate("the daemon is killed: its request has left, and no answer came")
    }

    /// The killed daemon has ended, and everything that it said was heard.
    async fn start_again(&mut self) -> Result<(), Failure> {
        if let Err(how) = self.daemon.ended().await {
            return Err(Failure::new(exit::FAILED, how));
        }
        self.narrate("the daemon is started again, on the same store")?;
        self.daemon = Daemon::start(&self.stage)?;
        Ok(())
    }

    fn end_outage_if_it_is_time(&mut self) -> Result<(), Failure> {
        let ledger = self.stage.simulator.ledger();
        let least = self.board.least_left_of_branches();
        let Some(staged) = self.board.script.open_act(Whom::Chain) else { return Ok(()) };
        if staged.is_over || !staged.has_lost_enough(&ledger, least) {
            return Ok(());
        }
        staged.is_over = true;
        branches().for_each(|place| self.stage.simulator.clear_faults_of(SHOPS[place].oa_id));
        self.narrate(&format!("the token endpoint answers {} as it should again", app_name(CHAIN)))
    }

    /// Takes the endpoint up again when it was down long enough and the OA that it was meant for has seen it.
    async fn come_up_if_it_is_time(&mut self) -> Result<(), Failure> {
        let mut refused = self.board.script.staged.iter().rev().filter(|staged| staged.act == Act::Refused);
        let has_been_met = refused.next().is_none_or(|staged| staged.has_struck);
        let now = self.board.elapsed();
        let is_long = self.down_since.is_some_and(|since| now.saturating_sub(since) >= DOWN_FOR);
        if !(is_long && has_been_met) {
            return Ok(());
        }
        self.stage.simulator.come_up().await.map_err(|error| {
            let sentence = format!("the simulator cannot listen again: {error}; run the demo again");
            Failure::new(exit::FAILED, sentence)
        })?;
        self.down_since = None;
        self.narrate("the token endpoint takes connections again")
    }

    /// Begins the next act, if its time has come.
    async fn go_on_in_the_script(&mut self) -> Result<(), Failure> {
        let now = self.board.elapsed();
        let Some(cue) = self.board.script.cue(now, &self.board.rows) else { return Ok(()) };
        let Cue { act, place, .. } = cue;
        let whose = match (act.whom(), place) {
            (_, Some(place)) => self.board.name(place),
            (Whom::Chain, None) => app_name(CHAIN),
            (Whom::Config | Whom::Shop | Whom::ShopAndDaemon, None) => "the config",
        }
        .to_owned();
        self.narrate(&act.announced(&whose))?;
        self.board.script.begin(&cue, whose, now, &self.stage.simulator.ledger());
        self.perform(act, place).await
    }

    async fn perform(&mut self, act: Act, place: Option<usize>) -> Result<(), Failure> {
        let simulator = &self.stage.simulator;
        match (act.whom(), act.fault()) {
            (Whom::Shop | Whom::ShopAndDaemon, Some(fault)) => {
                let oa_id = place.map(|place| SHOPS[place].oa_id).unwrap_or_default();
                simulator.fault(Rule::once(fault).for_oa(oa_id));
            }
            (Whom::Chain, Some(fault)) => {
                for place in branches() {
                    simulator.fault(Rule::forever(fault.clone()).for_oa(SHOPS[place].oa_id));
                }
            }
            (Whom::Config, _) => {
                self.is_config_broken = act == Act::BrokenConfig;
                let edition = if self.is_config_broken { Edition::Broken } else { Edition::Second };
                self.stage.rewrite_config(edition)?;
                self.daemon.ask_to_reload();
            }
            (Whom::Shop | Whom::ShopAndDaemon | Whom::Chain, None) => {
                simulator.go_down().await;
                self.down_since = Some(self.board.elapsed());
            }
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
    pub(super) async fn lower_the_curtain(&mut self) -> Result<Result<(), String>, Failure> {
        self.daemon.ask_to_stop();
        // Whoever waits for an answer that is held has waited long enough.
        self.stage.simulator.release();
        while let Some(line) = self.daemon.next_line().await {
            self.hear(&line)?;
        }
        let with_last_words = |how: String| match self.last_words.as_str() {
            "" => how,
            words => format!("{how}; it said: {words}"),
        };
        let ended = self.daemon.ended().await.map_err(with_last_words);
        self.look()?;
        self.draw()?;
        Ok(ended)
    }
}
