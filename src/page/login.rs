//! The page where somebody shows a token of `[[access]]`, and the page for what cannot be shown.

use super::lang::Lang;
use super::layout::{self, Frame, Place, form};

/// Where somebody shows a token; with the OA that he came for, and whether the last token was nobody's.
pub fn login(lang: Lang, csrf: &str, oa_id: Option<&str>, was_wrong: bool) -> String {
    let title = lang.pick("Đăng nhập", "Sign in").to_owned();
    let oa = oa_id.map_or_else(String::new, |oa_id| format!("&oa={oa_id}"));
    let switch = format!("/login?lang={}{oa}", lang.other().code());
    let place = Place::AtHome { switch, logout: None, listens: None };
    Frame { lang, title: title.clone(), place }.around(|html| {
        html.element("div", &[("class", "single")], |html| {
            html.put("h1", &[], &title);
            let what = lang.pick(
                "Hãy nhập mã đăng nhập mà người vận hành hệ thống đã giao cho bạn.",
                "Enter the token that whoever runs the system gave you.",
            );
            html.put("p", &[], what);
            if was_wrong {
                let wrong = lang.pick(
                    "Mã này không đúng, hoặc không còn hiệu lực. Hãy thử lại.",
                    "This token is not known, or not any more. Try again.",
                );
                html.put("p", &[("class", "deadline"), ("role", "alert"), ("id", "wrong")], wrong);
            }
            form(html, "/login", csrf, |html| {
                if let Some(oa_id) = oa_id {
                    html.void("input", &[("type", "hidden"), ("name", "oa"), ("value", oa_id)]);
                }
                html.put("label", &[("for", "token")], lang.pick("Mã đăng nhập", "Token"));
                let mut field = vec![
                    ("type", "password"),
                    ("id", "token"),
                    ("name", "token"),
                    ("autocomplete", "current-password"),
                    ("required", ""),
                ];
                if was_wrong {
                    field.extend([("aria-invalid", "true"), ("aria-describedby", "wrong")]);
                }
                html.void("input", &field);
                html.put("button", &[], &title);
            });
        });
    })
}

/// Why something cannot be shown or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The reader may not.
    NotAllowed,
    /// There is no such page, or OA.
    NotFound,
    /// The form was too old, or not ours.
    FormNotOurs,
    /// The request cannot be understood.
    NotUnderstood,
    /// Too many at once.
    TooOften,
    /// It does not go now.
    NotNow,
    /// It does not go before somebody has changed something.
    NotYet,
}

/// The page that says so, with a sentence of the program.
pub fn trouble(lang: Lang, trouble: Trouble, detail: &str) -> String {
    let (title, what) = match trouble {
        Trouble::NotAllowed => (
            lang.pick("Bạn không có quyền này", "You may not do this"),
            lang.pick(
                "Hãy nhờ người vận hành hệ thống cho quyền, hoặc đăng nhập bằng mã khác.",
                "Ask whoever runs the system for the right to it, or sign in with another token.",
            ),
        ),
        Trouble::NotFound => (
            lang.pick("Không tìm thấy", "Not found"),
            lang.pick("Ở đây không có gì.", "There is nothing here."),
        ),
        Trouble::FormNotOurs => (
            lang.pick("Chưa làm gì cả", "Nothing was done"),
            lang.pick(
                "Trang bạn vừa dùng đã quá cũ, hoặc yêu cầu không đến từ trang này. Hãy mở lại trang rồi thử lại.",
                "The page was too old, or the request did not come from it. Open the page again and try once more.",
            ),
        ),
        Trouble::NotUnderstood => (
            lang.pick("Không hiểu yêu cầu", "The request is not understood"),
            lang.pick("Không có gì thay đổi.", "Nothing was changed."),
        ),
        Trouble::TooOften => (
            lang.pick("Quá nhiều yêu cầu", "Too many requests"),
            lang.pick("Hãy chờ một lát rồi thử lại.", "Wait a moment and try again."),
        ),
        Trouble::NotYet => (
            lang.pick("Chưa cấp quyền ở đây được", "It cannot be authorized here yet"),
            lang.pick(
                "Không có gì thay đổi. Người vận hành hệ thống phải làm trước việc sau đây.",
                "Nothing was changed. Whoever runs the system has to see to this first.",
            ),
        ),
        Trouble::NotNow => (
            lang.pick("Hiện chưa làm được", "Not possible now"),
            lang.pick("Không có gì bị mất. Hãy thử lại sau ít phút.", "Nothing is lost. Try again in a few minutes."),
        ),
    };
    let switch = format!("/?lang={}", lang.other().code());
    let place = Place::AtHome { switch, logout: None, listens: None };
    Frame { lang, title: title.to_owned(), place }.around(|html| {
        html.element("div", &[("class", "single")], |html| {
            html.put("h1", &[], title);
            html.put("p", &[], what);
            layout::detail(html, detail);
            html.element("p", &[], |html| {
                html.put(
                    "a",
                    &[("class", "button"), ("href", "/")],
                    lang.pick("Về trang đầu", "To the first page"),
                );
            });
            if trouble == Trouble::NotAllowed {
                html.element("p", &[], |html| {
                    html.put("a", &[("href", "/login")], lang.pick("Đăng nhập", "Sign in"));
                });
            }
        });
    })
}
