"""``GET /v1/feeds/<feed>`` over TLS: a feed as server-sent events, on a hall with all its rooms."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple

import pytest

from moothall.action.connections import Connections
from moothall.app.doors import OpenDoors
from moothall.core.units import MINUTE_MS, SECOND_MS
from moothall.testing import OpenHall, Visitor, open_test_hall
from moothall.transports.tls import ServerTls, ensure_certificate
from tests.conformance.doors_wire import WAIT_S, Place, dial, open_place, trust
from tests.conformance.events_wire import EventStream, ask_stream, follow_events
from tests.conformance.http_wire import Answer, Wire, get, until

pytestmark = pytest.mark.requirement("R33")

PAGE = "https://app.example"
FEED = "/v1/feeds/board/kart/moderation"
BOARD = {"board_id": "kart", "name": "Kart", "direction": "descending"}


class House(NamedTuple):
    """A hall of this very process, with its doors open."""

    hall: OpenHall
    place: Place
    doors: OpenDoors
    boss: Visitor
    ada: Visitor

    @property
    def connections(self) -> Connections:
        return self.hall.hall.house.use(Connections)

    async def submit(self, count: int = 1) -> None:
        request = {"board_id": "kart", "score": 1.0}
        for _ in range(count):
            await self.hall.call("leaderboards.submit_score", request, as_=self.boss)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ServerTls, ssl.SSLContext]:
    files = ensure_certificate(tmp_path_factory.mktemp("tls"), [], dt.datetime.now(dt.UTC))
    return ServerTls(files), trust(files.certificate)


@pytest.fixture
async def house(tmp_path: Path, tls: tuple[ServerTls, ssl.SSLContext]) -> AsyncIterator[House]:
    tables = {"web": {"origins": [PAGE]}}
    async with open_test_hall(tmp_path, tables=tables) as hall:
        boss, ada = await hall.administrator("boss"), await hall.member("ada")
        await hall.call("leaderboards.create_board", BOARD, as_=boss)
        async with open_place(hall, tls) as (place, doors):
            yield House(hall, place, doors, boss, ada)
        assert len(hall.hall.house.use(Connections)) == 0


def bearer(who: Visitor) -> str:
    return f"Authorization: Bearer {who.token}"


def follow(
    house: House,
    *headers: str,
    feed: str = "board/kart/moderation",
    who: Visitor | None = None,
    piece_size_bytes: int = 0,
) -> AbstractAsyncContextManager[EventStream]:
    token = (who or house.boss).token
    return follow_events(house.place, feed, token, *headers, piece_size_bytes=piece_size_bytes)


async def refuse(house: House, request: bytes) -> Answer:
    """Return the answer to a request that gets no stream, whole and in pieces."""
    async with ask_stream(house.place, request) as whole:
        answer = whole.head
    async with ask_stream(house.place, request, 7) as pieces:
        in_pieces = pieces.head
    told, told_in_pieces = ({**each.json, "request_id": ""} for each in (answer, in_pieces))
    assert told == told_in_pieces
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(house.connections) == 0
    return answer


# --- what comes -----------------------------------------------------------------------------------


@pytest.mark.requirement("R31")
@pytest.mark.parametrize("piece_size_bytes", [0, 7])
async def test_events_come_as_they_happen(house: House, piece_size_bytes: int) -> None:
    async with follow(house, piece_size_bytes=piece_size_bytes) as stream:
        headers = stream.head.headers
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-store"
        assert headers["transfer-encoding"] == "chunked"
        assert headers["request-id"]
        (connection,) = house.connections
        assert (connection.door, list(connection.subscriptions)) == (
            "events",
            ["board/kart/moderation"],
        )
        for number in range(1, 4):
            await house.submit()
            event = await stream.read()
            assert event is not None
            assert (event.kind, event.cursor) == ("event", event.data["cursor"])
            members = {"feed", "cursor", "stream", "seq", "kind", "at", "data"}
            assert set(event.data) == members
            assert event.data["seq"] == number
            assert event.data["kind"] == "leaderboards.score_submitted"
            assert event.data["data"]["score"] == 1.0


async def test_a_reader_resumes_without_gap_and_without_repeat(house: House) -> None:
    async with follow(house) as stream:
        await house.submit(5)
        seen = [await stream.read() for _ in range(3)]
    assert seen[2] is not None
    await until(lambda: len(house.connections) == 0)
    await house.submit(250)
    async with follow(house, f"Last-Event-ID: {seen[2].cursor}") as stream:
        assert await stream.read_seqs(252) == [*range(4, 256)]
        await house.submit(2)
        assert await stream.read_seqs(2) == [256, 257]
    async with follow(house, "Last-Event-ID: now") as stream:
        await house.submit()
        assert await stream.read_seqs(1) == [258]


async def test_many_readers_see_the_same(house: House) -> None:
    async with follow(house) as one, follow(house) as two, follow(house) as three:
        await house.submit(30)
        seen = await asyncio.gather(*(each.read_seqs(30) for each in (one, two, three)))
        assert seen == [[*range(1, 31)]] * 3


@pytest.mark.parametrize("feed", ["board%2Fkart%2fmoderation", "%62oard/k%61rt/moderation"])
async def test_a_name_may_be_percent_encoded(house: House, feed: str) -> None:
    async with follow(house, feed=feed) as stream:
        await house.submit()
        event = await stream.read()
        assert event is not None
        assert event.data["feed"] == "board/kart/moderation"


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.requirement("R32")
async def test_a_cursor_that_cannot_be_resumed_from_is_told(house: House) -> None:
    for cursor in ["rubbish", "x.1", "x", ".", "a" * 64, "a" * 65, "%", "\xff", "-1"]:
        header = f"Last-Event-ID: {cursor}".encode("latin-1")
        request = get(FEED, bearer(house.boss), "Last-Event-ID: ?")
        answer = await refuse(house, request.replace(b"Last-Event-ID: ?", header))
        name = "cursor_expired" if len(cursor) <= 64 else "invalid_argument"
        assert (answer.status, answer.json["name"]) == (400, name), cursor


async def test_a_cursor_of_the_future_is_told(house: House) -> None:
    cursor = house.hall.cursor(10_000)
    answer = await refuse(house, get(FEED, bearer(house.boss), f"Last-Event-ID: {cursor}"))
    assert (answer.status, answer.json["name"]) == (400, "cursor_expired")
    assert "now" in answer.json["details"]["remedy"]


@pytest.mark.requirement("R5")
async def test_without_a_good_token_there_is_nothing(house: House) -> None:
    none = await refuse(house, get(FEED))
    assert (none.status, none.headers["www-authenticate"]) == (401, "Bearer")
    bad = await refuse(house, get(FEED, "Authorization: Bearer rubbish"))
    assert (bad.status, bad.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    basic = await refuse(house, get(FEED, "Authorization: Basic eDp5"))
    assert basic.status == 401
    house.hall.clock.advance(6 * MINUTE_MS)
    expired = await refuse(house, get(FEED, bearer(house.boss)))
    assert (expired.status, expired.json["name"]) == (401, "unauthenticated")


@pytest.mark.requirement("R20")
async def test_hidden_and_absent_feeds_cannot_be_told_apart(house: House) -> None:
    missing = await refuse(house, get(FEED, bearer(house.ada)))
    assert (missing.status, missing.json["name"]) == (403, "permission_denied")
    absent = await refuse(house, get(FEED.replace("kart", "none"), bearer(house.ada)))
    assert absent.json["details"] == {
        name: value.replace("kart", "none") for name, value in missing.json["details"].items()
    }
    told = await refuse(house, get(FEED.replace("kart", "none"), bearer(house.boss)))
    assert (told.status, told.json["name"]) == (404, "feed_not_found")


@pytest.mark.requirement("R32")
async def test_an_unknown_feed_is_told(house: House) -> None:
    for path in ["nothing", "board", "board/kart/x", "board//kart", "..", "%00"]:
        answer = await refuse(house, get(f"/v1/feeds/{path}", bearer(house.boss)))
        assert (answer.status, answer.json["name"]) == (404, "feed_not_found"), path


@pytest.mark.requirement("R32")
async def test_a_name_that_is_none_is_refused(house: House) -> None:
    empty = await refuse(house, get("/v1/feeds/", bearer(house.boss)))
    assert (empty.status, empty.json["details"]["field"]) == (400, "feed")
    long = await refuse(house, get(f"/v1/feeds/{'x' * 201}", bearer(house.boss)))
    assert (long.status, long.json["details"]["field"]) == (400, "feed")
    no_text = await refuse(house, get("/v1/feeds/%ff", bearer(house.boss)))
    assert no_text.status == 404


@pytest.mark.requirement("R32")
async def test_feeds_are_only_got(house: House) -> None:
    for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"]:
        request = get(FEED, bearer(house.boss), method=method)
        async with dial(house.place.web_port, house.place.trusting) as (reader, writer):
            writer.write(request)
            async with asyncio.timeout(WAIT_S):
                answer = await Wire(reader, writer).read_answer(has_body=method != "HEAD")
        assert (answer.status, answer.headers["allow"]) == (405, "GET"), method
        assert len(house.connections) == 0


@pytest.mark.requirement("R32")
async def test_what_a_feed_does_not_take_is_refused(house: House) -> None:
    query = await refuse(house, get(f"{FEED}?access_token=x", bearer(house.boss)))
    assert (query.status, query.json["details"]["field"]) == (400, "query")
    assert "x" not in query.json["details"].values()
    old = get(FEED, bearer(house.boss)).replace(b"HTTP/1.1", b"HTTP/1.0")
    answer = await refuse(house, old)
    assert (answer.status, answer.json["details"]["field"]) == (400, "version")
    body = await refuse(house, get(FEED, bearer(house.boss), "Content-Length: 2") + b"{}")
    assert (body.status, body.json["details"]["field"]) == (400, "body")
    twice = await refuse(house, get(FEED, bearer(house.boss), *["Last-Event-ID: now"] * 2))
    assert (twice.status, twice.json["details"]["field"]) == (400, "Last-Event-Id")


async def test_only_pages_of_listed_origins_may_follow(house: House) -> None:
    async with follow(house, f"Origin: {PAGE}") as stream:
        headers = stream.head.headers
        assert headers["access-control-allow-origin"] == PAGE
        assert "request-id" in headers["access-control-expose-headers"]
        assert headers["vary"] == "Origin"
        await house.submit()
        assert await stream.read_seqs(1) == [1]
    own = f"https://127.0.0.1:{house.place.web_port}"
    request = get(FEED, bearer(house.boss), f"Origin: {own}")
    request = request.replace(b"Host: localhost", f"Host: {own.removeprefix('https://')}".encode())
    async with ask_stream(house.place, request) as stream:
        assert stream.head.status == 200
        assert "access-control-allow-origin" not in stream.head.headers
    await until(lambda: len(house.connections) == 0)
    other = await refuse(house, get(FEED, bearer(house.boss), "Origin: https://evil.example"))
    assert (other.status, other.json["details"]["field"]) == (403, "Origin")
    assert "access-control-allow-origin" not in other.headers
    refused = await refuse(house, get(FEED, f"Origin: {PAGE}"))
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, PAGE)


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.requirement("R5")
async def test_a_stream_ends_with_its_token(house: House) -> None:
    async with follow(house) as stream:
        house.hall.clock.advance(5 * MINUTE_MS + SECOND_MS)
        house.hall.look_after_connections()
        assert await stream.read_closing() == "token_expired"
    again = await house.hall.sign_in("boss")
    async with follow(house, who=again) as stream:
        assert len(house.connections) == 1


@pytest.mark.requirement("R5")
async def test_a_stream_ends_with_its_session_at_once(house: House) -> None:
    async with follow(house) as mine, follow(house, who=await house.hall.sign_in("boss")) as other:
        await house.hall.call("identity.close_session", as_=house.boss)
        assert await mine.read_closing() == "session_ended"
        assert len(house.connections) == 1
        again = await house.hall.sign_in("boss")
        await house.hall.call(
            "leaderboards.submit_score", {"board_id": "kart", "score": 2.0}, as_=again
        )
        assert await other.read_seqs(1) == [1]


@pytest.mark.requirement("R21")
async def test_who_may_no_longer_is_told_and_gets_nothing_more(house: House) -> None:
    grant = {"member": "ada", "role": "board_moderator", "at": "board/kart"}
    await house.hall.call("access.grant_role", grant, as_=house.boss)
    async with follow(house, who=house.ada) as stream:
        await house.submit()
        assert await stream.read_seqs(1) == [1]
        await house.hall.call("access.revoke_role", grant, as_=house.boss)
        await house.submit()
        said = await stream.read()
        assert said is not None
        assert (said.kind, said.data["reason"]) == ("feed_ended", "permission_denied")
        assert await stream.read() is None, "nothing more can come, so the stream ends"


async def test_a_client_that_leaves_is_forgotten(house: House) -> None:
    async with follow(house) as stream:
        page = await house.hall.call("hall.list_connections", as_=house.boss)
        (seen,) = page.connections
        assert (seen.door, seen.source, seen.member_id, seen.feeds) == (
            "events",
            "127.0.0.1",
            house.boss.member_id,
            ["board/kart/moderation"],
        )
        stream.writer.transport.abort()
        await until(lambda: len(house.connections) == 0)
    page = await house.hall.call("hall.list_connections", as_=house.boss)
    assert (page.connections, page.open) == ([], 0)


@pytest.mark.requirement("R13")
async def test_silence_is_broken_by_comments(house: House) -> None:
    async with follow(house) as stream:
        for _ in range(3):
            house.hall.clock.advance(16 * SECOND_MS)
            house.hall.look_after_connections()
            assert await stream.read_block() == b": "
        await house.submit()
        assert await stream.read_seqs(1) == [1]
        (connection,) = house.connections
        assert not connection.is_ending


async def test_an_administrator_closes_a_stream(house: House) -> None:
    async with follow(house) as stream:
        (connection,) = house.connections
        request = {"connection_id": connection.connection_id}
        await house.hall.call("hall.close_connection", request, as_=house.boss)
        assert await stream.read_closing() == "closed_by_administrator"


@pytest.mark.requirement("R42")
async def test_a_hall_that_stops_tells_its_readers(house: House) -> None:
    async with follow(house) as one, follow(house) as two:
        closing = asyncio.create_task(house.doors.close())
        assert await one.read_closing() == "shutdown"
        assert await two.read_closing() == "shutdown"
        async with asyncio.timeout(WAIT_S):
            await closing


# --- slow readers ---------------------------------------------------------------------------------


async def test_a_slow_reader_is_ended_and_resumes_and_delays_nobody(house: House) -> None:
    """What waits for it is bounded by 1 MiB and what is on its way out (64 KiB and a turn)."""
    request = {"board_id": "kart", "score": 1.0}
    async with follow(house) as slow, follow(house) as quick:
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sluggish = min(house.connections, key=lambda each: each.connection_id)
        total, most = 0, 0
        async with asyncio.timeout(60):
            while not sluggish.is_ending:
                calls = [
                    house.hall.call("leaderboards.submit_score", request, as_=house.boss)
                    for _ in range(100)
                ]
                await asyncio.gather(*calls)
                total += 100
                assert await quick.read_seqs(100) == [*range(total - 99, total + 1)]
                most = max(most, sluggish.sink.queued_bytes)
        assert most < 1_048_576 + 65_536
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        seen: list[int] = []
        cursor = ""
        while (said := await slow.read()) is not None and said.kind == "event":
            seen.append(said.data["seq"])
            cursor = said.cursor
        assert said is not None
        assert (said.kind, said.data["reason"]) == ("closing", "slow_reader")
        assert seen == [*range(1, len(seen) + 1)]
    async with follow(house, f"Last-Event-ID: {cursor}") as again:
        left = total - len(seen)
        assert await again.read_seqs(left) == [*range(len(seen) + 1, total + 1)]
