"""From rows to entries of boards. Pure: it says what would be done, and does nothing."""

import datetime as dt
import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from moothall.client.cli.rows import Row
from moothall.core.ids import make_slug
from moothall.core.units import SAFE_INTEGER_MAX

CHUNK_ROWS = 1_500
"""Entries of one call at most; the hall sets this bound."""

CHUNK_BYTES = 768 * 1_024
"""Bytes of the entries of one call at most; a hall takes calls of 1 MiB."""

STRIPE_ROWS = 100_000
STRIPE_BYTES = 32 * 1_024 * 1_024
"""How much of a file is held at a time, sorted so that what lies together in the hall comes
together. One such part is sent while the next is read: about 80 MB for both at 100,000 rows."""

LINE_COLUMN = "import_line"
REASON_COLUMN = "import_reason"
"""Columns of a file of refused rows: where a row stood at first, and why it was refused."""

_PLACE = re.compile(r"\{([^{}]*)\}")
_EPOCH = re.compile(r"-?\d+\Z")
_NAME_MAX, _DESCRIPTION_MAX, _REF_MAX = 64, 4_000, 128
"""Characters of texts; the hall sets these bounds, and would refuse a whole call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """Which column holds what.

    Attributes:
        ref: The row's own id, by which it is recognised; or None.
        board: Template of the board's name, such as ``{track} {type}``; or None.
        board_id: The one board, where there is no template.
        is_verified: State of every entry.
    """

    submitter: str
    score: str
    time: str
    description: str | None = None
    ref: str | None = None
    board: str | None = None
    board_id: str | None = None
    is_verified: bool = True

    @property
    def columns(self) -> list[str]:
        """All columns that are read."""
        optional = [name for name in (self.description, self.ref) if name is not None]
        places = _PLACE.findall(self.board) if self.board is not None else []
        return [self.submitter, self.score, self.time, *optional, *places]


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that is not imported, and why."""

    line: int
    reason: str
    board: str = ""


@dataclass(slots=True)
class BoardPlan:
    """A board that rows belong to."""

    number: int
    name: str
    board_id: str
    rows: int = 0


class Planned(NamedTuple):
    """A row that can be sent. In this order they sort: boards, and on each member by member.

    What the hall keeps of a member lies together, so a call whose rows belong to few members
    touches few of its pages.
    """

    board: int
    submitter: str
    line: int
    body: bytes
    """The entry as JSON."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Entries of one call, with the lines that they come from."""

    board: BoardPlan
    lines: Sequence[int]
    bodies: Sequence[bytes]


class _Entry(msgspec.Struct, omit_defaults=True, gc=False):
    """A row as the hall takes it."""

    submitter: str
    score: float
    submitted_at_ms: int
    row: int
    verified: bool = True
    description: str = ""
    ref: str = ""


_encode = msgspec.json.Encoder().encode


class Planner:
    """Makes entries of rows, and learns on the way which boards there are.

    Attributes:
        boards: All boards so far, by name, in the order of the file.
    """

    def __init__(self, mapped: Mapped) -> None:
        self.boards: dict[str, BoardPlan] = {}
        self._by_number: list[BoardPlan] = []
        self._ids: set[str] = set()
        self._mapped = mapped

    def take(self, row: Row) -> Planned:
        """Return what a row becomes.

        Raises:
            ValueError: It cannot be used; the text says why.
        """
        if row.fault:
            raise ValueError(row.fault)
        name = self._board_name(row)
        entry = self._entry(row)
        board = self.boards.get(name) or self._add(name)
        board.rows += 1
        return Planned(board.number, entry.submitter, row.line, _encode(entry))

    def cut(self, stripe: list[Planned]) -> Iterator[Chunk]:
        """Sort rows, and yield the calls that they make."""
        stripe.sort()
        lines: list[int] = []
        bodies: list[bytes] = []
        number, size = -1, 0
        for one in stripe:
            is_full = len(lines) == CHUNK_ROWS or size + len(one.body) >= CHUNK_BYTES
            if lines and (one.board != number or is_full):
                yield Chunk(self._by_number[number], lines, bodies)
                lines, bodies, size = [], [], 0
            number = one.board
            size += len(one.body) + 1
            lines.append(one.line)
            bodies.append(one.body)
        if lines:
            yield Chunk(self._by_number[number], lines, bodies)

    def _add(self, name: str) -> BoardPlan:
        board_id = self._mapped.board_id or make_board_id(name, self._ids)
        board = BoardPlan(len(self._by_number), name, board_id)
        self._ids.add(board_id)
        self._by_number.append(board)
        self.boards[name] = board
        return board

    def _board_name(self, row: Row) -> str:
        if self._mapped.board is None:
            return self._mapped.board_id or ""
        name = _PLACE.sub(lambda found: _text(row, found[1]), self._mapped.board).strip()
        if not name:
            raise ValueError("the name of the board is empty")
        return name

    def _entry(self, row: Row) -> _Entry:
        mapped = self._mapped
        return _Entry(
            submitter=_short(_text(row, mapped.submitter), mapped.submitter, _NAME_MAX),
            score=_score(row, mapped.score),
            submitted_at_ms=read_time(_text(row, mapped.time)),
            row=_line(row),
            verified=mapped.is_verified,
            description=_optional(row, mapped.description, _DESCRIPTION_MAX),
            ref=_optional(row, mapped.ref, _REF_MAX),
        )


@dataclass(slots=True)
class Outcome:
    """What was done.

    Attributes:
        imported: Number of entries by board.
        known: Number of rows that were there already, by board.
        created: Boards that were made, or would be.
        refused: Rows set aside.
    """

    imported: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def make_board_id(name: str, taken: Iterable[str]) -> str:
    """Return a readable id for a board, the same each time, and none that is taken."""
    slug = make_slug(name)
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    if not slug:
        return f"board-{mark}"
    return f"{slug[:50].strip('-')}-{mark}" if slug in set(taken) else slug


def _text(row: Row, column: str) -> str:
    value = row.values.get(column)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{column} is missing")  # noqa: TRY004 - a fault of the file
    text = str(value).strip()
    if not text:
        raise ValueError(f"{column} is empty")
    return text


def _optional(row: Row, column: str | None, length_max: int) -> str:
    value: Any = None if column is None else row.values.get(column)
    return "" if value is None else _short(str(value).strip(), column or "", length_max)


def _short(text: str, column: str, length_max: int) -> str:
    if len(text) > length_max:
        raise ValueError(f"{column} is longer than {length_max:,} characters")
    return text


def _line(row: Row) -> int:
    """Return where a row stood first: a refused one that was mended says so itself."""
    noted = row.values.get(LINE_COLUMN)
    return int(noted) if isinstance(noted, str) and noted.isdecimal() else row.line


def _score(row: Row, column: str) -> float:
    text = _text(row, column)
    try:
        score = float(text)
    except ValueError:
        raise ValueError(f"{column} is no number") from None
    if not math.isfinite(score):
        raise ValueError(f"{column} is no finite number")
    return score


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
