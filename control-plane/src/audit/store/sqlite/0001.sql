CREATE TABLE instances (
  no INTEGER PRIMARY KEY,
  instance BLOB NOT NULL UNIQUE,
  fleet TEXT NOT NULL,
  gateway TEXT NOT NULL,
  name TEXT NOT NULL,
  first_seen_us INTEGER NOT NULL,
  last_stored_us INTEGER NOT NULL,
  records INTEGER NOT NULL DEFAULT 0,
  countersigned_epoch BLOB,
  countersigned_sequence INTEGER,
  countersigned_hash BLOB
) STRICT;

CREATE TABLE keys (
  instance_no INTEGER NOT NULL REFERENCES instances (no),
  key BLOB NOT NULL,
  seen_us INTEGER NOT NULL,
  PRIMARY KEY (instance_no, key)
) STRICT, WITHOUT ROWID;

-- The mark: how far a run has come.
CREATE TABLE runs (
  no INTEGER PRIMARY KEY,
  instance_no INTEGER NOT NULL REFERENCES instances (no),
  epoch BLOB NOT NULL,
  ordinal INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  hash BLOB NOT NULL,
  UNIQUE (instance_no, epoch)
) STRICT;

-- The exact bytes, and the columns that people filter by. `id` is the order of arrival.
CREATE TABLE records (
  id INTEGER PRIMARY KEY,
  run_no INTEGER NOT NULL REFERENCES runs (no),
  sequence INTEGER NOT NULL,
  time_us INTEGER NOT NULL,
  stored_us INTEGER NOT NULL,
  previous BLOB NOT NULL,
  hash BLOB NOT NULL,
  payload BLOB NOT NULL,
  kind INTEGER,
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
  unpriced INTEGER NOT NULL DEFAULT 0,
  UNIQUE (run_no, sequence)
) STRICT;
CREATE INDEX records_request ON records (request) WHERE request IS NOT NULL;
CREATE INDEX records_closed ON records (time_us) WHERE kind = 2;
CREATE INDEX records_subject ON records (subject) WHERE subject IS NOT NULL;

-- What policies did, by time: counting blocks by policy reads this alone.
CREATE TABLE deeds (
  record INTEGER NOT NULL REFERENCES records (id),
  time_us INTEGER NOT NULL,
  what INTEGER NOT NULL,
  policy TEXT NOT NULL,
  rule TEXT NOT NULL
) STRICT;
CREATE INDEX deeds_time ON deeds (what, time_us, policy, rule, record);
CREATE INDEX deeds_record ON deeds (record);

CREATE TABLE notes (
  instance_no INTEGER NOT NULL REFERENCES instances (no),
  noted_us INTEGER NOT NULL,
  trouble TEXT NOT NULL,
  epoch BLOB NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  PRIMARY KEY (instance_no, trouble, epoch, first, last)
) STRICT, WITHOUT ROWID;

-- Records under numbers that have other records.
CREATE TABLE quarantine (
  instance_no INTEGER NOT NULL REFERENCES instances (no),
  epoch BLOB NOT NULL,
  sequence INTEGER NOT NULL,
  hash BLOB NOT NULL,
  time_us INTEGER NOT NULL,
  previous BLOB NOT NULL,
  payload BLOB NOT NULL,
  stored_us INTEGER NOT NULL,
  PRIMARY KEY (instance_no, epoch, sequence, hash)
) STRICT;

-- Persons: who is behind pseudonyms. A name is sealed before it comes here; without its key it can't be read.
CREATE TABLE persons (
  person BLOB PRIMARY KEY,
  sealed TEXT NOT NULL,
  erased_us INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE person_keys (
  person BLOB PRIMARY KEY REFERENCES persons (person),
  key TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE pseudonyms (
  pseudonym BLOB NOT NULL,
  pseudonym_key BLOB NOT NULL,
  instance_no INTEGER NOT NULL REFERENCES instances (no),
  person BLOB NOT NULL REFERENCES persons (person),
  seen_us INTEGER NOT NULL,
  PRIMARY KEY (pseudonym, pseudonym_key, instance_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX pseudonyms_person ON pseudonyms (person);
