"""Rows of members who were removed."""

from moothall.ports.database import Transaction


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
