"""Rows of members."""

import json

from moothall.ports.database import Row, Transaction
from moothall.services.identity.model import Credentials, Member

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
    return None if row is None else Credentials(read_member(row), row[3])


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
    return None if row is None else read_member(row)


async def find_member_by_name(tx: Transaction, name_key: str) -> Member | None:
    """Return a member by the key of the name."""
    row = await tx.fetch_one(_FIND_BY_NAME, name_key)
    return None if row is None else read_member(row)


async def list_members(tx: Transaction, after: str, limit: int) -> list[tuple[str, Member]]:
    """Return the keys of names and their members, in the keys' order, after ``after``."""
    sql = f"""
    SELECT {_MEMBER}, name_key FROM identity_member
    WHERE name_key > $1 ORDER BY name_key LIMIT $2
    """
    return [(row[3], read_member(row)) for row in await tx.fetch_all(sql, after, limit)]


async def list_members_by_id(tx: Transaction, member_ids: list[str]) -> list[Member]:
    """Return those of ``member_ids`` that exist, in any order."""
    sql = f"""
    SELECT {_MEMBER} FROM identity_member
    WHERE member_id IN (SELECT value FROM json_each($1))
    """
    return [read_member(row) for row in await tx.fetch_all(sql, json.dumps(member_ids))]


def read_member(row: Row) -> Member:
    """Return the member in the first columns of ``row``: id, name, time."""
    return Member(member_id=row[0], name=row[1], created_at_ms=row[2])
