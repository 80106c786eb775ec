//! The course of an OA that a vendor holds: when its consent is due, when the vendor is asked, and what each answer changes.
//!
//! ```text
//!                       consent is due               a link came
//!  nothing known ──────────┐                       ┌─────────────► link out, asked ever more seldom
//!  clock runs ─────────────┴─► asked for a link ───┤               how the OA stands
//!     ▲                             ▲              │ nothing, failed: asked again after growing waits
//!     │                             └──────────────┤
//!     │                                            └ misconfigured: after a reload, or when a person asks
//!     └── authorized: a later end was told, or a person said so
//! ```
//!
//! Pure: what was said or done is told by the returned value, and nothing is kept but in the [`Course`] itself.

use std::time::Duration;

use super::answer::{Shop, Status};
use super::terms::Terms;
use crate::clock::Time;
use crate::rotation::{Roll, Timing, retry_wait};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// For how long a link counts: then another is asked for, since nobody says how long the vendor's own stays good.
const LINK_LIFE: Duration = DAY;
/// How often it is looked how an OA stands that waits for nothing.
const LOOK: Duration = DAY;
/// The first wait before it is looked whether consent was given, and the longest.
const FIRST_POLL: Duration = SECOND.saturating_mul(2);
const LONGEST_POLL: Duration = MINUTE.saturating_mul(5);
/// The same after it could not be learnt how an OA stands that waits for nothing.
const FIRST_POLL_AGAIN: Duration = MINUTE;
const LONGEST_POLL_AGAIN: Duration = MINUTE.saturating_mul(360);
/// The longest wait after the vendor had no link to give.
const LONGEST_EMPTY: Duration = DAY;
/// An end that was reckoned here is not as exact as one that the vendor tells.
const RECKONED: Duration = DAY;

/// When a consent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The point in time.
    pub at: Time,
    /// The vendor told it; else it was reckoned.
    pub is_told: bool,
}

/// A link at which consent is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it leads.
    pub url: String,
    /// When it came.
    pub since: Time,
}

/// Why the last question for a link brought none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No answer, or one that says nothing.
    Failing,
    /// The vendor had none to give.
    Nothing,
    /// A person has to change something first.
    Misconfigured,
}

/// Why consent is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nobody knows of any.
    Unknown,
    /// It ends soon, or has ended.
    Due,
    /// The vendor says that the OA is disconnected.
    Disconnected,
}

/// Where an OA is in its course, and what is next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// What the config said last of when consent was given.
    pub written: Option<Time>,
    /// When consent was given last.
    pub authorized_at: Option<Time>,
    /// When it ends.
    pub end: Option<End>,
    /// What the vendor told of the end before a person said that consent was given: until he tells another, he does not know.
    pub outdated_end: Option<Time>,
    /// When the next consent is due.
    pub due_at: Option<Time>,
    /// The vendor says that it is disconnected.
    pub is_disconnected: bool,
    /// The link that is out.
    pub link: Option<Link>,
    /// Since when a person is asked for consent.
    pub needed_since: Option<Time>,
    /// Why there is no newer link.
    pub trouble: Option<Trouble>,
    /// Questions for a link that brought none, in a row.
    pub failures: u32,
    /// Questions how it stands since the link came.
    pub polls: u32,
    /// Such questions that failed, in a row.
    pub look_failures: u32,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When a link is asked for.
    pub ask_at: Option<Time>,
    /// When it is asked how the OA stands.
    pub poll_at: Option<Time>,
}

/// A link came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Why a person is to follow it, if he has not been asked yet.
    pub called_for: Option<Need>,
}

/// What is new about how an OA stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShopNews {
    /// Nothing that anybody waits for.
    None,
    /// Consent was given.
    Authorized,
    /// It is disconnected.
    Disconnected,
}

impl Course {
    /// The config has the OA so, from now on.
    pub fn take_over(&mut self, written: Option<Time>, terms: &Terms, now: Time) {
        let is_news = written.is_some() && written != self.written;
        self.written = written;
        if self.trouble == Some(Trouble::Misconfigured) {
            self.trouble = None;
        }
        if let Some(at) = written.filter(|at| is_news && self.authorized_at.is_none_or(|known| known < *at)) {
            self.authorize(at.min(now), None, terms, now);
            // The vendor may know better.
            self.poll_at = None;
        }
        if let (Some(end), Some(at)) = (self.end.as_mut().filter(|end| !end.is_told), self.authorized_at) {
            end.at = at.plus(terms.lifetime);
        }
        self.plan(terms, now);
    }

    /// Consent was given then. `told`: the vendor says when it ends.
    pub fn authorize(&mut self, at: Time, told: Option<Time>, terms: &Terms, now: Time) {
        let written = self.written;
        let before = self.end.filter(|end| end.is_told).map(|end| end.at).or(self.outdated_end);
        let outdated_end = before.filter(|_| told.is_none());
        let poll_at = terms.style.tells_how_an_oa_stands().then(|| now.plus(LOOK));
        let reckoned = End { at: at.plus(terms.lifetime), is_told: false };
        let end = told.map_or(reckoned, |at| End { at, is_told: true });
        *self = Course {
            written,
            authorized_at: Some(at),
            end: Some(end),
            outdated_end,
            poll_at,
            ..Course::default()
        };
        self.plan(terms, now);
    }

    /// Why consent is needed now, if it is.
    pub fn need(&self, now: Time) -> Option<Need> {
        if self.is_disconnected {
            return Some(Need::Disconnected);
        }
        match self.due_at {
            None => Some(Need::Unknown),
            Some(due_at) => (due_at <= now).then_some(Need::Due),
        }
    }

    /// Plans anew what follows from what is known.
    fn plan(&mut self, terms: &Terms, now: Time) {
        self.due_at = self.end.map(|end| terms.due_at(end.at));
        self.ask_at = match (self.trouble, &self.link) {
            (Some(Trouble::Misconfigured), _) => None,
            (Some(Trouble::Failing | Trouble::Nothing), _) => self.ask_at.or(Some(now)),
            (None, Some(link)) if self.needed_since.is_none() => {
                Some(link.since.plus(LINK_LIFE).min(self.due_at.unwrap_or(now)))
            }
            (None, Some(link)) => Some(link.since.plus(LINK_LIFE)),
            (None, None) if self.is_disconnected => Some(now),
            (None, None) => Some(self.due_at.unwrap_or(now)),
        };
        let look_at = self.poll_at.unwrap_or(now);
        // Before a person is called it is looked whether he has done it already.
        let is_first_question = self.link.is_none() && self.trouble.is_none();
        let look_at = self.ask_at.filter(|_| is_first_question).map_or(look_at, |at| at.min(look_at));
        self.poll_at = terms.style.tells_how_an_oa_stands().then_some(look_at);
    }

    /// The clock was set back since this was planned: what waits for it would wait for too long.
    pub fn plan_after_setback(&mut self, terms: &Terms, now: Time) {
        if self.trouble.is_some_and(|trouble| trouble != Trouble::Misconfigured) {
            self.ask_at = Some(now);
        }
        if let Some(link) = &mut self.link {
            link.since = link.since.min(now);
        }
        self.poll_at = Some(now);
        self.plan(terms, now);
    }

    /// Is a link to be asked for? One that nobody needs any more is let go instead.
    pub fn is_to_be_asked_for(&mut self, terms: &Terms, now: Time) -> bool {
        if self.ask_at.is_none_or(|at| at > now) {
            return false;
        }
        if self.need(now).is_some() {
            return true;
        }
        (self.link, self.trouble, self.needed_since) = (None, None, None);
        self.plan(terms, now);
        false
    }

    /// Is it to be asked how the OA stands?
    pub fn is_to_be_looked_at(&self, now: Time) -> bool {
        self.poll_at.is_some_and(|at| at <= now)
    }

    /// A link came.
    pub fn give_link(&mut self, url: String, terms: &Terms, now: Time, roll: Roll) -> Given {
        let need = self.need(now);
        let called_for = need.filter(|_| self.needed_since.is_none());
        if need.is_some() {
            self.needed_since.get_or_insert(now);
        }
        self.link = Some(Link { url, since: now });
        (self.trouble, self.failures, self.last_error, self.polls) = (None, 0, None, 0);
        self.poll_at = Some(now.plus(poll_wait(0, roll)));
        self.plan(terms, now);
        Given { called_for }
    }

    /// A person is sent to the link that is out: as when it came, it is looked soon whether he consented.
    pub fn follow_link(&mut self, terms: &Terms, now: Time) {
        let soon = now.plus(FIRST_POLL);
        self.polls = 0;
        self.poll_at = Some(self.poll_at.map_or(soon, |at| at.min(soon)));
        self.plan(terms, now);
    }

    /// The vendor had none to give. Is that news?
    pub fn give_nothing(&mut self, timing: &Timing, terms: &Terms, now: Time, roll: Roll) -> bool {
        let is_news = self.trouble != Some(Trouble::Nothing);
        if is_news {
            self.failures = 0;
        }
        let wait = doubled(timing.retry_max, self.failures, LONGEST_EMPTY, roll);
        self.fail(Trouble::Nothing, "the vendor has no link to give", Some(wait), terms, now);
        is_news
    }

    /// The question failed. Says when it is asked again, if it has to be.
    pub fn fail_to_ask(
        &mut self,
        detail: &str,
        timing: &Timing,
        terms: &Terms,
        now: Time,
        roll: Roll,
    ) -> Option<Time> {
        if self.trouble == Some(Trouble::Nothing) {
            self.failures = 0;
        }
        let wait = retry_wait(timing, self.failures, roll);
        self.fail(Trouble::Failing, detail, Some(wait), terms, now);
        self.ask_at.filter(|_| self.trouble.is_some())
    }

    /// A person has to change something before it is asked again.
    pub fn be_misconfigured(&mut self, detail: &str, terms: &Terms, now: Time) {
        self.fail(Trouble::Misconfigured, detail, None, terms, now);
    }

    fn fail(&mut self, trouble: Trouble, detail: &str, wait: Option<Duration>, terms: &Terms, now: Time) {
        self.last_error = Some(detail.to_owned());
        self.failures = self.failures.saturating_add(1);
        // Where a person asked before it is time, his question was all that there was to it.
        if self.need(now).is_some() {
            self.trouble = Some(trouble);
            self.ask_at = wait.map(|wait| now.plus(wait));
        } else {
            self.failures = 0;
        }
        self.plan(terms, now);
    }

    /// The vendor says how it stands.
    pub fn look(&mut self, shop: &Shop, terms: &Terms, now: Time, roll: Roll) -> ShopNews {
        let news = match shop.status {
            Some(Status::Disconnected) => self.be_disconnected(now),
            Some(Status::Connected) => self.be_connected(shop, terms, now),
            None => ShopNews::None,
        };
        self.look_failures = 0;
        self.plan_after_look(LOOK.mul_f64(0.5 + roll.0 / 2.0), terms, now, roll);
        news
    }

    /// It could not be learnt how it stands. `for_now`: it may be soon. Is that the first time in a row?
    pub fn fail_to_look(&mut self, for_now: bool, terms: &Terms, now: Time, roll: Roll) -> bool {
        let wait = match for_now {
            true => doubled(FIRST_POLL_AGAIN, self.look_failures, LONGEST_POLL_AGAIN, roll),
            false => LOOK.mul_f64(0.5 + roll.0 / 2.0),
        };
        self.look_failures = self.look_failures.saturating_add(1);
        self.plan_after_look(wait, terms, now, roll);
        self.look_failures == 1
    }

    /// It has just been looked: again after this, or sooner while a link is out, but not at once because one is due.
    fn plan_after_look(&mut self, wait: Duration, terms: &Terms, now: Time, roll: Roll) {
        let wait = if self.link.is_some() {
            self.polls = self.polls.saturating_add(1);
            poll_wait(self.polls, roll)
        } else {
            wait
        };
        let look_at = now.plus(wait);
        self.poll_at = Some(look_at);
        self.plan(terms, now);
        self.poll_at = self.poll_at.map(|at| if at <= now { look_at } else { at });
    }

    fn be_disconnected(&mut self, now: Time) -> ShopNews {
        if std::mem::replace(&mut self.is_disconnected, true) {
            return ShopNews::None;
        }
        if self.link.is_some() {
            self.needed_since.get_or_insert(now);
        }
        ShopNews::Disconnected
    }

    fn be_connected(&mut self, shop: &Shop, terms: &Terms, now: Time) -> ShopNews {
        let is_needed = self.need(now).is_some();
        let end = shop.expires_at.filter(|at| self.outdated_end != Some(*at));
        let is_due = end.is_some_and(|at| terms.due_at(at) <= now);
        let is_given = match end {
            None => self.is_disconnected,
            Some(at) => {
                let is_followed = self.link.is_some() && (is_needed || self.is_later(at, terms));
                !is_due && (self.is_disconnected || is_followed)
            }
        };
        if is_given {
            let is_since = |at: &Time| *at <= now && self.link.as_ref().is_some_and(|link| link.since <= *at);
            let given_at = shop.updated_at.filter(is_since).unwrap_or(now);
            self.authorize(given_at, end, terms, now);
            return ShopNews::Authorized;
        }
        if let Some(at) = end {
            self.end = Some(End { at, is_told: true });
            (self.is_disconnected, self.outdated_end) = (false, None);
            if !is_due {
                (self.trouble, self.failures) = (None, 0);
            }
        }
        ShopNews::None
    }

    /// Is this a later end than the one that is known?
    fn is_later(&self, at: Time, terms: &Terms) -> bool {
        match self.end {
            None => true,
            Some(End { at: before, is_told: true }) => at > before,
            Some(End { at: before, is_told: false }) => at > before.plus(RECKONED.min(terms.lifetime / 10)),
        }
    }
}

/// Before it is looked for the n-th time whether consent was given: uniform in the upper half of what doubles.
fn poll_wait(polls: u32, roll: Roll) -> Duration {
    doubled(FIRST_POLL, polls, LONGEST_POLL, roll)
}

/// Uniform in the upper half of `first`·2ⁿ, at most `longest`.
fn doubled(first: Duration, times: u32, longest: Duration, roll: Roll) -> Duration {
    let whole = first.saturating_mul(2u32.saturating_pow(times.min(31))).min(longest);
    whole.mul_f64(0.5 + roll.0 / 2.0)
}

#[cfg(test)]
mod tests {
    use super::super::terms::Style;
    use super::*;

    const NOW: Time = Time::from_millis(1_800_000_000_000);
    const ROLL: Roll = Roll(0.5);
    const INTERITS: Terms = Terms {
        style: Style::Interits,
        renew_before: Duration::from_secs(14 * 86_400),
        lifetime: Duration::from_secs(90 * 86_400),
    };
    const ETELECOM: Terms = Terms { style: Style::Etelecom, ..INTERITS };

    fn link() -> String {
        "https://oauth.zaloapp.com/1".to_owned()
    }

    /// Consent was given so many days ago, as the config says.
    fn given(days: u32, terms: &Terms) -> Course {
        let mut course = Course::default();
        course.take_over(Some(NOW.minus(DAY * days)), terms, NOW);
        course
    }

    fn connected(expires_at: Time) -> Shop {
        Shop { status: Some(Status::Connected), expires_at: Some(expires_at), updated_at: None }
    }

    #[test]
    fn a_link_is_asked_for_when_less_than_the_wanted_time_is_left_and_not_before() {
        let mut course = given(0, &ETELECOM);
        let due = NOW.plus(76 * DAY);
        assert_eq!((course.due_at, course.ask_at, course.poll_at), (Some(due), Some(due), None));
        assert!(
            !course.is_to_be_asked_for(&ETELECOM, due.minus(SECOND))
                && course.need(due.minus(SECOND)).is_none()
        );
        assert!(course.is_to_be_asked_for(&ETELECOM, due));
        let given = course.give_link(link(), &ETELECOM, due, ROLL);
        assert_eq!(given.called_for, Some(Need::Due));
        assert!(!course.is_to_be_asked_for(&ETELECOM, due.plus(DAY - SECOND)));
        assert!(course.is_to_be_asked_for(&ETELECOM, due.plus(DAY)), "a link does not count for ever");
        let again = course.give_link(link(), &ETELECOM, due.plus(DAY), ROLL);
        assert_eq!((again.called_for, course.needed_since), (None, Some(due)), "a person is called once");
    }

    #[test]
    fn where_nobody_knows_of_a_consent_a_link_is_asked_for_at_once() {
        let mut course = Course::default();
        course.take_over(None, &ETELECOM, NOW);
        assert_eq!(course.need(NOW), Some(Need::Unknown));
        assert!(course.is_to_be_asked_for(&ETELECOM, NOW));
        // Who can say how it stands is asked that first.
        course.take_over(None, &INTERITS, NOW);
        assert!(course.is_to_be_looked_at(NOW));
        assert_eq!(course.look(&connected(NOW.plus(50 * DAY)), &INTERITS, NOW, ROLL), ShopNews::None);
        assert!(!course.is_to_be_asked_for(&INTERITS, NOW), "it is connected");
        assert_eq!(course.ask_at, Some(NOW.plus(36 * DAY)));
    }

    #[test]
    fn a_consent_that_lives_shorter_than_the_wanted_time_is_due_after_half_of_its_life() {
        let short = Terms { renew_before: 14 * DAY, lifetime: 10 * SECOND, ..ETELECOM };
        let mut course = Course::default();
        course.authorize(NOW, None, &short, NOW);
        assert_eq!(course.ask_at, Some(NOW.plus(5 * SECOND)));
    }

    #[test]
    fn consent_is_noticed_by_a_later_end_and_its_clock_begins_anew() {
        let mut course = given(80, &INTERITS);
        let old = NOW.plus(10 * DAY);
        assert_eq!(course.look(&connected(old), &INTERITS, NOW, ROLL), ShopNews::None);
        assert!(course.is_to_be_asked_for(&INTERITS, NOW), "it is due all the same");
        course.give_link(link(), &INTERITS, NOW, ROLL);
        let mut waits = Vec::new();
        let mut now = NOW;
        for _ in 0..12 {
            let at = course.poll_at.expect("planned");
            waits.push(at.since(now).as_millis());
            now = at;
            assert_eq!(course.look(&connected(old), &INTERITS, now, ROLL), ShopNews::None);
        }
        assert_eq!(waits[..4], [1_500, 3_000, 6_000, 12_000]);
        assert_eq!(waits[11], 225_000, "in the end every few minutes");
        // But soon after a person was sent there, and not later because another one was.
        course.follow_link(&INTERITS, now);
        let soon = now.plus(FIRST_POLL);
        assert_eq!(course.poll_at, Some(soon));
        course.follow_link(&INTERITS, now.plus(SECOND));
        assert_eq!(course.poll_at, Some(soon));
        now = soon;
        assert_eq!(course.look(&connected(old), &INTERITS, now, ROLL), ShopNews::None);
        assert_eq!(course.poll_at.map(|at| at.since(now)), Some(SECOND * 3));
        let end = now.plus(90 * DAY);
        assert_eq!(course.look(&connected(end), &INTERITS, now, ROLL), ShopNews::Authorized);
        assert_eq!((course.end, course.link.clone()), (Some(End { at: end, is_told: true }), None));
        assert_eq!((course.authorized_at, course.needed_since, course.need(now)), (Some(now), None, None));
        assert_eq!(course.ask_at, Some(end.minus(14 * DAY)));
    }

    #[test]
    fn a_link_that_a_person_wanted_before_it_is_time_calls_nobody_and_is_let_go() {
        let mut course = given(1, &INTERITS);
        course.look(&connected(NOW.plus(89 * DAY)), &INTERITS, NOW, ROLL);
        assert_eq!(course.give_link(link(), &INTERITS, NOW, ROLL).called_for, None);
        assert_eq!(course.look(&connected(NOW.plus(89 * DAY)), &INTERITS, NOW, ROLL), ShopNews::None);
        assert!(course.link.is_some(), "the same end is no consent");
        let mut followed = course.clone();
        assert_eq!(followed.look(&connected(NOW.plus(90 * DAY)), &INTERITS, NOW, ROLL), ShopNews::Authorized);
        assert!(!course.is_to_be_asked_for(&INTERITS, NOW.plus(DAY)));
        assert_eq!((course.link.clone(), course.need(NOW)), (None, None));
    }

    #[test]
    fn a_link_that_was_wanted_early_does_not_delay_the_call_when_it_is_time() {
        let mut course = given(75, &ETELECOM);
        let due = NOW.plus(DAY);
        course.give_link(link(), &ETELECOM, due.minus(MINUTE), ROLL);
        assert_eq!(course.ask_at, Some(due));
        assert!(course.is_to_be_asked_for(&ETELECOM, due));
        assert_eq!(course.give_link(link(), &ETELECOM, due, ROLL).called_for, Some(Need::Due));
    }

    #[test]
    fn a_disconnected_oa_is_asked_for_at_once_and_is_authorized_when_it_is_connected_again() {
        let mut course = given(1, &INTERITS);
        let gone = Shop { status: Some(Status::Disconnected), ..Shop::default() };
        assert_eq!(course.look(&gone, &INTERITS, NOW, ROLL), ShopNews::Disconnected);
        assert_eq!(course.look(&gone, &INTERITS, NOW, ROLL), ShopNews::None, "it is said once");
        assert_eq!(course.need(NOW), Some(Need::Disconnected));
        assert!(course.is_to_be_asked_for(&INTERITS, NOW));
        assert_eq!(course.give_link(link(), &INTERITS, NOW, ROLL).called_for, Some(Need::Disconnected));
        let back = Shop { status: Some(Status::Connected), ..Shop::default() };
        assert_eq!(course.look(&back, &INTERITS, NOW, ROLL), ShopNews::Authorized);
        assert_eq!(course.end, Some(End { at: NOW.plus(90 * DAY), is_told: false }));
        assert_eq!((course.need(NOW), course.link.clone()), (None, None));
    }

    #[test]
    fn questions_that_bring_nothing_are_asked_again_after_growing_waits() {
        let timing = Timing::default();
        let mut course = given(80, &ETELECOM);
        let (mut now, mut waits) = (NOW, Vec::new());
        for _ in 0..8 {
            let retry_at = course.fail_to_ask("the vendor answers 503", &timing, &ETELECOM, now, Roll(0.999));
            waits.push(retry_at.expect("it is tried again").since(now).as_secs());
            now = course.ask_at.expect("planned");
        }
        assert!(waits.is_sorted() && waits[0] < 5 && waits[7] > 580 && waits[7] <= 600, "{waits:?}");
        assert_eq!((course.trouble, course.failures), (Some(Trouble::Failing), 8));

        let news: Vec<bool> = (0..3).map(|_| course.give_nothing(&timing, &ETELECOM, now, ROLL)).collect();
        assert_eq!(news, [true, false, false]);
        assert_eq!(course.ask_at.map(|at| at.since(now)), Some(30 * MINUTE), "10m · 2² · ¾");
        course.give_link(link(), &ETELECOM, now, ROLL);
        assert_eq!((course.trouble, course.failures, course.last_error.clone()), (None, 0, None));
    }

    #[test]
    fn what_a_person_has_to_mend_is_asked_again_only_after_a_reload() {
        let mut course = given(80, &ETELECOM);
        course.be_misconfigured("the vendor answers 404", &ETELECOM, NOW);
        assert!(!course.is_to_be_asked_for(&ETELECOM, NOW.plus(90 * DAY)));
        assert_eq!(course.last_error.as_deref(), Some("the vendor answers 404"));
        course.take_over(course.written, &ETELECOM, NOW.plus(DAY));
        assert!(course.is_to_be_asked_for(&ETELECOM, NOW.plus(DAY)));
    }

    #[test]
    fn a_question_that_was_a_persons_alone_leaves_no_trouble_behind() {
        let (timing, fresh) = (Timing::default(), given(1, &ETELECOM));
        let mut course = fresh.clone();
        assert_eq!(course.fail_to_ask("x", &timing, &ETELECOM, NOW, ROLL), None);
        course.give_nothing(&timing, &ETELECOM, NOW, ROLL);
        course.be_misconfigured("x", &ETELECOM, NOW);
        assert_eq!((course.trouble, course.failures, course.ask_at), (None, 0, fresh.ask_at));
    }

    #[test]
    fn a_written_consent_counts_if_it_is_news_and_later_than_what_is_known() {
        let mut course = given(10, &ETELECOM);
        course.authorize(NOW, None, &ETELECOM, NOW);
        let known = course.clone();
        course.take_over(Some(NOW.minus(10 * DAY)), &ETELECOM, NOW);
        assert_eq!(course, known, "the file says what it said");
        course.take_over(Some(NOW.minus(5 * DAY)), &ETELECOM, NOW);
        assert_eq!(course.authorized_at, Some(NOW), "an older one");
        course.take_over(Some(NOW.plus(500 * DAY)), &ETELECOM, NOW.plus(DAY));
        assert_eq!(course.authorized_at, Some(NOW.plus(DAY)), "none is given in the future");
    }

    #[test]
    fn what_a_person_said_counts_until_the_vendor_tells_another_end() {
        let mut course = given(80, &INTERITS);
        let old = NOW.plus(10 * DAY);
        course.look(&connected(old), &INTERITS, NOW, ROLL);
        course.authorize(NOW, None, &INTERITS, NOW);
        assert_eq!(course.look(&connected(old), &INTERITS, NOW.plus(DAY), ROLL), ShopNews::None);
        assert_eq!(
            (course.need(NOW.plus(DAY)), course.end.map(|end| end.at)),
            (None, Some(NOW.plus(90 * DAY)))
        );
        let other = old.plus(DAY);
        course.look(&connected(other), &INTERITS, NOW.plus(DAY), ROLL);
        assert_eq!(
            (course.need(NOW.plus(DAY)), course.end.map(|end| end.at)),
            (Some(Need::Due), Some(other))
        );
    }

    #[test]
    fn how_it_stands_is_looked_at_daily_and_after_failures_sooner() {
        let mut course = given(1, &INTERITS);
        assert!(course.is_to_be_looked_at(NOW), "as soon as it is known");
        course.look(&connected(NOW.plus(60 * DAY)), &INTERITS, NOW, Roll(0.0));
        assert_eq!(course.poll_at, Some(NOW.plus(DAY / 2)));
        assert!(course.fail_to_look(true, &INTERITS, NOW, ROLL), "news");
        assert_eq!(course.poll_at, Some(NOW.plus(45 * SECOND)));
        assert!(!course.fail_to_look(true, &INTERITS, NOW, ROLL), "no news");
        assert_eq!(course.poll_at, Some(NOW.plus(90 * SECOND)));
        course.fail_to_look(false, &INTERITS, NOW, Roll(0.0));
        assert_eq!(course.poll_at, Some(NOW.plus(DAY / 2)));
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up() {
        let mut course = given(80, &INTERITS);
        let future = NOW.plus(1_000 * DAY);
        course.fail_to_ask("x", &Timing::default(), &INTERITS, future, ROLL);
        course.plan_after_setback(&INTERITS, NOW);
        assert!(course.is_to_be_asked_for(&INTERITS, NOW) && course.is_to_be_looked_at(NOW));
        course.give_link(link(), &INTERITS, future, ROLL);
        course.plan_after_setback(&INTERITS, NOW);
        assert_eq!(course.ask_at, Some(NOW.plus(LINK_LIFE)));
    }
}
