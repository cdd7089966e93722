"""Rows of the identity room."""

import json

from moothall.ports.database import Row, Transaction
from moothall.services.identity.model import Credentials, Member, Session

_MEMBER = "member_id, name, created_at_ms"
_FIND_BY_ID = f"SELECT {_MEMBER} FROM identity_member WHERE member_id = $1"
_FIND_BY_NAME = f"SELECT {_MEMBER} FROM identity_member WHERE name_key = $1"


async def insert_member(
    tx: Transaction, member: Member, name_key: str, password_hash: str | None
) -> bool:
    """Add a member; False if the name is taken."""
    sql = """
    INSERT INTO identity_member (member_id, name, name_key, password_hash, created_at_ms)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name_key) DO NOTHING
    """
    changed = await tx.execute(
        sql, member.member_id, member.name, name_key, password_hash, member.created_at_ms
    )
    return changed == 1


async def find_credentials(tx: Transaction, name_key: str) -> Credentials | None:
    """Return what a password for this name is compared with."""
    sql = f"SELECT {_MEMBER}, password_hash FROM identity_member WHERE name_key = $1"
    row = await tx.fetch_one(sql, name_key)
    return None if row is None else Credentials(_member(row), row[3])


async def has_name(tx: Transaction, name_key: str) -> bool:
    """Tell whether the name is taken."""
    sql = "SELECT 1 FROM identity_member WHERE name_key = $1"
    return await tx.fetch_one(sql, name_key) is not None


async def update_password_hash(
    tx: Transaction, member_id: str, old_hash: str, new_hash: str
) -> None:
    """Replace a hash made with weaker parameters, unless it was changed meanwhile."""
    sql = """
    UPDATE identity_member SET password_hash = $1 WHERE member_id = $2 AND password_hash = $3
    """
    await tx.execute(sql, new_hash, member_id, old_hash)


async def find_member(tx: Transaction, member_id: str) -> Member | None:
    """Return a member by id."""
    row = await tx.fetch_one(_FIND_BY_ID, member_id)
    return None if row is None else _member(row)


async def find_member_by_name(tx: Transaction, name_key: str) -> Member | None:
    """Return a member by the key of the name."""
    row = await tx.fetch_one(_FIND_BY_NAME, name_key)
    return None if row is None else _member(row)


async def list_members(tx: Transaction, after: str, limit: int) -> list[tuple[str, Member]]:
    """Return the keys of names and their members, in the keys' order, after ``after``."""
    sql = f"""
    SELECT {_MEMBER}, name_key FROM identity_member
    WHERE name_key > $1 ORDER BY name_key LIMIT $2
    """
    return [(row[3], _member(row)) for row in await tx.fetch_all(sql, after, limit)]


async def list_members_by_id(tx: Transaction, member_ids: list[str]) -> list[Member]:
    """Return those of ``member_ids`` that exist, in any order."""
    sql = f"""
    SELECT {_MEMBER} FROM identity_member
    WHERE member_id IN (SELECT value FROM json_each($1))
    """
    return [_member(row) for row in await tx.fetch_all(sql, json.dumps(member_ids))]


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
    return Session(session_id, _member(rows[0]), *rows[0][3:7]) if rows else None


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


def _member(row: Row) -> Member:
    """Return the member in the first columns of ``row``."""
    return Member(member_id=row[0], name=row[1], created_at_ms=row[2])
