"""Login starts: whether a flood of them makes a hall grow (R12).

``python -m bench.login_starts`` measures resident memory before and after, in three parts:

- *door*: a hall with its ordinary limits is sent starts over its wire, from 16 addresses of
  loopback (127.x.y.z, so on Linux only), each with a name that was never sent before and that
  nobody has. Thirty a minute and address are looked at, the others are refused. What is
  measured is the process of the hall.
- *sources*: as many starts, each from an address that never called before, on the whole road of a
  call in this process. They are refused for their form, after both limits of a source were
  charged: a door cannot show a million addresses in good time.
- *names*: as many names that nobody has, each guessed at until it is locked, in the tables
  that a process keeps beside the rows: locks, and guesses under way.

A first tenth (at most 20,000) is not measured: it loads what any hall loads once it has work.
The tables may fill up to their bounds; what is asserted is that all growth of a part stays
under ``--mb-max``.
"""

import argparse
import asyncio
import gc
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import psutil

from bench.hall import Hall, serve
from moothall.action.call import Call
from moothall.app.world import SystemClock
from moothall.services.identity.adapters.guesses import GuessesUnderWay
from moothall.services.identity.adapters.lockout import UnknownLocks
from moothall.services.identity.model import Guesses, LockoutSettings
from moothall.testing import open_test_hall

ADDRESSES = 16
COUNT = 1_000_000
WARM_MAX = 20_000
MB = 1_000_000
MB_MAX = 20.0
LOCK_MS = 60_000
CONTENT_LENGTH = b"content-length:"
ACTION = "identity.open_session"


class Seen(msgspec.Struct):
    """What a part showed: how many starts, in what time, and memory before and after."""

    part: str
    count: int
    seconds: float
    before_bytes: int
    after_bytes: int
    answers: Counter[str]

    @property
    def growth_mb(self) -> float:
        """By how many MB memory grew."""
        return (self.after_bytes - self.before_bytes) / MB

    def __str__(self) -> str:
        """Return the line of the table."""
        told = ", ".join(f"{name} {count:,}" for name, count in self.answers.most_common(3))
        return (
            f"{self.part:8}{self.count:>10,}{self.count / self.seconds:>10,.0f}/s"
            f"{self.before_bytes / MB:>10.1f} MB{self.after_bytes / MB:>10.1f} MB"
            f"{self.growth_mb:>+9.1f} MB   {told}"
        )


Send = Callable[[int, int], Awaitable[Counter[str]]]
"""Send the starts from one number to another, and return how many were answered how."""


async def measure(part: str, count: int, memory: Callable[[], int], send: Send) -> Seen:
    """Warm up, then send ``count`` starts between two looks at the memory."""
    warm = min(WARM_MAX, max(1, count // 10))
    await send(0, warm)
    gc.collect()
    before, began_at = memory(), time.perf_counter()
    answers = await send(warm, warm + count)
    seconds = time.perf_counter() - began_at
    gc.collect()
    return Seen(part, count, seconds, before, memory(), answers)


def request_of(number: int) -> bytes:
    """Return a whole HTTP request to sign in under a name that is sent once."""
    body = json.dumps({"name": f"nobody{number}", "password": "a password"}).encode()
    head = f"POST /v1/{ACTION} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


async def knock(port: int, address: str, first: int, last: int) -> Counter[str]:
    """Send starts from one address over one connection, each after the answer to the last."""
    answers: Counter[str] = Counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        for number in range(first, last):
            writer.write(request_of(number))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(CONTENT_LENGTH)[2].partition(b"\r\n")[0]
            problem = json.loads(await reader.readexactly(int(length)))
            answers[problem["name"]] += 1
    finally:
        writer.close()
    return answers


def knock_at(hall: Hall) -> Send:
    """Return what sends starts to the door of a hall, from all addresses at once."""

    async def send(first: int, last: int) -> Counter[str]:
        steps = [first + (last - first) * part // ADDRESSES for part in range(ADDRESSES + 1)]
        told = await asyncio.gather(
            *(
                knock(hall.port, f"127.0.1.{part + 1}", steps[part], steps[part + 1])
                for part in range(ADDRESSES)
            )
        )
        return sum(told, Counter())

    return send


def own_memory() -> int:
    """Return the resident memory of this process."""
    return int(psutil.Process().memory_info().rss)


async def measure_sources(count: int, folder: Path) -> Seen:
    """Call from as many addresses as there are starts."""
    async with open_test_hall(folder, limits_scale=1.0) as opened:
        pipeline = opened.hall.pipeline

        async def send(first: int, last: int) -> Counter[str]:
            answers: Counter[str] = Counter()
            for number in range(first, last):
                source = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
                body = b'{"name":"nobody%d","password":0}' % number
                reply = await pipeline.answer(Call(ACTION, body, source, None, None, None))
                answers[reply.problem.name if reply.problem else "done"] += 1
            return answers

        return await measure("sources", count, own_memory, send)


async def measure_names(count: int) -> Seen:
    """Lock as many names as there are starts."""
    locks, guesses = UnknownLocks(SystemClock()), GuessesUnderWay(LockoutSettings())

    async def send(first: int, last: int) -> Counter[str]:
        for number in range(first, last):
            key = f"{number:064x}"
            guesses.begin(key)
            locks.begin(key, Guesses(f"{number:024x}", 3, 0, LOCK_MS), LOCK_MS)
            guesses.end(key)
        return Counter(account_locked=last - first)

    return await measure("names", count, own_memory, send)


async def run(program: Path, folder: Path, count: int) -> list[Seen]:
    """Return what each part showed."""
    with serve(program, folder / "hall", tls=False, limits_scale="1") as (hall, _):
        seen = [await measure("door", count, hall.memory_bytes, knock_at(hall))]
    seen.append(await measure_sources(count, folder))
    seen.append(await measure_names(count))
    return seen


def main() -> int:
    """Parse the arguments, run, and print; 1 if a part grew by more than it may."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m bench.login_starts",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=COUNT, help=f"starts a part ({COUNT})")
    parser.add_argument("--mb-max", type=float, default=MB_MAX, help=f"growth ({MB_MAX:g})")
    chosen = parser.parse_args()
    program = Path(sys.executable).with_name("moothall")
    with tempfile.TemporaryDirectory(prefix="moothall-bench-") as folder:
        seen = asyncio.run(run(program, Path(folder), chosen.count))
    print(f"{'':8}{'starts':>10}{'':12}{'before':>13}{'after':>13}{'growth':>12}   answers")
    for one in seen:
        print(one)
    return int(any(one.growth_mb > chosen.mb_max for one in seen))


if __name__ == "__main__":
    sys.exit(main())
