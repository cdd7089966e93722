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

CREATE TABLE action_reply (
  scope TEXT NOT NULL PRIMARY KEY,
  request_digest TEXT NOT NULL,
  reply TEXT,
  at_ms INTEGER NOT NULL
);
CREATE INDEX action_reply_at ON action_reply (at_ms);
