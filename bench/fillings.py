"""Fill a hall's database for ``bench.growth``: many rows quickly, each as the hall writes it.

Entries come by the hall's own import. Of every other kind one real call is made; the rows that it
wrote are then written again and again, with other ids. So no column can drift from what the hall
writes, and a table that the call writes and nobody named here ends the run.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

from moothall.core.errors import ConfigurationError
from moothall.ports.database import Row, Transaction
from moothall.services.identity.rules.names import skeleton_of
from moothall.testing import OpenHall, Visitor

BOARD = "kart"
ROWS_TOGETHER = 5_000
"""Rows of one commit."""
ENTRIES_TOGETHER = 1_500
ENTRANTS = 1_000
"""Members who have the entries."""

Columns = Mapping[str, object]
Change = Callable[[int], Columns]
Make = Callable[[OpenHall, Visitor], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Filling:
    """How rows of one kind are made.

    Attributes:
        make: The real call.
        tables: Tables of which the new rows are written again, and the columns that differ.
        others: Tables that the call writes too, and which have kinds of their own.
        counters: Columns that count the rows, as (table, column, condition).
    """

    make: Make
    tables: Mapping[str, Change]
    others: frozenset[str] = frozenset({"access_audit", "action_event", "action_stream"})
    counters: tuple[tuple[str, str, str], ...] = ()


def id_of(number: int) -> str:
    """Return an id as the hall's are, 24 hexadecimal digits, of nobody who is there."""
    return f"{number:024x}"


def name_of(number: int) -> str:
    """Return a member's name."""
    return f"racer{number}"


def _member(number: int) -> Columns:
    name = name_of(number)
    return {
        "member_id": id_of(number),
        "name": name,
        "name_key": name,
        "skeleton": skeleton_of(name),
    }


async def _grant(hall: OpenHall, boss: Visitor) -> None:
    request = {"member": "idle", "role": "board_writer", "at": f"board/{BOARD}"}
    await hall.call("access.grant_role", request, as_=boss)


async def _submit(hall: OpenHall, boss: Visitor, key: str | None = None) -> None:
    await hall.call("leaderboards.submit_score", {"board_id": BOARD, "score": 1}, as_=boss, key=key)


async def _upload(hall: OpenHall, boss: Visitor) -> None:
    request = {"sha256": sha256(b"a").hexdigest(), "offset": 0, "data": b"a", "size_bytes": 1}
    await hall.call("files.put_chunk", _encode(request), as_=boss)


def _encode(request: object) -> bytes:
    import msgspec  # noqa: PLC0415 - one call needs bytes in base64

    return msgspec.json.encode(request)


def _file(number: int) -> str:
    return sha256(b"%d" % number).hexdigest()


FILLINGS: dict[str, Filling] = {
    "members": Filling(
        lambda hall, boss: hall.call("identity.add_members", {"names": ["idle2"]}, as_=boss),
        {"identity_member": _member},
    ),
    "bindings": Filling(_grant, {"access_binding": lambda n: {"subject": id_of(n)}}),
    "events": Filling(
        _submit,
        {"action_event": lambda n: {"cursor": 1_000 + n, "seq": 1_000 + n}},
        frozenset({"access_audit", "action_stream", "leaderboards_entry"}),
        (("action_stream", "last_seq", f"stream = 'board/{BOARD}/moderation'"),),
    ),
    "sessions": Filling(
        lambda hall, _boss: hall.sign_in("idle"),
        {"identity_session": lambda n: {"session_id": id_of(n), "member_id": id_of(n)}},
        counters=(("identity_session_count", "open", "id = 1"),),
    ),
    "audit": Filling(
        lambda hall, boss: hall.call("access.list_audit", {}, as_=boss),
        {"access_audit": lambda n: {"number": 1_000 + n, "request_id": id_of(n)[-12:]}},
        frozenset(),
    ),
    "replies": Filling(
        partial(_submit, key="first"),
        {"action_reply": lambda n: {"actor": id_of(n), "key": id_of(n)}},
        frozenset({"access_audit", "action_event", "action_stream", "leaderboards_entry"}),
    ),
    "files": Filling(
        _upload,
        {
            "files_blob": lambda n: {"blob_id": id_of(n)},
            "files_chunk": lambda n: {"blob_id": id_of(n)},
            "files_file": lambda n: {"sha256": _file(n), "blob_id": id_of(n)},
            "files_upload": lambda n: {
                "member_id": id_of(n),
                "sha256": _file(n),
                "blob_id": id_of(n),
            },
        },
        counters=(("files_usage", "stored_bytes", "id = 1"),),
    ),
}
KINDS = ("entries", *FILLINGS)


async def fill(hall: OpenHall, boss: Visitor, kind: str, size: int) -> None:
    """Write ``size`` rows of one of ``KINDS``.

    Raises:
        ConfigurationError: A call writes a table of which nothing is said here.
    """
    if kind == "entries":
        await _import(hall, boss, size)
        return
    if kind in {"bindings", "sessions"}:  # of members who are there
        await fill(hall, boss, "members", size)
    filling = FILLINGS[kind]
    samples = await _make_sample(hall, boss, kind, filling)
    for first in range(1, size + 1, ROWS_TOGETHER):
        numbers = range(first, min(size + 1, first + ROWS_TOGETHER))
        await hall.hall.database.write(partial(_copy, filling=filling, samples=samples, of=numbers))
    for table, column, condition in filling.counters:
        sql = f"UPDATE {table} SET {column} = {column} + $1 WHERE {condition}"
        await hall.hall.database.write(partial(_count, sql=sql, count=size + 1_000))


async def _import(hall: OpenHall, boss: Visitor, size: int) -> None:
    """Import verified entries of a thousand members."""
    for first in range(0, size, ENTRIES_TOGETHER):
        entries = [
            {
                "submitter": name_of(number % ENTRANTS),
                "score": number * 7_919 % 1_000_003,
                "submitted_at_ms": 1_700_000_000_000 + number,
            }
            for number in range(first, min(size, first + ENTRIES_TOGETHER))
        ]
        request = {"board_id": BOARD, "entries": entries}
        report = await hall.call("leaderboards.import_entries", request, as_=boss)
        if report.imported != len(entries):
            msg = f"only {report.imported} of {len(entries)} entries were imported: {report}"
            raise ConfigurationError(msg)


async def _make_sample(
    hall: OpenHall, boss: Visitor, kind: str, filling: Filling
) -> dict[str, dict[str, Any]]:
    """Make the real call and return the row that it wrote, by table."""
    names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    tables = [str(name) for (name,) in await hall.rows(names)]
    before = {name: await _rows_of(hall, name) for name in tables}
    await filling.make(hall, boss)
    written = {}
    for name in tables:
        new = set(await _rows_of(hall, name)) - set(before[name])
        if len(await _rows_of(hall, name)) > len(before[name]):
            written[name] = new.pop()
    known = {*filling.tables, *filling.others}
    if not set(filling.tables) <= set(written) <= known:
        msg = f"{kind}: the call writes {sorted(written)}; bench/fillings.py knows {sorted(known)}"
        raise ConfigurationError(msg)
    found = {}
    for name in filling.tables:
        columns = [str(row[0]) for row in await hall.rows(_COLUMNS, name)]
        found[name] = dict(zip(columns, written[name], strict=True))
    return found


_COLUMNS = "SELECT name FROM pragma_table_info($1)"


async def _rows_of(hall: OpenHall, table: str) -> list[Row]:
    return await hall.rows(f'SELECT * FROM "{table}" LIMIT 20000')


async def _count(tx: Transaction, *, sql: str, count: int) -> None:
    await tx.execute(sql, count)


async def _copy(
    tx: Transaction, *, filling: Filling, samples: Mapping[str, Mapping[str, Any]], of: range
) -> None:
    """Write each sample again for each number."""
    for table, change in filling.tables.items():
        sample = samples[table]
        sql = f"INSERT INTO {table} ({', '.join(sample)}) VALUES ({_marks(len(sample))})"
        for number in of:
            await tx.execute(sql, *{**sample, **change(number)}.values())


def _marks(count: int) -> str:
    return ", ".join(f"${number}" for number in range(1, count + 1))
