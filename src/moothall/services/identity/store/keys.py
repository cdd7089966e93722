"""Rows of signing keys, which are sealed."""

from moothall.ports.database import Transaction


async def insert_key(tx: Transaction, kid: str, sealed: bytes, now_ms: int) -> None:
    """Keep a signing key, sealed."""
    sql = "INSERT INTO identity_key (kid, sealed_hex, created_at_ms) VALUES ($1, $2, $3)"
    await tx.execute(sql, kid, sealed.hex(), now_ms)


async def list_keys(tx: Transaction) -> list[tuple[str, bytes]]:
    """Return the keys that are not retired, oldest first."""
    sql = """
    SELECT kid, sealed_hex FROM identity_key WHERE retired_at_ms IS NULL
    ORDER BY created_at_ms, kid
    """
    return [(kid, bytes.fromhex(sealed)) for kid, sealed in await tx.fetch_all(sql)]
