-- Accounts, sessions, and the keys that sign tokens (sealed by a key outside the database).

CREATE TABLE identity_member (
  member_id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  name_key TEXT NOT NULL UNIQUE,
  password_hash TEXT,
  created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- The refresh token is no column: it is computed from session, generation and the key file.
CREATE TABLE identity_session (
  session_id TEXT NOT NULL PRIMARY KEY,
  member_id TEXT NOT NULL REFERENCES identity_member (member_id),
  generation INTEGER NOT NULL,
  opened_at_ms INTEGER NOT NULL,
  rotated_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER,
  source TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX identity_session_ended ON identity_session (ended_at_ms)
  WHERE ended_at_ms IS NOT NULL;
CREATE INDEX identity_session_member ON identity_session (member_id);

CREATE TABLE identity_key (
  kid TEXT NOT NULL PRIMARY KEY,
  sealed_hex TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  retired_at_ms INTEGER
) WITHOUT ROWID;
