"""What the bus over NATS does when its server is away, silent, strange or refuses it."""

import asyncio
import gc
import json
import logging
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from moothall.bus import BusAccess, open_bus
from moothall.bus.bounds import PAYLOAD_BYTES_MAX, PING_SECONDS
from tests.conformance.http_wire import on_both_loops
from tests.contract.buses import WAIT_SECONDS_MAX, Node, finish_at_once
from tests.servers.nats import NatsServer
from tests.servers.nkeys import make_key, sign_jwt

Entry = MutableMapping[str, Any]

PASSWORD = "a password of the bus"
USERS = "authorization { user: hall, password: '%s' }"

# What is promised, and as much again for a machine that is busy with other tests.
NOTICE_SECONDS_MAX = 2 * 5.0
RETURN_SECONDS_MAX = 2 * 3.0


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Hold that neither the library nor asyncio prints what went wrong inside of them."""
    with caplog.at_level(logging.DEBUG):
        yield
        gc.collect()  # tasks tell of errors that nobody fetched when they are gone
        records = [*caplog.get_records("call"), *caplog.records]
        loud = [record.getMessage() for record in records if record.levelno >= logging.WARNING]
        assert not loud


@asynccontextmanager
async def opened(url: str, access: BusAccess | None = None) -> AsyncIterator[Node]:
    bus = await open_bus(url, "hall", access)
    try:
        yield Node(bus, "news")
    finally:
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            await bus.close()


async def logged(log: list[Entry], event: str) -> Entry:
    """Return an entry of the log, once it is there."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            for entry in log:
                if event in entry["event"]:
                    return entry
            await asyncio.sleep(0.01)


async def exchange(one: Node, two: Node, payload: bytes) -> None:
    """Show that hints go both ways."""
    await one.bus.publish("news", payload)
    assert await two.hear() == ("news", payload)
    await two.bus.publish("news", payload)
    assert await one.hear() == ("news", payload)


async def seconds_until(change: Any) -> float:
    began = asyncio.get_running_loop().time()
    await change
    return asyncio.get_running_loop().time() - began


def is_telling_of_outage(entry: Entry) -> bool:
    return "is away" in entry["event"] or "does not let" in entry["event"]


# --- away -----------------------------------------------------------------------------------------


@on_both_loops
async def test_server_may_start_later_than_the_hall() -> None:
    with NatsServer() as server:
        server.stop()
        with capture_logs() as log:
            async with opened(server.url) as one, opened(server.url) as two:
                await logged(log, "is away")
                assert not one.bus.is_connected
                finish_at_once(one.bus.publish("news", b"lost"))
                assert one.bus.dropped == 1
                server.start()
                # The first connection is told too: what was published before was missed.
                assert await seconds_until(one.be_restored()) < RETURN_SECONDS_MAX
                await two.be_restored()
                assert one.bus.reconnections == 0
                await exchange(one, two, b"new")
        assert len([entry for entry in log if is_telling_of_outage(entry)]) == 2


@on_both_loops
async def test_server_that_was_killed_is_found_again() -> None:
    with NatsServer() as server, capture_logs() as log:
        async with opened(server.url) as one, opened(server.url) as two:
            await one.connect()
            await two.connect()
            for number in (1, 2):
                server.kill()
                await one.be_cut_off()
                finish_at_once(one.bus.publish("news", b"lost"))
                server.start()
                assert await seconds_until(one.be_restored()) < RETURN_SECONDS_MAX
                await two.be_restored()
                assert one.bus.reconnections == number
                await exchange(one, two, b"%d" % number)
        told = [entry for entry in log if is_telling_of_outage(entry)]
        assert len(told) == 2 * 2  # by each of two nodes, of each of two outages
        assert {entry["log_level"] for entry in told} == {"warning"}


@on_both_loops
async def test_dead_connection_is_noticed_while_hints_are_published() -> None:
    await play_silence(NatsServer(), None)


@on_both_loops
async def test_dead_connection_with_tls_is_noticed(tmp_path: Path) -> None:
    authority = trustme.CA()
    server = NatsServer(tls_config(tmp_path, authority))
    await play_silence(server, authority_access(tmp_path, authority))


async def play_silence(server: NatsServer, access: BusAccess | None) -> None:
    """Let a server fall silent under load, and go on."""
    url = server.url if access is None else f"tls://localhost:{server.port}"
    with server:
        async with opened(url, access) as one, opened(url, access) as two:
            await one.connect()
            await two.connect()
            server.pause()
            noticing = asyncio.ensure_future(seconds_until(one.be_cut_off()))
            # More than all buffers on the way hold: what is left cannot be sent.
            while not one.bus.dropped:
                finish_at_once(one.bus.publish("other", b"x" * PAYLOAD_BYTES_MAX))
                await asyncio.sleep(0)
            assert one.bus.is_connected
            assert await noticing < NOTICE_SECONDS_MAX
            finish_at_once(one.bus.publish("news", b"lost"))
            await two.be_cut_off()
            server.resume()
            assert await seconds_until(one.be_restored()) < RETURN_SECONDS_MAX
            await two.be_restored()
            await exchange(one, two, b"new")


@on_both_loops
async def test_closing_does_not_wait_for_a_silent_server() -> None:
    with NatsServer() as server:
        async with opened(server.url) as one:
            await one.connect()
            server.pause()
            for _ in range(500):
                await one.bus.publish("other", b"x" * PAYLOAD_BYTES_MAX)
                await asyncio.sleep(0)
            assert await seconds_until(one.bus.close()) < RETURN_SECONDS_MAX
            for left in psutil.Process().net_connections("tcp"):
                assert server.port not in tuple(left.raddr)


# --- strange --------------------------------------------------------------------------------------

NO_TLS = b'INFO {"server_id":"x","version":"2.0.0","max_payload":1048576}\r\n'
PONG = b"PONG\r\n"
STRANGE = {
    "hangs up": (b"", "expecting INFO"),
    "another protocol": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "expecting INFO"),
    "a line without end": (b"x" * 200_000, "not understood (ValueError)"),
    "no JSON": (b"INFO {\r\n", "json"),
    "no object": (b"INFO 7\r\n", "not understood"),
    "bad bytes": (b"INFO \xff\xfe\r\n", "json"),
    "hangs up after CONNECT": (NO_TLS, "closed the connection"),
    "hangs up after PONG": (NO_TLS + PONG, "closed the connection"),
    "speaks nonsense after PONG": (NO_TLS + PONG + b"MSG what is this\r\n", "protocol error"),
    "bad JSON after PONG": (NO_TLS + PONG + b"INFO {\r\n", "the connection ended"),
    "complains after PONG": (NO_TLS + PONG + b"-ERR 'Slow Consumer'\r\n", "says: slow consumer"),
}


@asynccontextmanager
async def strange_server(answer: bytes, tries: "asyncio.Queue[bytes]") -> AsyncIterator[int]:
    """Answer everybody alike, note what they say until they hang up, and hang up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.write_eof()
        try:
            tries.put_nowait(await reader.read())
        except ConnectionError:
            tries.put_nowait(b"")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(("answer", "reason"), STRANGE.values(), ids=STRANGE.keys())
async def test_strange_server_is_told_once_and_tried_again(answer: bytes, reason: str) -> None:
    tries: asyncio.Queue[bytes] = asyncio.Queue()
    with capture_logs() as log:
        async with strange_server(answer, tries) as port, opened(f"nats://127.0.0.1:{port}") as one:
            for _ in range(4):
                async with asyncio.timeout(WAIT_SECONDS_MAX):
                    await tries.get()
            assert not one.bus.is_connected
            assert one.restored.empty()
    told = [entry for entry in log if is_telling_of_outage(entry)]
    kinds = [entry["event"] for entry in told]
    assert 1 <= len(kinds) == len(set(kinds)), told
    assert reason in told[0]["reason"]


@asynccontextmanager
async def patient_server(lines: list[bytes], last: asyncio.Event) -> AsyncIterator[str]:
    """Note what is said and answer pings; bad JSON answers what comes after ``last``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(NO_TLS)
        while line := await reader.readline():
            lines.append(line)
            if line == b"PING\r\n":
                writer.write(PONG)
            if last.is_set():
                writer.write(b"INFO {\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_reader_that_fails_ends_the_connection_at_once() -> None:
    last = asyncio.Event()
    async with patient_server([], last) as url, opened(url) as one:
        await one.connect()
        last.set()
        await one.bus.publish("news", b"")
        # Pings that nobody answers would tell it later.
        assert await seconds_until(one.be_cut_off()) < PING_SECONDS


async def test_connection_counts_when_the_server_has_taken_the_subscription() -> None:
    lines: list[bytes] = []
    async with patient_server(lines, asyncio.Event()) as url, opened(url) as one:
        await one.connect()
        taken = [line.split()[0] for line in lines if line.strip()]
    assert taken[0] == b"CONNECT"
    assert taken[-1] == b"PING"
    assert {b"SUB", b"PUB"} < set(taken)


async def test_password_is_not_shown_to_a_server_without_tls(tmp_path: Path) -> None:
    tries: asyncio.Queue[bytes] = asyncio.Queue()
    access = password_access(tmp_path, PASSWORD)
    with capture_logs() as log:
        async with (
            strange_server(NO_TLS, tries) as port,
            opened(f"tls://127.0.0.1:{port}", access),
        ):
            told = await logged(log, "does not let")
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                assert await tries.get() == b""
    assert "offers no TLS" in told["reason"]


# --- refused --------------------------------------------------------------------------------------


def password_access(folder: Path, password: str) -> BusAccess:
    file = folder / "password"
    file.write_text(f"{password}\n", "utf-8")
    return BusAccess(user="hall", password_file=str(file))


def tls_config(folder: Path, authority: trustme.CA, name: str = "localhost") -> str:
    issued = authority.issue_cert(name)
    certificate, key = folder / "server.pem", folder / "server.key"
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(str(certificate), append=number > 0)
    issued.private_key_pem.write_to_path(str(key))
    return f"tls {{ cert_file: '{certificate}', key_file: '{key}' }}"


def authority_access(folder: Path, authority: trustme.CA) -> BusAccess:
    file = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    return BusAccess(authority=str(file))


async def test_wrong_password_is_told_and_may_be_mended(tmp_path: Path) -> None:
    with NatsServer(USERS % PASSWORD) as server, capture_logs() as log:
        access = password_access(tmp_path, "a wrong one")
        async with opened(server.url, access) as one:
            told = await logged(log, "does not let")
            assert "authorization violation" in told["reason"].lower()
            assert not one.bus.is_connected
            password_access(tmp_path, PASSWORD)
            await one.connect()
    assert PASSWORD not in str(log)
    assert "a wrong one" not in str(log)
    assert len([entry for entry in log if is_telling_of_outage(entry)]) == 1


async def test_password_that_changed_while_the_server_was_away_is_told(tmp_path: Path) -> None:
    with NatsServer(USERS % PASSWORD) as server, capture_logs() as log:
        async with opened(server.url, password_access(tmp_path, PASSWORD)) as one:
            await one.connect()
            server.restart(USERS % "a new one")
            assert (await logged(log, "is away"))["server"] == server.url
            await logged(log, "does not let")
            (tmp_path / "password").unlink()
            password_access(tmp_path, "a new one")
            await one.be_restored()
    assert [entry["event"] for entry in log if is_telling_of_outage(entry)] == [
        "the bus is away; the hall serves, and other nodes learn of changes later",
        "the bus does not let this hall in; it tries again",
    ]


async def test_signs_in_with_a_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a token of the bus", "utf-8")
    with NatsServer("authorization { token: 'a token of the bus' }") as server:
        access = BusAccess(token_file=str(file))
        async with opened(server.url, access) as one, opened(server.url, access) as two:
            await one.connect()
            await two.connect()
            await exchange(one, two, b"new")


async def test_signs_in_with_a_key(tmp_path: Path) -> None:
    user = make_key("user", Ed25519PrivateKey.generate())
    file = tmp_path / "hall.nk"
    file.write_text(user.seed + "\n", "utf-8")
    with NatsServer(f"authorization {{ users: [ {{ nkey: {user.public} }} ] }}") as server:
        async with opened(server.url, BusAccess(credentials_file=str(file))) as one:
            await one.connect()
    stranger = make_key("user", Ed25519PrivateKey.generate())
    with NatsServer(f"authorization {{ users: [ {{ nkey: {stranger.public} }} ] }}") as server:
        with capture_logs() as log:
            async with opened(server.url, BusAccess(credentials_file=str(file))):
                told = await logged(log, "does not let")
        assert "authorization violation" in told["reason"].lower()


async def test_signs_in_with_credentials(tmp_path: Path) -> None:
    operator = make_key("operator", Ed25519PrivateKey.generate())
    account = make_key("account", Ed25519PrivateKey.generate())
    user = make_key("user", Ed25519PrivateKey.generate())
    limits = {"subs": -1, "data": -1, "payload": -1}
    account_limits = {**limits, "conn": -1, "leaf": -1, "imports": -1, "exports": -1}
    operator_jwt = sign_jwt(operator, operator.public, {"type": "operator", "version": 2})
    account_jwt = sign_jwt(
        operator, account.public, {"type": "account", "version": 2, "limits": account_limits}
    )
    user_jwt = sign_jwt(account, user.public, {"type": "user", "version": 2, **limits})
    file = tmp_path / "hall.creds"
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n",
        "utf-8",
    )
    config = (
        f"operator: {operator_jwt}\nresolver: MEMORY\n"
        f"resolver_preload: {{ {account.public}: {account_jwt} }}"
    )
    access = BusAccess(credentials_file=str(file))
    with NatsServer(config) as server:
        async with opened(server.url, access) as one, opened(server.url, access) as two:
            await one.connect()
            await two.connect()
            await exchange(one, two, b"new")


def permission_config(permissions: dict[str, str]) -> str:
    user = {"user": "hall", "password": PASSWORD, "permissions": permissions}
    return f"authorization {{ users: [ {json.dumps(user)} ] }}"


@pytest.mark.parametrize("verb", ["publish", "subscribe"])
async def test_hall_that_may_not_use_its_subjects_is_told_so(tmp_path: Path, verb: str) -> None:
    may = {"publish": "moothall.hall.>", "subscribe": "moothall.hall.>", verb: "moothall.other.>"}
    config = permission_config(may)
    with NatsServer(config) as server, capture_logs() as log:
        async with opened(server.url, password_access(tmp_path, PASSWORD)) as one:
            told = await logged(log, "does not let")
            assert not one.bus.is_connected
    assert "permissions violation" in told["reason"]
    assert "moothall.hall." in told["reason"]


async def test_own_subjects_are_permission_enough(tmp_path: Path) -> None:
    config = permission_config(dict.fromkeys(("publish", "subscribe"), "moothall.hall.>"))
    access = password_access(tmp_path, PASSWORD)
    with NatsServer(config) as server:
        async with opened(server.url, access) as one, opened(server.url, access) as two:
            await one.connect()
            await two.connect()
            await exchange(one, two, b"new")


@on_both_loops
async def test_tls_with_an_own_authority(tmp_path: Path) -> None:
    authority = trustme.CA()
    access = authority_access(tmp_path, authority)
    with NatsServer(tls_config(tmp_path, authority)) as server:
        url = f"tls://localhost:{server.port}"
        async with opened(url, access) as one, opened(url, access) as two:
            await one.connect()
            await two.connect()
            await exchange(one, two, b"new")
            server.restart()
            await one.be_restored()
            await two.be_restored()
            await exchange(one, two, b"newer")


@pytest.mark.parametrize(("name", "is_known"), [("localhost", False), ("example.org", True)])
async def test_server_that_nobody_vouches_for_is_refused(
    tmp_path: Path, name: str, *, is_known: bool
) -> None:
    authority = trustme.CA()
    access = authority_access(tmp_path, authority if is_known else trustme.CA())
    with NatsServer(tls_config(tmp_path, authority, name)) as server, capture_logs() as log:
        async with opened(f"tls://localhost:{server.port}", access) as one:
            told = await logged(log, "does not let")
            assert not one.bus.is_connected
    assert "certificate cannot be trusted" in told["reason"]
