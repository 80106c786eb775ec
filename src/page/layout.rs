//! What all pages have: the head, the way past the header, the header with the other language, and the place for the rest.

use super::assets::{FOLDER, ICON, SCRIPT, STYLE};
use super::html::{Attribute, Html, shortened};
use super::lang::Lang;

/// How much of a name or an id is shown: the config takes no longer ones.
pub(super) const LONGEST_NAME: usize = 200;
/// How much of a sentence of the program is.
pub(super) const LONGEST_DETAIL: usize = 1_000;

/// Where a page stands: that is what its links depend on.
pub(super) enum Place<'p> {
    /// Among the pages at `/`.
    AtHome {
        /// This page, in the other language.
        switch: String,
        /// The form that ends a session, if there is one: its CSRF token.
        logout: Option<&'p str>,
        /// What the page listens to: where, and to which events.
        listens: Option<(String, &'p [&'p str])>,
    },
    /// Anywhere: nothing of it leads to another page.
    Anywhere {
        /// It is loaded again after so many seconds.
        reload_after: Option<&'static str>,
    },
}

/// A page without what it is about.
pub(super) struct Frame<'p> {
    pub(super) lang: Lang,
    pub(super) title: String,
    pub(super) place: Place<'p>,
}

impl Frame<'_> {
    /// The whole page around this.
    pub(super) fn around(&self, main: impl FnOnce(&mut Html)) -> String {
        let mut html = Html::document();
        html.element("html", &[("lang", self.lang.code())], |html| {
            html.element("head", &[], |html| self.head(html));
            let (address, names) = match &self.place {
                Place::AtHome { listens: Some((address, names)), .. } => (&**address, names.join(" ")),
                Place::AtHome { listens: None, .. } | Place::Anywhere { .. } => ("", String::new()),
            };
            let listens = [("data-events", address), ("data-names", &names)];
            html.element("body", if address.is_empty() { &[] } else { &listens }, |html| {
                html.put(
                    "a",
                    &[("class", "skip"), ("href", "#main")],
                    self.lang.pick("Tới nội dung chính", "Skip to content"),
                );
                html.element("header", &[], |html| self.header(html));
                if !address.is_empty() {
                    let many = self.lang.pick("% OA vừa thay đổi", "% OAs have changed");
                    let news = [("id", "news"), ("class", "news"), ("role", "status"), ("data-many", many)];
                    html.put("p", &news, "");
                }
                html.element("main", &[("id", "main"), ("tabindex", "-1")], main);
                html.element("footer", &[], |html| {
                    let zone = self
                        .lang
                        .pick("Mọi giờ là giờ Việt Nam (GMT+7).", "All times are Vietnam's (GMT+7).");
                    html.put("p", &[], zone);
                });
            });
        });
        html.finish()
    }

    fn head(&self, html: &mut Html) {
        let folder = match self.place {
            Place::AtHome { .. } => format!("/{FOLDER}/"),
            Place::Anywhere { .. } => format!("{FOLDER}/"),
        };
        let address = |name: &str| format!("{folder}{name}");
        html.void("meta", &[("charset", "utf-8")]);
        html.void("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
        html.void("meta", &[("name", "color-scheme"), ("content", "light dark")]);
        html.void("meta", &[("name", "robots"), ("content", "noindex")]);
        if let Place::Anywhere { reload_after: Some(seconds) } = self.place {
            html.void("meta", &[("http-equiv", "refresh"), ("content", seconds)]);
        }
        html.put("title", &[], &format!("{} – zalo-tokend", shortened(&self.title, LONGEST_NAME)));
        let icon = address(&ICON.name);
        html.void("link", &[("rel", "icon"), ("type", "image/svg+xml"), ("href", &icon)]);
        html.void("link", &[("rel", "stylesheet"), ("href", &address(&STYLE.name))]);
        if let Place::AtHome { listens: Some(_), .. } = self.place {
            html.put("script", &[("src", &address(&SCRIPT.name)), ("defer", "")], "");
        }
    }

    fn header(&self, html: &mut Html) {
        match &self.place {
            Place::AtHome { switch, logout, .. } => {
                html.put("a", &[("class", "brand"), ("href", "/")], "zalo-tokend");
                html.element("nav", &[("aria-label", self.lang.pick("Ngôn ngữ", "Language"))], |html| {
                    let other = self.lang.other();
                    let link = [("href", &**switch), ("lang", other.code()), ("hreflang", other.code())];
                    html.put("a", &link, other.own_name());
                });
                if let Some(csrf) = logout {
                    form(html, "/logout", csrf, |html| {
                        html.put("button", &[("class", "plain")], self.lang.pick("Đăng xuất", "Sign out"));
                    });
                }
            }
            Place::Anywhere { .. } => {
                html.put("span", &[("class", "brand")], "zalo-tokend");
            }
        }
    }
}

/// A form that changes something, with the token by which it is known to be ours.
pub(super) fn form(html: &mut Html, action: &str, csrf: &str, content: impl FnOnce(&mut Html)) {
    let attributes: [Attribute<'_>; 2] = [("method", "post"), ("action", action)];
    html.element("form", &attributes, |html| {
        html.void("input", &[("type", "hidden"), ("name", "csrf"), ("value", csrf)]);
        content(html);
    });
}

/// An OA by its name and its id. A name that is written from right to left turns nothing else around.
pub(super) fn oa(html: &mut Html, id: &str, name: Option<&str>) {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        html.put("bdi", &[("class", "name")], &shortened(name, LONGEST_NAME));
    }
    html.put("bdi", &[("class", "id")], &format!("OA {}", shortened(id, LONGEST_NAME)));
}

/// A sentence of the program, which speaks English.
pub(super) fn detail(html: &mut Html, detail: &str) {
    if !detail.is_empty() {
        html.put("p", &[("class", "detail"), ("lang", "en")], &shortened(detail, LONGEST_DETAIL));
    }
}
