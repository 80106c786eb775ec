//! Every page, with whatever text may come: its structure is the program's own.

use super::consent::{Oa, Offer, Told, offer, told};
use super::*;
use crate::clock::Time;
use crate::id::{AttemptId, OaId};
use crate::store::{HistoryEntry, OaStatus, Reauthorization, State};

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

/// How an OA can stand, with this text wherever text comes from elsewhere.
fn statuses(text: &str) -> Vec<OaStatus> {
    let now = NOW.as_millis();
    let at = |hours: i64| Some(Time::from_millis(now + hours * 3_600_000));
    let asked = |reason: &str, deadline| Reauthorization {
        reason: reason.to_owned(),
        since: at(-1),
        url: Some(format!("javascript:{text}")),
        deadline,
    };
    let well = OaStatus {
        oa_id: text.into(),
        app_id: Some(text.into()),
        vendor: None,
        name: Some(text.to_owned()),
        state: State::Scheduled,
        reason: None,
        generation: 3,
        access_token_expires_at: at(20),
        refresh_token_expires_at: at(89 * 24),
        next_refresh_at: at(18),
        last_refresh_at: at(-5),
        access_token_valid: true,
        consecutive_failures: 0,
        last_error: None,
        granted_at: at(-1_000),
        reauthorization: None,
    };
    let mut all: Vec<OaStatus> =
        State::ALL.into_iter().map(|state| OaStatus { state, ..well.clone() }).collect();
    all.extend(State::ALL.map(|state| OaStatus { state, vendor: Some(text.into()), ..well.clone() }));
    for reason in
        ["awaiting_grant", "app_changed", "response_lost", "unprovable", "refresh_token_expiring", text]
    {
        let reauthorization = Some(asked(reason, at(3)));
        all.push(OaStatus { state: State::ReauthorizationRequired, reauthorization, ..well.clone() });
    }
    all.push(OaStatus {
        state: State::AwaitingGrant,
        name: None,
        access_token_expires_at: None,
        refresh_token_expires_at: None,
        next_refresh_at: None,
        last_refresh_at: None,
        access_token_valid: false,
        last_error: Some(text.to_owned()),
        granted_at: None,
        reauthorization: Some(asked("awaiting_grant", None)),
        ..well
    });
    all
}

#[test]
fn what_is_said_of_a_deadline_fits_what_the_oa_can_do_now_and_whether_it_has_passed() {
    let text = "shop";
    let of = |hours: i64, access_token_valid, vendor: Option<&str>| {
        let deadline = Some(Time::from_millis(NOW.as_millis() + hours * 3_600_000));
        let asked = |asked: Reauthorization| Reauthorization { deadline, ..asked };
        let all = statuses(text).into_iter().find(|status| status.reauthorization.is_some());
        let status = all.expect("one that needs a person");
        let vendor = vendor.map(Into::into);
        let reauthorization = status.reauthorization.clone().map(asked);
        let status = OaStatus { access_token_valid, vendor, reauthorization, ..status };
        Lang::ALL.map(|lang| standing::deadline(lang, &status, NOW).expect("there is one"))
    };
    for (hours, is_valid, vendor, said) in [
        (
            3,
            true,
            None,
            [
                "Hạn: 18:00 15/01/2027 (còn 3 giờ). Sau đó OA không gửi được tin.",
                "By 15 Jan 2027, 18:00 (3 hours left). After that the OA cannot send.",
            ],
        ),
        (
            3,
            false,
            None,
            [
                "Hiện OA không gửi được tin. Hạn cấp quyền lại: 18:00 15/01/2027 (còn 3 giờ).",
                "The OA cannot send now. Authorize it by 15 Jan 2027, 18:00 (3 hours left).",
            ],
        ),
        (
            3,
            false,
            Some("v"),
            [
                "Hạn: 18:00 15/01/2027 (còn 3 giờ). Sau đó OA không gửi được tin.",
                "By 15 Jan 2027, 18:00 (3 hours left). After that the OA cannot send.",
            ],
        ),
        (
            -1,
            false,
            None,
            [
                "Đã quá hạn từ 14:00 15/01/2027. OA không gửi được tin.",
                "Overdue since 15 Jan 2027, 14:00. The OA cannot send.",
            ],
        ),
    ] {
        assert_eq!(of(hours, is_valid, vendor), said);
    }
}

const NOW: Time = Time::from_millis(1_800_000_000_000);

fn viewer(lang: Lang) -> Viewer<'static> {
    Viewer { lang, now: NOW, csrf: "0123", has_session: true, events: &["oa.imported", "refresh.failed"] }
}

fn attempts(text: &str) -> Vec<HistoryEntry> {
    let classes = ["granted", "dead", "spent", "unknown", "superseded", "not_presented", "a new one"];
    let attempt = |class: &str| HistoryEntry {
        attempt_id: AttemptId::from_bytes([7; 16]),
        generation: 3,
        phase: text.to_owned(),
        class: Some(class.to_owned()).filter(|class| class != "a new one"),
        detail: Some(text.to_owned()),
        started_at: NOW,
        presented_at: None,
        concluded_at: None,
        status: None,
        error: Some(-14_014),
        proof: Some(text.to_owned()),
        answer_kept: true,
    };
    classes.into_iter().map(attempt).collect()
}

/// The page of all OAs, and those of each.
fn all_pages(lang: Lang, text: &str) -> Vec<String> {
    let (viewer, after) = (viewer(lang), OaId::from(text));
    let listed: Vec<Listed> = statuses(text)
        .into_iter()
        .enumerate()
        .map(|(index, status)| Listed { status, may_authorize: index % 2 == 0 })
        .collect();
    let asked = listed.iter().position(|oa| oa.status.reauthorization.is_some());
    let (others, needing) = listed.split_at(asked.expect("some need a person"));
    let first = Home { needing, all_needing: 400, others, after: None, next: Some(&after) };
    let second = Home { after: Some(&after), next: None, ..first };
    let mut pages = vec![home(&viewer, &first), home(&viewer, &second)];
    pages.extend(listed.iter().map(|oa| one(&viewer, oa, &attempts(text), true)));
    pages.extend([login(lang, "0123", Some(text), true), trouble(lang, Trouble::NotAllowed, text)]);
    pages
}

#[test]
fn the_pages_of_oas_are_the_same_whatever_their_names_and_troubles_are() {
    for lang in Lang::ALL {
        let harmless = all_pages(lang, "579745863508352884");
        harmless.iter().for_each(|page| is_sound(lang, page));
        for text in hostile() {
            for (page, harmless) in all_pages(lang, &text).iter().zip(&harmless) {
                assert_eq!(structure(page), structure(harmless), "{text:.40}");
            }
        }
    }
}

#[test]
fn the_page_of_all_oas_says_how_long_they_live_and_what_is_to_be_done() {
    let [vi, en] = Lang::ALL.map(|lang| all_pages(lang, "7").remove(0));
    for (page, words) in [
        (
            &vi,
            ["Cần bạn xử lý (400)", "còn 20 giờ", "còn 89 ngày", "Cấp quyền lại", "sau 18 giờ", "còn 3 giờ"],
        ),
        (
            &en,
            [
                "Needs you (400)",
                "20 hours left",
                "89 days left",
                "Authorize again",
                "in 18 hours",
                "3 hours left",
            ],
        ),
    ] {
        for word in words {
            assert!(page.contains(word), "{word}: {page}");
        }
        // 20 of 25 hours, and 89 days of those and 5 hours.
        assert!(page.contains("max=\"90000\" value=\"72000\""), "{page}");
        assert!(!page.contains("javascript:") && !page.contains("reauthorization_required"), "{page}");
        assert!(page.contains("data-events=\"/v1/events\" data-names=\"oa.imported refresh.failed\""));
    }
}

#[test]
fn the_script_and_the_style_ask_nobody_else_for_anything() {
    for asset in [&*assets::STYLE, &*assets::SCRIPT] {
        for word in ["http:", "https:", "//cdn", "@import", "url(", "eval(", "innerHTML", "document.write"] {
            assert!(!asset.body.contains(word), "{}: {word}", asset.name);
        }
    }
}
