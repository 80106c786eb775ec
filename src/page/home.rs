//! The page at `/`: all OAs, and first those that need a person.

use super::Viewer;
use super::html::Html;
use super::lang::Lang;
use super::layout::{Frame, Place};
use super::listed::{Listed, table};
use crate::id::OaId;

/// What is on it.
#[derive(Debug)]
pub struct Home<'v> {
    /// Those that need a person, the most urgent first; as many as are shown.
    pub needing: &'v [Listed],
    /// How many need one in all.
    pub all_needing: usize,
    /// A part of the others, by id.
    pub others: &'v [Listed],
    /// The OA after which this part begins.
    pub after: Option<&'v OaId>,
    /// The OA after which the next one does.
    pub next: Option<&'v OaId>,
}

/// The page.
pub fn home(viewer: &Viewer<'_>, home: &Home<'_>) -> String {
    let (lang, other) = (viewer.lang, viewer.lang.other().code());
    let switch = match home.after {
        None => format!("/?lang={other}"),
        Some(after) => format!("/?after={after}&lang={other}"),
    };
    let place = Place::AtHome {
        switch,
        logout: viewer.has_session.then_some(viewer.csrf),
        listens: Some(("/v1/events".to_owned(), viewer.events)),
    };
    let title = lang.pick("Các Official Account", "Official Accounts").to_owned();
    Frame { lang, title: title.clone(), place }.around(|html| {
        html.put("h1", &[], &title);
        if home.after.is_none() {
            needing(html, viewer, home);
        }
        others(html, viewer, home);
        pages(html, lang, home);
    })
}

fn needing(html: &mut Html, viewer: &Viewer<'_>, home: &Home<'_>) {
    let lang = viewer.lang;
    if home.all_needing == 0 {
        if !home.others.is_empty() {
            let well = lang.pick("Không có OA nào cần bạn làm gì.", "No OA needs anything from you.");
            html.put("p", &[], well);
        }
        return;
    }
    html.element("section", &[("aria-labelledby", "needs")], |html| {
        let title = format!("{} ({})", lang.pick("Cần bạn xử lý", "Needs you"), home.all_needing);
        html.put("h2", &[("id", "needs")], &title);
        table(html, viewer, &title, home.needing);
        let shown = home.needing.len();
        if shown < home.all_needing {
            let line = match lang {
                Lang::Vi => format!("Trên đây là {shown} OA gấp nhất."),
                Lang::En => format!("These are the {shown} most urgent ones."),
            };
            html.put("p", &[("class", "muted")], &line);
        }
    });
}

fn others(html: &mut Html, viewer: &Viewer<'_>, home: &Home<'_>) {
    let lang = viewer.lang;
    html.element("section", &[("aria-labelledby", "others")], |html| {
        let title = match (home.all_needing, home.after) {
            (0, None) => lang.pick("Tất cả", "All"),
            (_, _) => lang.pick("Các OA khác", "The others"),
        };
        html.put("h2", &[("id", "others")], title);
        if home.others.is_empty() {
            let none = lang.pick("Không có OA nào ở đây.", "There are none here.");
            html.put("p", &[("class", "muted")], none);
        } else {
            table(html, viewer, title, home.others);
        }
    });
}

fn pages(html: &mut Html, lang: Lang, home: &Home<'_>) {
    if home.after.is_none() && home.next.is_none() {
        return;
    }
    html.element("nav", &[("class", "pages"), ("aria-label", lang.pick("Các trang", "Pages"))], |html| {
        if home.after.is_some() {
            html.put("a", &[("class", "button"), ("href", "/")], lang.pick("Trang đầu", "First page"));
        }
        if let Some(next) = home.next {
            let address = format!("/?after={next}");
            html.put("a", &[("class", "button"), ("href", &address)], lang.pick("Trang sau", "Next page"));
        }
    });
}
