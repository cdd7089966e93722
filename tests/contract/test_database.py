"""What every database promises, whichever engine it is (``ports/database.py``)."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.core.codes import Code
from moothall.core.errors import ActionError, StorageUnavailableError
from moothall.ports.database import Row, Transaction
from moothall.storage.errors import SuspendedError, TransactionEndedError
from tests.contract.databases import ADAPTERS, Adapter, OpenDatabase, count, opened, run_script

SCHEMA = """
CREATE TABLE member (id BIGINT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE counter (id BIGINT PRIMARY KEY, value BIGINT NOT NULL);
CREATE TABLE entry (
  id BIGINT PRIMARY KEY,
  member_id BIGINT NOT NULL REFERENCES member (id) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO counter VALUES (1, 0);
"""

INSERT = "INSERT INTO member (id, name) VALUES ($1, $2)"


class RefusedError(ActionError):
    """A refusal, as rooms raise them."""

    code = Code.FAILED_PRECONDITION


@pytest.fixture(params=list(ADAPTERS.values()), ids=list(ADAPTERS))
def adapter(request: pytest.FixtureRequest) -> Adapter:
    chosen: Adapter = request.param
    return chosen


@pytest.fixture
async def database(adapter: Adapter, tmp_path: Path) -> AsyncIterator[OpenDatabase]:
    async with opened(adapter, tmp_path) as database:
        await run_script(database, SCHEMA)
        yield database


async def names(database: OpenDatabase) -> list[str]:
    rows = await database.read(lambda tx: tx.fetch_all("SELECT name FROM member ORDER BY id"))
    return [row[0] for row in rows]


def adding(number: int, name: str = "") -> Any:
    async def work(tx: Transaction) -> int:
        await tx.execute(INSERT, number, name or f"member {number}")
        return number

    return work


def refusing(number: int) -> Any:
    async def work(tx: Transaction) -> NoReturn:
        await tx.execute(INSERT, number, "refused")
        raise RefusedError

    return work


# --- Returning commits, raising rolls back --------------------------------------------------------


async def test_returning_commits(database: OpenDatabase) -> None:
    assert await database.write(adding(1, "ada")) == 1
    assert await names(database) == ["ada"]


async def test_raising_rolls_back_and_reaches_the_caller(database: OpenDatabase) -> None:
    with pytest.raises(RefusedError):
        await database.write(refusing(1))
    assert await names(database) == []


async def test_a_refusal_undoes_only_itself(database: OpenDatabase) -> None:
    works = [refusing(n) if n % 3 == 0 else adding(n) for n in range(60)]
    outcomes = await asyncio.gather(*map(database.write, works), return_exceptions=True)
    for number, outcome in enumerate(outcomes):
        assert isinstance(outcome, RefusedError) if number % 3 == 0 else outcome == number
    assert await names(database) == [f"member {n}" for n in range(60) if n % 3]


async def test_a_bug_undoes_only_itself(database: OpenDatabase) -> None:
    async def bug(tx: Transaction) -> None:
        await tx.execute(INSERT, 2, "bug")
        await tx.execute("INSERT INTO no_such_table VALUES ($1)", 1)

    outcomes = await asyncio.gather(
        *map(database.write, (adding(1), bug, adding(3))), return_exceptions=True
    )
    assert outcomes[0] == 1
    assert isinstance(outcomes[1], Exception)
    assert not isinstance(outcomes[1], ActionError)
    assert outcomes[2] == 3
    assert await names(database) == ["member 1", "member 3"]


async def test_work_that_ends_a_coroutine_does_not_stop_the_writer(database: OpenDatabase) -> None:
    def work(_tx: Transaction) -> Any:
        return next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await database.write(work)
    assert await database.write(adding(1)) == 1


async def test_no_increment_is_lost(database: OpenDatabase) -> None:
    async def increment(tx: Transaction) -> int:
        rows = await tx.lock_rows("SELECT value FROM counter WHERE id = $1 ORDER BY id", 1)
        value = int(rows[0][0]) + 1
        await tx.execute("UPDATE counter SET value = $1 WHERE id = $2", value, 1)
        return value

    values = await asyncio.gather(*(database.write(increment) for _ in range(300)))
    assert sorted(values) == list(range(1, 301))


# --- Constraints that a commit finds broken -------------------------------------------------------


async def test_a_call_that_breaks_the_commit_fails_alone(database: OpenDatabase) -> None:
    runs = [0] * 10

    def entering(number: int) -> Any:
        async def work(tx: Transaction) -> int:
            runs[number] += 1
            await adding(number)(tx)
            member = 999 if number == 4 else number
            await tx.execute("INSERT INTO entry (id, member_id) VALUES ($1, $2)", number, member)
            return number

        return work

    outcomes = await asyncio.gather(
        *(database.write(entering(n)) for n in range(10)), return_exceptions=True
    )
    assert [outcome for outcome in outcomes if isinstance(outcome, int)] == [
        0, 1, 2, 3, 5, 6, 7, 8, 9,
    ]  # fmt: skip
    assert isinstance(outcomes[4], Exception)
    assert not isinstance(outcomes[4], ActionError)
    assert await count(database, "member") == await count(database, "entry") == 9
    assert max(runs) <= 2


async def test_hooks_of_a_rolled_back_run_are_not_called_twice(database: OpenDatabase) -> None:
    heard: list[int] = []

    def hearing(number: int) -> Any:
        async def work(tx: Transaction) -> None:
            tx.on_commit(lambda: heard.append(number))
            await tx.execute("INSERT INTO entry (id, member_id) VALUES ($1, $2)", number, number)
            if number:
                await adding(number)(tx)

        return work

    outcomes = await asyncio.gather(
        *(database.write(hearing(n)) for n in range(5)), return_exceptions=True
    )
    assert isinstance(outcomes[0], Exception)
    assert sorted(heard) == [1, 2, 3, 4]


# --- Savepoints within a call ---------------------------------------------------------------------


async def test_nested_work_is_undone_alone(database: OpenDatabase) -> None:
    async def work(tx: Transaction) -> None:
        await adding(1)(tx)
        with pytest.raises(RefusedError):
            await tx.nested(lambda: refusing(2)(tx))
        await tx.nested(lambda: adding(3)(tx))

    await database.write(work)
    assert await names(database) == ["member 1", "member 3"]


async def test_nested_work_in_nested_work(database: OpenDatabase) -> None:
    async def work(tx: Transaction) -> int:
        async def outer() -> int:
            await adding(1)(tx)
            with pytest.raises(RefusedError):
                await tx.nested(lambda: refusing(2)(tx))
            inner: int = await tx.nested(lambda: adding(3)(tx))
            raise RefusedError(inner=inner)

        with pytest.raises(RefusedError):
            await tx.nested(outer)
        result: int = await tx.nested(lambda: adding(4)(tx))
        return result

    assert await database.write(work) == 4
    assert await names(database) == ["member 4"]


async def test_nested_work_falls_with_its_call(database: OpenDatabase) -> None:
    async def work(tx: Transaction) -> NoReturn:
        await tx.nested(lambda: adding(1)(tx))
        raise RefusedError

    with pytest.raises(RefusedError):
        await database.write(work)
    assert await names(database) == []


# --- Hooks ----------------------------------------------------------------------------------------


async def test_hooks_run_in_order_before_the_answer(database: OpenDatabase) -> None:
    heard: list[str] = []

    async def work(tx: Transaction) -> None:
        tx.on_commit(lambda: heard.append("first"))
        await adding(1)(tx)
        tx.on_commit(lambda: heard.append("second"))
        assert not heard

    await database.write(work)
    heard.append("answer")
    assert heard == ["first", "second", "answer"]


async def test_hooks_fall_with_their_call(database: OpenDatabase) -> None:
    heard: list[str] = []

    async def work(tx: Transaction) -> NoReturn:
        tx.on_commit(lambda: heard.append("never"))
        raise RefusedError

    with pytest.raises(RefusedError):
        await database.write(work)
    assert heard == []


async def test_hooks_fall_with_their_savepoint(database: OpenDatabase) -> None:
    heard: list[str] = []

    async def work(tx: Transaction) -> None:
        async def refused() -> NoReturn:
            tx.on_commit(lambda: heard.append("refused"))
            await tx.nested(accepted)
            raise RefusedError

        async def accepted() -> None:
            tx.on_commit(lambda: heard.append("nested"))

        tx.on_commit(lambda: heard.append("before"))
        with pytest.raises(RefusedError):
            await tx.nested(refused)
        await tx.nested(accepted)
        tx.on_commit(lambda: heard.append("after"))

    await database.write(work)
    assert heard == ["before", "nested", "after"]


async def test_a_hook_that_fails_stops_nobody(database: OpenDatabase) -> None:
    heard: list[str] = []

    def fail() -> NoReturn:
        raise ValueError

    async def work(tx: Transaction) -> str:
        tx.on_commit(fail)
        tx.on_commit(lambda: heard.append("heard"))
        return "done"

    outcomes = await asyncio.gather(*map(database.write, (work, adding(1))))
    assert outcomes == ["done", 1]
    assert heard == ["heard"]


# --- Awaiting something else ----------------------------------------------------------------------


async def test_a_write_that_waits_is_rolled_back_and_named(database: OpenDatabase) -> None:
    async def wait() -> None:
        await asyncio.sleep(0)  # here

    async def work(tx: Transaction) -> None:
        await adding(1)(tx)
        await wait()

    lines, first = inspect.getsourcelines(wait)
    here = first + next(n for n, line in enumerate(lines) if "# here" in line)
    outcomes = await asyncio.gather(
        *map(database.write, (adding(2), work, adding(3))), return_exceptions=True
    )
    assert outcomes[0] == 2
    assert isinstance(outcomes[1], SuspendedError)
    assert f"{Path(__file__).name}:{here}" in str(outcomes[1]).splitlines()[0]
    assert outcomes[2] == 3
    assert await names(database) == ["member 2", "member 3"]


async def test_a_read_that_waits_is_named(database: OpenDatabase) -> None:
    async def work(_tx: Transaction) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(SuspendedError, match=r"test_database\.py:\d+: .* make it a FLOW"):
        await database.read(work)


async def test_one_that_waits_within_a_savepoint(database: OpenDatabase) -> None:
    heard: list[str] = []

    async def work(tx: Transaction) -> None:
        async def wait() -> None:
            tx.on_commit(lambda: heard.append("never"))
            await adding(1)(tx)
            await asyncio.sleep(0)

        await tx.nested(wait)

    with pytest.raises(SuspendedError):
        await database.write(work)
    assert await names(database) == heard == []


async def test_one_that_waits_again_on_its_way_out(database: OpenDatabase) -> None:
    async def work(tx: Transaction) -> None:
        try:
            await adding(1)(tx)
            await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)

    with pytest.raises(SuspendedError):
        await database.write(work)
    assert await names(database) == []


async def test_what_is_ready_does_not_suspend(database: OpenDatabase) -> None:
    ready = asyncio.get_running_loop().create_future()
    ready.set_result("ready")

    async def work(_tx: Transaction) -> str:
        result: str = await ready
        return result

    assert await database.write(work) == "ready"


async def test_a_transaction_ends_with_its_call(database: OpenDatabase) -> None:
    kept: list[Transaction] = []

    async def keep(tx: Transaction) -> None:
        kept.append(tx)

    await database.write(keep)
    await database.read(keep)
    for tx in kept:
        with pytest.raises(TransactionEndedError):
            await tx.execute(INSERT, 1, "late")
        with pytest.raises(TransactionEndedError):
            await tx.fetch_all("SELECT name FROM member")
    with pytest.raises(TransactionEndedError):
        await kept[0].append(INSERT, 1, "late")
    with pytest.raises(TransactionEndedError):
        await kept[0].append_returning(f"{INSERT} RETURNING id", 1, "late")
    assert await names(database) == []


# --- Callers that leave ---------------------------------------------------------------------------


async def test_a_caller_that_leaves_disturbs_nobody(database: OpenDatabase) -> None:
    tasks = [asyncio.create_task(database.write(adding(n))) for n in range(20)]
    await asyncio.sleep(0)  # all wait for the writer now
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[1::2] == list(range(1, 20, 2))
    # Whether a call whose caller has left is carried out is open; half of it never is.
    assert set(range(1, 20, 2)) <= {int(name.split()[1]) for name in await names(database)}


# --- Reads ----------------------------------------------------------------------------------------


async def test_a_read_sees_what_was_acknowledged(database: OpenDatabase) -> None:
    async def write_and_read(number: int) -> None:
        await database.write(adding(number))
        row = await database.read(
            lambda tx: tx.fetch_one("SELECT name FROM member WHERE id = $1", number)
        )
        assert row == (f"member {number}",)

    await asyncio.gather(*(write_and_read(n) for n in range(200)))


async def test_a_read_that_raises_reaches_its_caller(database: OpenDatabase) -> None:
    async def work(tx: Transaction) -> NoReturn:
        await tx.fetch_all("SELECT name FROM member")
        raise RefusedError

    with pytest.raises(RefusedError):
        await database.read(work)
    assert await names(database) == []


async def test_a_read_that_writes_is_a_bug_and_writes_nothing(database: OpenDatabase) -> None:
    with pytest.raises(Exception, match=r".") as caught:  # the driver's own
        await database.read(adding(1))
    assert not isinstance(caught.value, ActionError)
    assert await names(database) == []


async def test_a_read_of_a_fresh_database(adapter: Adapter, tmp_path: Path) -> None:
    async with opened(adapter, tmp_path) as database:
        assert await database.read(lambda tx: tx.fetch_one("SELECT 1")) == (1,)


async def test_savepoints_within_a_read(database: OpenDatabase) -> None:
    async def work(tx: Transaction) -> Row | None:
        async def refused() -> NoReturn:
            raise RefusedError

        with pytest.raises(RefusedError):
            await tx.nested(refused)
        return await tx.nested(lambda: tx.fetch_one("SELECT 7"))

    assert await database.read(work) == (7,)


# --- Statements and values ------------------------------------------------------------------------


async def test_execute_counts_changed_rows(database: OpenDatabase) -> None:
    async def work(tx: Transaction) -> list[int]:
        return [
            await tx.execute("INSERT INTO member (id, name) VALUES (1, 'a'), (2, 'b')"),
            await tx.execute("UPDATE member SET name = 'c'"),
            await tx.execute("UPDATE member SET name = 'd' WHERE id = 99"),
            await tx.execute("INSERT INTO member VALUES (1, 'e') ON CONFLICT (id) DO NOTHING"),
            await tx.execute("DELETE FROM member WHERE id = 1"),
            await tx.execute("INSERT INTO member VALUES (5, 'f'), (6, 'g') RETURNING id"),
        ]

    assert await database.write(work) == [2, 2, 0, 0, 1, 2]
    assert await count(database, "member") == 3


async def test_returning_and_on_conflict(database: OpenDatabase) -> None:
    sql = (
        "INSERT INTO counter (id, value) VALUES ($1, 1) "
        "ON CONFLICT (id) DO UPDATE SET value = counter.value + 1 RETURNING value"
    )
    assert await database.write(lambda tx: tx.fetch_one(sql, 7)) == (1,)
    assert await database.write(lambda tx: tx.fetch_one(sql, 7)) == (2,)
    assert await database.write(lambda tx: tx.fetch_all(sql, 7)) == [(3,)]
    assert await database.write(lambda tx: tx.fetch_one(sql, 7)) == (4,)


async def test_no_row_is_none(database: OpenDatabase) -> None:
    sql = "SELECT name FROM member WHERE id = $1"
    assert await database.read(lambda tx: tx.fetch_one(sql, 1)) is None
    assert await database.read(lambda tx: tx.fetch_all(sql, 1)) == []


PARAMETERS = {
    "in their order": ("SELECT $1, $2", ("a", "b"), ("a", "b")),
    "in another order": ("SELECT $2, $1", ("a", "b"), ("b", "a")),
    "more than once": ("SELECT $1, $2, $1", ("a", "b"), ("a", "b", "a")),
    "ten and more": (
        "SELECT " + ", ".join(f"${n}" for n in range(12, 0, -1)),
        tuple("abcdefghijkl"),
        tuple("lkjihgfedcba"),
    ),
    "beside text": ("SELECT '$2 costs ''$1''', $1", ("a",), ("$2 costs '$1'", "a")),
    "beside comments": ("SELECT $1 /* not $2 */, $2 -- nor $3", ("a", "b"), ("a", "b")),
    "beside a name": ('SELECT x."$2" FROM (SELECT CAST($1 AS TEXT) AS "$2") AS x', ("a",), ("a",)),
    "beside a bare name": ("SELECT b$1 FROM (SELECT CAST($1 AS TEXT) AS b$1) AS x", ("a",), ("a",)),
}


@pytest.mark.parametrize("case", PARAMETERS.values(), ids=PARAMETERS.keys())
async def test_parameters(
    database: OpenDatabase, case: tuple[str, tuple[str, ...], tuple[str, ...]]
) -> None:
    sql, given, expected = case
    assert await database.read(lambda tx: tx.fetch_one(sql, *given)) == expected


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_values_come_back(adapter: Adapter, tmp_path: Path, runner: asyncio.Runner) -> None:
    """Hypothesis drives one database, so that it can try many values quickly."""
    database = runner.run(adapter(tmp_path))
    schema = "CREATE TABLE kept (t TEXT, i BIGINT, f DOUBLE PRECISION, n TEXT)"
    runner.run(run_script(database, schema))

    # A NUL and half a surrogate pair are no text for either engine; NaN is no number to keep.
    text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
    integer = st.integers(-(2**63), 2**63 - 1)
    number = st.floats(allow_nan=False, allow_subnormal=False)

    @given(text, integer, number)
    def check(text: str, integer: int, number: float) -> None:
        async def work(tx: Transaction) -> Row | None:
            await tx.execute("DELETE FROM kept")
            sql = "INSERT INTO kept (n, f, i, t) VALUES ($4, $3, $2, $1)"
            await tx.execute(sql, text, integer, number, None)
            return await tx.fetch_one("SELECT t, i, f, n FROM kept WHERE t = $1", text)

        assert runner.run(database.write(work)) == (text, integer, number, None)

    check()
    runner.run(database.close())


# --- The end --------------------------------------------------------------------------------------


async def test_close_finishes_what_waits(adapter: Adapter, tmp_path: Path) -> None:
    database = await adapter(tmp_path)
    await run_script(database, SCHEMA)
    tasks = [asyncio.create_task(database.write(adding(n))) for n in range(500)]
    await asyncio.sleep(0)  # all wait for the writer now
    await database.close()
    assert await asyncio.gather(*tasks) == list(range(500))
    async with opened(adapter, tmp_path) as again:
        assert await count(again, "member") == 500


async def test_a_closed_database_refuses(adapter: Adapter, tmp_path: Path) -> None:
    database = await adapter(tmp_path)
    await run_script(database, SCHEMA)
    await database.close()
    with pytest.raises(StorageUnavailableError):
        await database.write(adding(1))
    with pytest.raises(StorageUnavailableError):
        await database.read(lambda tx: tx.fetch_one("SELECT 1"))


async def test_reopening_gives_everything_back(adapter: Adapter, tmp_path: Path) -> None:
    for round_number in range(3):
        async with opened(adapter, tmp_path) as database:
            if round_number == 0:
                await run_script(database, SCHEMA)
            assert await count(database, "member") == round_number
            await database.write(adding(round_number))
