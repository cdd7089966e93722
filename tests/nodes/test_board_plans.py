"""PostgreSQL reads large boards by their indexes, and no more of them than it shows.

Also where nothing has told the server yet how many rows there are: a history was just imported.
"""

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest

from moothall.ports.database import Transaction
from moothall.services.leaderboards.model import Entry
from moothall.services.leaderboards.store import bulk, seasons
from moothall.storage.postgres.transaction import PostgresTransaction
from moothall.testing import OpenHall, Visitor
from tests.servers.nodes import open_nodes

ENTRIES = 20_000
WAITING = 20_000
EVENTS = 20_000
ROWS_READ_MAX = 1_000
"""Of one table by one statement: as many waiting entries are counted (`store/views.py`)."""

TABLES_LARGE = ("leaderboards_entry", "leaderboards_rank", "leaderboards_standing", "action_event")
WAIT = """
INSERT INTO leaderboards_entry
SELECT 'f' || md5(CAST(g AS TEXT)), 'mile', md5(CAST(g % 100 AS TEXT)), g, g, NULL, NULL, 1
FROM generate_series(1, $1) AS g
"""
TELL = """
INSERT INTO action_event (stream, seq, kind, at_ms, data)
SELECT 'board/b' || g % 100, g / 100 + 2, 'leaderboards.score_submitted', 1, '{}'
FROM generate_series(1, $1) AS g
"""

Statement = tuple[str, tuple[Any, ...]]


@pytest.fixture(params=["different", "tied"])
async def hall(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenHall]:
    """A hall with one large board, of whose rows the server has no statistics."""
    chance = Random(1)
    score: Callable[[], float] = (
        chance.random if request.param == "different" else lambda: float(chance.randrange(3))
    )
    async with open_nodes(tmp_path, 1) as nodes:
        hall = nodes.halls[0]
        boss = await hall.administrator("boss")
        board = {"board_id": "mile", "name": "Mile", "direction": "ascending"}
        await hall.call("leaderboards.create_board", board, as_=boss)
        found = [
            Entry(
                entry_id=f"{number:024x}",
                board_id="mile",
                member_id=f"{number:032x}",
                score=score(),
                submitted_at_ms=number,
                verified_at_ms=1,
                verified_by=boss.member_id,
                season=1,
            )
            for number in range(ENTRIES)
        ]

        async def fill(tx: Transaction) -> None:
            await bulk.insert_entries(tx, found)
            await bulk.insert_ranking(tx, await seasons.get_ranking(tx, "mile"), found)
            await tx.execute(WAIT, WAITING)
            await tx.execute(TELL, EVENTS)

        await hall.hall.database.write(fill)
        yield hall


async def listen(monkeypatch: pytest.MonkeyPatch, call: Any) -> list[Statement]:
    """Return the statements of a call with their parameters."""
    heard: list[Statement] = []
    real = PostgresTransaction._wait

    async def wait(self: Any, method: Any, *arguments: Any) -> Any:
        if not re.search("action_notice|cursor >= ", arguments[0]):  # the tail, which reads on
            heard.append((arguments[0], arguments[1:]))
        return await real(self, method, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(PostgresTransaction, "_wait", wait)
        await call
    return heard


async def read_plans(hall: OpenHall, statements: list[Statement]) -> list[str]:
    """Carry each out again, as the hall does, and return the plans; nothing of it stays."""
    plans: list[str] = []

    class UndoneError(Exception):
        """Nothing of it is kept."""

    async def explain(tx: Transaction) -> None:
        for sql, parameters in statements:
            if sql.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
                rows = await tx.fetch_all(f"EXPLAIN (ANALYZE, TIMING OFF) {sql}", *parameters)
                plans.append("\n".join([sql, *(row[0] for row in rows)]))
        raise UndoneError

    with pytest.raises(UndoneError):
        await hall.hall.database.write(explain)
    return plans


def find_waste(plan: str) -> list[str]:
    """Return what of a plan reads a large table from its beginning, or much that is not shown."""
    waste = []
    for line in plan.splitlines():
        if (
            found := re.search(r"(Scan.*) on (\w+).*actual rows=([\d.]+) loops=(\d+)", line)
        ) is None:
            continue
        is_much = float(found[3]) * int(found[4]) > ROWS_READ_MAX
        if found[2].startswith(TABLES_LARGE) and (is_much or "Seq Scan" in line):
            waste.append(line)
    waste += [line for line in plan.splitlines() if re.search(r"Removed by Filter: \d{4}", line)]
    return waste


@pytest.mark.requirement("R54")
@pytest.mark.parametrize("is_analyzed", [False, True])
async def test_hot_statements_read_what_they_show(
    hall: OpenHall, monkeypatch: pytest.MonkeyPatch, *, is_analyzed: bool
) -> None:
    boss = await hall.sign_in("boss")
    if is_analyzed:
        connection = await asyncpg.connect(hall.settings.database)
        await connection.execute("ANALYZE")
        await connection.close()
    wasted = []
    for name, call in (await _calls(hall, boss)).items():
        statements = await listen(monkeypatch, call())
        plans = await read_plans(hall, statements)
        wasted += [f"{name}: {plan}" for plan in plans if find_waste(plan)]
    assert wasted == []


async def _calls(hall: OpenHall, boss: Visitor) -> dict[str, Callable[[], Any]]:
    """Return the calls that are made most often on large boards."""

    def calling(action: str, **fields: Any) -> Callable[[], Any]:
        return lambda: hall.call(f"leaderboards.{action}", fields, as_=boss)

    async def submit() -> str:
        entry = await calling("submit_score", board_id="mile", score=0.5)()
        return str(entry.entry_id)

    async def follow() -> None:
        [(first,)] = await hall.rows("SELECT min(cursor) FROM action_event")
        reader = await hall.connect(boss)
        await hall.call(
            "leaderboards.create_board",
            {"board_id": "b7", "name": "B", "direction": "ascending"},
            as_=boss,
        )
        await reader.call("feeds.subscribe", feed="board/b7", after=hall.cursor(first))
        for _ in range(100):
            await reader.next_event()

    own, other = await submit(), await submit()
    await calling("verify_entry", entry_id=own)()
    return {
        "get_rank": calling("get_rank", board_id="mile"),
        "list_around": calling("list_around", board_id="mile", count=10),
        "list_entries": calling("list_entries", board_id="mile", offset=ENTRIES // 2),
        "first page": calling("list_entries", board_id="mile"),
        "get_board": calling("get_board", board_id="mile"),
        "list_waiting": calling("list_waiting", board_id="mile"),
        "list_entries_of": calling("list_entries_of", member="boss"),
        "submit_score": calling("submit_score", board_id="mile", score=0.3),
        "verify_entry": calling("verify_entry", entry_id=other),
        "unverify_entry": calling("unverify_entry", entry_id=own),
        "follow": follow,
    }
