-- One row: which life of the data this is, and up to where events were swept.
CREATE TABLE action_epoch (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  epoch TEXT NOT NULL,
  swept_cursor INTEGER NOT NULL
);

INSERT INTO action_epoch (id, epoch, swept_cursor)
  VALUES (1, substr(replace(CAST(gen_random_uuid() AS TEXT), '-', ''), 1, 8), 0);
