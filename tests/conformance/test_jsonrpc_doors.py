"""What JSON-RPC adds to a call, alike at both doors that speak it, on a hall with all its rooms."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import pytest

from moothall.core.units import MINUTE_MS
from moothall.ports.hasher import PasswordHasher
from moothall.testing import OpenHall, open_test_hall
from moothall.testing.hall import PASSWORD, CheapHasher
from moothall.transports.tls import ServerTls
from tests.conformance.doors_wire import (
    DOORS_ASKED,
    SPEAKERS,
    Ask,
    Place,
    ask_https,
    call,
    encode_request,
    open_place,
    read_reply,
    read_rest,
)

pytestmark = [
    pytest.mark.requirement("R31"),
    pytest.mark.requirement("R32"),
    pytest.mark.parametrize("door", SPEAKERS),
]

BOARD = {"board_id": "kart", "name": "Kart", "direction": "descending", "default_level": "write"}
PING = Ask("hall.ping")


class Site(NamedTuple):
    """A hall of this very process, with its doors open."""

    hall: OpenHall
    place: Place


@pytest.fixture
async def site(tmp_path: Path, tls: tuple[ServerTls, ssl.SSLContext]) -> AsyncIterator[Site]:
    async with open_test_hall(tmp_path) as hall, open_place(hall, tls) as (place, _):
        yield Site(hall, place)


def message(*, without: str = "", more: bytes = b"", asked_id: Any = 1) -> bytes:
    return encode_request(asked_id, PING, more=more, without=without)


PARSE, FORM = -32700, -32600
REFUSED: dict[str, tuple[bytes, int, Any, str]] = {
    # What is sent, the code, the id of the answer, the field that is blamed.
    "a batch": (b"[" + message() + b"]", FORM, None, "frame"),
    "an empty batch": (b"[]", FORM, None, "frame"),
    "no id": (message(without="id"), FORM, None, "id"),
    "id null": (message(asked_id=None), FORM, None, "id"),
    "id a part": (message(asked_id=1.5), FORM, None, "id"),
    "id an object": (message(asked_id={}), FORM, None, "id"),
    "id too long": (message(asked_id="x" * 65), FORM, None, "id"),
    "id too long in bytes": (message(asked_id="é" * 33), FORM, None, "id"),
    "id beyond what all can read": (message(asked_id=2**53), FORM, None, "id"),
    "no version": (message(without="jsonrpc"), FORM, 1, "jsonrpc"),
    "version 1": (message().replace(b"2.0", b"1.0"), FORM, 1, "jsonrpc"),
    "no method": (message(without="method"), FORM, 1, "method"),
    "method a number": (message().replace(b'"hall.ping"', b"7"), FORM, 1, "method"),
    "a stranger": (message(more=b',"extra":1'), FORM, 1, "extra"),
    "meta a list": (message(more=b',"meta":[]'), FORM, 1, "meta"),
    "meta with a stranger": (message(more=b',"meta":{"token":"x"}'), FORM, 1, "meta.token"),
    "a result": (b'{"jsonrpc":"2.0","id":1,"result":{}}', FORM, 1, "result"),
    "text": (b'"hello"', FORM, None, "frame"),
    "a number": (b"7", FORM, None, "frame"),
    "null": (b"null", FORM, None, "frame"),
    "HTTP": (b"GET / HTTP/1.1", PARSE, None, "frame"),
    "half": (message()[:-1], PARSE, None, "frame"),
    "two": (message() + message(), PARSE, None, "frame"),
    "nesting": (message()[:-1] + b',"params":' + b"[" * 100_000, PARSE, None, "frame"),
}


async def test_what_is_no_request_is_refused_and_the_next_one_taken(site: Site, door: str) -> None:
    for told, (sent, code, asked_id, field) in REFUSED.items():
        async with SPEAKERS[door](site.place) as speaker:
            await speaker.send(sent)
            await speaker.send(message(asked_id="next"))
            refusal, reply = await speaker.read(), await speaker.read()
        assert (refusal["error"]["code"], refusal["id"]) == (code, asked_id), told
        problem = refusal["error"]["data"]
        assert (problem["name"], problem["status"]) == ("invalid_argument", 400), told
        assert problem["details"]["field"] == field, told
        assert problem["details"]["remedy"], told
        assert problem["request_id"], told
        assert (reply["id"], reply["result"]["answer"]) == ("next", "pong"), told


TWICE = {
    "id": message(more=b',"id":2'),
    "method": message(more=b',"method":"hall.ping"'),
    "params": message(more=b',"params":{}'),
    "meta": message(more=b',"meta":{},"meta":{"deadline_ms":1}'),
    "in meta": message(more=b',"meta":{"deadline_ms":1,"deadline_ms":2}'),
}


async def test_an_envelope_that_says_something_twice_is_refused(site: Site, door: str) -> None:
    for told, sent in TWICE.items():
        async with SPEAKERS[door](site.place) as speaker:
            await speaker.send(sent)
            refusal = await speaker.read()
        assert refusal["error"]["code"] == FORM, told
        assert refusal["error"]["data"]["name"] == "invalid_argument", told


IDS: list[Any] = [
    0,
    -1,
    2**53 - 1,
    1 - 2**53,
    "",
    "a",
    "ü" * 32,
    "1",
    'quo"te\\\n\x00',
    "\U0001f600",
]


async def test_ids_come_back_as_they_were(site: Site, door: str) -> None:
    async with SPEAKERS[door](site.place) as speaker:
        for asked_id in IDS:
            await speaker.send(message(asked_id=asked_id))
            told = await speaker.read()
            assert told["id"] == asked_id
            assert type(told["id"]) is type(asked_id)
            assert set(told) == {"jsonrpc", "id", "result"}
        for asked_id in IDS:
            await speaker.send(encode_request(asked_id, Ask("hall.nothing")))
            told = await speaker.read()
            assert (told["id"], told["error"]["code"]) == (asked_id, -32601)
            assert set(told) == {"jsonrpc", "id", "error"}


async def test_families_of_failure_have_their_codes(site: Site, door: str) -> None:
    ada = await site.hall.member("ada")
    boss = await site.hall.administrator()
    await site.hall.call("leaderboards.create_board", BOARD, as_=boss)
    codes = {
        Ask("hall.pin"): -32601,
        Ask("hall.ping", b'{"x":1}'): -32602,
        Ask("identity.get_self"): -32000,
        Ask("leaderboards.create_board", msgspec.json.encode(BOARD), ada.token): -32000,
        Ask("leaderboards.create_board", msgspec.json.encode(BOARD), boss.token): -32000,
        Ask("feeds.subscribe", b'{"feed":"board/kart","after":"x.1"}', ada.token): -32000,
    }
    for ask, code in codes.items():
        assert (await DOORS_ASKED[door](site.place, ask)).rpc_code == code, ask


class HeldHasher(CheapHasher):
    """Has not the answer before it may."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def hash(self, password: str) -> str:
        await self.go_on.wait()
        return await super().hash(password)


async def test_replies_come_as_calls_end(site: Site, door: str) -> None:
    hasher = HeldHasher()
    cast("dict[type, object]", site.hall.hall.house.ports)[PasswordHasher] = hasher
    register = Ask("identity.register", msgspec.json.encode({"name": "ada", "password": PASSWORD}))
    async with SPEAKERS[door](site.place) as speaker:
        await speaker.send(encode_request("slow", register))
        for number in range(3):
            await speaker.send(message(asked_id=number))
            assert (await speaker.read())["id"] == number
        hasher.go_on.set()
        told = await speaker.read()
        assert (told["id"], told["result"]["name"]) == ("slow", "ada")


async def test_one_id_twice_gets_two_answers(site: Site, door: str) -> None:
    async with SPEAKERS[door](site.place) as speaker:
        await speaker.send(message() + (b"\n" + message() if door == "ndjson" else b""))
        if door == "websocket":
            await speaker.send(message())
        assert [(await speaker.read())["id"] for _ in range(2)] == [1, 1]


async def test_events_are_never_taken_for_replies(site: Site, door: str) -> None:
    boss = await site.hall.administrator()
    await site.hall.call("leaderboards.create_board", BOARD, as_=boss)
    score = {"board_id": "kart", "score": 1.0}
    async with SPEAKERS[door](site.place) as speaker:
        await call(speaker, "identity.authenticate", token=boss.token)
        await call(speaker, "feeds.subscribe", feed="board/kart/moderation")
        submit = Ask("leaderboards.submit_score", msgspec.json.encode(score))
        for number in range(20):
            await speaker.send(encode_request(number, submit))
        events: list[Any] = []
        replies: list[Any] = []
        while len(events) + len(replies) < 40:
            told = await speaker.read()
            (events if "method" in told else replies).append(told)
        assert sorted(told["id"] for told in replies) == [*range(20)]
        assert all(set(told) == {"jsonrpc", "method", "params"} for told in events)
        assert [told["params"]["seq"] for told in events] == [*range(1, 21)]
        members = {"feed", "cursor", "stream", "seq", "kind", "at", "data"}
        assert all(set(told["params"]) == members for told in events)


async def test_bad_frames_are_answered_until_there_are_too_many(site: Site, door: str) -> None:
    async with SPEAKERS[door](site.place) as speaker:
        for _ in range(16):
            await speaker.send(b"{")
        for _ in range(16):
            assert (await speaker.read())["error"]["code"] == PARSE
        assert await read_rest(speaker) == ["protocol_error"]
    async with SPEAKERS[door](site.place) as other:
        await other.send(message())
        assert (await read_reply(other))["id"] == 1


@pytest.mark.requirement("R5")
async def test_an_expired_token_is_refused_alike_and_may_be_renewed(site: Site, door: str) -> None:
    ada = await site.hall.member("ada")
    ask = Ask("identity.get_self", token=ada.token)
    async with SPEAKERS[door](site.place) as speaker:
        await call(speaker, "identity.authenticate", token=ada.token)
        assert (await call(speaker, "identity.get_self"))["name"] == "ada"
        site.hall.clock.advance(6 * MINUTE_MS)
        await speaker.send(encode_request(1, ask._replace(token=None)))
        told = (await read_reply(speaker))["error"]["data"]
        expected = (await ask_https(site.place, ask)).problem
        assert expected["name"] == "unauthenticated"
        assert {**told, "request_id": ""} == {**expected, "request_id": ""}
        assert (await DOORS_ASKED[door](site.place, ask)).problem == expected
        again = await site.hall.sign_in("ada")
        await call(speaker, "identity.authenticate", token=again.token)
        assert (await call(speaker, "identity.get_self"))["name"] == "ada"
