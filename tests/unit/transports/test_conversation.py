"""A conversation on a wire in memory: calls in flight, what waits, slow readers, the end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from math import inf
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from moothall.action.call import Call, Reply
from moothall.action.connections import CloseReason, ConnectionBounds, Connections
from moothall.action.push import Push
from moothall.core.errors import RateLimitedError, UnknownActionError
from moothall.testing import ManualClock
from moothall.transports.backend import Backend
from moothall.transports.jsonrpc import (
    HEARTBEAT,
    Calls,
    Conversation,
    ConversationBounds,
    frame_too_large,
)

QUEUED_MAX = 4_000


class MemoryWire:
    """A door without a network: what is written waits until the client reads."""

    def __init__(self) -> None:
        self.conversation: Conversation
        self.reads = True
        self.writes: list[bytes] = []
        self.unread = bytearray()
        self.seen = bytearray()
        self.is_listening = True
        self.is_paused = False
        self.beats = 0
        self.closed: CloseReason | None = None

    @property
    def queued_bytes(self) -> int:
        return len(self.unread)

    def frame(self, message: bytes) -> bytes:
        return message + b"\n"

    def write(self, data: bytes) -> None:
        assert self.closed is None
        self.writes.append(data)
        self.unread += data
        if self.reads:
            self.read()
        elif len(self.unread) > QUEUED_MAX // 4 and not self.is_paused:
            self.is_paused = True
            self.conversation.paused()

    def read(self) -> None:
        """Let the client read all that waits."""
        self.seen += self.unread
        self.unread.clear()
        if self.is_paused:
            self.is_paused = False
            self.conversation.resumed()

    def pause_reading(self) -> None:
        assert self.is_listening
        self.is_listening = False

    def resume_reading(self) -> None:
        assert not self.is_listening
        self.is_listening = True

    def beat(self) -> None:
        self.beats += 1

    def close(self, reason: CloseReason, message: str) -> None:
        assert self.closed is None
        assert message
        self.closed = reason

    @property
    def told(self) -> list[Any]:
        """What the client has read, message by message."""
        return [msgspec.json.decode(line) for line in bytes(self.seen).splitlines()]

    @property
    def reasons(self) -> list[str]:
        return [told["params"]["reason"] for told in self.told if told.get("method") == "closing"]


class Hall:
    """A pipeline whose calls end when the test says so."""

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}
        self._ends: dict[str, asyncio.Future[Reply]] = {}

    async def answer(self, call: Call) -> Reply:
        self.calls[call.action] = call
        if call.action.startswith("now"):
            return Reply("r", bytes(call.body) or b"{}")
        if call.action == "bug":
            msg = "a fault of ours"
            raise RuntimeError(msg)
        end: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._ends[call.action] = end
        return await end

    def end(self, action: str, body: bytes = b"{}") -> None:
        self._ends.pop(action).set_result(Reply("r", body))


class Scene:
    """One conversation and all around it."""

    def __init__(self, answer: Callable[[Call], Awaitable[Reply]], **bounds: int) -> None:
        self.clock = ManualClock()
        self.connections = Connections(self.clock, ConnectionBounds(queued_bytes_max=QUEUED_MAX))
        self.calls = Calls()
        self.wire = MemoryWire()
        self.budget: float = inf
        self.later: float = 0
        """So many of the budget may begin only after a moment."""
        numbers = count(1)
        backend = Backend(
            answer,
            self.connections,
            self.clock,
            cursor_of=lambda push: f"epoch.{push.cursor}",
            make_request_id=lambda: f"door{next(numbers)}",
            charge_source=self.charge_source,
        )
        self.conversation = self.wire.conversation = Conversation(
            backend,
            self.wire,
            door="memory",
            source="192.0.2.7",
            calls=self.calls,
            bounds=ConversationBounds(**bounds),
        )
        self.connection = self.conversation.connection

    def charge_source(self, source: str) -> float:
        """Charge the budget of the source; say when the call may begin, or that it is too far."""
        assert source == "192.0.2.7"
        if self.budget < 1:
            raise RateLimitedError
        self.budget -= 1
        return 0.0 if self.budget >= self.later else 0.001

    def ask(self, asked_id: object, method: str, **members: object) -> None:
        told = {"jsonrpc": "2.0", "id": asked_id, "method": method} | members
        self.conversation.receive(msgspec.json.encode(told))


@asynccontextmanager
async def scene(answer: Callable[[Call], Awaitable[Reply]], **bounds: int) -> AsyncIterator[Scene]:
    opened = Scene(answer, **bounds)
    yield opened
    opened.conversation.lost()
    await opened.calls.stop(0.0)
    assert len(opened.calls) == 0
    assert len(opened.connections) == 0


async def turn() -> None:
    """Let the loop run until tasks have run and what they said has left."""
    for _ in range(4):
        await asyncio.sleep(0)


def push(seq: int, size_bytes: int = 0) -> Push:
    return Push(
        "stream", seq, 40 + seq, "happened", 1_700, msgspec.json.encode("x" * size_bytes).decode()
    )


# --- calls ----------------------------------------------------------------------------------------


@pytest.mark.requirement("R31")
async def test_call_has_all_that_the_frame_and_the_connection_say() -> None:
    hall = Hall()
    async with scene(hall.answer) as it:
        it.connection.token = "a.b.c"
        it.ask("x", "now.do", params={"n": 1}, meta={"idempotency_key": "k", "deadline_ms": 9})
        await turn()
        call = hall.calls["now.do"]
        assert (call.body, call.source, call.token) == (b'{"n":1}', "192.0.2.7", "a.b.c")
        assert (call.idempotency_key, call.deadline_ms) == ("k", 9)
        assert call.connection is it.connection
        assert it.wire.told == [{"jsonrpc": "2.0", "id": "x", "result": {"n": 1}}]


@pytest.mark.requirement("R31")
async def test_calls_run_together_and_are_answered_as_they_end() -> None:
    hall = Hall()
    async with scene(hall.answer) as it:
        for asked_id, method in enumerate(["slow.a", "slow.b", "now.c"]):
            it.ask(asked_id, method)
        await turn()
        hall.end("slow.b")
        await turn()
        hall.end("slow.a")
        await turn()
        assert [told["id"] for told in it.wire.told] == [2, 1, 0]


@pytest.mark.requirement("R31")
async def test_what_is_said_in_one_turn_leaves_in_one_write() -> None:
    hall = Hall()
    async with scene(hall.answer) as it:
        for asked_id in range(20):
            it.ask(asked_id, "now.do")
        it.conversation.send(it.conversation.encode(push(1), "feed"))
        await turn()
        assert len(it.wire.writes) <= 2
        assert sorted(told.get("id", -1) for told in it.wire.told) == [-1, *range(20)]


@pytest.mark.requirement("R32")
async def test_bug_is_answered_internal_and_logged() -> None:
    async with scene(Hall().answer) as it:
        with capture_logs() as logs:
            it.ask(5, "bug")
            await turn()
        (told,) = it.wire.told
        assert (told["id"], told["error"]["code"]) == (5, -32000)
        assert told["error"]["data"]["code"] == "internal"
        assert "fault of ours" not in str(told)
        (entry,) = logs
        assert entry["request_id"] == told["error"]["data"]["request_id"]
        assert isinstance(entry["exc_info"], RuntimeError)


@pytest.mark.requirement("R32")
async def test_only_so_many_calls_are_in_flight_and_what_was_read_waits() -> None:
    hall = Hall()
    async with scene(hall.answer) as it:
        for asked_id in range(70):
            it.ask(asked_id, f"slow.n{asked_id}")
            assert it.wire.is_listening == (asked_id < 63)
        await turn()
        assert len(hall.calls) == 64
        for number in range(6):
            hall.end(f"slow.n{number}")
            await turn()
            assert len(hall.calls) == 65 + number
            assert not it.wire.is_listening
        hall.end("slow.n6")
        await turn()
        assert it.wire.is_listening
        assert it.conversation.in_flight == 63


@pytest.mark.requirement("R35")
async def test_a_source_that_calls_too_often_is_not_listened_to_for_a_while() -> None:
    hall = Hall()
    async with scene(hall.answer) as it:
        it.budget, it.later = 5, 2
        for asked_id in range(6):
            it.ask(asked_id, f"now.n{asked_id}")
            assert it.wire.is_listening == (asked_id < 3)
        await turn()
        assert list(hall.calls) == ["now.n0", "now.n1", "now.n2"]
        async with asyncio.timeout(10):
            while len(hall.calls) < 5:
                await turn()
        assert it.budget == 0, "each is charged once"
        assert not it.wire.is_listening, "one waits for a place that is too far off"
        it.budget, it.later = 10, 0
        async with asyncio.timeout(10):
            while len(hall.calls) < 6:
                await turn()
        await turn()
        assert [told["id"] for told in it.wire.told] == [0, 1, 2, 3, 4, 5]
        assert all(call.is_charged for call in hall.calls.values())
        assert it.budget == 9
        assert bool(it.wire.is_listening)


@pytest.mark.requirement("R35")
async def test_who_is_not_listened_to_may_leave_and_be_ended() -> None:
    for end in ("leave", "end"):
        hall = Hall()
        async with scene(hall.answer) as it:
            it.budget = 0
            it.ask(1, "now.a")
            it.budget = 10
            if end == "end":
                it.connection.end(CloseReason.SESSION_ENDED)
            else:
                it.conversation.lost()
            assert it.conversation._rest_timer is None, "nothing begins any more"
            assert not hall.calls


@pytest.mark.requirement("R32")
async def test_large_calls_count_by_their_size() -> None:
    hall = Hall()
    async with scene(hall.answer, calls_size_bytes_max=1_000) as it:
        it.ask(1, "slow.a", params={"x": "x" * 2_000})
        assert not it.wire.is_listening
        it.ask(2, "now.b")
        await turn()
        assert list(hall.calls) == ["slow.a"]
        hall.end("slow.a")
        await turn()
        assert [told["id"] for told in it.wire.told] == [1, 2]
        assert it.wire.is_listening


@pytest.mark.requirement("R32")
async def test_what_waits_is_bounded() -> None:
    hall = Hall()
    async with scene(hall.answer, calls_max=1, waiting_size_bytes_max=1_000) as it:
        it.ask(1, "slow.a")
        for asked_id in range(2, 40):
            it.ask(asked_id, "now.b")
        await turn()
        assert it.wire.reasons == ["protocol_error"]
        hall.end("slow.a")
        await turn()
        assert it.wire.closed is CloseReason.PROTOCOL_ERROR
        assert list(hall.calls) == ["slow.a"]


@pytest.mark.requirement("R32")
async def test_call_that_waited_has_less_time_left() -> None:
    hall = Hall()
    async with scene(hall.answer, calls_max=1) as it:
        it.ask(1, "slow.a", meta={"deadline_ms": 500})
        it.ask(2, "slow.b", meta={"deadline_ms": 500})
        it.ask(3, "now.c", meta={"deadline_ms": 500})
        await turn()
        it.clock.advance(200)
        hall.end("slow.a")
        await turn()
        it.clock.advance(1_000)
        hall.end("slow.b")
        await turn()
        left = [call.deadline_ms for call in hall.calls.values()]
        assert left == [500, 300, 1]


# --- frames that are none -------------------------------------------------------------------------


@pytest.mark.requirement("R32")
async def test_bad_frame_is_answered_and_the_next_is_taken() -> None:
    async with scene(Hall().answer) as it:
        it.conversation.receive(b"hello")
        it.ask(2, "now.b")
        await turn()
        bad, good = it.wire.told
        assert (bad["id"], bad["error"]["code"]) == (None, -32700)
        assert bad["error"]["data"]["request_id"] == "door1"
        assert good["id"] == 2


@pytest.mark.requirement("R32")
async def test_too_many_bad_frames_are_the_end() -> None:
    async with scene(Hall().answer) as it:
        for _ in range(20):
            it.conversation.receive(b"hello")
        it.ask(2, "now.b")
        await turn()
        assert [told.get("id", "none") for told in it.wire.told] == [None] * 16 + ["none"]
        assert it.wire.reasons == ["protocol_error"]
        assert it.wire.closed is CloseReason.PROTOCOL_ERROR


@pytest.mark.requirement("R32")
async def test_frame_after_which_nothing_can_be_read_is_the_end() -> None:
    async with scene(Hall().answer) as it:
        it.conversation.refuse(frame_too_large(100), is_last=True)
        await turn()
        assert it.wire.told[0]["error"]["data"]["details"]["size_bytes_max"] == 100
        assert it.wire.reasons == ["protocol_error"]
        assert it.wire.closed is CloseReason.PROTOCOL_ERROR


# --- readers --------------------------------------------------------------------------------------


@pytest.mark.requirement("R33")
async def test_reader_of_events_who_does_not_read_is_ended_with_the_reason() -> None:
    async with scene(Hall().answer) as it:
        it.wire.reads = False
        for seq in range(1, 100):
            it.conversation.send(it.conversation.encode(push(seq, 100), "feed"))
            await turn()
        assert it.wire.closed is CloseReason.SLOW_READER
        assert it.connection.is_ending
        assert len(it.wire.unread) < QUEUED_MAX + 600
        it.wire.read()
        *events, last = it.wire.told
        # Nothing between the first and the last that was queued is missing.
        assert [told["params"]["seq"] for told in events] == [*range(1, len(events) + 1)]
        assert events[-1]["params"]["cursor"] == f"epoch.{40 + len(events)}"
        assert last["params"]["reason"] == "slow_reader"


@pytest.mark.requirement("R33")
async def test_queue_is_bounded_within_one_turn_of_the_loop_too() -> None:
    async with scene(Hall().answer) as it:
        it.wire.reads = False
        for seq in range(1, 1_000):
            it.conversation.send(it.conversation.encode(push(seq, 100), "feed"))
        assert it.conversation.queued_bytes < 2 * QUEUED_MAX + 600
        assert it.connection.is_ending


@pytest.mark.requirement("R33")
async def test_reader_who_reads_gets_more_than_may_wait() -> None:
    async with scene(Hall().answer) as it:
        for seq in range(1, 1_000):
            it.conversation.send(it.conversation.encode(push(seq, 100), "feed"))
        await turn()
        assert len(it.wire.told) == 999
        assert not it.connection.is_ending


@pytest.mark.requirement("R33")
async def test_replies_wait_for_their_reader_and_count_as_calls_in_flight() -> None:
    hall = Hall()
    async with scene(hall.answer, calls_max=8) as it:
        it.wire.reads = False
        for asked_id in range(20):
            it.ask(asked_id, "now.a", params={"x": "x" * 600})
            await turn()
        assert it.wire.closed is None
        assert not it.wire.is_listening
        assert it.conversation.in_flight == 8
        assert it.conversation.queued_bytes < QUEUED_MAX
        it.wire.reads = True
        it.wire.read()
        await turn()
        assert sorted(told["id"] for told in it.wire.told) == [*range(20)]
        assert (it.conversation.in_flight, it.wire.is_listening) == (0, True)


@pytest.mark.requirement("R33")
async def test_reader_of_replies_who_never_reads_is_a_slow_reader() -> None:
    async with scene(Hall().answer, calls_max=2) as it:
        it.wire.reads = False
        for asked_id in range(8):
            it.ask(asked_id, "now.a", params={"x": "x" * 600})
            await turn()
        it.connection.end(CloseReason.SILENT)
        assert it.wire.closed is CloseReason.SLOW_READER


@pytest.mark.requirement("R33")
async def test_who_catches_up_waits_until_the_client_has_read() -> None:
    async with scene(Hall().answer) as it:
        await asyncio.wait_for(it.conversation.drained(), 1)
        it.wire.reads = False
        it.conversation.send(it.conversation.encode(push(1, QUEUED_MAX // 3), "feed"))
        await turn()
        waiting = [asyncio.ensure_future(it.conversation.drained()) for _ in range(3)]
        waiting[0].cancel()
        await turn()
        assert not any(task.done() for task in waiting[1:])
        it.wire.read()
        await asyncio.wait_for(asyncio.gather(*waiting[1:]), 1)


@pytest.mark.requirement("R33")
async def test_who_catches_up_waits_for_what_leaves_with_this_turn() -> None:
    async with scene(Hall().answer) as it:
        it.conversation.send(it.conversation.encode(push(1, QUEUED_MAX * 3 // 4), "feed"))
        waiting = asyncio.ensure_future(it.conversation.drained())
        await turn()
        assert waiting.done()


@pytest.mark.requirement("R33")
@pytest.mark.parametrize("way", ["lost", "ended"])
async def test_nobody_waits_for_a_client_that_is_gone(way: str) -> None:
    async with scene(Hall().answer) as it:
        it.wire.reads = False
        it.conversation.send(it.conversation.encode(push(1, QUEUED_MAX // 2), "feed"))
        await turn()
        waiting = asyncio.ensure_future(it.conversation.drained())
        await turn()
        assert not waiting.done()
        if way == "lost":
            it.conversation.lost()
        else:
            it.connection.end(CloseReason.SESSION_ENDED)
        await asyncio.wait_for(waiting, 1)


# --- life and end ---------------------------------------------------------------------------------


@pytest.mark.requirement("R13")
async def test_whatever_comes_is_a_sign_of_life() -> None:
    async with scene(Hall().answer) as it:
        began = it.connection.heard_at
        it.clock.advance(1_000)
        it.conversation.receive(b"hello")
        assert it.connection.heard_at == began + 1
        it.clock.advance(1_000)
        it.conversation.heard()
        assert it.connection.heard_at == began + 2
        it.conversation.beat()
        assert it.wire.beats == 1


@pytest.mark.requirement("R13")
async def test_client_that_was_not_listened_to_was_not_silent() -> None:
    hall = Hall()
    async with scene(hall.answer, calls_max=1) as it:
        it.ask(1, "slow.a")
        it.clock.advance(30_000)
        await turn()
        hall.end("slow.a")
        await turn()
        assert it.connection.heard_at == it.clock.monotonic()


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("reason", list(CloseReason))
async def test_end_is_told_before_it_happens(reason: CloseReason) -> None:
    async with scene(Hall().answer) as it:
        it.connection.end(reason)
        it.connection.end(CloseReason.ADMINISTRATOR)
        it.conversation.beat()
        it.ask(1, "now.a")
        await turn()
        assert it.wire.reasons == [reason.value]
        assert len(it.wire.told) == 1
        assert it.wire.closed is reason
        assert it.wire.beats == 0


@pytest.mark.requirement("R5")
async def test_calls_in_flight_get_their_replies_after_the_end_was_told() -> None:
    hall = Hall()
    async with scene(hall.answer, calls_max=2) as it:
        it.ask(1, "slow.a")
        it.ask(2, "slow.b")
        it.ask(3, "now.waits")
        await turn()
        it.connection.end(CloseReason.SESSION_ENDED)
        await turn()
        assert it.wire.reasons == ["session_ended"]
        assert it.wire.is_listening
        hall.end("slow.a")
        await turn()
        assert it.conversation.in_flight == 1
        hall.end("slow.b")
        await turn()
        assert [told.get("id") for told in it.wire.told] == [None, 1, 2]
        assert it.wire.closed is CloseReason.SESSION_ENDED
        # It was read and not begun: nothing of it was done.
        assert "now.waits" not in hall.calls


@pytest.mark.requirement("R5")
async def test_calls_that_take_too_long_do_not_hold_the_end_up() -> None:
    async with scene(Hall().answer, grace_ms=1) as it:
        it.ask(1, "slow.a")
        await turn()
        it.connection.end(CloseReason.SESSION_ENDED)
        async with asyncio.timeout(5):
            while it.wire.closed is None:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.001)
        assert it.wire.reasons == ["session_ended"]


@pytest.mark.requirement("R36")
async def test_call_that_the_stop_cancels_is_told_so() -> None:
    async with scene(Hall().answer) as it:
        it.ask(1, "slow.a")
        await turn()
        it.connection.end(CloseReason.SHUTDOWN)
        with capture_logs() as logs:
            await it.calls.stop(0.001)
        closing, reply = it.wire.told
        assert closing["params"]["reason"] == "shutdown"
        assert (reply["id"], reply["error"]["data"]["code"]) == (1, "deadline_exceeded")
        assert it.wire.closed is CloseReason.SHUTDOWN
        assert [entry["event"] for entry in logs] == ["calls did not end in time"]


@pytest.mark.requirement("R32")
async def test_calls_go_on_when_their_client_leaves(caplog: pytest.LogCaptureFixture) -> None:
    hall = Hall()
    async with scene(hall.answer, calls_max=2) as it:
        it.ask(1, "slow.a")
        it.ask(2, "bug")
        it.ask(3, "now.waits")
        it.conversation.lost()
        it.conversation.lost()
        with capture_logs():
            await turn()
        assert len(it.connections) == 0
        hall.end("slow.a")
        await turn()
        it.connection.end(CloseReason.SHUTDOWN)
        it.conversation.send(it.conversation.encode(push(1), "feed"))
        it.conversation.resumed()
        await turn()
        assert (len(it.calls), it.conversation.in_flight) == (0, 0)
        assert (it.wire.writes, it.wire.closed) == ([], None)
        assert "now.waits" not in hall.calls
    assert not [entry for entry in caplog.records if entry.levelno >= logging.WARNING]


@pytest.mark.requirement("R33")
async def test_held_replies_follow_the_end() -> None:
    async with scene(Hall().answer, calls_max=8) as it:
        it.wire.reads = False
        for asked_id in range(8):
            it.ask(asked_id, "now.a", params={"x": "x" * 600})
            await turn()
        it.connection.end(CloseReason.SESSION_ENDED)
        assert it.wire.closed is CloseReason.SESSION_ENDED
        it.wire.read()
        assert sorted(told["id"] for told in it.wire.told if "id" in told) == [*range(8)]


@pytest.mark.requirement("R31")
async def test_word_that_a_feed_has_ended_is_no_reply() -> None:
    async with scene(Hall().answer) as it:
        it.conversation.send(it.conversation.encode_end("feed", "permission_denied"))
        await turn()
        (told,) = it.wire.told
        assert (told["method"], "id" in told) == ("feed_ended", False)
        assert b"\n" not in HEARTBEAT


@pytest.mark.requirement("R31")
async def test_unknown_action_is_told_with_near_matches() -> None:
    async def answer(_call: Call) -> Reply:
        error = UnknownActionError("there is no action 'hall.pin'", near=["hall.ping"])
        return Reply("r", problem=error.problem("r"))

    async with scene(answer) as it:
        it.ask(1, "hall.pin")
        await turn()
        (told,) = it.wire.told
        assert told["error"]["code"] == -32601
        assert told["error"]["data"]["details"]["near"] == ["hall.ping"]
