"""``python -m bench.start``: how long a hall takes to start, and what it holds when idle.

Starts ``moothall serve`` over TLS, as shipped, and counts from the start of the process until
``hall.ping`` is answered: on an empty folder each time, and with ``--members`` on one that has as
many members, each with a role at a board. Beside it stand Python alone, and Python with the
three libraries that no such server could do without.

``cpu`` is user and system time of the process, which others on the machine disturb least.
Python's compiled files are kept, as those of an installed hall are, and made before the first
start that counts.
"""

import argparse
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.cases import fill
from bench.hall import STATUS_OK, HallError, connection_to, free_port, renew, serve, stop
from bench.report import this_machine

ANSWER_S_MAX = 30.0
POLL_S = 0.002
REST_S = 0.3
"""Until the jobs that run at once are done, before the memory is read."""
NAMES_TOGETHER_MAX = 500
IMPORTS = "import uvicorn, msgspec, apsw"


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds on the clock, seconds of processor, resident MiB afterwards."""

    wall_s: float
    cpu_s: float
    memory_mib: float


def start_hall(program: Path, folder: Path) -> Start:
    """Start a hall on ``folder``, wait for its first answer, and stop it.

    Raises:
        HallError: It did not answer in time.
    """
    port = free_port()
    command = [str(program), "serve", "--data", str(folder), "--port", str(port)]
    began_at = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as hall:
        try:
            while not _pings(port):
                if hall.poll() is not None or time.perf_counter() - began_at > ANSWER_S_MAX:
                    raise HallError(f"no answer; exit status {hall.poll()}")
                time.sleep(POLL_S)
            return _started(hall.pid, began_at)
        finally:
            stop(hall)


def _pings(port: int) -> bool:
    """Tell whether the hall on ``port`` answers."""
    connection = connection_to(port, tls=True)
    try:
        connection.request("POST", "/v1/hall.ping", b"{}", {"Content-Type": "application/json"})
        return connection.getresponse().status == STATUS_OK
    except OSError:
        return False
    finally:
        connection.close()


def start_python(code: str) -> Start:
    """Start a Python that runs ``code``, and end it."""
    began_at = time.perf_counter()
    command = [sys.executable, "-c", f"{code}; print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as python:
        assert python.stdout is not None
        python.stdout.readline()
        started = _started(python.pid, began_at)
        python.communicate(b"\n")
        return started


def _started(pid: int, began_at: float) -> Start:
    """Return what the process took until now, and what it holds a moment later."""
    wall_s = time.perf_counter() - began_at
    process = psutil.Process(pid)
    times = process.cpu_times()
    time.sleep(REST_S)
    return Start(wall_s, times.user + times.system, process.memory_info().rss / 2**20)


def fill_members(program: Path, folder: Path, members: int) -> None:
    """Make a hall with a board, and give ``members`` a role at it."""
    filled = fill(program, folder, tls=True, entries=0)
    administrator = filled.members[0]
    with serve(program, folder, tls=True) as (hall, _):
        for first in range(0, members, NAMES_TOGETHER_MAX):
            count = min(NAMES_TOGETHER_MAX, members - first)
            names = [f"member{number}" for number in range(first, first + count)]
            renew(hall, [administrator], left_s=0)
            token = administrator.access_token
            hall.call("identity.add_members", {"names": names}, token=token, key=_key())
            for name in names:
                grant = {"member": name, "role": "board_writer", "at": f"board/{filled.board_id}"}
                hall.call("access.grant_role", grant, token=token, key=_key())


def _key() -> str:
    return secrets.token_hex(8)


def measure(program: Path, folder: Path, times: int, members: int) -> Iterator[str]:
    """Yield a line for each case, taken in turns so that a busy minute hits all alike."""
    numbers = iter(range(sys.maxsize))
    cases: dict[str, Callable[[], Start]] = {
        "hall, empty folder": lambda: start_hall(program, folder / f"hall-{next(numbers)}"),
        "python -c pass": lambda: start_python("pass"),
        f"python -c '{IMPORTS}'": lambda: start_python(IMPORTS),
    }
    if members:
        filled = folder / "filled"
        fill_members(program, filled, members)
        cases[f"hall, {members:,} members"] = lambda: start_hall(program, filled)
    for start in cases.values():
        start()
    starts: dict[str, list[Start]] = {name: [] for name in cases}
    for _ in range(times):
        for name, start in cases.items():
            starts[name].append(start())
    for name, found in starts.items():
        wall = sorted(each.wall_s for each in found)
        cpu = min(each.cpu_s for each in found)
        memory = statistics.median(each.memory_mib for each in found)
        yield (f"{name:42}{statistics.median(wall):>9.2f}{wall[0]:>9.2f}{cpu:>8.2f}{memory:>8.1f}")


def main() -> int:
    """Measure and print; return 1 if a hall did not start."""
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    add = parser.add_argument
    add("--times", type=int, default=7, help="starts of each case (7)")
    add("--members", type=int, default=0, help="start a hall with so many members too (0)")
    add("--data", type=Path, help="a folder on the disk to measure (the temporary folder)")
    program = Path(sys.executable).with_name("moothall")
    add("--program", type=Path, default=program, help="the hall to start (the one beside this)")
    chosen = parser.parse_args()
    machine = this_machine()
    print(
        f"{machine.date}, {machine.kernel}, Python {machine.python}, {machine.cores} cores, "
        f"load {machine.load_average:.1f}; {chosen.times} starts each\n"
    )
    print(f"{'':42}{'median s':>9}{'best s':>9}{'cpu s':>8}{'MiB':>8}")
    try:
        with tempfile.TemporaryDirectory(prefix="moothall-bench-", dir=chosen.data) as folder:
            os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
            os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
            for line in measure(chosen.program, Path(folder), chosen.times, chosen.members):
                print(line)
    except HallError as error:
        print(error, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
