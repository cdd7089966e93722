"""Power cuts over a whole hall: members at work, the power cut at any moment, and what is left.

A story is a hall on a simulated disk, in which members submit, verify, remove, comment, upload,
sign in and out while an administrator grants and revokes and the jobs keep house. At moments
that the seed chooses the disk tells what a power cut would leave; each such image is opened as a
hall and compared with what had been promised by then. The story itself goes on, so one story
gives many cuts.

    python -m tests.simulation.power_cuts --cuts 500 --seed 1
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import perf_counter

import structlog

from moothall.storage.sqlite import SqliteBounds
from moothall.testing import ManualClock, OpenConnection, OpenHall, SimulatedDisk, open_test_hall
from tests.simulation.image import BOARDS, Deed, Promise, check_image
from tests.simulation.members import Members

CUTS_A_STORY = 50
CUTS_OF_A_START = 10
MEMBERS = 6
STEPS = 40
"""Calls that each member makes in a story."""

CHANCES = {"before sync": 0.05, "after sync": 0.05, "within a write": 0.003, "in a batch": 0.2}
"""How likely a cut is at each moment of its kind."""


@dataclass
class Cutter:
    """Cuts the power of a disk at moments that chance chooses, and keeps what was promised."""

    disk: SimulatedDisk
    folder: Path
    random: Random
    cuts_max: int
    chances: dict[str, float]
    deeds: list[Deed] = field(default_factory=list)
    answered: list[Deed] = field(default_factory=list)
    followers: list[OpenConnection] = field(default_factory=list)
    cuts: list[Promise] = field(default_factory=list)
    now_ms: int = 0

    def begin(self) -> None:
        """Cut from now on."""
        self.disk.before_sync = lambda name: self.maybe_cut("before sync", name)
        self.disk.after_sync = lambda name: self.maybe_cut("after sync", name)
        self.disk.after_write = lambda name: self.maybe_cut("within a write", name)

    def end(self) -> None:
        """Cut no more."""
        self.disk.before_sync = self.disk.after_sync = lambda _name: None
        self.disk.after_write = lambda _name: None

    def maybe_cut(self, moment: str, name: str = "") -> None:
        """Cut now, or not."""
        if len(self.cuts) < self.cuts_max and self.random.random() < self.chances[moment]:
            into = self.folder / f"cut-{len(self.cuts)}"
            # Commits and checkpoints run on other threads too: what was promised is counted
            # before the cut, and what was begun after it.
            answered = tuple(self.answered)
            pushed = tuple(e.cursor for f in self.followers for e in f.received)
            self.disk.cut_power(into / "hall", self.random)
            begun = tuple(self.deeds)
            at = f"{moment} {Path(name).suffix}".strip()
            self.cuts.append(Promise(into, at, answered, begun, pushed, self.now_ms))


async def play_start(folder: Path, seed: int, cuts_max: int) -> list[Promise]:
    """Open a hall for the first time, with cuts while its tables are made."""
    disk, clock = SimulatedDisk(), ManualClock()
    chances = {"before sync": 0.3, "after sync": 0.3, "within a write": 0.05}
    cutter = Cutter(disk, folder, Random(seed), cuts_max, chances, now_ms=clock.now_ms())
    cutter.begin()
    async with open_test_hall(folder / "story", disk=disk, clock=clock):
        cutter.end()
    return cutter.cuts


async def play_story(folder: Path, seed: int, cuts_max: int) -> list[Promise]:
    """Play a story with cuts, and return them; those of one story are about one hall."""
    random, disk, clock = Random(seed), SimulatedDisk(), ManualClock()
    bounds = SqliteBounds(
        batch_calls_max=random.choice((1, 4, 256)),
        # The COMMIT on the loop's thread, or on its own.
        commit_seconds_inline_max=random.choice((0.0, 60.0)),
        log_pages_wish=random.choice((20, 200)),
        log_pages_max=random.choice((100, 400)),
    )
    cutter = Cutter(disk, folder, random, cuts_max, CHANCES)
    async with open_test_hall(folder / "story", disk=disk, clock=clock, bounds=bounds) as hall:
        members = Members(hall, random, cutter.deeds, cutter.answered)
        await members.settle_in(MEMBERS)
        for board in BOARDS:
            follower = await hall.connect(members.boss)
            await follower.call("feeds.subscribe", feed=f"board/{board}")
            cutter.followers.append(follower)
        cutter.now_ms = clock.now_ms()
        cutter.begin()
        await asyncio.gather(
            *(members.act(number, STEPS) for number in range(MEMBERS)),
            members.govern(STEPS // 2),
            _keep_house(hall, random, STEPS // 2),
            _cut_in_batches(hall, cutter, STEPS),
        )
        cutter.end()
    return cutter.cuts


async def _keep_house(hall: OpenHall, random: Random, times: int) -> None:
    """Run the jobs of a hall among its calls."""
    jobs = ("access.seal_audit", "access.publish_head", "files.collect_files")
    rest = ("identity.sweep_sessions", "feeds.sweep_events", "action.sweep_replies")
    for _ in range(times):
        await hall.run_job(random.choice((*jobs, *rest)))
        for _ in range(random.randrange(20)):
            await asyncio.sleep(0)


async def _cut_in_batches(hall: OpenHall, cutter: Cutter, times: int) -> None:
    """Cut while the calls of a batch run, in the turn of one that writes nothing."""

    async def cut(_tx: object) -> None:
        cutter.maybe_cut("in a batch")

    for _ in range(times):
        await hall.hall.database.write(cut)
        for _ in range(cutter.random.randrange(6)):
            await asyncio.sleep(0)


@dataclass
class Report:
    """What came of all cuts."""

    moments: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    repeated: int = 0


async def cut_many(folder: Path, cuts: int, seed: int) -> Report:
    """Play stories until there were so many cuts, and check each."""
    report, number = Report(), 0
    while (left := cuts - report.moments.total()) > 0:
        story_seed = seed * 1_000_003 + number
        is_start = number % 5 == 0
        play = play_start if is_start else play_story
        own = folder / f"story-{number}"
        own.mkdir()
        most = min(left, CUTS_OF_A_START if is_start else CUTS_A_STORY)
        for promise in await play(own, story_seed, most):
            try:
                report.repeated += await check_image(promise)
            except BaseException as error:
                error.add_note(f"seed {seed}, story {number}, {promise.moment}: {promise.folder}")
                raise
            report.moments[promise.moment] += 1
            report.answered += len(promise.answered)
        shutil.rmtree(own)
        number += 1
    return report


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Cut the power of whole halls, and look.")
    parser.add_argument("--cuts", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    began = perf_counter()
    folder = Path(tempfile.mkdtemp(prefix="moothall-cuts-"))
    report = asyncio.run(cut_many(folder, given.cuts, given.seed))
    shutil.rmtree(folder)
    for moment, count in sorted(report.moments.items()):
        print(f"{count:6} {moment}")  # noqa: T201 - its report
    print(  # noqa: T201 - its report
        f"{report.moments.total()} cuts in {perf_counter() - began:.0f} s, seed {given.seed}: "
        f"{report.answered} answers looked for, {report.repeated} calls repeated; "
        "lost 0, done twice 0"
    )


if __name__ == "__main__":
    main()
