//! The store's own day: by it is told what is so old that it may be forgotten.
//!
//! **Needs.** A refresh token that was used must not be taken for a new one as long as somebody may bring it again, and
//! what is forgotten is gone. **Why the naive way fails.** A wall clock that is ahead by years makes everything old, and
//! one that is behind, as it is on some machines until they are told the time, makes everything old that was stamped
//! meanwhile. **The design.** The day moves forward only, never past the wall clock, and with each turn no further than
//! twice what has truly passed since the turn before, by the clock that nobody sets: so what is remembered for 400 days is
//! remembered for 200 true ones under any clock, longer than a token lives. Tokens are stamped with it. **Accepted.** Time
//! in which the program does not run, or that passes between the last turn and a stop, has to be caught up with, during
//! which everything is remembered for longer.

use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

use crate::clock::Time;

const DAY: &str = "day";

/// The day as it was turned last.
fn last(conn: &Connection) -> rusqlite::Result<Option<Time>> {
    conn.prepare_cached("SELECT since FROM fact WHERE name = ?1")?
        .query_row([DAY], |row| row.get(0).map(Time::from_millis))
        .optional()
}

/// What a token is stamped with that is seen now.
pub(super) fn today(conn: &Connection, now: Time) -> rusqlite::Result<Time> {
    Ok(last(conn)?.unwrap_or(now))
}

/// Turns the day, by as much as has `passed` since it was turned, or since the program was started. The first turn of a
/// store begins where its newest token was seen.
pub(super) fn turn(tx: &Connection, now: Time, passed: Duration) -> rusqlite::Result<Time> {
    let before = match last(tx)? {
        Some(before) => before,
        // Of an earlier version's stamps one may lie in the future.
        None => newest_stamp(tx)?.map_or(now, |newest| newest.min(now)),
    };
    let day = now.min(before.plus(passed.saturating_mul(2))).max(before);
    tx.prepare_cached(
        "INSERT INTO fact (name, since) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET since = ?2",
    )?
    .execute(params![DAY, day.as_millis()])?;
    Ok(day)
}

fn newest_stamp(conn: &Connection) -> rusqlite::Result<Option<Time>> {
    conn.query_row("SELECT max(first_seen_at) FROM refresh_token", [], |row| row.get::<_, Option<i64>>(0))
        .map(|newest| newest.map(Time::from_millis))
}
