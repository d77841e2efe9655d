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
  -- Until when it is kept at least, and what it was written under: retention.
  keep_until_us INTEGER NOT NULL,
  keep_days INTEGER NOT NULL,
  keep_immutable INTEGER NOT NULL,
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

-- A record that asks for nothing is kept like the longest of its run.
INSERT INTO new_records
  WITH asked AS (
    SELECT id, json_extract(CAST(payload AS TEXT), '$.request.retention.days') AS days,
      json_extract(CAST(payload AS TEXT), '$.request.retention.immutable') AS immutable
    FROM records WHERE kind IN (1, 2)
  ), longest AS (
    SELECT r.run_no, max(a.days) AS days, max(a.immutable) AS immutable FROM asked a JOIN records r ON r.id = a.id GROUP BY r.run_no
  )
  SELECT r.id, r.run_no, r.sequence, r.time_us, r.stored_us, r.previous, r.hash, r.payload,
    r.time_us + coalesce(a.days, l.days, 365) * 86400000000, coalesce(a.days, l.days, 365), coalesce(a.immutable, l.immutable, 0)
  FROM records r LEFT JOIN asked a ON a.id = r.id LEFT JOIN longest l ON l.run_no = r.run_no;
INSERT INTO facts
  SELECT id, run_no, time_us, kind, request, verdict, ending, status, model, target, target_model, roles, team, cost_centre,
    subject, input_tokens, output_tokens, micro_usd, unpriced
  FROM records WHERE kind IS NOT NULL;
INSERT OR IGNORE INTO new_deeds SELECT time_us, record, policy, rule, what FROM deeds;
DROP TABLE deeds;
DROP TABLE records;
ALTER TABLE new_records RENAME TO records;
ALTER TABLE new_deeds RENAME TO deeds;

-- What the record before has asked for, for one that asks for nothing.
ALTER TABLE runs ADD COLUMN keep_days INTEGER NOT NULL DEFAULT 365;
ALTER TABLE runs ADD COLUMN keep_immutable INTEGER NOT NULL DEFAULT 0;

-- What retention has taken out, and the control plane's word for it.
CREATE TABLE cuts (
  run_no INTEGER NOT NULL REFERENCES runs (no),
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  before BLOB NOT NULL,
  last_hash BLOB NOT NULL,
  records INTEGER NOT NULL,
  newest_us INTEGER NOT NULL,
  keep_days INTEGER NOT NULL,
  keep_immutable INTEGER NOT NULL,
  cut_us INTEGER NOT NULL,
  key BLOB NOT NULL,
  signature BLOB NOT NULL,
  PRIMARY KEY (run_no, first, cut_us)
) STRICT, WITHOUT ROWID;

CREATE TABLE holds (
  id BLOB PRIMARY KEY,
  person BLOB,
  subject BLOB,
  fleet TEXT,
  from_us INTEGER,
  to_us INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX records_keep ON records (keep_until_us);
CREATE INDEX facts_request ON facts (request) WHERE request IS NOT NULL;
CREATE INDEX facts_closed ON facts (time_us) WHERE kind = 2;
CREATE INDEX facts_subject ON facts (subject) WHERE subject IS NOT NULL;
CREATE INDEX deeds_record ON deeds (record);
