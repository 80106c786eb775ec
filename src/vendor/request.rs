//! What a vendor is asked, as his documents have it. Pure.

use serde_json::json;
use url::Url;

use super::terms::Style;
use crate::id::OaId;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// A link at which consent is given.
    Link,
    /// How the OA stands.
    Shop,
}

impl Question {
    /// What the vendor's documents call it.
    pub fn word(self) -> &'static str {
        match self {
            Question::Link => "refresh-token",
            Question::Shop => "get-shop-oa",
        }
    }
}

/// A `POST` with a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// To where.
    pub url: Url,
    /// The header that the key goes into.
    pub key_header: &'static str,
    /// What stands there before the key.
    pub key_prefix: &'static str,
    /// The body.
    pub body: String,
}

/// The request; `None`: this style has no such question.
pub fn request(style: Style, base_url: &Url, question: Question, oa_id: &OaId) -> Option<Request> {
    let path = match (style, question) {
        (Style::Interits, Question::Link) => "/api/vendor/v1/zalo/refresh-token",
        (Style::Interits, Question::Shop) => "/api/vendor/v1/zalo/get-shop-oa",
        (Style::Etelecom, Question::Link) => ".Zalo/RefreshToken",
        (Style::Sencloud, Question::Link) => "/v1/shop.Zalo/RefreshToken",
        (Style::Etelecom | Style::Sencloud, Question::Shop) => return None,
    };
    let mut url = base_url.clone();
    url.set_path(&format!("{}{path}", base_url.path().trim_end_matches('/')));
    let (key_header, key_prefix) = match style {
        Style::Interits => ("API-KEY", ""),
        Style::Etelecom | Style::Sencloud => ("Authorization", "Bearer "),
    };
    Some(Request { url, key_header, key_prefix, body: json!({ "oa_id": oa_id }).to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_style_is_asked_as_its_documents_have_it() {
        let of = |style, base: &str, question| {
            request(style, &base.parse().expect("a URL"), question, &OaId::from("7")).map(|asked| {
                assert_eq!(asked.body, "{\"oa_id\":\"7\"}");
                (asked.url.to_string(), asked.key_header, asked.key_prefix)
            })
        };
        let link = Question::Link;
        assert_eq!(
            of(Style::Interits, "https://cpaas.interits.com", link),
            Some(("https://cpaas.interits.com/api/vendor/v1/zalo/refresh-token".to_owned(), "API-KEY", ""))
        );
        assert_eq!(
            of(Style::Interits, "https://v.example/x/", Question::Shop),
            Some(("https://v.example/x/api/vendor/v1/zalo/get-shop-oa".to_owned(), "API-KEY", ""))
        );
        assert_eq!(
            of(Style::Etelecom, "https://api.v.example/v1/shop", link),
            Some(("https://api.v.example/v1/shop.Zalo/RefreshToken".to_owned(), "Authorization", "Bearer "))
        );
        assert_eq!(
            of(Style::Etelecom, "https://api.v.example", link),
            Some(("https://api.v.example/.Zalo/RefreshToken".to_owned(), "Authorization", "Bearer "))
        );
        assert_eq!(
            of(Style::Sencloud, "https://v.example", link),
            Some(("https://v.example/v1/shop.Zalo/RefreshToken".to_owned(), "Authorization", "Bearer "))
        );
        assert_eq!(of(Style::Etelecom, "https://v.example", Question::Shop), None);
        assert_eq!(of(Style::Sencloud, "https://v.example", Question::Shop), None);
    }
}
