"""Rows of a resource server: its issuer, members who came from there, sessions that ended there."""

from collections.abc import Sequence

import msgspec

from moothall.action.blocks import fetch_among
from moothall.ports.database import Row, Transaction
from moothall.services.identity.rules.names import skeleton_of


class IssuerRow(msgspec.Struct, frozen=True):
    """What is known of the issuer. ``cursor`` is None where its feed begins now."""

    issuer: str
    jwks: str
    cursor: str | None


class KnownMember(msgspec.Struct, frozen=True):
    """A member as this resource server has them.

    ``named_until_s`` is None for an imported name; otherwise a token that expires later, in UTC
    epoch seconds, may tell another name.
    """

    member_id: str
    name: str
    name_key: str
    is_removed: bool
    named_until_s: int | None


_KNOWN = "member_id, name, name_key, removed_at_ms IS NOT NULL, named_until_s"


# --- the issuer -----------------------------------------------------------------------------------


async def find_issuer(tx: Transaction) -> IssuerRow | None:
    """Return what is known of the issuer; None on a hall that signs people in itself."""
    sql = "SELECT issuer, jwks, cursor FROM identity_issuer WHERE id = 1"
    row = await tx.fetch_one(sql)
    return None if row is None else IssuerRow(*row)


async def insert_issuer(tx: Transaction, issuer: str, jwks: str, now_ms: int) -> None:
    """Write down the issuer that was met first."""
    sql = "INSERT INTO identity_issuer (id, issuer, jwks, fetched_at_ms) VALUES (1, $1, $2, $3)"
    await tx.execute(sql, issuer, jwks, now_ms)


async def update_keys(tx: Transaction, jwks: str, now_ms: int) -> None:
    """Write down the keys as they were fetched."""
    sql = "UPDATE identity_issuer SET jwks = $1, fetched_at_ms = $2 WHERE id = 1"
    await tx.execute(sql, jwks, now_ms)


async def update_cursor(tx: Transaction, cursor: str | None) -> None:
    """Write down how far the issuer's feed was read."""
    await tx.execute("UPDATE identity_issuer SET cursor = $1 WHERE id = 1", cursor)


async def has_own_keys(tx: Transaction) -> bool:
    """Tell whether this hall has ever signed people in itself."""
    return await tx.fetch_one("SELECT 1 FROM identity_key LIMIT 1") is not None


# --- sessions -------------------------------------------------------------------------------------


async def insert_ended(tx: Transaction, session_id: str, ended_at_ms: int) -> None:
    """Write down that a session ended; a second time changes nothing."""
    sql = """
    INSERT INTO identity_issuer_session (session_id, ended_at_ms) VALUES ($1, $2)
    ON CONFLICT DO NOTHING
    """
    await tx.execute(sql, session_id, ended_at_ms)


async def delete_ended(tx: Transaction, before_ms: int, limit: int) -> int:
    """Forget at most ``limit`` sessions whose tokens have run out, and return how many."""
    sql = """
    DELETE FROM identity_issuer_session WHERE session_id IN (
      SELECT session_id FROM identity_issuer_session WHERE ended_at_ms <= $1
      ORDER BY ended_at_ms LIMIT $2)
    """
    return await tx.execute(sql, before_ms, limit)


# --- members --------------------------------------------------------------------------------------


async def find_known(tx: Transaction, member_id: str) -> KnownMember | None:
    """Return a member, removed or not, to decide on."""
    sql = f"SELECT {_KNOWN} FROM identity_member WHERE member_id = $1"
    rows = await tx.lock_rows(sql, member_id)
    return _read_known(rows[0]) if rows else None


async def list_removed(tx: Transaction, member_ids: Sequence[str]) -> list[str]:
    """Return those of ``member_ids`` whose members were removed."""
    sql = """
    SELECT member_id FROM identity_member
    WHERE removed_at_ms IS NOT NULL AND member_id IN ({values})
    """
    return [row[0] for row in await fetch_among(tx, sql, member_ids)]


async def list_followed(tx: Transaction, after: str, limit: int) -> list[str]:
    """Return ids of members who came from the issuer and were not removed, in order."""
    sql = """
    SELECT member_id FROM identity_member
    WHERE named_until_s IS NOT NULL AND removed_at_ms IS NULL AND member_id > $1
    ORDER BY member_id LIMIT $2
    """
    return [row[0] for row in await tx.fetch_all(sql, after, limit)]


async def list_in_the_way(
    tx: Transaction, name: str, name_key: str, member_id: str
) -> list[KnownMember]:
    """Return the others who have this name, or one that looks like it; two at most."""
    sql = f"""
    SELECT {_KNOWN} FROM identity_member
    WHERE member_id <> $3 AND (name_key = $1 OR skeleton = $2) ORDER BY member_id
    """
    rows = await tx.lock_rows(sql, name_key, skeleton_of(name), member_id)
    return [_read_known(row) for row in rows]


async def insert_followed(
    tx: Transaction, member_id: str, name: str, name_key: str, named_until_s: int, now_ms: int
) -> None:
    """Add a member from the issuer, whose name nobody has here."""
    sql = """
    INSERT INTO identity_member
      (member_id, name, name_key, skeleton, created_at_ms, named_until_s)
    VALUES ($1, $2, $3, $4, $5, $6)
    """
    await tx.execute(sql, member_id, name, name_key, skeleton_of(name), now_ms, named_until_s)


async def update_followed(
    tx: Transaction, member_id: str, name: str, name_key: str, named_until_s: int
) -> None:
    """Give a member the name that the issuer tells, which nobody else has here."""
    sql = """
    UPDATE identity_member SET name = $2, name_key = $3, skeleton = $4, named_until_s = $5
    WHERE member_id = $1
    """
    await tx.execute(sql, member_id, name, name_key, skeleton_of(name), named_until_s)


async def update_stepped_aside(tx: Transaction, member_id: str, name: str, name_key: str) -> None:
    """Give another name to whoever was in the way; it looks like nobody's."""
    sql = """
    UPDATE identity_member SET name = $2, name_key = $3, skeleton = $4 WHERE member_id = $1
    """
    await tx.execute(sql, member_id, name, name_key, skeleton_of(name))


def _read_known(row: Row) -> KnownMember:
    """Return the member in a row of ``_KNOWN``."""
    return KnownMember(row[0], row[1], row[2], bool(row[3]), row[4])
