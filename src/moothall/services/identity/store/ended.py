"""What ended lately, be it sessions, servers, or sessions that the issuer has ended."""

from moothall.ports.database import Transaction

_LIST = """
SELECT {key} FROM {table} WHERE ended_at_ms > $1
UNION SELECT {key} FROM (
  SELECT {key} FROM {table} WHERE ended_at_ms IS NOT NULL
  ORDER BY ended_at_ms DESC LIMIT $2) AS last_ended
"""

SESSIONS = _LIST.format(key="session_id", table="identity_session")
SERVERS = _LIST.format(key="server_id", table="identity_server")
FOLLOWED = _LIST.format(key="session_id", table="identity_issuer_session")


async def list_ended(tx: Transaction, kind: str, since_ms: int, least: int) -> set[str]:
    """Return ids of what ended after ``since_ms``, and of the ``least`` that ended last.

    ``kind`` is one of the statements above.
    """
    return {key for (key,) in await tx.fetch_all(kind, since_ms, least)}
