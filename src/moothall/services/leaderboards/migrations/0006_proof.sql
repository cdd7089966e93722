-- Proofs: files that entries hold (decision 0011). The room `files` keeps their bytes.

-- A proof without an entry has lost it with its submitter; its file is to be let go.
CREATE TABLE leaderboards_proof (
  proof_id TEXT NOT NULL PRIMARY KEY,
  entry_id TEXT REFERENCES leaderboards_entry (entry_id) ON DELETE SET NULL,
  member_id TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  size_bytes BIGINT NOT NULL,
  name TEXT NOT NULL,
  media_type TEXT NOT NULL,
  added_at_ms BIGINT NOT NULL
);
CREATE INDEX leaderboards_proof_entry ON leaderboards_proof (entry_id, proof_id);
CREATE INDEX leaderboards_proof_member ON leaderboards_proof (member_id, proof_id);
