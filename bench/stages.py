"""Where the time of one call goes: microseconds by stage, in the process, without a door.

``python -m bench.stages`` opens a hall in a temporary folder and sends it calls through the
pipeline, 64 at a time. Each stage of the road is timed by a wrapper around the function that
carries it out; a wrapper costs about 0.3 µs, which is measured and taken off. What a door
adds is measured by ``python -m bench``.
"""

import argparse
import asyncio
import inspect
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from moothall.action import idempotency
from moothall.action.call import Call
from moothall.action.pipeline import Pipeline
from moothall.app.compose import Hall, open_hall
from moothall.app.config import Settings
from moothall.app.main import loop_factory
from moothall.services.access.actions import digest_secret
from moothall.services.access.store import renew_claim
from moothall.storage.sqlite.reader import Reader
from moothall.storage.sqlite.writer import Writer

TOGETHER = 64


class Stages:
    """Sums of time by stage; a stage inside of another one is taken off the outer one."""

    def __init__(self) -> None:
        """Begin with nothing measured."""
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self._inner = [0.0]
        self.is_on = False

    def wrap(self, owner: Any, name: str, stage: str) -> None:
        """Time every call of ``owner.name`` as ``stage``."""
        function = getattr(owner, name)
        if inspect.iscoroutinefunction(function):
            setattr(owner, name, self._async(function, stage))
        else:
            setattr(owner, name, self._sync(function, stage))

    def _sync(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self._enter()
            try:
                return function(*args, **kwargs)
            finally:
                self._leave(stage, start)

        return timed

    def _async(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        # Only for coroutines that never suspend, as all are inside a transaction.
        async def timed(*args: Any, **kwargs: Any) -> Any:
            start = self._enter()
            try:
                return await function(*args, **kwargs)
            finally:
                self._leave(stage, start)

        return timed

    def _enter(self) -> float:
        self._inner.append(0.0)
        return time.perf_counter()

    def _leave(self, stage: str, start: float) -> None:
        spent = time.perf_counter() - start
        own = spent - self._inner.pop()
        self._inner[-1] += spent
        if self.is_on:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + own
            self.calls[stage] = self.calls.get(stage, 0) + 1


async def ask(hall: Hall, name: str, request: object, token: str | None = None) -> Any:
    """Send one call and return its result."""
    call = Call(name, msgspec.json.encode(request), "127.0.0.1", token)
    reply = await hall.pipeline.answer(call)
    assert reply.body is not None, reply.problem
    return msgspec.json.decode(reply.body)


async def prepare(hall: Hall, entries: int) -> str:
    """Make an administrator and a board with verified entries; return the access token."""
    person = {"name": "bencher", "password": "a password for the bench"}
    await ask(hall, "identity.register", person)
    token: str = (await ask(hall, "identity.open_session", person))["access_token"]
    digest = digest_secret("secret")
    await hall.database.write(lambda tx: renew_claim(tx, digest, 0))
    await ask(hall, "access.claim_administration", {"secret": "secret"}, token)
    board = {"name": "board", "direction": "descending"}
    await ask(hall, "leaderboards.create_board", board, token)
    for start in range(0, entries, 500):
        rows = [
            {
                "submitter": f"m{start + n}" if start + n else "bencher",
                "score": (start + n) * 7_919 % 100_003,
                "submitted_at_ms": n,
            }
            for n in range(500)
        ]
        await ask(
            hall, "leaderboards.import_entries", {"board_id": "board", "entries": rows}, token
        )
    return token


def watch(stages: Stages, hall: Hall) -> None:
    """Put the wrappers around the stages of the road, in its order."""
    stages.wrap(Pipeline, "_pass", "the rest of the pipeline")
    stages.wrap(Pipeline, "_limit_source", "limit of the source")
    stages.wrap(Pipeline, "_authenticate", "who")
    stages.wrap(Pipeline, "_limit_actor", "limit of the member")
    stages.wrap(type(hall.house), "authorize", "resource, may they")
    stages.wrap(idempotency, "digest_of", "remembered reply")
    stages.wrap(idempotency, "find_reply", "remembered reply")
    stages.wrap(idempotency, "remember_reply", "remembered reply")
    stages.wrap(type(hall.house.outbox), "write", "events")
    stages.wrap(type(hall.house.audit), "append", "audit row")
    stages.wrap(Pipeline, "_handle", "the deed")
    stages.wrap(Writer, "_commit", "commit")
    stages.wrap(Writer, "_run_call", "queue")
    stages.wrap(Reader, "run", "snapshot")


async def measure(hall: Hall, calls: list[Call]) -> tuple[float, float]:
    """Send ``calls``, 64 at a time; return wall and CPU microseconds per call."""
    wall, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(calls), TOGETHER):
        replies = await asyncio.gather(
            *(hall.pipeline.answer(call) for call in calls[start : start + TOGETHER])
        )
        assert all(reply.body is not None for reply in replies), replies[0].problem
    count = len(calls)
    return (
        (time.perf_counter() - wall) / count * 1e6,
        (time.process_time() - cpu) / count * 1e6,
    )


def make_calls(action: str, request: object, token: str, count: int, run: int) -> list[Call]:
    """Return ``count`` equal calls; writes get a key each."""
    body = msgspec.json.encode(request)
    is_write = action == "leaderboards.submit_score"
    return [
        Call(action, body, "127.0.0.1", token, f"{run}-{number}" if is_write else None)
        for number in range(count)
    ]


async def run(count: int, entries: int) -> None:
    """Measure plain first, then by stage, and print both."""
    cases = {
        "hall.ping": {},
        "leaderboards.get_rank": {"board_id": "board"},
        "leaderboards.submit_score": {"board_id": "board", "score": 12.5},
    }
    with tempfile.TemporaryDirectory(prefix="moothall-stages-") as folder:
        settings = Settings(data=str(Path(folder)), limits_scale=1e6)
        hall = await open_hall(settings, on_sync_failure=lambda _error: None)
        token = await prepare(hall, entries)
        plain: dict[str, tuple[float, float]] = {}
        for name, request in cases.items():
            runs = [
                await measure(hall, make_calls(name, request, token, count, number))
                for number in range(5)
            ]
            plain[name] = sorted(runs, key=lambda pair: pair[1])[2]
        stages = Stages()
        watch(stages, hall)
        for name, request in cases.items():
            stages.seconds.clear()
            stages.calls.clear()
            stages.is_on = True
            await measure(hall, make_calls(name, request, token, count, 9))
            stages.is_on = False
            wall, cpu = plain[name]
            print(f"\n{name}: {cpu:.1f} µs CPU, {wall:.1f} µs wall a call, unwatched")
            for stage, seconds in sorted(stages.seconds.items(), key=lambda pair: -pair[1]):
                print(f"  {seconds / count * 1e6:7.2f} µs  {stage}")
        await hall.close()


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=6_400, help="calls a run")
    parser.add_argument("--entries", type=int, default=20_000, help="entries on the board")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run(options.calls, options.entries))


if __name__ == "__main__":
    main()
