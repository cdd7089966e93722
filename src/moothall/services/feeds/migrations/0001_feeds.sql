-- How far each device of a member has read a feed.
CREATE TABLE feeds_position (
  member_id TEXT NOT NULL,
  device TEXT NOT NULL,
  feed TEXT NOT NULL,
  cursor TEXT NOT NULL,
  acknowledged_at_ms BIGINT NOT NULL,
  PRIMARY KEY (member_id, device, feed)
);

CREATE INDEX feeds_position_age ON feeds_position (acknowledged_at_ms);
