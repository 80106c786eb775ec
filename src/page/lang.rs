//! The two languages, and which of them somebody reads.

/// The name of the cookie that keeps a choice.
const COOKIE: &str = "lang";

/// A language that the pages have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lang {
    /// Vietnamese.
    Vi,
    /// English.
    En,
}

impl Lang {
    /// Both.
    pub const ALL: [Lang; 2] = [Lang::Vi, Lang::En];

    /// The language of somebody who chose this in the query, keeps that choice in a cookie, and whose browser accepts these
    /// (each as the headers have it). Vietnamese if nothing says otherwise.
    pub fn of(chosen: Option<&str>, cookies: Option<&str>, accepted: Option<&str>) -> Lang {
        chosen
            .and_then(Lang::named)
            .or_else(|| cookies.and_then(|cookies| Lang::named(cookie(cookies, COOKIE)?)))
            .or_else(|| accepted.and_then(Lang::accepted))
            .unwrap_or(Lang::Vi)
    }

    /// The language with this code, as it stands in an address.
    pub fn named(code: &str) -> Option<Lang> {
        Lang::ALL.into_iter().find(|lang| lang.code() == code)
    }

    /// Its code, as HTML has it.
    pub fn code(self) -> &'static str {
        match self {
            Lang::Vi => "vi",
            Lang::En => "en",
        }
    }

    /// The other one.
    pub fn other(self) -> Lang {
        match self {
            Lang::Vi => Lang::En,
            Lang::En => Lang::Vi,
        }
    }

    /// The cookie that keeps this choice for a year.
    pub fn cookie(self) -> String {
        format!("{COOKIE}={}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly", self.code())
    }

    /// What it calls itself.
    pub(super) fn own_name(self) -> &'static str {
        self.pick("Tiếng Việt", "English")
    }

    /// Which of the two is in this language.
    pub(super) fn pick<'t>(self, vi: &'t str, en: &'t str) -> &'t str {
        match self {
            Lang::Vi => vi,
            Lang::En => en,
        }
    }

    /// The one that a browser likes best (RFC 9110 §12.5.4); of two that it likes alike, the one that it names first.
    fn accepted(header: &str) -> Option<Lang> {
        let mut best: Option<(Lang, f32)> = None;
        for range in header.split(',').take(MOST_RANGES) {
            let mut parts = range.split(';');
            let code = parts.next().unwrap_or_default().trim();
            let quality = parts.find_map(|part| part.trim().strip_prefix("q="));
            let quality = quality.map_or(Some(1.0), |quality| quality.trim().parse::<f32>().ok());
            let primary = code.split('-').next().unwrap_or_default().to_ascii_lowercase();
            let Some((lang, quality)) = Lang::named(&primary).zip(quality) else { continue };
            let is_one = quality > 0.0 && quality <= 1.0;
            if is_one && best.is_none_or(|(_, so_far)| quality > so_far) {
                best = Some((lang, quality));
            }
        }
        best.map(|(lang, _)| lang)
    }
}

/// How many languages of a browser are looked at.
const MOST_RANGES: usize = 32;

/// The first cookie of this name in a `Cookie` header.
pub fn cookie<'h>(header: &'h str, name: &str) -> Option<&'h str> {
    header.split(';').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_goes_before_the_browsers_and_what_says_nothing_is_passed_over() {
        for (chosen, cookies, accepted, lang) in [
            (None, None, None, Lang::Vi),
            (None, None, Some("en"), Lang::En),
            (None, None, Some("en-GB,en;q=0.9,vi;q=0.8"), Lang::En),
            (None, None, Some("vi-VN, en;q=0.9"), Lang::Vi),
            (None, None, Some("en;q=0.2, vi;q=0.7"), Lang::Vi),
            (None, None, Some("fr, EN-us;q=0.1"), Lang::En),
            (None, None, Some("en;q=0, vi"), Lang::Vi),
            (None, None, Some("en;q=0"), Lang::Vi),
            (None, None, Some("en;q=NaN"), Lang::Vi),
            (None, None, Some("en;q=inf, en;q=-1, en;q=7"), Lang::Vi),
            (None, None, Some("fr, *;q=0.5"), Lang::Vi),
            (None, None, Some(",;;==,q=1;en"), Lang::Vi),
            (None, None, Some("english"), Lang::Vi),
            (None, Some("a=b; lang=en"), Some("vi"), Lang::En),
            (None, Some("xlang=en; lang"), Some("vi"), Lang::Vi),
            (None, Some("lang=\"><script>"), Some("en"), Lang::En),
            (Some("vi"), Some("lang=en"), Some("en"), Lang::Vi),
            (Some("xx"), Some("lang=en"), None, Lang::En),
        ] {
            assert_eq!(Lang::of(chosen, cookies, accepted), lang, "{chosen:?} {cookies:?} {accepted:?}");
        }
        let long = "en;q=0.5,".repeat(100_000);
        assert_eq!(Lang::of(None, None, Some(&long)), Lang::En);
    }
}
