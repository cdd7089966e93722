"""``python -m bench.instructions``: what a call costs, in machine instructions.

Seconds on a shared machine swing by a third from run to run; instructions do not. A hall is opened
in a process that valgrind counts (``valgrind --tool=cachegrind``), without a door, and called 64 at
a time; once with few rounds and once with more, and the difference is divided by the calls between.
What the kernel does (writing pages, syncing) is not counted, so a change must be timed too.

Two runs of the same tree differ by 0.2 % at most. It takes about 20 s a case. Another tree is
counted with ``--source FOLDER``, which holds its ``moothall``.
"""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.stages import make_calls, measure, prepare
from moothall.app.compose import open_hall
from moothall.app.config import Settings
from moothall.app.main import loop_factory
from moothall.storage.sqlite import SqliteBounds

CASES = {
    "hall.ping": {},
    "leaderboards.get_rank": {"board_id": "board"},
    "leaderboards.submit_score": {"board_id": "board", "score": 12.5},
}
ENTRIES = 1_000
CALLS_A_ROUND = 1_024
FEW, MORE = 1, 3

# Under valgrind all is fifty times slower: no batch may end early because of that, and nothing
# may move to another thread.
PATIENT = SqliteBounds(
    batch_seconds_max=1e6,
    commit_seconds_inline_max=1e6,
    read_seconds_inline_max=1e6,
    read_seconds_max=1e6,
)

_COUNTED = re.compile(r"I +refs: +([\d,]+)")


async def call_rounds(action: str, rounds: int) -> None:
    """Open a hall and call it; this is what valgrind counts."""
    with tempfile.TemporaryDirectory(prefix="moothall-instructions-") as folder:
        settings = Settings(data=str(Path(folder) / "hall"), limits_scale=1e6)
        hall = await open_hall(settings, on_sync_failure=lambda _error: None, bounds=PATIENT)
        token = await prepare(hall, ENTRIES)
        for number in range(rounds):
            await measure(hall, make_calls(action, CASES[action], token, CALLS_A_ROUND, number))
        await hall.close()


def count(action: str, rounds: int, source: str | None) -> int:
    """Return how many instructions a process with so many rounds took.

    Raises:
        subprocess.CalledProcessError: It failed; its own words are on standard error.
    """
    own = [sys.executable, "-m", "bench.instructions", "--only", action, "--rounds", str(rounds)]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    if source is not None:
        environment["PYTHONPATH"] = source
    counted = subprocess.run(
        [
            "valgrind",
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
            *own,
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    found = _COUNTED.search(counted.stderr)
    if counted.returncode or found is None:
        sys.stderr.write(counted.stderr)
        raise subprocess.CalledProcessError(counted.returncode or 1, counted.args)
    return int(found[1].replace(",", ""))


def main() -> int:
    """Count each case; with ``--rounds`` be what is counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=CASES, action="append", help="an action (all)")
    parser.add_argument("--source", help="folder of another tree's moothall")
    parser.add_argument("--rounds", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    actions = chosen.only or list(CASES)
    if chosen.rounds is not None:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(call_rounds(actions[0], chosen.rounds))
        return 0
    if shutil.which("valgrind") is None:
        print("bench.instructions needs valgrind; install it: apt-get install valgrind")
        return 1
    for action in actions:
        with ThreadPoolExecutor() as both:
            few, more = both.map(lambda n: count(action, n, chosen.source), (FEW, MORE))  # noqa: B023
        each = (more - few) / (MORE - FEW) / CALLS_A_ROUND
        print(f"{action:30} {each:10,.0f} instructions a call")
    return 0


if __name__ == "__main__":
    sys.exit(main())
