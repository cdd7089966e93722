"""Rows of members."""

from collections.abc import Sequence

from moothall.action.blocks import fetch_among, insert_rows
from moothall.ports.database import Row, Transaction
from moothall.services.identity.model import Member
from moothall.services.identity.rules.names import NAMES_HELD_MAX, skeleton_of

_MEMBER = "member_id, name, created_at_ms"
_FIND_BY_ID = f"SELECT {_MEMBER} FROM identity_member WHERE member_id = $1"
_FIND_BY_NAME = f"SELECT {_MEMBER} FROM identity_member WHERE name_key = $1"


async def insert_member(
    tx: Transaction,
    member: Member,
    name_key: str,
    password_hash: str | None,
    *,
    is_guest: bool = False,
) -> bool:
    """Add a member; False if the name, or one that looks like it, is taken or reserved."""
    if await has_name(tx, member.name, name_key, member.created_at_ms):
        return False
    sql = """
    INSERT INTO identity_member
      (member_id, name, name_key, skeleton, password_hash, created_at_ms, is_guest)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
    """
    changed = await tx.execute(
        sql,
        member.member_id,
        member.name,
        name_key,
        skeleton_of(member.name),
        password_hash,
        member.created_at_ms,
        int(is_guest),
    )
    return changed == 1


async def list_members_by_key(tx: Transaction, name_keys: Sequence[str]) -> dict[str, Member]:
    """Return members by the keys of their names; keys of nobody are left out."""
    sql = f"SELECT name_key, {_MEMBER} FROM identity_member WHERE name_key IN ({{values}})"
    return {row[0]: read_member(row[1:]) for row in await fetch_among(tx, sql, name_keys)}


async def list_names_taken(
    tx: Transaction, name_keys: Sequence[str], skeletons: Sequence[str], now_ms: int
) -> set[str]:
    """Return those of the keys that wait for somebody, and of the skeletons that are taken.

    A key and a skeleton that are equal are of names that look alike, so they need not be told
    apart. Keys that members have, :func:`list_members_by_key` tells.
    """
    members = "SELECT skeleton FROM identity_member WHERE skeleton IN ({values})"
    held = (
        "SELECT {column} FROM identity_name_hold WHERE until_ms > $1 AND {column} IN ({{values}})"
    )
    rows = await fetch_among(tx, members, skeletons)
    rows += await fetch_among(tx, held.format(column="skeleton"), skeletons, now_ms)
    rows += await fetch_among(tx, held.format(column="name_key"), name_keys, now_ms)
    return {row[0] for row in rows}


async def insert_members(tx: Transaction, members: Sequence[tuple[Member, str, str]]) -> None:
    """Add members without a password, each with key and skeleton of a name nobody has."""
    sql = """
    INSERT INTO identity_member (member_id, name, name_key, skeleton, created_at_ms) VALUES
    """
    rows = [
        (member.member_id, member.name, name_key, skeleton, member.created_at_ms)
        for member, name_key, skeleton in members
    ]
    await insert_rows(tx, sql, rows)


async def has_name(
    tx: Transaction, name: str, name_key: str, now_ms: int, *, but: str = ""
) -> bool:
    """Tell whether the name, or one that looks like it, belongs to or waits for somebody.

    Args:
        tx: The transaction.
        name: As it is shown.
        name_key: Its key.
        now_ms: Which reserved names wait no longer.
        but: Id of a member who does not count, because they want the name themselves.
    """
    sql = """
    SELECT 1 FROM identity_member WHERE name_key = $1 AND member_id <> $4
    UNION ALL SELECT 1 FROM identity_member WHERE skeleton = $2 AND member_id <> $4
    UNION ALL SELECT 1 FROM identity_name_hold
      WHERE name_key = $1 AND until_ms > $3 AND member_id <> $4
    UNION ALL SELECT 1 FROM identity_name_hold
      WHERE skeleton = $2 AND until_ms > $3 AND member_id <> $4
    LIMIT 1
    """
    return await tx.fetch_one(sql, name_key, skeleton_of(name), now_ms, but) is not None


async def update_name(
    tx: Transaction, member_id: str, name: str, name_key: str, password_hash: str | None = None
) -> None:
    """Give a member another name, which nobody has; with a password a guest is none any more."""
    sql = """
    UPDATE identity_member SET name = $1, name_key = $2, skeleton = $3,
      password_hash = COALESCE($4, password_hash),
      is_guest = CASE WHEN $4 IS NULL THEN is_guest ELSE 0 END
    WHERE member_id = $5
    """
    await tx.execute(sql, name, name_key, skeleton_of(name), password_hash, member_id)


async def is_guest(tx: Transaction, member_id: str) -> bool:
    """Tell whether an account is a guest's, to decide on."""
    sql = "SELECT is_guest FROM identity_member WHERE member_id = $1"
    rows = await tx.lock_rows(sql, member_id)
    return bool(rows) and rows[0][0] == 1


async def find_member_to_change(tx: Transaction, member_id: str) -> tuple[Member, str] | None:
    """Return a member who was not removed, and the key of the name, to decide on.

    Until the transaction ends nobody else renames or removes them, signs them in, or changes
    how many contacts they have.
    """
    sql = f"""
    SELECT {_MEMBER}, name_key FROM identity_member
    WHERE member_id = $1 AND removed_at_ms IS NULL
    """
    rows = await tx.lock_rows(sql, member_id)
    return (read_member(rows[0]), rows[0][3]) if rows else None


async def insert_name_hold(
    tx: Transaction, member_id: str, name: str, name_key: str, until_ms: int
) -> None:
    """Reserve a name for its former holder."""
    sql = """
    INSERT INTO identity_name_hold (name_key, skeleton, member_id, until_ms)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (name_key) DO UPDATE SET skeleton = excluded.skeleton,
      member_id = excluded.member_id, until_ms = excluded.until_ms
    """
    await tx.execute(sql, name_key, skeleton_of(name), member_id, until_ms)


async def delete_name_hold(tx: Transaction, name_key: str) -> None:
    """Reserve a name no longer, because its former holder has it again."""
    await tx.execute("DELETE FROM identity_name_hold WHERE name_key = $1", name_key)


async def list_name_holds(tx: Transaction, member_id: str, now_ms: int) -> list[int]:
    """Return until when names are reserved for a member, the first to be free first."""
    sql = """
    SELECT until_ms FROM identity_name_hold WHERE member_id = $1 AND until_ms > $2
    ORDER BY until_ms LIMIT $3
    """
    # One more than one may have, so that the one too many shows.
    return [row[0] for row in await tx.fetch_all(sql, member_id, now_ms, NAMES_HELD_MAX + 1)]


async def delete_name_holds(tx: Transaction, now_ms: int) -> int:
    """Forget at most 500 reserved names that are free again, and return how many."""
    sql = """
    DELETE FROM identity_name_hold WHERE name_key IN (
      SELECT name_key FROM identity_name_hold WHERE until_ms <= $1 ORDER BY until_ms LIMIT 500)
    """
    return await tx.execute(sql, now_ms)


async def list_without_skeleton(tx: Transaction) -> list[tuple[str, str]]:
    """Return id and name of the accounts without a skeleton, the oldest first."""
    sql = """
    SELECT member_id, name FROM identity_member
    WHERE skeleton IS NULL AND removed_at_ms IS NULL ORDER BY member_id
    """
    return [(row[0], row[1]) for row in await tx.fetch_all(sql)]


async def update_skeleton(tx: Transaction, member_id: str, skeleton: str) -> None:
    """Write down what a name looks like, unless another account has that already."""
    sql = """
    UPDATE identity_member SET skeleton = $1 WHERE member_id = $2
      AND NOT EXISTS (SELECT 1 FROM identity_member WHERE skeleton = $1)
    """
    await tx.execute(sql, skeleton, member_id)


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
    """Return the keys of names and their members, in the keys' order, after ``after``.

    Members who were removed are not among them.
    """
    sql = f"""
    SELECT {_MEMBER}, name_key FROM identity_member
    WHERE name_key > $1 AND removed_at_ms IS NULL ORDER BY name_key LIMIT $2
    """
    return [(row[3], read_member(row)) for row in await tx.fetch_all(sql, after, limit)]


async def list_members_by_id(tx: Transaction, member_ids: list[str]) -> list[Member]:
    """Return those of ``member_ids`` that exist, in any order."""
    sql = f"SELECT {_MEMBER} FROM identity_member WHERE member_id IN ({{values}})"
    return [read_member(row) for row in await fetch_among(tx, sql, list(dict.fromkeys(member_ids)))]


def read_member(row: Row) -> Member:
    """Return the member in the first columns of ``row``: id, name, time.

    Only a member who was removed has no name.
    """
    return Member(member_id=row[0], name=row[1], created_at_ms=row[2], is_removed=not row[1])
