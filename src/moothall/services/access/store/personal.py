"""Rows that go when a member is removed. The index in memory must learn of each."""

from moothall.ports.database import Transaction


async def delete_some_bindings(
    tx: Transaction, member_id: str, limit: int
) -> list[tuple[str, str]]:
    """Take bindings of a member away, those at the root first; return role and path of each."""
    sql = """
    DELETE FROM access_binding WHERE (subject, path, role) IN (
      SELECT subject, path, role FROM access_binding WHERE subject = $1
      ORDER BY path, role LIMIT $2)
    RETURNING role, path
    """
    return sorted((role, path) for role, path in await tx.fetch_all(sql, member_id, limit))


async def delete_some_memberships(tx: Transaction, member_id: str, limit: int) -> list[str]:
    """Take a member out of teams; return the teams."""
    sql = """
    DELETE FROM access_team_member WHERE (team, member_id) IN (
      SELECT team, member_id FROM access_team_member WHERE member_id = $1 LIMIT $2)
    RETURNING team
    """
    return sorted(row[0] for row in await tx.fetch_all(sql, member_id, limit))


async def delete_some_bans(tx: Transaction, member_id: str, limit: int) -> list[str]:
    """Lift bans of a member; return where they stood."""
    sql = """
    DELETE FROM access_ban WHERE (member_id, path) IN (
      SELECT member_id, path FROM access_ban WHERE member_id = $1 LIMIT $2)
    RETURNING path
    """
    return sorted(row[0] for row in await tx.fetch_all(sql, member_id, limit))
