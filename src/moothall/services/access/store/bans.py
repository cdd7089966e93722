"""Rows of bans."""

from moothall.ports.database import Row, Transaction
from moothall.services.access.model import BanView
from moothall.services.access.store.bindings import end_of

_COLUMNS = "member_id, path, reason, banned_by, banned_at_ms, until_ms"


async def find_ban(tx: Transaction, member_id: str, path: str) -> BanView | None:
    """Return the ban of a member right at ``path``, over or not."""
    sql = f"SELECT {_COLUMNS} FROM access_ban WHERE member_id = $1 AND path = $2"
    row = await tx.fetch_one(sql, member_id, path)
    return None if row is None else _ban(row)


async def list_bans_at(
    tx: Transaction, under: str, now_ms: int, after: tuple[str, str], limit: int
) -> list[BanView]:
    """Return bans that are not over at ``under`` and below, by (path, member) after ``after``."""
    sql = f"""
    SELECT {_COLUMNS} FROM access_ban
    WHERE path >= $1 AND path < $2 AND ($1 = '' OR path = $1 OR path >= $1 || '/')
    AND (path, member_id) > ($3, $4) AND (until_ms IS NULL OR until_ms > $5)
    ORDER BY path, member_id LIMIT $6
    """
    rows = await tx.fetch_all(sql, under, end_of(under), *after, now_ms, limit)
    return [_ban(row) for row in rows]


async def count_bans_of(tx: Transaction, member_id: str) -> int:
    """Return how many bans of a member are written down, those that are over included."""
    row = await tx.fetch_one("SELECT count(*) FROM access_ban WHERE member_id = $1", member_id)
    assert row is not None, "a count is always a row"
    return int(row[0])


async def insert_ban(tx: Transaction, ban: BanView) -> None:
    """Add a ban, or replace the one that stands there."""
    sql = """
    INSERT INTO access_ban (member_id, path, reason, banned_by, banned_at_ms, until_ms)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (member_id, path) DO UPDATE
    SET reason = $3, banned_by = $4, banned_at_ms = $5, until_ms = $6
    """
    await tx.execute(
        sql, ban.member_id, ban.at, ban.reason, ban.banned_by, ban.banned_at_ms, ban.until_ms
    )


async def delete_ban(tx: Transaction, member_id: str, path: str) -> None:
    """Take a ban away."""
    await tx.execute("DELETE FROM access_ban WHERE member_id = $1 AND path = $2", member_id, path)


async def delete_bans_at(tx: Transaction, at: str, limit: int) -> list[tuple[str, str]]:
    """Take bans at a resource and below away; return member and path of each."""
    sql = """
    DELETE FROM access_ban WHERE (member_id, path) IN (
      SELECT member_id, path FROM access_ban
      WHERE path = $1 OR (path >= $1 || '/' AND path < $2) LIMIT $3)
    RETURNING member_id, path
    """
    rows = await tx.fetch_all(sql, at, end_of(at), limit)
    return [(member_id, path) for member_id, path in rows]


def _ban(row: Row) -> BanView:
    """Turn a row into a ban."""
    return BanView(
        member_id=row[0],
        at=row[1],
        reason=row[2],
        banned_by=row[3],
        banned_at_ms=row[4],
        until_ms=row[5],
    )
