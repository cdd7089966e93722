-- Seals over the audit trail; see rules/chain.py. `after_number` is the key, so that two
-- processes cannot both seal what follows one row.
CREATE TABLE access_seal (
  after_number INTEGER PRIMARY KEY,
  last_number INTEGER NOT NULL,
  row_count INTEGER NOT NULL,
  latest_at_ms INTEGER NOT NULL,
  sealed_at_ms INTEGER NOT NULL,
  chain BLOB NOT NULL,
  tags BLOB NOT NULL,
  mac BLOB NOT NULL
);

-- Finds rows by time. It costs a second's rows what an index of their own would cost each one.
CREATE INDEX access_seal_latest ON access_seal (latest_at_ms, after_number);

-- How many signed heads were written outside the database, so that their loss is noticed.
CREATE TABLE access_head (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  head_count INTEGER NOT NULL,
  number INTEGER NOT NULL,
  at_ms INTEGER NOT NULL
);
