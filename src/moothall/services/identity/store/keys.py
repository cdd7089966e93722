"""Rows of signing keys, which are sealed."""

from moothall.ports.database import Transaction
from moothall.services.identity.model import SigningKey

_KEY = "begins_at_ms, created_at_ms, kid, retired_at_ms"


async def insert_key(tx: Transaction, key: SigningKey, sealed: bytes) -> None:
    """Keep a signing key, sealed."""
    sql = """
    INSERT INTO identity_key (kid, sealed_hex, created_at_ms, begins_at_ms)
    VALUES ($1, $2, $3, $4)
    """
    await tx.execute(sql, key.kid, sealed.hex(), key.created_at_ms, key.begins_at_ms)


async def list_published(tx: Transaction) -> list[SigningKey]:
    """Return the keys that are not retired, in their order.

    They are bounded by ``KeySettings.keys_max``.
    """
    sql = f"""
    SELECT {_KEY} FROM identity_key WHERE retired_at_ms IS NULL
    ORDER BY begins_at_ms, created_at_ms, kid
    """
    return [SigningKey(*row) for row in await tx.fetch_all(sql)]


async def list_published_to_change(tx: Transaction) -> list[SigningKey]:
    """Return the same, to decide on: until the transaction ends nobody else makes or retires one.

    One lock for all, because a new key depends on which others there are.
    """
    await tx.lock("identity.keys")
    return await list_published(tx)


async def list_sealed(tx: Transaction) -> list[tuple[SigningKey, bytes]]:
    """Return the keys that are not retired, in their order, each with its sealed part."""
    sql = f"""
    SELECT {_KEY}, sealed_hex FROM identity_key WHERE retired_at_ms IS NULL
    ORDER BY begins_at_ms, created_at_ms, kid
    """
    return [(SigningKey(*row[:4]), bytes.fromhex(row[4])) for row in await tx.fetch_all(sql)]


async def list_retired(tx: Transaction, limit: int) -> list[str]:
    """Return ids of the keys that were retired last, at most ``limit``."""
    sql = """
    SELECT kid FROM identity_key WHERE retired_at_ms IS NOT NULL
    ORDER BY retired_at_ms DESC, kid LIMIT $1
    """
    return [row[0] for row in await tx.fetch_all(sql, limit)]


async def list_sealed_parts(tx: Transaction) -> list[tuple[str, bytes]]:
    """Return id and sealed part of the keys that are not retired, whatever release made them."""
    sql = "SELECT kid, sealed_hex FROM identity_key WHERE retired_at_ms IS NULL ORDER BY kid"
    return [(row[0], bytes.fromhex(row[1])) for row in await tx.fetch_all(sql)]


async def list_keys(tx: Transaction, before: tuple[int, int, str], limit: int) -> list[SigningKey]:
    """Return keys, retired ones too, whose turn was before ``before``, newest first."""
    sql = f"""
    SELECT {_KEY} FROM identity_key WHERE (begins_at_ms, created_at_ms, kid) < ($1, $2, $3)
    ORDER BY begins_at_ms DESC, created_at_ms DESC, kid DESC LIMIT $4
    """
    return [SigningKey(*row) for row in await tx.fetch_all(sql, *before, limit)]


async def update_retired(tx: Transaction, kid: str, now_ms: int) -> bool:
    """Retire a key and destroy its sealed part; False if there is none to retire."""
    sql = """
    UPDATE identity_key SET retired_at_ms = $1, sealed_hex = ''
    WHERE kid = $2 AND retired_at_ms IS NULL
    """
    return await tx.execute(sql, now_ms, kid) == 1


async def delete_retired(tx: Transaction, before_ms: int) -> int:
    """Delete the records of keys that were retired before, at most 500; return how many."""
    sql = """
    DELETE FROM identity_key WHERE kid IN (
      SELECT kid FROM identity_key WHERE retired_at_ms < $1 ORDER BY kid LIMIT 500)
    """
    return await tx.execute(sql, before_ms)
