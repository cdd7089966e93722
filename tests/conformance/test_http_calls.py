"""Calls and documents at a real HTTPS door, whole and in pieces."""

import asyncio
import datetime as dt
import ssl
from pathlib import Path

import pytest

from moothall.action.call import Call, Reply
from moothall.core.errors import RateLimitedError, UnauthenticatedError
from moothall.transports.tls import ServerTls, ensure_certificate
from tests.conformance.http_wire import (
    DESCRIPTION,
    JWKS,
    OPENAPI,
    REFUSAL_ID,
    chunked,
    connect,
    get,
    on_both_loops,
    open_door,
    post,
)

FULL = post("hall.ping", b'{"a":1}', "authorization: bEaReR abc.def", "Idempotency-Key: 7f-1")


@on_both_loops
async def test_a_call_reaches_the_pipeline_and_its_answer_the_client() -> None:
    async with open_door() as door, connect(door) as wire:
        answer = await wire.ask(FULL)
        assert answer.status == 200
        assert answer.json == {
            "action": "hall.ping",
            "body": '{"a":1}',
            "source": "127.0.0.1",
            "token": "abc.def",
            "key": "7f-1",
            "deadline_ms": None,
        }
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["request-id"] == "request-of-the-call"
        assert "date" in answer.headers


@on_both_loops
async def test_pieces_of_seven_bytes_give_the_same_answer() -> None:
    async with open_door() as door, connect(door) as whole, connect(door) as pieces:
        for request in (FULL, chunked(b'{"a"', b":1}"), get("/healthz"), get("/nowhere")):
            await pieces.send_pieces(request)
            in_pieces = await pieces.read_answer()
            at_once = await whole.ask(request)
            assert (in_pieces.status, in_pieces.body) == (at_once.status, at_once.body)


@on_both_loops
async def test_a_connection_serves_many_calls() -> None:
    async with open_door() as door, connect(door) as wire:
        for number in range(20):
            assert (await wire.ask(post(body=b"%d" % number))).json["body"] == str(number)
        assert door.connections == 1


@on_both_loops
async def test_joined_calls_are_answered_in_order() -> None:
    async with open_door() as door, connect(door) as wire:
        wire.send(b"".join(post(body=b"%d" % number) for number in range(10)))
        answers = [(await wire.read_answer()).json["body"] for _ in range(10)]
        assert answers == [str(number) for number in range(10)]


@on_both_loops
async def test_a_large_body_in_chunks_arrives_whole() -> None:
    text = b'"' + b"x" * 500_000 + b'"'
    async with open_door() as door, connect(door) as wire:
        pieces = [text[start : start + 10_000] for start in range(0, len(text), 10_000)]
        assert (await wire.ask(chunked(*pieces))).json["body"] == text.decode()
        assert (await wire.ask(post(body=text))).json["body"] == text.decode()


async def test_problems_carry_what_http_has_for_them() -> None:
    async def refuse(call: Call) -> Reply:
        if call.token is None:
            return Reply("r", problem=UnauthenticatedError().problem("r"))
        return Reply("r", problem=RateLimitedError(retry_after_ms=1_001).problem("r"))

    async with open_door(refuse) as door, connect(door) as wire:
        answer = await wire.ask(post())
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"
        answer = await wire.ask(post("hall.ping", b"", "Authorization: Bearer x"))
        assert answer.status == 429
        assert answer.headers["retry-after"] == "2"
        assert answer.json["request_id"] == answer.headers["request-id"] == "r"


async def test_a_bug_answers_internal_and_tells_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(_call: Call) -> Reply:
        raise ZeroDivisionError("secret")

    async with open_door(fail) as door, connect(door) as wire:
        answer = await wire.ask(post())
        assert (answer.status, answer.json["code"]) == (500, "internal")
        assert b"secret" not in answer.body
        assert caplog.records[0].__dict__["request_id"] == REFUSAL_ID
        assert (await wire.ask(get("/healthz"))).status == 200


async def test_documents() -> None:
    async with open_door() as door, connect(door) as wire:
        assert (await wire.ask(get("/healthz"))).json == {"status": "ok"}
        assert (await wire.ask(get("/.well-known/jwks.json"))).body == JWKS
        assert (await wire.ask(get("/.well-known/moothall"))).body == DESCRIPTION
        answer = await wire.ask(get("/openapi.json"))
        assert answer.body == OPENAPI
        tag = answer.headers["etag"]
        wire.send(get("/openapi.json", f"If-None-Match: {tag}"))
        known = await wire.read_answer(has_body=False)
        assert (known.status, known.headers["etag"]) == (304, tag)
        wire.send(get("/openapi.json", method="HEAD"))
        head = await wire.read_answer(has_body=False)
        assert (head.status, head.headers["content-length"]) == (200, str(len(OPENAPI)))
        assert (await wire.ask(get("/healthz"))).status == 200


async def test_unknown_paths_and_methods_are_told() -> None:
    async with open_door() as door, connect(door) as wire:
        answer = await wire.ask(get("/nowhere"))
        assert (answer.status, answer.json["code"]) == (404, "not_found")
        assert "/openapi.json" in answer.json["details"]["paths"]
        answer = await wire.ask(get("/healthz", method="DELETE"))
        assert (answer.status, answer.json["code"]) == (405, "unimplemented")
        assert (answer.json["status"], answer.headers["allow"]) == (405, "GET, HEAD")
        answer = await wire.ask(get("/v1/hall.ping"))
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_expect_continue_is_asked_for_the_body() -> None:
    async with open_door() as door, connect(door) as wire:
        request = post("hall.ping", b'"abc"', "Expect: 100-continue")
        wire.send(request[:-5])
        assert (await wire.read_answer()).status == 100
        wire.send(request[-5:])
        assert (await wire.read_answer()).json["body"] == '"abc"'


@on_both_loops
async def test_calls_over_tls(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path / "tls", [], dt.datetime.now(dt.UTC))
    server = ServerTls(files, alpn=("http/1.1",))
    trusting = ssl.create_default_context(cafile=files.certificate)
    async with (
        open_door(context=server.context) as door,
        connect(door, trusting) as wire,
    ):
        assert (await wire.ask(FULL)).json["token"] == "abc.def"
        await wire.send_pieces(FULL)
        assert (await wire.read_answer()).status == 200
        connection = wire.writer.get_extra_info("ssl_object")
        assert connection.version() == "TLSv1.3"
        assert connection.session is None or not connection.session.has_ticket


@on_both_loops
async def test_a_renewed_certificate_is_seen_by_new_connections(tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    files = ensure_certificate(tmp_path / "tls", [], now)
    server = ServerTls(files)
    old = ssl.create_default_context(cafile=files.certificate)
    async with open_door(context=server.context) as door, connect(door, old) as wire:
        assert (await wire.ask(FULL)).status == 200
        renewed = ensure_certificate(tmp_path / "new", [], now)
        renewed.key.replace(files.key)
        renewed.certificate.replace(files.certificate)
        assert server.has_changed()
        assert server.reload()
        assert (await wire.ask(FULL)).status == 200
        new = ssl.create_default_context(cafile=files.certificate)
        async with connect(door, new) as fresh:
            assert (await fresh.ask(FULL)).status == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", door.port, ssl=old)
