"""The world of a run: one clock, one disk, and the lives that a hall has on it.

A life ends in good order or by a power cut. The cut is armed and strikes in the middle of what
the hall does: before a sync, after it (so between the commit and whatever tells of it), in a
checkpoint, or in some turn of the loop. At that moment the disk's image is taken, and nothing
that the old life says afterwards reaches anybody. The next life opens the image.
"""

import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from random import Random

from moothall.action.call import Call, Reply
from moothall.action.connections import Connections
from moothall.storage.sqlite import SqliteBounds
from moothall.testing import ManualClock, OpenHall, SimulatedDisk, open_test_hall

QUEUED_BYTES_MAX = 2_000
"""What may wait for a reader; so little that readers are ended as slow."""

_FOR_EVER = 1e9
"""Seconds that a batch or a read may take of the machine's time, which the run must not feel."""


class Cut(StrEnum):
    """Where the power is cut."""

    BEFORE_SYNC = "before a sync of the log"
    AFTER_SYNC = "after a sync of the log"
    IN_CHECKPOINT = "in a checkpoint"
    AT_TURN = "in a turn of the loop"


class Life:
    """One process of the hall, from its start to its end."""

    def __init__(self, number: int) -> None:
        """Begin; the world opens its hall."""
        self.number = number
        self.is_dead = False
        """Whether the power is gone: what the hall says from then on, nobody hears."""
        self.disk = SimulatedDisk()
        self.hall: OpenHall
        self.stack = AsyncExitStack()


class World:
    """What stays when a hall dies: the clock, the disk, and chance."""

    def __init__(self, folder: Path, seed: int, clock: ManualClock) -> None:
        """Keep the disk in ``folder``."""
        self._folder = folder
        self._seed = seed
        self._chance = Random(f"world {seed}")
        self.clock = clock
        self.lives = 0
        self.cuts: dict[Cut, int] = dict.fromkeys(Cut, 0)
        self.bounds = SqliteBounds(
            batch_seconds_max=_FOR_EVER,
            read_seconds_inline_max=_FOR_EVER,
            read_seconds_max=_FOR_EVER,
            batch_calls_max=self._chance.choice((2, 256)),
            # Either way of committing: at once, or as if on the other thread.
            commit_seconds_inline_max=self._chance.choice((0.0, _FOR_EVER)),
            log_pages_wish=self._chance.choice((40, 400)),
            log_pages_max=self._chance.choice((120, 1_200)),
        )
        self.life: Life

    async def open(self) -> None:
        """Begin the next life on what the disk holds."""
        self.lives += 1
        life = Life(self.lives)
        context = open_test_hall(
            self._place(life.number),
            clock=self.clock,
            seed=self._seed * 1_000 + life.number,
            disk=life.disk,
            bounds=self.bounds,
        )
        life.hall = await life.stack.enter_async_context(context)
        connections = life.hall.hall.house.use(Connections)
        connections.bounds = replace(connections.bounds, queued_bytes_max=QUEUED_BYTES_MAX)
        self.life = life

    async def close(self) -> None:
        """End this life in good order."""
        await self.life.stack.aclose()
        self.life.disk.unregister()

    async def next_life(self) -> None:
        """End this life, in good order or after the power was cut, and begin the next one."""
        await self.close()
        place = self._place(self.life.number)
        if self.life.is_dead:
            shutil.rmtree(place)
        else:
            place.rename(self._place(self.lives + 1))
        await self.open()

    # --- power cuts ---------------------------------------------------------------------------

    def arm(self, cut: Cut, count: int) -> None:
        """Let the power be cut at the ``count``-th such moment from now on."""
        disk, left = self.life.disk, count

        def strike(ending: str) -> Callable[[str], None]:
            def look(name: str) -> None:
                nonlocal left
                if name.endswith(ending):
                    left -= 1
                    if left == 0:
                        self.cut(cut)

            return look

        if cut is Cut.BEFORE_SYNC:
            disk.before_sync = strike("-wal")
        elif cut is Cut.AFTER_SYNC:
            disk.after_sync = strike("-wal")
        elif cut is Cut.IN_CHECKPOINT:
            disk.before_sync = strike(".sqlite")

    def disarm(self) -> None:
        """Let the power be."""
        self.life.disk.before_sync = self.life.disk.after_sync = lambda _name: None

    def cut(self, cut: Cut) -> None:
        """Cut the power now."""
        if not self.life.is_dead:
            self.disarm()
            self.cuts[cut] += 1
            self.life.is_dead = True
            self.life.disk.cut_power(self._place(self.lives + 1) / "hall", self._chance)

    # --- calls --------------------------------------------------------------------------------

    async def answer(self, call: Call) -> Reply | None:
        """Answer a call; None if the power was cut before the caller heard."""
        life = self.life
        reply = await life.hall.hall.pipeline.answer(call)
        return None if life.is_dead else reply

    def _place(self, number: int) -> Path:
        return self._folder / f"life-{number}"
