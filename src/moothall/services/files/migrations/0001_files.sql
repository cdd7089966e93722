-- Files by their hash, in rows of 256 KiB; who uploaded them, and who holds them (decision 0011).

-- One row: what all blobs take or have been promised, so that the hall's bound needs no sum.
CREATE TABLE files_usage (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  stored_bytes INTEGER NOT NULL
) STRICT;
INSERT INTO files_usage (id, stored_bytes) VALUES (1, 0);

-- Bytes that came together, whatever they turn out to be. `is_garbage` ones are on their way out.
CREATE TABLE files_blob (
  blob_id TEXT NOT NULL PRIMARY KEY,
  size_bytes INTEGER NOT NULL,
  is_garbage INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX files_blob_garbage ON files_blob (blob_id) WHERE is_garbage = 1;

-- With a rowid: rows of this size would fill a tree of keys.
CREATE TABLE files_chunk (
  blob_id TEXT NOT NULL REFERENCES files_blob (blob_id),
  number INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (blob_id, number)
) STRICT;

-- What has been verified, once for all who uploaded it.
CREATE TABLE files_file (
  sha256 TEXT NOT NULL PRIMARY KEY,
  blob_id TEXT NOT NULL REFERENCES files_blob (blob_id),
  size_bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Each member's upload of a file; an unfinished one has a blob of its own. `size_bytes` is what it
-- was said to have, or what came so far (`is_sized` = 0).
CREATE TABLE files_upload (
  member_id TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  is_sized INTEGER NOT NULL,
  received_bytes INTEGER NOT NULL,
  blob_id TEXT,
  changed_at_ms INTEGER NOT NULL,
  finished_at_ms INTEGER,
  unheld_at_ms INTEGER,
  PRIMARY KEY (member_id, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX files_upload_sha256 ON files_upload (sha256) WHERE finished_at_ms IS NOT NULL;
CREATE INDEX files_upload_unfinished ON files_upload (changed_at_ms) WHERE finished_at_ms IS NULL;
CREATE INDEX files_upload_unheld ON files_upload (unheld_at_ms) WHERE unheld_at_ms IS NOT NULL;

-- Why a file stays, and who may read it besides those who uploaded it.
CREATE TABLE files_hold (
  holder TEXT NOT NULL,
  ref TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  owner TEXT NOT NULL,
  permission TEXT NOT NULL,
  path TEXT NOT NULL,
  held_at_ms INTEGER NOT NULL,
  PRIMARY KEY (holder, ref)
) STRICT, WITHOUT ROWID;
CREATE INDEX files_hold_reader ON files_hold (sha256, permission, path);
CREATE INDEX files_hold_owner ON files_hold (owner, sha256, holder, ref);
