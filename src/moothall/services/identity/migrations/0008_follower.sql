-- What a resource server knows of its issuer, the hall that signs people in (decision 0010).

-- One row; none on a hall that signs people in itself. The cursor is where the issuer's feed
-- goes on; NULL where it begins now, and names must be asked for.
CREATE TABLE identity_issuer (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  issuer TEXT NOT NULL,
  jwks TEXT NOT NULL,
  fetched_at_ms INTEGER NOT NULL,
  cursor TEXT
) WITHOUT ROWID;

-- Sessions that the issuer ended, until their tokens have run out.
CREATE TABLE identity_issuer_session (
  session_id TEXT NOT NULL PRIMARY KEY,
  ended_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX identity_issuer_session_ended ON identity_issuer_session (ended_at_ms);

-- Set for members who came from the issuer: a token that expires later (UTC epoch seconds) may
-- tell another name. NULL for names that were imported, and where there is no issuer.
ALTER TABLE identity_member ADD COLUMN named_until_s INTEGER;
CREATE INDEX identity_member_followed ON identity_member (member_id)
  WHERE named_until_s IS NOT NULL AND removed_at_ms IS NULL;
