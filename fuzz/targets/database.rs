//! A store whose rows, pages and slots are not as this program writes them: it is opened, recovered and worked with, or
//! refused in a plain sentence, and whatever it says, no token is presented twice.
//!
//! The input is a list of edits, each a byte for its kind, one for its place in the list of what can be edited, one for
//! its length, and so many bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rusqlite::types::Value;
use zalo_tokend::clock::{Moment, Reading, Time, Uptime};
use zalo_tokend::id::{AppId, AttemptId, OaId};
use zalo_tokend::oauth::GrantedTokens;
use zalo_tokend::rotation::{AnswerBytes, Ending, LONGEST_BODY, Proof, Roll, Timing, Verdict};
use zalo_tokend::secret::Secret;
use zalo_tokend::simulator::MARKER;
use zalo_tokend::store::{
    AtVendors, Attempted, Claim, Claimed, Direct, Import, Journalled, Managed, Opened, Recovered,
    SpilledAnswer, Store, Sweep,
};

use super::assert_plain;

/// What an edit of a column may be about.
const COLUMNS: [(&str, &str); 37] = [
    ("oa", "oa_id"),
    ("oa", "app_id"),
    ("oa", "name"),
    ("oa", "generation"),
    ("oa", "set_app_id"),
    ("oa", "access_token"),
    ("oa", "refresh_token"),
    ("oa", "refresh_token_digest"),
    ("oa", "obtained_at"),
    ("oa", "obtained_uptime"),
    ("oa", "obtained_boot"),
    ("oa", "access_token_expires_at"),
    ("oa", "refresh_token_expires_at"),
    ("oa", "state"),
    ("oa", "reason"),
    ("oa", "next_action_at"),
    ("oa", "planned_at"),
    ("oa", "failures"),
    ("oa", "slow_tries"),
    ("oa", "reminded_step"),
    ("attempt", "attempt_id"),
    ("attempt", "oa_id"),
    ("attempt", "app_id"),
    ("attempt", "generation"),
    ("attempt", "token_digest"),
    ("attempt", "phase"),
    ("attempt", "started_at"),
    ("attempt", "presented_at"),
    ("attempt", "class"),
    ("attempt", "code"),
    ("proof", "kind"),
    ("proof", "used_by"),
    ("refresh_token", "oa_id"),
    ("refresh_token", "presented_by"),
    ("app", "trial_at"),
    ("app", "window_size"),
    ("app", "brake_wait_until"),
];

/// The OAs of the store: each is in another state.
const OAS: [&str; 4] = ["1", "2", "3", "4"];
const SLOT_SIZE: usize = LONGEST_BODY + 4096;
const HOUR: Duration = Duration::from_secs(3_600);

pub fn check(bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tokens.db");
    write(&path, pristine());
    let edits = edits(bytes);
    edits.iter().for_each(|edit| edit_row(&path, edit));
    edits.iter().for_each(|edit| edit_file(&path, edit));
    read_as_commands_do(&path);
    work_as_the_daemon_does(&path);
    read_as_commands_do(&path);
}

/// One edit.
struct Edit<'i> {
    kind: u8,
    place: u8,
    bytes: &'i [u8],
}

fn edits(mut input: &[u8]) -> Vec<Edit<'_>> {
    let mut edits = Vec::new();
    while let [kind, place, length, rest @ ..] = input {
        let (bytes, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        edits.push(Edit { kind: *kind, place: *place, bytes });
        input = rest;
    }
    edits
}

/// An edit of a column, in all rows of its table or in one. What the schema refuses stays as it is.
fn edit_row(path: &Path, edit: &Edit<'_>) {
    let value = match (edit.kind, edit.bytes) {
        (0, _) => Value::Null,
        (1, bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        (2, bytes) => Value::Blob(bytes.to_vec()),
        (3, bytes) => {
            let mut number = [0; 8];
            number.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            Value::Integer(i64::from_le_bytes(number))
        }
        _ => return,
    };
    let (table, column) = COLUMNS[usize::from(edit.place) % COLUMNS.len()];
    let conn = rusqlite::Connection::open(path).expect("opened");
    conn.execute_batch("PRAGMA ignore_check_constraints = ON").expect("a pragma");
    let row = usize::from(edit.place) / COLUMNS.len();
    let which = if row == 0 { String::new() } else { format!("WHERE rowid = {row}") };
    // A table without rowids, a type that is not the column's, a second row of the same name: refused.
    drop(conn.execute(&format!("UPDATE {table} SET {column} = ?1 {which}"), [value]));
}

/// An edit of the database's bytes, or of a slot.
fn edit_file(path: &Path, edit: &Edit<'_>) {
    match (edit.kind, edit.bytes) {
        (4, [at @ .., _]) if at.len() >= 3 => {
            let (at, bytes) = edit.bytes.split_at(3);
            let length = std::fs::metadata(path).expect("metadata").len();
            let at = u64::from(u32::from_le_bytes([at[0], at[1], at[2], 0])) % length;
            let fits = usize::try_from(length - at).expect("small").min(bytes.len());
            open(path).write_all_at(&bytes[..fits], at).expect("written");
        }
        (5, body) => write_slot(path, &spilled(edit.place, body).to_slot()),
        (6, bytes) => write_slot(path, bytes),
        _ => {}
    }
}

/// An answer to the attempt that is presented, to the uncertain one, or to one that nobody knows.
fn spilled(attempt: u8, body: &[u8]) -> SpilledAnswer {
    let ending =
        if attempt < 128 { Ending::Whole } else { Ending::CutOff("the answer broke off".to_owned()) };
    SpilledAnswer {
        attempt: AttemptId::from_bytes([attempt & 127; 16]),
        obtained: Moment::of_wall_clock(now().time),
        answer: AnswerBytes { status: 200, retry_after: None, body: body.to_vec(), ending },
    }
}

fn write_slot(path: &Path, bytes: &[u8]) {
    let mut slot = bytes.to_vec();
    slot.resize(SLOT_SIZE, 0);
    write(&path.with_file_name("tokens.db-slots"), &slot);
}

fn write(path: &Path, bytes: &[u8]) {
    open(path).write_all_at(bytes, 0).expect("written");
}

fn open(path: &Path) -> File {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).expect("opened")
}

fn now() -> Reading {
    Reading { time: Time::from_millis(1_800_000_000_000), uptime: Uptime(HOUR), boot: "this boot".into() }
}

/// When every plan of the store is due.
fn due() -> Reading {
    let now = now();
    Reading { time: now.time.plus(24 * HOUR), uptime: now.uptime.plus(24 * HOUR), ..now }
}

fn managed() -> BTreeMap<OaId, Managed> {
    OAS.map(|oa| (OaId::from(oa), Managed { app_id: AppId::from("app"), name: None })).into()
}

fn timing() -> Arc<Timing> {
    Arc::new(Timing { max_in_flight: 2, ..Timing::default() })
}

/// What no disk and no person changed: one OA that is due, one presented, one uncertain, one refreshed.
fn pristine() -> &'static [u8] {
    static PRISTINE: OnceLock<Vec<u8>> = OnceLock::new();
    PRISTINE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tokens.db");
        let mut direct = Direct::open_to_write(&path).expect("a store");
        for (oa, n) in OAS.into_iter().zip(1..) {
            let import = Import {
                oa_id: OaId::from(oa),
                app_id: AppId::from("app"),
                name: None,
                tokens: tokens(n),
                obtained: Moment::at(&now()),
            };
            direct.import(&import, &timing(), &now()).expect("imported");
        }
        drop(direct);
        let opened = Opened::open(&path).expect("opened");
        opened
            .recover(1, &timing(), &now(), &mut || Roll(0.5), &mut Recovered::default())
            .expect("recovered");
        on(opened, |store| async move {
            store.manage(managed(), AtVendors::default(), timing(), now()).await.expect("managed");
            for (oa, n) in [("4", 4), ("3", 3), ("2", 2)] {
                let Claimed::Due(claim) = claim(&store, oa).await.expect("claimed") else {
                    panic!("not due")
                };
                let attempt = AttemptId::from_bytes([n; 16]);
                assert_eq!(present(&store, &claim, attempt).await.expect("presented"), Journalled::Written);
                let verdict = match n {
                    4 => Verdict::Granted(tokens(5)),
                    3 => Verdict::Unknown { code: None, detail: "an answer".to_owned() },
                    _ => continue,
                };
                conclude(&store, &claim, attempt, verdict).await;
            }
        });
        // The last connection that closes writes everything into the file.
        std::fs::read(&path).expect("read")
    })
}

fn tokens(n: u8) -> GrantedTokens {
    GrantedTokens {
        access_token: Some(Secret::new(format!("{MARKER}access{n}"))),
        refresh_token: Some(Secret::new(format!("{MARKER}refresh{n}"))),
        access_token_life: 25 * HOUR,
        refresh_token_life: None,
        oddities: Vec::new(),
    }
}

/// Lets the store's thread work, and sees that it did not panic.
fn on<F: Future>(opened: Opened, work: impl FnOnce(Store) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (store, thread) = opened.start().expect("a thread");
    runtime.block_on(work(store));
    thread.join().expect("the store's thread did not panic");
}

async fn claim(store: &Store, oa: &str) -> Result<Claimed, String> {
    store.claim(OaId::from(oa), false, due()).await.map_err(|error| error.to_string())
}

async fn present(store: &Store, claim: &Claim, attempt: AttemptId) -> Result<Journalled, String> {
    let presented = store.present(claim.clone(), attempt, due().time, 2, due()).await;
    presented.map_err(|error| error.to_string())
}

async fn conclude(store: &Store, claim: &Claim, attempt: AttemptId, verdict: Verdict) {
    let attempted = Attempted {
        attempt,
        claim: Some(claim.clone()),
        started_at: due().time,
        obtained: Moment::at(&due()),
        verdict,
        status: Some(200),
        answer: Some(format!("{MARKER} answer").into_bytes()),
    };
    said(store.conclude(Arc::new(attempted), timing(), due(), Roll(0.5)).await);
}

/// The value, if there is one; an error has to be plain.
fn said<T, E: std::fmt::Display>(result: Result<T, E>) -> Option<T> {
    result.inspect_err(|error| assert_plain(&error.to_string())).ok()
}

fn read_as_commands_do(path: &Path) {
    let Some(direct) = said(Direct::open_to_read(path)) else { return };
    said(direct.held_apps());
    said(direct.statuses(&managed(), &Default::default(), &due()));
    for oa in OAS.map(OaId::from) {
        said(direct.token(&managed(), &oa, &now()));
        said(direct.history(&oa));
        said(direct.kept_answer(&oa, AttemptId::from_bytes([3; 16])));
    }
}

fn work_as_the_daemon_does(path: &Path) {
    let Some(opened) = said(Opened::open(path)) else { return };
    let recover =
        |recovered: &mut Recovered| said(opened.recover(1, &timing(), &now(), &mut || Roll(0.5), recovered));
    let mut recovered = Recovered::default();
    if recover(&mut recovered).is_none() {
        return;
    }
    let mut again = Recovered::default();
    if recover(&mut again).is_some() {
        assert!(again.taken_in.is_empty() && again.abandoned.is_empty() && again.torn == 0, "{again:?}");
    }
    on(opened, |store| async move {
        keep_house(&store).await;
        for (oa, n) in OAS.into_iter().zip(100..) {
            said(store.doubt(OaId::from(oa)).await);
            refresh(&store, oa, AttemptId::from_bytes([n; 16])).await;
        }
        let uncertain = AttemptId::from_bytes([3; 16]);
        let proof = Proof::OldTokenAccepted;
        said(store.prove_unspent(uncertain, proof, timing(), due(), Roll(0.5)).await);
        said(store.counts(now().time).await);
    });
}

async fn keep_house(store: &Store) {
    said(store.manage(managed(), AtVendors::default(), timing(), now()).await);
    let sweep = Sweep {
        under_way: BTreeMap::new(),
        passed_over: [].into(),
        apps: Arc::new([AppId::from("app")].into()),
        free: 8,
        most: 2,
    };
    said(store.look(Some(sweep), due()).await);
    said(store.look(None, now()).await);
    said(store.helpless(managed(), due()).await);
    said(store.app_standing(AppId::from("app")).await);
    said(store.premise(AppId::from("app")).await);
    said(store.take_unsaid_imports().await);
    said(store.take_expired(due()).await);
    said(store.take_reminders(vec![24 * HOUR], due()).await);
    said(store.take_old_grants(due()).await);
    said(store.prune(HOUR, due().time).await);
}

/// A claimed token goes out once, whatever the rows say.
async fn refresh(store: &Store, oa: &str, attempt: AttemptId) {
    let Some(Claimed::Due(claimed)) = said(claim(store, oa).await) else { return };
    if said(present(store, &claimed, attempt).await) != Some(Journalled::Written) {
        return;
    }
    assert!(!matches!(claim(store, oa).await, Ok(Claimed::Due(_))), "claimed while it is presented");
    let second = present(store, &claimed, AttemptId::from_bytes([99; 16])).await;
    assert_ne!(second, Ok(Journalled::Written), "presented twice");
    conclude(store, &claimed, attempt, Verdict::Granted(tokens(attempt.as_bytes()[0]))).await;
    let third = present(store, &claimed, AttemptId::from_bytes([98; 16])).await;
    assert_ne!(third, Ok(Journalled::Written), "presented again after its successor came");
}
