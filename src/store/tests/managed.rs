//! OAs that move in the config, or leave it.

use super::*;

#[test]
fn an_oa_moved_to_another_app_waits_for_a_grant_and_moved_back_goes_on() {
    let bench = Bench::with_a_set();
    let manage = |app: &str| {
        let managed = [(oa(), Managed { app_id: AppId::from(app), name: None })].into();
        fleet::manage(&bench.conn, &managed, &bench.timing, bench.now).expect("managed");
        view::statuses(&bench.conn, None, &managed, view::Page::WHOLE, &at(bench.now))
            .expect("statuses")
            .remove(0)
    };
    let moved = manage("other");
    assert_eq!((moved.state, moved.reason.as_deref()), (State::AwaitingGrant, Some("app_changed")));
    assert!(bench.claim().is_none());
    assert_eq!(manage("app").state, State::Scheduled);
    assert!(bench.claim().is_some());
}

#[test]
fn an_oa_that_left_the_config_keeps_its_tokens_and_is_left_alone() {
    let bench = Bench::with_a_set();
    fleet::manage(&bench.conn, &[].into(), &bench.timing, bench.now).expect("managed");
    assert!(bench.claim().is_none());
    assert_eq!(bench.due_by(&at(START.plus(48 * HOUR))).expect("due"), []);
    let status = view::statuses(&bench.conn, None, &[].into(), view::Page::WHOLE, &at(bench.now))
        .expect("statuses")
        .remove(0);
    assert_eq!((status.state, status.access_token_valid), (State::Unmanaged, true));
}
