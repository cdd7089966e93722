"""The load generator: many keep-alive connections, one outstanding request on each.

It shares the machine with what it measures, so it must cost a small part of a call: the
request bytes are built beforehand and only the idempotency key is filled in; of an answer
only the status and the length are read. It runs as a process of its own
(``python -m bench.load``, plan on standard input, outcome on standard output), and it
samples the server's processor time itself, at the very edges of the measured window.
"""

import asyncio
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import msgspec
import psutil
import uvloop
from typing_extensions import override

ROOT = Path(__file__).resolve().parent.parent
KEY_HOLE = "<key>"
"""Stands in a request where each call gets its own number of ``KEY_DIGITS`` digits."""
KEY_DIGITS = 12
CONNECT_TOGETHER_MAX = 32
SETTLE_S_MAX = 10.0
OVERHEAD_S_MAX = 120.0
"""What starting, connecting and settling may take beside the plan's own time."""
FAILURE_CHARS_MAX = 2_000
TICKS_PER_S = 100_000
"""Latencies are counted in steps of 10 µs."""


class Plan(msgspec.Struct, frozen=True):
    """What to call, how often, and for how long.

    Connection ``i`` plays ``scripts[i % len(scripts)]`` over and over, each script being a
    list of whole HTTP requests.
    """

    port: int
    tls: bool
    connections: int
    warmup_s: float
    seconds: float
    server_pid: int
    scripts: list[list[str]]


class Outcome(msgspec.Struct, frozen=True):
    """What was seen inside the measured window; failures count from the first byte on."""

    calls: int
    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    server_cpu_s: float
    generator_cpu_s: float
    failures: int
    first_failure: str

    @property
    def calls_per_s(self) -> float:
        """Answered calls per second."""
        return self.calls / self.seconds

    @property
    def server_cpu_us(self) -> float:
        """Processor time of the server and its children, in µs per call."""
        return self.server_cpu_s * 1e6 / max(self.calls, 1)

    @property
    def generator_cpu_us(self) -> float:
        """Processor time of this generator, in µs per call."""
        return self.generator_cpu_s * 1e6 / max(self.calls, 1)

    @property
    def generator_share(self) -> float:
        """Which part of one core the generator used; near 1 it was the bottleneck."""
        return self.generator_cpu_s / self.seconds


class LoadError(Exception):
    """The generator ended without an outcome."""


class Tally:
    """Counts the answers of all connections and says which of them are still at work."""

    def __init__(self) -> None:
        self.sending = True
        self.measuring = False
        self.ticks: dict[int, int] = {}
        self.failures = 0
        self.first_failure = ""
        self.keys_given = 0
        self.at_work: set[Connection] = set()
        self.settled = asyncio.Event()

    def fail(self, what: str) -> None:
        """Count a failure and remember the first one's text."""
        self.failures += 1
        self.first_failure = self.first_failure or what

    def leave(self, connection: "Connection") -> None:
        """Note that a connection sends no more."""
        self.at_work.discard(connection)
        if not self.at_work:
            self.settled.set()


class Connection(asyncio.Protocol):
    """One keep-alive connection that sends its next request when the last is answered."""

    def __init__(self, tally: Tally, script: list[tuple[bytes, bytes | None]]) -> None:
        self._tally = tally
        self._script = script
        self._step = 0
        self._sent_at = 0.0
        self._received = b""
        self._transport: asyncio.Transport

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the way out; the first request waits for ``send``."""
        # uvloop's transports are asyncio's in all but ancestry.
        self._transport = cast("asyncio.Transport", transport)

    def send(self) -> None:
        """Send the next request of the script."""
        head, tail = self._script[self._step]
        self._step += 1
        if self._step == len(self._script):
            self._step = 0
        if tail is not None:
            tally = self._tally
            tally.keys_given += 1
            head = b"%b%012d%b" % (head, tally.keys_given, tail)
        self._sent_at = time.perf_counter()
        self._transport.write(head)

    @override
    def data_received(self, data: bytes) -> None:
        """Count a whole answer and send the next request."""
        received = self._received + data if self._received else data
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            self._received = received
            return
        length_at = received.lower().find(b"content-length:", 0, head_end)
        if length_at < 0:
            self._tally.fail("an answer came without a content-length")
            self._transport.abort()
            return
        length = int(received[length_at + 15 : received.find(b"\r", length_at)])
        if len(received) < head_end + 4 + length:
            self._received = received
            return
        self._received = b""
        self._count(received)

    def _count(self, answer: bytes) -> None:
        tally = self._tally
        if answer.startswith(b"HTTP/1.1 200"):
            if tally.measuring:
                tick = int((time.perf_counter() - self._sent_at) * TICKS_PER_S)
                tally.ticks[tick] = tally.ticks.get(tick, 0) + 1
        else:
            tally.fail(answer[:FAILURE_CHARS_MAX].decode(errors="replace"))
        if tally.sending:
            self.send()
        else:
            tally.leave(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that ended while an answer was due."""
        if self in self._tally.at_work:
            self._tally.fail(f"the server closed a connection: {exc or 'end of stream'}")
            self._tally.leave(self)

    def close(self) -> None:
        """Close the connection."""
        self._transport.abort()


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its running children so far."""
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def quantile_ms(ticks: dict[int, int], part: float) -> float:
    """Return the latency, in ms, that ``part`` of the counted calls do not exceed."""
    wanted = part * sum(ticks.values())
    seen = 0
    for tick in sorted(ticks):
        seen += ticks[tick]
        if seen >= wanted:
            return (tick + 1) * 1_000 / TICKS_PER_S
    return 0.0


def split_at_hole(request: str) -> tuple[bytes, bytes | None]:
    """Return a request's bytes before and after its key hole; without one, whole and None."""
    head, hole, tail = request.partition(KEY_HOLE)
    return head.encode(), tail.encode() if hole else None


async def connect(plan: Plan, tally: Tally) -> list[Connection]:
    """Open all connections of the plan, a few at a time."""
    context = None
    if plan.tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # our own child on loopback, self-signed
    scripts = [[split_at_hole(request) for request in script] for script in plan.scripts]
    together = asyncio.Semaphore(CONNECT_TOGETHER_MAX)
    loop = asyncio.get_running_loop()

    async def open_one(number: int) -> Connection:
        async with together:
            _, connection = await loop.create_connection(
                lambda: Connection(tally, scripts[number % len(scripts)]),
                "127.0.0.1",
                plan.port,
                ssl=context,
            )
        return connection

    return list(await asyncio.gather(*map(open_one, range(plan.connections))))


async def play(plan: Plan) -> Outcome:
    """Play the plan and return what was seen."""
    tally = Tally()
    connections = await connect(plan, tally)
    tally.at_work.update(connections)
    for connection in connections:
        connection.send()
    await asyncio.sleep(plan.warmup_s)

    server_before = cpu_seconds(plan.server_pid)
    tally.measuring = True
    began_at, own_before = time.perf_counter(), time.process_time()
    await asyncio.sleep(plan.seconds)
    tally.measuring = tally.sending = False
    ended_at, own_after = time.perf_counter(), time.process_time()
    server_after = cpu_seconds(plan.server_pid)

    try:
        async with asyncio.timeout(SETTLE_S_MAX):
            await tally.settled.wait()
    except TimeoutError:
        tally.fail(f"{len(tally.at_work)} connections had no answer after {SETTLE_S_MAX} s")
    tally.at_work.clear()
    for connection in connections:
        connection.close()
    return Outcome(
        calls=sum(tally.ticks.values()),
        seconds=ended_at - began_at,
        p50_ms=quantile_ms(tally.ticks, 0.5),
        p90_ms=quantile_ms(tally.ticks, 0.9),
        p99_ms=quantile_ms(tally.ticks, 0.99),
        max_ms=quantile_ms(tally.ticks, 1.0),
        server_cpu_s=server_after - server_before,
        generator_cpu_s=own_after - own_before,
        failures=tally.failures,
        first_failure=tally.first_failure,
    )


def run(plan: Plan) -> Outcome:
    """Play a plan in a process of its own.

    Raises:
        LoadError: The process failed; the text is what it wrote.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=msgspec.json.encode(plan),
        capture_output=True,
        check=False,
        cwd=ROOT,
        timeout=plan.warmup_s + plan.seconds + OVERHEAD_S_MAX,
    )
    if done.returncode:
        raise LoadError(done.stderr.decode(errors="replace")[-FAILURE_CHARS_MAX:])
    return msgspec.json.decode(done.stdout, type=Outcome)


def main() -> None:
    """Read a plan, play it, write the outcome."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(play(plan))))


if __name__ == "__main__":
    main()
