//! What becomes of a request: on its way, at Zalo, and of the answer on its way back.

use std::time::Duration;

use zalo_tokend::id::{AppId, AttemptId, OaId};
use zalo_tokend::oauth::{Answer, GrantedTokens, read_token_answer};
use zalo_tokend::rotation::{AnswerBytes, Ending, Exchange};
use zalo_tokend::store::Claim;

use crate::chaos::Outage;
use crate::clocks::SECOND;
use crate::ledger::Delivered;
use crate::queue::{Event, Step};
use crate::world::{TIMEOUT, World};
use crate::zalo::{Refresh, SetId};

/// What a request that left whole meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Answered,
    Slow,
    LostAndUnspent,
    LostAndSpent,
    LostAndSpentLater,
    CutOff,
    EmptyAndSpent,
    EmptyAndUnspent,
    SickAndSpent,
    SickAndUnspent,
    Throttled,
    AppRefused,
    OddCode,
    OddCodeAndSpent,
    WronglyDead,
    Doubled,
    OddLife,
    AccessOnly,
    RefreshOnly,
    NotRotated,
}

impl Fate {
    pub const ALL: [Fate; 20] = [
        Fate::Answered,
        Fate::Slow,
        Fate::LostAndUnspent,
        Fate::LostAndSpent,
        Fate::LostAndSpentLater,
        Fate::CutOff,
        Fate::EmptyAndSpent,
        Fate::EmptyAndUnspent,
        Fate::SickAndSpent,
        Fate::SickAndUnspent,
        Fate::Throttled,
        Fate::AppRefused,
        Fate::OddCode,
        Fate::OddCodeAndSpent,
        Fate::WronglyDead,
        Fate::Doubled,
        Fate::OddLife,
        Fate::AccessOnly,
        Fate::RefreshOnly,
        Fate::NotRotated,
    ];
}

/// What the coverage calls a connection that does not come about.
pub const NOT_PRESENTED: &str = "NotPresented";

/// One in so many requests meets something else than a plain answer, while nothing else is wrong.
const ODDS: u32 = 12;

impl World {
    /// The connection is made, and all but the last byte sent; or not.
    pub fn connect(&mut self, id: AttemptId, oa_id: &OaId, app_id: &AppId) {
        self.tempt_fate();
        let latency = self.between(20, 2 * SECOND);
        if self.weather.outages.get(app_id) == Some(&Outage::Refusing) || self.happens(25) {
            self.coverage.count(self.truth.state(oa_id), NOT_PRESENTED);
            let retry_after = self.happens(3).then_some(Duration::from_secs(30));
            let exchange = Exchange::NotPresented { detail: "connection refused".to_owned(), retry_after };
            self.later(latency, Step::Heard(id, exchange, Delivered::Nothing));
        } else {
            self.later(latency, Step::Gate(id));
        }
    }

    /// The last byte is on its way.
    pub fn meet_its_fate(&mut self, id: AttemptId, claim: &Claim) {
        let fate = match self.weather.outages.get(&claim.app_id).copied() {
            Some(Outage::Silent | Outage::Refusing) => Fate::LostAndUnspent,
            Some(Outage::SickAndUnspent) => Fate::SickAndUnspent,
            Some(Outage::SickAndSpent) => Fate::SickAndSpent,
            Some(Outage::Throttling) => Fate::Throttled,
            None if self.weather.wrong_secrets.contains(&claim.app_id) => Fate::AppRefused,
            None if self.happens(ODDS) => Fate::ALL[self.dice.usize(..Fate::ALL.len())],
            None => Fate::Answered,
        };
        self.coverage.count(self.truth.state(&claim.oa_id), &format!("{fate:?}"));
        if fate != Fate::Answered {
            self.note(|_| format!("{}: {id} meets {fate:?}", claim.oa_id));
        }
        self.tempt_fate();
        let latency = self.between(50, SECOND);
        let (refresh, app_id) = (claim.refresh_token.expose().to_owned(), claim.app_id.clone());
        let worked_on = |fate| Event::WorkedOn { attempt: id, refresh, app_id, fate };
        if fate == Fate::LostAndSpentLater {
            // Later than two questions would be what no client can see.
            let late = self.between(0, self.latest_spend());
            self.queue.push(self.clocks.truth + late, worked_on(fate));
            let given_up = if self.dice.bool() { latency } else { TIMEOUT };
            let exchange = Exchange::NoAnswer { detail: "no answer".to_owned() };
            return self.later(given_up, Step::Heard(id, exchange, Delivered::Nothing));
        }
        self.queue.push(self.clocks.truth + latency, worked_on(fate));
    }

    /// A request that waits longer than this is worked on after two questions said that it never will be.
    fn latest_spend(&self) -> u64 {
        2 * self.settle() - 10 * SECOND
    }

    /// Zalo has the whole request, and does with it what its fate says.
    pub fn work_on(&mut self, id: AttemptId, refresh: &str, app_id: &AppId, fate: Fate) {
        let is_looked_at = match fate {
            Fate::LostAndUnspent
            | Fate::EmptyAndUnspent
            | Fate::SickAndUnspent
            | Fate::Throttled
            | Fate::AppRefused
            | Fate::OddCode
            | Fate::WronglyDead => false,
            Fate::Answered
            | Fate::Slow
            | Fate::LostAndSpent
            | Fate::LostAndSpentLater
            | Fate::CutOff
            | Fate::EmptyAndSpent
            | Fate::SickAndSpent
            | Fate::OddCodeAndSpent
            | Fate::Doubled
            | Fate::OddLife
            | Fate::AccessOnly
            | Fate::RefreshOnly
            | Fate::NotRotated => true,
        };
        let made = if is_looked_at { self.spend(refresh, app_id, fate) } else { None };
        if fate == Fate::LostAndSpentLater {
            return;
        }
        if is_looked_at && made.is_none() && fate != Fate::LostAndSpent {
            return self.say_dead(id);
        }
        self.answer(id, fate, made);
    }

    /// Spends the token, if it can be spent.
    fn spend(&mut self, refresh: &str, app_id: &AppId, fate: Fate) -> Option<SetId> {
        let now = self.clocks.truth;
        if fate == Fate::NotRotated {
            return self.zalo.renew(refresh, app_id, now);
        }
        let made = match self.zalo.refresh(refresh, app_id, now) {
            Refresh::Spent { successor } => {
                self.ledger.spends += 1;
                self.note(|_| format!("Zalo makes set {successor}"));
                Some(successor)
            }
            Refresh::Dead => None,
        };
        if fate == Fate::Doubled {
            // Some proxy sends it once more: its answer is what nobody waits for.
            self.zalo.refresh(refresh, app_id, now);
        }
        made
    }

    fn say_dead(&mut self, id: AttemptId) {
        let body =
            if self.zalo.variant.spent_is_empty { "" } else { r#"{"error":-14014,"message":"invalid"}"# };
        self.reply(id, 200, body, Ending::Whole, None, 0);
    }

    fn answer(&mut self, id: AttemptId, fate: Fate, made: Option<SetId>) {
        let (access, refresh) = match made.map(|set| self.zalo.set(set)) {
            Some(set) => (set.access.clone(), set.refresh.clone()),
            None => (String::new(), String::new()),
        };
        let life = self.zalo.access_life / SECOND;
        let whole =
            format!(r#"{{"access_token":"{access}","refresh_token":"{refresh}","expires_in":"{life}"}}"#);
        let html = "<html>bad gateway</html>";
        match fate {
            Fate::Answered | Fate::Doubled | Fate::NotRotated => {
                self.reply(id, 200, &whole, Ending::Whole, made, 0)
            }
            Fate::Slow => self.reply(id, 200, &whole, Ending::Whole, made, TIMEOUT - 2 * SECOND),
            Fate::LostAndUnspent | Fate::LostAndSpent | Fate::LostAndSpentLater => self.lose(id, made),
            Fate::CutOff => {
                let cut = &whole[..self.dice.usize(..whole.len())];
                self.reply(id, 200, cut, Ending::CutOff("reset".to_owned()), made, 0);
            }
            Fate::EmptyAndSpent | Fate::EmptyAndUnspent => self.reply(id, 200, "", Ending::Whole, made, 0),
            Fate::SickAndSpent | Fate::SickAndUnspent => self.reply(id, 502, html, Ending::Whole, made, 0),
            Fate::Throttled => self.reply(id, 429, "", Ending::Whole, None, 0),
            Fate::AppRefused => {
                let body = r#"{"error":-14004,"message":"invalid secret"}"#;
                self.reply(id, 200, body, Ending::Whole, None, 0);
            }
            Fate::OddCode | Fate::OddCodeAndSpent => {
                self.reply(id, 200, r#"{"error":-14019,"message":"?"}"#, Ending::Whole, made, 0);
            }
            Fate::WronglyDead => {
                if let Some(oa_id) = self.ledger.of_attempt(id).map(|presented| presented.oa_id.clone()) {
                    self.truth.excuse(&oa_id);
                }
                self.reply(id, 200, r#"{"error":"-14014"}"#, Ending::Whole, None, 0);
            }
            Fate::OddLife => {
                let body =
                    format!(r#"{{"access_token":"{access}","refresh_token":"{refresh}","expires_in":-1}}"#);
                self.reply(id, 200, &body, Ending::Whole, made, 0);
            }
            Fate::AccessOnly => {
                let body = format!(r#"{{"access_token":"{access}","expires_in":"{life}"}}"#);
                self.reply(id, 200, &body, Ending::Whole, made, 0);
            }
            Fate::RefreshOnly => {
                let body = format!(r#"{{"access_token":"","refresh_token":"{refresh}"}}"#);
                self.reply(id, 200, &body, Ending::Whole, made, 0);
            }
        }
    }

    fn reply(
        &mut self,
        id: AttemptId,
        status: u16,
        body: &str,
        ending: Ending,
        made: Option<SetId>,
        more: u64,
    ) {
        let delivered = read(body.as_bytes(), status, made);
        let retry_after = (status == 429).then_some(Duration::from_secs(20));
        let answer = AnswerBytes { status, retry_after, body: body.as_bytes().to_vec(), ending };
        let latency = self.between(10, SECOND) + more;
        self.later_for(id, latency, Step::Heard(id, Exchange::Answered(answer), delivered));
        if delivered == Delivered::Other && made.is_some() {
            self.ledger.lost += 1;
        }
    }

    fn lose(&mut self, id: AttemptId, made: Option<SetId>) {
        self.ledger.lost += u64::from(made.is_some());
        let wait = if self.dice.bool() { SECOND } else { TIMEOUT };
        let exchange = Exchange::NoAnswer { detail: "connection reset".to_owned() };
        self.later_for(id, wait, Step::Heard(id, exchange, Delivered::Nothing));
    }

    /// An answer reaches only the run of the program that asked.
    fn later_for(&mut self, id: AttemptId, after: u64, step: Step) {
        if let Some(run) = self.ledger.of_attempt(id).map(|presentation| presentation.process) {
            self.queue.push(self.clocks.truth + after, Event::Step(run, step));
        }
    }
}

/// What of the set that was made a client can read from this.
fn read(body: &[u8], status: u16, made: Option<SetId>) -> Delivered {
    match (read_token_answer(body), made) {
        (Answer::Granted(GrantedTokens { access_token, refresh_token, .. }), Some(set)) => {
            match (access_token, refresh_token) {
                (Some(_), Some(_)) => Delivered::Set(set),
                (Some(_), None) => Delivered::Access(set),
                (None, _) => Delivered::Refresh(set),
            }
        }
        (Answer::Error(code), _) if matches!(code.0, -14002 | -14004) => Delivered::Unspent,
        (_, _) if status == 429 => Delivered::Unspent,
        (Answer::Granted(_) | Answer::Error(_) | Answer::Unreadable(_), _) => Delivered::Other,
    }
}
