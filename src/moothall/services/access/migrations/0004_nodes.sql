-- Of a hall of several nodes each one signs heads into a file of its own, and counts them.
CREATE TABLE access_head_of_node (
  node TEXT NOT NULL PRIMARY KEY,
  head_count INTEGER NOT NULL,
  number INTEGER NOT NULL,
  at_ms INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO access_head_of_node (node, head_count, number, at_ms)
SELECT '', head_count, number, at_ms FROM access_head;

DROP TABLE access_head;

ALTER TABLE access_head_of_node RENAME TO access_head;

-- From it and the sealing key each node derives the same one-time secret.
ALTER TABLE access_claim ADD COLUMN nonce TEXT NOT NULL DEFAULT '';
