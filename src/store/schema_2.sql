-- The window and the brake of each app; see rotation::window.
ALTER TABLE app ADD COLUMN window_size         INTEGER NOT NULL DEFAULT 2;
ALTER TABLE app ADD COLUMN strikes             INTEGER NOT NULL DEFAULT 0;
ALTER TABLE app ADD COLUMN window_moved_at     INTEGER;
ALTER TABLE app ADD COLUMN braked_since        INTEGER;    -- NULL: it is not braked
ALTER TABLE app ADD COLUMN failed_trials       INTEGER NOT NULL DEFAULT 0;
ALTER TABLE app ADD COLUMN brake_wait_until    INTEGER;
ALTER TABLE app ADD COLUMN brake_hold_until    INTEGER;
ALTER TABLE app ADD COLUMN brake_decided_at    INTEGER;
CREATE INDEX app_held ON app (app_id) WHERE refused_since IS NOT NULL OR braked_since IS NOT NULL;

-- What an app has under way.
CREATE INDEX attempt_presenting ON attempt (app_id) WHERE phase = 'presenting';

-- A plan has a second witness: the uptime at which it falls due, in the boot in which it was made.
ALTER TABLE oa ADD COLUMN planned_boot         TEXT;
ALTER TABLE oa ADD COLUMN planned_uptime       INTEGER;
ALTER TABLE oa ADD COLUMN next_action_uptime   INTEGER;
CREATE INDEX oa_due_by_uptime ON oa (planned_boot, next_action_uptime, app_id) WHERE next_action_at IS NOT NULL;

-- When a person last granted consent, and when that grant ends if renewals do not move its end.
ALTER TABLE oa ADD COLUMN granted_at           INTEGER;
ALTER TABLE oa ADD COLUMN granted_until        INTEGER;
ALTER TABLE oa ADD COLUMN grant_doubt_said     INTEGER NOT NULL DEFAULT 0;
UPDATE oa SET granted_at = obtained_at, granted_until = refresh_token_expires_at;

-- What was once seen to be so, and stays so.
CREATE TABLE fact (
    name  TEXT PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- With the app, so that the OAs of an app that is held back are passed over without a look at their rows.
DROP INDEX oa_due;
CREATE INDEX oa_due ON oa (next_action_at, app_id) WHERE next_action_at IS NOT NULL;
DROP INDEX oa_planned;
CREATE INDEX oa_planned ON oa (planned_at, app_id, planned_boot) WHERE next_action_at IS NOT NULL;
