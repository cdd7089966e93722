"""Rows of the roles that administrators made."""

import json
from collections.abc import Sequence

from moothall.action.blocks import fetch_among
from moothall.ports.database import Transaction


async def list_roles(tx: Transaction) -> list[tuple[str, tuple[str, ...], str]]:
    """Return name, permissions and summary of the roles that administrators made."""
    rows = await tx.fetch_all("SELECT name, permissions, summary FROM access_role ORDER BY name")
    return [(name, tuple(json.loads(text)), summary) for name, text, summary in rows]


async def list_permissions(tx: Transaction, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return what those roles hold that administrators made; others are left out."""
    sql = "SELECT name, permissions FROM access_role WHERE name IN ({values})"
    rows = await fetch_among(tx, sql, names) if names else []
    return {name: tuple(json.loads(text)) for name, text in rows}


async def find_role(tx: Transaction, name: str) -> tuple[tuple[str, ...], str] | None:
    """Return permissions and summary of a role that an administrator made; it is locked."""
    sql = "SELECT permissions, summary FROM access_role WHERE name = $1"
    rows = await tx.lock_rows(sql, name)
    return (tuple(json.loads(rows[0][0])), rows[0][1]) if rows else None


async def count_roles(tx: Transaction) -> int:
    """Return how many roles administrators made."""
    row = await tx.fetch_one("SELECT count(*) FROM access_role")
    assert row is not None, "a count is always a row"
    return int(row[0])


async def insert_role(
    tx: Transaction, name: str, permissions: tuple[str, ...], summary: str, now_ms: int
) -> bool:
    """Add a role; False if the name is taken."""
    sql = """
    INSERT INTO access_role (name, permissions, summary, created_at_ms)
    VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING
    """
    return await tx.execute(sql, name, json.dumps(permissions), summary, now_ms) == 1


async def update_role(
    tx: Transaction, name: str, permissions: tuple[str, ...], summary: str
) -> None:
    """Change what a role holds."""
    sql = "UPDATE access_role SET permissions = $1, summary = $2 WHERE name = $3"
    await tx.execute(sql, json.dumps(permissions), summary, name)


async def delete_role(tx: Transaction, name: str) -> None:
    """Take a role away that is bound nowhere."""
    await tx.execute("DELETE FROM access_role WHERE name = $1", name)
