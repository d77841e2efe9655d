-- The order of arrival. Whoever adds records holds this row until the commit: one transaction after the other, on
-- whichever replica, so that places become visible in their order and marks are moved by one at a time.
CREATE TABLE arrival (
  sole boolean PRIMARY KEY DEFAULT true CHECK (sole),
  last bigint NOT NULL
);
INSERT INTO arrival (last) VALUES (0);

-- Whose keys countersign and join pseudonyms: the first replica's. Those of the others must be the same.
CREATE TABLE keepers (
  sole boolean PRIMARY KEY DEFAULT true CHECK (sole),
  witness bytea NOT NULL,
  persons bytea NOT NULL
);

CREATE TABLE instances (
  no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  instance uuid NOT NULL UNIQUE,
  fleet text NOT NULL,
  gateway text NOT NULL,
  name text NOT NULL,
  first_seen_us bigint NOT NULL,
  last_stored_us bigint NOT NULL,
  records bigint NOT NULL DEFAULT 0,
  countersigned_epoch bytea,
  countersigned_sequence bigint,
  countersigned_hash bytea
) WITH (fillfactor = 50);

CREATE TABLE keys (
  instance_no bigint NOT NULL REFERENCES instances (no),
  key bytea NOT NULL,
  seen_us bigint NOT NULL,
  PRIMARY KEY (instance_no, key)
);

-- The mark: how far a run has come.
CREATE TABLE runs (
  no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  instance_no bigint NOT NULL REFERENCES instances (no),
  epoch bytea NOT NULL,
  ordinal bigint NOT NULL,
  sequence bigint NOT NULL,
  hash bytea NOT NULL,
  -- What the record before has asked for, for one that asks for nothing.
  keep_days bigint NOT NULL,
  keep_immutable boolean NOT NULL,
  UNIQUE (instance_no, epoch)
) WITH (fillfactor = 50);

-- The exact bytes. `id` is the order of arrival. One partition for each day of arrival, UTC. That a run has each number
-- once is held by `arrival` and the mark; an index over all days can't be.
CREATE TABLE records (
  id bigint NOT NULL,
  run_no bigint NOT NULL,
  sequence bigint NOT NULL,
  time_us bigint NOT NULL,
  stored_us bigint NOT NULL,
  previous bytea NOT NULL,
  hash bytea NOT NULL,
  payload bytea NOT NULL,
  -- Until when it is kept at least, and what it was written under: retention.
  keep_until_us bigint NOT NULL,
  keep_days bigint NOT NULL,
  keep_immutable boolean NOT NULL
) PARTITION BY RANGE (stored_us);
CREATE INDEX records_id ON records (id);
CREATE INDEX records_run ON records (run_no, sequence);
CREATE INDEX records_keep ON records (keep_until_us);

-- What people filter and count by, apart from the bytes: counting reads a hundred bytes a record, not two thousand.
CREATE TABLE facts (
  record bigint NOT NULL,
  stored_us bigint NOT NULL,
  run_no bigint NOT NULL,
  time_us bigint NOT NULL,
  kind integer NOT NULL,
  request uuid,
  verdict integer,
  ending integer,
  status integer,
  model text,
  target text,
  target_model text,
  roles text,
  team text,
  cost_centre text,
  subject bytea,
  input_tokens bigint,
  output_tokens bigint,
  micro_usd bigint,
  unpriced boolean NOT NULL
) PARTITION BY RANGE (stored_us);
CREATE INDEX facts_record ON facts (record);
CREATE INDEX facts_request ON facts (request) WHERE request IS NOT NULL;
CREATE INDEX facts_closed ON facts (time_us) WHERE kind = 2;
CREATE INDEX facts_blocked ON facts (time_us) WHERE kind = 2 AND verdict = 3;
CREATE INDEX facts_subject ON facts (subject) WHERE subject IS NOT NULL;

-- What policies did, by time.
CREATE TABLE deeds (
  record bigint NOT NULL,
  stored_us bigint NOT NULL,
  time_us bigint NOT NULL,
  what integer NOT NULL,
  policy text NOT NULL,
  rule text NOT NULL
) PARTITION BY RANGE (stored_us);
CREATE INDEX deeds_time ON deeds (time_us);
CREATE INDEX deeds_record ON deeds (record);

CREATE TABLE notes (
  instance_no bigint NOT NULL REFERENCES instances (no),
  noted_us bigint NOT NULL,
  trouble text NOT NULL,
  epoch bytea NOT NULL,
  first bigint NOT NULL,
  last bigint NOT NULL,
  PRIMARY KEY (instance_no, trouble, epoch, first, last)
);

-- Records under numbers that have other records.
CREATE TABLE quarantine (
  instance_no bigint NOT NULL REFERENCES instances (no),
  epoch bytea NOT NULL,
  sequence bigint NOT NULL,
  hash bytea NOT NULL,
  time_us bigint NOT NULL,
  previous bytea NOT NULL,
  payload bytea NOT NULL,
  stored_us bigint NOT NULL,
  PRIMARY KEY (instance_no, epoch, sequence, hash)
);

-- What retention has taken out, and the control plane's word for it.
CREATE TABLE cuts (
  run_no bigint NOT NULL REFERENCES runs (no),
  first bigint NOT NULL,
  last bigint NOT NULL,
  before bytea NOT NULL,
  last_hash bytea NOT NULL,
  records bigint NOT NULL,
  newest_us bigint NOT NULL,
  keep_days bigint NOT NULL,
  keep_immutable boolean NOT NULL,
  cut_us bigint NOT NULL,
  key bytea NOT NULL,
  signature bytea NOT NULL,
  PRIMARY KEY (run_no, first, cut_us)
);

CREATE TABLE holds (
  id uuid PRIMARY KEY,
  person bytea,
  subject bytea,
  fleet text,
  from_us bigint,
  to_us bigint
);

-- Persons: who is behind pseudonyms. Who was erased keeps a row, so that a name which comes later is not kept.
CREATE TABLE persons (
  person bytea PRIMARY KEY,
  erased_us bigint,
  erasure uuid,
  reference text,
  unsealed bigint NOT NULL DEFAULT 0
);
-- Their names, sealed, and what opens them: apart, since an erasure writes all of this table anew.
CREATE TABLE names (
  person bytea PRIMARY KEY,
  sealed text NOT NULL,
  key text NOT NULL
);
CREATE TABLE pseudonyms (
  pseudonym bytea NOT NULL,
  pseudonym_key bytea NOT NULL,
  instance_no bigint NOT NULL REFERENCES instances (no),
  person bytea NOT NULL REFERENCES persons (person),
  seen_us bigint NOT NULL,
  PRIMARY KEY (pseudonym, pseudonym_key, instance_no)
);
CREATE INDEX pseudonyms_person ON pseudonyms (person);

-- Instances that have said that they have erased somebody too.
CREATE TABLE erased_by (
  instance_no bigint NOT NULL REFERENCES instances (no),
  pseudonym bytea NOT NULL,
  erased_us bigint NOT NULL,
  PRIMARY KEY (instance_no, pseudonym)
);
