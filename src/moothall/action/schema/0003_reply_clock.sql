-- How far the clock went by which remembered replies are kept (`action/idempotency.py`). It never
-- looks at the clock on the wall again once this row is there.
CREATE TABLE action_reply_clock (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  now_ms BIGINT NOT NULL
);
