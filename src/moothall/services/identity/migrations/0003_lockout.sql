-- Guesses of passwords, budgets that survive a restart; and codes for forgotten passwords.

-- Counts changes of the password, but not a hash renewed at sign-in: whoever proved the old
-- password while it was changed must not be let in.
ALTER TABLE identity_member ADD COLUMN password_version INTEGER NOT NULL DEFAULT 1;

-- Guesses since the last success; no row is none. A series ends with a success or a lock.
CREATE TABLE identity_lockout (
  member_id TEXT NOT NULL PRIMARY KEY REFERENCES identity_member (member_id),
  series TEXT NOT NULL,
  guesses INTEGER NOT NULL,
  guessed_at_ms INTEGER NOT NULL,
  locked_until_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- The same for names that nobody has. They are digests under a key outside the database,
-- because people type passwords into name fields.
CREATE TABLE identity_unknown_name (
  name_digest TEXT NOT NULL PRIMARY KEY,
  series TEXT NOT NULL,
  guesses INTEGER NOT NULL,
  guessed_at_ms INTEGER NOT NULL,
  locked_until_ms INTEGER NOT NULL
) WITHOUT ROWID;
-- In the order in which they make room for others.
CREATE INDEX identity_unknown_name_lock
  ON identity_unknown_name (locked_until_ms, guessed_at_ms);

-- How many there are; changed with them, because counting all at each guess takes too long.
CREATE TABLE identity_unknown_name_count (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  names INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO identity_unknown_name_count (id, names) VALUES (1, 0);

-- One code of each kind per member: 'sent' to a contact, or 'issued' by an administrator. The
-- code is no column: it is computed from the row and a key outside the database.
CREATE TABLE identity_recovery (
  member_id TEXT NOT NULL REFERENCES identity_member (member_id),
  kind TEXT NOT NULL,
  selector TEXT NOT NULL,
  nonce TEXT NOT NULL,
  made_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  guesses INTEGER NOT NULL,
  -- Of the administrator who hands it over, or empty.
  issued_by TEXT NOT NULL,
  -- Where it is sent, or empty, and how often that may still be tried.
  address_key TEXT NOT NULL,
  sends_left INTEGER NOT NULL,
  PRIMARY KEY (member_id, kind)
) WITHOUT ROWID;
CREATE INDEX identity_recovery_unsent ON identity_recovery (made_at_ms) WHERE sends_left > 0;
CREATE INDEX identity_recovery_expiry ON identity_recovery (expires_at_ms);
