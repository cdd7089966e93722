-- Members who were removed stay as tombstones, because others rely on their ids.

-- A tombstone has no name and no password; its name_key is 'removed:' and its id, which no name
-- can be. erased_at_ms is set when no room holds anything of the member any more that may go.
ALTER TABLE identity_member ADD COLUMN removed_at_ms INTEGER;
ALTER TABLE identity_member ADD COLUMN erased_at_ms INTEGER;

-- Lists members by name past all tombstones.
CREATE INDEX identity_member_listed ON identity_member (name_key) WHERE removed_at_ms IS NULL;
CREATE INDEX identity_member_unerased ON identity_member (removed_at_ms)
  WHERE removed_at_ms IS NOT NULL AND erased_at_ms IS NULL;
