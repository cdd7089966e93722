"""Rows of verified addresses, and of codes that wait to be told."""

from moothall.ports.database import Row, Transaction
from moothall.services.identity.model import Contact, ContactCode

CODES_SWEPT_MAX = 500

_CONTACT = "kind, address, verified_at_ms"


async def find_contact_owner(tx: Transaction, address_key: str) -> str | None:
    """Return the id of the member who has verified an address."""
    sql = "SELECT member_id FROM identity_contact WHERE address_key = $1"
    row = await tx.fetch_one(sql, address_key)
    return None if row is None else row[0]


async def find_contact(tx: Transaction, member_id: str, address_key: str) -> Contact | None:
    """Return a verified address of a member."""
    sql = f"SELECT {_CONTACT} FROM identity_contact WHERE address_key = $1 AND member_id = $2"
    row = await tx.fetch_one(sql, address_key, member_id)
    return None if row is None else _read(row)


async def list_contacts(tx: Transaction, member_id: str, limit: int) -> list[Contact]:
    """Return the verified addresses of a member, oldest first."""
    sql = f"""
    SELECT {_CONTACT} FROM identity_contact WHERE member_id = $1
    ORDER BY verified_at_ms, address_key LIMIT $2
    """
    return [_read(row) for row in await tx.fetch_all(sql, member_id, limit)]


async def count_contacts(tx: Transaction, member_id: str) -> int:
    """Return how many verified addresses a member has."""
    sql = "SELECT count(*) FROM identity_contact WHERE member_id = $1"
    row = await tx.fetch_one(sql, member_id)
    return 0 if row is None else int(row[0])


async def insert_contact(
    tx: Transaction, member_id: str, address_key: str, contact: Contact
) -> bool:
    """Add a verified address; False if some account has it already."""
    sql = """
    INSERT INTO identity_contact (address_key, kind, address, member_id, verified_at_ms)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (address_key) DO NOTHING
    """
    changed = await tx.execute(
        sql, address_key, contact.kind, contact.contact, member_id, contact.verified_at_ms
    )
    return changed == 1


async def delete_contact(tx: Transaction, member_id: str, address_key: str) -> bool:
    """Remove an address of a member; False if it is none of theirs."""
    sql = "DELETE FROM identity_contact WHERE address_key = $1 AND member_id = $2"
    return await tx.execute(sql, address_key, member_id) == 1


async def find_code(tx: Transaction, owner: str, address_key: str) -> ContactCode | None:
    """Return the code that was sent to an address last, for ``owner`` (empty: a newcomer)."""
    sql = """
    SELECT address, digest, wrong_guesses, expires_at_ms FROM identity_contact_code
    WHERE owner = $1 AND address_key = $2
    """
    rows = await tx.lock_rows(sql, owner, address_key)
    return ContactCode(*rows[0]) if rows else None


async def insert_code(tx: Transaction, owner: str, address_key: str, code: ContactCode) -> None:
    """Keep the digest of a code; the one before it is worthless now."""
    sql = """
    INSERT INTO identity_contact_code
      (owner, address_key, address, digest, wrong_guesses, expires_at_ms)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (owner, address_key) DO UPDATE SET address = excluded.address,
      digest = excluded.digest, wrong_guesses = excluded.wrong_guesses,
      expires_at_ms = excluded.expires_at_ms
    """
    await tx.execute(
        sql, owner, address_key, code.address, code.digest, code.wrong_guesses, code.expires_at_ms
    )


async def update_wrong_guess(tx: Transaction, owner: str, address_key: str) -> None:
    """Count a wrong guess."""
    sql = """
    UPDATE identity_contact_code SET wrong_guesses = wrong_guesses + 1
    WHERE owner = $1 AND address_key = $2
    """
    await tx.execute(sql, owner, address_key)


async def delete_code(tx: Transaction, owner: str, address_key: str, digest: str) -> bool:
    """Use a code up; False if somebody did already, or another one was sent since."""
    sql = """
    DELETE FROM identity_contact_code WHERE owner = $1 AND address_key = $2 AND digest = $3
    """
    return await tx.execute(sql, owner, address_key, digest) == 1


async def delete_codes(tx: Transaction, now_ms: int) -> int:
    """Forget at most 500 codes that have expired, and return how many."""
    sql = """
    DELETE FROM identity_contact_code WHERE (owner, address_key) IN (
      SELECT owner, address_key FROM identity_contact_code
      WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2)
    """
    return await tx.execute(sql, now_ms, CODES_SWEPT_MAX)


def _read(row: Row) -> Contact:
    """Return the contact in ``row``."""
    return Contact(kind=row[0], contact=row[1], verified_at_ms=row[2])
