-- The vendors that refuse their key: all their OAs wait.
CREATE TABLE vendor (
    vendor_id     TEXT PRIMARY KEY,
    refused_since INTEGER NOT NULL,
    trial_at      INTEGER NOT NULL          -- when one OA may try again
) STRICT;

-- One row an OA that a vendor holds: its course, as vendor::course has it. No token is in here.
CREATE TABLE vendor_oa (
    oa_id           TEXT PRIMARY KEY,
    vendor_id       TEXT NOT NULL,
    is_managed      INTEGER NOT NULL,       -- 0: not in the config any more
    name            TEXT,
    written_at      INTEGER,                -- when consent was given, as the config had it last
    authorized_at   INTEGER,                -- when it was given last; NULL: nobody knows
    ends_at         INTEGER,
    is_end_told     INTEGER NOT NULL DEFAULT 0,
    outdated_end    INTEGER,                -- told before a person said that consent was given
    due_at          INTEGER,
    is_disconnected INTEGER NOT NULL DEFAULT 0,
    link            TEXT,
    link_since      INTEGER,
    needed_since    INTEGER,
    trouble         TEXT CHECK (trouble IN ('failing', 'nothing', 'misconfigured')),
    failures        INTEGER NOT NULL DEFAULT 0,
    polls           INTEGER NOT NULL DEFAULT 0,
    look_failures   INTEGER NOT NULL DEFAULT 0,
    last_error      TEXT,
    ask_at          INTEGER,                -- when a link is asked for; NULL: a person is next
    poll_at         INTEGER,                -- when it is asked how the OA stands; NULL: the vendor does not say
    planned_at      INTEGER NOT NULL,       -- when that was decided, with a second witness
    planned_uptime  INTEGER,
    planned_boot    TEXT,
    reminded_step   INTEGER                 -- seconds: the reminder that was said last for this end
) STRICT;
CREATE INDEX vendor_oa_ask ON vendor_oa (ask_at, vendor_id) WHERE is_managed = 1 AND ask_at IS NOT NULL;
CREATE INDEX vendor_oa_poll ON vendor_oa (poll_at, vendor_id) WHERE is_managed = 1 AND poll_at IS NOT NULL;
CREATE INDEX vendor_oa_planned ON vendor_oa (planned_at, vendor_id) WHERE is_managed = 1;
