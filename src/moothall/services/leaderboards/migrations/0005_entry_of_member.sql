-- A member's entries on all boards, newest first. One tree for all questions about a member's
-- entries: each one more costs every score that is submitted or imported.
CREATE INDEX leaderboards_entry_of_member ON leaderboards_entry (member_id, entry_id);
DROP INDEX leaderboards_entry_member;
-- A member's own entries that wait, on a board where many others do.
CREATE INDEX leaderboards_entry_waiting_of_member
  ON leaderboards_entry (board_id, member_id, entry_id)
  WHERE verified_at_ms IS NULL;
-- By when they were verified, so that those of one import lie together.
DROP INDEX leaderboards_entry_verifier;
CREATE INDEX leaderboards_entry_verifier
  ON leaderboards_entry (verified_by, verified_at_ms, entry_id) WHERE verified_by IS NOT NULL;
