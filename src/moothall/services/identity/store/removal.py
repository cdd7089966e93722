"""Rows of members who were removed, and of guests who shall be."""

from moothall.ports.database import Transaction

_IS_IDLE = """
is_guest = 1 AND removed_at_ms IS NULL AND idle_since_ms <= $1 AND password_hash IS NULL
  AND NOT EXISTS (SELECT 1 FROM identity_session AS s WHERE s.member_id = identity_member.member_id
    AND s.ended_at_ms IS NULL)
  AND NOT EXISTS (SELECT 1 FROM identity_recovery AS r
    WHERE r.member_id = identity_member.member_id)
"""


async def list_idle_guests(
    tx: Transaction, idle_before_ms: int, after: tuple[int, str], limit: int
) -> list[tuple[int, str]]:
    """Return since when guests are idle, and their ids, after ``after``, the longest first.

    A guest is idle who has no session, and to whom no code is handed over by which they could
    get a password.
    """
    sql = f"""
    SELECT idle_since_ms, member_id FROM identity_member
    WHERE {_IS_IDLE} AND (idle_since_ms, member_id) > ($2, $3)
    ORDER BY idle_since_ms, member_id LIMIT $4
    """
    return [(row[0], row[1]) for row in await tx.fetch_all(sql, idle_before_ms, *after, limit)]


async def is_idle_guest(tx: Transaction, member_id: str, idle_before_ms: int) -> bool:
    """Tell whether a guest is still idle, to decide on."""
    sql = f"SELECT 1 FROM identity_member WHERE {_IS_IDLE} AND member_id = $2"
    return bool(await tx.lock_rows(sql, idle_before_ms, member_id))


async def update_removed(tx: Transaction, member_id: str, now_ms: int) -> bool:
    """Turn a member into a tombstone: no name, no password; False if it is one already."""
    sql = """
    UPDATE identity_member SET name = '', name_key = $2, skeleton = NULL, password_hash = NULL,
      removed_at_ms = $3
    WHERE member_id = $1 AND removed_at_ms IS NULL
    """
    return await tx.execute(sql, member_id, f"removed:{member_id}", now_ms) == 1


async def list_unerased(tx: Transaction, removed_before_ms: int, limit: int) -> list[str]:
    """Return ids of members who were removed and whose data is not known to be gone."""
    sql = """
    SELECT member_id FROM identity_member
    WHERE removed_at_ms IS NOT NULL AND erased_at_ms IS NULL AND removed_at_ms <= $1
    ORDER BY removed_at_ms LIMIT $2
    """
    return [row[0] for row in await tx.fetch_all(sql, removed_before_ms, limit)]


async def update_erased(tx: Transaction, member_id: str, now_ms: int) -> None:
    """Write down that nothing is left to erase."""
    sql = "UPDATE identity_member SET erased_at_ms = $2 WHERE member_id = $1"
    await tx.execute(sql, member_id, now_ms)
