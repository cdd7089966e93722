"""The one claim of a fresh hall."""

from moothall.ports.database import Transaction


async def renew_claim(tx: Transaction, secret_digest: str, now_ms: int) -> bool:
    """Set the one-time secret of a hall that nobody has claimed; False if somebody has."""
    sql = """
    INSERT INTO access_claim (id, secret_digest, made_at_ms) VALUES (1, $1, $2)
    ON CONFLICT (id) DO UPDATE SET secret_digest = $1, made_at_ms = $2, nonce = ''
    WHERE access_claim.claimed_by IS NULL
    """
    return await tx.execute(sql, secret_digest, now_ms) == 1


async def share_claim(tx: Transaction, nonce: str, secret_digest: str, now_ms: int) -> str | None:
    """Return the nonce of the one-time secret that all nodes show; None once it was used.

    It is ``nonce`` on the node that comes first, whose secret has this digest.
    """
    await tx.lock("access.claim")
    row = await tx.fetch_one("SELECT nonce, claimed_by FROM access_claim WHERE id = 1")
    if row is not None and row[1] is not None:
        return None
    if row is not None and row[0]:
        return str(row[0])
    if not await renew_claim(tx, secret_digest, now_ms):
        return None  # it was used meanwhile
    await tx.execute("UPDATE access_claim SET nonce = $1 WHERE id = 1", nonce)
    return nonce


async def get_claim(tx: Transaction) -> tuple[str, str | None]:
    """Return the digest of the one-time secret and who used it."""
    sql = "SELECT secret_digest, claimed_by FROM access_claim WHERE id = 1"
    rows = await tx.lock_rows(sql)
    return (rows[0][0], rows[0][1]) if rows else ("", None)


async def is_claimed(tx: Transaction) -> bool:
    """Tell whether somebody has claimed the hall."""
    row = await tx.fetch_one("SELECT 1 FROM access_claim WHERE claimed_by IS NOT NULL")
    return row is not None


async def update_claim(tx: Transaction, member_id: str, now_ms: int) -> None:
    """Write down who became the first administrator; the secret is never shown again."""
    sql = "UPDATE access_claim SET claimed_by = $1, claimed_at_ms = $2, nonce = '' WHERE id = 1"
    await tx.execute(sql, member_id, now_ms)
