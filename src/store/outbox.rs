//! What webhooks are still to be told, durably, and what each was told of an OA last.
//!
//! **Why nothing is lost.** An event is said after what it tells is durable, and put into the outbox after that: a process
//! that dies between the two leaves no row. But it leaves an OA whose generation, or whose call for a person, is another
//! than the one that the webhook was told of, and `told` is written in one transaction with the outbox. So one question
//! finds what was lost, and it is made up for. A webhook that is new begins with how things stand.
//!
//! **Order.** Of one OA one letter goes after the other: only the head of its queue has a time at which it is due.

use rusqlite::{Connection, OptionalExtension, named_params, params};
use std::time::Duration;

use super::Store;
use super::reader::Reader;
use super::writer::StoreError;
use crate::clock::Time;
use crate::id::OaId;
use crate::secret::Digest;

/// How many letters wait for one webhook at most.
const MOST_WAITING: u64 = 100_000;
/// A letter that is due later than this was put off by a clock that has been set back since.
const LONGEST_WAIT: Duration = Duration::from_secs(2 * 3_600);
/// How many OAs a new webhook takes note of in one transaction.
const FIRST_LOOK: usize = 2_000;

/// One event for one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Names the delivery, over all its tries.
    pub delivery: String,
    /// The OA that it is about, if it is about one.
    pub oa_id: Option<OaId>,
    /// What is sent; `None`: the webhook does not want to know, but what it knows by that changes.
    pub body: Option<String>,
    /// What it tells.
    pub tells: Tells,
}

/// What of an OA is told by an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tells {
    /// Nothing that could be made up for.
    Nothing,
    /// It has this generation, and no person is needed.
    Generation(u64),
    /// A person brought this generation, and no person is needed. Told also where that a newer set is there was: nothing
    /// else says who brought it.
    Import(u64),
    /// A person is needed.
    Person(String),
    /// No person is needed any more.
    NoPerson,
}

/// A letter that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its place.
    pub seq: i64,
    /// The OA that it is about.
    pub oa_id: Option<OaId>,
    /// See [`Letter`].
    pub delivery: String,
    /// What is sent.
    pub body: String,
    /// Since when it waits.
    pub queued_at: Time,
    /// How often it was sent.
    pub tries: u32,
}

/// What a webhook was not told of an OA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// The OA.
    pub oa_id: OaId,
    /// Its generation.
    pub generation: u64,
    /// It has another generation than the one that was told.
    pub is_newer: bool,
    /// When its access token ends.
    pub expires_at: Option<Time>,
    /// Why a person is needed, if that was not told.
    pub reason: Option<String>,
}

impl Store {
    /// A webhook is told of events from now on. Does nothing if it was before.
    ///
    /// # Errors
    /// When the store cannot be written, here and below.
    pub async fn begin_webhook(&self, webhook: Digest, now: Time) -> Result<(), StoreError> {
        if self.writer.call(false, move |conn| is_begun(conn, webhook)).await? {
            return Ok(());
        }
        let mut after = Some(String::new());
        while let Some(place) = after {
            after = self.writer.call(true, move |tx| take_note(tx, webhook, &place, now)).await?;
        }
        Ok(())
    }

    /// Forgets all webhooks but these, and what they were still to be told.
    pub async fn keep_webhooks(&self, webhooks: Vec<Digest>) -> Result<(), StoreError> {
        let others = move |conn: &Connection| others(conn, &webhooks);
        for webhook in self.writer.call(false, others).await? {
            while self.writer.call(true, move |tx| forget(tx, webhook)).await? {}
        }
        Ok(())
    }

    /// Puts letters into the outbox. What a webhook was told of an OA already is left out. Returns the deliveries that had
    /// to go, the oldest, because too many wait.
    pub async fn post(
        &self,
        webhook: Digest,
        letters: Vec<Letter>,
        now: Time,
    ) -> Result<Vec<Waiting>, StoreError> {
        self.writer.call(true, move |tx| post(tx, webhook, &letters, now)).await
    }

    /// A letter was taken, or is given up: the next of its OA is due.
    pub async fn settle_letter(&self, webhook: Digest, seq: i64, now: Time) -> Result<(), StoreError> {
        self.writer.call(true, move |tx| settle(tx, webhook, seq, now)).await
    }

    /// A letter was not taken, and is to be sent again then.
    pub async fn put_letter_off(&self, seq: i64, next_at: Time) -> Result<(), StoreError> {
        let put_off = "UPDATE outbox SET tries = tries + 1, next_at = ?2 WHERE seq = ?1";
        let verb = move |tx: &Connection| {
            tx.prepare_cached(put_off)?.execute(params![seq, next_at.as_millis()]).map(drop)
        };
        self.writer.call(true, verb).await
    }
}

impl Reader {
    /// The letters that are due, the oldest first, and when the next one is due if there are no more.
    pub async fn due_letters(
        &self,
        webhook: Digest,
        limit: usize,
        now: Time,
    ) -> Result<(Vec<Waiting>, Option<Time>), StoreError> {
        self.look_at_all(move |conn| Ok((due(conn, webhook, limit, now)?, next_due(conn, webhook, now)?)))
            .await
    }

    /// What the webhook was not told of the next OAs, at most `limit` of them, by id.
    pub async fn untold(
        &self,
        webhook: Digest,
        after: Option<OaId>,
        limit: usize,
    ) -> Result<Vec<Untold>, StoreError> {
        self.look_at_all(move |conn| untold(conn, webhook, after.as_ref(), limit)).await
    }
}

fn is_begun(conn: &Connection, webhook: Digest) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM webhook WHERE webhook = ?1")?.exists([webhook.as_bytes()])
}

/// Takes note how the next OAs stand. `None`: these were the last, and the webhook has begun.
fn take_note(tx: &Connection, webhook: Digest, after: &str, now: Time) -> rusqlite::Result<Option<String>> {
    let limit = i64::try_from(FIRST_LOOK).unwrap_or(i64::MAX);
    tx.prepare_cached(
        "INSERT OR IGNORE INTO told (webhook, oa_id, generation, reason) SELECT ?1, oa_id, generation, \
         CASE state WHEN 'reauthorization_required' THEN coalesce(reason, '') ELSE '' END \
         FROM oa WHERE oa_id > ?2 ORDER BY oa_id LIMIT ?3",
    )?
    .execute(params![webhook.as_bytes(), after, limit])?;
    let last = tx
        .prepare_cached("SELECT oa_id FROM oa WHERE oa_id > ?1 ORDER BY oa_id LIMIT 1 OFFSET ?2")?
        .query_row(params![after, limit - 1], |row| row.get(0))
        .optional()?;
    if last.is_none() {
        tx.prepare_cached("INSERT OR IGNORE INTO webhook (webhook, since) VALUES (?1, ?2)")?
            .execute(params![webhook.as_bytes(), now.as_millis()])?;
    }
    Ok(last)
}

fn others(conn: &Connection, webhooks: &[Digest]) -> rusqlite::Result<Vec<Digest>> {
    let all = conn
        .prepare_cached("SELECT webhook FROM webhook UNION SELECT DISTINCT webhook FROM outbox")?
        .query_map([], |row| row.get::<_, [u8; 32]>(0).map(Digest::from_bytes))?
        .collect::<rusqlite::Result<Vec<Digest>>>()?;
    Ok(all.into_iter().filter(|webhook| !webhooks.contains(webhook)).collect())
}

/// Forgets a part of what there is of a webhook. `false`: that was all.
fn forget(tx: &Connection, webhook: Digest) -> rusqlite::Result<bool> {
    let limit = i64::try_from(FIRST_LOOK).unwrap_or(i64::MAX);
    let told = "DELETE FROM told WHERE webhook = ?1 AND oa_id IN \
         (SELECT oa_id FROM told WHERE webhook = ?1 LIMIT ?2)";
    let letters = "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE webhook = ?1 LIMIT ?2)";
    for sql in [told, letters] {
        if tx.prepare_cached(sql)?.execute(params![webhook.as_bytes(), limit])? > 0 {
            return Ok(true);
        }
    }
    tx.prepare_cached("DELETE FROM webhook WHERE webhook = ?1")?.execute([webhook.as_bytes()])?;
    Ok(false)
}

fn post(tx: &Connection, webhook: Digest, letters: &[Letter], now: Time) -> rusqlite::Result<Vec<Waiting>> {
    for letter in letters {
        let oa_id = letter.oa_id.as_ref().map_or("", OaId::as_str);
        if !note_told(tx, webhook, oa_id, &letter.tells)? {
            continue;
        }
        let Some(body) = &letter.body else { continue };
        tx.prepare_cached(
            "INSERT INTO outbox (webhook, oa_id, delivery, body, queued_at, next_at) \
             SELECT :webhook, :oa_id, :delivery, :body, :now, CASE WHEN EXISTS (SELECT 1 FROM outbox \
             WHERE webhook = :webhook AND oa_id = :oa_id) THEN NULL ELSE :now END",
        )?
        .execute(named_params! {
            ":webhook": webhook.as_bytes(),
            ":oa_id": oa_id,
            ":delivery": letter.delivery,
            ":body": body,
            ":now": now.as_millis(),
        })?;
    }
    make_room(tx, webhook, now)
}

/// Notes what the webhook is told. `false`: it was told that already.
fn note_told(tx: &Connection, webhook: Digest, oa_id: &str, tells: &Tells) -> rusqlite::Result<bool> {
    let mut upsert = tx.prepare_cached(
        "INSERT INTO told (webhook, oa_id, generation, reason) VALUES (?1, ?2, coalesce(?3, 0), ?4) \
         ON CONFLICT (webhook, oa_id) DO UPDATE SET generation = coalesce(?3, generation), reason = ?4 \
         WHERE ?5",
    )?;
    let told = tx
        .prepare_cached("SELECT generation, reason FROM told WHERE webhook = ?1 AND oa_id = ?2")?
        .query_row(params![webhook.as_bytes(), oa_id], |row| {
            Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    let (generation, reason, is_news) = match tells {
        Tells::Nothing => return Ok(true),
        Tells::Generation(generation) => {
            (Some(*generation), "", told.is_none_or(|(before, _)| before < *generation))
        }
        Tells::Import(generation) => {
            let is_newer = told.is_none_or(|(before, _)| before < *generation);
            upsert.execute(params![webhook.as_bytes(), oa_id, generation, "", is_newer])?;
            return Ok(true);
        }
        Tells::Person(reason) => (None, reason.as_str(), told.is_none_or(|(_, before)| before != *reason)),
        Tells::NoPerson => (None, "", true),
    };
    upsert.execute(params![webhook.as_bytes(), oa_id, generation, reason, is_news])?;
    Ok(is_news)
}

/// Takes the oldest letters out if there are too many, and returns them.
fn make_room(tx: &Connection, webhook: Digest, now: Time) -> rusqlite::Result<Vec<Waiting>> {
    let count: u64 = tx
        .prepare_cached("SELECT count(*) FROM outbox INDEXED BY outbox_of WHERE webhook = ?1")?
        .query_row([webhook.as_bytes()], |row| row.get(0))?;
    let excess = i64::try_from(count.saturating_sub(MOST_WAITING)).unwrap_or(i64::MAX);
    if excess == 0 {
        return Ok(Vec::new());
    }
    let oldest: Vec<Waiting> = tx
        .prepare_cached(
            "SELECT seq, oa_id, delivery, body, queued_at, tries FROM outbox WHERE webhook = ?1 \
             ORDER BY seq LIMIT ?2",
        )?
        .query_map(params![webhook.as_bytes(), excess], read_waiting)?
        .collect::<rusqlite::Result<_>>()?;
    oldest.iter().try_for_each(|letter| settle(tx, webhook, letter.seq, now))?;
    Ok(oldest)
}

fn settle(tx: &Connection, webhook: Digest, seq: i64, now: Time) -> rusqlite::Result<()> {
    let oa_id: Option<String> = tx
        .prepare_cached("DELETE FROM outbox WHERE seq = ?1 RETURNING oa_id")?
        .query_row([seq], |row| row.get(0))
        .optional()?;
    let Some(oa_id) = oa_id else { return Ok(()) };
    tx.prepare_cached(
        "UPDATE outbox SET next_at = ?3 WHERE next_at IS NULL AND seq = \
         (SELECT min(seq) FROM outbox WHERE webhook = ?1 AND oa_id = ?2)",
    )?
    .execute(params![webhook.as_bytes(), oa_id, now.as_millis()])?;
    Ok(())
}

fn due(conn: &Connection, webhook: Digest, limit: usize, now: Time) -> rusqlite::Result<Vec<Waiting>> {
    let mut letters = Vec::new();
    // Each by the index and in its order: of a herd's letters only those are read that are returned. What is put off further
    // than anything is was so by a clock that has been set back.
    for (condition, than) in [("next_at <= ?2", now), ("next_at > ?2", now.plus(LONGEST_WAIT))] {
        let left = i64::try_from(limit.saturating_sub(letters.len())).unwrap_or(i64::MAX);
        let found: Vec<Waiting> = conn
            .prepare_cached(&format!(
                "SELECT seq, oa_id, delivery, body, queued_at, tries FROM outbox INDEXED BY outbox_due \
                 WHERE webhook = ?1 AND next_at IS NOT NULL AND {condition} ORDER BY next_at LIMIT ?3"
            ))?
            .query_map(params![webhook.as_bytes(), than.as_millis(), left], read_waiting)?
            .collect::<rusqlite::Result<_>>()?;
        letters.extend(found);
    }
    letters.sort_unstable_by_key(|letter| letter.seq);
    Ok(letters)
}

fn next_due(conn: &Connection, webhook: Digest, now: Time) -> rusqlite::Result<Option<Time>> {
    conn.prepare_cached(
        "SELECT min(next_at) FROM outbox INDEXED BY outbox_due WHERE webhook = ?1 AND next_at IS NOT NULL \
         AND next_at > ?2",
    )?
    .query_row(params![webhook.as_bytes(), now.as_millis()], |row| {
        Ok(row.get::<_, Option<i64>>(0)?.map(Time::from_millis))
    })
}

fn read_waiting(row: &rusqlite::Row<'_>) -> rusqlite::Result<Waiting> {
    let oa_id: String = row.get(1)?;
    Ok(Waiting {
        seq: row.get(0)?,
        oa_id: (!oa_id.is_empty()).then(|| OaId::from(oa_id)),
        delivery: row.get(2)?,
        body: row.get(3)?,
        queued_at: Time::from_millis(row.get(4)?),
        tries: row.get(5)?,
    })
}

/// An import that nobody announced yet is about to be told by its own event.
fn untold(
    conn: &Connection,
    webhook: Digest,
    after: Option<&OaId>,
    limit: usize,
) -> rusqlite::Result<Vec<Untold>> {
    let after = after.map_or("", OaId::as_str);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    conn.prepare_cached(
        "SELECT oa.oa_id, oa.generation, oa.generation > coalesce(told.generation, 0), oa.access_token_expires_at, \
         CASE WHEN oa.state = 'reauthorization_required' AND oa.reason <> coalesce(told.reason, '') \
         THEN oa.reason END AS untold_reason \
         FROM oa LEFT JOIN told ON told.webhook = ?1 AND told.oa_id = oa.oa_id \
         WHERE oa.oa_id > ?2 AND oa.app_id IS NOT NULL AND oa.import_unsaid = 0 \
         AND (oa.generation > coalesce(told.generation, 0) OR untold_reason IS NOT NULL) \
         ORDER BY oa.oa_id LIMIT ?3",
    )?
    .query_map(params![webhook.as_bytes(), after, limit], |row| {
        Ok(Untold {
            oa_id: OaId::from(row.get::<_, String>(0)?),
            generation: row.get(1)?,
            is_newer: row.get(2)?,
            expires_at: row.get::<_, Option<i64>>(3)?.map(Time::from_millis),
            reason: row.get(4)?,
        })
    })?
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    const HOOK: Digest = Digest::from_bytes([7; 32]);
    const NOW: Time = Time::from_millis(1_800_000_000_000);

    fn database() -> Connection {
        let conn = Connection::open_in_memory().expect("in memory");
        schema::migrate(&conn).expect("migrated");
        conn
    }

    fn oa(conn: &Connection, oa_id: &str, generation: u64, reason: Option<&str>) {
        let state = if reason.is_some() { "reauthorization_required" } else { "scheduled" };
        conn.execute(
            "INSERT OR REPLACE INTO oa (oa_id, app_id, generation, state, reason) VALUES (?1, '1', ?2, ?3, ?4)",
            params![oa_id, generation, state, reason],
        )
        .expect("an OA");
    }

    fn begin(conn: &Connection) {
        let mut after = Some(String::new());
        while let Some(place) = after {
            after = take_note(conn, HOOK, &place, NOW).expect("noted");
        }
    }

    fn letter(oa_id: &str, delivery: &str, tells: Tells) -> Letter {
        let oa_id = (!oa_id.is_empty()).then(|| OaId::from(oa_id));
        Letter { delivery: delivery.to_owned(), oa_id, body: Some("{}".to_owned()), tells }
    }

    fn post_at(conn: &Connection, letters: &[Letter]) -> Vec<Waiting> {
        post(conn, HOOK, letters, NOW).expect("posted")
    }

    fn due_now(conn: &Connection) -> Vec<String> {
        let due = due(conn, HOOK, 100, NOW).expect("read");
        due.into_iter().map(|letter| letter.delivery).collect()
    }

    fn untold_now(conn: &Connection) -> Vec<(String, bool, Option<String>)> {
        let untold = untold(conn, HOOK, None, 10).expect("read");
        untold.into_iter().map(|found| (found.oa_id.to_string(), found.is_newer, found.reason)).collect()
    }

    #[test]
    fn a_new_webhook_begins_with_how_things_stand_and_what_changes_untold_is_found() {
        let conn = database();
        (0..2 * FIRST_LOOK + 1).for_each(|number| oa(&conn, &format!("{number:05}"), 3, None));
        oa(&conn, "00007", 3, Some("response_lost"));
        begin(&conn);
        assert!(is_begun(&conn, HOOK).expect("read"));
        assert_eq!(untold_now(&conn), []);
        oa(&conn, "00008", 4, None);
        oa(&conn, "00009", 3, Some("response_lost"));
        oa(&conn, "new", 1, None);
        let found = untold_now(&conn);
        let person = Some("response_lost".to_owned());
        assert_eq!(
            found,
            [
                ("00008".to_owned(), true, None),
                ("00009".to_owned(), false, person),
                ("new".to_owned(), true, None)
            ]
        );
        post_at(
            &conn,
            &[
                letter("00008", "a", Tells::Generation(4)),
                letter("00009", "b", Tells::Person("response_lost".to_owned())),
                letter("new", "c", Tells::Generation(1)),
            ],
        );
        assert_eq!(untold_now(&conn), []);
    }

    #[test]
    fn an_import_is_told_also_where_its_set_was_made_up_for_before_its_event_came() {
        let conn = database();
        oa(&conn, "7", 1, None);
        begin(&conn);
        post_at(&conn, &[letter("7", "made up", Tells::Generation(2))]);
        post_at(&conn, &[letter("7", "its own", Tells::Import(2))]);
        let all: Vec<String> = conn
            .prepare("SELECT delivery FROM outbox ORDER BY seq")
            .expect("prepared")
            .query_map([], |row| row.get(0))
            .expect("read")
            .collect::<rusqlite::Result<_>>()
            .expect("read");
        assert_eq!(all, ["made up", "its own"]);
        post_at(&conn, &[letter("8", "first", Tells::Import(1))]);
        oa(&conn, "8", 1, None);
        assert!(untold_now(&conn).is_empty(), "and counts as told");
    }

    #[test]
    fn of_many_letters_that_are_due_only_those_are_read_that_are_sent() {
        let conn = database();
        let plan: Vec<String> = conn
            .prepare(
                "EXPLAIN QUERY PLAN SELECT seq FROM outbox INDEXED BY outbox_due \
                 WHERE webhook = x'07' AND next_at IS NOT NULL AND next_at <= 1 ORDER BY next_at LIMIT 16",
            )
            .expect("prepared")
            .query_map([], |row| row.get(3))
            .expect("read")
            .collect::<rusqlite::Result<_>>()
            .expect("read");
        assert!(plan.iter().all(|step| !step.contains("TEMP B-TREE")), "{plan:?}");
    }

    #[test]
    fn what_was_told_already_is_not_told_again_and_may_be_after_it_was_otherwise() {
        let conn = database();
        oa(&conn, "7", 1, None);
        begin(&conn);
        let person = || Tells::Person("response_lost".to_owned());
        let told = [("a", Tells::Generation(1)), ("b", person()), ("c", person()), ("d", Tells::NoPerson)];
        let told = told.into_iter().chain([("e", person()), ("f", Tells::Generation(2)), ("g", person())]);
        let letters: Vec<Letter> = told.map(|(delivery, tells)| letter("7", delivery, tells)).collect();
        post_at(&conn, &letters);
        let all: Vec<String> = conn
            .prepare("SELECT delivery FROM outbox ORDER BY seq")
            .and_then(|mut all| all.query_map([], |row| row.get(0))?.collect())
            .expect("read");
        assert_eq!(all, ["b", "d", "e", "f", "g"]);
    }

    #[test]
    fn of_one_oa_one_letter_is_due_after_the_other_and_no_other_oa_waits_for_it() {
        let conn = database();
        let letters = [("7", "a"), ("7", "b"), ("8", "c"), ("", "d")]
            .map(|(oa, name)| letter(oa, name, Tells::Nothing));
        post_at(&conn, &letters);
        assert_eq!(due_now(&conn), ["a", "c", "d"]);
        let first = due(&conn, HOOK, 1, NOW).expect("read").remove(0);
        settle(&conn, HOOK, first.seq, NOW).expect("settled");
        assert_eq!(due_now(&conn), ["b", "c", "d"]);
    }

    #[test]
    fn a_letter_that_a_clock_put_off_for_years_is_due_when_the_clock_is_right_again() {
        let conn = database();
        post_at(&conn, &[letter("7", "a", Tells::Nothing)]);
        let until = |at: Time| {
            conn.execute("UPDATE outbox SET next_at = ?1", [at.as_millis()]).expect("put off");
            due_now(&conn).len()
        };
        assert_eq!(until(NOW.plus(Duration::from_secs(3_600))), 0);
        assert_eq!(next_due(&conn, HOOK, NOW).expect("read"), Some(NOW.plus(Duration::from_secs(3_600))));
        assert_eq!(until(NOW.plus(Duration::from_secs(10 * 365 * 86_400))), 1);
    }

    #[test]
    fn no_more_wait_than_there_is_room_for_and_the_oldest_go() {
        let conn = database();
        let most = usize::try_from(MOST_WAITING).expect("small");
        let letters: Vec<Letter> =
            (0..most).map(|number| letter("7", &number.to_string(), Tells::Nothing)).collect();
        assert_eq!(post_at(&conn, &letters), []);
        let gone = post_at(&conn, &[letter("8", "x", Tells::Nothing), letter("9", "y", Tells::Nothing)]);
        assert_eq!(gone.iter().map(|letter| letter.delivery.as_str()).collect::<Vec<_>>(), ["0", "1"]);
        assert_eq!(due_now(&conn), ["2", "x", "y"], "the head of its queue is due");
    }

    #[test]
    fn a_webhook_that_is_gone_is_forgotten_with_all_that_waited_for_it() {
        let conn = database();
        oa(&conn, "7", 1, None);
        begin(&conn);
        post_at(&conn, &[letter("7", "a", Tells::Generation(2))]);
        assert_eq!(others(&conn, &[HOOK]).expect("read"), []);
        assert_eq!(others(&conn, &[]).expect("read"), [HOOK]);
        while forget(&conn, HOOK).expect("forgotten") {}
        assert_eq!(others(&conn, &[]).expect("read"), []);
        assert_eq!(due_now(&conn), Vec::<String>::new());
    }
}
