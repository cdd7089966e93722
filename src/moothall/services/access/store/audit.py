"""Rows of the audit trail, its seals, and what is known of its heads.

A trail may have been altered by somebody who does not keep to the types of its columns, so
what is verified is read as it is, and never fails to be read.
"""

from dataclasses import dataclass
from typing import Any

from moothall.ports.audit import AuditRow
from moothall.ports.database import Transaction
from moothall.services.access.model import AuditEntry, Seal

NUMBER_MIN = -(2**63)
"""Before every row, also one that nobody but an intruder would number so."""

STEP_SEALS_MAX = 100
"""Seals of one step of whoever verifies; an idle hall makes small ones."""

STEP_ROWS_MAX = 250
"""Rows of one step; no seal has more (``rules.chain.SEAL_ROWS_MAX``)."""

_INSERT_AUDIT = """
INSERT INTO access_audit (at_ms, actor, action, path, outcome, source, request_id)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

_ENTRY = "number, at_ms, actor, action, path, outcome, source, request_id"
_SEAL = "after_number, last_number, row_count, latest_at_ms, sealed_at_ms, chain, tags, mac"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which rows are wanted; None stands for all.

    ``actor`` is also found where a room acted for that member; ``path`` covers what lies below
    it; ``since_ms`` is the first moment, ``until_ms`` the first one after.
    """

    actor: str | None = None
    action: str | None = None
    path: str | None = None
    outcome: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


async def insert_audit(tx: Transaction, row: AuditRow) -> None:
    """Add one row to the audit trail."""
    await tx.append(_INSERT_AUDIT, *row)


async def get_settled_number(tx: Transaction) -> int:
    """Return up to which number all rows are there that will ever be, for later transactions.

    On PostgreSQL a transaction may commit after another one that took a higher number. Not for
    this transaction itself: its snapshot may be older than the answer.
    """
    horizon = await tx.find_horizon()
    return await get_last_number(tx) if horizon is None else horizon.settled


async def get_last_number(tx: Transaction) -> int:
    """Return the number of the last row; 0 if there is none."""
    row = await tx.fetch_one("SELECT max(number) FROM access_audit")
    return int(row[0] or 0) if row else 0


async def count_after(tx: Transaction, number: int) -> int:
    """Return how many rows come after ``number``."""
    row = await tx.fetch_one("SELECT count(*) FROM access_audit WHERE number > $1", number)
    return int(row[0]) if row else 0


async def list_entries(tx: Transaction, first: int, last: int, limit: int) -> list[AuditEntry]:
    """Return rows from number ``first`` to ``last``, at most ``limit``, in their order."""
    sql = f"""
    SELECT {_ENTRY} FROM access_audit WHERE number >= $1 AND number <= $2 ORDER BY number LIMIT $3
    """
    try:
        return [_entry(row) for row in await tx.fetch_all(sql, first, last, limit)]
    except UnicodeDecodeError:
        # Only an intruder's text is no text. Which row it is in is for the chain to say.
        return await _list_damaged(tx, first, last, limit)


async def _list_damaged(tx: Transaction, first: int, last: int, limit: int) -> list[AuditEntry]:
    """Return rows one by one, with empty fields for those that cannot be read."""
    sql = "SELECT number FROM access_audit WHERE number >= $1 AND number <= $2 ORDER BY number"
    found = []
    for (number,) in await tx.fetch_all(f"{sql} LIMIT $3", first, last, limit):
        try:
            row = await tx.fetch_one(f"SELECT {_ENTRY} FROM access_audit WHERE number = $1", number)
        except UnicodeDecodeError:
            row = None
        found.append(_entry(row or (number, 0, *("\N{REPLACEMENT CHARACTER}",) * 6)))
    return found


async def search_entries(
    tx: Transaction, wanted: AuditFilter, after: int, last: int, limit: int
) -> list[AuditEntry]:
    """Return the wanted rows after number ``after`` and up to ``last``, at most ``limit``."""
    sql = f"""
    SELECT {_ENTRY} FROM access_audit WHERE number > $1 AND number <= $2
    AND (CAST($3 AS TEXT) IS NULL OR actor = $3 OR
      (length(actor) > length($3) + 5 AND
       substr(actor, length(actor) - length($3) - 4) = ' for ' || $3))
    AND (CAST($4 AS TEXT) IS NULL OR action = $4)
    AND (CAST($5 AS TEXT) IS NULL OR $5 = '' OR path = $5
      OR substr(path, 1, length($5) + 1) = $5 || '/')
    AND (CAST($6 AS TEXT) IS NULL OR outcome = $6)
    AND (CAST($7 AS BIGINT) IS NULL OR at_ms >= $7)
    AND (CAST($8 AS BIGINT) IS NULL OR at_ms < $8)
    ORDER BY number LIMIT $9
    """
    rows = await tx.fetch_all(
        sql,
        after,
        last,
        wanted.actor,
        wanted.action,
        wanted.path,
        wanted.outcome,
        wanted.since_ms,
        wanted.until_ms,
        limit,
    )
    return [_entry(row) for row in rows]


async def find_seal_reaching(tx: Transaction, at_ms: int) -> Seal | None:
    """Return the first seal that has, or follows, a row of this moment or later."""
    sql = f"""
    SELECT {_SEAL} FROM access_seal WHERE latest_at_ms >= $1
    ORDER BY latest_at_ms, after_number LIMIT 1
    """
    row = await tx.fetch_one(sql, at_ms)
    return _seal(row) if row else None


async def find_last_seal(tx: Transaction) -> Seal | None:
    """Return the last seal; None while nothing is sealed."""
    sql = f"SELECT {_SEAL} FROM access_seal ORDER BY after_number DESC LIMIT 1"
    row = await tx.fetch_one(sql)
    return _seal(row) if row else None


async def find_seal_of(tx: Transaction, number: int) -> Seal | None:
    """Return the seal whose rows have numbers up to ``number`` or beyond; None after the last."""
    sql = f"""
    SELECT {_SEAL} FROM access_seal WHERE after_number < $1 ORDER BY after_number DESC LIMIT 1
    """
    row = await tx.fetch_one(sql, number)
    seal = _seal(row) if row else None
    return seal if seal and seal.last_number >= number else None


async def list_seals(tx: Transaction, after: int, limit: int) -> list[Seal]:
    """Return seals over rows after number ``after``, in their order."""
    sql = f"SELECT {_SEAL} FROM access_seal WHERE after_number >= $1 ORDER BY after_number LIMIT $2"
    return [_seal(row) for row in await tx.fetch_all(sql, after, limit)]


async def read_segment(tx: Transaction, after: int) -> tuple[list[Seal], list[AuditEntry]]:
    """Return the next seals, as many as one step takes, and one row more than they say."""
    seals = await list_seals(tx, after, STEP_SEALS_MAX)
    row_count = 0
    for at, seal in enumerate(seals):
        if at and row_count + seal.row_count > STEP_ROWS_MAX:
            del seals[at:]
            break
        row_count += seal.row_count
    if not seals:
        return [], []
    first = after + 1 if after else NUMBER_MIN
    limit = min(max(row_count, 0), STEP_ROWS_MAX) + 1
    return seals, await list_entries(tx, first, seals[-1].last_number, limit)


async def insert_seal(tx: Transaction, seal: Seal) -> bool:
    """Add a seal; False if another process has sealed what follows the same row."""
    sql = f"""
    INSERT INTO access_seal ({_SEAL}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (after_number) DO NOTHING
    """
    changed = await tx.execute(
        sql,
        seal.after_number,
        seal.last_number,
        seal.row_count,
        seal.latest_at_ms,
        seal.sealed_at_ms,
        seal.chain,
        seal.tags,
        seal.mac,
    )
    return changed == 1


async def get_head_state(tx: Transaction, node: str = "") -> tuple[int, int, int]:
    """Return how many heads a node has written, and the row and the moment of the last one."""
    sql = "SELECT head_count, number, at_ms FROM access_head WHERE node = $1"
    row = await tx.fetch_one(sql, node)
    return (int(row[0]), int(row[1]), int(row[2])) if row else (0, 0, 0)


async def update_head_state(
    tx: Transaction, node: str, head_count: int, number: int, at_ms: int
) -> None:
    """Write down that a node has written a head."""
    sql = """
    INSERT INTO access_head (node, head_count, number, at_ms) VALUES ($1, $2, $3, $4)
    ON CONFLICT (node) DO UPDATE SET head_count = $2, number = $3, at_ms = $4
    """
    await tx.execute(sql, node, head_count, number, at_ms)


def _entry(row: tuple[Any, ...]) -> AuditEntry:
    return AuditEntry(
        number=row[0],
        at_ms=row[1],
        actor=row[2],
        action=row[3],
        path=row[4],
        outcome=row[5],
        source=row[6],
        request_id=row[7],
    )


def _seal(row: tuple[Any, ...]) -> Seal:
    """Return a seal; what is not of its type becomes what no genuine seal holds."""
    whole = [value if type(value) is int else -1 for value in row[:5]]
    chain, tags, mac = (value if type(value) is bytes else b"" for value in row[5:])
    return Seal(
        after_number=whole[0],
        last_number=whole[1],
        row_count=whole[2],
        latest_at_ms=whole[3],
        sealed_at_ms=whole[4],
        chain=chain,
        tags=tags,
        mac=mac,
    )
