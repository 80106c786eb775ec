//! Which OAs need a person: all of whom something is asked, and the most urgent first.

use super::*;
use crate::id::Fleet;
use crate::store::reauthorization;

#[test]
fn those_that_need_a_person_are_all_of_whom_something_is_asked_and_the_most_urgent_come_first() {
    let bench = Bench::new();
    let fleet: Fleet = ["1", "2", "3", "4", "5", "6", "7", "8", "9"]
        .map(|oa| (oa.into(), Managed { app_id: "app".into(), name: None }))
        .into();
    for (oa, n) in [("2", 2), ("3", 3), ("4", 4), ("5", 5), ("6", 6), ("8", 8)] {
        bench.import(&oa.into(), n);
    }
    bench.import_of("other", &"7".into(), 7);
    fleet::manage(&bench.conn, &fleet, &bench.timing, bench.now).expect("managed");
    bench.import(&"gone".into(), 10);
    let set = |oa: &str, what: &str| {
        bench.conn.execute(&format!("UPDATE oa SET {what} WHERE oa_id = '{oa}'"), []).expect("set");
    };
    set("gone", "app_id = NULL, state = 'reauthorization_required'");
    let needs_a_grant = "state = 'reauthorization_required', reason = 'response_lost', next_action_at = NULL";
    for (seq, oa) in [(1_u8, "4"), (2, "5")] {
        let attempt = format!(
            "INSERT INTO attempt (attempt_id, oa_id, app_id, generation, token_digest, phase, started_at) \
             VALUES (x'{}', '{oa}', 'app', 1, x'00', 'uncertain', 0)",
            format!("{seq:02x}").repeat(16)
        );
        bench.conn.execute(&attempt, []).expect("an attempt without a verdict");
    }
    let ends = |hours: u32| bench.now.plus(hours * HOUR).as_millis();
    set("2", &format!("{needs_a_grant}, access_token_expires_at = {}", ends(9)));
    set("3", &format!("{needs_a_grant}, access_token_expires_at = {}", ends(2)));
    set("4", &format!("state = 'uncertain', next_action_at = NULL, access_token_expires_at = {}", ends(5)));
    set("5", &format!("state = 'uncertain', access_token_expires_at = {}", ends(1)));
    set("6", &format!("reminded_step = 86400, refresh_token_expires_at = {}", ends(3)));
    set("7", &format!("access_token_expires_at = {}", ends(7)));
    let needing = reauthorization::needing(&bench.conn, bench.now).expect("read");
    let shown: Vec<&str> = needing.iter().map(OaId::as_str).collect();
    assert_eq!(shown, ["3", "6", "4", "7", "2", "1", "9"]);
    let statuses =
        view::statuses(&bench.conn, None, &fleet, view::Page::WHOLE, &at(bench.now)).expect("read");
    let asked: BTreeSet<&OaId> =
        statuses.iter().filter(|oa| oa.reauthorization.is_some()).map(|oa| &oa.oa_id).collect();
    assert_eq!(asked, needing.iter().collect(), "as each of them is seen");
}
