-- What the nodes of a hall share; on SQLite there is one node, and these stay empty.

-- What other nodes must read anew (`action/tail.py`), for two hours.
CREATE TABLE action_notice (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  topic TEXT NOT NULL,
  key TEXT NOT NULL,
  at_ms BIGINT NOT NULL
);

-- Which node keeps house, and until when on the database's own clock (`ports/lease.py`).
CREATE TABLE action_lease (
  name TEXT NOT NULL PRIMARY KEY,
  holder TEXT NOT NULL,
  until_ms BIGINT NOT NULL
);

-- Which sealing key seals this hall's rows, by its digest: a node with another one is refused.
CREATE TABLE action_hall (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  key_digest TEXT NOT NULL
);
