"""Rows of bindings: who has which role, where."""

from collections.abc import Sequence
from typing import Protocol

from moothall.action import EVERYONE, Context
from moothall.action.blocks import fetch_among
from moothall.ports.database import Row, Transaction
from moothall.services.access.model import Binding


class AtPath(Protocol):
    """A request that names a resource by its whole path."""

    @property
    def at(self) -> str:
        """The path."""
        ...


def end_of(path: str) -> str:
    """Return what sorts after all that lies below ``path``, so that an index finds it.

    ``0`` is the character after ``/``; no path holds a ``~``, which sorts after all it holds.
    """
    return f"{path}0" if path else "~"


_COLUMNS = "subject, role, path, granted_by, granted_at_ms"


async def find_path(_ctx: Context, request: AtPath) -> str:
    """Return the resource at which something is changed."""
    return request.at


async def insert_binding(tx: Transaction, binding: Binding) -> bool:
    """Add a binding; False if it stands already."""
    sql = """
    INSERT INTO access_binding (subject, path, role, granted_by, granted_at_ms)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (subject, path, role) DO NOTHING
    """
    changed = await tx.execute(
        sql, binding.subject, binding.at, binding.role, binding.granted_by, binding.granted_at_ms
    )
    return changed == 1


async def delete_binding(tx: Transaction, subject: str, role: str, path: str) -> bool:
    """Take a binding away; False if there is none."""
    sql = "DELETE FROM access_binding WHERE subject = $1 AND path = $2 AND role = $3"
    return await tx.execute(sql, subject, path, role) == 1


async def delete_bindings_of_role(tx: Transaction, role: str) -> list[tuple[str, str]]:
    """Take all bindings of a role away; return subject and path of each."""
    sql = "DELETE FROM access_binding WHERE role = $1 RETURNING subject, path"
    return [(subject, path) for subject, path in await tx.fetch_all(sql, role)]


async def delete_bindings_of(tx: Transaction, subject: str) -> list[tuple[str, str]]:
    """Take all bindings of a subject away; return role and path of each."""
    sql = "DELETE FROM access_binding WHERE subject = $1 RETURNING role, path"
    return [(role, path) for role, path in await tx.fetch_all(sql, subject)]


async def delete_bindings_at(tx: Transaction, at: str, limit: int) -> list[tuple[str, str, str]]:
    """Take bindings at a resource and below away; return subject, role and path of each."""
    sql = """
    DELETE FROM access_binding WHERE (subject, path, role) IN (
      SELECT subject, path, role FROM access_binding
      WHERE path = $1 OR (path >= $1 || '/' AND path < $2) LIMIT $3)
    RETURNING subject, role, path
    """
    rows = await tx.fetch_all(sql, at, end_of(at), limit)
    return [(subject, role, path) for subject, role, path in rows]


async def count_bindings_of_role(tx: Transaction, role: str) -> int:
    """Return how often a role is bound."""
    row = await tx.fetch_one("SELECT count(*) FROM access_binding WHERE role = $1", role)
    assert row is not None, "a count is always a row"
    return int(row[0])


async def count_bindings_of(tx: Transaction, subject: str) -> int:
    """Return how many bindings a subject has."""
    row = await tx.fetch_one("SELECT count(*) FROM access_binding WHERE subject = $1", subject)
    assert row is not None, "a count is always a row"
    return int(row[0])


async def has_other_member(
    tx: Transaction, subject: str, role: str, path: str, now_ms: int
) -> bool:
    """Tell whether a member other than ``subject`` holds ``role`` right at ``path``, unbanned.

    A team does not count, because it may be empty, nor does everyone. Whoever decides by it
    holds ``locks.lock_administrators``.
    """
    sql = """
    SELECT subject FROM access_binding
    WHERE role = $1 AND path = $2 AND subject <> $3 AND subject <> $4
    AND subject NOT LIKE 'team:%' AND NOT EXISTS (
      SELECT 1 FROM access_ban
      WHERE access_ban.member_id = access_binding.subject AND access_ban.path = $2
      AND (access_ban.until_ms IS NULL OR access_ban.until_ms > $5)
    )
    LIMIT 1
    """
    return await tx.fetch_one(sql, role, path, subject, EVERYONE, now_ms) is not None


async def list_bindings(tx: Transaction, after: tuple[str, str, str], limit: int) -> list[Binding]:
    """Return all bindings in the order (subject, path, role) after ``after``."""
    sql = f"""
    SELECT {_COLUMNS} FROM access_binding WHERE (subject, path, role) > ($1, $2, $3)
    ORDER BY subject, path, role LIMIT $4
    """
    return _bindings(await tx.fetch_all(sql, *after, limit))


async def list_bindings_of(
    tx: Transaction, subject: str, under: str, after: tuple[str, str, str], limit: int
) -> list[Binding]:
    """Return a subject's bindings at ``under`` and below, by (path, role) after ``after``."""
    sql = f"""
    SELECT {_COLUMNS} FROM access_binding
    WHERE subject = $1 AND (path, role) > ($2, $3)
    AND path >= $4 AND path < $5 AND ($4 = '' OR path = $4 OR path >= $4 || '/')
    ORDER BY path, role LIMIT $6
    """
    return _bindings(await tx.fetch_all(sql, subject, *after[1:], under, end_of(under), limit))


async def list_bindings_at(
    tx: Transaction, under: str, after: tuple[str, str, str], limit: int
) -> list[Binding]:
    """Return bindings at ``under`` and below, by (path, subject, role) after ``after``."""
    sql = f"""
    SELECT {_COLUMNS} FROM access_binding
    WHERE path >= $1 AND path < $2 AND ($1 = '' OR path = $1 OR path >= $1 || '/')
    AND (path, subject, role) > ($3, $4, $5)
    ORDER BY path, subject, role LIMIT $6
    """
    subject, path, role = after
    return _bindings(await tx.fetch_all(sql, under, end_of(under), path, subject, role, limit))


async def list_bound(tx: Transaction, subjects: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return subject, role and path of what is bound to some subjects, each of them once."""
    sql = "SELECT subject, role, path FROM access_binding WHERE subject IN ({values})"
    rows = await fetch_among(tx, sql, subjects) if subjects else []
    return [(subject, role, path) for subject, role, path in rows]


async def list_shared_bindings(tx: Transaction) -> list[tuple[str, str, str]]:
    """Return subject, role and path of what is bound to everyone and to teams; at start."""
    sql = """
    SELECT subject, role, path FROM access_binding WHERE subject = $1
    UNION ALL
    SELECT subject, role, path FROM access_binding WHERE subject >= 'team:' AND subject < 'team;'
    """
    rows = await tx.fetch_all(sql, EVERYONE)
    return [(subject, role, path) for subject, role, path in rows]


def _bindings(rows: list[Row]) -> list[Binding]:
    """Turn rows into bindings."""
    return [
        Binding(subject=row[0], role=row[1], at=row[2], granted_by=row[3], granted_at_ms=row[4])
        for row in rows
    ]
