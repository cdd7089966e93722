"""Rows of resource servers that prove themselves by a key, and of what they proved it with."""

from moothall.ports.database import Transaction
from moothall.services.identity.model import Server


async def insert_server(tx: Transaction, server: Server, audience: str, now_ms: int) -> bool:
    """Register the key of an audience that has none; False if another server has this key."""
    sql = """
    INSERT INTO identity_server (server_id, audience, server_key, registered_at_ms)
    VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
    """
    return await tx.execute(sql, server.server_id, audience, server.server_key, now_ms) == 1


async def find_server(tx: Transaction, audience: str) -> Server | None:
    """Return the server that is registered for an audience."""
    sql = """
    SELECT server_id, server_key FROM identity_server WHERE audience = $1 AND ended_at_ms IS NULL
    """
    row = await tx.fetch_one(sql, audience)
    return None if row is None else Server(row[0], row[1])


async def update_ended(tx: Transaction, server_id: str, now_ms: int) -> bool:
    """End a server; False if it is over already."""
    sql = "UPDATE identity_server SET ended_at_ms = $1 WHERE server_id = $2 AND ended_at_ms IS NULL"
    return await tx.execute(sql, now_ms, server_id) == 1


async def delete_ended(tx: Transaction, before_ms: int, limit: int) -> int:
    """Delete at most ``limit`` servers that ended before; return how many."""
    sql = """
    DELETE FROM identity_server WHERE server_id IN (
      SELECT server_id FROM identity_server WHERE ended_at_ms < $1
      ORDER BY ended_at_ms, server_id LIMIT $2)
    """
    return await tx.execute(sql, before_ms, limit)


async def insert_assertion(
    tx: Transaction, server_id: str, assertion_id: str, refused_from_ms: int
) -> bool:
    """Use up an assertion; False if that was done before."""
    sql = """
    INSERT INTO identity_assertion (server_id, assertion_id, refused_from_ms) VALUES ($1, $2, $3)
    ON CONFLICT (server_id, assertion_id) DO NOTHING
    """
    return await tx.execute(sql, server_id, assertion_id, refused_from_ms) == 1


async def delete_assertions(tx: Transaction, before_ms: int, limit: int) -> int:
    """Delete at most ``limit`` assertions that were too old before; return how many."""
    sql = """
    DELETE FROM identity_assertion WHERE (server_id, assertion_id) IN (
      SELECT server_id, assertion_id FROM identity_assertion WHERE refused_from_ms < $1
      ORDER BY refused_from_ms LIMIT $2)
    """
    return await tx.execute(sql, before_ms, limit)
