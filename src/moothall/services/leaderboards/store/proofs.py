"""Rows of proofs; the bytes lie in the files room, under the proof's id as its name there."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from moothall.action import Context
from moothall.ports.database import Row, Transaction
from moothall.services.leaderboards.errors import EntryNotFoundError, ProofNotFoundError
from moothall.services.leaderboards.model import Entry, Proof
from moothall.services.leaderboards.store import views

_PROOF = """
SELECT proof_id, entry_id, member_id, sha256, size_bytes, name, media_type, added_at_ms
FROM leaderboards_proof
"""


_GET = f"{_PROOF} WHERE proof_id = $1 AND entry_id IS NOT NULL"


class OfProof(Protocol):
    """A request about one proof."""

    proof_id: str


async def find_visible_path(ctx: Context, request: OfProof) -> str | None:
    """Return the path of a proof's board, or None if the caller may not see the entry."""
    proof = await find_proof(ctx.tx, request.proof_id)
    return None if proof is None else await views.find_path_of(ctx, proof.entry_id)


async def insert_proof(tx: Transaction, proof: Proof) -> None:
    """Add a proof."""
    sql = """
    INSERT INTO leaderboards_proof
      (proof_id, entry_id, member_id, sha256, size_bytes, name, media_type, added_at_ms)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    """
    await tx.execute(
        sql,
        proof.proof_id,
        proof.entry_id,
        proof.member_id,
        proof.sha256,
        proof.size_bytes,
        proof.name,
        proof.media_type,
        proof.added_at_ms,
    )


async def find_proof(tx: Transaction, proof_id: str) -> Proof | None:
    """Return a proof of an entry that is there, or None."""
    row = await tx.fetch_one(_GET, proof_id)
    return None if row is None else _proof(row)


async def get_proof(tx: Transaction, proof_id: str) -> Proof:
    """Return a proof.

    Raises:
        ProofNotFoundError: There is none of this id.
    """
    proof = await find_proof(tx, proof_id)
    if proof is None:
        raise ProofNotFoundError(proof_id=proof_id)
    return proof


async def lock_proof(ctx: Context, proof_id: str) -> tuple[Proof, Entry]:
    """Return a proof to decide on and its entry, which is locked before it.

    Raises:
        ProofNotFoundError: There is none of this id, or its entry is hidden.
    """
    found = await find_proof(ctx.tx, proof_id)
    if found is not None:
        with suppress(EntryNotFoundError):
            entry = await views.lock_visible(ctx, found.entry_id)
            if rows := await ctx.tx.lock_rows(_GET, proof_id):
                return _proof(rows[0]), entry
    raise ProofNotFoundError(proof_id=proof_id)


async def count_proofs(tx: Transaction, entry_id: str) -> int:
    """Return how many proofs an entry has."""
    sql = "SELECT COUNT(*) FROM leaderboards_proof WHERE entry_id = $1"
    row = await tx.fetch_one(sql, entry_id)
    return 0 if row is None else int(row[0])


async def list_proofs(tx: Transaction, entry_id: str, after: str, limit: int) -> list[Proof]:
    """Return proofs of an entry as they came in, after ``after``."""
    sql = f"{_PROOF} WHERE entry_id = $1 AND proof_id > $2 ORDER BY proof_id LIMIT $3"
    return [_proof(row) for row in await tx.fetch_all(sql, entry_id, after, limit)]


async def lock_proofs(tx: Transaction, entry_ids: Sequence[str], limit: int) -> list[str]:
    """Return ids of proofs of some entries, which nobody else lets go meanwhile.

    In the order in which whoever lets them go locks their uploads.
    """
    marks = ", ".join(f"${number}" for number in range(2, len(entry_ids) + 2))
    sql = f"""
    SELECT proof_id, member_id, sha256 FROM leaderboards_proof WHERE entry_id IN ({marks})
    ORDER BY proof_id LIMIT $1
    """
    rows = await tx.lock_rows(sql, limit, *entry_ids) if entry_ids else []
    return _by_upload(rows)


async def lock_orphans(tx: Transaction, limit: int) -> list[str]:
    """Return ids of proofs whose entries are gone, which nobody else lets go meanwhile.

    In the order in which whoever lets them go locks their uploads.
    """
    sql = """
    SELECT proof_id, member_id, sha256 FROM leaderboards_proof WHERE entry_id IS NULL
    ORDER BY proof_id LIMIT $1
    """
    return _by_upload(await tx.lock_rows(sql, limit))


def _by_upload(rows: Sequence[Row]) -> list[str]:
    """Return ids of proofs in the order of their uploads' keys: member and hash.

    All who let several go lock uploads in this order, or two of them could wait for each other.
    """
    return [row[0] for row in sorted(rows, key=lambda row: (row[1], row[2]))]


async def delete_proof(tx: Transaction, proof_id: str) -> None:
    """Remove a proof; its file is let go by ``files.release_file``."""
    await tx.execute("DELETE FROM leaderboards_proof WHERE proof_id = $1", proof_id)


def _proof(row: Row) -> Proof:
    """Return the proof in ``row``."""
    return Proof(
        proof_id=row[0],
        entry_id=row[1],
        member_id=row[2],
        sha256=row[3],
        size_bytes=row[4],
        name=row[5],
        media_type=row[6],
        added_at_ms=row[7],
    )
