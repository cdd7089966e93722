"""Rows of passwords, and of codes for those that were forgotten."""

from moothall.ports.database import Row, Transaction
from moothall.services.identity.model import KnownPassword, RecoveryCode
from moothall.services.identity.store.members import read_member

_KNOWN = "member_id, name, created_at_ms, password_hash, password_version"

_FIND_BY_NAME = f"""
SELECT {_KNOWN} FROM identity_member WHERE name_key = $1 AND removed_at_ms IS NULL
"""

_FIND_BY_ID = f"""
SELECT {_KNOWN} FROM identity_member WHERE member_id = $1 AND removed_at_ms IS NULL
"""

_RECOVERY = """
member_id, kind, selector, nonce, made_at_ms, expires_at_ms, guesses, issued_by, address_key,
sends_left
"""


async def find_password_by_name(tx: Transaction, name_key: str) -> KnownPassword:
    """Return what a guess for this name is compared with; empty if nobody has it."""
    return _read_known(await tx.fetch_one(_FIND_BY_NAME, name_key))


async def find_password(tx: Transaction, member_id: str) -> KnownPassword:
    """Return what a guess for this member is compared with, to decide on."""
    rows = await tx.lock_rows(_FIND_BY_ID, member_id)
    return _read_known(rows[0] if rows else None)


async def update_password(tx: Transaction, member_id: str, password_hash: str) -> None:
    """Replace a password; whoever has just proved the one before proved nothing.

    Whoever has a password is no guest, who could be removed without one.
    """
    sql = """
    UPDATE identity_member SET password_hash = $1, password_version = password_version + 1,
      is_guest = 0
    WHERE member_id = $2 AND removed_at_ms IS NULL
    """
    await tx.execute(sql, password_hash, member_id)


async def find_account_by_contact(tx: Transaction, address_key: str) -> KnownPassword:
    """Return the account that this verified address belongs to; empty if there is none."""
    sql = f"""
    SELECT {_KNOWN} FROM identity_member WHERE removed_at_ms IS NULL
      AND member_id = (SELECT member_id FROM identity_contact WHERE address_key = $1)
    """
    return _read_known(await tx.fetch_one(sql, address_key))


async def list_address_keys(tx: Transaction, member_id: str) -> list[tuple[str, str]]:
    """Return key and kind of a member's verified addresses, oldest first, at most 100."""
    sql = """
    SELECT address_key, kind FROM identity_contact WHERE member_id = $1
    ORDER BY verified_at_ms, address_key LIMIT 100
    """
    return [(key, kind) for key, kind in await tx.fetch_all(sql, member_id)]


async def find_recovery(tx: Transaction, member_id: str, kind: str) -> RecoveryCode | None:
    """Return the code of one kind of a member, to decide on."""
    sql = f"SELECT {_RECOVERY} FROM identity_recovery WHERE member_id = $1 AND kind = $2"
    rows = await tx.lock_rows(sql, member_id, kind)
    return RecoveryCode(*rows[0]) if rows else None


async def find_recovery_by_selector(
    tx: Transaction, member_id: str, selector: str
) -> RecoveryCode | None:
    """Return the code of a member that begins so, to decide on."""
    sql = f"""
    SELECT {_RECOVERY} FROM identity_recovery WHERE member_id = $1 AND selector = $2
    ORDER BY kind LIMIT 1
    """
    rows = await tx.lock_rows(sql, member_id, selector)
    return RecoveryCode(*rows[0]) if rows else None


async def update_recovery(tx: Transaction, code: RecoveryCode) -> None:
    """Keep a code; it takes the place of the one of its kind that the member had."""
    sql = f"""
    INSERT INTO identity_recovery ({_RECOVERY})
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    ON CONFLICT (member_id, kind) DO UPDATE SET selector = $3, nonce = $4, made_at_ms = $5,
      expires_at_ms = $6, guesses = $7, issued_by = $8, address_key = $9, sends_left = $10
    """
    await tx.execute(
        sql,
        code.member_id,
        code.kind,
        code.selector,
        code.nonce,
        code.made_at_ms,
        code.expires_at_ms,
        code.guesses,
        code.issued_by,
        code.address_key,
        code.sends_left,
    )


async def list_unsent(tx: Transaction, now_ms: int, limit: int) -> list[RecoveryCode]:
    """Return codes that still have to be sent, the oldest first."""
    sql = f"""
    SELECT {_RECOVERY} FROM identity_recovery WHERE sends_left > 0 AND expires_at_ms > $1
    ORDER BY made_at_ms LIMIT $2
    """
    return [RecoveryCode(*row) for row in await tx.fetch_all(sql, now_ms, limit)]


async def update_sends_left(tx: Transaction, code: RecoveryCode, sends_left: int) -> bool:
    """Write down how often sending may still be tried; False if the code is another by now."""
    sql = """
    UPDATE identity_recovery SET sends_left = $1
    WHERE member_id = $2 AND kind = $3 AND nonce = $4 AND sends_left > $1
    """
    return await tx.execute(sql, sends_left, code.member_id, code.kind, code.nonce) == 1


async def delete_recovery(tx: Transaction, member_id: str) -> None:
    """Forget all codes of a member."""
    await tx.execute("DELETE FROM identity_recovery WHERE member_id = $1", member_id)


async def delete_expired_recovery(tx: Transaction, before_ms: int, limit: int) -> int:
    """Delete codes that expired before, at most ``limit``; return how many."""
    sql = """
    DELETE FROM identity_recovery WHERE (member_id, kind) IN (
      SELECT member_id, kind FROM identity_recovery WHERE expires_at_ms < $1
      ORDER BY expires_at_ms LIMIT $2)
    """
    return await tx.execute(sql, before_ms, limit)


def _read_known(row: Row | None) -> KnownPassword:
    """Return what a guess is compared with."""
    return KnownPassword() if row is None else KnownPassword(read_member(row), row[3], row[4])
