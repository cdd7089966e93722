-- Where this row lies, as its server sees it (`app/place.py`). It changes when the rows are restored
-- or copied into another place, and then they must be adopted before a node serves them.
ALTER TABLE action_hall ADD COLUMN place TEXT;
