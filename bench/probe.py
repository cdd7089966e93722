"""A worker that plays ordinary members: a few calls a second each, and how long they take.

Calls are sent at their time, whether the one before was answered or not, so that a pause of the
hall is seen by every call that falls into it. All stays within the limits of any hall.
"""

import asyncio
import random
import secrets
import time

import msgspec
import uvloop
from typing_extensions import override

from bench import wires, worker
from bench.load import client_tls

PERIODS_S = {"hall.ping": 0.05, "leaderboards.submit_score": 0.1}
"""Between two calls of a member."""
POLL_S = 0.02
OPENED_TOGETHER_S = 1.0
LATE_S_MAX = 10.0
PING, SUBMIT = PERIODS_S


class Open(msgspec.Struct, frozen=True, tag=True):
    """Open a WebSocket for each token, from ``source``, and begin to call."""

    port: int
    tls: bool
    source: str
    tokens: list[str]
    board_id: str


class Take(msgspec.Struct, frozen=True, tag=True):
    """Note the calls that are sent within so many seconds, and wait for their answers."""

    seconds: float


class Taken(msgspec.Struct, frozen=True):
    """By action: how many calls took how many ticks. Unanswered ones count as failures."""

    ticks: dict[str, dict[int, int]]
    failures: int
    first_failure: str


class Member(wires.SocketConnection):
    """One member's connection."""

    def __init__(self, probe: "Probe", opening: list[bytes]) -> None:
        super().__init__(wires.Tally(), [], opening)
        self._probe = probe
        self._calls = 0
        self._sent: dict[int, tuple[str, float]] = {}

    async def keep_calling(self, action: str, board_id: str) -> None:
        """Send a call each period, from a moment of its own."""
        chance = random.Random()
        key = secrets.token_hex(8)
        period_s = PERIODS_S[action]
        due_at = time.perf_counter() + chance.random() * period_s
        while True:
            await asyncio.sleep(due_at - time.perf_counter())
            due_at += period_s
            self._calls += 1
            call = wires.SLOT_BASE + self._calls
            request: dict[str, object] = {}
            if action == SUBMIT:
                request = {"board_id": board_id, "score": chance.randrange(1_000_000)}
            text = wires.call_text(action, request, f"{key}-{call}" if request else "")
            frame = wires.frame_of(wires.WEBSOCKET, text.replace(wires.SLOT_HOLE, str(call)))
            if self._probe.is_taking:
                self._sent[call] = action, time.perf_counter()
                self._probe.under_way += 1
            self.transport.write(frame)

    @override
    def _count(self, received: bytes, begin: int, end: int, out: list[bytes]) -> None:
        """Note how long one call took."""
        at = received.find(b",", begin + 17)
        call = int(received[begin + 22 : at])
        found = self._sent.pop(call, None)
        if found is None:
            return
        action, sent_at = found
        self._probe.under_way -= 1
        if received.startswith(b',"result":', at):
            ticks = self._probe.ticks.setdefault(action, {})
            tick = int((time.perf_counter() - sent_at) * wires.TICKS_PER_S)
            ticks[tick] = ticks.get(tick, 0) + 1
        else:
            self._probe.fail(received[begin:end].decode(errors="replace"))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Count calls that have no answer any more."""
        super().connection_lost(exc)
        self._probe.fail(f"a connection was lost: {exc or 'end of stream'}")


class Probe:
    """All members of this process."""

    def __init__(self) -> None:
        self.is_taking = False
        self.under_way = 0
        self.ticks: dict[str, dict[int, int]] = {}
        self._failures = 0
        self._first_failure = ""
        self._tasks: list[asyncio.Task[None]] = []

    def fail(self, what: str) -> None:
        """Count a failure and remember the first one's text."""
        self._failures += 1
        self._first_failure = self._first_failure or what

    async def carry_out(self, line: bytes) -> object:
        """Do what a command says."""
        command = msgspec.json.decode(line, type=Open | Take)
        if isinstance(command, Open):
            await self._open(command)
            return None
        return await self._take(command)

    async def _open(self, wanted: Open) -> None:
        loop = asyncio.get_running_loop()
        for token in wanted.tokens:
            opening = wires.opening_of(wires.WEBSOCKET, token, [])
            _, member = await loop.create_connection(
                lambda opening=opening: Member(self, opening),
                "127.0.0.1",
                wanted.port,
                ssl=client_tls() if wanted.tls else None,
                local_addr=(wanted.source, 0),
            )
            await member.opened
            self._tasks += [
                loop.create_task(member.keep_calling(action, wanted.board_id))
                for action in PERIODS_S
            ]
        await asyncio.sleep(OPENED_TOGETHER_S)

    async def _take(self, wanted: Take) -> Taken:
        self.ticks, self._failures, self._first_failure = {}, 0, ""
        self.is_taking = True
        await asyncio.sleep(wanted.seconds)
        self.is_taking = False
        waited_s = 0.0
        while self.under_way and waited_s < LATE_S_MAX:
            await asyncio.sleep(POLL_S)
            waited_s += POLL_S
        if self.under_way:
            self._failures += self.under_way
            self._first_failure = self._first_failure or f"no answer in {LATE_S_MAX:g} s"
            self.under_way = 0
        return Taken(self.ticks, self._failures, self._first_failure)


async def main() -> None:
    """Take commands."""
    await worker.serve(Probe().carry_out)


if __name__ == "__main__":
    uvloop.run(main())
