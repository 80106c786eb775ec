//! `GET /openapi.json`: what the routes take and answer, written by hand and held to them by tests.

use axum::response::Response;

use super::of_type;

/// The document, OpenAPI 3.1.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

/// For anybody who can connect.
pub(super) async fn get() -> Response {
    of_type("application/json", DOCUMENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).expect("JSON")
    }

    #[test]
    fn the_document_has_the_routes_and_no_others() {
        let document = document();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let mut told = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().expect("paths") {
            let methods = operations.as_object().expect("operations").keys();
            let methods = methods.filter(|key| !matches!(key.as_str(), "parameters" | "summary"));
            told.extend(methods.map(|method| (method.to_ascii_uppercase(), path.clone())));
        }
        let real: BTreeSet<_> =
            routes::of_programs().map(|(method, path)| (method.to_owned(), path.to_owned())).collect();
        assert_eq!(told, real, "openapi.json on the left, the router on the right");
    }

    #[test]
    fn the_document_has_the_problems_words_and_no_others() {
        let mut real = BTreeSet::new();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
        // The pages have no words for programs.
        let files = std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("there").path());
        for file in files.filter(|path| path.is_file()) {
            let text = std::fs::read_to_string(file).expect("text");
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for call in ["Problem::new(StatusCode::", "Problem::conflict("] {
                real.extend(text.split(call).skip(1).filter_map(|rest| {
                    let call = rest.split(';').next().unwrap_or_default();
                    call.split('"').nth(1).map(str::to_owned)
                }));
            }
        }
        let words = document()["components"]["schemas"]["ProblemType"]["enum"].clone();
        let told: BTreeSet<String> = serde_json::from_value(words).expect("words");
        assert_eq!(told, real, "openapi.json on the left, the program on the right");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "the document has no references");
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("in the document");
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }
}
