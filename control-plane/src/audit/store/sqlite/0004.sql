-- How far what is fed from here has come in the order of arrival.
CREATE TABLE sinks (
  name TEXT PRIMARY KEY,
  position INTEGER NOT NULL,
  -- Where the batch ends that is on its way.
  planned INTEGER,
  delivered_us INTEGER,
  problem TEXT,
  problem_us INTEGER
) STRICT, WITHOUT ROWID;
