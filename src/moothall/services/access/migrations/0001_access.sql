-- Roles made by administrators, bindings, the one claim of a fresh hall, the audit trail.

CREATE TABLE access_role (
  name TEXT NOT NULL PRIMARY KEY,
  permissions TEXT NOT NULL,
  summary TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE access_binding (
  subject TEXT NOT NULL,
  path TEXT NOT NULL,
  role TEXT NOT NULL,
  granted_by TEXT NOT NULL,
  granted_at_ms INTEGER NOT NULL,
  PRIMARY KEY (subject, path, role)
) WITHOUT ROWID;

CREATE TABLE access_claim (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  secret_digest TEXT NOT NULL,
  made_at_ms INTEGER NOT NULL,
  claimed_by TEXT,
  claimed_at_ms INTEGER
);

-- AUTOINCREMENT, because the number of a row must never be given out twice.
CREATE TABLE access_audit (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  path TEXT NOT NULL,
  outcome TEXT NOT NULL,
  source TEXT NOT NULL,
  request_id TEXT NOT NULL
);
