-- What people filter and count by, apart from the bytes: counting reads a hundred bytes a record, not two thousand.
CREATE TABLE facts (
  record INTEGER PRIMARY KEY REFERENCES new_records (id) ON DELETE CASCADE,
  run_no INTEGER NOT NULL REFERENCES runs (no),
  time_us INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  request BLOB,
  verdict INTEGER,
  ending INTEGER,
  status INTEGER,
  model TEXT,
  target TEXT,
  target_model TEXT,
  roles TEXT,
  team TEXT,
  cost_centre TEXT,
  subject BLOB,
  input_tokens INTEGER,
  output_tokens INTEGER,
  micro_usd INTEGER,
  unpriced INTEGER NOT NULL
) STRICT;

-- The exact bytes. `id` is the order of arrival.
CREATE TABLE new_records (
  id INTEGER PRIMARY KEY,
  run_no INTEGER NOT NULL REFERENCES runs (no),
  sequence INTEGER NOT NULL,
  time_us INTEGER NOT NULL,
  stored_us INTEGER NOT NULL,
  previous BLOB NOT NULL,
  hash BLOB NOT NULL,
  payload BLOB NOT NULL,
  UNIQUE (run_no, sequence)
) STRICT;

-- What policies did, by time: what a request has stands together.
CREATE TABLE new_deeds (
  time_us INTEGER NOT NULL,
  record INTEGER NOT NULL REFERENCES facts (record) ON DELETE CASCADE,
  policy TEXT NOT NULL,
  rule TEXT NOT NULL,
  what INTEGER NOT NULL,
  PRIMARY KEY (time_us, record, policy, rule, what)
) STRICT, WITHOUT ROWID;

INSERT INTO new_records SELECT id, run_no, sequence, time_us, stored_us, previous, hash, payload FROM records;
INSERT INTO facts
  SELECT id, run_no, time_us, kind, request, verdict, ending, status, model, target, target_model, roles, team, cost_centre,
    subject, input_tokens, output_tokens, micro_usd, unpriced
  FROM records WHERE kind IS NOT NULL;
INSERT OR IGNORE INTO new_deeds SELECT time_us, record, policy, rule, what FROM deeds;
DROP TABLE deeds;
DROP TABLE records;
ALTER TABLE new_records RENAME TO records;
ALTER TABLE new_deeds RENAME TO deeds;

CREATE INDEX facts_request ON facts (request) WHERE request IS NOT NULL;
CREATE INDEX facts_closed ON facts (time_us) WHERE kind = 2;
CREATE INDEX facts_subject ON facts (subject) WHERE subject IS NOT NULL;
CREATE INDEX deeds_record ON deeds (record);
