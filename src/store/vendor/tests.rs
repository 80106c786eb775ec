//! The verbs about OAs that vendors hold, over a database in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::answers::{Occasion, authorize, take_link, take_look, take_up};
use super::due::{VendorRoom, due};
use super::told::take_reminders;
use super::*;
use crate::clock::{Reading, Uptime};
use crate::id::Fleet;
use crate::rotation::{Reason, Roll, Timing};
use crate::store::view::{self, OaStatus, State};
use crate::store::{fleet, overview, reauthorization, schema};
use crate::vendor::{Outcome, Question, Shop, ShopOutcome, Status, Style, VendorOa};

const START: Time = Time::from_millis(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);
const LINK: &str = "https://oauth.zaloapp.com/1";
const ROLL: Roll = Roll(0.5);

const BARE: Terms =
    Terms { style: Style::Sencloud, renew_before: DAY.saturating_mul(14), lifetime: DAY.saturating_mul(90) };
const TALKING: Terms = Terms { style: Style::Interits, ..BARE };

fn at(time: Time) -> Reading {
    Reading { time, uptime: Uptime(HOUR * 1_000 + time.since(START)), boot: "this boot".into() }
}

struct Bench {
    conn: Connection,
    config: AtVendors,
    timing: Timing,
}

impl Bench {
    /// OAs of the vendors `bare` and `talking`, each with when consent was given, in days ago.
    fn new(oas: &[(&str, &str, Option<u32>)]) -> Bench {
        let conn = Connection::open_in_memory().expect("in memory");
        schema::migrate(&conn).expect("migrated");
        let bench = Bench { conn, config: config(oas), timing: Timing::default() };
        bench.manage(START);
        bench
    }

    fn manage(&self, now: Time) {
        manage(&self.conn, &self.config, &at(now)).expect("managed");
    }

    fn due(&self, now: Time) -> Vec<(String, bool)> {
        let (due, _) = due(&self.conn, &room(9, 9), &at(now)).expect("read");
        due.into_iter().map(|due| (due.oa_id.to_string(), due.is_trial)).collect()
    }

    fn take_up(&self, oa: &str, occasion: Occasion, now: Time) -> TakenUp {
        let oa = OaId::from(oa);
        let terms = self.config.terms_of(&oa).expect("known");
        take_up(&self.conn, &oa, occasion, &terms, &at(now)).expect("read")
    }

    fn asked(&self, oa: &str, occasion: Occasion, now: Time) -> Asked {
        match self.take_up(oa, occasion, now) {
            TakenUp::Ask(asked) => asked,
            other @ (TakenUp::Nothing | TakenUp::LinkIsOut(_)) => panic!("{other:?}"),
        }
    }

    fn answered(&self, asked: &Asked, outcome: Outcome, now: Time) -> LinkNews {
        let terms = self.config.terms_of(&asked.oa_id).expect("known");
        take_link(&self.conn, asked, &outcome, &terms, &self.timing, &at(now), ROLL).expect("taken")
    }

    /// The OA is due, and asked for a link.
    fn ask(&self, oa: &str, outcome: Outcome, now: Time) -> LinkEffect {
        let asked = self.asked(oa, Occasion::Due, now);
        assert_eq!(asked.question, Question::Link);
        self.answered(&asked, outcome, now).effect
    }

    fn look(&self, oa: &str, outcome: ShopOutcome, now: Time) -> LookEffect {
        let asked = self.asked(oa, Occasion::Due, now);
        assert_eq!(asked.question, Question::Shop);
        take_look(&self.conn, &asked, &outcome, &TALKING, &at(now), ROLL).expect("taken").effect
    }

    fn status(&self, oa: &str, now: Time) -> OaStatus {
        view::status(&self.conn, None, &OaId::from(oa), None, &at(now)).expect("read").expect("there")
    }

    fn state(&self, oa: &str, now: Time) -> (State, Option<String>) {
        let status = self.status(oa, now);
        (status.state, status.reason)
    }
}

fn config(oas: &[(&str, &str, Option<u32>)]) -> AtVendors {
    let oas = oas.iter().map(|(id, vendor, days)| {
        let authorized_at = days.map(|days| START.minus(DAY * days));
        (OaId::from(*id), VendorOa { vendor_id: VendorId::from(*vendor), name: None, authorized_at })
    });
    let terms = [("bare", BARE), ("talking", TALKING)].map(|(id, terms)| (VendorId::from(id), terms));
    AtVendors { oas: Arc::new(oas.collect()), terms: Arc::new(terms.into()) }
}

fn link() -> Outcome {
    Outcome::Link(LINK.to_owned())
}

fn refusal() -> Outcome {
    Outcome::Refused("the vendor answers 401".to_owned())
}

#[test]
fn what_is_due_is_asked_and_nothing_else() {
    let bench = Bench::new(&[("1", "bare", Some(80)), ("2", "bare", Some(10)), ("3", "bare", None)]);
    assert_eq!(bench.due(START), [("1".to_owned(), false), ("3".to_owned(), false)]);
    assert_eq!(bench.state("1", START), (State::Scheduled, None));
    assert_eq!(bench.state("2", START), (State::Scheduled, None));
    assert_eq!(bench.state("3", START), (State::AwaitingGrant, None));
    let (_, next) = due(&bench.conn, &room(9, 9), &at(START)).expect("read");
    assert_eq!(next, Some(66 * DAY));
    assert_eq!(bench.take_up("2", Occasion::Due, START), TakenUp::Nothing);
    for oa in ["1", "3"] {
        assert_eq!(bench.ask(oa, link(), START), LinkEffect::Given(Some(Reason::ConsentDue)));
    }
    assert_eq!(bench.due(START), []);
    let status = bench.status("1", START);
    assert_eq!(
        (status.state, status.reason.as_deref()),
        (State::ReauthorizationRequired, Some("consent_due"))
    );
    let asked = status.reauthorization.expect("a person is asked");
    assert_eq!(
        (asked.url.as_deref(), asked.since, asked.deadline),
        (Some(LINK), Some(START), Some(START.plus(10 * DAY)))
    );
    assert_eq!((status.vendor.as_ref().map(VendorId::as_str), status.app_id), (Some("bare"), None));
    assert_eq!(status.refresh_token_expires_at, Some(START.plus(10 * DAY)));
    assert!(!status.access_token_valid && status.access_token_expires_at.is_none());
}

#[test]
fn each_answer_has_its_state() {
    let bench = Bench::new(&[("1", "bare", Some(80)), ("2", "bare", Some(95)), ("3", "bare", None)]);
    let failed = || Outcome::Failed("the vendor answers 503".to_owned());
    assert!(matches!(bench.ask("1", failed(), START), LinkEffect::Failed(Some(at)) if at > START));
    assert_eq!(bench.state("1", START), (State::Retrying, None));
    assert_eq!(bench.status("1", START).last_error.as_deref(), Some("the vendor answers 503"));
    assert!(matches!(bench.ask("2", failed(), START), LinkEffect::Failed(Some(_))));
    assert_eq!(bench.state("2", START).0, State::ReauthorizationRequired, "the time is up");
    assert_eq!(bench.ask("3", Outcome::Nothing, START), LinkEffect::Nothing(true));
    assert_eq!(bench.state("3", START), (State::AwaitingGrant, None));
    let later = START.plus(HOUR);
    assert_eq!(bench.ask("3", Outcome::Nothing, later), LinkEffect::Nothing(false), "said once");
    let wrong = Outcome::Misconfigured("the vendor answers 404".to_owned());
    assert_eq!(bench.ask("1", wrong, later), LinkEffect::Misconfigured);
    assert_eq!(
        bench.state("1", later),
        (State::ReauthorizationRequired, Some("vendor_misconfigured".to_owned()))
    );
    assert!(!bench.due(START.plus(50 * DAY)).contains(&("1".to_owned(), false)), "a person is next");
    bench.manage(START.plus(DAY));
    assert!(bench.due(START.plus(DAY)).contains(&("1".to_owned(), false)), "after a reload it is asked");
}

#[test]
fn a_refused_key_holds_all_oas_of_its_vendor_back_until_one_trial_succeeds() {
    let bench = Bench::new(&[
        ("1", "bare", Some(80)),
        ("2", "bare", Some(81)),
        ("3", "bare", Some(1)),
        ("9", "talking", Some(1)),
    ]);
    assert_eq!(bench.ask("1", refusal(), START), LinkEffect::Refused(true));
    for oa in ["1", "2", "3"] {
        assert_eq!(bench.state(oa, START), (State::Blocked, Some("vendor_refused".to_owned())), "{oa}");
    }
    assert_eq!(bench.due(START), [("9".to_owned(), false)], "another vendor's go on");
    let trial_at = START.plus(HOUR);
    assert_eq!(bench.due(trial_at.minus(Duration::from_secs(1))).len(), 1);
    assert_eq!(bench.due(trial_at)[0], ("2".to_owned(), true), "the one that is due first");
    let under_way = BTreeSet::from([OaId::from("3")]);
    let (due_beside, _) =
        due(&bench.conn, &VendorRoom { left_alone: under_way, ..room(9, 9) }, &at(trial_at)).expect("read");
    assert!(due_beside.iter().all(|due| !due.is_trial), "one at a time");
    let trial = bench.asked("2", Occasion::Trial, trial_at);
    assert_eq!(bench.answered(&trial, refusal(), trial_at).effect, LinkEffect::Refused(false));
    assert_eq!(bench.due(trial_at.plus(Duration::from_secs(60))).len(), 1, "again after an hour");
    bench.manage(trial_at.plus(Duration::from_secs(60)));
    let after_reload = trial_at.plus(Duration::from_secs(61));
    assert_eq!(bench.due(after_reload)[0], ("2".to_owned(), true), "or after a reload");
    let trial = bench.asked("2", Occasion::Trial, after_reload);
    let failed = bench.answered(&trial, Outcome::Failed("timeout".to_owned()), after_reload);
    assert!(!failed.is_released && bench.due(after_reload).len() == 1, "no storm");
    let last = after_reload.plus(HOUR);
    let trial = bench.asked("2", Occasion::Trial, last);
    let news = bench.answered(&trial, link(), last);
    assert_eq!((news.effect, news.is_released), (LinkEffect::Given(Some(Reason::ConsentDue)), true));
    assert_eq!(bench.state("3", last), (State::Scheduled, None));
    assert!(bench.due(last).contains(&("1".to_owned(), false)));
}

#[test]
fn the_trial_of_an_oa_that_needs_no_link_asks_for_none_where_it_can() {
    let bench = Bench::new(&[("9", "talking", Some(1))]);
    let effect = bench.look("9", ShopOutcome::Refused("the vendor answers 403".to_owned()), START);
    assert_eq!(effect, LookEffect::Refused(true));
    let trial_at = START.plus(HOUR);
    assert_eq!(bench.asked("9", Occasion::Trial, trial_at).question, Question::Shop);
}

#[test]
fn an_answer_about_the_past_changes_nothing() {
    let bench = Bench::new(&[("1", "bare", Some(80))]);
    let asked = bench.asked("1", Occasion::Due, START);
    let now = START.plus(Duration::from_secs(5));
    let until = authorize(&bench.conn, &OaId::from("1"), now, &BARE, &at(now)).expect("stored");
    assert_eq!(until, Some(now.plus(90 * DAY)));
    assert_eq!(bench.answered(&asked, link(), now).effect, LinkEffect::Stale);
    assert_eq!(bench.state("1", now), (State::Scheduled, None));
    assert_eq!(bench.status("1", now).reauthorization, None);
    assert_eq!(bench.status("1", now).granted_at, Some(now));
    assert_eq!(authorize(&bench.conn, &OaId::from("no"), now, &BARE, &at(now)).expect("read"), None);
}

#[test]
fn a_consent_that_is_noticed_begins_the_clock_anew() {
    let bench = Bench::new(&[("9", "talking", Some(80))]);
    let told = |status, end: Time| {
        ShopOutcome::Told(Shop { status: Some(status), expires_at: Some(end), updated_at: None })
    };
    let old = START.plus(10 * DAY);
    assert_eq!(bench.look("9", told(Status::Connected, old), START), LookEffect::None);
    assert_eq!(bench.ask("9", link(), START), LinkEffect::Given(Some(Reason::ConsentDue)));
    let now = START.plus(Duration::from_secs(10));
    let new = now.plus(90 * DAY);
    assert_eq!(bench.look("9", told(Status::Connected, new), now), LookEffect::Authorized(Some(new)));
    assert_eq!(bench.state("9", now), (State::Scheduled, None));
    assert_eq!(bench.status("9", now).refresh_token_expires_at, Some(new));
    let next_day = now.plus(DAY);
    assert_eq!(bench.look("9", told(Status::Disconnected, new), next_day), LookEffect::Disconnected(None));
    assert_eq!(bench.state("9", next_day), (State::ReauthorizationRequired, Some("disconnected".to_owned())));
    assert_eq!(bench.ask("9", link(), next_day), LinkEffect::Given(Some(Reason::Disconnected)));
}

#[test]
fn a_person_gets_the_link_that_is_out_or_has_one_asked_for() {
    let bench = Bench::new(&[("1", "bare", Some(1))]);
    let asked = bench.asked("1", Occasion::Person, START);
    assert_eq!(bench.answered(&asked, link(), START).effect, LinkEffect::Given(None), "nobody is called");
    assert_eq!(bench.take_up("1", Occasion::Person, START), TakenUp::LinkIsOut(LINK.to_owned()));
    let status = bench.status("1", START);
    assert_eq!((status.state, status.reason), (State::Scheduled, None));
    assert_eq!(status.reauthorization.and_then(|asked| asked.url).as_deref(), Some(LINK));
    let later = START.plus(2 * DAY);
    let again = bench.asked("1", Occasion::Person, later);
    assert_eq!(again.known_link.as_deref(), Some(LINK), "better than none");
}

#[test]
fn those_that_need_a_person_are_all_of_whom_something_is_asked_and_the_most_urgent_come_first() {
    let bench = Bench::new(&[
        ("1", "bare", Some(80)),
        ("2", "bare", Some(10)),
        ("3", "bare", None),
        ("4", "bare", Some(85)),
        ("5", "bare", Some(20)),
        ("6", "talking", Some(82)),
    ]);
    bench.ask("1", link(), START);
    let early = bench.asked("5", Occasion::Person, START);
    bench.answered(&early, link(), START);
    let disconnected =
        ShopOutcome::Told(Shop { status: Some(Status::Disconnected), expires_at: None, updated_at: None });
    bench.look("6", disconnected, START);
    let needing = reauthorization::needing(&bench.conn, START).expect("read");
    assert_eq!(needing.iter().map(OaId::as_str).collect::<Vec<_>>(), ["4", "6", "1", "5", "3"]);
    for oa in ["1", "2", "3", "4", "5", "6"] {
        let is_asked = bench.status(oa, START).reauthorization.is_some();
        assert_eq!(is_asked, needing.contains(&OaId::from(oa)), "{oa}: as it is seen");
    }
}

#[test]
fn soon_after_a_person_followed_the_link_it_is_looked_whether_he_consented() {
    let bench = Bench::new(&[("9", "talking", Some(80))]);
    let old = START.plus(10 * DAY);
    let told = || {
        ShopOutcome::Told(Shop { status: Some(Status::Connected), expires_at: Some(old), updated_at: None })
    };
    assert_eq!(bench.look("9", told(), START), LookEffect::None);
    assert_eq!(bench.ask("9", link(), START), LinkEffect::Given(Some(Reason::ConsentDue)));
    let mut now = START;
    for _ in 0..8 {
        now = now.plus(HOUR);
        assert_eq!(bench.look("9", told(), now), LookEffect::None);
    }
    let soon = now.plus(Duration::from_secs(2));
    assert_eq!(bench.due(soon), [], "nobody followed it yet");
    assert_eq!(bench.take_up("9", Occasion::Person, now), TakenUp::LinkIsOut(LINK.to_owned()));
    assert_eq!(bench.due(soon), [("9".to_owned(), false)]);
}

#[test]
fn each_reminder_is_said_once_with_the_link_and_the_ladder_begins_anew_with_a_consent() {
    let bench = Bench::new(&[("1", "bare", Some(75)), ("2", "bare", Some(1))]);
    let ladder = [30, 14, 7, 1].map(|days| DAY * days);
    let said = |now: Time| -> Vec<(String, u64, bool)> {
        let told = take_reminders(&bench.conn, &ladder, &at(now)).expect("stored");
        let row = |told: VendorReminder| {
            (told.oa_id.to_string(), told.reminder.step.as_secs() / 86_400, told.url.is_some())
        };
        told.into_iter().map(row).collect()
    };
    assert_eq!(said(START), [("1".to_owned(), 30, false)]);
    assert_eq!(said(START), [], "once");
    bench.manage(START.plus(HOUR));
    assert_eq!(said(START.plus(HOUR)), [], "also after a restart");
    let due = START.plus(DAY);
    bench.ask("1", link(), due);
    assert_eq!(said(due), [("1".to_owned(), 14, true)]);
    assert_eq!(said(START.plus(14 * DAY)), [("1".to_owned(), 1, true)], "of two the nearest");
    let now = START.plus(14 * DAY);
    authorize(&bench.conn, &OaId::from("1"), now, &BARE, &at(now)).expect("stored");
    assert_eq!(said(now), []);
    assert_eq!(said(now.plus(61 * DAY)), [("1".to_owned(), 30, false), ("2".to_owned(), 14, false)]);
    // A clock that jumped would have it count as said for good.
    let jumped = Reading { time: now.plus(89 * DAY), ..at(now.plus(62 * DAY)) };
    assert_eq!(take_reminders(&bench.conn, &ladder, &jumped).expect("read").len(), 0);
}

#[test]
fn the_config_decides_who_holds_an_oa_and_no_token_goes() {
    let mut bench = Bench::new(&[("1", "bare", Some(80)), ("2", "bare", Some(1))]);
    bench.ask("1", link(), START);
    bench.config = config(&[("1", "talking", None)]);
    bench.manage(START);
    assert_eq!(bench.state("1", START), (State::AwaitingGrant, None), "another vendor begins anew");
    assert_eq!(bench.state("2", START), (State::Unmanaged, None));
    bench.config = config(&[("2", "bare", Some(1))]);
    bench.manage(START);
    let status = bench.status("2", START);
    assert_eq!(
        (status.state, status.granted_at),
        (State::Scheduled, Some(START.minus(DAY))),
        "it is as it was"
    );
    // An app holds it now.
    let fleet: Fleet = [("2".into(), crate::id::Managed { app_id: "a".into(), name: None })].into();
    bench.config = config(&[]);
    bench.manage(START);
    fleet::manage(&bench.conn, &fleet, &Timing::default(), START).expect("managed");
    let whole = view::statuses(&bench.conn, None, &fleet, view::Page::WHOLE, &at(START)).expect("read");
    let seen: Vec<_> = whole.iter().map(|oa| (oa.oa_id.as_str(), oa.state, oa.vendor.is_some())).collect();
    assert_eq!(seen, [("1", State::Unmanaged, true), ("2", State::AwaitingGrant, false)]);
}

#[test]
fn all_oas_are_listed_in_order_in_parts_and_counted_the_same_way() {
    let names: Vec<String> = (0..10).map(|number| format!("{number}")).collect();
    let of_vendor: Vec<(&str, &str, Option<u32>)> =
        names.iter().step_by(2).map(|name| (name.as_str(), "bare", Some(1))).collect();
    let bench = Bench::new(&of_vendor);
    let managed = crate::id::Managed { app_id: "a".into(), name: None };
    let fleet: Fleet =
        names.iter().skip(1).step_by(2).map(|name| (OaId::from(name.as_str()), managed.clone())).collect();
    fleet::manage(&bench.conn, &fleet, &Timing::default(), START).expect("managed");
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = view::Page { after: after.clone(), limit: 3 };
        let part = view::statuses(&bench.conn, None, &fleet, page, &at(START)).expect("read");
        assert!(part.len() <= 3);
        let Some(last) = part.last() else { break };
        after = Some(last.oa_id.clone());
        seen.extend(part.into_iter().map(|oa| oa.oa_id.to_string()));
    }
    assert_eq!(seen, names);
    let counts = overview::counts(&bench.conn, START).expect("counted");
    let expected: BTreeMap<State, u64> = [(State::AwaitingGrant, 5), (State::Scheduled, 5)].into();
    assert_eq!(counts.by_state, expected);
    let overview = overview::overview(&bench.conn, &at(START)).expect("read");
    assert_eq!(overview.counts, expected);
    assert_eq!(overview.unserved, [(State::AwaitingGrant, 5)].into(), "a vendor keeps the others' tokens");
}

/// Room for so much, and so much of one vendor.
fn room(limit: usize, most_of_one: usize) -> VendorRoom {
    VendorRoom { limit, most_of_one, ..VendorRoom::default() }
}

#[test]
fn i10_a_vendor_who_never_answers_holds_up_no_other_vendors_oas() {
    let bench = Bench::new(&[
        ("1", "bare", Some(80)),
        ("2", "bare", Some(81)),
        ("3", "bare", Some(82)),
        ("4", "bare", Some(83)),
        ("5", "talking", Some(80)),
    ]);
    let found = |room: &VendorRoom| -> Vec<String> {
        let (due, _) = due(&bench.conn, room, &at(START.plus(DAY))).expect("read");
        due.into_iter().map(|due| due.oa_id.to_string()).collect()
    };
    let both = found(&room(4, 2));
    assert!(both.len() == 3 && both.contains(&"5".to_owned()), "{both:?}");
    let under_way = [("bare".into(), 2)].into();
    assert_eq!(found(&VendorRoom { under_way, ..room(2, 2) }), ["5"]);
    assert_eq!(found(&room(2, 2)).len(), 2);
}
