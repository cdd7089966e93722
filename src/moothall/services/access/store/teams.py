"""Rows of teams and of who belongs to them."""

from moothall.ports.database import Transaction
from moothall.services.access.model import Team, TeamMember


async def has_team(tx: Transaction, team: str, *, is_locked: bool) -> bool:
    """Tell whether there is such a team; locked, it stays while something is given to it."""
    sql = "SELECT 1 FROM access_team WHERE team = $1"
    rows = await (tx.lock_rows(sql, team) if is_locked else tx.fetch_all(sql, team))
    return bool(rows)


async def list_teams(tx: Transaction, after: str, limit: int) -> list[Team]:
    """Return teams by name after ``after``."""
    sql = """
    SELECT team, summary, created_by, created_at_ms FROM access_team
    WHERE team > $1 ORDER BY team LIMIT $2
    """
    return [
        Team(team=row[0], summary=row[1], created_by=row[2], created_at_ms=row[3])
        for row in await tx.fetch_all(sql, after, limit)
    ]


async def count_teams(tx: Transaction) -> int:
    """Return how many teams there are."""
    row = await tx.fetch_one("SELECT count(*) FROM access_team")
    assert row is not None, "a count is always a row"
    return int(row[0])


async def insert_team(tx: Transaction, team: Team) -> bool:
    """Add a team; False if the name is taken."""
    sql = """
    INSERT INTO access_team (team, summary, created_by, created_at_ms)
    VALUES ($1, $2, $3, $4) ON CONFLICT (team) DO NOTHING
    """
    changed = await tx.execute(sql, team.team, team.summary, team.created_by, team.created_at_ms)
    return changed == 1


async def delete_team(tx: Transaction, team: str) -> list[str]:
    """Take a team away; return who belonged to it."""
    sql = "DELETE FROM access_team_member WHERE team = $1 RETURNING member_id"
    members = await tx.fetch_all(sql, team)
    await tx.execute("DELETE FROM access_team WHERE team = $1", team)
    return [member_id for (member_id,) in members]


async def list_members(tx: Transaction, team: str, after: str, limit: int) -> list[TeamMember]:
    """Return who belongs to a team, by id after ``after``."""
    sql = """
    SELECT team, member_id, added_by, added_at_ms FROM access_team_member
    WHERE team = $1 AND member_id > $2 ORDER BY member_id LIMIT $3
    """
    return [
        TeamMember(team=row[0], member_id=row[1], added_by=row[2], added_at_ms=row[3])
        for row in await tx.fetch_all(sql, team, after, limit)
    ]


async def count_members(tx: Transaction, team: str) -> int:
    """Return how many belong to a team."""
    row = await tx.fetch_one("SELECT count(*) FROM access_team_member WHERE team = $1", team)
    assert row is not None, "a count is always a row"
    return int(row[0])


async def count_teams_of(tx: Transaction, member_id: str) -> int:
    """Return how many teams a member belongs to."""
    sql = "SELECT count(*) FROM access_team_member WHERE member_id = $1"
    row = await tx.fetch_one(sql, member_id)
    assert row is not None, "a count is always a row"
    return int(row[0])


async def insert_member(tx: Transaction, member: TeamMember) -> bool:
    """Add a member to a team; False if they belong to it already."""
    sql = """
    INSERT INTO access_team_member (team, member_id, added_by, added_at_ms)
    VALUES ($1, $2, $3, $4) ON CONFLICT (team, member_id) DO NOTHING
    """
    changed = await tx.execute(
        sql, member.team, member.member_id, member.added_by, member.added_at_ms
    )
    return changed == 1


async def delete_member(tx: Transaction, team: str, member_id: str) -> bool:
    """Take a member out of a team; False if they do not belong to it."""
    sql = "DELETE FROM access_team_member WHERE team = $1 AND member_id = $2"
    return await tx.execute(sql, team, member_id) == 1
