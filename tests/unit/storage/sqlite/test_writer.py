"""Group commit: who shares a commit, who fails alone, and what a bad disk does to them."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import apsw
import pytest

from moothall.core.codes import Code
from moothall.core.errors import ActionError, OverloadedError, StorageUnavailableError
from moothall.ports.database import Transaction
from moothall.storage.errors import TransactionEndedError
from moothall.storage.sqlite import SqliteBounds, SqliteDatabase
from moothall.storage.sqlite.connection import OPEN_TIMEOUT_MS, open_reader
from moothall.storage.sqlite.writer import SAVEPOINT_CALLS
from moothall.testing import SimulatedDisk
from tests.contract.databases import never, run_script
from tests.unit.storage.sqlite.opening import (
    FILE,
    INSERT,
    Beat,
    come,
    connection_of,
    ids,
    inserting,
    opened,
    trace,
)

PATIENT = SqliteBounds(batch_seconds_max=60)
"""Batches are as large as they can be, however slow the machine is."""

ON_THREAD = SqliteBounds(batch_seconds_max=60, commit_seconds_inline_max=-1)
"""Every COMMIT leaves the loop's thread."""

Work = Callable[[Transaction], Awaitable[Any]]


class RefusedError(ActionError):
    """A refusal, as rooms raise them."""

    code = Code.FAILED_PRECONDITION


async def write_all(database: SqliteDatabase, *works: Work) -> list[Any]:
    """Let several callers write at the same time; return results and errors."""
    return await asyncio.gather(*map(database.write, works), return_exceptions=True)


def refusing(number: int) -> Work:
    async def work(tx: Transaction) -> NoReturn:
        await inserting(number)(tx)
        raise RefusedError

    return work


# --- Batches --------------------------------------------------------------------------------------


async def test_calls_that_wait_share_a_commit(tmp_path: Path) -> None:
    async with opened(tmp_path, PATIENT) as database:
        statements = trace(database)
        assert await write_all(database, *map(inserting, range(100))) == list(range(100))
        assert statements.count("BEGIN IMMEDIATE") == statements.count("COMMIT") == 1


async def test_a_batch_has_256_calls_at_most(tmp_path: Path) -> None:
    async with opened(tmp_path, PATIENT) as database:
        statements = trace(database)
        await write_all(database, *map(inserting, range(600)))
        marks = ["x" if s.startswith("INSERT") else s for s in statements if s != "BEGIN IMMEDIATE"]
        sizes = [len(part.split()) for part in " ".join(marks).split("COMMIT")]
        assert sizes == [256, 256, 88, 0]


async def test_a_batch_takes_no_call_after_5_ms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = Beat()
    monkeypatch.setattr("moothall.storage.sqlite.writer.perf_counter", beat)

    async def work(_tx: Transaction) -> None:
        beat.go_on(0.002)

    async with opened(tmp_path) as database:
        statements = trace(database)
        await write_all(database, *[work] * 7)
        # 2, 4 and 6 ms: the third call began within the 5 ms.
        assert statements.count("COMMIT") == 3


async def test_the_loop_comes_round_between_batches(tmp_path: Path) -> None:
    rounds = 0

    def count_round() -> None:
        nonlocal rounds
        rounds += 1
        if not finished.done():
            loop.call_soon(count_round)

    loop = asyncio.get_running_loop()
    async with opened(tmp_path, SqliteBounds(batch_calls_max=1)) as database:
        finished = asyncio.gather(*(database.write(inserting(n)) for n in range(20)))
        loop.call_soon(count_round)
        await finished
    assert rounds >= 20


async def test_a_refusal_does_not_cost_a_commit_of_its_own(tmp_path: Path) -> None:
    async with opened(tmp_path, PATIENT) as database:
        statements = trace(database)
        outcomes = await write_all(database, inserting(1), refusing(2), inserting(3))
        assert [type(outcome) for outcome in outcomes] == [int, RefusedError, int]
        assert statements.count("COMMIT") == 1
        assert await ids(database) == [1, 3]


async def never_changing(_tx: Transaction) -> None:
    """Change nothing."""


def counting(runs: Counter[int], number: int, work: Work) -> Work:
    async def counted(tx: Transaction) -> object:
        runs[number] += 1
        return await work(tx)

    return counted


async def test_who_has_changed_nothing_is_refused_without_a_second_run(tmp_path: Path) -> None:
    async def refuse(tx: Transaction) -> NoReturn:
        await tx.fetch_all("SELECT * FROM item")
        await tx.execute("DELETE FROM item WHERE id = $1", 77)
        raise RefusedError

    runs = Counter[int]()
    async with opened(tmp_path, PATIENT) as database:
        # The first one since tables were made is taken for the one that made them.
        await write_all(database, refuse)
        await write_all(database, *[never_changing] * SAVEPOINT_CALLS)
        statements = trace(database)
        works = [inserting(1), refuse, inserting(3)]
        outcomes = await write_all(
            database, *(counting(runs, number, work) for number, work in enumerate(works))
        )
        assert [type(outcome) for outcome in outcomes] == [int, RefusedError, int]
        assert set(runs.values()) == {1}
        assert statements.count("SAVEPOINT call") == 0
        assert await ids(database) == [1, 3]


async def test_who_fails_after_a_change_costs_one_second_run(tmp_path: Path) -> None:
    async def make_table(tx: Transaction) -> NoReturn:
        await tx.execute("CREATE TABLE never (id INTEGER)")  # which changes no row
        raise RefusedError

    runs = Counter[int]()
    works = [inserting(1), refusing(2), inserting(3), make_table, inserting(5), refusing(6)]
    async with opened(tmp_path, PATIENT) as database:
        statements = trace(database)
        outcomes = await write_all(
            database, *(counting(runs, number, work) for number, work in enumerate(works))
        )
        assert [type(outcome) for outcome in outcomes] == [int, RefusedError] * 3
        assert runs == Counter({0: 2, 1: 2, 2: 1, 3: 1, 4: 1, 5: 1})
        assert statements.count("COMMIT") == 1
        # From then on each has a savepoint, so that others who fail disturb nobody.
        await write_all(database, *map(inserting, range(10, 10 + SAVEPOINT_CALLS)))
        assert statements.count("SAVEPOINT call") == SAVEPOINT_CALLS
        assert await ids(database) == [1, 3, 5, *range(10, 10 + SAVEPOINT_CALLS)]
        tables = "SELECT name FROM sqlite_schema WHERE name = 'never'"
        assert await database.read(lambda tx: tx.fetch_all(tables)) == []


async def test_who_makes_a_table_and_fails_leaves_none(tmp_path: Path) -> None:
    async def make_table(tx: Transaction) -> NoReturn:
        await tx.execute("CREATE TABLE never (id INTEGER)")
        raise RefusedError

    tables = "SELECT name FROM sqlite_schema WHERE name = 'never'"
    async with opened(tmp_path, PATIENT) as database:
        for first in (1, 3):  # and not the second time either, when savepoints are over
            outcomes = await write_all(database, inserting(first), make_table, inserting(first + 1))
            assert [type(outcome) for outcome in outcomes] == [int, RefusedError, int]
            assert await database.read(lambda tx: tx.fetch_all(tables)) == []
            await write_all(database, *[never_changing] * SAVEPOINT_CALLS)
        assert await ids(database) == [1, 2, 3, 4]


async def test_one_after_the_other_sees_what_came_before(tmp_path: Path) -> None:
    async def add(tx: Transaction) -> int:
        row = await tx.fetch_one("SELECT count(*) FROM item")
        assert row is not None
        await tx.execute("INSERT INTO item DEFAULT VALUES")
        return int(row[0])

    async with opened(tmp_path, PATIENT) as database:
        assert await write_all(database, *[add] * 100) == list(range(100))


async def test_too_many_waiting_calls_are_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, SqliteBounds(queue_calls_max=10)) as database:
        outcomes = await write_all(database, *map(inserting, range(15)))
        assert outcomes[:10] == list(range(10))
        assert [type(outcome) for outcome in outcomes[10:]] == [OverloadedError] * 5
        assert outcomes[10].details["retry_after_ms"] == 1_000
        assert await database.write(inserting(99)) == 99
        assert await ids(database) == [*range(10), 99]


# --- Hooks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [PATIENT, ON_THREAD], ids=["inline", "thread"])
async def test_hooks_run_after_the_commit_and_before_any_answer(
    tmp_path: Path, bounds: SqliteBounds
) -> None:
    heard: list[str] = []

    def listen(number: int) -> None:
        # Another connection sees only what is committed.
        other = open_reader(tmp_path / FILE)
        rows = other.execute("SELECT count(*) FROM item").fetchall()
        other.close()
        heard.append(f"hook {number} sees {rows[0][0]} on {threading.current_thread().name}")

    def hearing(number: int) -> Work:
        async def work(tx: Transaction) -> None:
            tx.on_commit(lambda: listen(number))
            await inserting(number)(tx)

        return work

    async def call(number: int) -> None:
        await database.write(hearing(number))
        heard.append(f"answer {number}")

    async with opened(tmp_path, bounds) as database:
        await asyncio.gather(call(1), call(2))
    assert heard == [
        "hook 1 sees 2 on MainThread",
        "hook 2 sees 2 on MainThread",
        "answer 1",
        "answer 2",
    ]


# --- Poisoned batches -----------------------------------------------------------------------------


async def add_triggers(database: SqliteDatabase) -> None:
    await run_script(
        database,
        """
        CREATE TRIGGER bomb BEFORE INSERT ON item WHEN new.text = 'bomb'
        BEGIN SELECT RAISE(ROLLBACK, 'boom'); END;
        CREATE TABLE child (
          item_id INTEGER REFERENCES item (id) DEFERRABLE INITIALLY DEFERRED);
        """,
    )


async def orphan(tx: Transaction) -> None:
    await tx.execute("INSERT INTO child (item_id) VALUES ($1)", 999)


@pytest.mark.parametrize("bounds", [PATIENT, ON_THREAD], ids=["inline", "thread"])
async def test_who_breaks_the_commit_fails_alone(tmp_path: Path, bounds: SqliteBounds) -> None:
    async with opened(tmp_path, bounds) as database:
        await add_triggers(database)
        statements = trace(database)
        outcomes = await write_all(
            database, inserting(1), orphan, refusing(2), inserting(3), inserting(4)
        )
        assert [type(o) for o in outcomes] == [int, apsw.ConstraintError, RefusedError, int, int]
        assert await ids(database) == [1, 3, 4]
        # One for the batch, one for each of its calls.
        assert statements.count("COMMIT") == 1 + 5


async def test_calls_that_come_meanwhile_wait_for_the_poisoned_batch(tmp_path: Path) -> None:
    order: list[str] = []

    def noting(name: str, work: Work) -> Work:
        async def noted(tx: Transaction) -> None:
            order.append(name)
            await work(tx)

        return noted

    async with opened(tmp_path, PATIENT) as database:
        await add_triggers(database)
        batch = asyncio.gather(
            *(database.write(noting(name, orphan)) for name in "ab"), return_exceptions=True
        )
        while order != ["a", "b"]:  # noqa: ASYNC110 - a batch has no event of its own
            await asyncio.sleep(0)
        await database.write(noting("c", inserting(1)))
        await batch
        assert order == ["a", "b", "a", "b", "c"]


async def test_a_statement_that_ends_the_transaction(tmp_path: Path) -> None:
    async with opened(tmp_path, PATIENT) as database:
        await add_triggers(database)
        outcomes = await write_all(
            database, inserting(1), inserting(2), inserting(3, "bomb"), inserting(4)
        )
        assert [type(o) for o in outcomes] == [int, int, apsw.ConstraintError, int]
        assert await ids(database) == [1, 2, 4]


async def test_a_call_whose_transaction_ended_cannot_write_outside_of_one(tmp_path: Path) -> None:
    async def careless(tx: Transaction) -> None:
        for number in (10, 11):
            try:
                await inserting(number, "bomb" if number == 10 else "")(tx)
            except apsw.Error:
                continue

    async with opened(tmp_path, PATIENT) as database:
        await add_triggers(database)
        outcomes = await write_all(database, inserting(1), careless, inserting(2))
        assert isinstance(outcomes[1], TransactionEndedError)
        assert await ids(database) == [1, 2]


@pytest.mark.parametrize(
    "script",
    [
        "COMMIT",
        "ROLLBACK",
        "RELEASE call",
        "COMMIT; BEGIN; SAVEPOINT call",
        "ROLLBACK; BEGIN",
        "ROLLBACK; BEGIN; INSERT INTO item (id) VALUES (77)",
        "RELEASE call; INSERT INTO item (id) VALUES (77)",
    ],
)
async def test_a_call_cannot_end_its_transaction(tmp_path: Path, script: str) -> None:
    async def meddle(tx: Transaction) -> None:
        await inserting(10)(tx)
        await tx.execute_script(script)

    async with opened(tmp_path, PATIENT) as database:
        runs = 0

        async def count_run(tx: Transaction) -> None:
            nonlocal runs
            runs += 1
            await inserting(1)(tx)

        outcomes = await write_all(database, count_run, meddle, inserting(2))
        assert outcomes[0] is None
        assert isinstance(outcomes[1], apsw.Error | TransactionEndedError)
        assert outcomes[2] == 2
        assert await ids(database) == [1, 2]
        assert runs <= 3
        assert await write_all(database, inserting(3), inserting(4)) == [3, 4]


async def test_a_task_cannot_take_the_transaction_along(tmp_path: Path) -> None:
    tasks: list[asyncio.Task[int]] = []

    async def work(tx: Transaction) -> None:
        tasks.append(asyncio.create_task(tx.execute(INSERT, 1, "late")))

    async with opened(tmp_path) as database:
        await database.write(work)
        with pytest.raises(TransactionEndedError):
            await tasks[0]
        assert await ids(database) == []


# --- Callers that leave ---------------------------------------------------------------------------


async def test_a_call_whose_caller_left_before_is_not_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        tasks = [asyncio.create_task(database.write(inserting(n))) for n in range(6)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await ids(database) == [1, 3, 5]


async def test_a_call_whose_caller_leaves_during_the_commit_stays(tmp_path: Path) -> None:
    disk = SimulatedDisk()
    async with opened(tmp_path, ON_THREAD, disk) as database:
        with disk.holding() as has_come:
            tasks = [asyncio.create_task(database.write(inserting(n))) for n in range(2)]
            await come(has_come)
            tasks[0].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(outcomes[0], asyncio.CancelledError)
        assert await ids(database) == [0, 1]


# --- Slow disks -----------------------------------------------------------------------------------


async def test_a_commit_on_the_thread_leaves_the_loop_free(tmp_path: Path) -> None:
    disk = SimulatedDisk()
    async with opened(tmp_path, ON_THREAD, disk) as database:
        with disk.holding() as has_come:
            first = asyncio.create_task(database.write(inserting(1)))
            await come(has_come)
            second = asyncio.create_task(database.write(inserting(2)))
            for _ in range(100):
                assert await ids(database) == []
            assert not first.done()
            assert not second.done()
        assert await first == 1
        assert await ids(database) in ([1], [1, 2])
        assert await second == 2
        assert disk.sync_threads[-1].startswith("moothall-commit")


async def test_the_writer_chooses_by_what_it_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, beat = SimulatedDisk(), Beat()
    monkeypatch.setattr("moothall.storage.sqlite.writer.perf_counter", beat)
    seconds = 0.0

    def pass_time(name: str) -> None:
        if name.endswith("-wal"):
            beat.go_on(seconds)

    async def write(count: int) -> list[str]:
        """Write that often; return the first letters of the threads that synced."""
        disk.sync_threads.clear()
        for _ in range(count):
            await database.write(lambda tx: tx.execute("INSERT INTO item DEFAULT VALUES"))
        return [name.removeprefix("moothall-")[0] for name in disk.sync_threads]

    async with opened(tmp_path, disk=disk) as database:
        disk.before_sync = pass_time
        assert set(await write(10)) == {"M"}
        seconds = 0.010
        assert "".join(await write(10)) == "MMMccccccc"
        # Commits that wrote nothing are quick on any disk, and prove nothing.
        for _ in range(100):
            await database.write(lambda tx: tx.fetch_one("SELECT 1"))
        assert "".join(await write(2)) == "cc"
        seconds = 0.0001
        assert "".join(await write(30)).endswith("MMM")


# --- Full and broken disks ------------------------------------------------------------------------


async def test_a_full_disk_refuses_writes_and_recovers_alone(tmp_path: Path) -> None:
    disk = SimulatedDisk()
    async with opened(tmp_path, PATIENT, disk) as database:
        await write_all(database, *map(inserting, range(5)))
        disk.is_full = True
        for outcome in await write_all(database, *map(inserting, range(5, 10))):
            assert isinstance(outcome, StorageUnavailableError)
            assert outcome.code is Code.UNAVAILABLE
        assert await ids(database) == list(range(5))
        disk.is_full = False
        assert await write_all(database, *map(inserting, range(10, 15))) == list(range(10, 15))
        assert await ids(database) == [*range(5), *range(10, 15)]


async def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    async with opened(tmp_path, PATIENT) as database:
        connection = connection_of(database)
        pages = connection.pragma("page_count")
        assert isinstance(pages, int)
        connection.pragma("max_page_count", pages + 3)
        big = "x" * 50_000
        outcomes = await write_all(
            database, inserting(1), inserting(2, big), inserting(3), inserting(4, big)
        )
        assert [type(o) for o in outcomes] == [
            int, StorageUnavailableError, int, StorageUnavailableError,
        ]  # fmt: skip
        assert outcomes[1].details["reason"] == "the disk is full"
        assert await ids(database) == [1, 3]
        connection.pragma("max_page_count", 100_000)
        assert await database.write(inserting(5, big)) == 5
        assert await ids(database) == [1, 3, 5]


@pytest.mark.parametrize("bounds", [PATIENT, ON_THREAD], ids=["inline", "thread"])
async def test_a_failed_sync_stops_everything(tmp_path: Path, bounds: SqliteBounds) -> None:
    disk, failures = SimulatedDisk(), list[BaseException]()
    heard: list[str] = []

    async def hearing(tx: Transaction) -> None:
        tx.on_commit(lambda: heard.append("never"))
        await inserting(2)(tx)

    async with opened(tmp_path, bounds, disk, on_sync_failure=failures.append) as database:
        await database.write(inserting(1))
        disk.breaks = {"-wal"}
        outcomes = await write_all(database, hearing, inserting(3))
        assert [type(outcome) for outcome in outcomes] == [StorageUnavailableError] * 2
        assert len(failures) == 1
        assert isinstance(failures[0], apsw.IOError)
        disk.breaks = set()
        # The disk seems well again, which is when it must not be believed.
        with pytest.raises(StorageUnavailableError, match="failed to sync"):
            await database.write(inserting(4))
        assert await ids(database) == [1]
        assert heard == []


async def test_a_failed_sync_fails_those_who_wait(tmp_path: Path) -> None:
    disk, failures = SimulatedDisk(), list[BaseException]()
    async with opened(tmp_path, ON_THREAD, disk, on_sync_failure=failures.append) as database:
        with disk.holding() as has_come:
            first = asyncio.create_task(database.write(inserting(1)))
            await come(has_come)
            others = [asyncio.create_task(database.write(inserting(n))) for n in (2, 3)]
            await asyncio.sleep(0)
            disk.breaks = {"-wal"}
        outcomes = await asyncio.gather(first, *others, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StorageUnavailableError] * 3
        assert len(failures) == 1
        disk.breaks = set()


# --- Another program ------------------------------------------------------------------------------


async def test_another_programs_lock_does_not_stop_the_loop(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        other = apsw.Connection(str(tmp_path / FILE))
        other.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(database.write(inserting(1)))
        start = time.monotonic()
        for _ in range(20):
            await asyncio.sleep(0)
            assert await ids(database) == []
        assert not task.done()
        # SQLite's own waiting would have stopped the loop until it gives up.
        assert time.monotonic() - start < OPEN_TIMEOUT_MS / 1_000
        other.execute("ROLLBACK")
        other.close()
        assert await task == 1


async def test_another_programs_lock_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    async with opened(tmp_path, SqliteBounds(lock_seconds_max=0.02)) as database:
        other = apsw.Connection(str(tmp_path / FILE))
        other.execute("BEGIN IMMEDIATE")
        for outcome in await write_all(database, inserting(1), inserting(2)):
            assert isinstance(outcome, StorageUnavailableError)
        other.close()
        assert await write_all(database, inserting(3), inserting(4)) == [3, 4]
        assert await ids(database) == [3, 4]


async def test_a_sync_that_fails_in_a_statement_acknowledges_nobody(tmp_path: Path) -> None:
    """SQLite syncs the head of a log that begins anew when it runs out of memory for pages."""
    disk = SimulatedDisk()
    told: list[BaseException] = []
    async with opened(tmp_path, PATIENT, disk, on_sync_failure=told.append) as database:
        connection = connection_of(database)
        connection.execute("PRAGMA cache_size = 10")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        disk.breaks = {"-wal"}
        outcomes = await write_all(database, inserting(1), inserting(2, "x" * 1_000_000))
        assert [type(outcome) for outcome in outcomes] == [StorageUnavailableError] * 2
        assert len(told) == 1
        disk.breaks = set()
        assert await ids(database) == []


# --- The end --------------------------------------------------------------------------------------


async def test_close_finishes_a_commit_on_the_thread(tmp_path: Path) -> None:
    disk = SimulatedDisk()
    database = SqliteDatabase.open(
        tmp_path / FILE, on_sync_failure=never, bounds=ON_THREAD, vfs=disk.vfs
    )
    await run_script(database, "CREATE TABLE item (id INTEGER PRIMARY KEY, text TEXT)")
    with disk.holding() as has_come:
        task = asyncio.create_task(database.write(inserting(1)))
        await come(has_come)
        closing = asyncio.create_task(database.close())
        await asyncio.sleep(0)
        with pytest.raises(StorageUnavailableError, match="closing"):
            await database.write(inserting(2))
        assert not closing.done()
    assert await task == 1
    await closing
