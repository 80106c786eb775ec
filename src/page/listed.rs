//! A list of OAs: a table where there is room, and a card for each on a phone. The parts of it serve the page of one OA too.

use std::time::Duration;

use super::Viewer;
use super::html::{Attribute, Html};
use super::lang::Lang;
use super::layout::{self, form};
use super::standing;
use super::words::{left, moment};
use crate::clock::Time;
use crate::store::{OaStatus, State};

/// An OA as it is listed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// How it stands.
    pub status: OaStatus,
    /// May who looks at it send somebody out for consent?
    pub may_authorize: bool,
}

/// How long an access token lives where nobody knows when it was made.
const ACCESS_LIFE: Duration = Duration::from_secs(25 * 3_600);
/// How long a refresh token does.
const REFRESH_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// Lists these OAs.
pub(super) fn table(html: &mut Html, viewer: &Viewer<'_>, caption: &str, oas: &[Listed]) {
    let lang = viewer.lang;
    let columns = [
        ("column-oa", "Official Account"),
        ("column-state", lang.pick("Tình trạng", "State")),
        ("column-life", access_label(lang)),
        ("column-life", refresh_label(lang)),
        ("column-next", next_label(lang)),
    ];
    // The roles say what a browser forgets of a table whose parts are cards.
    html.element("table", &[("role", "table")], |html| {
        html.put("caption", &[], caption);
        html.element("thead", &[("role", "rowgroup")], |html| {
            html.element("tr", &[("role", "row")], |html| {
                for (class, label) in columns {
                    html.put("th", &[("role", "columnheader"), ("scope", "col"), ("class", class)], label);
                }
            });
        });
        html.element("tbody", &[("role", "rowgroup")], |html| {
            oas.iter().for_each(|oa| row(html, viewer, oa));
        });
    });
}

fn row(html: &mut Html, viewer: &Viewer<'_>, oa: &Listed) {
    let (lang, now, status) = (viewer.lang, viewer.now, &oa.status);
    let class = if status.reauthorization.is_some() { "needs" } else { "fine" };
    let tells = tells(lang, status);
    let mut attributes: Vec<Attribute<'_>> = vec![("role", "row"), ("class", class)];
    attributes.extend(tells.iter().map(|(name, value)| (*name, value.as_str())));
    html.element("tr", &attributes, |html| {
        html.element("th", &[("role", "rowheader"), ("scope", "row")], |html| {
            let address = address(status);
            html.element("a", &[("href", &address)], |html| {
                layout::oa(html, status.oa_id.as_str(), status.name.as_deref());
            });
        });
        let mut cell = |label: &str, content: &mut dyn FnMut(&mut Html)| {
            html.element("td", &[("role", "cell"), ("data-label", label)], |html| content(html));
        };
        cell(lang.pick("Tình trạng", "State"), &mut |html| {
            state(html, lang, status, now);
            if status.reauthorization.is_some() {
                button(html, viewer, oa);
            }
        });
        cell(access_label(lang), &mut |html| access_bar(html, lang, status, now));
        cell(refresh_label(lang), &mut |html| refresh_bar(html, lang, status, now));
        cell(next_label(lang), &mut |html| next(html, lang, status, now));
    });
}

/// Where the page of this OA is.
pub(super) fn address(status: &OaStatus) -> String {
    format!("/oas/{}", status.oa_id)
}

/// What the script compares, to say what has changed.
pub(super) fn tells(lang: Lang, status: &OaStatus) -> [(&'static str, String); 2] {
    let name = status.name.as_deref().filter(|name| !name.is_empty());
    let name = name.map_or_else(|| format!("OA {}", status.oa_id), str::to_owned);
    let label = standing::said(lang, status).label;
    [("data-oa", status.oa_id.as_str().to_owned()), ("data-told", format!("{name}: {label}"))]
        .map(|(key, value)| (key, super::html::shortened(&value, 2 * layout::LONGEST_NAME).into_owned()))
}

/// How it stands, what that means, and by when something has to be done.
pub(super) fn state(html: &mut Html, lang: Lang, status: &OaStatus, now: Time) {
    let said = standing::said(lang, status);
    html.put("strong", &[("class", &format!("state {}", said.tone.class()))], said.label);
    if !said.meaning.is_empty() {
        html.put("p", &[], &super::html::shortened(&said.meaning, layout::LONGEST_DETAIL));
    }
    if let Some(deadline) = standing::deadline(lang, status, now) {
        html.put("p", &[("class", "deadline")], &deadline);
    }
}

/// The button that leads to consent, for who may press it.
pub(super) fn button(html: &mut Html, viewer: &Viewer<'_>, oa: &Listed) {
    let lang = viewer.lang;
    if !oa.may_authorize {
        let ask = lang.pick(
            "Hãy nhờ người quản trị của OA cấp quyền lại.",
            "Ask an administrator of the OA to authorize it again.",
        );
        html.put("p", &[("class", "muted")], ask);
        return;
    }
    let action = format!("{}/authorize", address(&oa.status));
    form(html, &action, viewer.csrf, |html| {
        let label = match oa.status.generation {
            0 => lang.pick("Cấp quyền", "Authorize"),
            _ => lang.pick("Cấp quyền lại", "Authorize again"),
        };
        // Where nobody is asked for it, it does not look as if he were.
        let class = if oa.status.reauthorization.is_some() { "asked" } else { "plain" };
        // So that each of many buttons is known by what it is for.
        let name = oa.status.name.as_deref().unwrap_or_else(|| oa.status.oa_id.as_str());
        let spoken = format!("{label}: {}", super::html::shortened(name, layout::LONGEST_NAME));
        html.put("button", &[("class", class), ("aria-label", &spoken)], label);
    });
}

pub(super) fn access_label(lang: Lang) -> &'static str {
    lang.pick("Mã truy cập", "Access token")
}

pub(super) fn refresh_label(lang: Lang) -> &'static str {
    lang.pick("Quyền gia hạn", "Refresh token")
}

pub(super) fn next_label(lang: Lang) -> &'static str {
    lang.pick("Gia hạn tiếp theo", "Next refresh")
}

pub(super) fn access_bar(html: &mut Html, lang: Lang, status: &OaStatus, now: Time) {
    if status.vendor.is_some() {
        html.put("span", &[("class", "muted")], lang.pick("nhà cung cấp giữ", "held by the vendor"));
        return;
    }
    let life =
        Life { label: access_label(lang), usual: ACCESS_LIFE, low: 20, end: status.access_token_expires_at };
    life.bar(html, lang, status, now);
}

pub(super) fn refresh_bar(html: &mut Html, lang: Lang, status: &OaStatus, now: Time) {
    let is_dead = matches!(status.state, State::ReauthorizationRequired | State::AwaitingGrant);
    if is_dead && status.vendor.is_none() && status.refresh_token_expires_at.is_some() {
        let dead = lang.pick("không dùng được nữa", "of no use any more");
        html.put("span", &[("class", "muted")], dead);
        return;
    }
    let life = Life {
        label: refresh_label(lang),
        usual: REFRESH_LIFE,
        low: 6,
        end: status.refresh_token_expires_at,
    };
    life.bar(html, lang, status, now);
}

/// A life, of which something is left.
struct Life {
    label: &'static str,
    /// How long it is as a rule.
    usual: Duration,
    /// Little is left when there is less than one part of so many.
    low: u64,
    end: Option<Time>,
}

impl Life {
    fn bar(&self, html: &mut Html, lang: Lang, status: &OaStatus, now: Time) {
        let Some(end) = self.end else {
            html.put("span", &[("class", "muted")], lang.pick("chưa có", "none yet"));
            return;
        };
        let remains = end.since(now).as_secs();
        let begun = status.last_refresh_at.max(status.granted_at).filter(|begun| *begun < end);
        let whole = begun.map_or(self.usual, |begun| end.since(begun)).as_secs().max(remains).max(1);
        let text = left(lang, end, now);
        let [max, value, low] = [whole, remains, whole / self.low].map(|seconds| seconds.to_string());
        let spoken = format!("{}: {text}", self.label);
        html.element("span", &[("class", "bar")], |html| {
            let ends = [("min", "0"), ("max", &*max), ("value", &*value), ("low", &*low), ("optimum", &*max)];
            let attributes: Vec<Attribute<'_>> = ends.into_iter().chain([("aria-label", &*spoken)]).collect();
            html.put("meter", &attributes, &text);
            html.put("span", &[("class", "bar-text")], &text);
            time(html, lang, end);
        });
    }
}

/// A point in time, which programs can read too.
pub(super) fn time(html: &mut Html, lang: Lang, at: Time) {
    html.put("time", &[("datetime", &at.to_string()), ("class", "muted")], &moment(lang, at));
}

/// When it is renewed next.
pub(super) fn next(html: &mut Html, lang: Lang, status: &OaStatus, now: Time) {
    match status.next_refresh_at {
        Some(at) if at > now => {
            let length = super::words::length(lang, at.since(now));
            let text = match lang {
                Lang::Vi => format!("sau {length}"),
                Lang::En => format!("in {length}"),
            };
            html.put("span", &[("class", "bar-text")], &text);
            time(html, lang, at);
        }
        Some(_) => {
            html.put("span", &[], lang.pick("ngay bây giờ", "now"));
        }
        None => {
            html.put("span", &[("class", "muted")], lang.pick("chưa có", "none"));
        }
    }
}
