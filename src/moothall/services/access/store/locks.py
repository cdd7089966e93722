"""Locks of what no row stands for; nothing on SQLite, where writes run one after the other.

Two calls take what both need in one order: the row of a role, that of a team, the member, the
administrators, then bindings, memberships and bans. Bounds of the hall (roles, teams) are locked
first of all.
"""

from moothall.ports.database import Transaction


async def lock_member(tx: Transaction, member_id: str) -> None:
    """Keep a member from being removed, and how much they hold from being counted by two."""
    await tx.lock(f"access.member:{member_id}")


async def lock_administrators(tx: Transaction) -> None:
    """Let one call after the other decide whether somebody is left who administers the hall."""
    await tx.lock("access.administrators")


async def lock_roles(tx: Transaction) -> None:
    """Let one call after the other count how many roles there are."""
    await tx.lock("access.roles")


async def lock_teams(tx: Transaction) -> None:
    """Let one call after the other count how many teams there are."""
    await tx.lock("access.teams")


async def lock_removal(tx: Transaction, at: str) -> None:
    """Let one call after the other take away what is bound to a resource that is no more.

    Otherwise one could find nothing that the other is about to take, and say that nothing is left.
    """
    await tx.lock(f"access.removal:{at}")
