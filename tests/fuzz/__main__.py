"""The long run of the fuzzer: ``make fuzz``, or ``python -m tests.fuzz --help``.

Inputs are made in blocks; a block is known by its target, seed and number, and is the same on
every machine. What is found is cut down and written to a file that ``--replay`` sends again.
"""

import argparse
import asyncio
import hashlib
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count
from pathlib import Path

from tests.fuzz.report import Finding, Report, read_case, write_case
from tests.fuzz.targets import TARGETS, run_block

SHARES = {"doors": 0.2, "tokens": 0.4, "parsers": 0.4}
"""Of the inputs; one for the doors takes as long as twenty others."""
CUT_MAX = 5
"""Findings that are cut down; of one fault there are often many."""
FOLDER = Path("build") / "fuzz"


def blocks(inputs: int, target: str) -> Iterator[tuple[str, int]]:
    """Yield targets and numbers of blocks until there are enough inputs, in turns."""
    shares = {target: 1.0} if target in TARGETS else SHARES
    left = {name: inputs * share for name, share in shares.items()}
    for number in count():
        for name in [name for name, missing in left.items() if missing > 0]:
            left[name] -= TARGETS[name].BLOCK
            yield name, number
        if max(left.values()) <= 0:
            return


def fuzz(inputs: int, seed: int, target: str) -> int:
    """Run blocks on all processors, print what came of them, and return the exit status."""
    total = {name: Report() for name in TARGETS}
    began_at, memory_mib, done = time.monotonic(), [0.0], dict.fromkeys(TARGETS, 0)
    waiting = blocks(inputs, target)
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawning) as pool:
        running: set[Future[tuple[str, Report, float]]] = set()
        while True:
            while len(running) < 2 * (os.cpu_count() or 1) and (block := next(waiting, None)):
                running.add(pool.submit(run_block, block[0], seed, block[1]))
            if not running:
                break
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for name, report, used_mib in (each.result() for each in ended):
                total[name].counts += report.counts
                total[name].findings += report.findings
                memory_mib.append(used_mib)
                done[name] += TARGETS[name].BLOCK
            seconds = time.monotonic() - began_at
            found = sum(len(each.findings) for each in total.values())
            made = ", ".join(f"{name} {number:,}" for name, number in done.items() if number)
            print(f"{seconds:6.0f} s: {made}; {found} found; {memory_mib[-1]:.0f} MiB", flush=True)
    print(f"seed {seed}, {sum(done.values()):,} inputs, {sum(done.values()) / seconds:,.0f}/s")
    print(
        f"memory of a process: {max(memory_mib):.0f} MiB at most, {memory_mib[-1]:.0f} at the end"
    )
    for report in total.values():
        for what, number in sorted(report.counts.items()):
            print(f"{number:10,}  {what}")
    return tell_findings([each for report in total.values() for each in report.findings])


def tell_findings(findings: list[Finding]) -> int:
    """Cut findings down and say how to send them again; return 1 if there are any."""
    faults = {(each.target, each.kind.partition("/")[0], each.what): each for each in findings}
    for number, finding in enumerate(faults.values()):
        if number < CUT_MAX:
            finding = asyncio.run(TARGETS[finding.target].cut(finding))  # noqa: PLW2901
        name = hashlib.sha256(finding.data).hexdigest()[:12]
        path = FOLDER / f"{finding.target}-{name}.txt"
        write_case(path, finding)
        print(f"\nFOUND {finding.target}, {finding.kind}: {finding.what}")
        print(f"  {finding.data[:300]!r}\n  {finding.told[-600:]}")
        print(f"  again: .venv/bin/python -m tests.fuzz --replay {path}")
    return 1 if faults else 0


def main() -> int:
    """Read the arguments and do what they say."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=100_000, help="how many, about")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same: the same run")
    parser.add_argument("--target", choices=[*TARGETS, "all"], default="all")
    parser.add_argument("--replay", type=Path, help="a file that a run has written")
    asked = parser.parse_args()
    if asked.replay is None:
        return fuzz(asked.inputs, asked.seed, asked.target)
    case = read_case(asked.replay)
    wrong = asyncio.run(TARGETS[case.target].replay(case))
    print("\n".join(wrong) or "nothing is wrong with it")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
