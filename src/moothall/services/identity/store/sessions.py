"""Rows of sessions."""

from moothall.ports.database import Transaction
from moothall.services.identity.model import Session
from moothall.services.identity.store.members import read_member


async def insert_session(tx: Transaction, session: Session, source: str) -> None:
    """Add a session."""
    sql = """
    INSERT INTO identity_session
      (session_id, member_id, generation, opened_at_ms, rotated_at_ms, expires_at_ms, source)
    VALUES ($1, $2, $3, $4, $4, $5, $6)
    """
    await tx.execute(
        sql,
        session.session_id,
        session.member.member_id,
        session.generation,
        session.rotated_at_ms,
        session.expires_at_ms,
        source,
    )


async def find_session(tx: Transaction, session_id: str) -> Session | None:
    """Return a session to decide on."""
    sql = """
    SELECT m.member_id, m.name, m.created_at_ms,
      s.generation, s.rotated_at_ms, s.expires_at_ms, s.ended_at_ms
    FROM identity_session AS s JOIN identity_member AS m ON m.member_id = s.member_id
    WHERE s.session_id = $1
    """
    rows = await tx.lock_rows(sql, session_id)
    return Session(session_id, read_member(rows[0]), *rows[0][3:7]) if rows else None


async def update_generation(tx: Transaction, session_id: str, generation: int, now_ms: int) -> None:
    """Write down that the refresh token was rotated."""
    sql = "UPDATE identity_session SET generation = $1, rotated_at_ms = $2 WHERE session_id = $3"
    await tx.execute(sql, generation, now_ms, session_id)


async def update_ended(tx: Transaction, session_id: str, now_ms: int) -> bool:
    """End a session; False if it is over already."""
    sql = """
    UPDATE identity_session SET ended_at_ms = $1 WHERE session_id = $2 AND ended_at_ms IS NULL
    """
    return await tx.execute(sql, now_ms, session_id) == 1


async def list_ended(tx: Transaction, since_ms: int) -> list[tuple[str, int]]:
    """Return id and end of the sessions that ended after ``since_ms``."""
    sql = "SELECT session_id, ended_at_ms FROM identity_session WHERE ended_at_ms > $1"
    return [(session_id, ended) for session_id, ended in await tx.fetch_all(sql, since_ms)]
