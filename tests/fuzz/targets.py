"""All that is fuzzed, by name, and one block of it in a process of its own."""

import asyncio
from typing import Any

import psutil
import uvloop

from tests.fuzz import doors, parsers, tokens
from tests.fuzz.report import Report

TARGETS: dict[str, Any] = {each.TARGET: each for each in (doors, tokens, parsers)}
MEBIBYTE = 2**20


def run_block(target: str, seed: int, block: int) -> tuple[str, Report, float]:
    """Run one block in this process; return it with the memory that the process has, in MiB."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(TARGETS[target].run_block(seed, block))
    return target, report, psutil.Process().memory_info().rss / MEBIBYTE
