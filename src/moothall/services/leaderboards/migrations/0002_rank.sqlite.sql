-- The ranked rows of every board, and the counted buckets over them (decision 0002).

-- `key` is the score normalised so that smaller is better. The primary key is the
-- order of the board, so a page is one seek and a scan.
CREATE TABLE leaderboards_rank (
  board_id TEXT NOT NULL,
  key REAL NOT NULL,
  submitted_at_ms INTEGER NOT NULL,
  entry_id TEXT NOT NULL,
  PRIMARY KEY (board_id, key, submitted_at_ms, entry_id)
) WITHOUT ROWID, STRICT;

-- Level 0 are buckets of ranked rows, level 1 are groups of buckets. Each begins at its
-- (key, submitted_at_ms, entry_id) and ends where the next of its level begins. A bucket
-- repeats where its group begins; a group repeats its own start. Counts lie beside the
-- starts in one tree, because sums over an index and its table cost twice as much.
CREATE TABLE leaderboards_rank_bucket (
  board_id TEXT NOT NULL,
  level INTEGER NOT NULL,
  key REAL NOT NULL,
  submitted_at_ms INTEGER NOT NULL,
  entry_id TEXT NOT NULL,
  group_key REAL NOT NULL,
  group_submitted_at_ms INTEGER NOT NULL,
  group_entry_id TEXT NOT NULL,
  row_count INTEGER NOT NULL,
  PRIMARY KEY (board_id, level, key, submitted_at_ms, entry_id)
) WITHOUT ROWID, STRICT;
