"""Rows that a dump brought back: adopted with their key alone, while no node lives on them."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from unittest.mock import AsyncMock
from urllib.parse import urlsplit

import asyncpg
import pytest

from moothall.action.checks import Level
from moothall.app import compose, server, settle
from moothall.app.adopt import Adopted, adopt_rows
from moothall.app.doctor import Report, examine
from moothall.app.foundation import KEY_FILE
from moothall.app.heads import HEADS_FILE
from moothall.app.migrate import move_hall
from moothall.app.session import LEASE_LOOK_SECONDS, LEASE_LOOKS_MAX
from moothall.core.errors import ConfigurationError
from moothall.storage.postgres.lease import LEASE_SECONDS
from moothall.testing import ProblemError, Visitor, open_test_hall
from tests.servers.postgres import binaries, drop_database, make_database
from tests.unit.app.backups import BOARD, furnish, settings_of, vouch, wall_clock
from tests.unit.app.test_migrate import Watcher

_numbers = count(1)
ON_PURPOSE = {"promises", "role"}
"""The server of the tests promises nothing, for speed."""


@pytest.fixture
async def database() -> AsyncIterator[str]:
    """The address of an empty database."""
    name = f"adopted_{id(_numbers)}_{next(_numbers)}"
    yield await make_database(name)
    await drop_database(name)


@pytest.fixture
async def members(tmp_path: Path, database: str) -> list[Visitor]:
    """Who was signed in, in a hall whose rows are in the database and served by nobody."""
    async with open_test_hall(tmp_path, clock=wall_clock()) as hall:
        boss, members = await furnish(hall)
        await hall.call("identity.create_invitation", {}, as_=boss)
        position = {"feed": f"board/{BOARD}", "cursor": hall.cursor(1)}
        await hall.call("feeds.acknowledge", position, as_=members[0])
        await vouch(hall)
    await asyncio.to_thread(move_hall, settings_of(tmp_path / "hall", database=database), Watcher())
    return [boss, *members]


async def adopt(data: Path, database: str, *, keeps_sessions: bool = False) -> Adopted:
    settings = settings_of(data, database=database)
    return await asyncio.to_thread(adopt_rows, settings, keeps_sessions=keeps_sessions)


async def look(data: Path, database: str) -> dict[str, Report]:
    """Return what is not well, but for what the server of the tests does on purpose."""
    settings = settings_of(data, database=database)
    reports = await asyncio.to_thread(examine, settings, None, is_thorough=True)
    return {
        each.check: each
        for each in reports
        if each.level is not Level.OK and each.check not in ON_PURPOSE
    }


async def run_sql(database: str, sql: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@pytest.mark.requirement("R5")
async def test_nothing_comes_back_that_must_not(
    tmp_path: Path, database: str, members: list[Visitor]
) -> None:
    adopted = await adopt(tmp_path / "hall", database)
    assert adopted.heads_aside == ""
    assert await look(tmp_path / "hall", database) == {}
    async with open_test_hall(tmp_path, clock=wall_clock(), database=database) as hall:
        for member in members:
            with pytest.raises(ProblemError, match="unauthenticated"):
                await hall.call("identity.get_self", {}, as_=member)
        assert await hall.rows("SELECT 1 FROM identity_session WHERE ended_at_ms IS NULL") == []
        assert await hall.rows("SELECT 1 FROM identity_invitation WHERE uses_left > 0"
                               " AND revoked_at_ms IS NULL") == []  # fmt: skip
        [(position,)] = await hall.rows("SELECT cursor FROM feeds_position")
        assert position == f"{adopted.epoch}.1"
        rows = await hall.rows("SELECT actor, path FROM access_audit WHERE action = 'hall.restore'")
        assert rows == [("operator", f"database/{adopted.epoch}")]


async def test_sessions_stay_where_the_operator_wants_it(
    tmp_path: Path, database: str, members: list[Visitor]
) -> None:
    await adopt(tmp_path / "hall", database, keeps_sessions=True)
    async with open_test_hall(tmp_path, clock=wall_clock(), database=database) as hall:
        # The keys are new in any case: a token of before is good no more.
        with pytest.raises(ProblemError, match="unauthenticated"):
            await hall.call("identity.get_self", {}, as_=members[0])
        await hall.call("identity.get_self", {}, as_=hall.renew(members[0]))


async def test_heads_of_lost_rows_are_set_aside(
    tmp_path: Path, database: str, members: list[Visitor]
) -> None:
    data, copy = tmp_path / "hall", tmp_path / "copy"
    shutil.copytree(data, copy)
    # In another database the hall goes on and signs what is lost in this one.
    (copy / "moved-to-postgresql.json").unlink()
    (tmp_path / "other").mkdir()
    copy.rename(tmp_path / "other" / "hall")
    async with open_test_hall(tmp_path / "other", clock=wall_clock()) as hall:
        await hall.call("identity.rename_self", {"name": "otherwise"}, as_=hall.renew(members[1]))
        await vouch(hall)
    kept = (data / HEADS_FILE).read_text()
    more = (tmp_path / "other" / "hall" / HEADS_FILE).read_text()
    assert more.startswith(kept)
    assert more != kept
    (data / HEADS_FILE).write_text(more)
    assert "head" in (await look(data, database))["access.audit_trail"].told
    adopted = await adopt(data, database)
    assert (data / Path(adopted.heads_aside).name).read_text() == more
    assert (data / HEADS_FILE).read_text().startswith(kept)
    assert await look(data, database) == {}
    assert (await adopt(data, database)).heads_aside == ""


@pytest.mark.usefixtures("members")
async def test_what_is_in_the_way_is_named(tmp_path: Path, database: str) -> None:
    data = tmp_path / "hall"
    with pytest.raises(ConfigurationError, match="give --database"):
        await adopt(data, "")
    with pytest.raises(ConfigurationError, match="there is no hall in it"):
        await adopt(data, await make_database("adopted_empty"))
    await drop_database("adopted_empty")
    with pytest.raises(ConfigurationError, match=r"the server refuses: .*does not exist"):
        await adopt(data, database.replace("/adopted_", "/missing_"))
    async with open_test_hall(tmp_path, clock=wall_clock(), database=database):
        # The folder is in use; from another one it is the node that is seen.
        with pytest.raises(ConfigurationError, match="in use by another hall"):
            await adopt(data, database)
        (tmp_path / "other").mkdir(0o700)
        shutil.copy(data / KEY_FILE, tmp_path / "other")
        with pytest.raises(ConfigurationError, match="a node of the hall runs on it"):
            await adopt(tmp_path / "other", database)
    (data / KEY_FILE).write_text("12" * 32)
    with pytest.raises(ConfigurationError, match="this is the key of another hall"):
        await adopt(data, database)


def dump_and_restore(source: str, target: str) -> None:
    """Bring rows into an empty database, as docs/how-to/back-up-and-restore.md says."""
    dump = subprocess.run(
        [binaries() / "pg_dump", "--format=custom", f"--dbname={source}"],
        check=True,
        capture_output=True,
    ).stdout
    subprocess.run(
        [binaries() / "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={target}"],
        input=dump,
        check=True,
    )


@pytest.fixture(params=["dump", "template", "rows"])
async def brought_back(
    request: pytest.FixtureRequest, tmp_path: Path, database: str, members: list[Visitor]
) -> AsyncIterator[str]:
    """The address of rows that were served once, and brought back by the server's own tools."""
    del members
    async with open_test_hall(tmp_path, clock=wall_clock(), database=database):
        pass
    name = f"again_{id(_numbers)}_{next(_numbers)}"
    if request.param == "template":
        yield await make_database(name, template=urlsplit(database).path[1:])
    elif request.param == "dump":
        target = await make_database(name)
        await asyncio.to_thread(dump_and_restore, database, target)
        yield target
    else:  # as of a dump of data alone
        await run_sql(
            database,
            "CREATE TEMPORARY TABLE kept AS TABLE action_hall; TRUNCATE action_hall;"
            " INSERT INTO action_hall TABLE kept",
        )
        yield database
    await drop_database(name)


@pytest.mark.requirement("R5")
async def test_no_node_serves_rows_that_were_brought_back_before_they_are_adopted(
    tmp_path: Path, brought_back: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start() -> None:
        async with open_test_hall(tmp_path, clock=wall_clock(), database=brought_back):
            pass

    with monkeypatch.context() as patched:
        patched.setattr(compose, "_migrate", AsyncMock(side_effect=AssertionError("too early")))
        with pytest.raises(ConfigurationError, match=r"not adopted since.*: moothall adopt"):
            await start()
    failing = AsyncMock(side_effect=ConfigurationError("as of a room that fails"))
    with monkeypatch.context() as patched:
        patched.setattr(settle, "_let_go", failing)
        with pytest.raises(ConfigurationError, match="as of a room that fails"):
            await adopt(tmp_path / "hall", brought_back)
    with pytest.raises(ConfigurationError, match="moothall adopt"):
        await start()
    await adopt(tmp_path / "hall", brought_back)
    for _ in range(2):
        await start()


@pytest.mark.usefixtures("members")
async def test_rows_that_a_node_would_take_are_refused_once_they_are_half_adopted(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a base backup that was rolled forward, and of a release before this one."""
    failing = AsyncMock(side_effect=ConfigurationError("as of a room that fails"))
    with monkeypatch.context() as patched:
        patched.setattr(settle, "_let_go", failing)
        with pytest.raises(ConfigurationError, match="as of a room that fails"):
            await adopt(tmp_path / "hall", database)
    with pytest.raises(ConfigurationError, match="moothall adopt"):
        async with open_test_hall(tmp_path, clock=wall_clock(), database=database):
            pass
    await adopt(tmp_path / "hall", database)
    async with open_test_hall(tmp_path, clock=wall_clock(), database=database):
        pass


@pytest.mark.usefixtures("members")
async def test_rows_that_the_server_tidies_up_stay_where_they_are(
    tmp_path: Path, database: str
) -> None:
    for tidy in (
        "UPDATE action_hall SET key_digest = key_digest, place = NULL",  # of an older release
        "VACUUM (FREEZE) action_hall",
        "VACUUM FULL action_hall",
        "CLUSTER action_hall USING action_hall_pkey",
        "SELECT * FROM action_hall FOR UPDATE",
        "ANALYZE",
    ):
        await run_sql(database, tidy)
        async with open_test_hall(tmp_path, clock=wall_clock(), database=database):
            pass


_LEASE = """
INSERT INTO action_lease (name, holder, until_ms)
VALUES ('jobs', 'x', (extract(epoch FROM clock_timestamp()) * 1000)::bigint + {0})
ON CONFLICT (name) DO UPDATE SET until_ms = excluded.until_ms
"""


@pytest.mark.usefixtures("members")
async def test_a_lease_that_is_renewed_is_a_node_and_one_that_runs_out_is_none(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a dump that was restored at once brings it along.
    await run_sql(database, _LEASE.format(500))
    await adopt(tmp_path / "hall", database)
    await run_sql(database, _LEASE.format(60_000))
    sleep = asyncio.sleep

    async def renew(seconds: float) -> None:
        await run_sql(database, _LEASE.format(70_000))
        await sleep(0 * seconds)

    with monkeypatch.context() as patched:
        patched.setattr("moothall.app.session.asyncio.sleep", renew)
        with pytest.raises(ConfigurationError, match="a node of the hall runs on it"):
            await adopt(tmp_path / "hall", database)
    assert LEASE_LOOK_SECONDS * LEASE_LOOKS_MAX > LEASE_SECONDS


async def test_the_doctor_looks_at_the_server(
    tmp_path: Path, database: str, members: list[Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    del members
    data = tmp_path / "hall"
    settings = settings_of(data, database=database)
    reports = await asyncio.to_thread(examine, settings, None, is_thorough=False)
    told = {(each.check, each.told.partition(" ")[0]): each.level for each in reports}
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        assert told["promises", name] is Level.FAILED
    assert told["role", "autovacuum"] is Level.FAILED
    assert ("size", "The") in told
    checks = {each.check for each in reports}
    assert {"access.audit_trail", "leaderboards.rank_counts", "action.streams"} <= checks
    assert await look(data, database) == {}

    await run_sql(database, "UPDATE identity_session_count SET open = 99")
    holder = await asyncpg.connect(database)
    try:
        await holder.execute("BEGIN; SELECT 1")
        monkeypatch.setattr(server, "LONG_TRANSACTION_SECONDS", 0)
        monkeypatch.setattr(server, "NODES_MIN", 10_000)
        monkeypatch.setattr(server, "AGE_MAX", 0)
        monkeypatch.setattr(server, "CLOCKS_APART_MS_MAX", -1)
        found = await look(data, database)
    finally:
        await holder.close()
    assert found.keys() == {"identity.session_count", "transactions", "connections", "clocks"}
    assert "holds a transaction" in found["transactions"].told
    assert "pg_terminate_backend" in found["transactions"].remedy


@pytest.mark.usefixtures("members")
async def test_the_doctor_tells_of_what_cannot_be_looked_at(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "hall"
    found = await look(data, database.replace("/adopted_", "/missing_"))
    assert "does not exist" in found["server"].told
    found = await look(data, "postgresql://hall@/x?host=/nowhere")
    assert "cannot be reached" in found["server"].told
    found = await look(data, "mysql://x")
    assert "does not begin with postgresql://" in found["server"].told
    # A table that is locked keeps one check waiting, and the others look all the same.
    monkeypatch.setattr("moothall.app.doctor_shared.STATEMENT_SECONDS_MAX", 0.2)
    holder = await asyncpg.connect(database)
    try:
        await holder.execute("BEGIN; LOCK TABLE files_usage IN ACCESS EXCLUSIVE MODE")
        settings = settings_of(data, database=database)
        reports = await asyncio.to_thread(examine, settings, None, is_thorough=False)
    finally:
        await holder.close()
    slow = next(each for each in reports if each.check == "files.usage")
    assert slow.level is Level.WARNING
    assert "took longer" in slow.told
    assert any(each.check == "files.sizes" and each.level is Level.OK for each in reports)
