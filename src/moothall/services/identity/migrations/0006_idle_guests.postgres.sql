-- Guests whose last session is over can never sign in again; they are removed after a while.

-- When it was over; written when the session is swept, because after that nobody knows.
ALTER TABLE identity_member ADD COLUMN idle_since_ms INTEGER;

CREATE INDEX identity_member_idle ON identity_member (idle_since_ms, member_id)
  WHERE idle_since_ms IS NOT NULL AND is_guest = 1 AND removed_at_ms IS NULL;
