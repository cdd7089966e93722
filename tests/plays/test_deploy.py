"""What stands in ``deploy/`` as a story: three nodes, one of which is taken out while all serve."""

import asyncio
import json
import signal
import ssl
import subprocess
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from moothall.app.config import Settings
from moothall.app.foundation import ASIDE_READERS, ASIDE_WRITERS
from moothall.app.server import check_connections
from moothall.client import Hall
from tests.plays.conftest import PASSWORD, PROGRAM, RunningHall, StartHall, environment
from tests.plays.deployed import (
    Site,
    find_postgres_with_tls,
    make_secrets,
    open_postgres,
    open_site,
    watch,
)
from tests.servers.postgres import PostgresServer

WORKERS = 4
FEED = "board/kart/moderation"
CALLS_MIN = 20
"""Answered before a node is told to stop, and after it has ended."""
WAIT_SECONDS_MAX = 60.0

# They bring PostgreSQL with them.
pytestmark = pytest.mark.sqlite


class Load:
    """Members who submit scores, each on a connection of its own, and send nothing twice.

    Attributes:
        answers: How many answers there were of each status; 0 stands for a broken connection.
    """

    def __init__(self, site: Site, token: str) -> None:
        self.answers: Counter[int] = Counter()
        self._site = site
        self._headers = {"authorization": f"Bearer {token}"}
        self._trust = ssl.create_default_context(cadata=site.certificate)
        self._keys = count(1)
        self._more = asyncio.Condition()
        self._ends = False

    async def work(self) -> None:
        """Submit until :meth:`end`."""
        while not self._ends:
            number = next(self._keys)
            headers = {**self._headers, "idempotency-key": f"key-{number}"}
            score = {"board_id": "kart", "score": number}
            status = await self._post("leaderboards.submit_score", score, headers)
            if status == HTTPStatus.TOO_MANY_REQUESTS:  # on a quick machine it is its own limit
                await asyncio.sleep(0.2)
                continue
            async with self._more:
                self.answers[status] += 1
                self._more.notify_all()

    def end(self) -> None:
        """Begin no new call."""
        self._ends = True

    async def answered(self, more: int) -> None:
        """Return when as many more calls were answered."""
        wanted = self.answers.total() + more
        async with asyncio.timeout(WAIT_SECONDS_MAX), self._more:
            await self._more.wait_for(lambda: self.answers.total() >= wanted)

    async def _post(self, action: str, request: dict[str, object], headers: dict[str, str]) -> int:
        try:
            async with httpx.AsyncClient(verify=self._trust, trust_env=False, timeout=20) as door:
                url = f"{self._site.url}/v1/{action}"
                return (await door.post(url, json=request, headers=headers)).status_code
        except httpx.TransportError:
            return 0


async def make_board(site: Site) -> str:
    """Let the first administrator make a board, and return an access token."""
    async with Hall(site.url, certificate_pem=site.certificate) as boss:
        await boss.register("boss", PASSWORD)
        await boss.sign_in("boss", PASSWORD)
        # Each node shows the same secret, whichever answers the call.
        await boss.access.claim_administration(secret=site.nodes[-1].secret)
        board = {"board_id": "kart", "name": "kart", "direction": "ascending", "counting": "every"}
        await boss.leaderboards.create_board(**board)
        session = await boss.identity.open_session(name="boss", password=PASSWORD)
        return str(session["access_token"])


def read_metrics(node: RunningHall) -> dict[str, float]:
    """Return what a node counts, summed over labels."""
    found: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(watch(node, "/metrics")[1]):
        for sample in family.samples:
            found[sample.name] += sample.value
    return found


async def follow(site: Site, seen: list[int], is_live: asyncio.Event) -> None:
    """Follow the board through the balancer, wherever that leads."""
    url = site.url.replace("https", "wss")
    async with Hall(url, certificate_pem=site.certificate) as reader:
        await reader.sign_in("boss", PASSWORD)
        async with reader.follow(FEED, after="now") as feed:
            is_live.set()
            async for event in feed:
                seen.append(event.seq)  # noqa: PERF401 - each is seen when it comes


@pytest.fixture
async def site(tmp_path: Path, start_hall: StartHall) -> AsyncIterator[Site]:
    async with open_site(tmp_path, start_hall) as opened:
        yield opened


async def take_out(node: RunningHall) -> None:
    """Tell a node to stop, see that it says so first, and wait until it has ended."""
    node.send_signal(signal.SIGTERM)
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while (answer := await asyncio.to_thread(watch, node, "/readyz"))[0] == 200:
            pass
    assert answer[0] == 503
    assert json.loads(answer[1])["reasons"] == ["the hall is stopping"]
    assert await asyncio.to_thread(node.wait) == 0


async def check_doors(site: Site) -> None:
    """Come in by lines of JSON, too, and not to what is told at the private port."""
    url = f"ndjson://localhost:{site.ndjson_port}"
    async with Hall(url, certificate_pem=site.certificate, https_port=site.port) as hall:
        assert await hall.hall.ping()
    trust = ssl.create_default_context(cadata=site.certificate)
    async with httpx.AsyncClient(verify=trust, trust_env=False, timeout=20) as door:
        for path in ("/metrics", "/readyz"):
            assert (await door.get(f"{site.url}{path}")).status_code == 404


@pytest.mark.requirement("R42")
@pytest.mark.timeout(240)  # seven servers, and a node that drains
async def test_a_node_is_taken_out_and_no_call_fails(site: Site) -> None:
    load = Load(site, await make_board(site))
    seen: list[int] = []
    is_live = asyncio.Event()
    reading = asyncio.create_task(follow(site, seen, is_live))
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        await is_live.wait()
    working = asyncio.gather(*(load.work() for _ in range(WORKERS)))
    try:
        await load.answered(CALLS_MIN)
        for node in site.nodes:
            told = await asyncio.to_thread(read_metrics, node)
            assert told["moothall_calls_total"] > 0, "the balancer sends calls to each node"
            assert told["moothall_bus_connected"] == 1
        await take_out(site.nodes[0])
        await load.answered(CALLS_MIN)
    finally:
        load.end()
        await working

    assert set(load.answers) == {200}, load.answers
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while len(seen) < load.answers[200]:
            assert not reading.done(), reading
            await asyncio.sleep(0.05)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert seen == list(range(seen[0], seen[0] + len(seen))), "no gap, and nothing twice"
    await check_doors(site)
    await asyncio.to_thread(check_doctor, site)


def check_doctor(site: Site) -> None:
    """Ask the doctor, as the page says, on the machine of a node that is not there any more."""
    done = subprocess.run(
        [*PROGRAM, "doctor", "--config", str(site.folder / "moothall.toml")],
        check=False,
        capture_output=True,
        text=True,
        env=environment(
            MOOTHALL_DATA=str(site.nodes[0].folder),
            MOOTHALL_DATABASE_PASSWORD_FILE=str(site.secrets / "database.password"),
        ),
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    with open_postgres(make_secrets(tmp_path)) as server:
        yield server


def options_of_role(postgres: PostgresServer, secrets: Path) -> dict[str, Any]:
    """Return how a node connects."""
    return {
        "host": "localhost",
        "port": postgres.port,
        "user": "moothall",
        "password": (secrets / "database.password").read_text("ascii").strip(),
        "database": "moothall",
        "ssl": ssl.create_default_context(cafile=secrets / "authority.pem")
        if find_postgres_with_tls()
        else False,
    }


async def test_the_doctor_counts_connections_of_others_with_the_hall_s_rights(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    postgres.run_sql("ALTER ROLE moothall CONNECTION LIMIT -1")
    others = [await asyncpg.connect(postgres.url()) for _ in range(3)]
    own = {"server_settings": {"application_name": "moothall"}}
    connection = await asyncpg.connect(**options_of_role(postgres, tmp_path / "secrets"), **own)
    try:
        room = await connection.fetchval(
            "SELECT current_setting('max_connections')::int"
            " - current_setting('superuser_reserved_connections')::int"
        )
        # Two such nodes would fit, if nobody else were there.
        writers = room // 2 - ASIDE_WRITERS - ASIDE_READERS - 1
        settings = Settings(database_writers_max=writers, database_readers_max=1)
        [found] = await check_connections(connection, settings)
        assert f"{room - len(others)} connections are to be had" in found.told
    finally:
        for each in (*others, connection):
            await each.close()


async def test_the_role_may_do_in_its_database_what_a_hall_needs_and_nothing_else(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    right = options_of_role(postgres, tmp_path / "secrets")
    wrong: list[dict[str, Any]] = [{"password": "guessed"}, {"database": "postgres"}]
    for each in (*wrong, *([{"ssl": False}] if right["ssl"] else [])):
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            await asyncpg.connect(**{**right, **each})

    connection = await asyncpg.connect(**right)
    try:
        for refused in (
            "CREATE ROLE another",
            "CREATE DATABASE another",
            "CREATE SCHEMA another",
            "CREATE TEMPORARY TABLE another (id INT)",
            "ALTER ROLE moothall SUPERUSER",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "SELECT pg_read_file('postgresql.conf')",
            "SELECT rolpassword FROM pg_authid",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(refused)
        await connection.execute("CREATE TABLE of_a_room (id INT)")
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
    finally:
        await connection.close()
