"""Files at each door: whole by HTTPS, chunk by chunk elsewhere, and always the same bytes."""

import asyncio
import datetime as dt
import hashlib
import ssl
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moothall.action.call import Call, Reply
from moothall.core.errors import RateLimitedError
from moothall.testing import OpenHall, Visitor, open_test_hall
from moothall.transports.http import HttpBounds, HttpServer
from moothall.transports.http.files import RangeNotSatisfiableError, _Body, read_range
from moothall.transports.listener import Endpoint
from moothall.transports.tls import ServerTls, ensure_certificate
from tests.conformance.doors_wire import (
    SPEAKERS,
    Ask,
    Place,
    call,
    dial,
    encode_request,
    open_place,
    trust,
)
from tests.conformance.http_wire import (
    DOCUMENT_MAKERS,
    Answer,
    Wire,
    connect,
    make_backend,
    make_bounds,
    until,
)

CHUNK = 262_144
MEBIBYTE = 1_048_576
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK]

Tls = tuple[ServerTls, ssl.SSLContext]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    files = ensure_certificate(tmp_path_factory.mktemp("tls"), [], dt.datetime.now(dt.UTC))
    return ServerTls(files, alpn=("http/1.1",)), trust(files.certificate)


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[OpenHall]:
    async with open_test_hall(tmp_path) as opened:
        yield opened


@pytest.fixture
async def place(hall: OpenHall, tls: Tls) -> AsyncIterator[Place]:
    async with open_place(hall, tls) as (opened, _):
        yield opened


@pytest.fixture
async def ann(hall: OpenHall) -> Visitor:
    return await hall.member("ann")


def pattern(size_bytes: int) -> bytes:
    return hashlib.shake_128(b"a file").digest(size_bytes)


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(who: Visitor | None, sha256: str, *headers: str) -> bytes:
    """Return the head of an upload."""
    return head("PUT", who, sha256, *headers)


def head(method: str, who: Visitor | None, sha256: str, *headers: str) -> bytes:
    signed = [] if who is None else [f"Authorization: Bearer {who.token}"]
    lines = [f"{method} /v1/files/{sha256} HTTP/1.1", "Host: localhost", *signed, *headers]
    return "\r\n".join([*lines, "", ""]).encode()


@asynccontextmanager
async def visit(place: Place) -> AsyncIterator[Wire]:
    async with dial(place.web_port, place.trusting) as (reader, writer):
        yield Wire(reader, writer)


async def send_whole(place: Place, who: Visitor, data: bytes) -> Answer:
    async with visit(place) as wire:
        wire.send(put(who, digest_of(data), f"Content-Length: {len(data)}") + data)
        return await wire.read_answer()


async def fetch(place: Place, who: Visitor | None, sha256: str, *headers: str) -> Answer:
    async with visit(place) as wire:
        return await wire.ask(head("GET", who, sha256, *headers))


def chunks_of(data: bytes, size_bytes: int) -> bytes:
    """Return a body in chunks (RFC 9112, section 7.1)."""
    pieces = [data[at : at + size_bytes] for at in range(0, len(data), size_bytes)]
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"


# --- the same bytes -------------------------------------------------------------------------------


@pytest.mark.requirement("R57")
@pytest.mark.parametrize("size", [*SIZES, 16 * MEBIBYTE])
async def test_bytes_by_https(place: Place, ann: Visitor, size: int) -> None:
    data = pattern(size)
    answer = await send_whole(place, ann, data)
    assert (answer.status, answer.json["offset"]) == (201, size)
    again = await send_whole(place, ann, data)
    assert (again.status, again.json) == (200, answer.json)
    got = await fetch(place, ann, digest_of(data))
    assert (got.status, got.body) == (200, data)


@pytest.mark.requirement("R57")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [999, 65_536])
async def test_bytes_in_chunks_of_http(place: Place, ann: Visitor, size: int, piece: int) -> None:
    data = pattern(size)
    async with visit(place) as wire:
        wire.send(put(ann, digest_of(data), "Transfer-Encoding: chunked"))
        await wire.send_pieces(chunks_of(data, piece), 10_007)
        assert (await wire.read_answer()).status == 201
        # The connection goes on: nothing of the body was left, and nothing taken too much.
        got = await wire.ask(head("GET", ann, digest_of(data)))
        assert got.body == data
        assert (await wire.ask(head("GET", ann, digest_of(data)))).body == data


@pytest.mark.requirement("R57")
@pytest.mark.requirement("R31")
@pytest.mark.parametrize("door", list(SPEAKERS))
@pytest.mark.parametrize("size", [0, 1, CHUNK, 2 * CHUNK + 1])
async def test_bytes_by_messages(place: Place, ann: Visitor, door: str, size: int) -> None:
    data = pattern(size)
    sha256 = digest_of(data)
    async with SPEAKERS[door](place) as speaker:
        await call(speaker, "identity.authenticate", token=ann.token)
        done = {}
        for at in range(0, max(size, 1), CHUNK):
            request = {
                "sha256": sha256,
                "size_bytes": size,
                "offset": at,
                "data": b64encode(data[at : at + CHUNK]).decode(),
            }
            message = encode_request(1, Ask("files.put_chunk", msgspec.json.encode(request)))
            assert len(message) < MEBIBYTE // 2
            done = await call(speaker, "files.put_chunk", **request)
        assert done["is_finished"]
        got = b""
        while not got or len(got) < size:
            chunk = await call(speaker, "files.get_chunk", sha256=sha256, offset=len(got))
            got += b64decode(chunk["data"], validate=True)
            if not size:
                break
    assert got == data
    assert (await fetch(place, ann, sha256)).body == data


# --- what an answer says --------------------------------------------------------------------------


@pytest.mark.requirement("R57")
async def test_browser_never_shows_a_file(place: Place, ann: Visitor) -> None:
    data = b"<script>alert(1)</script>"
    await send_whole(place, ann, data)
    got = await fetch(place, ann, digest_of(data))
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["content-disposition"] == "attachment"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in got.headers["content-security-policy"]
    assert got.headers["cache-control"] == "private, no-cache"
    assert got.headers["etag"] == f'"{digest_of(data)}"'


async def test_head_and_conditions(place: Place, ann: Visitor) -> None:
    data = pattern(CHUNK + 10)
    sha256 = digest_of(data)
    await send_whole(place, ann, data)
    async with visit(place) as wire:
        wire.send(head("HEAD", ann, sha256))
        only_head = await wire.read_answer(has_body=False)
        assert only_head.headers["content-length"] == str(len(data))
        for same in (f'"{sha256}"', f'W/"{sha256}"', f'"x", "{sha256}"', "*"):
            wire.send(head("GET", ann, sha256, f"If-None-Match: {same}"))
            assert (await wire.read_answer(has_body=False)).status == 304
        assert (await wire.ask(head("GET", ann, sha256, 'If-None-Match: "x"'))).body == data
        half = f"Range: bytes=0-{CHUNK - 1}"
        assert (await wire.ask(head("GET", ann, sha256, half, 'If-Range: "x"'))).body == data
        part = await wire.ask(head("GET", ann, sha256, half, f'If-Range: "{sha256}"'))
        assert part.body == data[:CHUNK]


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("0-0", 0, 1), ("262140-262150", 262_140, 262_151), ("300000-", 300_000, 300_100),
     ("-5", 300_095, 300_100), ("-999999", 0, 300_100), ("299999-999999", 299_999, 300_100)],
)  # fmt: skip
async def test_one_range(place: Place, ann: Visitor, asked: str, start: int, end: int) -> None:
    data = pattern(300_100)
    await send_whole(place, ann, data)
    got = await fetch(place, ann, digest_of(data), f"Range: bytes={asked}")
    assert (got.status, got.body) == (206, data[start:end])
    assert got.headers["content-range"] == f"bytes {start}-{end - 1}/300100"


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,3-4", "bytes=5-2", "bytes=-", "bytes= -", "bytes=\t- ", "lines=1-2", "bytes=a"],
)
def test_what_is_no_single_range_gives_the_whole(asked: str) -> None:
    assert read_range(asked, 10) is None


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-20", "bytes=-0"])
async def test_range_beyond_the_end(place: Place, ann: Visitor, asked: str) -> None:
    with pytest.raises(RangeNotSatisfiableError):
        read_range(asked, 10)
    data = pattern(10)
    await send_whole(place, ann, data)
    got = await fetch(place, ann, digest_of(data), f"Range: {asked}")
    assert (got.status, got.headers["content-range"]) == (416, "bytes */10")
    assert got.json["name"] == "range_not_satisfiable"


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.requirement("R57")
async def test_too_large_is_refused_before_it_is_sent(place: Place, ann: Visitor) -> None:
    async with visit(place) as wire:
        size = f"Content-Length: {16 * MEBIBYTE + 1}"
        refused = await wire.ask(put(ann, digest_of(b""), size, "Expect: 100-continue"))
        assert (refused.status, refused.field) == (400, "body")
        assert refused.json["details"]["size_bytes_max"] == 16 * MEBIBYTE
        assert refused.headers["connection"] == "close"
        assert await wire.read_end() == b""


async def test_too_large_in_chunks_is_cut(tmp_path: Path, tls: Tls) -> None:
    bounds = {"files": {"size_bytes_max": CHUNK}}
    async with open_test_hall(tmp_path, tables=bounds) as hall, open_place(hall, tls) as (place, _):
        ann, data = await hall.member("ann"), pattern(CHUNK + 1)
        async with visit(place) as wire:
            wire.send(put(ann, digest_of(data), "Transfer-Encoding: chunked"))
            await wire.send_pieces(chunks_of(data, 5_000), 60_000)
            refused = await wire.read_answer()
        assert (refused.status, refused.field) == (400, "body")
        assert (await send_whole(place, ann, data[:CHUNK])).status == 201


@pytest.mark.requirement("R57")
async def test_nobody_sends_a_byte_without_a_token(place: Place) -> None:
    async with visit(place) as wire:
        size = f"Content-Length: {16 * MEBIBYTE}"
        refused = await wire.ask(put(None, digest_of(b""), size, "Expect: 100-continue"))
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert refused.headers["connection"] == "close"
        assert await wire.read_end() == b""


@pytest.mark.requirement("R57")
async def test_hidden_and_absent_look_alike(hall: OpenHall, place: Place, ann: Visitor) -> None:
    data = b"hers"
    await send_whole(place, ann, data)
    bob = await hall.member("bob")
    answers = [await fetch(place, bob, one) for one in (digest_of(data), digest_of(b"none"))]
    for answer in answers:
        assert (answer.status, answer.json["name"]) == (404, "no_such_file")
    hidden, absent = (one.json["details"]["reason"] for one in answers)
    assert hidden == absent
    # Whoever sends the same bytes is told nothing either: they are new to them.
    assert (await send_whole(place, bob, data)).status == 201


async def test_wrong_bytes_are_refused(place: Place, ann: Visitor) -> None:
    async with visit(place) as wire:
        answer = await wire.ask(put(ann, digest_of(b"right"), "Content-Length: 5") + b"wrong")
        assert (answer.status, answer.json["name"]) == (400, "hash_mismatch")
        assert "connection" not in answer.headers
        assert (await wire.ask(head("GET", ann, digest_of(b"right")))).status == 404


@pytest.mark.parametrize(
    ("request_head", "status", "field"),
    [
        (b"PUT /v1/files/abc HTTP/1.1", 404, None),
        (b"PUT /v1/files/" + b"A" * 64 + b" HTTP/1.1", 404, None),
        (b"POST /v1/files/" + b"a" * 64 + b" HTTP/1.1", 405, None),
        (b"DELETE /v1/files/" + b"a" * 64 + b" HTTP/1.1", 405, None),
        (b"GET /v1/files/" + b"a" * 64 + b"?token=x HTTP/1.1", 400, "query"),
        (b"PUT /v1/files/" + b"a" * 64 + b" HTTP/1.1\r\nContent-Range: bytes 0-1/2", 400,
         "Content-Range"),
        (b"PUT /v1/files/" + b"a" * 64 + b" HTTP/1.1\r\nIdempotency-Key: a", 400,
         "Idempotency-Key"),
        (b"PUT /v1/files/" + b"a" * 64 + b" HTTP/1.1\r\nContent-Encoding: gzip", 400,
         "Content-Encoding"),
        (b"GET /v1/files/" + b"a" * 64 + b" HTTP/1.1\r\nRange: a\r\nRange: b", 400, "Range"),
        (b"GET /v1/files/" + b"a" * 64 + b" HTTP/1.1\r\nContent-Length: 1", 400, "body"),
    ],
)  # fmt: skip
async def test_request_that_cannot_be_meant(
    place: Place, request_head: bytes, status: int, field: str | None
) -> None:
    async with visit(place) as wire:
        answer = await wire.ask(request_head + b"\r\nHost: localhost\r\n\r\n")
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    if field is not None:
        assert answer.field == field


# --- clients that go, drip, or do not read --------------------------------------------------------


@pytest.mark.requirement("R57")
async def test_upload_that_was_cut_off_goes_on_elsewhere(
    hall: OpenHall, place: Place, ann: Visitor
) -> None:
    data = pattern(3 * CHUNK)
    sha256 = digest_of(data)

    async def there() -> Any:
        return await hall.call("files.get_upload", {"sha256": sha256}, as_=ann)

    async with visit(place) as wire:
        wire.send(put(ann, sha256, f"Content-Length: {len(data)}") + data[: 2 * CHUNK + 100])
        async with asyncio.timeout(10):
            while (await there()).offset < 2 * CHUNK:  # noqa: ASYNC110 - the door tells nobody
                await asyncio.sleep(0.001)
    assert (await there()).is_finished is False
    assert (await fetch(place, ann, sha256)).status == 404
    last = {
        "sha256": sha256,
        "offset": 2 * CHUNK,
        "data": b64encode(data[2 * CHUNK :]).decode(),
        "size_bytes": len(data),
    }
    assert (await hall.call("files.put_chunk", last, as_=ann)).is_finished
    assert (await fetch(place, ann, sha256)).body == data


@pytest.mark.requirement("R57")
@pytest.mark.parametrize("first", [1, CHUNK - 100, CHUNK])
async def test_whole_chunk_waits_for_no_more_than_the_byte_behind_it(first: int) -> None:
    pieces = [first, CHUNK + 1 - first]

    async def receive() -> dict[str, Any]:
        assert pieces, "the client sends no more for now"
        return {"type": "http.request", "body": bytes(pieces.pop(0)), "more_body": True}

    body = _Body(receive, HttpBounds(), 2 * CHUNK)
    assert await body.read() == (bytes(CHUNK), False)


@asynccontextmanager
async def open_bounded(
    hall: OpenHall, answer: Callable[[Call], Awaitable[Reply]] | None = None, **bounds: int
) -> AsyncIterator[HttpServer]:
    """Open the door of a hall with bounds of a test."""
    door = HttpServer(
        make_backend(answer or hall.hall.pipeline.answer),
        Endpoint(host="127.0.0.1", port=0, context=None, insecure=True),
        DOCUMENT_MAKERS,
        file_size_bytes_max=16 * MEBIBYTE,
        bounds=make_bounds(HttpBounds, **bounds),
    )
    await door.start()
    try:
        yield door
    finally:
        await door.stop()


async def test_dripping_client_is_cut(hall: OpenHall, ann: Visitor) -> None:
    data = pattern(100_000)
    async with (
        open_bounded(hall, body_timeout_ms=300, file_pace_bytes_min=1_000) as door,
        connect(door) as wire,
    ):
        wire.send(put(ann, digest_of(data), f"Content-Length: {len(data)}"))
        # Quick enough at first: no bound holds for the whole body.
        for start in range(0, 8_000, 1_000):
            wire.send(data[start : start + 1_000])
            await asyncio.sleep(0.05)
        for start in range(8_000, 8_100):
            wire.send(data[start : start + 1])
            await asyncio.sleep(0.005)
        answer = await wire.read_answer()
    assert (answer.status, answer.json["name"]) == (504, "deadline_exceeded")
    assert answer.headers["connection"] == "close"


async def test_slow_reader_holds_two_chunks_at_most_and_is_cut(
    hall: OpenHall, ann: Visitor
) -> None:
    data, asked = pattern(16 * MEBIBYTE), 0

    async def count(call: Call) -> Reply:
        nonlocal asked
        asked += call.action == "files.get_chunk"
        return await hall.hall.pipeline.answer(call)

    async with open_bounded(hall, count, write_timeout_ms=500) as door:
        async with connect(door) as wire:
            wire.send(put(ann, digest_of(data), f"Content-Length: {len(data)}") + data)
            assert (await wire.read_answer()).status == 201
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port, limit=1_024)
        writer.write(head("GET", ann, digest_of(data)))
        await until(lambda: asked > 0)
        await until(lambda: door.connections == 0)
        # What the systems of both ends hold, and two chunks.
        assert asked < 48
        writer.transport.abort()
        reader.feed_eof()


async def test_limit_of_calls_makes_a_file_wait_and_not_fail(
    tmp_path: Path,
) -> None:
    data = pattern(3 * CHUNK)
    async with open_test_hall(tmp_path) as hall:
        ann, refused = await hall.member("ann"), 0

        async def refuse_once(call: Call) -> Reply:
            nonlocal refused
            if call.action.endswith("_chunk") and refused < 2:
                refused += 1
                return Reply(
                    "x", problem=RateLimitedError("too many", retry_after_ms=5).problem("x")
                )
            refused = 0
            return await hall.hall.pipeline.answer(call)

        async with open_bounded(hall, refuse_once) as door, connect(door) as wire:
            wire.send(put(ann, digest_of(data), f"Content-Length: {len(data)}") + data)
            assert (await wire.read_answer()).status == 201
            assert (await wire.ask(head("GET", ann, digest_of(data)))).body == data


async def test_file_that_goes_while_it_is_read_breaks_the_connection_off(
    hall: OpenHall, ann: Visitor
) -> None:
    data, asked = pattern(4 * CHUNK), 0

    async def lose(call: Call) -> Reply:
        nonlocal asked
        asked += call.action == "files.get_chunk"
        if asked == 2:
            await hall.call("files.delete_file", {"sha256": digest_of(data)}, as_=ann)
        return await hall.hall.pipeline.answer(call)

    async with open_bounded(hall, lose) as door, connect(door) as wire:
        wire.send(put(ann, digest_of(data), f"Content-Length: {len(data)}") + data)
        assert (await wire.read_answer()).status == 201
        wire.send(head("GET", ann, digest_of(data)))
        rest = await wire.read_end()
    assert rest.partition(b"\r\n\r\n")[2] == data[:CHUNK]


async def test_hall_without_files_has_none(hall: OpenHall, ann: Visitor) -> None:
    door = HttpServer(
        make_backend(hall.hall.pipeline.answer),
        Endpoint(host="127.0.0.1", port=0, context=None, insecure=True),
        DOCUMENT_MAKERS,
    )
    await door.start()
    async with connect(door) as wire:
        answer = await wire.ask(head("GET", ann, "a" * 64))
        assert (answer.status, answer.json["name"]) == (404, "path_not_found")
    await door.stop()
