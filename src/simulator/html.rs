//! Pages for people, without a script. Text from outside goes through [`escaped`] before it is put into one. Imports
//! nothing of ours but its own room.

use super::connection::{Reply, content_type};

const STYLE: &str = "body{font:1rem/1.5 sans-serif;max-width:36rem;margin:2rem auto;padding:0 1rem}\
    label{display:block}button{font:inherit;padding:.5rem 1rem;margin:1rem 1rem 0 0}";

/// A page with this in its middle, which no browser keeps.
pub(super) fn page(status: u16, title: &str, content: &str) -> Reply {
    let text = format!(
        "<!DOCTYPE html>\n<html lang=\"vi\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{content}</main>\n</body>\n</html>\n",
    );
    let unkept = ("Cache-Control".to_owned(), "no-store".to_owned());
    Reply::new(status, &[content_type("text/html; charset=utf-8"), unkept], text.as_bytes())
}

/// A field of a form that nobody sees.
pub(super) fn hidden(name: &str, value: &str) -> String {
    format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">\n", escaped(value))
}

/// The text, in which nothing means anything to a browser, neither between tags nor in a quoted attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
