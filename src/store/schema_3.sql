-- Some OAs are managed by a program over the API, and not by the config.
ALTER TABLE oa ADD COLUMN by_program           INTEGER NOT NULL DEFAULT 0;
CREATE INDEX oa_by_program ON oa (oa_id) WHERE by_program = 1;

-- The files that tokens were published into: noted before each is made, so that it is found again to be removed.
CREATE TABLE published (
    path  TEXT PRIMARY KEY,
    oa_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The webhooks that are told of events, by the SHA-256 of their URLs.
CREATE TABLE webhook (
    webhook BLOB PRIMARY KEY,
    since   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a webhook was told of each OA last, or is about to be by the outbox.
CREATE TABLE told (
    webhook    BLOB NOT NULL,
    oa_id      TEXT NOT NULL,
    generation INTEGER NOT NULL,
    reason     TEXT NOT NULL DEFAULT '',    -- why a person was called; empty: none is needed
    PRIMARY KEY (webhook, oa_id)
) STRICT, WITHOUT ROWID;

-- What webhooks are still to be told. Of each OA one waits at the head; those behind it have no time.
CREATE TABLE outbox (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook   BLOB NOT NULL,
    oa_id     TEXT NOT NULL,                -- empty: it is about none
    delivery  TEXT NOT NULL,
    body      TEXT NOT NULL,
    queued_at INTEGER NOT NULL,
    tries     INTEGER NOT NULL DEFAULT 0,
    next_at   INTEGER
) STRICT;
CREATE INDEX outbox_of ON outbox (webhook, oa_id, seq);
CREATE INDEX outbox_due ON outbox (webhook, next_at) WHERE next_at IS NOT NULL;
