//! HTML that no text can break out of: the names of tags and attributes are the program's own words, and everything else is
//! escaped on its way in.

/// A page, or a part of one, as it is written.
#[derive(Debug, Default)]
pub(super) struct Html(String);

/// An attribute: its name, and its value as it is meant.
pub(super) type Attribute<'a> = (&'static str, &'a str);

impl Html {
    /// The beginning of a document.
    pub(super) fn document() -> Html {
        Html("<!doctype html>\n".to_owned())
    }

    /// Text.
    pub(super) fn text(&mut self, text: &str) -> &mut Html {
        escape(text, &mut self.0);
        self
    }

    /// A part of the page, and what is in it.
    pub(super) fn element(
        &mut self,
        tag: &'static str,
        attributes: &[Attribute<'_>],
        content: impl FnOnce(&mut Html),
    ) -> &mut Html {
        self.begin(tag, attributes);
        content(self);
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push_str(">\n");
        self
    }

    /// A part of the page that has only text in it.
    pub(super) fn put(&mut self, tag: &'static str, attributes: &[Attribute<'_>], text: &str) -> &mut Html {
        self.element(tag, attributes, |html| {
            html.text(text);
        })
    }

    /// A part that has nothing in it, and no end.
    pub(super) fn void(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) -> &mut Html {
        self.begin(tag, attributes);
        self.0.push('\n');
        self
    }

    /// What was written.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn begin(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) {
        self.0.push('<');
        self.0.push_str(tag);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            escape(value, &mut self.0);
            self.0.push('"');
        }
        self.0.push('>');
    }
}

/// Writes the text so that it is nothing but text, between tags and in a quoted attribute. Characters that are not to be
/// seen, or that turn the writing of what follows around, are shown as what they are not: ones that can be read.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() || is_turning(c) => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
}

/// Embeddings, overrides and isolates (Unicode Annex 9), and the ends of lines that are none of HTML's.
fn is_turning(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// The text if it is no longer than so many characters, else its beginning.
pub(super) fn shortened(text: &str, most: usize) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_nothing_but_text_wherever_it_stands() {
        let hostile = "\"><script>alert('&')</script>\r\n\u{202E}x\0\u{7f}";
        let mut html = Html::default();
        html.put("p", &[("title", hostile)], hostile);
        let escaped =
            "&quot;&gt;&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;  \u{FFFD}x\u{FFFD}\u{FFFD}";
        assert_eq!(html.finish(), format!("<p title=\"{escaped}\">{escaped}</p>\n"));
    }

    #[test]
    fn what_is_too_long_is_cut_between_two_characters() {
        assert_eq!(shortened("Cấp quyền", 9), "Cấp quyền");
        assert_eq!(shortened("Cấp quyền", 2), "Cấ…");
    }
}
