-- A member's entries on all boards, newest first.
CREATE INDEX leaderboards_entry_of_member ON leaderboards_entry (member_id, entry_id);
-- A member's own entries that wait, on a board where many others do.
CREATE INDEX leaderboards_entry_waiting_of_member
  ON leaderboards_entry (board_id, member_id, entry_id)
  WHERE verified_at_ms IS NULL;
