//! What a webhook is told: the log's event as it is, or one that is made up for an event that was lost. Pure.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::clock::Time;
use crate::id::OaId;
use crate::store::{Letter, Tells, Untold};
use crate::telemetry::feed::Happening;

const SUCCEEDED: &str = "refresh.succeeded";
const PERSON_NEEDED: &str = "oa.reauthorization_required";

/// The letter of an event. `None`: the webhook does not want to know, and learns nothing by it that would be made up for.
pub(super) fn of_event(
    event: &Happening,
    wanted: &BTreeSet<&'static str>,
    delivery: impl FnOnce() -> String,
) -> Option<Letter> {
    let tells = match (&*event.event, event.number_in("generation"), event.text("reason")) {
        (SUCCEEDED, Some(generation), _) => Tells::Generation(generation),
        ("oa.imported", Some(generation), _) => Tells::Import(generation),
        (PERSON_NEEDED, _, Some(reason)) => Tells::Person(reason.to_owned()),
        ("oa.resolved", ..) => Tells::NoPerson,
        _ => Tells::Nothing,
    };
    let body = wanted.contains(&*event.event).then(|| event.to_json().to_string());
    let is_of_no_use = body.is_none() && tells == Tells::Nothing;
    let oa_id = event.oa_id.as_deref().map(OaId::from);
    (!is_of_no_use).then(|| Letter { delivery: delivery(), oa_id, body, tells })
}

/// The letters for what was not told of an OA.
pub(super) fn of_untold(
    untold: &Untold,
    wanted: &BTreeSet<&'static str>,
    now: Time,
    mut delivery: impl FnMut() -> String,
) -> Vec<Letter> {
    let Untold { oa_id, generation, is_newer, expires_at, reason } = untold;
    let mut letter = |event: &str, line: Value, tells: Tells| {
        let body = wanted.contains(event).then(|| line.to_string());
        Letter { delivery: delivery(), oa_id: Some(oa_id.clone()), body, tells }
    };
    let mut letters = Vec::new();
    if *is_newer {
        let line = json!({
            "timestamp": now, "level": "INFO", "event": SUCCEEDED, "oa_id": oa_id, "generation": generation,
            "expires_at": expires_at, "recovered": true, "message": "a newer token set was stored",
        });
        letters.push(letter(SUCCEEDED, line, Tells::Generation(*generation)));
    }
    if let Some(reason) = reason {
        let line = json!({
            "timestamp": now, "level": "ERROR", "event": PERSON_NEEDED, "oa_id": oa_id, "reason": reason,
            "recovered": true, "message": "a person has to grant consent again",
        });
        letters.push(letter(PERSON_NEEDED, line, Tells::Person(reason.clone())));
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, fields: Value) -> Happening {
        Happening {
            number: 1,
            time: Time::from_millis(0),
            level: "INFO",
            event: name.into(),
            oa_id: Some("7".into()),
            fields: fields.as_object().expect("an object").clone(),
        }
    }

    fn told(name: &str, fields: Value) -> Option<(bool, Tells)> {
        let wanted = BTreeSet::from([SUCCEEDED]);
        let letter = of_event(&event(name, fields), &wanted, || "d".to_owned())?;
        Some((letter.body.is_some(), letter.tells))
    }

    #[test]
    fn what_is_wanted_is_told_and_what_changes_what_was_told_is_noted() {
        assert_eq!(told(SUCCEEDED, json!({"generation": 2})), Some((true, Tells::Generation(2))));
        assert_eq!(told("oa.imported", json!({"generation": 2})), Some((false, Tells::Import(2))));
        let person = Tells::Person("x".to_owned());
        assert_eq!(told(PERSON_NEEDED, json!({"reason": "x"})), Some((false, person)));
        assert_eq!(told("oa.resolved", json!({})), Some((false, Tells::NoPerson)));
        assert_eq!(told("refresh.started", json!({"generation": 2})), None);
    }

    #[test]
    fn what_was_not_told_is_made_up_from_what_the_store_has() {
        let untold = Untold {
            oa_id: OaId::from("7"),
            generation: 4,
            is_newer: true,
            expires_at: Some(Time::from_millis(1_000)),
            reason: Some("response_lost".to_owned()),
        };
        let wanted = BTreeSet::from([PERSON_NEEDED]);
        let letters = of_untold(&untold, &wanted, Time::from_millis(0), || "d".to_owned());
        assert_eq!((letters.len(), &letters[0].body), (2, &None));
        let body: Value = serde_json::from_str(letters[1].body.as_deref().expect("wanted")).expect("JSON");
        assert_eq!((&body["recovered"], &body["reason"]), (&json!(true), &json!("response_lost")));
        let wanted = BTreeSet::from([SUCCEEDED]);
        let letters = of_untold(&untold, &wanted, Time::from_millis(0), || "d".to_owned());
        let body: Value = serde_json::from_str(letters[0].body.as_deref().expect("wanted")).expect("JSON");
        assert_eq!((&body["generation"], &body["expires_at"]), (&json!(4), &json!("1970-01-01T00:00:01Z")));
        assert!(!format!("{letters:?}").contains("token\":"));
    }
}
