//! Paths with a place for an OA's id in them: which of them can name the same file. Pure.

use std::path::Path;

use super::publish::OA_ID;
use super::values;

/// Can two templates name the same file? Of ids nothing more is known than what they are made of.
pub(super) fn may_meet(a: &Path, b: &Path) -> bool {
    let (a, b) = (a.to_string_lossy(), b.to_string_lossy());
    let parts = |template: &str| -> Option<(String, String)> {
        let (start, _) = template.split_once(OA_ID)?;
        let (_, end) = template.rsplit_once(OA_ID)?;
        Some((start.to_owned(), end.to_owned()))
    };
    let names = |fixed: &str, (start, end): &(String, String)| {
        let id = fixed.strip_prefix(start.as_str()).and_then(|rest| rest.strip_suffix(end.as_str()));
        id.is_some_and(|id| values::id(id).is_ok())
    };
    // What one has more than the other would have to be a part of the other's id.
    let fit = |longer: Option<&str>| longer.is_some_and(|more| more.is_empty() || values::id(more).is_ok());
    match (parts(&a), parts(&b)) {
        (None, None) => a == b,
        (Some(template), None) => names(&b, &template),
        (None, Some(template)) => names(&a, &template),
        (Some((a_start, a_end)), Some((b_start, b_end))) => {
            fit(a_start.strip_prefix(b_start.as_str()).or_else(|| b_start.strip_prefix(a_start.as_str())))
                && fit(a_end.strip_suffix(b_end.as_str()).or_else(|| b_end.strip_suffix(a_end.as_str())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_templates_that_can_name_the_same_file_are_known() {
        let meet =
            |a: &str, b: &str| may_meet(Path::new(a), Path::new(b)) && may_meet(Path::new(b), Path::new(a));
        assert!(meet("/t/{oa_id}.json", "/t/{oa_id}.json") && meet("/t/7.json", "/t/7.json"));
        assert!(meet("/t/{oa_id}.json", "/t/7.json") && meet("/t/{oa_id}.json", "/t/x{oa_id}.json"));
        assert!(meet("/t/{oa_id}", "/t/{oa_id}-token"));
        for (a, b) in [
            ("/t/{oa_id}", "/t/{oa_id}.json"),
            ("/t/{oa_id}.env", "/t/{oa_id}.json"),
            ("/a/{oa_id}.json", "/b/{oa_id}.json"),
            ("/t/{oa_id}.json", "/t/a/7.json"),
            ("/t/7.json", "/t/8.json"),
        ] {
            assert!(
                !may_meet(Path::new(a), Path::new(b)) && !may_meet(Path::new(b), Path::new(a)),
                "{a} {b}"
            );
        }
    }
}
