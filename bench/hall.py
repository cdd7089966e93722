"""Start a real hall, sign members in, and fill a board.

The hall is the installed program, started as an operator would; it is spoken to over its
wire only. One thing differs: its rate limits are widened by ``MOOTHALL_LIMITS_SCALE``,
because one machine plays all members.
"""

import http.client
import os
import random
import resource
import secrets
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil

LIMITS_SCALE = "1000000"
CONNECTIONS_PER_SOURCE_MAX = 4_096
PORTS = (20_000, 32_000)
START_S_MAX = 30.0
STOP_S_MAX = 20.0
POLL_S = 0.005
LOG_TAIL_CHARS = 3_000
IMPORT_ROWS_MAX = 1_500
TOKEN_LEFT_MS_MIN = 60_000
SCORE_MAX = 10_000_000
SEED = 20_000
STATUS_OK = 200


class HallError(Exception):
    """The hall did not start, stopped, or refused what the bench needs."""


class Member(msgspec.Struct):
    """A member of the hall and its current tokens."""

    name: str
    password: str
    access_token: str = ""
    refresh_token: str = ""
    access_expires_at_ms: int = 0


class Session(msgspec.Struct):
    """The part of an opened or renewed session that the bench reads."""

    access_token: str
    refresh_token: str
    access_expires_at_ms: int


class Board(msgspec.Struct):
    """The part of a created board that the bench reads."""

    board_id: str


class Hall:
    """A running hall: where it listens, which process it is, and how to call it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, *, tls: bool) -> None:
        self.port = port
        self.line_port = port + 1
        self.tls = tls
        self.pid = process.pid
        self._connection: http.client.HTTPConnection | None = None

    def call(self, action: str, request: object, *, token: str = "", key: str = "") -> bytes:
        """Call an action and return the JSON of its result.

        Raises:
            HallError: The answer was not 200; the text holds the problem.
        """
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if key:
            headers["Idempotency-Key"] = key
        if self._connection is None:
            self._connection = connection_to(self.port, tls=self.tls)
        try:
            self._connection.request("POST", f"/v1/{action}", msgspec.json.encode(request), headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.hang_up()
            raise HallError(f"{action}: {error!r}") from error
        if answer.status != STATUS_OK:
            raise HallError(f"{action}: {answer.status} {body.decode(errors='replace')}")
        return body

    def hang_up(self) -> None:
        """Close the connection, which a hall would close by itself after some quiet time."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def memory_bytes(self) -> int:
        """Return the resident memory of the hall's process and its children."""
        process = psutil.Process(self.pid)
        together = (process, *process.children(recursive=True))
        return sum(each.memory_info().rss for each in together)


def raise_file_limit() -> None:
    """Let this process, and those that it starts, open as many files as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def free_port() -> int:
    """Return a port that is free on loopback, and whose next one, for the NDJSON door, is too.

    It lies below those that systems give to outgoing connections, one of which could otherwise
    take it before the hall does.
    """
    while True:
        port = random.randrange(*PORTS, 2)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def connection_to(port: int, *, tls: bool) -> http.client.HTTPConnection:
    """Return an unopened connection to a child of ours on loopback."""
    if not tls:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # self-signed a moment ago
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)


def wait_until_healthy(process: subprocess.Popen[bytes], port: int, *, tls: bool) -> None:
    """Return as soon as ``GET /healthz`` answers 200.

    Raises:
        HallError: The process ended, or did not answer in time.
    """
    until = time.perf_counter() + START_S_MAX
    while time.perf_counter() < until and process.poll() is None:
        connection = connection_to(port, tls=tls)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status == STATUS_OK:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(POLL_S)
    raise HallError(f"no answer on /healthz; exit status {process.poll()}")


@contextmanager
def serve(
    program: Path,
    folder: Path,
    *,
    tls: bool,
    limits_scale: str = LIMITS_SCALE,
    per_source_max: int = CONNECTIONS_PER_SOURCE_MAX,
    options: Sequence[str] = (),
) -> Iterator[tuple[Hall, float]]:
    """Run a hall on the data in ``folder``; give it and the seconds until it answered.

    With ``limits_scale="1"`` its rate limits are those of any hall, and with
    ``per_source_max=256`` its bound of connections from one address. ``options`` are more flags,
    such as ``--database``.

    Raises:
        HallError: It did not start; the text holds the end of its log.
    """
    port = free_port()
    command = [str(program), "serve", "--data", str(folder), "--host", "127.0.0.1"]
    command += ["--port", str(port), *options]
    if not tls:
        command.append("--insecure")
    log_path = folder.with_suffix(".log")
    environment = {
        **os.environ,
        "MOOTHALL_LIMITS_SCALE": limits_scale,
        "MOOTHALL_CONNECTIONS_PER_SOURCE_MAX": str(per_source_max),
    }
    began_at = time.perf_counter()
    with (
        log_path.open("ab") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            wait_until_healthy(process, port, tls=tls)
            hall = Hall(process, port, tls=tls)
            yield hall, time.perf_counter() - began_at
            hall.hang_up()
        except Exception as error:
            tail = log_path.read_text(errors="replace")[-LOG_TAIL_CHARS:]
            error.add_note(f"The hall's log ends:\n{tail}")
            raise
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, and end it if it does not."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()


def sign_in(hall: Hall, name: str) -> Member:
    """Register a member and open a session."""
    member = Member(name, secrets.token_urlsafe(24))
    credentials = {"name": member.name, "password": member.password}
    hall.call("identity.register", credentials)
    adopt(member, hall.call("identity.open_session", credentials))
    return member


def adopt(member: Member, body: bytes) -> None:
    """Give a member the tokens of a session."""
    session = msgspec.json.decode(body, type=Session)
    member.access_token = session.access_token
    member.refresh_token = session.refresh_token
    member.access_expires_at_ms = session.access_expires_at_ms


def renew(hall: Hall, members: Sequence[Member], left_s: float) -> None:
    """Renew each token that would not live for ``left_s`` and a minute more."""
    needed_until_ms = time.time() * 1_000 + left_s * 1_000 + TOKEN_LEFT_MS_MIN
    for member in members:
        if member.access_expires_at_ms < needed_until_ms:
            request = {"refresh_token": member.refresh_token}
            adopt(member, hall.call("identity.refresh_session", request))


def claim_administration(hall: Hall, folder: Path, member: Member) -> None:
    """Make a member the first administrator, by the secret that the hall left in its data."""
    secret = (folder / "first-administrator-secret").read_text().strip()
    hall.call("access.claim_administration", {"secret": secret}, token=member.access_token)


def create_board(hall: Hall, administrator: Member, level: str = "write") -> str:
    """Create a board where everyone has ``level``, and on which every entry counts."""
    request = {
        "name": "bench",
        "direction": "descending",
        "counting": "every",
        "default_level": level,
    }
    token = administrator.access_token
    body = hall.call("leaderboards.create_board", request, token=token, key=secrets.token_hex(8))
    return msgspec.json.decode(body, type=Board).board_id


def import_entries(
    hall: Hall, administrator: Member, board_id: str, names: Sequence[str], entries: int
) -> None:
    """Fill a board with verified entries of the named members, the same ones each time."""
    chance = random.Random(SEED)
    began_at_ms = int(time.time() * 1_000) - entries
    for start in range(0, entries, IMPORT_ROWS_MAX):
        rows: list[dict[str, Any]] = [
            {
                "submitter": names[number % len(names)],
                "score": chance.randrange(SCORE_MAX),
                "submitted_at_ms": began_at_ms + number,
                "verified": True,
            }
            for number in range(start, min(start + IMPORT_ROWS_MAX, entries))
        ]
        renew(hall, [administrator], left_s=0)
        hall.call(
            "leaderboards.import_entries",
            {"board_id": board_id, "entries": rows},
            token=administrator.access_token,
            key=secrets.token_hex(8),
        )
