-- A consent that a person is sent to give: what its address carries, and what became of the code that came back. Its row
-- is durable before the last byte of the request leaves that presents the code.
CREATE TABLE consent (
    consent_id      INTEGER PRIMARY KEY,
    oa_id           TEXT NOT NULL,
    app_id          TEXT NOT NULL,
    state_digest    BLOB NOT NULL UNIQUE,   -- SHA-256 of the state, which is kept nowhere
    verifier        TEXT,                   -- PKCE's, as secret as a token; NULL once it is of no use
    redirect_uri    TEXT NOT NULL,
    phase           TEXT NOT NULL CHECK (phase IN ('open', 'presenting', 'answered', 'closed')),
    made_at         INTEGER NOT NULL,       -- Unix ms, with a second witness below
    made_uptime     INTEGER,
    made_boot       TEXT,
    attempt_id      BLOB UNIQUE,            -- the request that presented its code
    code_digest     BLOB UNIQUE,            -- SHA-256 of the code: each is presented once
    presented_at    INTEGER,
    obtained_at     INTEGER,                -- when the set that came counts as obtained
    obtained_uptime INTEGER,
    obtained_boot   TEXT,
    grant_before    INTEGER,                -- the OA's granted_at when the answer came: whoever moves it came later
    answer          BLOB,                   -- as secret as a token; kept until a set of this OA is adopted
    concluded_at    INTEGER,
    outcome         TEXT,
    detail          TEXT,
    generation      INTEGER                 -- of the set that was adopted
) STRICT;
CREATE INDEX consent_of_oa ON consent (oa_id, consent_id);
CREATE INDEX consent_concluded ON consent (concluded_at) WHERE phase = 'closed';
CREATE INDEX consent_answered ON consent (consent_id) WHERE phase = 'answered';
-- At most one code of an OA is being presented, even if code is wrong.
CREATE UNIQUE INDEX consent_presenting ON consent (oa_id) WHERE phase = 'presenting';

-- What our own links are signed with.
CREATE TABLE signing_key (
    name TEXT PRIMARY KEY,
    key  BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO signing_key (name, key) VALUES ('link', randomblob(32));
