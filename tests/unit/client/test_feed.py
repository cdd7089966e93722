"""Following a feed across everything that can happen to a connection."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moothall.client import (
    BusyError,
    CallError,
    CertificateChangedError,
    Event,
    Feed,
    FeedEndedError,
    HallUnreachableError,
    Limits,
    MemoryStore,
    SessionEndedError,
)
from moothall.client.line import Ending
from tests.unit.client.line_hall import (
    PLAIN_URL,
    URLS,
    WRONG,
    LineHall,
    Script,
    Talk,
    event,
    session,
)
from tests.unit.client.stub_hall import URL, problem

DOORS = pytest.mark.parametrize("url", [URL, *URLS.values()], ids=["https", *URLS])

Message = dict[str, Any]


def feed_script(serve: Callable[[Talk, Message, int], None]) -> Script:
    """Return a script that serves subscriptions from the number after their cursor."""

    def script(talk: Talk, message: Message) -> None:
        if message["method"] == "feeds.subscribe":
            after = message["params"].get("after", "now")
            serve(talk, message, 0 if after == "now" else int(after.removeprefix("e.")))
        else:
            talk.answer(message, {"feed": "board/kart", "cursor": "e.0"})

    return script


def subscribed(after: int) -> dict[str, str]:
    return {"feed": "board/kart", "cursor": f"e.{after}"}


def upto(last: int, streams: int = 1) -> Script:
    """Return a script that tells events 1 to ``last``."""

    def serve(talk: Talk, message: Message, after: int) -> None:
        talk.answer(message, subscribed(after))
        talk.send(*(event(one, streams=streams) for one in range(after + 1, last + 1)))

    return feed_script(serve)


async def take(feed: Feed, count: int) -> list[Event]:
    return [await anext(feed) for _ in range(count)]


async def until_waiting(feed: Feed, count: int) -> None:
    """Wait until so many events wait to be taken."""
    news = asyncio.Event()
    feed.on_news = news.set
    feed.begin()
    while len(feed._waiting) < count:
        news.clear()
        await news.wait()


async def heard(hall: LineHall, talk: Talk, method: str, count: int) -> None:
    """Wait until a connection has heard a method so often."""
    await hall.until(lambda: len(talk.named(method)) == count)


def numbers(events: list[Event]) -> list[int]:
    return [one.data["number"] for one in events]


@pytest.mark.requirement("R31")
@DOORS
async def test_events_come_as_they_were_told(url: str) -> None:
    async with LineHall(upto(3)) as hall, hall.client(url) as client:
        async with client.follow("board/kart", after="e.1") as feed:
            events = await take(feed, 2)
        assert feed.cursor == "e.3"
        assert events[0] == Event(
            feed="board/kart",
            stream="stream-0",
            seq=2,
            cursor="e.2",
            kind="leaderboards.entry_verified",
            at_ms=1_002,
            data={"number": 2},
        )
        assert numbers(events) == [2, 3]
        assert hall.named("feeds.subscribe")[0]["params"] == {"feed": "board/kart", "after": "e.1"}


@DOORS
async def test_events_before_the_answer_are_events_all_the_same(url: str) -> None:
    def serve(talk: Talk, message: Message, after: int) -> None:
        talk.send(event(1), event(2))
        talk.answer(message, subscribed(after))
        talk.send(event(3))

    async with LineHall(feed_script(serve)) as hall, hall.client(url) as client:
        assert numbers(await take(client.follow("board/kart"), 3)) == [1, 2, 3]


@pytest.mark.requirement("R33")
async def test_break_before_the_first_event_leaves_no_gap() -> None:
    def serve(talk: Talk, message: Message, after: int) -> None:
        if len(hall.talks) == 1:
            talk.answer(message, subscribed(7))
            talk.finish()
        else:
            talk.answer(message, subscribed(after))
            talk.send(event(after + 1))

    async with LineHall(feed_script(serve)) as hall, hall.client(URL) as client:
        async with client.follow("board/kart") as feed:
            assert numbers(await take(feed, 1)) == [8]
        first, second = hall.named("feeds.subscribe")
        assert first["params"] == {"feed": "board/kart"}
        assert second["params"] == {"feed": "board/kart", "after": "e.7"}


@dataclass
class Life:
    """What one connection is like: how far it comes, and how it ends."""

    events: int
    repeats: int
    answer: str
    end: str


@dataclass
class Breaking:
    """A hall whose connections live as told, and then one that tells all the rest."""

    lives: list[Life]
    last: int
    streams: int
    asked: list[int] = field(default_factory=list)

    def serve(self, talk: Talk, message: Message, after: int) -> None:
        self.asked.append(after)
        life = self.lives.pop(0) if self.lives else Life(self.last, 0, "first", "none")
        start = max(0, after - life.repeats)
        told = [event(one, streams=self.streams) for one in range(start + 1, self.last + 1)]
        told = told[: life.events + life.repeats]
        if life.answer == "first":
            talk.answer(message, subscribed(after))
        talk.send(*told)
        if life.answer == "last":
            talk.answer(message, subscribed(after))
        match life.end:
            case "none":
                return
            case "half a frame":
                next_one = min(self.last, start + len(told) + 1)
                frame = talk.frame(str(event(next_one, streams=self.streams)).encode())
                talk.write(frame[: len(frame) // 2])
            case "nonsense":
                talk.write(talk.frame(b"\x00\x01"))
            case "shutdown" | "slow_reader" | "silent" | "token_expired" | "some_day":
                talk.notify("closing", reason=life.end, message="it ends")
            case "internal":
                talk.notify("feed_ended", feed="board/kart", reason="internal")
                return
        talk.finish()


LIVES = st.builds(
    Life,
    events=st.integers(0, 12),
    repeats=st.integers(0, 4),
    answer=st.sampled_from(["first", "last", "never"]),
    end=st.sampled_from(
        [
            "quiet",
            "half a frame",
            "nonsense",
            "shutdown",
            "slow_reader",
            "silent",
            "token_expired",
            "some_day",
            "internal",
        ]
    ),
)


@pytest.mark.requirement("R33")
@given(
    lives=st.lists(LIVES, max_size=8),
    last=st.integers(1, 40),
    streams=st.integers(1, 3),
    events_max=st.integers(1, 8),
    is_acknowledged=st.booleans(),
)
@settings(max_examples=60)
def test_breaks_lose_nothing_and_repeat_nothing(
    lives: list[Life], last: int, streams: int, events_max: int, *, is_acknowledged: bool
) -> None:
    breaking = Breaking(list(lives), last, streams)
    most: list[int] = []

    async def play() -> list[Event]:
        # As many tries as it takes: what was never there is given up otherwise.
        limits = Limits(retries=20, events_max=events_max)
        hall = LineHall(feed_script(breaking.serve), certificate=None)
        async with hall, hall.client(PLAIN_URL, limits=limits) as client:
            feed = client.follow("board/kart", after="e.0")
            events = []
            feed.on_news = lambda: most.append(len(feed._waiting))
            for _ in range(last):
                events.append(await anext(feed))
                if is_acknowledged:
                    await feed.acknowledge()
            return events

    events = run(play())
    assert numbers(events) == list(range(1, last + 1))
    assert breaking.asked == sorted(breaking.asked)
    assert max(most) <= events_max


def run(play: Coroutine[Any, Any, list[Event]]) -> list[Event]:
    async def in_time() -> list[Event]:
        async with asyncio.timeout(30):
            return await play

    return asyncio.run(in_time())


@DOORS
@pytest.mark.parametrize("reason", ["session_ended", "idle"])
@pytest.mark.requirement("R13")
async def test_ended_session_is_told_at_once_and_final(url: str, reason: str) -> None:
    def serve(talk: Talk, message: Message, after: int) -> None:
        talk.answer(message, subscribed(after))
        talk.send(event(1))
        talk.notify("closing", reason=reason, message="sign in again")

    async with LineHall(feed_script(serve)) as hall, hall.client(url) as client:
        feed = client.follow("board/kart")
        assert numbers(await take(feed, 1)) == [1]
        with pytest.raises(SessionEndedError) as caught:
            await anext(feed)
        assert caught.value.details == {"reason": reason}
        with pytest.raises(SessionEndedError):
            await anext(feed)
        assert len(hall.talks) == 1


@DOORS
async def test_end_of_the_session_is_told_to_who_just_begins(url: str) -> None:
    def serve(talk: Talk, _message: Message, _after: int) -> None:
        talk.notify("closing", reason="idle", message="nothing was done")
        talk.finish()

    async with LineHall(feed_script(serve)) as hall, hall.client(url) as client:
        with pytest.raises(SessionEndedError):
            await client.follow("board/kart").open()


async def test_answer_behind_events_that_nobody_takes_is_not_waited_for() -> None:
    def serve(talk: Talk, message: Message, after: int) -> None:
        talk.send(*(event(one) for one in range(after + 1, 101)))
        talk.answer(message, subscribed(after))

    limits = Limits(events_max=5, attempt_timeout_ms=20)
    async with LineHall(feed_script(serve)) as hall, hall.client(URL, limits=limits) as client:
        feed = client.follow("board/kart", after="e.0")
        await feed.open()
        assert numbers(await take(feed, 100)) == list(range(1, 101))
        assert len(hall.talks) == 1


@DOORS
async def test_lost_permission_ends_the_feed(url: str) -> None:
    def serve(talk: Talk, message: Message, after: int) -> None:
        talk.answer(message, subscribed(after))
        told = {"feed": "board/kart", "reason": "permission_denied"}
        talk.send({"jsonrpc": "2.0", "method": "feed_ended", "params": told}, event(1))

    async with LineHall(feed_script(serve)) as hall, hall.client(url) as client:
        with pytest.raises(FeedEndedError, match="permission_denied"):
            await anext(client.follow("board/kart"))


@DOORS
async def test_expired_cursor_says_what_to_do(url: str) -> None:
    refusal = problem(
        "failed_precondition", status=400, retryable=False, name="cursor_expired"
    ).json()
    hall = LineHall(lambda talk, message: talk.refuse(message, refusal))
    async with hall, hall.client(url) as client:
        with pytest.raises(CallError) as caught:
            await anext(client.follow("board/kart", after="e.1"))
        assert caught.value.error_name == "cursor_expired"
        assert "after='now'" in caught.value.remedy


@pytest.mark.requirement("R15")
async def test_nothing_is_sent_to_another_hall() -> None:
    async with LineHall(certificate=WRONG) as hall, hall.client(URL) as client:
        with pytest.raises(CertificateChangedError):
            await client.follow("board/kart").open()
        assert hall.messages == []


async def test_hall_that_was_never_there_is_given_up() -> None:
    async with LineHall() as hall, hall.client(URL) as client:
        hall.is_away = True
        with pytest.raises(HallUnreachableError):
            await client.follow("board/kart").open()


async def test_hall_that_was_there_is_waited_for_longer_and_longer() -> None:
    breaks: list[tuple[str, float]] = []

    def note(reason: str, wait_s: float) -> None:
        breaks.append((reason, wait_s))
        hall.is_away = len(breaks) < 12

    hall = LineHall(upto(1))
    store = MemoryStore(session(hall.time.now_ms(), lifetime_ms=3_600_000))
    async with hall, hall.client(URL, fraction=1.0, store=store) as client:
        feed = client.follow("board/kart", on_break=note)
        await take(feed, 1)
        hall.is_away = True
        hall.talks[0].drop()
        for count in range(1, 13):
            await hall.until_asleep(count)
            hall.time.advance(31)
        await hall.until(lambda: len(hall.talks) == 2)
    waits = [wait_s for _, wait_s in breaks]
    assert waits == [0.5, 1, 2, 4, 8, 16, *[30] * 6]
    assert "no hall answers" in breaks[1][0]


@pytest.mark.requirement("R33")
@DOORS
async def test_full_queue_stops_the_reading_and_nothing_else(url: str) -> None:
    limits = Limits(events_max=10)
    async with LineHall(upto(200)) as hall, hall.client(url, limits=limits) as client:
        async with client.follow("board/kart") as feed:
            await until_waiting(feed, 10)
            # Calls go on meanwhile, and so does the time in which nothing is heard.
            hall.time.advance(50)
            assert await client.call("feeds.acknowledge", effect="read") if url != URL else True
            assert len(feed._waiting) == 10
            assert numbers(await take(feed, 200)) == list(range(1, 201))
        assert len(hall.named("feeds.subscribe")) == 1


@DOORS
async def test_silence_is_a_break(url: str) -> None:
    async with LineHall(upto(2)) as hall, hall.client(url) as client:
        async with client.follow("board/kart") as feed:
            await take(feed, 2)
            hall.time.advance(45)
            await hall.until(lambda: len(hall.named("feeds.subscribe")) == 2)
        assert hall.named("feeds.subscribe")[1]["params"]["after"] == "e.2"


async def test_acknowledgements_are_joined_and_the_last_is_told_at_close() -> None:
    async with LineHall(upto(6)) as hall, hall.client(URLS["wss"]) as client:
        feed = client.follow("board/kart")
        async for one in feed:
            await feed.acknowledge()
            if one.seq == 1:
                await hall.until(lambda: hall.named("feeds.acknowledge"))
            await client.call("hall.ping")  # Time enough to tell, if it were told at once.
            if one.seq == 4:
                hall.time.advance(1)
                await hall.until(lambda: len(hall.named("feeds.acknowledge")) == 2)
            if one.seq == 6:
                break
        await feed.close()
        told = [one["params"]["cursor"] for one in hall.named("feeds.acknowledge")]
    assert told == ["e.1", "e.4", "e.6"]


async def test_refused_acknowledgement_is_told_with_the_next() -> None:
    refusal = problem("failed_precondition", status=400, retryable=False).json()

    def script(talk: Talk, message: Message) -> None:
        if message["method"] == "feeds.acknowledge":
            talk.refuse(message, refusal)
        else:
            upto(2)(talk, message)

    async with LineHall(script) as hall, hall.client(URLS["wss"]) as client:
        feed = client.follow("board/kart")
        await take(feed, 1)
        await feed.acknowledge()
        await hall.until(lambda: hall.named("feeds.acknowledge"))
        await client.call("hall.ping")  # Its answer comes after that of the acknowledgement.
        with pytest.raises(CallError) as caught:
            await feed.acknowledge()
        assert caught.value.error_code == "failed_precondition"


async def test_token_of_a_feed_is_renewed_in_place() -> None:
    async with LineHall(upto(0)) as hall, hall.client(URLS["ndjson"]) as client:
        async with client.follow("board/kart"):
            (talk,) = hall.talks
            for count in range(1, 8):
                hall.time.advance(40)
                talk.notify("heartbeat")
                await heard(hall, talk, "hall.ping", count)
            await heard(hall, talk, "identity.authenticate", 2)
        renewed = [one["params"]["token"] for one in talk.named("identity.authenticate")]
    assert renewed == ["access-0", "access-1"]


async def test_feed_goes_on_under_the_name_of_who_signs_in_next() -> None:
    async with LineHall(upto(1)) as hall, hall.client(URLS["ndjson"]) as client:
        async with client.follow("board/kart") as feed:
            await take(feed, 1)
            hall.session_id = "s2"
            await client.sign_in("bob", "secret")
            for count in range(1, 8):
                hall.time.advance(40)
                hall.talks[0].notify("heartbeat")
                await heard(hall, hall.talks[0], "hall.ping", count)
            await hall.until(lambda: len(hall.named("feeds.subscribe")) == 2)
        assert len(hall.talks[0].named("identity.authenticate")) == 1
        assert hall.named("feeds.subscribe")[1]["params"]["after"] == "e.1"


@DOORS
async def test_answer_larger_than_the_bound_is_not_read(url: str) -> None:
    def serve(talk: Talk, message: Message, after: int) -> None:
        talk.answer(message, subscribed(after))
        told = event(1)
        told["params"]["data"] = "x" * 200_000
        talk.send(told)

    limits = Limits(retries=2, reply_bytes_max=20_000)
    async with LineHall(feed_script(serve)) as hall, hall.client(url, limits=limits) as client:
        with pytest.raises(FeedEndedError, match="larger"):
            await anext(client.follow("board/kart"))


async def test_break_behind_a_full_queue_is_mended_when_there_is_room() -> None:
    limits = Limits(events_max=2)
    async with LineHall(upto(9)) as hall, hall.client(URL, limits=limits) as client:
        feed = client.follow("board/kart", after="e.0")
        await until_waiting(feed, 2)
        assert feed._line is not None
        feed._line.end(Ending("network"))
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(hall.talks) == 1
        assert numbers(await take(feed, 9)) == list(range(1, 10))


async def test_line_breaks_inside_a_request_do_not_end_it() -> None:
    async with LineHall() as hall, hall.client(URLS["ndjson"]) as client:
        request = {"text": msgspec.Raw(b'{\n"a": "b\\n"\n}')}
        await client.call("mail.send_letter", request)
        assert hall.named("mail.send_letter")[0]["params"] == {"text": {"a": "b\n"}}


async def test_so_many_feeds_and_no_more() -> None:
    async with LineHall(upto(0)) as hall, hall.client(URL, limits=Limits(feeds_max=2)) as client:
        first = client.follow("a")
        client.follow("b")
        with pytest.raises(BusyError):
            client.follow("c")
        await first.close()
        client.follow("c")


async def test_closed_feed_gives_what_waits_and_ends() -> None:
    async with LineHall(upto(3)) as hall, hall.client(URL) as client:
        feed = client.follow("board/kart")
        await until_waiting(feed, 3)
        assert feed.cursor == "e.0"  # What waits was not taken.
        assert numbers(await take(feed, 1)) == [1]
        await feed.close()
        assert numbers([one async for one in feed]) == [2, 3]


def test_numbers_of_streams() -> None:
    # The stub numbers each stream without gaps, as halls do.
    told = [event(one, streams=3)["params"] for one in range(1, 10)]
    told.sort(key=lambda one: (one["stream"], one["seq"]))
    for _, group in itertools.groupby(told, key=lambda one: one["stream"]):
        assert [one["seq"] for one in group] == [1, 2, 3]
