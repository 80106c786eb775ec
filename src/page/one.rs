//! The page of one OA: how it stands, and what was done about it.

use super::Viewer;
use super::html::{Attribute, Html};
use super::lang::Lang;
use super::layout::{self, Frame, Place};
use super::listed::{self, Listed};
use super::standing::Tone;
use crate::clock::Time;
use crate::store::{BY_A_PERSON, HistoryEntry, OaStatus};

/// The page. Of the attempts, newest first, there may be `older` ones that are not shown.
pub fn one(viewer: &Viewer<'_>, oa: &Listed, attempts: &[HistoryEntry], has_older: bool) -> String {
    let (lang, status) = (viewer.lang, &oa.status);
    let place = Place::AtHome {
        switch: format!("{}?lang={}", listed::address(status), lang.other().code()),
        logout: viewer.has_session.then_some(viewer.csrf),
        listens: Some((format!("/v1/events?oa_id={}", status.oa_id), viewer.events)),
    };
    let title = status.name.clone().unwrap_or_else(|| format!("OA {}", status.oa_id));
    Frame { lang, title, place }.around(|html| {
        html.element("p", &[], |html| {
            html.put("a", &[("href", "/")], lang.pick("Tất cả Official Account", "All Official Accounts"));
        });
        html.element("h1", &[], |html| layout::oa(html, status.oa_id.as_str(), status.name.as_deref()));
        panel(html, viewer, oa);
        facts(html, lang, status, viewer.now);
        html.element("section", &[("aria-labelledby", "history")], |html| {
            html.put("h2", &[("id", "history")], lang.pick("Lịch sử", "History"));
            timeline(html, lang, attempts, has_older);
        });
    })
}

/// How it stands, with the button.
fn panel(html: &mut Html, viewer: &Viewer<'_>, oa: &Listed) {
    let status = &oa.status;
    let class = if status.reauthorization.is_some() { "panel needs" } else { "panel" };
    let tells = listed::tells(viewer.lang, status);
    let mut attributes: Vec<Attribute<'_>> = vec![("class", class)];
    attributes.extend(tells.iter().map(|(name, value)| (*name, value.as_str())));
    html.element("div", &attributes, |html| {
        listed::state(html, viewer.lang, status, viewer.now);
        if let Some(what) = &status.last_error {
            layout::detail(html, what);
        }
        listed::button(html, viewer, oa);
    });
}

fn facts(html: &mut Html, lang: Lang, status: &OaStatus, now: Time) {
    html.element("dl", &[("class", "facts")], |html| {
        let mut fact = |label: &str, content: &mut dyn FnMut(&mut Html)| {
            html.element("div", &[], |html| {
                html.put("dt", &[], label);
                html.element("dd", &[], |html| content(html));
            });
        };
        fact(listed::access_label(lang), &mut |html| listed::access_bar(html, lang, status, now));
        fact(listed::refresh_label(lang), &mut |html| listed::refresh_bar(html, lang, status, now));
        fact(listed::next_label(lang), &mut |html| listed::next(html, lang, status, now));
        fact(lang.pick("Gia hạn gần nhất", "Last refresh"), &mut |html| {
            or_none(html, lang, status.last_refresh_at)
        });
        fact(lang.pick("Cấp quyền lần cuối", "Last authorized"), &mut |html| {
            or_none(html, lang, status.granted_at)
        });
        if let Some(app_id) = &status.app_id {
            fact(lang.pick("Ứng dụng", "App"), &mut |html| {
                html.put("bdi", &[], &super::html::shortened(app_id.as_str(), layout::LONGEST_NAME));
            });
        }
    });
}

fn or_none(html: &mut Html, lang: Lang, at: Option<Time>) {
    match at {
        Some(at) => listed::time(html, lang, at),
        None => {
            html.put("span", &[("class", "muted")], lang.pick("chưa lần nào", "never"));
        }
    }
}

fn timeline(html: &mut Html, lang: Lang, attempts: &[HistoryEntry], has_older: bool) {
    if attempts.is_empty() {
        let none = lang.pick("Chưa có lần gia hạn nào.", "It has not been renewed yet.");
        html.put("p", &[("class", "muted")], none);
        return;
    }
    html.element("ol", &[("class", "timeline")], |html| {
        for attempt in attempts {
            let (tone, label) = outcome(lang, attempt);
            html.element("li", &[("class", &format!("is-{}", tone.class()))], |html| {
                listed::time(html, lang, attempt.started_at);
                html.put("strong", &[], label);
                if let Some(code) = attempt.error {
                    let line = match lang {
                        Lang::Vi => format!("Mã lỗi của Zalo: {code}"),
                        Lang::En => format!("Zalo's error code: {code}"),
                    };
                    html.put("p", &[("class", "detail")], &line);
                }
                if let Some(detail) = attempt.detail.as_ref().filter(|_| !is_by_a_person(attempt)) {
                    layout::detail(html, detail);
                }
            });
        }
    });
    if has_older {
        let line = lang.pick("Những lần cũ hơn: zalo-tokend history", "Older ones: zalo-tokend history");
        html.put("p", &[("class", "muted")], line);
    }
}

/// Was it a consent that was granted, which the page says in its own words?
fn is_by_a_person(attempt: &HistoryEntry) -> bool {
    attempt.detail.as_deref() == Some(BY_A_PERSON)
}

/// What came of an attempt.
fn outcome(lang: Lang, attempt: &HistoryEntry) -> (Tone, &'static str) {
    match attempt.class.as_deref().unwrap_or(&attempt.phase) {
        "granted" if is_by_a_person(attempt) => (Tone::Well, lang.pick("Đã cấp quyền", "Authorized")),
        "granted" => (Tone::Well, lang.pick("Đã gia hạn", "Renewed")),
        "not_presented" => {
            (Tone::Wait, lang.pick("Không kết nối được; chưa mất gì", "Not reached; nothing was lost"))
        }
        "throttled" => {
            (Tone::Wait, lang.pick("Zalo bảo chờ; chưa mất gì", "Zalo asks to wait; nothing was lost"))
        }
        "unspent" => (Tone::Wait, lang.pick("Đã kiểm tra: chưa mất gì", "Checked: nothing was lost")),
        "app_refused" => (Tone::Act, lang.pick("Zalo từ chối ứng dụng", "Zalo refused the app")),
        "dead" => (
            Tone::Act,
            lang.pick("Zalo không còn nhận quyền đã cấp", "Zalo no longer took the authorization"),
        ),
        "spent" => (Tone::Act, lang.pick("Câu trả lời của Zalo bị mất", "Zalo's answer was lost")),
        "superseded" => (Tone::Off, lang.pick("Đã có quyền mới hơn", "A newer authorization came first")),
        "presenting" => (Tone::Wait, lang.pick("Đang gia hạn", "Under way")),
        "uncertain" | "unknown" => (Tone::Wait, lang.pick("Chưa rõ kết quả", "Outcome not known yet")),
        _ => (Tone::Off, lang.pick("Kết thúc cách khác", "Ended otherwise")),
    }
}
