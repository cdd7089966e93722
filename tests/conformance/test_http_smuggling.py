"""Requests that two readers could understand differently are refused and end the connection."""

import pytest

from tests.conformance.http_wire import chunked, connect, get, on_both_loops, open_door, post

# The door decides, not what the rows lie on.
pytestmark = pytest.mark.sqlite

HEAD = b"POST /v1/hall.ping HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"

AMBIGUOUS = {
    "both lengths": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both, turned": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\n{}",
    "signed length": HEAD + b"Content-Length: +2\r\n\r\n{}",
    "hex length": HEAD + b"Content-Length: 0x2\r\n\r\n{}",
    "no length": HEAD + b"Content-Length: \r\n\r\n{}",
    "other coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding before chunks": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "two codings": HEAD + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "chunks in 1.0": HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space in a name": HEAD + b"Content-Length : 2\r\n\r\n{}",
    "control in a name": HEAD + b"X\x01: 2\r\n\r\n",
    "no name": HEAD + b": 2\r\n\r\n",
    "folded value": HEAD + b"X: a\r\n b\r\n\r\n",
    "bare line feed": HEAD + b"X: a\nY: b\r\n\r\n",
    "bare carriage return": HEAD + b"X: a\rY: b\r\n\r\n",
    "nul in a value": HEAD + b"X: a\0b\r\n\r\n",
    "space in a chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2 \r\n{}\r\n0\r\n\r\n",
    "endless chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n",
    "chunks with line feeds": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    "no version": b"POST /v1/hall.ping\r\n\r\n",
    "unknown version": b"GET /healthz HTTP/1.2\r\nHost: a\r\n\r\n",
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two tokens": post("hall.ping", b"{}", *["Authorization: Bearer a"] * 2),
    "two keys": post("hall.ping", b"{}", *["Idempotency-Key: a"] * 2),
    "other protocol": post("hall.ping", b"abc", "Connection: Upgrade", "Upgrade: h2c"),
    "tunnel": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "control in the path": b"GET /heal\x01thz HTTP/1.1\r\nHost: a\r\n\r\n",
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("request_bytes", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
@pytest.mark.requirement("R32")
@on_both_loops
async def test_an_ambiguous_request_ends_the_connection(request_bytes: bytes) -> None:
    async with open_door() as door:
        for in_pieces in (False, True):
            async with connect(door) as wire:
                # What follows would be somebody else's request behind a careless proxy.
                smuggled = request_bytes + get("/healthz")
                if in_pieces:
                    await wire.send_pieces(smuggled)
                else:
                    wire.send(smuggled)
                answer = await wire.read_answer()
                assert (answer.status, answer.json["code"]) == (400, "invalid_argument")
                assert answer.headers["connection"] == "close"
                assert await wire.read_end() == b""


@on_both_loops
async def test_a_trailer_is_no_header() -> None:
    async with open_door() as door, connect(door) as wire:
        for trailer in (b"Authorization: Bearer stolen\r\n", b"Idempotency-Key: x\r\n"):
            answer = await wire.ask(chunked(b"{}", trailer=trailer))
            assert answer.status == 200
            assert (answer.json["token"], answer.json["key"]) == (None, None)


@on_both_loops
async def test_a_malformed_request_is_answered_after_the_ones_ahead_of_it() -> None:
    async with open_door() as door, connect(door) as wire:
        wire.send(post(body=b"1") + post(body=b"2") + b"\x00\r\n\r\n")
        assert (await wire.read_answer()).json["body"] == "1"
        assert (await wire.read_answer()).json["body"] == "2"
        assert (await wire.read_answer()).status == 400
        assert await wire.read_end() == b""


@on_both_loops
async def test_nothing_after_the_last_request_is_answered() -> None:
    async with open_door() as door, connect(door) as wire:
        wire.send(post("hall.ping", b"1", "Connection: close") + post(body=b"2"))
        answer = await wire.read_answer()
        assert (answer.json["body"], answer.headers["connection"]) == ("1", "close")
        assert await wire.read_end() == b""
