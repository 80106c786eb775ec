//! What somebody sees who grants consent: the page that a signed link leads to, and one for each end that it can come to.
//!
//! These pages can stand at any address, also behind a proxy that knows no other, and nothing on them leads elsewhere: both
//! languages are in each, one of them folded away, so that changing it asks nothing of anybody. Each says what happened, what
//! is lost (as far as it goes, nothing), and what to do.

mod sayings;

use super::html::Html;
use super::lang::Lang;
use super::layout::{self, Frame, Place};
use super::words::moment;
use crate::clock::Time;

/// An OA, as people know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oa<'a> {
    /// Its id.
    pub id: &'a str,
    /// What people call it.
    pub name: Option<&'a str>,
}

/// What a signed link offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer<'a> {
    /// The OA.
    pub oa_id: &'a str,
    /// What people call it.
    pub name: Option<&'a str>,
    /// Where the form goes: an address of this server, with what proves the right to it. Another one is not taken; the form
    /// then goes to the page's own address.
    pub action: &'a str,
    /// By when consent is needed, if that is known.
    pub deadline: Option<Time>,
}

/// What came of a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// It was granted, and is kept.
    Granted {
        /// The OA.
        oa: Oa<'a>,
        /// When it is renewed next.
        next_refresh_at: Option<Time>,
    },
    /// It is kept; Zalo is being asked whose it is.
    Checking {
        /// The OA.
        oa: Oa<'a>,
    },
    /// What came back is being exchanged.
    InProgress {
        /// The OA.
        oa: Oa<'a>,
    },
    /// It was granted before; nothing is done a second time.
    AlreadyGranted {
        /// The OA.
        oa: Oa<'a>,
    },
    /// The person said no.
    Declined {
        /// The OA.
        oa: Oa<'a>,
    },
    /// It was granted for another OA.
    OtherOa {
        /// The one that is asked for.
        wanted: Oa<'a>,
        /// The one that it was granted for.
        got: Oa<'a>,
    },
    /// Nobody here sent somebody out with this state.
    UnknownState,
    /// It took too long.
    StateExpired {
        /// The OA.
        oa: Oa<'a>,
    },
    /// Zalo does not take the code.
    CodeRefused {
        /// The OA.
        oa: Oa<'a>,
        /// Zalo's error code.
        code: Option<i64>,
    },
    /// The code was sent, and what Zalo answered never came.
    AnswerLost {
        /// The OA.
        oa: Oa<'a>,
    },
    /// The code was not sent: Zalo cannot be reached. Loading the page again tries again.
    NotReached {
        /// The OA.
        oa: Oa<'a>,
        /// Why, in words.
        detail: &'a str,
    },
    /// Zalo refuses the app.
    AppRefused {
        /// The OA.
        oa: Oa<'a>,
    },
    /// The signed link is not whole, or not ours.
    LinkInvalid,
    /// The signed link is too old.
    LinkExpired,
    /// It cannot be done now.
    NotNow {
        /// Why, in words.
        detail: &'a str,
    },
    /// The daemon is stopping.
    Stopping,
}

/// How often a page is loaded again that waits for an end, in seconds.
const RELOAD: &str = "3";

/// The page that a signed link leads to: who asks, what will happen, and one button.
pub fn offer(lang: Lang, offer: &Offer<'_>) -> String {
    let oa = Oa { id: offer.oa_id, name: offer.name };
    let title =
        |lang: Lang| lang.pick("Cấp quyền cho Official Account", "Authorize the Official Account").to_owned();
    page(lang, title, Some(oa), None, |html, lang| {
        let lines = [
            lang.pick(
                "Hệ thống giữ kết nối giữa cửa hàng và Zalo xin bạn, quản trị viên của OA này, cấp quyền.",
                "The system that keeps the shop connected to Zalo asks you, an administrator of this OA, to authorize it.",
            ),
            lang.pick(
                "Khi bấm nút, bạn được chuyển sang trang của Zalo. Hãy chọn đúng OA này và đồng ý; rồi Zalo đưa bạn trở lại đây.",
                "The button takes you to Zalo's own page. Choose this OA there and agree; Zalo then brings you back here.",
            ),
            lang.pick(
                "Không ai ở đây hỏi mật khẩu Zalo của bạn. Liên kết này chỉ dùng được cho OA này.",
                "Nobody here asks for your Zalo password. This link is good for this OA and nothing else.",
            ),
        ];
        paragraphs(html, lines);
        if let Some(deadline) = offer.deadline {
            let at = moment(lang, deadline);
            let line = match lang {
                Lang::Vi => format!("Nên làm trước {at}, nếu không OA sẽ ngừng gửi và nhận tin."),
                Lang::En => format!("Please do it before {at}, or the OA falls silent."),
            };
            html.put("p", &[("class", "deadline")], &line);
        }
        let action = if is_of_this_server(offer.action) { offer.action } else { "" };
        html.element("form", &[("method", "post"), ("action", action)], |html| {
            html.put("button", &[], lang.pick("Cấp quyền trên Zalo", "Authorize at Zalo"));
        });
    })
}

/// The page for what came of it.
pub fn told(lang: Lang, told: &Told<'_>) -> String {
    let is_under_way = matches!(told, Told::Checking { .. } | Told::InProgress { .. });
    let reload_after = is_under_way.then_some(RELOAD);
    page(
        lang,
        |lang| told.heading(lang).to_owned(),
        told.oa(),
        reload_after,
        |html, lang| {
            paragraphs(html, told.lines(lang));
            told.facts(html, lang);
            if told.is_worth_another_try() {
                // Leads to where the page is, whatever its address.
                html.put("a", &[("class", "button"), ("href", "")], lang.pick("Thử lại", "Try again"));
            }
        },
    )
}

/// A page with what is to be said in one language, and below it, folded away, in the other.
fn page(
    lang: Lang,
    title: impl Fn(Lang) -> String,
    oa: Option<Oa<'_>>,
    reload_after: Option<&'static str>,
    content: impl Fn(&mut Html, Lang),
) -> String {
    let frame = Frame { lang, title: title(lang), place: Place::Anywhere { reload_after } };
    frame.around(|html| {
        html.element("article", &[("class", "consent")], |html| {
            html.put("h1", &[], &title(lang));
            if let Some(Oa { id, name }) = oa {
                html.element("p", &[("class", "oa")], |html| layout::oa(html, id, name));
            }
            content(html, lang);
        });
        let other = lang.other();
        html.element("details", &[("lang", other.code())], |html| {
            html.put("summary", &[], other.own_name());
            html.put("h2", &[], &title(other));
            content(html, other);
        });
    })
}

fn paragraphs<'l>(html: &mut Html, lines: impl IntoIterator<Item = &'l str>) {
    for line in lines {
        html.put("p", &[], line);
    }
}

/// Is it an address of the server that shows it?
fn is_of_this_server(address: &str) -> bool {
    let is_path = address.starts_with('/') && !address.starts_with("//");
    (is_path || address.starts_with('?')) && !address.contains(['\\', '\r', '\n', '\t'])
}

impl<'a> Told<'a> {
    /// The OA that it is about.
    fn oa(&self) -> Option<Oa<'a>> {
        match *self {
            Told::Granted { oa, .. }
            | Told::Checking { oa }
            | Told::InProgress { oa }
            | Told::AlreadyGranted { oa }
            | Told::Declined { oa }
            | Told::OtherOa { wanted: oa, .. }
            | Told::StateExpired { oa }
            | Told::CodeRefused { oa, .. }
            | Told::AnswerLost { oa }
            | Told::NotReached { oa, .. }
            | Told::AppRefused { oa } => Some(oa),
            Told::UnknownState
            | Told::LinkInvalid
            | Told::LinkExpired
            | Told::NotNow { .. }
            | Told::Stopping => None,
        }
    }

    /// What is said beside the words that are always the same.
    fn facts(&self, html: &mut Html, lang: Lang) {
        match *self {
            Told::Granted { next_refresh_at: Some(at), .. } => {
                let at = moment(lang, at);
                let line = match lang {
                    Lang::Vi => format!("Lần tự gia hạn tiếp theo: {at}."),
                    Lang::En => format!("It renews itself next at {at}."),
                };
                html.put("p", &[], &line);
            }
            Told::OtherOa { got, .. } => {
                html.element("p", &[("class", "oa")], |html| {
                    html.text(lang.pick("Bạn đã chọn: ", "You chose: "));
                    layout::oa(html, got.id, got.name);
                });
            }
            Told::CodeRefused { code: Some(code), .. } => {
                let line = match lang {
                    Lang::Vi => format!("Mã lỗi của Zalo: {code}."),
                    Lang::En => format!("Zalo's error code: {code}."),
                };
                html.put("p", &[("class", "detail")], &line);
            }
            Told::NotReached { detail, .. } | Told::NotNow { detail } => layout::detail(html, detail),
            Told::Granted { next_refresh_at: None, .. }
            | Told::Checking { .. }
            | Told::InProgress { .. }
            | Told::AlreadyGranted { .. }
            | Told::Declined { .. }
            | Told::UnknownState
            | Told::StateExpired { .. }
            | Told::CodeRefused { code: None, .. }
            | Told::AnswerLost { .. }
            | Told::AppRefused { .. }
            | Told::LinkInvalid
            | Told::LinkExpired
            | Told::Stopping => {}
        }
    }
}
