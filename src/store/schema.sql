-- What the config manages and what Zalo said of an app.
CREATE TABLE app (
    app_id              TEXT PRIMARY KEY,
    refused_since       INTEGER,            -- Unix ms; NULL: its credentials are not refused
    trial_at            INTEGER,            -- when one OA may try again
    premise             TEXT NOT NULL DEFAULT 'unmeasured'
                        CHECK (premise IN ('unmeasured', 'dies', 'outlives')),
    premise_measured_at INTEGER
) STRICT;

-- One row an OA: its token set, how it stands, what is next. The store is the only schedule.
CREATE TABLE oa (
    oa_id                    TEXT PRIMARY KEY,
    app_id                   TEXT,          -- the config's; NULL: not in the config
    name                     TEXT,
    generation               INTEGER NOT NULL DEFAULT 0,
    set_app_id               TEXT,          -- the app that the set was granted to
    access_token             TEXT,
    refresh_token            TEXT,
    refresh_token_digest     BLOB,          -- its SHA-256: what the journal knows it by
    obtained_at              INTEGER,
    obtained_uptime          INTEGER,       -- ms since boot, with the name of that boot: a second witness
    obtained_boot            TEXT,
    access_token_expires_at  INTEGER,
    refresh_token_expires_at INTEGER,
    state                    TEXT NOT NULL DEFAULT 'awaiting_grant' CHECK (state IN
                             ('awaiting_grant', 'scheduled', 'retrying', 'uncertain', 'reauthorization_required')),
    reason                   TEXT,
    next_action_at           INTEGER,       -- NULL: a person is next
    planned_at               INTEGER,       -- when that was decided
    failures                 INTEGER NOT NULL DEFAULT 0,
    slow_tries               INTEGER NOT NULL DEFAULT 0,
    last_error               TEXT,
    last_refresh_at          INTEGER,
    reminded_step            INTEGER,       -- seconds: the reminder that was said last for this set
    expiry_said              INTEGER NOT NULL DEFAULT 0,
    import_unsaid            INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX oa_due ON oa (next_action_at) WHERE next_action_at IS NOT NULL;
CREATE INDEX oa_of_app ON oa (app_id, next_action_at);
CREATE INDEX oa_planned ON oa (planned_at) WHERE next_action_at IS NOT NULL;
CREATE INDEX oa_uncertain ON oa (oa_id) WHERE state = 'uncertain';
CREATE INDEX oa_expiry ON oa (access_token_expires_at) WHERE expiry_said = 0;
CREATE INDEX oa_import ON oa (oa_id) WHERE import_unsaid = 1;

-- The journal: one row an attempt. Its row is durable before the last byte of its request leaves.
CREATE TABLE attempt (
    seq          INTEGER PRIMARY KEY,
    attempt_id   BLOB NOT NULL UNIQUE,
    oa_id        TEXT NOT NULL,
    app_id       TEXT NOT NULL,
    generation   INTEGER NOT NULL,          -- of the set that was presented
    token_digest BLOB NOT NULL,             -- SHA-256 of the refresh token that was presented
    phase        TEXT NOT NULL CHECK (phase IN ('presenting', 'uncertain', 'closed')),
    started_at   INTEGER NOT NULL,
    presented_at INTEGER,
    concluded_at INTEGER,
    class        TEXT,
    detail       TEXT,
    code         INTEGER,
    status       INTEGER,
    answer       BLOB                       -- as secret as a token; kept until the next set is adopted
) STRICT;
-- At most one request an OA is under way, even if code is wrong.
CREATE UNIQUE INDEX attempt_open ON attempt (oa_id) WHERE phase <> 'closed';
CREATE INDEX attempt_of_oa ON attempt (oa_id, seq);
CREATE INDEX attempt_concluded ON attempt (concluded_at) WHERE phase = 'closed';
CREATE INDEX attempt_with_answer ON attempt (oa_id) WHERE answer IS NOT NULL;

-- Why a token that was presented may be presented again. Used up by one presentation.
CREATE TABLE proof (
    attempt_id BLOB PRIMARY KEY,
    kind       TEXT NOT NULL,
    made_at    INTEGER NOT NULL,
    used_by    BLOB
) STRICT;

-- Every refresh token that was ever held, by its SHA-256: one set has one owner.
CREATE TABLE refresh_token (
    digest        BLOB PRIMARY KEY,
    oa_id         TEXT NOT NULL,
    first_seen_at INTEGER NOT NULL,
    presented_by  BLOB,                     -- the last attempt that presented it
    presented_at  INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_token_age ON refresh_token (first_seen_at);

-- Answers whose attempt nobody knows: the store was replaced by an older copy. Kept for a person.
CREATE TABLE orphan_answer (
    attempt_id  BLOB PRIMARY KEY,
    received_at INTEGER NOT NULL,
    answer      BLOB NOT NULL
) STRICT;

-- Written and erased again to see whether the disk takes writes.
CREATE TABLE exercise (id INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT;
