-- Tables of the framework itself: event streams and remembered replies.

CREATE TABLE action_stream (
  stream TEXT NOT NULL PRIMARY KEY,
  last_seq INTEGER NOT NULL
) WITHOUT ROWID;

-- The rowid is the hall-wide cursor: one writer, so it is the order of commits.
-- AUTOINCREMENT, because a cursor must never be given out twice.
CREATE TABLE action_event (
  cursor INTEGER PRIMARY KEY AUTOINCREMENT,
  stream TEXT NOT NULL,
  seq INTEGER NOT NULL,
  kind TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  data TEXT NOT NULL,
  UNIQUE (stream, seq)
);

-- The day comes first, so that old rows lie together and are swept without an index of
-- their own; then the actor, so that one member's keys do not scatter over the whole tree.
CREATE TABLE action_reply (
  day INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  key TEXT NOT NULL,
  request_digest TEXT NOT NULL,
  reply TEXT,
  PRIMARY KEY (day, actor, action, key)
) WITHOUT ROWID;
