"""From rows to entries of boards. Pure: it says what would be done, and does nothing."""

import datetime as dt
import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from moothall.client.cli.rows import Row
from moothall.core.ids import make_slug
from moothall.core.units import SAFE_INTEGER_MAX

CHUNK = 500
"""Entries of one call at most; the hall sets this bound."""

_PLACE = re.compile(r"\{([^{}]*)\}")
_EPOCH = re.compile(r"-?\d+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """Which column holds what.

    Attributes:
        board: Template of the board's name, such as ``{track} {type}``; or None.
        board_id: The one board, where there is no template.
        is_verified: State of every entry.
    """

    submitter: str
    score: str
    time: str
    description: str | None = None
    board: str | None = None
    board_id: str | None = None
    is_verified: bool = True

    @property
    def columns(self) -> list[str]:
        """All columns that are read."""
        named = [self.submitter, self.score, self.time]
        if self.description is not None:
            named.append(self.description)
        return named + (_PLACE.findall(self.board) if self.board is not None else [])


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that is not imported, and why."""

    line: int
    reason: str
    board: str = ""


@dataclass(slots=True)
class BoardPlan:
    """All entries for one board, with the lines that they come from."""

    name: str
    board_id: str
    lines: list[int] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Plan:
    """What an import would do."""

    rows: int
    boards: list[BoardPlan]
    refused: list[Refused]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Entries of one call."""

    board: BoardPlan
    number: int
    lines: Sequence[int]
    entries: Sequence[Mapping[str, Any]]


def make_plan(rows: Sequence[Row], mapped: Mapped) -> Plan:
    """Return what is to be done, row by row in the order of the file."""
    boards: dict[str, BoardPlan] = {}
    refused: list[Refused] = []
    for row in rows:
        try:
            name = _board_name(row, mapped)
            entry = _entry(row, mapped)
        except ValueError as error:
            refused.append(Refused(row.line, row.fault or str(error)))
            continue
        board = boards.get(name)
        if board is None:
            taken = {one.board_id for one in boards.values()}
            board_id = mapped.board_id or make_board_id(name, taken)
            board = boards[name] = BoardPlan(name, board_id)
        board.lines.append(row.line)
        board.entries.append(entry)
    return Plan(len(rows), list(boards.values()), refused)


def make_board_id(name: str, taken: Iterable[str]) -> str:
    """Return a readable id for a board, the same each time, and none that is taken."""
    slug = make_slug(name)
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    if not slug:
        return f"board-{mark}"
    return f"{slug[:50].strip('-')}-{mark}" if slug in set(taken) else slug


def chunks_of(board: BoardPlan) -> Iterator[Chunk]:
    """Return the calls for one board."""
    for number, at in enumerate(range(0, len(board.entries), CHUNK)):
        lines, entries = board.lines[at : at + CHUNK], board.entries[at : at + CHUNK]
        yield Chunk(board, number, lines, entries)


def make_key(file_hash: str, chunk: Chunk, entries: Sequence[Mapping[str, Any]]) -> str:
    """Return the idempotency key of a call: the same for the same file and options.

    The entries are part of it, because the same key with another request is an error.
    """
    digest = hashlib.sha256()
    for part in (file_hash, chunk.board.board_id, str(chunk.number)):
        digest.update(part.encode() + b"\0")
    digest.update(msgspec.json.encode(entries))
    return f"import-{digest.hexdigest()}"


def _board_name(row: Row, mapped: Mapped) -> str:
    if mapped.board is None:
        return mapped.board_id or ""
    name = _PLACE.sub(lambda found: _text(row, found[1]), mapped.board).strip()
    if not name:
        raise ValueError("the name of the board is empty")
    return name


def _entry(row: Row, mapped: Mapped) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "submitter": _text(row, mapped.submitter),
        "score": _score(row, mapped.score),
        "submitted_at_ms": read_time(_text(row, mapped.time)),
        "verified": mapped.is_verified,
    }
    if mapped.description is not None and row.values.get(mapped.description):
        entry["description"] = str(row.values[mapped.description])
    return entry


def _text(row: Row, column: str) -> str:
    value = row.values.get(column)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{column} is missing")  # noqa: TRY004 - a fault of the file
    text = str(value).strip()
    if not text:
        raise ValueError(f"{column} is empty")
    return text


def _score(row: Row, column: str) -> float:
    text = _text(row, column)
    try:
        score = float(text)
    except ValueError:
        raise ValueError(f"{column} is no number") from None
    if not math.isfinite(score):
        raise ValueError(f"{column} is no finite number")
    return int(score) if score.is_integer() and abs(score) <= SAFE_INTEGER_MAX else score


def read_time(text: str) -> int:
    """Return UTC epoch milliseconds: from such a number, or an ISO date or time.

    A time without offset is UTC; a date is its first moment in UTC.

    Raises:
        ValueError: It is none of these, or before 1970.
    """
    if _EPOCH.match(text):
        epoch_ms = int(text)
    else:
        try:
            moment = dt.datetime.fromisoformat(text)
        except ValueError:
            raise ValueError("the time is no ISO date or epoch milliseconds") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        epoch_ms = round(moment.timestamp() * 1_000)
    if not 0 <= epoch_ms <= SAFE_INTEGER_MAX:
        raise ValueError("the time is out of range")
    return epoch_ms
