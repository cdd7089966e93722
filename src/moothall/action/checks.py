"""Checks: what must hold of a room's rows, declared by the room, read by the doctor.

A check is an ``async def`` function of an :class:`Inspection` in ``checks.py`` of a room. It
returns what is wrong, and nothing if all is well; the first line of its docstring is the
sentence that then stands true. It reads and never writes, because the hall may be running.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from moothall.action.declare import room_of
from moothall.action.service import Resources
from moothall.core.errors import DeclarationError
from moothall.core.units import HOUR_MS
from moothall.ports.database import Transaction

FINDINGS_MAX = 10
"""Of one kind that a check tells, however many there are."""

UNSWEPT_MS = 3 * HOUR_MS
"""How long something may be over before its not having been swept is worth a word."""

REPLY_DAYS_MAX = 3
"""How far the days of remembered replies may be apart: yesterday, tomorrow, and one more."""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """The hall serves, and somebody should look."""
    FAILED = "failed"
    """Something is broken, or will not start."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: a sentence without a full stop, and what helps."""

    told: str
    remedy: str
    level: Level = Level.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a check may look at.

    Attributes:
        tx: A snapshot of its own, which can only be read.
        now_ms: UTC epoch milliseconds.
        resources: As adapters get them: settings, derived keys, the log of heads.
        is_thorough: Whether it may read everything, however long that takes.
        is_running: Whether a hall serves from this data folder.
    """

    tx: Transaction
    now_ms: int
    resources: Resources
    is_thorough: bool = False
    is_running: bool = False


CheckHandler = Callable[[Inspection], Awaitable[list[Finding]]]


@dataclass(frozen=True, slots=True)
class Check:
    """What a room declared; ``name`` is ``room.function``."""

    room: str
    name: str
    promise: str
    """The sentence that is true when nothing was found."""
    handler: CheckHandler
    needs_key: bool = False
    """Whether it derives keys; it is left out where the sealing key is missing."""
    proves_key: bool = False
    """Whether it fails exactly if the sealing key is not the one of these rows."""


def check(*, needs_key: bool = False, proves_key: bool = False) -> Callable[[CheckHandler], Check]:
    """Declare a check of the room's rows.

    Args:
        needs_key: It derives keys from the sealing key.
        proves_key: It tells the right sealing key from a wrong one; it implies ``needs_key``.

    Raises:
        DeclarationError: It is no ``async def`` function of one argument, or says nothing.
    """

    def declare(handler: CheckHandler) -> Check:
        name = f"{handler.__module__}.{getattr(handler, '__qualname__', handler)}"
        if (
            not inspect.iscoroutinefunction(handler)
            or len(inspect.signature(handler).parameters) != 1
        ):
            msg = f"{name}: a check is an 'async def' function of an Inspection"
            raise DeclarationError(msg)
        promise = (handler.__doc__ or "").strip().partition("\n")[0].removesuffix(".")
        if not promise:
            msg = f"{name}: the first line of a check's docstring says what must hold"
            raise DeclarationError(msg)
        room = room_of(name, handler.__module__, "checks")
        return Check(
            room,
            f"{room}.{handler.__name__}",
            promise,
            handler,
            needs_key=needs_key or proves_key,
            proves_key=proves_key,
        )

    return declare


async def list_unequal(
    tx: Transaction, sql: str, told: str, remedy: str, level: Level = Level.FAILED
) -> list[Finding]:
    """Return a finding for each row of a statement, which returns what is wrong.

    Args:
        tx: The snapshot.
        sql: A SELECT without LIMIT.
        told: The sentence of one row, with ``{0}``, ``{1}`` for its columns.
        remedy: What helps.
        level: How bad each is.
    """
    rows = await tx.fetch_all(f"{sql} LIMIT $1", FINDINGS_MAX + 1)
    found = [Finding(told.format(*row), remedy, level) for row in rows[:FINDINGS_MAX]]
    if len(rows) > FINDINGS_MAX:
        found.append(Finding("and there are more of that kind", remedy, level))
    return found


async def list_unswept(tx: Transaction, sql: str, before_ms: int, what: str) -> list[Finding]:
    """Return a warning if rows are left that a sweep should have taken before ``before_ms``.

    Args:
        tx: The snapshot.
        sql: ``SELECT count(*) ... < $1``.
        before_ms: The moment, in UTC epoch milliseconds; a margin is taken off here.
        what: The rows, in the plural.
    """
    row = await tx.fetch_one(sql, before_ms - UNSWEPT_MS)
    if not row or not row[0]:
        return []
    remedy = "let the hall run for an hour; if they stay, look for 'job failed' in its log"
    return [Finding(f"{row[0]} {what} are over and not swept", remedy, Level.WARNING)]


_REMEDY = "restore a backup; until then readers may miss events"

_SEQUENCES = """
SELECT s.stream, s.last_seq, max(e.seq) FROM action_stream AS s
JOIN action_event AS e ON e.stream = s.stream
GROUP BY s.stream, s.last_seq HAVING max(e.seq) <> s.last_seq
"""
_GAPS = """
SELECT stream, max(seq) - min(seq) + 1 - count(*) FROM action_event
GROUP BY stream HAVING max(seq) - min(seq) + 1 <> count(*)
"""
_UNNUMBERED = """
SELECT DISTINCT e.stream FROM action_event AS e
WHERE NOT EXISTS (SELECT 1 FROM action_stream AS s WHERE s.stream = e.stream)
"""
_REPLY_DAYS = f"""
SELECT max(day) - min(day) + 1 FROM action_reply HAVING max(day) - min(day) > {REPLY_DAYS_MAX}
"""


async def _streams(given: Inspection) -> list[Finding]:
    tx = given.tx
    found = await list_unequal(
        tx, _SEQUENCES, "stream {0} counts {1} events and its last one is number {2}", _REMEDY
    )
    found += await list_unequal(tx, _GAPS, "stream {0} lacks {1} events", _REMEDY)
    found += await list_unequal(tx, _UNNUMBERED, "stream {0} has events and no number", _REMEDY)
    if await tx.fetch_one("SELECT 1 FROM action_epoch WHERE id = 1") is None:
        found.append(Finding("the hall's events have no epoch", "restore a backup"))
    return found


async def _replies(given: Inspection) -> list[Finding]:
    # Their days are those of a clock of their own, which is behind the wall's after a stop.
    told = "remembered replies of {0} days are kept, and should be swept after two"
    remedy = "let the hall run for an hour; if they stay, look for 'job failed' in its log"
    return await list_unequal(given.tx, _REPLY_DAYS, told, remedy, Level.WARNING)


FRAMEWORK_CHECKS: Iterable[Check] = (
    Check("action", "action.streams", "Each stream counts the events that it has", _streams),
    Check("action", "action.replies", "Old remembered replies are swept", _replies),
)
"""What the framework itself has checked."""
