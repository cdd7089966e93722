"""The load generator: many connections that stay, one outstanding call on each, or several.

It shares the machine with what it measures, so it must cost a small part of a call: frames
are built beforehand and of an answer little is read (``wires``). It runs as a process of its
own (``python -m bench.load``, plan on standard input, outcome on standard output), and it
samples the server's processor time itself, at the very edges of the measured window.
"""

import asyncio
import contextlib
import ssl
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import uvloop

from bench import wires
from bench.wires import FAILURE_CHARS_MAX, TICKS_PER_S

ROOT = Path(__file__).resolve().parent.parent
CONNECT_TOGETHER_MAX = 32
SETTLE_S_MAX = 10.0
OVERHEAD_S_MAX = 120.0
"""What starting, connecting and settling may take beside the plan's own time."""


class Plan(msgspec.Struct, frozen=True):
    """What to call, how often, and for how long.

    Connection ``i`` goes to ``ports[i % len(ports)]`` and plays ``scripts[i % len(scripts)]`` over
    and over, each script being a list of whole HTTP requests, or of calls in JSON-RPC. Before that
    it signs in with ``tokens[i % len(tokens)]``, where the door's connections are signed in and
    there are tokens.
    """

    ports: list[int]
    tls: bool
    connections: int
    warmup_s: float
    seconds: float
    server_pids: list[int]
    scripts: list[list[str]]
    door: str = wires.HTTPS
    tokens: list[str] = []
    in_flight: int = 1
    """Calls that each connection keeps under way."""
    beside_pids: dict[str, int] = {}
    """What the server works with, by name: the first process of each, such as PostgreSQL's."""


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
    beside_cpu_s: dict[str, float] = {}

    @property
    def beside_cpu_us(self) -> dict[str, float]:
        """Processor time of what the server works with, in µs per call, by name."""
        return {
            name: seconds * 1e6 / max(self.calls, 1) for name, seconds in self.beside_cpu_s.items()
        }

    @property
    def calls_per_s(self) -> float:
        """Answered calls per second."""
        return self.calls / self.seconds

    @property
    def server_cpu_us(self) -> float:
        """Processor time of all servers and their children, in µs per call."""
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


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its children so far, ended ones included."""
    process = psutil.Process(pid)
    own = process.cpu_times()
    seconds = own.user + own.system + own.children_user + own.children_system
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since it was listed
            times = child.cpu_times()
            seconds += times.user + times.system
    return float(seconds)


def sample(plan: Plan) -> tuple[float, dict[str, float]]:
    """Return the processor time of the servers so far, and of what they work with."""
    beside = {name: cpu_seconds(pid) for name, pid in plan.beside_pids.items()}
    return sum(map(cpu_seconds, plan.server_pids)), beside


def quantile_ms(ticks: dict[int, int], part: float) -> float:
    """Return the latency, in ms, that ``part`` of the counted calls do not exceed."""
    wanted = part * sum(ticks.values())
    seen = 0
    for tick in sorted(ticks):
        seen += ticks[tick]
        if seen >= wanted:
            return (tick + 1) * 1_000 / TICKS_PER_S
    return 0.0


def client_tls() -> ssl.SSLContext:
    """Return TLS towards our own child on loopback, whose certificate is self-signed."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def connect(plan: Plan, tally: wires.Tally) -> list[wires.Connection]:
    """Open all connections of the plan, a few at a time."""
    context = client_tls() if plan.tls else None
    scripts = [wires.script_of(plan.door, texts, plan.in_flight) for texts in plan.scripts]
    tokens = plan.tokens or [""]
    make = wires.CONNECTIONS[plan.door]
    together = asyncio.Semaphore(CONNECT_TOGETHER_MAX)
    loop = asyncio.get_running_loop()

    async def open_one(number: int) -> wires.Connection:
        opening = wires.opening_of(plan.door, tokens[number % len(tokens)], [])
        async with together:
            _, connection = await loop.create_connection(
                lambda: make(tally, scripts[number % len(scripts)], opening),
                "127.0.0.1",
                plan.ports[number % len(plan.ports)],
                ssl=context,
            )
            await connection.opened
        return connection

    return list(await asyncio.gather(*map(open_one, range(plan.connections))))


async def play(plan: Plan) -> Outcome:
    """Play the plan and return what was seen."""
    tally = wires.Tally()
    connections = await connect(plan, tally)
    tally.at_work.update(connections)
    for connection in connections:
        connection.begin()
    await asyncio.sleep(plan.warmup_s)

    server_before, beside_before = sample(plan)
    tally.measuring = True
    began_at, own_before = time.perf_counter(), time.process_time()
    await asyncio.sleep(plan.seconds)
    tally.measuring = tally.sending = False
    ended_at, own_after = time.perf_counter(), time.process_time()
    server_after, beside_after = sample(plan)

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
        beside_cpu_s={name: beside_after[name] - beside_before[name] for name in beside_after},
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
