"""A hall moves to PostgreSQL between two calls of its members, and comes back from a dump there."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import msgspec
import pytest

from moothall.client import Hall
from tests.plays.conftest import PASSWORD, PROGRAM, NewPerson, StartHall, environment
from tests.plays.kill_load import COUNTING, MEMBERS, KilledHall, Load, Write, ask, settle_in
from tests.plays.test_backup import run, run_well
from tests.servers.postgres import PostgresServer

# These halls say themselves what they rest on.
pytestmark = pytest.mark.sqlite

SEED = 7
CONNECTIONS = 6


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of which the doctor has nothing to say."""
    found = PostgresServer(is_safe=True)
    yield found
    found.remove()


@pytest.fixture
def database(server: PostgresServer, request: pytest.FixtureRequest) -> str:
    """The address of an empty database."""
    name = f"play_{abs(hash(request.node.nodeid))}"
    server.run_sql(f"CREATE DATABASE {name}")
    return server.url(name)


async def until_it_waits(connection: Any) -> None:
    """Return when another process waits for a lock."""
    async with asyncio.timeout(60):
        sql = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not await connection.fetchval(sql):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)


async def kill_in_the_middle(folder: Path, database: str) -> None:
    """Begin to move a hall, and kill the program when all rows are copied."""
    connection = await asyncpg.connect(database)
    try:
        async with connection.transaction():
            # What ANALYZE must write into, after the last row and before the comparison.
            await connection.execute("LOCK TABLE pg_statistic IN SHARE MODE")
            process = await asyncio.create_subprocess_exec(
                *PROGRAM, "migrate", "--data", str(folder), "--database", database,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment(),
            )  # fmt: skip
            await until_it_waits(connection)
            process.send_signal(signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL
        async with asyncio.timeout(60):
            sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'moothall'"
            while await connection.fetchval(sql):  # noqa: ASYNC110 - until the server notices
                await asyncio.sleep(0.01)
        sql = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert await connection.fetchval(sql) == 0
    finally:
        await connection.close()


@pytest.mark.timeout(240)  # it starts the program a dozen times
@pytest.mark.requirement("R5")
@pytest.mark.requirement("R36")
async def test_members_notice_nothing_but_a_pause(
    start_hall: StartHall, new_person: NewPerson, tmp_path: Path, database: str
) -> None:
    hall = await asyncio.to_thread(start_hall)
    ada, boss = new_person(), new_person()

    def live() -> None:
        boss.joins(hall, "boss")
        boss.does("administration", "claim", "--secret-stdin", stdin=f"{hall.secret}\n")
        ada.joins(hall, "ada")
        board = '{"board_id": "mile", "name": "Mile", "direction": "ascending"}'
        boss.does("call", "leaderboards.create_board", board)
        scored = '{"board_id": "mile", "score": 241.5}'
        boss.does("call", "leaderboards.submit_score", scored)

    await asyncio.to_thread(live)
    # Not while it runs.
    code, _, told = await run("migrate", "--data", hall.folder, "--database", database)
    assert code == 78
    assert "in use by another hall" in told
    hall.stop()

    await kill_in_the_middle(hall.folder, database)
    # The hall is as it was, and goes on where it is.
    hall = await asyncio.to_thread(start_hall, "hall", port=hall.port)
    await asyncio.to_thread(ada.does, "account", "export")
    hall.stop()

    code, out, told = await run("migrate", "--data", hall.folder, "--database", database, "--json")
    assert code == 0, f"{out}{told}"
    assert msgspec.json.decode(out)["rows"] > 30
    assert "leaderboards_entry: 1 rows" in told
    code, _, told = await run("serve", "--data", hall.folder, "--port", "0")
    assert code == 78
    assert "was moved to PostgreSQL" in told
    code, out, _ = await run("doctor", "--data", hall.folder, "--database", database)
    assert code == 0, out

    hall = await asyncio.to_thread(start_hall, "hall", "--database", database, port=hall.port)
    shown = await asyncio.to_thread(ada.does, "account", "export")
    assert "ada" in shown
    waiting = await asyncio.to_thread(boss.does, "entry", "waiting", "mile", "--json")
    assert [each["score"] for each in msgspec.json.decode(waiting)["entries"]] == [241.5]
    await asyncio.to_thread(boss.does, "audit", "verify")
    hall.stop()
    code, out, _ = await run("doctor", "--thorough", "--data", hall.folder, "--database", database)
    assert code == 0, out


async def test_copying_is_left_to_postgresqls_own_tools(tmp_path: Path) -> None:
    address = "postgresql://hall@/x"
    hall = tmp_path / "hall"
    hall.mkdir(0o700)
    (hall / "sealing.key").write_text("ab" * 32)
    (hall / "sealing.key").chmod(0o600)
    given = ("--data", hall, "--database", address)
    code, _, told = await run("backup", tmp_path / "copy", *given)
    assert code == 78
    assert f"pg_dump --format=custom --file={tmp_path}/copy.dump --dbname={address}" in told
    assert "moothall adopt" in told
    # The keys need no rows.
    await run_well("backup", "--keys", tmp_path / "keys", *given)
    assert (tmp_path / "keys" / "sealing.key").read_text() == "ab" * 32
    code, _, told = await run("backup", "--keys", tmp_path / "keys", *given)
    assert code == 0
    assert "holds this sealing key already" in told
    assert (await run("backup", *given))[0] == 2


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[list[KilledHall]]:
    found = [KilledHall(tmp_path / name) for name in ("first", "second", "restored")]
    yield found
    for node in found:
        await node.leave()


def acknowledged(loads: list[Load]) -> list[Write]:
    return [write for load in loads for write in load.done]


@pytest.mark.timeout(240)  # it starts the program a dozen times, beside a load
@pytest.mark.requirement("R5")
@pytest.mark.requirement("R36")
async def test_a_hall_of_two_nodes_under_load_comes_back_from_a_dump(
    server: PostgresServer, database: str, nodes: list[KilledHall], tmp_path: Path
) -> None:
    first, second, restored = nodes
    first.options = second.options = ("--database", database)
    await first.start()
    tokens = await settle_in(first)
    second.folder.mkdir(0o700)
    shutil.copy(first.folder / "sealing.key", second.folder)
    await second.start()
    loads = [Load(Random(SEED + number), boards=[*COUNTING]) for number in range(2)]
    for number, load in enumerate(loads):
        # Keys belong to a member, so each load has members of its own.
        load.tokens = {name: tokens[name] for name in MEMBERS[number::2]}
    running = [
        asyncio.create_task(load.run(node.port, CONNECTIONS))
        for load, node in zip(loads, (first, second), strict=True)
    ]
    for load, task in zip(loads, running, strict=True):
        await load.answered(100, task)
    before = acknowledged(loads)
    dump = server.folder / "hall.dump"
    await asyncio.to_thread(
        server.run, "pg_dump", "--format=custom", f"--file={dump}", f"--dbname={database}"
    )
    restored.folder.mkdir(0o700)
    for name in ("sealing.key", "audit-heads.jsonl"):
        if (first.folder / name).exists():
            shutil.copy(first.folder / name, restored.folder)
    for load, task in zip(loads, running, strict=True):
        await load.answered(50, task)
    # Rows under a living node are left alone.
    given = ("--data", restored.folder, "--database", database)
    code, _, told = await run("adopt", *given)
    assert code == 78
    assert "a node of the hall runs on it" in told
    await first.kill()
    await second.kill()
    await asyncio.gather(*running)

    server.run_sql("CREATE DATABASE afterwards")
    again = server.url("afterwards")
    await asyncio.to_thread(
        server.run, "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={again}", str(dump)
    )
    given = ("--data", restored.folder, "--database", again)
    adopted = await run_well("adopt", *given)
    code, out, told = await run("doctor", "--thorough", *given)
    assert code == 0, f"{out}{told}"
    connection = await asyncpg.connect(again)
    entries = dict(
        await connection.fetch("SELECT entry_id, verified_at_ms FROM leaderboards_entry")
    )
    await connection.close()
    for write in before:
        if write.action == "leaderboards.submit_score":
            assert write.result["entry_id"] in entries, f"seed {SEED}: {write} is lost"
        else:
            assert entries[write.request["entry_id"]] is not None, f"seed {SEED}: {write} is lost"

    restored.options = ("--database", again)
    await restored.start()
    for token in tokens.values():
        status, _ = await ask(restored.port, "identity.get_self", {}, token)
        assert status == 401
    async with Hall(f"http://127.0.0.1:{restored.port}", insecure=True) as client:
        await client.sign_in(MEMBERS[0], PASSWORD)
        report = await client.access.verify_audit()
        assert report["last_sealed_number"] > 0
        async with client.follow("board/every", after="now") as feed:
            assert feed.cursor is not None
            assert feed.cursor.startswith(adopted["epoch"])
    assert await restored.stop() == 0
    code, out, told = await run("doctor", *given)
    assert code == 0, f"{out}{told}"
