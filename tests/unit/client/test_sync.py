"""The face for programs without asyncio, and for those that draw frames."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from moothall.client import (
    BusyError,
    CallError,
    CallTimeoutError,
    HallUnreachableError,
    Limits,
    SessionEndedError,
    SyncHall,
)
from moothall.client.sync import PENDING_MAX
from tests.unit.client.line_hall import URLS, LineHall, Talk, elsewhere, event
from tests.unit.client.stub_hall import problem
from tests.unit.client.test_feed import feed_script, numbers, subscribed, upto

DOORS = pytest.mark.parametrize("url", list(URLS.values()), ids=list(URLS))

Message = dict[str, Any]


def poll_until(poll: Callable[[], Any]) -> Any:
    """Poll, as a loop of frames does, until something is there."""
    while not (found := poll()):
        threading.Event().wait(0.001)
    return found


@DOORS
def test_events_are_polled_and_waited_for(url: str) -> None:
    with elsewhere(LineHall(upto(3))) as hall, SyncHall(url, **hall.options()) as client:
        with client.follow("board/kart", after="e.0") as feed:
            feed.open()
            events = poll_until(feed.poll)
            while len(events) < 3:
                events += feed.wait(10)
            assert numbers(events) == [1, 2, 3]
            assert feed.poll() == []
            assert feed.wait(0.01) == []
            feed.acknowledge()
        assert feed.wait() == []  # Closed: nothing is waited for.
        assert hall.named("feeds.acknowledge")[0]["params"]["cursor"] == "e.3"


def test_queue_is_bounded_and_goes_on_when_polled() -> None:
    with elsewhere(LineHall(upto(500))) as hall:
        options = hall.options(limits=Limits(events_max=20))
        with SyncHall(URLS["ndjson"], **options) as client:
            feed = client.follow("board/kart")
            events: list[Any] = []
            while len(events) < 500:
                some = feed.wait(10)
                assert len(some) <= 20
                events += some
            assert numbers(events) == list(range(1, 501))


@DOORS
def test_end_of_a_feed_is_raised_after_its_last_event(url: str) -> None:
    def serve(talk: Talk, message: Message, after: int) -> None:
        talk.answer(message, subscribed(after))
        talk.send(event(1))
        talk.notify("closing", reason="idle", message="nothing was done")

    hall = LineHall(feed_script(serve))
    with elsewhere(hall), SyncHall(url, **hall.options()) as client:
        feed = client.follow("board/kart")
        assert numbers(feed.wait(10)) == [1]
        with pytest.raises(SessionEndedError, match="nothing was done"):
            poll_until(feed.poll)


@DOORS
def test_calls_are_started_and_polled(url: str) -> None:
    waiting: list[tuple[Talk, Message]] = []

    def script(talk: Talk, message: Message) -> None:
        waiting.append((talk, message))
        if len(waiting) == 2:
            for one_talk, one in waiting:
                one_talk.answer(one, one["params"])

    with elsewhere(LineHall(script)) as hall, SyncHall(url, **hall.options()) as client:
        first = client.start("leaderboards.submit_score", {"score": 1})
        assert first.poll() is None
        with pytest.raises(CallTimeoutError):
            first.wait(0.01)
        assert not first.is_done
        second = client.start("leaderboards.submit_score", {"score": 2})
        assert poll_until(second.poll) == {"score": 2}
        assert first.wait(10) == {"score": 1}
        assert client._started == set()


def test_refusal_of_a_started_call_is_raised_by_its_poll() -> None:
    refusal = problem("not_found", status=404, retryable=False).json()
    hall = LineHall(lambda talk, message: talk.refuse(message, refusal))
    with elsewhere(hall), SyncHall(URLS["wss"], **hall.options()) as client:
        pending = client.start("leaderboards.get_rank")
        with pytest.raises(CallError):
            poll_until(pending.poll)


def test_so_many_started_calls_and_no_more() -> None:
    hall = LineHall(lambda _talk, _message: None)
    with elsewhere(hall), SyncHall(URLS["ndjson"], **hall.options()) as client:
        pending = [client.start("hall.wait", effect="read") for _ in range(PENDING_MAX)]
        with pytest.raises(BusyError):
            client.start("hall.wait", effect="read")
    for one in pending:
        with pytest.raises(HallUnreachableError, match="closed before"):
            one.poll()


def test_closing_joins_the_thread_and_ends_feeds() -> None:
    with elsewhere(LineHall(upto(1))) as hall:
        client = SyncHall(URLS["wss"], **hall.options())
        feed = client.follow("board/kart")
        assert numbers(feed.wait(10)) == [1]
        client.close()
        client.close()
        assert not client._thread.is_alive()
        assert feed.poll() == []
        feed.close()
