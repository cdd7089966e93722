"""Rows of invitations, and of what was used of the budgets."""

from moothall.ports.database import Row, Transaction
from moothall.services.identity.model import Invitation

_INVITATION = """
invitation_id, invited_by, created_at_ms, expires_at_ms, uses_max, uses_left, revoked_at_ms
"""


async def get_budget_used(tx: Transaction, hour: int, kind: str, source: str) -> int:
    """Return how much of a budget was used in an hour; the empty source is the whole hall."""
    sql = "SELECT used FROM identity_budget WHERE hour = $1 AND kind = $2 AND source = $3"
    row = await tx.fetch_one(sql, hour, kind, source)
    return 0 if row is None else int(row[0])


async def update_budget_used(tx: Transaction, hour: int, kind: str, source: str, most: int) -> bool:
    """Use one of a budget; False if ``most``, which is at least 1, are used up.

    One statement, so that it is exact whatever other nodes do meanwhile.
    """
    sql = """
    INSERT INTO identity_budget (hour, kind, source, used) VALUES ($1, $2, $3, 1)
    ON CONFLICT (hour, kind, source) DO UPDATE SET used = identity_budget.used + 1
    WHERE identity_budget.used < $4
    """
    return await tx.execute(sql, hour, kind, source, most) == 1


async def delete_budgets(tx: Transaction, before_hour: int) -> int:
    """Forget at most 500 rows of hours before ``before_hour``, and return how many."""
    sql = """
    DELETE FROM identity_budget WHERE (hour, kind, source) IN (
      SELECT hour, kind, source FROM identity_budget WHERE hour < $1
      ORDER BY hour, kind, source LIMIT 500)
    """
    return await tx.execute(sql, before_hour)


async def insert_invitation(tx: Transaction, invitation: Invitation, digest: str) -> None:
    """Add an invitation."""
    sql = """
    INSERT INTO identity_invitation
      (invitation_id, invited_by, created_at_ms, expires_at_ms, uses_max, uses_left, digest)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    """
    await tx.execute(
        sql,
        invitation.invitation_id,
        invitation.invited_by,
        invitation.created_at_ms,
        invitation.expires_at_ms,
        invitation.uses_max,
        invitation.uses_left,
        digest,
    )


async def find_invitation(tx: Transaction, invitation_id: str) -> Invitation | None:
    """Return an invitation, to decide on."""
    sql = f"SELECT {_INVITATION} FROM identity_invitation WHERE invitation_id = $1"
    rows = await tx.lock_rows(sql, invitation_id)
    return _read(rows[0]) if rows else None


async def list_invitations(tx: Transaction, before: str, limit: int) -> list[Invitation]:
    """Return invitations, the newest first, that are older than the id ``before``."""
    sql = f"""
    SELECT {_INVITATION} FROM identity_invitation WHERE $1 = '' OR invitation_id < $1
    ORDER BY invitation_id DESC LIMIT $2
    """
    return [_read(row) for row in await tx.fetch_all(sql, before, limit)]


async def is_invitation_good(tx: Transaction, digest: str, now_ms: int) -> bool:
    """Tell whether a code still makes an account."""
    sql = """
    SELECT 1 FROM identity_invitation
    WHERE digest = $1 AND uses_left > 0 AND expires_at_ms > $2 AND revoked_at_ms IS NULL
    """
    return await tx.fetch_one(sql, digest, now_ms) is not None


async def update_invitation_used(tx: Transaction, digest: str, now_ms: int) -> bool:
    """Use an invitation once; False if it makes no account any more."""
    sql = """
    UPDATE identity_invitation SET uses_left = uses_left - 1
    WHERE digest = $1 AND uses_left > 0 AND expires_at_ms > $2 AND revoked_at_ms IS NULL
    """
    return await tx.execute(sql, digest, now_ms) == 1


async def update_invitation_revoked(tx: Transaction, invitation_id: str, now_ms: int) -> None:
    """Take an invitation back."""
    sql = "UPDATE identity_invitation SET revoked_at_ms = $1 WHERE invitation_id = $2"
    await tx.execute(sql, now_ms, invitation_id)


async def revoke_some_invitations(tx: Transaction, now_ms: int, limit: int) -> int:
    """Take back at most ``limit`` invitations that are not used up, and return how many.

    Those that have expired too: the clock may be ahead now, and be set right later.
    """
    sql = """
    UPDATE identity_invitation SET revoked_at_ms = $1 WHERE invitation_id IN (
      SELECT invitation_id FROM identity_invitation
      WHERE revoked_at_ms IS NULL AND uses_left > 0
      ORDER BY expires_at_ms LIMIT $2)
    """
    return await tx.execute(sql, now_ms, limit)


async def delete_invitations(tx: Transaction, expired_before_ms: int) -> int:
    """Forget at most 500 invitations that expired long ago, and return how many."""
    sql = """
    DELETE FROM identity_invitation WHERE invitation_id IN (
      SELECT invitation_id FROM identity_invitation WHERE expires_at_ms < $1
      ORDER BY expires_at_ms LIMIT 500)
    """
    return await tx.execute(sql, expired_before_ms)


def _read(row: Row) -> Invitation:
    """Return the invitation in ``row``."""
    return Invitation(
        invitation_id=row[0],
        invited_by=row[1],
        created_at_ms=row[2],
        expires_at_ms=row[3],
        uses_max=row[4],
        uses_left=row[5],
        revoked_at_ms=row[6],
    )
