"""Rows of the access room."""

import json
from typing import Protocol

from moothall.action import EVERYONE, Context
from moothall.ports.audit import AuditRow
from moothall.ports.database import Transaction
from moothall.services.access.model import Binding


class AtPath(Protocol):
    """A request that names a resource by its whole path."""

    at: str


_INSERT_AUDIT = """
INSERT INTO access_audit (at_ms, actor, action, path, outcome, source, request_id)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


async def find_path(_ctx: Context, request: AtPath) -> str:
    """Return the resource at which a binding is changed."""
    return request.at


async def list_roles(tx: Transaction) -> list[tuple[str, tuple[str, ...], str]]:
    """Return name, permissions and summary of the roles that administrators made."""
    rows = await tx.fetch_all("SELECT name, permissions, summary FROM access_role ORDER BY name")
    return [(name, tuple(json.loads(text)), summary) for name, text, summary in rows]


async def insert_role(
    tx: Transaction, name: str, permissions: tuple[str, ...], summary: str, now_ms: int
) -> bool:
    """Add a role; False if the name is taken."""
    sql = """
    INSERT INTO access_role (name, permissions, summary, created_at_ms)
    VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING
    """
    return await tx.execute(sql, name, json.dumps(permissions), summary, now_ms) == 1


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


async def count_others(tx: Transaction, subject: str, role: str, path: str) -> int:
    """Return how many members other than ``subject`` hold ``role`` right at ``path``."""
    sql = """
    SELECT count(*) FROM access_binding
    WHERE role = $1 AND path = $2 AND subject <> $3 AND subject <> $4
    """
    row = await tx.fetch_one(sql, role, path, subject, EVERYONE)
    assert row is not None, "a count is always a row"
    return int(row[0])


async def list_bindings(
    tx: Transaction, subject: str | None, after: tuple[str, str, str], limit: int
) -> list[Binding]:
    """Return bindings in the order (subject, path, role) after ``after``."""
    sql = """
    SELECT subject, role, path, granted_by, granted_at_ms FROM access_binding
    WHERE (subject, path, role) > ($1, $2, $3) AND (subject = $4 OR $4 IS NULL)
    ORDER BY subject, path, role LIMIT $5
    """
    rows = await tx.fetch_all(sql, *after, subject, limit)
    return [
        Binding(subject=row[0], role=row[1], at=row[2], granted_by=row[3], granted_at_ms=row[4])
        for row in rows
    ]


async def list_all_bindings(tx: Transaction) -> list[tuple[str, str, str]]:
    """Return subject, role and path of every binding; read once, at start."""
    rows = await tx.fetch_all("SELECT subject, role, path FROM access_binding")
    return [(subject, role, path) for subject, role, path in rows]


async def renew_claim(tx: Transaction, secret_digest: str, now_ms: int) -> bool:
    """Set the one-time secret of a hall that nobody has claimed; False if somebody has."""
    sql = """
    INSERT INTO access_claim (id, secret_digest, made_at_ms) VALUES (1, $1, $2)
    ON CONFLICT (id) DO UPDATE SET secret_digest = $1, made_at_ms = $2
    WHERE access_claim.claimed_by IS NULL
    """
    return await tx.execute(sql, secret_digest, now_ms) == 1


async def get_claim(tx: Transaction) -> tuple[str, str | None]:
    """Return the digest of the one-time secret and who used it."""
    sql = "SELECT secret_digest, claimed_by FROM access_claim WHERE id = 1"
    rows = await tx.lock_rows(sql)
    return (rows[0][0], rows[0][1]) if rows else ("", None)


async def update_claim(tx: Transaction, member_id: str, now_ms: int) -> None:
    """Write down who became the first administrator."""
    sql = "UPDATE access_claim SET claimed_by = $1, claimed_at_ms = $2 WHERE id = 1"
    await tx.execute(sql, member_id, now_ms)


async def insert_audit(tx: Transaction, row: AuditRow) -> None:
    """Add one row to the audit trail."""
    await tx.execute(
        _INSERT_AUDIT,
        row.at_ms,
        row.actor,
        row.action,
        row.path,
        row.outcome,
        row.source,
        row.request_id,
    )
