//! Stores of older versions, with rows in them.

use super::*;
use crate::store::{AtVendors, Direct};

/// A store of the first version with an OA and a blocked app.
fn fill_first_version(conn: &Connection) {
    conn.execute_batch(include_str!("../schema.sql")).expect("the first version");
    conn.pragma_update(None, "application_id", schema::APPLICATION_ID).expect("set");
    conn.pragma_update(None, "user_version", 1).expect("set");
    let until = START.plus(HOUR * 24).as_millis();
    conn.execute_batch(&format!(
        "INSERT INTO app (app_id, refused_since, trial_at) VALUES ('app', 5, 6); \
         INSERT INTO oa (oa_id, app_id, set_app_id, generation, access_token, refresh_token, obtained_at, \
         access_token_expires_at, refresh_token_expires_at, state, next_action_at, planned_at) \
         VALUES ('oa-1', 'app', 'app', 7, 'a', 'r', 1000, {until}, 3000, 'scheduled', 1500, 1000);",
    ))
    .expect("rows of the first version");
}

#[test]
fn a_store_of_the_first_version_is_taken_over_with_its_rows() {
    let conn = Connection::open_in_memory().expect("in memory");
    fill_first_version(&conn);
    schema::migrate(&conn).expect("migrated");
    let row = rows::load(&conn, &oa()).expect("loaded").expect("there");
    let grant = row.grant.expect("known");
    assert_eq!((row.generation, grant.granted_at.as_millis(), grant.until.as_millis()), (7, 1_000, 3_000));
    let app = apps::load(&conn, &AppId::from("app")).expect("loaded");
    assert!(app.refusal.is_some() && app.window == crate::rotation::Window::default());
    rows::save(&conn, &row).expect("saved");
    schema::migrate(&conn).expect("nothing to do");
}

#[test]
fn i10_a_token_is_handed_out_of_a_store_that_waits_for_its_daemon_to_be_upgraded() {
    let directory = tempfile::tempdir().expect("made");
    let path = directory.path().join("tokens.db");
    let conn = Connection::open(&path).expect("made");
    fill_first_version(&conn);
    drop(conn);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
    let managed = [(oa(), Managed { app_id: AppId::from("app"), name: None })].into();
    let store = Direct::open_to_read(&path).expect("opened");
    let token = store.token(&managed, &oa(), &at(START)).expect("read");
    assert!(matches!(token, TokenAnswer::Valid(valid) if valid.generation == 7), "as it stands");
    let status = store.statuses(&managed, &AtVendors::default(), &at(START)).expect("read").remove(0);
    assert_eq!((status.state, status.granted_at), (State::Blocked, None));
    assert_eq!(store.history(&oa()).expect("read").len(), 0);
    let version: i64 = Connection::open(&path)
        .and_then(|conn| conn.query_row("PRAGMA user_version", [], |row| row.get(0)))
        .expect("read");
    assert_eq!(version, 1, "nothing was written");
}

#[test]
fn migrating_again_changes_nothing() {
    let conn = Connection::open_in_memory().expect("in memory");
    schema::migrate(&conn).expect("migrated");
    schema::migrate(&conn).expect("a second time changes nothing");
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("version");
    assert_eq!(usize::try_from(version).expect("small"), schema::newest_version());
}

#[test]
fn a_store_of_the_fourth_version_is_read_as_one_without_vendors_and_then_taken_over() {
    let conn = Connection::open_in_memory().expect("in memory");
    for sql in [
        include_str!("../schema.sql"),
        include_str!("../schema_2.sql"),
        include_str!("../schema_3.sql"),
        include_str!("../schema_4.sql"),
    ] {
        conn.execute_batch(sql).expect("the fourth version");
    }
    conn.pragma_update(None, "user_version", 4).expect("set");
    let whole = || view::statuses(&conn, None, &Default::default(), view::Page::WHOLE, &at(START));
    assert!(schema::see_as_newest(&conn, 4).expect("seen"));
    assert_eq!(whole().expect("read").len(), 0);
    conn.execute_batch("DROP VIEW temp.vendor; DROP VIEW temp.vendor_oa").expect("dropped");
    schema::migrate(&conn).expect("migrated");
    assert_eq!(whole().expect("read").len(), 0);
}
