"""Rows of sessions, and how many of them are open.

Whoever opens or ends one does it by these functions, so that the count stays right. Only rows
that have ended may be deleted elsewhere.

Locks are taken in this order: the member, sessions by their ids, the count. The count is one row
for the whole hall, so it comes as late as can be.
"""

from moothall.ports.database import Row, Transaction
from moothall.services.identity.model import Session, SessionView
from moothall.services.identity.store.members import read_member

# No join: it would lock the member too, after the session.
_FIND = """
SELECT s.member_id,
  (SELECT m.name FROM identity_member AS m WHERE m.member_id = s.member_id),
  (SELECT m.created_at_ms FROM identity_member AS m WHERE m.member_id = s.member_id),
  s.generation, s.rotated_at_ms, s.expires_at_ms, s.ended_at_ms, s.lapses_at_ms, s.device, s.source
FROM identity_session AS s WHERE s.session_id = $1
"""

_ENDED = """
SELECT session_id FROM identity_session WHERE ended_at_ms < $1
ORDER BY ended_at_ms, session_id LIMIT $2
"""

_LAPSED = """
SELECT session_id FROM identity_session WHERE ended_at_ms IS NULL AND lapses_at_ms < $1
ORDER BY lapses_at_ms, session_id LIMIT $2
"""

_CHANGE_COUNT = "UPDATE identity_session_count SET open = open + $1 WHERE id = 1 RETURNING open"


async def insert_session(tx: Transaction, session: Session) -> None:
    """Add a session; whoever does so calls :func:`count_opened` too."""
    sql = """
    INSERT INTO identity_session (session_id, member_id, generation, opened_at_ms, rotated_at_ms,
      expires_at_ms, lapses_at_ms, device, source)
    VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8)
    """
    await tx.execute(
        sql,
        session.session_id,
        session.member.member_id,
        session.generation,
        session.rotated_at_ms,
        session.expires_at_ms,
        session.lapses_at_ms,
        session.device,
        session.source,
    )


async def count_opened(tx: Transaction) -> int:
    """Count a session that was added, and return how many are open in the hall now."""
    return await _change_count(tx, 1)


async def find_session(tx: Transaction, session_id: str) -> Session | None:
    """Return a session to decide on."""
    rows = await tx.lock_rows(_FIND, session_id)
    return _read_session(session_id, rows[0]) if rows else None


async def find_session_to_show(tx: Transaction, session_id: str) -> Session | None:
    """Return a session as a snapshot shows it; for a READ, which can lock nothing."""
    row = await tx.fetch_one(_FIND, session_id)
    return None if row is None else _read_session(session_id, row)


async def list_all_open(tx: Transaction, now_ms: int) -> list[str]:
    """Return the ids of all open sessions of the hall; they are bounded by ``per_hall_max``."""
    sql = """
    SELECT session_id FROM identity_session WHERE ended_at_ms IS NULL AND lapses_at_ms > $1
    """
    return [row[0] for row in await tx.fetch_all(sql, now_ms)]


async def list_some_open(tx: Transaction, limit: int) -> list[tuple[str, str]]:
    """Return (session, member) of some sessions that have not ended, lapsed ones too."""
    sql = """
    SELECT session_id, member_id FROM identity_session WHERE ended_at_ms IS NULL
    ORDER BY lapses_at_ms, session_id LIMIT $1
    """
    return [(row[0], row[1]) for row in await tx.lock_rows(sql, limit)]


async def list_open(tx: Transaction, member_id: str, now_ms: int) -> list[str]:
    """Return the ids of a member's sessions that are open, oldest first.

    They are bounded by ``SessionSettings.per_member_max``.
    """
    sql = """
    SELECT session_id FROM identity_session
    WHERE member_id = $1 AND ended_at_ms IS NULL AND lapses_at_ms > $2 ORDER BY session_id
    """
    return [row[0] for row in await tx.lock_rows(sql, member_id, now_ms)]


async def list_session_views(
    tx: Transaction, member_id: str, now_ms: int, after: str, limit: int, own: str
) -> list[SessionView]:
    """Return a member's open sessions after ``after``, oldest first; ``own`` is marked."""
    sql = """
    SELECT session_id, device, source, opened_at_ms, rotated_at_ms, lapses_at_ms
    FROM identity_session
    WHERE member_id = $1 AND ended_at_ms IS NULL AND lapses_at_ms > $2 AND session_id > $3
    ORDER BY session_id LIMIT $4
    """
    return [
        SessionView(
            session_id=session_id,
            device=device,
            source=source,
            opened_at_ms=opened_at_ms,
            used_at_ms=rotated_at_ms,
            lapses_at_ms=lapses_at_ms,
            is_current=session_id == own,
        )
        for session_id, device, source, opened_at_ms, rotated_at_ms, lapses_at_ms in (
            await tx.fetch_all(sql, member_id, now_ms, after, limit)
        )
    ]


async def update_rotated(tx: Transaction, session: Session) -> None:
    """Write down that the refresh token was rotated, until when it lives, and on what device."""
    sql = """
    UPDATE identity_session
    SET generation = $1, rotated_at_ms = $2, lapses_at_ms = $3, device = $4, source = $5
    WHERE session_id = $6
    """
    await tx.execute(
        sql,
        session.generation,
        session.rotated_at_ms,
        session.lapses_at_ms,
        session.device,
        session.source,
        session.session_id,
    )


async def update_ended(tx: Transaction, session_id: str, now_ms: int) -> bool:
    """End a session; False if it is over already."""
    sql = """
    UPDATE identity_session SET ended_at_ms = $1 WHERE session_id = $2 AND ended_at_ms IS NULL
    """
    if await tx.execute(sql, now_ms, session_id) != 1:
        return False
    await _change_count(tx, -1)
    return True


async def delete_dead(tx: Transaction, before_ms: int, limit: int) -> int:
    """Delete at most ``limit`` sessions that ended or lapsed before; return how many.

    It is written down since when guests among their members are idle.
    """
    gone = await _delete_some(tx, _ENDED, "ended_at_ms", before_ms, limit)
    if gone < limit and (
        more := await _delete_some(tx, _LAPSED, "lapses_at_ms", before_ms, limit - gone)
    ):
        await _change_count(tx, -more)
        gone += more
    return gone


async def _delete_some(
    tx: Transaction, chosen: str, over_at: str, before_ms: int, limit: int
) -> int:
    """Delete the sessions that a statement chooses; ``over_at`` is the column of their end."""
    guests = f"""
    UPDATE identity_member SET idle_since_ms = over.at_ms FROM (
      SELECT member_id, max({over_at}) AS at_ms FROM identity_session
      WHERE session_id IN ({chosen}) GROUP BY member_id) AS over
    WHERE identity_member.member_id = over.member_id AND is_guest = 1
    """
    await tx.execute(guests, before_ms, limit)
    # One that another node ends meanwhile was counted there, and is left to the next sweep.
    is_same = "ended_at_ms IS NULL" if chosen is _LAPSED else "ended_at_ms IS NOT NULL"
    sql = f"DELETE FROM identity_session WHERE session_id IN ({chosen}) AND {is_same}"
    return await tx.execute(sql, before_ms, limit)


async def _change_count(tx: Transaction, by: int) -> int:
    """Count sessions that were opened or ended; return how many are open."""
    row = await tx.fetch_one(_CHANGE_COUNT, by)
    assert row is not None, "the migration made the row"
    return int(row[0])


def _read_session(session_id: str, row: Row) -> Session:
    """Return the session in a row of ``_FIND``."""
    return Session(session_id, read_member(row), *row[3:])
