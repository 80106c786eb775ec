-- Some OAs are managed by a program over the API, and not by the config.
ALTER TABLE oa ADD COLUMN by_program           INTEGER NOT NULL DEFAULT 0;
CREATE INDEX oa_by_program ON oa (oa_id) WHERE by_program = 1;
