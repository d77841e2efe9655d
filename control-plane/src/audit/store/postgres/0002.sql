-- How far what is fed from here has come in the order of arrival, and which replica feeds it.
CREATE TABLE sinks (
  name text PRIMARY KEY,
  position bigint NOT NULL,
  -- Where the batch ends that is on its way.
  planned bigint,
  delivered_us bigint,
  problem text,
  problem_us bigint,
  owner text NOT NULL,
  leased_until timestamptz NOT NULL
) WITH (fillfactor = 50);
