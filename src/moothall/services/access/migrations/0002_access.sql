-- Teams and bans; ways to the bindings of one role and of one resource.

CREATE TABLE access_team (
  team TEXT NOT NULL PRIMARY KEY,
  summary TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE access_team_member (
  team TEXT NOT NULL,
  member_id TEXT NOT NULL,
  added_by TEXT NOT NULL,
  added_at_ms INTEGER NOT NULL,
  PRIMARY KEY (team, member_id)
) WITHOUT ROWID;

CREATE INDEX access_team_member_member ON access_team_member (member_id);

-- A ban that is over stays until it is lifted or replaced: a clock that was wrong for a
-- moment must not end one for good.
CREATE TABLE access_ban (
  member_id TEXT NOT NULL,
  path TEXT NOT NULL,
  reason TEXT NOT NULL,
  banned_by TEXT NOT NULL,
  banned_at_ms INTEGER NOT NULL,
  until_ms INTEGER,
  PRIMARY KEY (member_id, path)
) WITHOUT ROWID;

CREATE INDEX access_ban_path ON access_ban (path, member_id);

CREATE INDEX access_binding_role ON access_binding (role, path);

CREATE INDEX access_binding_path ON access_binding (path);
