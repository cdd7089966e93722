"""What stands in ``deploy/``, running on this machine: only addresses, ports and folders differ.

PostgreSQL with the settings, the rules of who may connect, and the role; NATS with its
configuration; three nodes with theirs; HAProxy with its own, or a balancer of ours that does the
same where there is no HAProxy. All secrets come from ``make-secrets.sh``.
"""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from http import HTTPStatus
from itertools import count
from pathlib import Path

import httpx
import pytest

from moothall.storage.postgres.database import VERSION_MIN
from tests.conformance.balancer import header_v2, open_balancer
from tests.plays.conftest import RunningHall, StartHall, free_port
from tests.servers.nats import NatsServer
from tests.servers.postgres import PostgresServer
from tests.servers.relay import Place, Relay

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NODES = 3
DRAIN_SECONDS = 8
"""Longer than the balancer takes to notice (4 s), and shorter than in the file, for a test."""
CHECK_SECONDS = 2.0
"""How often our own balancer asks, as HAProxy does by its file."""
START_SECONDS_MAX = 30.0
KEY_FILE = "sealing.key"
SECRETS_OF_DATABASE = ("database.pem", "database.key", "database.password")

_NOBODY = 65_534


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    file.touch(mode=0o600)
    file.write_text(text, "utf-8")


def replace_once(text: str, old: str, new: str) -> str:
    """Replace what must be there once, so that a changed file cannot go untested."""
    assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
    return text.replace(old, new)


def read_deployed(name: str, replaced: Mapping[str, str]) -> str:
    """Return a file of ``deploy/`` with some of its words replaced."""
    text = (DEPLOY / name).read_text("utf-8")
    for old, new in replaced.items():
        text = replace_once(text, old, new)
    return text


def make_secrets(folder: Path) -> Path:
    """Run ``make-secrets.sh`` for servers that are all called localhost."""
    made = folder / "secrets"
    names = ("localhost", "localhost", "localhost")
    done = subprocess.run(
        ["sh", str(DEPLOY / "make-secrets.sh"), str(made), *names],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return made


def find_postgres_with_tls() -> Path | None:
    """Return the programs of the machine's own PostgreSQL, if it has one that knows TLS.

    The one of the wheel does not; with that, nodes reach the database in plain text.
    """
    program = shutil.which("pg_ctl")
    folder = Path(program).resolve().parent if program else None
    if folder is None or not (folder / "pg_config").exists():
        return None
    words = [str(folder / "pg_config"), "--configure", "--version"]
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    version = re.search(r"^PostgreSQL (\d+)", told, re.MULTILINE)
    is_recent = version is not None and int(version[1]) >= VERSION_MIN
    return folder if is_recent and re.search(r"--with-(open)?ssl", told) else None


@contextmanager
def open_postgres(secrets: Path) -> Iterator[PostgresServer]:
    """Run the database as ``deploy/postgres`` says, with its role."""
    server = PostgresServer(has_port=True, is_safe=True, programs=find_postgres_with_tls())
    try:
        _deploy_postgres(server, secrets)
        yield server
    finally:
        server.remove()


def _deploy_postgres(server: PostgresServer, secrets: Path) -> None:
    """Give a fresh server its settings and its role."""
    folder = server.folder / "deployed"
    folder.mkdir()
    tls = "/etc/postgresql/tls/database"
    settings = {f"{tls}.pem": f"{folder}/database.pem", f"{tls}.key": f"{folder}/database.key"}
    rules = {"10.89.8.0/24": "127.0.0.1/32"}
    if find_postgres_with_tls() is None:
        settings["ssl = on"] = "ssl = off"
        rules["hostssl   moothall"] = "host moothall"
    files = {
        **{name: (secrets / name).read_text("ascii") for name in SECRETS_OF_DATABASE},
        "hall.sql": read_deployed("postgres/hall.sql", {}),
        "hall.conf": read_deployed("postgres/hall.conf", settings),
    }
    for name, text in files.items():
        write_private(folder / name, text)
    for path in (folder, *folder.iterdir()):
        if os.geteuid() == 0:  # the server runs as nobody then
            os.chown(path, _NOBODY, _NOBODY)
    with (server.folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(f"\ninclude '{folder}/hall.conf'\n")
    # The superuser of the tests is called hall; for everybody else the rules are those of the file.
    ours = "local all hall trust\nhost all hall 127.0.0.1/32 trust\n"
    told = ours + read_deployed("postgres/pg_hba.conf", rules)
    (server.folder / "data" / "pg_hba.conf").write_text(told, "utf-8")
    server.restart()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOOTHALL_PASSWORD_FILE", str(folder / "database.password"))
        sql = str(folder / "hall.sql")
        server.run("psql", "-X", "-v", "ON_ERROR_STOP=1", "-f", sql, server.url())


def open_nats(secrets: Path) -> NatsServer:
    """Start the bus as ``deploy/nats`` says."""
    password = (secrets / "bus.conf").read_text("ascii")
    # The server chooses a free port, and lies in another folder than the secrets.
    text = read_deployed("nats/nats.conf", {"port: 4222\n": "", 'include "bus.conf"': password})
    return NatsServer(text.replace("/etc/nats/tls", str(secrets)))


class Site:
    """All servers of one hall; made by :func:`open_site`.

    Attributes:
        nodes: The nodes.
        has_tls: Whether nodes reach the database by TLS.
        port: Of the balancer, where clients come by HTTPS and WebSocket.
        ndjson_port: Of the balancer, for NDJSON.
    """

    def __init__(self, folder: Path, postgres: PostgresServer, nats: NatsServer) -> None:
        self.folder = folder
        self.secrets = folder / "secrets"
        self.postgres = postgres
        self.nats = nats
        self.nodes: list[RunningHall] = []
        self.has_tls = find_postgres_with_tls() is not None
        self.port = free_port()
        self.ndjson_port = self.port + 1

    @property
    def url(self) -> str:
        """Where clients reach the hall."""
        return f"https://localhost:{self.port}"

    @property
    def certificate(self) -> str:
        """What each node shows to clients."""
        return (self.secrets / "hall.pem").read_text("ascii")

    def options(self) -> list[str]:
        """Return what a command is told: the settings of all nodes, and where the secrets are."""
        authority = "/etc/moothall/authority.pem"
        own = {
            "@database/moothall?": f"@localhost:{self.postgres.port}/moothall?",
            f"sslrootcert={authority}": f"sslrootcert={self.secrets / 'authority.pem'}",
            "sslmode=verify-full": f"sslmode={'verify-full' if self.has_tls else 'disable'}",
            f'bus_authority = "{authority}"': f'bus_authority = "{self.secrets}/authority.pem"',
            "tls://bus": f"tls://localhost:{self.nats.port}",
            "https://hall.example": self.url,
            '"10.89.7.5"': '"127.0.0.1"',
            "drain_seconds = 15": f"drain_seconds = {DRAIN_SECONDS}",
        }
        file = self.folder / "moothall.toml"
        file.write_text(read_deployed("node/moothall.toml", own), "utf-8")
        return ["--config", str(file)]

    def secret_options(self) -> list[str]:
        """Return where the secrets are."""
        files = {
            "certificate": "hall.pem",
            "key": "hall.key",
            "database_password_file": "database.password",
            "bus_password_file": "bus.password",
        }
        pairs = (("--set", f"{name}={self.secrets / file}") for name, file in files.items())
        return [word for pair in pairs for word in pair]

    def start_nodes(self, start_hall: StartHall) -> None:
        """Start the nodes, each with a copy of the sealing key."""
        for number in range(1, NODES + 1):
            name = f"node{number}"
            (self.folder / name).mkdir(mode=0o700)
            shutil.copy(self.secrets / KEY_FILE, self.folder / name / KEY_FILE)
            own = (*self.options(), *self.secret_options(), "--ndjson-port", "0")
            self.nodes.append(start_hall(name, *own))


def watch(node: RunningHall, path: str) -> tuple[int, str]:
    """Ask a node at its private port; return status and body, and 0 if it does not answer."""
    url = f"http://127.0.0.1:{node.metrics_port}{path}"
    try:
        answer = httpx.get(url, trust_env=False, timeout=5)
    except httpx.TransportError:
        return 0, ""
    return answer.status_code, answer.text


@asynccontextmanager
async def open_site(folder: Path, start_hall: StartHall) -> AsyncIterator[Site]:
    """Start everything of ``deploy/``, and kill all of it at the end."""
    async with AsyncExitStack() as opened:
        secrets = make_secrets(folder)
        postgres = opened.enter_context(open_postgres(secrets))
        nats = await asyncio.to_thread(open_nats, secrets)
        opened.callback(nats.remove)
        site = Site(folder, postgres, nats)
        await asyncio.to_thread(site.start_nodes, start_hall)
        for node in site.nodes:
            opened.callback(node.kill)  # nothing is left to drain
        await opened.enter_async_context(run_balancer(site))
        yield site


# --- the balancer ---------------------------------------------------------------------------------


@asynccontextmanager
async def run_balancer(site: Site) -> AsyncIterator[None]:
    """Run HAProxy as ``deploy/haproxy`` says, or where there is none, our own."""
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        async with _own_balancer(site):
            yield
        return
    own = {
        "maxconn 20000": "maxconn 1000",  # the limit of files may be low here
        "bind :443": f"bind 127.0.0.1:{site.port}",
        "bind :8444": f"bind 127.0.0.1:{site.ndjson_port}",
    }
    for number, node in enumerate(site.nodes, 1):
        check = f"check port {node.metrics_port}"
        for port, there in ((8443, node.port), (8444, node.ndjson_port)):
            own[f"10.89.7.1{number}:{port}"] = f"127.0.0.1:{there} {check}"
    file = site.folder / "haproxy.cfg"
    file.write_text(read_deployed("haproxy/haproxy.cfg", own), "utf-8")
    log = site.folder / "haproxy.log"
    with log.open("wb") as output:
        # In the foreground: nothing is left when it is killed.
        process = await asyncio.create_subprocess_exec(
            program, "-db", "-f", str(file), stdout=output, stderr=output
        )
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            while not await _is_open(site.port):
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.02)
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _is_open(port: int) -> bool:
    """Tell whether somebody listens."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.transport.abort()
    return True


@asynccontextmanager
async def _own_balancer(site: Site) -> AsyncIterator[None]:
    """Pass connections on to nodes that are ready, in turn."""
    ready = list(site.nodes)
    turns = count()

    async def check() -> None:
        while True:
            for node in site.nodes:
                status, _ = await asyncio.to_thread(watch, node, "/readyz")
                if status == HTTPStatus.OK and node not in ready:
                    ready.append(node)
                elif status != HTTPStatus.OK and node in ready:
                    ready.remove(node)
            await asyncio.sleep(CHECK_SECONDS)

    async with AsyncExitStack() as opened:
        ports = {
            node.port: await opened.enter_async_context(
                open_balancer(node.port, lambda: header_v2("127.0.0.1"))
            )
            for node in site.nodes
        }

        def choose() -> Place | None:
            return ("127.0.0.1", ports[ready[next(turns) % len(ready)].port]) if ready else None

        await opened.enter_async_context(Relay(choose, site.port))
        checking = asyncio.create_task(check())
        try:
            yield
        finally:
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)
