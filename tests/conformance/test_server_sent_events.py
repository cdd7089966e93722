"""``GET /v1/feeds/<feed>`` over TLS: a feed as server-sent events, on a hall with all its rooms."""

import asyncio
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
from moothall.transports.tls import ServerTls
from tests.conformance.doors_wire import WAIT_S, Place, dial, open_place
from tests.conformance.events_wire import EventStream, ask_stream, follow_events
from tests.conformance.http_wire import Answer, Wire, get, until

pytestmark = pytest.mark.requirement("R33")

PAGE = "https://app.example"
FEED = "/v1/feeds/board/kart/moderation"
BOARD = {"board_id": "kart", "name": "Kart", "direction": "descending"}


class Site(NamedTuple):
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


@pytest.fixture
async def site(tmp_path: Path, tls: tuple[ServerTls, ssl.SSLContext]) -> AsyncIterator[Site]:
    tables = {"web": {"origins": [PAGE]}}
    async with open_test_hall(tmp_path, tables=tables) as hall:
        boss, ada = await hall.administrator("boss"), await hall.member("ada")
        await hall.call("leaderboards.create_board", BOARD, as_=boss)
        async with open_place(hall, tls) as (place, doors):
            yield Site(hall, place, doors, boss, ada)
        assert len(hall.hall.house.use(Connections)) == 0


def bearer(who: Visitor) -> str:
    return f"Authorization: Bearer {who.token}"


def follow(
    site: Site,
    *headers: str,
    feed: str = "board/kart/moderation",
    who: Visitor | None = None,
    piece_size_bytes: int = 0,
) -> AbstractAsyncContextManager[EventStream]:
    token = (who or site.boss).token
    return follow_events(site.place, feed, token, *headers, piece_size_bytes=piece_size_bytes)


async def refuse(site: Site, request: bytes) -> Answer:
    """Return the answer to a request that gets no stream, whole and in pieces."""
    async with ask_stream(site.place, request) as whole:
        answer = whole.head
    async with ask_stream(site.place, request, 7) as pieces:
        in_pieces = pieces.head
    told, told_in_pieces = ({**each.json, "request_id": ""} for each in (answer, in_pieces))
    assert told == told_in_pieces
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(site.connections) == 0
    return answer


# --- what comes -----------------------------------------------------------------------------------


@pytest.mark.requirement("R31")
@pytest.mark.parametrize("piece_size_bytes", [0, 7])
async def test_events_come_as_they_happen(site: Site, piece_size_bytes: int) -> None:
    async with follow(site, piece_size_bytes=piece_size_bytes) as stream:
        headers = stream.head.headers
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-store"
        assert headers["transfer-encoding"] == "chunked"
        assert headers["request-id"]
        (connection,) = site.connections
        assert (connection.door, list(connection.subscriptions)) == (
            "events",
            ["board/kart/moderation"],
        )
        for number in range(1, 4):
            await site.submit()
            event = await stream.read()
            assert event is not None
            assert (event.kind, event.cursor) == ("event", event.data["cursor"])
            members = {"feed", "cursor", "stream", "seq", "kind", "at", "data"}
            assert set(event.data) == members
            assert event.data["seq"] == number
            assert event.data["kind"] == "leaderboards.score_submitted"
            assert event.data["data"]["score"] == 1.0


async def test_a_reader_resumes_without_gap_and_without_repeat(site: Site) -> None:
    async with follow(site) as stream:
        await site.submit(5)
        seen = [await stream.read() for _ in range(3)]
    assert seen[2] is not None
    await until(lambda: len(site.connections) == 0)
    await site.submit(250)
    async with follow(site, f"Last-Event-ID: {seen[2].cursor}") as stream:
        assert await stream.read_seqs(252) == [*range(4, 256)]
        await site.submit(2)
        assert await stream.read_seqs(2) == [256, 257]
    async with follow(site, "Last-Event-ID: now") as stream:
        await site.submit()
        assert await stream.read_seqs(1) == [258]


async def test_many_readers_see_the_same(site: Site) -> None:
    async with follow(site) as one, follow(site) as two, follow(site) as three:
        await site.submit(30)
        seen = await asyncio.gather(*(each.read_seqs(30) for each in (one, two, three)))
        assert seen == [[*range(1, 31)]] * 3


@pytest.mark.parametrize("feed", ["board%2Fkart%2fmoderation", "%62oard/k%61rt/moderation"])
async def test_a_name_may_be_percent_encoded(site: Site, feed: str) -> None:
    async with follow(site, feed=feed) as stream:
        await site.submit()
        event = await stream.read()
        assert event is not None
        assert event.data["feed"] == "board/kart/moderation"


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.requirement("R32")
async def test_a_cursor_that_cannot_be_resumed_from_is_told(site: Site) -> None:
    for cursor in ["rubbish", "x.1", "x.1-2", "x", ".", "a" * 64, "a" * 65, "%", "\xff", "-1"]:
        header = f"Last-Event-ID: {cursor}".encode("latin-1")
        request = get(FEED, bearer(site.boss), "Last-Event-ID: ?")
        answer = await refuse(site, request.replace(b"Last-Event-ID: ?", header))
        name = "cursor_expired" if len(cursor) <= 64 else "invalid_argument"
        assert (answer.status, answer.json["name"]) == (400, name), cursor


async def test_a_cursor_of_the_future_is_told(site: Site) -> None:
    cursor = site.hall.cursor(10_000)
    answer = await refuse(site, get(FEED, bearer(site.boss), f"Last-Event-ID: {cursor}"))
    assert (answer.status, answer.json["name"]) == (400, "cursor_expired")
    assert "now" in answer.json["details"]["remedy"]


@pytest.mark.requirement("R5")
async def test_without_a_good_token_there_is_nothing(site: Site) -> None:
    none = await refuse(site, get(FEED))
    assert (none.status, none.headers["www-authenticate"]) == (401, "Bearer")
    bad = await refuse(site, get(FEED, "Authorization: Bearer rubbish"))
    assert (bad.status, bad.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    basic = await refuse(site, get(FEED, "Authorization: Basic eDp5"))
    assert basic.status == 401
    site.hall.clock.advance(6 * MINUTE_MS)
    expired = await refuse(site, get(FEED, bearer(site.boss)))
    assert (expired.status, expired.json["name"]) == (401, "unauthenticated")


@pytest.mark.requirement("R20")
async def test_hidden_and_absent_feeds_cannot_be_told_apart(site: Site) -> None:
    missing = await refuse(site, get(FEED, bearer(site.ada)))
    assert (missing.status, missing.json["name"]) == (403, "permission_denied")
    absent = await refuse(site, get(FEED.replace("kart", "none"), bearer(site.ada)))
    assert absent.json["details"] == {
        name: value.replace("kart", "none") for name, value in missing.json["details"].items()
    }
    told = await refuse(site, get(FEED.replace("kart", "none"), bearer(site.boss)))
    assert (told.status, told.json["name"]) == (404, "feed_not_found")


@pytest.mark.requirement("R32")
async def test_an_unknown_feed_is_told(site: Site) -> None:
    for path in ["nothing", "board", "board/kart/x", "board//kart", "..", "%01"]:
        answer = await refuse(site, get(f"/v1/feeds/{path}", bearer(site.boss)))
        assert (answer.status, answer.json["name"]) == (404, "feed_not_found"), path


@pytest.mark.requirement("R32")
async def test_a_name_that_is_none_is_refused(site: Site) -> None:
    empty = await refuse(site, get("/v1/feeds/", bearer(site.boss)))
    assert (empty.status, empty.json["details"]["field"]) == (400, "feed")
    long = await refuse(site, get(f"/v1/feeds/{'x' * 201}", bearer(site.boss)))
    assert (long.status, long.json["details"]["field"]) == (400, "feed")
    no_text = await refuse(site, get("/v1/feeds/%ff", bearer(site.boss)))
    assert no_text.status == 404


@pytest.mark.requirement("R32")
async def test_feeds_are_only_got(site: Site) -> None:
    for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"]:
        request = get(FEED, bearer(site.boss), method=method)
        async with dial(site.place.web_port, site.place.trusting) as (reader, writer):
            writer.write(request)
            async with asyncio.timeout(WAIT_S):
                answer = await Wire(reader, writer).read_answer(has_body=method != "HEAD")
        assert (answer.status, answer.headers["allow"]) == (405, "GET"), method
        assert len(site.connections) == 0


@pytest.mark.requirement("R32")
async def test_what_a_feed_does_not_take_is_refused(site: Site) -> None:
    query = await refuse(site, get(f"{FEED}?access_token=x", bearer(site.boss)))
    assert (query.status, query.json["details"]["field"]) == (400, "query")
    assert "x" not in query.json["details"].values()
    old = get(FEED, bearer(site.boss)).replace(b"HTTP/1.1", b"HTTP/1.0")
    answer = await refuse(site, old)
    assert (answer.status, answer.json["details"]["field"]) == (400, "version")
    body = await refuse(site, get(FEED, bearer(site.boss), "Content-Length: 2") + b"{}")
    assert (body.status, body.json["details"]["field"]) == (400, "body")
    twice = await refuse(site, get(FEED, bearer(site.boss), *["Last-Event-ID: now"] * 2))
    assert (twice.status, twice.json["details"]["field"]) == (400, "Last-Event-Id")


async def test_only_pages_of_listed_origins_may_follow(site: Site) -> None:
    async with follow(site, f"Origin: {PAGE}") as stream:
        headers = stream.head.headers
        assert headers["access-control-allow-origin"] == PAGE
        assert "request-id" in headers["access-control-expose-headers"]
        assert headers["vary"] == "Origin"
        await site.submit()
        assert await stream.read_seqs(1) == [1]
    own = f"https://127.0.0.1:{site.place.web_port}"
    request = get(FEED, bearer(site.boss), f"Origin: {own}")
    request = request.replace(b"Host: localhost", f"Host: {own.removeprefix('https://')}".encode())
    async with ask_stream(site.place, request) as stream:
        assert stream.head.status == 200
        assert "access-control-allow-origin" not in stream.head.headers
    await until(lambda: len(site.connections) == 0)
    other = await refuse(site, get(FEED, bearer(site.boss), "Origin: https://evil.example"))
    assert (other.status, other.json["details"]["field"]) == (403, "Origin")
    assert "access-control-allow-origin" not in other.headers
    refused = await refuse(site, get(FEED, f"Origin: {PAGE}"))
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, PAGE)


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.requirement("R5")
async def test_a_stream_ends_with_its_token(site: Site) -> None:
    async with follow(site) as stream:
        site.hall.clock.advance(5 * MINUTE_MS + SECOND_MS)
        site.hall.look_after_connections()
        assert await stream.read_closing() == "token_expired"
    again = await site.hall.sign_in("boss")
    async with follow(site, who=again) as stream:
        assert len(site.connections) == 1


@pytest.mark.requirement("R5")
async def test_a_stream_ends_with_its_session_at_once(site: Site) -> None:
    async with follow(site) as mine, follow(site, who=await site.hall.sign_in("boss")) as other:
        await site.hall.call("identity.close_session", as_=site.boss)
        assert await mine.read_closing() == "session_ended"
        assert len(site.connections) == 1
        again = await site.hall.sign_in("boss")
        await site.hall.call(
            "leaderboards.submit_score", {"board_id": "kart", "score": 2.0}, as_=again
        )
        assert await other.read_seqs(1) == [1]


@pytest.mark.requirement("R21")
async def test_who_may_no_longer_is_told_and_gets_nothing_more(site: Site) -> None:
    grant = {"member": "ada", "role": "board_moderator", "at": "board/kart"}
    await site.hall.call("access.grant_role", grant, as_=site.boss)
    async with follow(site, who=site.ada) as stream:
        await site.submit()
        assert await stream.read_seqs(1) == [1]
        await site.hall.call("access.revoke_role", grant, as_=site.boss)
        await site.submit()
        said = await stream.read()
        assert said is not None
        assert (said.kind, said.data["reason"]) == ("feed_ended", "permission_denied")
        assert await stream.read() is None, "nothing more can come, so the stream ends"


async def test_a_client_that_leaves_is_forgotten(site: Site) -> None:
    async with follow(site) as stream:
        page = await site.hall.call("hall.list_connections", as_=site.boss)
        (seen,) = page.connections
        assert (seen.door, seen.source, seen.member_id, seen.feeds) == (
            "events",
            "127.0.0.1",
            site.boss.member_id,
            ["board/kart/moderation"],
        )
        stream.writer.transport.abort()
        await until(lambda: len(site.connections) == 0)
    page = await site.hall.call("hall.list_connections", as_=site.boss)
    assert (page.connections, page.open) == ([], 0)


@pytest.mark.requirement("R13")
async def test_silence_is_broken_by_comments(site: Site) -> None:
    async with follow(site) as stream:
        for _ in range(3):
            site.hall.clock.advance(16 * SECOND_MS)
            site.hall.look_after_connections()
            assert await stream.read_block() == b": "
        await site.submit()
        assert await stream.read_seqs(1) == [1]
        (connection,) = site.connections
        assert not connection.is_ending


async def test_an_administrator_closes_a_stream(site: Site) -> None:
    async with follow(site) as stream:
        (connection,) = site.connections
        request = {"connection_id": connection.connection_id}
        await site.hall.call("hall.close_connection", request, as_=site.boss)
        assert await stream.read_closing() == "closed_by_administrator"


@pytest.mark.requirement("R42")
async def test_a_hall_that_stops_tells_its_readers(site: Site) -> None:
    async with follow(site) as one, follow(site) as two:
        closing = asyncio.create_task(site.doors.close())
        assert await one.read_closing() == "shutdown"
        assert await two.read_closing() == "shutdown"
        async with asyncio.timeout(WAIT_S):
            await closing


# --- slow readers ---------------------------------------------------------------------------------


@pytest.mark.sqlite  # about the door's queue
async def test_a_slow_reader_is_ended_and_resumes_and_delays_nobody(site: Site) -> None:
    """What waits for it is bounded by 1 MiB and what is on its way out (64 KiB and a turn)."""
    request = {"board_id": "kart", "score": 1.0}
    async with follow(site) as slow, follow(site) as quick:
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sluggish = min(site.connections, key=lambda each: each.connection_id)
        total, most = 0, 0
        async with asyncio.timeout(60):
            while not sluggish.is_ending:
                calls = [
                    site.hall.call("leaderboards.submit_score", request, as_=site.boss)
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
    async with follow(site, f"Last-Event-ID: {cursor}") as again:
        left = total - len(seen)
        assert await again.read_seqs(left) == [*range(len(seen) + 1, total + 1)]
