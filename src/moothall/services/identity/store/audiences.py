"""Rows of resource servers for which members may get tokens."""

from moothall.ports.database import Row, Transaction
from moothall.services.identity.model import Audience

_AUDIENCE = "audience, summary, added_by, added_at_ms"

_SELECT = """
SELECT a.audience, a.summary, a.added_by, a.added_at_ms,
  COALESCE(s.server_id, ''), COALESCE(s.server_key, '')
FROM identity_audience AS a
LEFT JOIN identity_server AS s ON s.audience = a.audience AND s.ended_at_ms IS NULL
"""


async def lock_audiences(tx: Transaction) -> None:
    """Keep others from adding, removing or changing any until the transaction ends.

    One lock for all: how many there are is bounded, and each has at most one server.
    """
    await tx.lock("identity.audiences")


async def insert_audience(tx: Transaction, audience: Audience) -> bool:
    """Add a resource server; False if its name is taken."""
    sql = f"""
    INSERT INTO identity_audience ({_AUDIENCE}) VALUES ($1, $2, $3, $4)
    ON CONFLICT (audience) DO NOTHING
    """
    changed = await tx.execute(
        sql, audience.audience, audience.summary, audience.added_by, audience.added_at_ms
    )
    return changed == 1


async def has_audience(tx: Transaction, audience: str) -> bool:
    """Tell whether a resource server of this name is registered."""
    sql = "SELECT 1 FROM identity_audience WHERE audience = $1"
    return await tx.fetch_one(sql, audience) is not None


async def count_audiences(tx: Transaction) -> int:
    """Return how many there are; they are bounded by ``TokenSettings.audiences_max``."""
    row = await tx.fetch_one("SELECT count(*) FROM identity_audience")
    assert row is not None, "a count is always a row"
    return int(row[0])


async def list_audiences(tx: Transaction, after: str, limit: int) -> list[Audience]:
    """Return resource servers by name, after ``after``."""
    sql = f"{_SELECT} WHERE a.audience > $1 ORDER BY a.audience LIMIT $2"
    return [_read_audience(row) for row in await tx.fetch_all(sql, after, limit)]


async def find_audience(tx: Transaction, audience: str) -> Audience | None:
    """Return a resource server by name."""
    row = await tx.fetch_one(f"{_SELECT} WHERE a.audience = $1", audience)
    return None if row is None else _read_audience(row)


async def delete_audience(tx: Transaction, audience: str) -> bool:
    """Remove a resource server; False if there is none of this name."""
    sql = "DELETE FROM identity_audience WHERE audience = $1"
    return await tx.execute(sql, audience) == 1


def _read_audience(row: Row) -> Audience:
    """Return the resource server in a row of ``_SELECT``."""
    return Audience(
        audience=row[0],
        summary=row[1],
        added_by=row[2],
        added_at_ms=row[3],
        server_id=row[4],
        server_key=row[5],
    )
