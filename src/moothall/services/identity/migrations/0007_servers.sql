-- Resource servers that prove themselves by a key, and the assertions by which they did.

-- One row per key: another key is another id, so what the old one signed in with ends with it. A
-- row that has ended stays until no token of it can live any more.
CREATE TABLE identity_server (
  server_id TEXT NOT NULL PRIMARY KEY,
  audience TEXT NOT NULL,
  server_key TEXT NOT NULL,
  registered_at_ms BIGINT NOT NULL,
  ended_at_ms BIGINT
);
CREATE UNIQUE INDEX identity_server_audience ON identity_server (audience)
  WHERE ended_at_ms IS NULL;
CREATE UNIQUE INDEX identity_server_key ON identity_server (server_key)
  WHERE ended_at_ms IS NULL;
CREATE INDEX identity_server_ended ON identity_server (ended_at_ms)
  WHERE ended_at_ms IS NOT NULL;

-- Each assertion is taken once; swept when it would be refused because of its age.
CREATE TABLE identity_assertion (
  server_id TEXT NOT NULL,
  assertion_id TEXT NOT NULL,
  refused_from_ms BIGINT NOT NULL,
  PRIMARY KEY (server_id, assertion_id)
);
CREATE INDEX identity_assertion_age ON identity_assertion (refused_from_ms);
