-- Guests whose last session is over can never sign in again; they are removed after a while.

-- When it was over; written when the session is swept, because after that nobody knows.
ALTER TABLE identity_member ADD COLUMN idle_since_ms INTEGER;
-- Their sessions were swept before there was this column: they are idle from now on.
UPDATE identity_member SET idle_since_ms = CAST(strftime('%s', 'now') AS INTEGER) * 1000
  WHERE is_guest = 1 AND removed_at_ms IS NULL AND password_hash IS NULL
    AND NOT EXISTS (SELECT 1 FROM identity_session AS s
      WHERE s.member_id = identity_member.member_id);
-- Whoever has a password is no guest; until now a handed-over code gave them one.
UPDATE identity_member SET is_guest = 0 WHERE is_guest = 1 AND password_hash IS NOT NULL;

CREATE INDEX identity_member_idle ON identity_member (idle_since_ms, member_id)
  WHERE idle_since_ms IS NOT NULL AND is_guest = 1 AND removed_at_ms IS NULL;
