-- Boards, entries and comments. The ranking has its own tables (0002).

CREATE TABLE leaderboards_board (
  board_id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  direction TEXT NOT NULL,
  counting TEXT NOT NULL,
  default_level TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- `key` is the score, negated where the highest is best, so that smaller is better.
CREATE TABLE leaderboards_entry (
  entry_id TEXT NOT NULL PRIMARY KEY,
  board_id TEXT NOT NULL REFERENCES leaderboards_board (board_id),
  member_id TEXT NOT NULL,
  key REAL NOT NULL,
  submitted_at_ms INTEGER NOT NULL,
  verified_at_ms INTEGER,
  verified_by TEXT
) WITHOUT ROWID;

-- A member's verified entries, best first: what counts is found here.
CREATE INDEX leaderboards_entry_verified
  ON leaderboards_entry (board_id, member_id, key, submitted_at_ms, entry_id)
  WHERE verified_at_ms IS NOT NULL;
-- Those that wait for a moderator, oldest first; it also finds a member's own.
CREATE INDEX leaderboards_entry_waiting
  ON leaderboards_entry (board_id, entry_id, member_id)
  WHERE verified_at_ms IS NULL;

-- What stands in the ranking for each member, where one row per member is ranked.
CREATE TABLE leaderboards_standing (
  board_id TEXT NOT NULL,
  member_id TEXT NOT NULL,
  key REAL NOT NULL,
  submitted_at_ms INTEGER NOT NULL,
  entry_id TEXT NOT NULL,
  PRIMARY KEY (board_id, member_id)
) WITHOUT ROWID;

CREATE TABLE leaderboards_comment (
  comment_id TEXT NOT NULL PRIMARY KEY,
  entry_id TEXT NOT NULL REFERENCES leaderboards_entry (entry_id) ON DELETE CASCADE,
  member_id TEXT NOT NULL,
  text TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX leaderboards_comment_entry ON leaderboards_comment (entry_id);
