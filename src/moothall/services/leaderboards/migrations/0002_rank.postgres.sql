-- The ranked rows of every board, and the counted buckets over them (decision 0002).
-- As on SQLite, except that ids are compared byte by byte, as SQLite does, so that
-- both engines break ties alike.

CREATE TABLE leaderboards_rank (
  board_id TEXT NOT NULL,
  key DOUBLE PRECISION NOT NULL,
  submitted_at_ms BIGINT NOT NULL,
  entry_id TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (board_id, key, submitted_at_ms, entry_id)
);

-- Counts are not indexed and rows leave room on their page: each change of a count
-- can then be made in place (HOT). row_count is INTEGER so that sums stay BIGINT.
CREATE TABLE leaderboards_rank_bucket (
  board_id TEXT NOT NULL,
  level INTEGER NOT NULL,
  key DOUBLE PRECISION NOT NULL,
  submitted_at_ms BIGINT NOT NULL,
  entry_id TEXT COLLATE "C" NOT NULL,
  group_key DOUBLE PRECISION NOT NULL,
  group_submitted_at_ms BIGINT NOT NULL,
  group_entry_id TEXT COLLATE "C" NOT NULL,
  row_count INTEGER NOT NULL,
  PRIMARY KEY (board_id, level, key, submitted_at_ms, entry_id)
) WITH (fillfactor = 70);
