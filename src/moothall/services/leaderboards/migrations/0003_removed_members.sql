-- What becomes of the entries of members who are removed; and finding what one member holds.

ALTER TABLE leaderboards_board ADD COLUMN removed_members TEXT NOT NULL DEFAULT 'keep';

CREATE INDEX leaderboards_entry_member ON leaderboards_entry (member_id, board_id, entry_id);
CREATE INDEX leaderboards_entry_verifier ON leaderboards_entry (verified_by, entry_id)
  WHERE verified_by IS NOT NULL;
CREATE INDEX leaderboards_comment_member ON leaderboards_comment (member_id, comment_id);
