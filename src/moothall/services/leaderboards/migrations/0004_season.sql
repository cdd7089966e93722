-- Seasons: a ranking has an id of its own, and an entry belongs to the season it was submitted in.

-- The board's own id in its first season, so that what is ranked stays where it is.
ALTER TABLE leaderboards_rank RENAME COLUMN board_id TO ranking_id;
ALTER TABLE leaderboards_rank_bucket RENAME COLUMN board_id TO ranking_id;
ALTER TABLE leaderboards_standing RENAME COLUMN board_id TO ranking_id;

-- How a season counts stands here, so that one that has ended reads as it did.
CREATE TABLE leaderboards_season (
  board_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  ranking_id TEXT NOT NULL,
  direction TEXT NOT NULL,
  counting TEXT NOT NULL,
  began_at_ms BIGINT NOT NULL,
  ended_at_ms BIGINT,
  PRIMARY KEY (board_id, number)
);
CREATE UNIQUE INDEX leaderboards_season_ranking ON leaderboards_season (ranking_id);
INSERT INTO leaderboards_season
  (board_id, number, ranking_id, direction, counting, began_at_ms, ended_at_ms)
SELECT board_id, 1, board_id, direction, counting, created_at_ms, NULL FROM leaderboards_board;

-- A score as it was submitted: which one is better, the season says, and that may change.
DROP INDEX leaderboards_entry_verified;
ALTER TABLE leaderboards_entry RENAME COLUMN key TO score;
ALTER TABLE leaderboards_entry ADD COLUMN season INTEGER NOT NULL DEFAULT 1;
UPDATE leaderboards_entry SET score = 0.0 - score WHERE board_id IN (
  SELECT board_id FROM leaderboards_board WHERE direction = 'descending');
-- A member's verified entries in a season, by score: what counts is found here.
CREATE INDEX leaderboards_entry_verified
  ON leaderboards_entry (board_id, season, member_id, score, submitted_at_ms, entry_id)
  WHERE verified_at_ms IS NOT NULL;

ALTER TABLE leaderboards_board DROP COLUMN direction;
ALTER TABLE leaderboards_board DROP COLUMN counting;
ALTER TABLE leaderboards_board ADD COLUMN season INTEGER NOT NULL DEFAULT 1;
-- 'open', 'rebuilding' (there is a row in leaderboards_rebuild), or 'removed' (being erased).
ALTER TABLE leaderboards_board ADD COLUMN state TEXT NOT NULL DEFAULT 'open';
ALTER TABLE leaderboards_board ADD COLUMN schedule TEXT;
ALTER TABLE leaderboards_board ADD COLUMN time_zone TEXT;
ALTER TABLE leaderboards_board ADD COLUMN next_reset_at_ms BIGINT;
CREATE INDEX leaderboards_board_reset ON leaderboards_board (next_reset_at_ms)
  WHERE next_reset_at_ms IS NOT NULL;
CREATE INDEX leaderboards_board_state ON leaderboards_board (state, board_id)
  WHERE state <> 'open';

-- A ranking that is built anew beside the one that is read meanwhile; `position` is how far.
CREATE TABLE leaderboards_rebuild (
  board_id TEXT NOT NULL PRIMARY KEY,
  ranking_id TEXT NOT NULL,
  direction TEXT NOT NULL,
  counting TEXT NOT NULL,
  position TEXT
);
-- Rankings that nobody reads any more, until their rows are erased.
CREATE TABLE leaderboards_unused_ranking (
  ranking_id TEXT NOT NULL PRIMARY KEY,
  board_id TEXT NOT NULL
);
CREATE INDEX leaderboards_unused_ranking_board ON leaderboards_unused_ranking (board_id);
