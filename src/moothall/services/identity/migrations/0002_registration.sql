-- How accounts come to be: names that cannot be mistaken, invitations, verified contacts, guests.

-- What the name looks like (Unicode TS 39). NULL until the next start for accounts that are
-- older than this column, and for ever where two of them looked alike already.
ALTER TABLE identity_member ADD COLUMN skeleton TEXT;
CREATE UNIQUE INDEX identity_member_skeleton ON identity_member (skeleton);
ALTER TABLE identity_member ADD COLUMN is_guest INTEGER NOT NULL DEFAULT 0;

-- Names that somebody gave up and that nobody else may have yet.
CREATE TABLE identity_name_hold (
  name_key TEXT NOT NULL PRIMARY KEY,
  skeleton TEXT NOT NULL,
  member_id TEXT NOT NULL REFERENCES identity_member (member_id),
  until_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX identity_name_hold_skeleton ON identity_name_hold (skeleton);
CREATE INDEX identity_name_hold_member ON identity_name_hold (member_id);
CREATE INDEX identity_name_hold_until ON identity_name_hold (until_ms);

-- What was used of a budget in one hour (since 1970); the empty source is the whole hall.
CREATE TABLE identity_budget (
  hour INTEGER NOT NULL,
  kind TEXT NOT NULL,
  source TEXT NOT NULL,
  used INTEGER NOT NULL,
  PRIMARY KEY (hour, kind, source)
) WITHOUT ROWID;

-- The code itself is shown once and rests nowhere.
CREATE TABLE identity_invitation (
  invitation_id TEXT NOT NULL PRIMARY KEY,
  digest TEXT NOT NULL UNIQUE,
  invited_by TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  uses_max INTEGER NOT NULL,
  uses_left INTEGER NOT NULL,
  revoked_at_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX identity_invitation_expires ON identity_invitation (expires_at_ms);

-- Verified addresses: one account each, whatever the spelling.
CREATE TABLE identity_contact (
  address_key TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  address TEXT NOT NULL,
  member_id TEXT NOT NULL REFERENCES identity_member (member_id),
  verified_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX identity_contact_member ON identity_contact (member_id);

-- Codes that were sent and wait to be told: one for each address and who asks for it (a
-- member's id, or empty for somebody who has no account yet).
CREATE TABLE identity_contact_code (
  owner TEXT NOT NULL,
  address_key TEXT NOT NULL,
  address TEXT NOT NULL,
  digest TEXT NOT NULL,
  wrong_guesses INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  PRIMARY KEY (owner, address_key)
) WITHOUT ROWID;
CREATE INDEX identity_contact_code_expires ON identity_contact_code (expires_at_ms);
