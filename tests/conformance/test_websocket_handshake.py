"""The opening of a WebSocket: who may, by which request, and what the others are told."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from websockets.asyncio.client import connect as connect_theirs

from moothall.action.call import Call, Reply
from moothall.action.connections import CloseReason
from moothall.core.errors import UnauthenticatedError
from tests.conformance.http_wire import REFUSAL_ID, echo, get, on_both_loops, post, until
from tests.conformance.websocket_wire import (
    KEY,
    PING,
    TEXT,
    Contexts,
    close,
    connect,
    frame,
    handshake,
    make_contexts,
    open_site,
    open_socket,
    request,
)

# The door decides, not what the rows lie on.
pytestmark = [pytest.mark.requirement("R31"), pytest.mark.sqlite]


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    return make_contexts(tmp_path_factory.mktemp("tls"))


@on_both_loops
async def test_the_standards_own_example_is_accepted(contexts: Contexts) -> None:
    async with open_site(contexts) as site, connect(site) as socket:
        await socket.wire.send_pieces(handshake())
        answer = await socket.wire.read_answer(has_body=False)
        assert answer.status == 101
        assert answer.headers == {
            "upgrade": "websocket",
            "connection": "Upgrade",
            # RFC 6455, section 1.3.
            "sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        }
        await socket.ask()


@on_both_loops
async def test_names_and_values_are_read_in_any_case_and_offers_are_declined(
    contexts: Contexts,
) -> None:
    head = (
        "GET /v1/socket HTTP/1.1\r\nHOST: localhost\r\nUPGRADE: WebSocket\r\n"
        f"connection: upgrade\r\nsec-websocket-KEY: {KEY}\r\nsec-websocket-version: 13\r\n"
        "sec-websocket-protocol: chat, superchat\r\n"
        "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    )
    async with open_site(contexts) as site, connect(site) as socket:
        answer = await socket.wire.ask(head.encode())
        assert answer.status == 101
        assert not {"sec-websocket-protocol", "sec-websocket-extensions"} & set(answer.headers)


@on_both_loops
async def test_what_comes_behind_the_handshake_is_not_lost(contexts: Contexts) -> None:
    behind = frame(TEXT, request(1)) + frame(TEXT, request(2))
    for cut in (0, 1, len(behind)):
        async with open_site(contexts) as site, connect(site) as socket:
            socket.send(handshake() + behind[:cut])
            assert (await socket.wire.read_answer(has_body=False)).status == 101
            socket.send(behind[cut:])
            assert {await socket.read_said(), await socket.read_said()} == {
                ("reply", 1),
                ("reply", 2),
            }


@on_both_loops
async def test_a_connection_may_have_carried_calls_before(contexts: Contexts) -> None:
    async with open_site(contexts) as site, connect(site) as socket:
        assert (await socket.wire.ask(post())).status == 200
        await socket.open()
        await socket.ask()
        assert site.http.connections == 1


OTHER_VERSIONS = {
    "an older version": handshake("Sec-WebSocket-Version: 8", without="Sec-WebSocket-Version"),
    "a later version": handshake("Sec-WebSocket-Version: 14", without="Sec-WebSocket-Version"),
    "two versions": handshake("Sec-WebSocket-Version: 13"),
    "no version": handshake(without="Sec-WebSocket-Version"),
    "no upgrade": get("/v1/socket"),
    "an upgrade that the connection does not name": handshake(
        "Connection: keep-alive", without="Connection"
    ),
}


@pytest.mark.parametrize("head", OTHER_VERSIONS.values(), ids=OTHER_VERSIONS.keys())
@on_both_loops
async def test_who_speaks_another_version_learns_ours(contexts: Contexts, head: bytes) -> None:
    async with open_site(contexts) as site, connect(site) as socket:
        answer = await socket.wire.ask(head)
        assert answer.status == 426
        assert answer.json["status"] == 426
        assert answer.json["name"] == "upgrade_needed"
        assert answer.headers["sec-websocket-version"] == "13"
        assert answer.headers["upgrade"] == "websocket"
        assert await socket.wire.read_end() == b""


AUTHORIZATION = "Authorization"
FAULTS = {
    "no key": (handshake(without="Sec-WebSocket-Key"), "Sec-WebSocket-Key"),
    "two keys": (handshake(f"Sec-WebSocket-Key: {KEY}"), "Sec-WebSocket-Key"),
    "a key of 15 bytes": (
        handshake("Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4P", without="Sec-WebSocket-Key"),
        "Sec-WebSocket-Key",
    ),
    "a key that is not base64": (
        handshake("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25_ZQ==", without="Sec-WebSocket-Key"),
        "Sec-WebSocket-Key",
    ),
    "no host": (handshake(without="Host"), "Host"),
    "two hosts": (handshake("Host: localhost"), "Host"),
    "a query": (handshake(path="/v1/socket?access_token=secret"), "query"),
    "an empty token": (handshake("Authorization: Bearer "), AUTHORIZATION),
    "two tokens": (handshake("Authorization: Bearer a", "Authorization: Bearer b"), AUTHORIZATION),
    "a body": (handshake("Content-Length: 5") + b"hello", "body"),
    "chunks": (handshake("Transfer-Encoding: chunked") + b"0\r\n\r\n", "body"),
    "another protocol": (handshake("Upgrade: h2c", without="Upgrade"), "Upgrade"),
    "two protocols": (handshake("Upgrade: h2c"), "Upgrade"),
    "another path": (handshake(path="/v1/hall.ping"), "Upgrade"),
    "a longer path": (handshake(path="/v1/socket/"), "Upgrade"),
    "another method": (handshake().replace(b"GET", b"POST", 1), "Upgrade"),
    "HTTP/1.0": (handshake().replace(b"HTTP/1.1", b"HTTP/1.0", 1), "Upgrade"),
}


@pytest.mark.parametrize(("head", "field"), FAULTS.values(), ids=FAULTS.keys())
@on_both_loops
async def test_a_wrong_handshake_is_refused_in_http(
    contexts: Contexts, head: bytes, field: str
) -> None:
    async with open_site(contexts) as site, connect(site) as socket:
        answer = await socket.wire.ask(head)
        assert (answer.status, answer.field) == (400, field)
        assert "secret" not in answer.body.decode()
        assert await socket.wire.read_end() == b""
        await until(lambda: site.http.connections == 0)
        assert len(site.connections) == 0


@on_both_loops
async def test_an_upgrade_does_not_overtake_a_call(contexts: Contexts) -> None:
    go = asyncio.Event()

    async def answer(call: Call) -> Reply:
        await go.wait()
        return await echo(call)

    async with open_site(contexts, answer) as site, connect(site) as socket:
        socket.send(post() + handshake())
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, go.set)
        assert (await socket.wire.read_answer()).status == 200
        refused = await socket.wire.read_answer()
        assert (refused.status, refused.field) == (400, "pipeline")


# --- pages ----------------------------------------------------------------------------------------


@pytest.mark.requirement("R32")
@on_both_loops
async def test_pages_come_from_the_hall_itself_or_from_listed_origins(contexts: Contexts) -> None:
    async with open_site(contexts, origins=frozenset({"https://app.example"})) as site:
        for origin in ("https://app.example", "https://localhost"):
            async with open_socket(site, f"Origin: {origin}") as socket:
                await socket.ask()
        for origin in ("https://evil.example", "http://localhost", "null"):
            async with connect(site) as socket:
                answer = await socket.wire.ask(handshake(f"Origin: {origin}"))
                assert (answer.status, answer.field) == (403, "Origin")


# --- tokens ---------------------------------------------------------------------------------------


@pytest.mark.requirement("R12")
@on_both_loops
async def test_a_token_of_the_handshake_signs_the_connection_in_before_it_opens(
    contexts: Contexts,
) -> None:
    seen: list[Call] = []
    go = asyncio.Event()

    async def answer(call: Call) -> Reply:
        seen.append(call)
        if call.action == "identity.authenticate":
            await go.wait()
            assert call.connection is not None
            call.connection.token = msgspec.json.decode(call.body)["token"]
        return await echo(call)

    async with open_site(contexts, answer) as site, connect(site) as socket:
        # Who does not wait for the answer finds what it sent in order behind it.
        socket.send(handshake("Authorization: Bearer good") + frame(TEXT, request()))
        await until(lambda: len(seen) == 1)
        socket.send(frame(PING, b"?"))
        go.set()
        assert (await socket.wire.read_answer(has_body=False)).status == 101
        said = [await socket.read_said() for _ in range(2)]
        assert sorted(said) == [("pong", b"?"), ("reply", 1)]
    authenticate, call = seen
    assert (authenticate.token, authenticate.source) == (None, "127.0.0.1")
    assert authenticate.connection is call.connection
    assert call.token == "good"


@pytest.mark.requirement("R12")
@on_both_loops
async def test_a_refused_token_is_refused_in_http(contexts: Contexts) -> None:
    async def answer(call: Call) -> Reply:
        assert call.action == "identity.authenticate"
        return Reply("call-1", problem=UnauthenticatedError("expired").problem("call-1"))

    async with open_site(contexts, answer) as site, connect(site) as socket:
        socket.send(handshake("Authorization: Bearer old") + frame(TEXT, request()))
        refused = await socket.wire.read_answer()
        assert (refused.status, refused.json["request_id"]) == (401, "call-1")
        assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert refused.headers["connection"] == "close"
        assert await socket.wire.read_end() == b""
        await until(lambda: site.http.connections == len(site.connections) == 0)


@on_both_loops
async def test_an_end_during_the_handshake_is_answered_in_http(contexts: Contexts) -> None:
    go = asyncio.Event()

    async def answer(call: Call) -> Reply:
        await go.wait()
        return await echo(call)

    async with open_site(contexts, answer) as site, connect(site) as socket:
        socket.send(handshake("Authorization: Bearer slow"))
        await until(lambda: len(site.connections) == 1)
        site.connections.end_all(CloseReason.SHUTDOWN)
        refused = await socket.wire.read_answer()
        assert (refused.status, refused.json["request_id"]) == (503, REFUSAL_ID)
        # What is answered too late is not said any more.
        go.set()
        assert await socket.wire.read_end() == b""
        await until(lambda: site.http.connections == len(site.connections) == 0)


@on_both_loops
async def test_a_client_may_leave_during_the_handshake(contexts: Contexts) -> None:
    go = asyncio.Event()

    async def answer(call: Call) -> Reply:
        await go.wait()
        return await echo(call)

    async with open_site(contexts, answer) as site:
        async with connect(site) as socket:
            socket.send(handshake("Authorization: Bearer slow"))
            await until(lambda: len(site.connections) == 1)
        await asyncio.sleep(0)
        go.set()
        await until(lambda: site.http.connections == len(site.connections) == 0)


# --- a client that is not ours --------------------------------------------------------------------


@on_both_loops
async def test_a_common_library_converses_with_us(contexts: Contexts) -> None:
    async with (
        open_site(contexts) as site,
        connect_theirs(
            f"wss://localhost:{site.http.port}/v1/socket",
            ssl=contexts.client,
            origin=None,
            proxy=None,
        ) as theirs,
    ):
        large = request(7, 100_000)
        for message in (request(1), large):
            await theirs.send(message.decode())
        answers = [msgspec.json.decode(await theirs.recv()) for _ in range(2)]
        assert {answer["id"] for answer in answers} == {1, 7}

        async def fragments() -> AsyncIterator[str]:
            for at in range(0, len(large), 7_000):
                yield large[at : at + 7_000].decode()

        await theirs.send(fragments())
        assert msgspec.json.decode(await theirs.recv())["id"] == 7
        await asyncio.wait_for(await theirs.ping(), 5)
        await theirs.close()
        assert theirs.close_code == 1000
        await until(lambda: site.http.connections == len(site.connections) == 0)


@on_both_loops
async def test_plain_text_on_loopback_is_the_same_door(contexts: Contexts) -> None:
    del contexts
    async with open_site(None) as site, open_socket(site) as socket:
        await socket.ask()
        socket.send(close())
        assert await socket.read_all() == [("close", 1000)]
