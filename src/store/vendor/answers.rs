//! What is asked about an OA, and what the answer changes.

use rusqlite::Connection;

use super::rows::{self, VendorOaRow};
use super::{refuse, refused, release};
use crate::clock::{Reading, Time};
use crate::id::{OaId, VendorId};
use crate::rotation::{Reason, Roll, Timing};
use crate::vendor::{Given, Need, Outcome, Question, ShopNews, ShopOutcome, Terms};

/// A question about an OA, and what it presupposes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The OA.
    pub oa_id: OaId,
    /// Who is asked.
    pub vendor_id: VendorId,
    /// What.
    pub question: Question,
    /// The link that is out, which is better than none.
    pub known_link: Option<String>,
    /// The consent that is known of: where another was given meanwhile, the answer is about the past.
    authorized_at: Option<Time>,
}

/// What is to be done about an OA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenUp {
    /// Nothing, or nothing any more.
    Nothing,
    /// A link is out that leads to consent.
    LinkIsOut(String),
    /// The vendor is to be asked this.
    Ask(Asked),
}

/// Why an OA is taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Its plan is due.
    Due,
    /// Its vendor's key is tried.
    Trial,
    /// A person wants a link.
    Person,
}

/// What an answer to the question for a link changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkNews {
    /// What became of it.
    pub effect: LinkEffect,
    /// The vendor takes his key again.
    pub is_released: bool,
}

/// What became of the question for a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEffect {
    /// The OA is another's, is not managed, or has a newer consent: nothing changed.
    Stale,
    /// A link is out; with a reason, if a person is called by it.
    Given(Option<Reason>),
    /// There is none for now; `true` if that is news.
    Nothing(bool),
    /// A person has to change something.
    Misconfigured,
    /// The vendor refuses his key; `true` if that is news.
    Refused(bool),
    /// It failed, and is asked again then.
    Failed(Option<Time>),
}

/// What an answer to the question how an OA stands changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookNews {
    /// What became of it.
    pub effect: LookEffect,
    /// The vendor takes his key again.
    pub is_released: bool,
}

/// What became of the question how an OA stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookEffect {
    /// Nothing that anybody waits for.
    None,
    /// Consent was given, which ends then.
    Authorized(Option<Time>),
    /// It is disconnected, and this link is out.
    Disconnected(Option<String>),
    /// It failed; `true` if that is news.
    Failed(bool),
    /// The vendor refuses his key; `true` if that is news.
    Refused(bool),
}

/// Reads the OA again and says what is to be asked about it.
pub(super) fn take_up(
    tx: &Connection,
    oa_id: &OaId,
    occasion: Occasion,
    terms: &Terms,
    now: &Reading,
) -> rusqlite::Result<TakenUp> {
    let Some(mut row) = rows::load(tx, oa_id)?.filter(|row| row.is_managed) else {
        return Ok(TakenUp::Nothing);
    };
    let is_refused = refused(tx, &row.vendor_id)?.is_some();
    if row.is_from_the_future(now) {
        row.course.plan_after_setback(terms, now.time);
        rows::save(tx, &row, now)?;
    }
    let has_questions = terms.style.tells_how_an_oa_stands();
    let question = match occasion {
        Occasion::Due if is_refused => None,
        Occasion::Due if row.course.is_to_be_looked_at(now.time) => Some(Question::Shop),
        Occasion::Due => {
            let before = row.course.clone();
            let is_to_ask = row.course.is_to_be_asked_for(terms, now.time);
            if row.course != before {
                rows::save(tx, &row, now)?;
            }
            is_to_ask.then_some(Question::Link)
        }
        Occasion::Trial if !is_refused => None,
        // What needs no link is tried by what changes nothing.
        Occasion::Trial if has_questions && row.course.need(now.time).is_none() => Some(Question::Shop),
        Occasion::Trial => Some(Question::Link),
        Occasion::Person => match &row.course.link {
            Some(link)
                if row.course.ask_at.is_some_and(|at| at > now.time) && row.course.trouble.is_none() =>
            {
                let url = link.url.clone();
                row.course.follow_link(terms, now.time);
                rows::save(tx, &row, now)?;
                return Ok(TakenUp::LinkIsOut(url));
            }
            Some(_) | None => Some(Question::Link),
        },
    };
    Ok(match question {
        None => TakenUp::Nothing,
        Some(question) => {
            let VendorOaRow { oa_id, vendor_id, course, .. } = row;
            let known_link = course.link.map(|link| link.url);
            TakenUp::Ask(Asked {
                oa_id,
                vendor_id,
                question,
                known_link,
                authorized_at: course.authorized_at,
            })
        }
    })
}

/// The row that a question was about, if it still is.
fn current(tx: &Connection, asked: &Asked) -> rusqlite::Result<Option<VendorOaRow>> {
    let row = rows::load(tx, &asked.oa_id)?;
    Ok(row.filter(|row| {
        row.is_managed && row.vendor_id == asked.vendor_id && row.course.authorized_at == asked.authorized_at
    }))
}

/// Takes in what came of the question for a link. May be repeated.
pub(super) fn take_link(
    tx: &Connection,
    asked: &Asked,
    outcome: &Outcome,
    terms: &Terms,
    timing: &Timing,
    now: &Reading,
    roll: Roll,
) -> rusqlite::Result<LinkNews> {
    let is_well = matches!(outcome, Outcome::Link(_) | Outcome::Nothing);
    let is_released = is_well && release(tx, &asked.vendor_id)?;
    let Some(mut row) = current(tx, asked)? else {
        return Ok(LinkNews { effect: LinkEffect::Stale, is_released });
    };
    let (course, at) = (&mut row.course, now.time);
    let effect = match outcome {
        Outcome::Link(url) => {
            let Given { called_for } = course.give_link(url.clone(), terms, at, roll);
            LinkEffect::Given(called_for.map(reason))
        }
        Outcome::Nothing => LinkEffect::Nothing(course.give_nothing(timing, terms, at, roll)),
        Outcome::Misconfigured(detail) => {
            course.be_misconfigured(detail, terms, at);
            LinkEffect::Misconfigured
        }
        Outcome::Refused(detail) => {
            course.last_error = Some(detail.clone());
            LinkEffect::Refused(refuse(tx, &asked.vendor_id, at)?)
        }
        Outcome::Failed(detail) => LinkEffect::Failed(course.fail_to_ask(detail, timing, terms, at, roll)),
    };
    if matches!(effect, LinkEffect::Failed(_) | LinkEffect::Misconfigured)
        && refused(tx, &row.vendor_id)?.is_some()
    {
        // A trial that came to nothing is no reason to try the next one at once.
        refuse(tx, &row.vendor_id, at)?;
    }
    rows::save(tx, &row, now)?;
    Ok(LinkNews { effect, is_released })
}

/// Takes in what came of the question how the OA stands. May be repeated.
pub(super) fn take_look(
    tx: &Connection,
    asked: &Asked,
    outcome: &ShopOutcome,
    terms: &Terms,
    now: &Reading,
    roll: Roll,
) -> rusqlite::Result<LookNews> {
    let is_well = matches!(outcome, ShopOutcome::Told(_));
    let is_released = is_well && release(tx, &asked.vendor_id)?;
    let Some(mut row) = current(tx, asked)? else {
        return Ok(LookNews { effect: LookEffect::None, is_released });
    };
    let (course, at) = (&mut row.course, now.time);
    let effect = match outcome {
        ShopOutcome::Told(shop) => match course.look(shop, terms, at, roll) {
            ShopNews::None => LookEffect::None,
            ShopNews::Authorized => LookEffect::Authorized(course.end.map(|end| end.at)),
            ShopNews::Disconnected => {
                LookEffect::Disconnected(course.link.as_ref().map(|link| link.url.clone()))
            }
        },
        ShopOutcome::NotTold(_) => {
            course.fail_to_look(false, terms, at, roll);
            LookEffect::None
        }
        ShopOutcome::Refused(detail) => {
            course.last_error = Some(detail.clone());
            LookEffect::Refused(refuse(tx, &asked.vendor_id, at)?)
        }
        ShopOutcome::Failed(_) => LookEffect::Failed(course.fail_to_look(true, terms, at, roll)),
    };
    if !is_well && refused(tx, &row.vendor_id)?.is_some() {
        refuse(tx, &row.vendor_id, at)?;
    }
    row.forget_reminders_of_another_end(at);
    rows::save(tx, &row, now)?;
    Ok(LookNews { effect, is_released })
}

/// A person says that consent was given then. Returns when it ends; `None`: no vendor holds this OA.
pub(super) fn authorize(
    tx: &Connection,
    oa_id: &OaId,
    at: Time,
    terms: &Terms,
    now: &Reading,
) -> rusqlite::Result<Option<Time>> {
    let Some(mut row) = rows::load(tx, oa_id)?.filter(|row| row.is_managed) else { return Ok(None) };
    row.course.authorize(at, None, terms, now.time);
    row.forget_reminders_of_another_end(now.time);
    rows::save(tx, &row, now)?;
    Ok(row.course.end.map(|end| end.at))
}

/// Why a person is called.
pub(super) fn reason(need: Need) -> Reason {
    match need {
        Need::Unknown | Need::Due => Reason::ConsentDue,
        Need::Disconnected => Reason::Disconnected,
    }
}
