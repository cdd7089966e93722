"""What bringing in history costs: ``python -m bench.imports``.

Makes a file of made-up history (always the same one for the same numbers), starts a hall over TLS
as shipped, signs an administrator in by the program, and imports the file by
``moothall entry import``, as anybody would. Afterwards the hall must have every row, and a sample
of ranks must be what sorting the file says; then the import is made a second time, which must
change nothing.

``us`` is processor time a row, of the hall and of the client with their children and threads, which
others on the machine disturb least. ``peak MB`` is the largest resident memory seen, looked at
every 50 ms.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import secrets
import ssl
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil

from bench.hall import HallError, Member, adopt, claim_administration, serve
from bench.report import table, this_machine

SEED = 61
SCORES = 10_000_000
SPACING_MS = 60_000
LOOK_S = 0.05
ASKED_MAX = 200
MB = 1_000_000
TITLE = ["import", "rows", "rows/s", "seconds", "hall us", "client us", "hall peak MB", "client"]


class Rank(msgspec.Struct):
    """The part of a rank that is checked."""

    place: int
    total: int
    score: float


class Cost(msgspec.Struct, frozen=True):
    """What one run of the program took: seconds, and bytes at most."""

    wall_s: float
    hall_cpu_s: float
    client_cpu_s: float
    hall_bytes: int
    client_bytes: int


def write_history(file: Path, rows: int, members: int) -> list[tuple[int, float]]:
    """Write a file, in the order of time, and return who scored what."""
    chance = random.Random(SEED)
    began_at_ms = int(time.time() * 1_000) - rows * SPACING_MS - SPACING_MS
    scores = []
    with file.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(("submitter", "score", "time"))
        for number in range(rows):
            member, score = chance.randrange(members), chance.randrange(SCORES) / 100
            scores.append((member, score))
            writer.writerow((f"player {member}", score, began_at_ms + number * SPACING_MS))
    return scores


def cpu_s(process: psutil.Process) -> float:
    """Return the processor time of a process so far, with that of its children."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def run_import(words: list[str], environment: Mapping[str, str], hall_pid: int) -> tuple[Any, Cost]:
    """Run the program until it ends; return its report and what it took.

    Raises:
        HallError: It failed.
    """
    hall = psutil.Process(hall_pid)
    before_s, began_at = cpu_s(hall), time.perf_counter()
    peaks, client_s = [0, 0], 0.0
    with (
        tempfile.TemporaryFile() as answer,
        subprocess.Popen(words, stdout=answer, env=dict(environment)) as process,
    ):
        client = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                client_s = max(client_s, cpu_s(client))
                for at, each in enumerate((hall, client)):
                    peaks[at] = max(peaks[at], each.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            time.sleep(LOOK_S)
        code = process.wait()
        wall_s = time.perf_counter() - began_at
        answer.seek(0)
        text = answer.read()
    if code:
        raise HallError(f"the import ended with {code}: {text.decode(errors='replace')[:2_000]}")
    return json.loads(text), Cost(wall_s, cpu_s(hall) - before_s, client_s, *peaks)


def expected_ranks(scores: list[tuple[int, float]], counting: str) -> dict[int, Rank]:
    """Return the rank of each member, lower scores being better, by sorting."""
    best: dict[int, float] = {}
    for member, score in scores:
        best[member] = min(score, best.get(member, score))
    ranked = sorted(best.values() if counting == "best" else (score for _, score in scores))
    return {
        member: Rank(bisect_left(ranked, score) + 1, len(ranked), score)
        for member, score in best.items()
    }


def check_ranks(hall: Any, token: str, scores: list[tuple[int, float]], counting: str) -> int:
    """Ask for the ranks of some members, and return how many were right.

    Raises:
        HallError: One was not.
    """
    expected = expected_ranks(scores, counting)
    asked = sorted(expected)[:: max(1, len(expected) // ASKED_MAX)]
    for member in asked:
        request = {"board_id": "history", "member": f"player {member}"}
        body = hall.call("leaderboards.get_rank", request, token=token)
        found = msgspec.json.decode(body, type=Rank)
        if found != expected[member]:
            raise HallError(f"player {member}: {found}, and by sorting {expected[member]}")
    return len(asked)


def measure(chosen: argparse.Namespace, folder: Path) -> list[list[str]]:
    """Import twice, check, and return the lines of the table."""
    file = folder / "history.csv"
    scores = write_history(file, chosen.rows, chosen.members)
    program, data = chosen.program, folder / "hall"
    environment = {**os.environ, "MOOTHALL_CONFIG_DIR": str(folder / "wallet")}
    with serve(program, data, tls=True) as (hall, _):
        boss = Member("boss", secrets.token_urlsafe(24))
        url = f"https://127.0.0.1:{hall.port}"
        pem = (data / "tls" / "certificate.pem").read_text()
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
        for joining, told in (
            (["server", "add", "bench", url, "--fingerprint", f"sha256:{digest}"], ""),
            (["register", boss.name, "--password-stdin"], f"{boss.password}\n"),
        ):
            subprocess.run(
                [str(program), *joining],
                input=told,
                env=environment,
                check=True,
                text=True,
                capture_output=True,
            )
        credentials = {"name": boss.name, "password": boss.password}
        adopt(boss, hall.call("identity.open_session", credentials))
        claim_administration(hall, data, boss)
        hall.hang_up()  # The hall would, long before a million rows are in.
        words = [str(program), "entry", "import", str(file), "--board", "history", "--json"]
        words += ["--direction", "ascending", "--counting", chosen.counting]
        lines = []
        for name, field in (("first", "imported"), ("again", "known")):
            report, cost = run_import(words, environment, hall.pid)
            if report[field] != chosen.rows or report["refused"]:
                raise HallError(f"{name}: {report[field]} of {chosen.rows} rows {field}")
            lines.append(line_of(name, chosen.rows, cost))
        adopt(boss, hall.call("identity.open_session", credentials))
        checked = check_ranks(hall, boss.access_token, scores, chosen.counting)
    size = sum(each.stat().st_size for each in data.glob("hall.sqlite*"))
    print(f"{checked} ranks are what sorting says; {size / chosen.rows:.0f} bytes a row on disk\n")
    return lines


def line_of(name: str, rows: int, cost: Cost) -> list[str]:
    """Return the cells of one line."""
    return [
        *(name, f"{rows:,}", f"{rows / cost.wall_s:,.0f}", f"{cost.wall_s:.1f}"),
        *(f"{seconds / rows * 1e6:.1f}" for seconds in (cost.hall_cpu_s, cost.client_cpu_s)),
        *(f"{peak / MB:.0f}" for peak in (cost.hall_bytes, cost.client_bytes)),
    ]


def main() -> int:
    """Measure and print; 1 if a row was lost or a rank is wrong."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m bench.imports",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rows", type=int, default=1_000_000, help="entries (1000000)")
    add("--members", type=int, default=10_000, help="submitters (10000)")
    add("--counting", choices=("every", "best"), default="every", help="of the board (every)")
    add("--data", type=Path, help="a folder on the disk to measure (the temporary folder)")
    program = Path(sys.executable).with_name("moothall")
    add("--program", type=Path, default=program, help="the hall to start (the one beside this)")
    chosen = parser.parse_args()
    machine = this_machine()
    try:
        with tempfile.TemporaryDirectory(prefix="moothall-bench-", dir=chosen.data) as folder:
            lines = measure(chosen, Path(folder))
    except (HallError, subprocess.CalledProcessError) as error:
        print(error, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return 1
    print(
        f"{machine.date}, {machine.kernel}, Python {machine.python}, {machine.cores} cores, "
        f"load {machine.load_average:.1f}; {chosen.members:,} members, {chosen.counting}\n"
    )
    print(*table(TITLE, lines), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
