//! Every page, with whatever text may come: its structure is the program's own.

use super::consent::{Oa, Offer, Told, offer, told};
use super::*;
use crate::clock::Time;

/// Text that would like to be more than text.
pub(super) fn hostile() -> Vec<String> {
    let mut texts = [
        "\"><script>alert(1)</script>",
        "' onmouseover='alert(1)",
        "</title></main><h1>other</h1>",
        "javascript:alert(1)",
        "&lt;b&gt; &amp; <!-- --> ]]>",
        "a\r\nSet-Cookie: x=y\r\n\r\n<html>",
        "\u{202E}\u{2066}\u{200F}abc\u{0}\u{1b}[31m\u{85}\u{2028}",
        "{{7*7}} ${7*7} %3Cscript%3E",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("<\"'&>".repeat(64 * 1024 / 5));
    texts
}

/// The tags of a page in their order, each with the names of its attributes; text and values are left out.
///
/// Fails on anything that HTML could be read as otherwise: an attribute without quotes, a bare `<`, `>` or `"`.
pub(super) fn structure(page: &str) -> Vec<String> {
    let mut rest = page.strip_prefix("<!doctype html>\n").expect("a document");
    let mut tags = Vec::new();
    while let Some((text, tag)) = rest.split_once('<') {
        assert!(!text.contains(['>', '"', '\'']), "text is escaped: {text:?}");
        let name: String = tag.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '/').collect();
        assert!(!name.is_empty(), "no tag: {tag:.40}");
        rest = &tag[name.len()..];
        let mut shape = name;
        while !rest.starts_with('>') {
            let (attribute, value) =
                rest.strip_prefix(' ').and_then(|rest| rest.split_once("=\"")).expect("an attribute");
            assert!(
                attribute.chars().all(|c| c.is_ascii_lowercase() || c == '-'),
                "no attribute: {attribute:.40}"
            );
            let (value, further) = value.split_once('"').expect("a quote");
            assert!(!value.contains(['<', '>', '\n', '\r']), "values are escaped: {value:.40}");
            assert!(!attribute.starts_with("on") && attribute != "style", "no code in a page: {shape}");
            if matches!(attribute, "href" | "src" | "action") {
                assert!(
                    value.is_empty() || value.starts_with(['/', '?', '#']) || value.starts_with("assets/"),
                    "an address of this server: {value:.40}"
                );
                assert!(!value.starts_with("//"), "an address of this server: {value:.40}");
            }
            shape.push_str(&format!(" {attribute}"));
            rest = further;
        }
        rest = &rest[1..];
        tags.push(shape);
    }
    assert!(rest.trim().is_empty(), "text is escaped: {rest:.40}");
    tags
}

/// What every page has to have, whoever reads it and by whatever means.
pub(super) fn is_sound(lang: Lang, page: &str) {
    let tags = structure(page);
    let count = |wanted: &str| tags.iter().filter(|tag| tag.split(' ').next() == Some(wanted)).count();
    for (tag, times) in [("h1", 1), ("main", 1), ("title", 1), ("header", 1), ("footer", 1), ("style", 0)] {
        assert_eq!(count(tag), times, "{tag}: {page:.2000}");
    }
    assert!(page.starts_with(&format!("<!doctype html>\n<html lang=\"{}\">", lang.code())), "{page:.200}");
    assert!(page.contains("name=\"viewport\""));
    assert!(page.contains("href=\"#main\"") && page.contains("id=\"main\""), "the way past the header");
    for tag in ["a", "p", "h1", "button", "form", "main", "bdi", "details", "table", "tr", "td", "ol", "li"] {
        assert_eq!(count(tag), count(&format!("/{tag}")), "{tag} is closed");
    }
    let scripts = tags.iter().filter(|tag| tag.starts_with("script"));
    scripts.for_each(|tag| assert_eq!(tag, "script src defer", "no code in a page"));
    assert!(!page.contains("<script src") || page.contains("></script>"));
}

/// Each end that a consent can come to, with this text wherever text comes from elsewhere.
fn ends(text: &str) -> [Told<'_>; 17] {
    let oa = Oa { id: text, name: Some(text) };
    let next_refresh_at = Some(Time::from_millis(1_800_000_000_000));
    [
        Told::Granted { oa, next_refresh_at },
        Told::Granted { oa: Oa { name: None, ..oa }, next_refresh_at: None },
        Told::Checking { oa },
        Told::InProgress { oa },
        Told::AlreadyGranted { oa },
        Told::Declined { oa },
        Told::OtherOa { wanted: oa, got: oa },
        Told::UnknownState,
        Told::StateExpired { oa },
        Told::CodeRefused { oa, code: Some(-14_010) },
        Told::AnswerLost { oa },
        Told::NotReached { oa, detail: text },
        Told::AppRefused { oa },
        Told::LinkInvalid,
        Told::LinkExpired,
        Told::NotNow { detail: text },
        Told::Stopping,
    ]
}

#[test]
fn every_end_of_a_consent_is_a_page_in_both_languages_that_no_text_changes() {
    for lang in Lang::ALL {
        let harmless = ends("579745863508352884").map(|end| told(lang, &end));
        for page in &harmless {
            is_sound(lang, page);
            assert!(page.contains(&format!("<details lang=\"{}\">", lang.other().code())), "{page}");
            assert!(!page.contains("<script"), "{page}");
        }
        for text in hostile() {
            for (end, harmless) in ends(&text).iter().zip(&harmless) {
                let page = told(lang, end);
                assert_eq!(structure(&page), structure(harmless), "{end:?}");
                assert!(page.len() < harmless.len() + 60_000, "it is cut");
            }
        }
    }
    let distinct: std::collections::BTreeSet<String> =
        ends("7").iter().map(|end| told(Lang::Vi, end)).collect();
    assert_eq!(distinct.len(), 17);
}

#[test]
fn only_pages_that_wait_for_an_end_load_themselves_again() {
    for end in ends("7") {
        let reloads = told(Lang::En, &end).contains("http-equiv=\"refresh\"");
        assert_eq!(reloads, matches!(end, Told::Checking { .. } | Told::InProgress { .. }), "{end:?}");
    }
}

#[test]
fn an_offer_is_one_button_to_an_address_of_this_server() {
    let harmless = Offer { oa_id: "7", name: Some("Shop"), action: "/grant/7?sig=a&b=c", deadline: None };
    for lang in Lang::ALL {
        let page = offer(lang, &harmless);
        is_sound(lang, &page);
        assert!(page.contains("<form method=\"post\" action=\"/grant/7?sig=a&amp;b=c\">"), "{page}");
        for text in hostile() {
            let deadline = Some(Time::from_millis(i64::MAX));
            let hostile = Offer { oa_id: &text, name: Some(&text), action: &text, deadline };
            let page = offer(lang, &hostile);
            let harmless = offer(lang, &Offer { deadline, ..harmless });
            assert_eq!(structure(&page), structure(&harmless), "{text:.40}");
        }
        for action in ["//evil.example/", "https://evil.example/", "javascript:x", "/\\evil.example", "\t//x"]
        {
            let page = offer(lang, &Offer { action, ..harmless });
            assert!(page.contains("<form method=\"post\" action=\"\">"), "{action}");
        }
    }
}
