-- Sessions lapse when nobody renews them, carry a label of the device, and are counted.

-- When it ends unless it is renewed before: the earlier of its life and its idle time.
ALTER TABLE identity_session ADD COLUMN lapses_at_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE identity_session ADD COLUMN device TEXT NOT NULL DEFAULT '';
UPDATE identity_session SET lapses_at_ms = LEAST(expires_at_ms, rotated_at_ms + 1209600000);

-- Finds those of a member that live, whatever number of dead ones has not been swept.
DROP INDEX identity_session_member;
CREATE INDEX identity_session_member ON identity_session (member_id, ended_at_ms);
CREATE INDEX identity_session_lapse ON identity_session (lapses_at_ms) WHERE ended_at_ms IS NULL;

-- How many rows have not ended; changed with them, because counting a million takes too long.
CREATE TABLE identity_session_count (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  open INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO identity_session_count (id, open)
  SELECT 1, count(*) FROM identity_session WHERE ended_at_ms IS NULL;

-- A key is published before it signs. One that is retired has no sealed part any more.
ALTER TABLE identity_key ADD COLUMN begins_at_ms INTEGER NOT NULL DEFAULT 0;
UPDATE identity_key SET begins_at_ms = created_at_ms;

-- Resource servers for which members may get tokens.
CREATE TABLE identity_audience (
  audience TEXT NOT NULL PRIMARY KEY,
  summary TEXT NOT NULL,
  added_by TEXT NOT NULL,
  added_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
