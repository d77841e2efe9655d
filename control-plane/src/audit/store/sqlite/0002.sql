-- Who was erased keeps a row without a name, so that a name which comes later is not kept.
ALTER TABLE persons ADD COLUMN erasure BLOB;
ALTER TABLE persons ADD COLUMN reference TEXT;
ALTER TABLE persons ADD COLUMN unsealed INTEGER NOT NULL DEFAULT 0;

-- Instances that have said that they have erased somebody too.
CREATE TABLE erased_by (
  instance_no INTEGER NOT NULL REFERENCES instances (no),
  pseudonym BLOB NOT NULL,
  erased_us INTEGER NOT NULL,
  PRIMARY KEY (instance_no, pseudonym)
) STRICT, WITHOUT ROWID;
