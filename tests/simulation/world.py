"""The world of a run: what a run asks of it, and the one of SQLite.

On SQLite it is one clock, one disk, and the lives that a hall has on it. A life ends in good order
or by a power cut. The cut is armed and strikes in the middle of what the hall does: before a sync,
after it (so between the commit and whatever tells of it), in a checkpoint, or in some turn of the
loop. At that moment the disk's image is taken, and nothing that the old life says afterwards
reaches anybody. The next life opens the image.

The world of several nodes on PostgreSQL is in ``nodes.py``.
"""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Protocol

from moothall.action.call import Call, Reply
from moothall.action.connections import Connections
from moothall.ports.database import Transaction
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
        """Whether it was killed or lost its power: what it says from then on, nobody hears."""
        self.hall: OpenHall
        self.stack = AsyncExitStack()

    def narrow(self) -> None:
        """Let so little wait for a reader that readers are ended as slow."""
        connections = self.hall.hall.house.use(Connections)
        connections.bounds = replace(connections.bounds, queued_bytes_max=QUEUED_BYTES_MAX)


class World(Protocol):
    """What a run asks of the world, whatever the engine.

    Attributes:
        engine: Of the database.
        pause_seconds: How long who waits for an answer lets the others go on; 0.0 is one turn of
            the loop.
        faults: What happened, and how often.
        told_of_death: The error that a process logs which is dead already.
    """

    engine: str
    pause_seconds: float
    told_of_death: str
    faults: dict[str, int]

    @property
    def hall(self) -> OpenHall:
        """One of the hall's processes, whichever."""
        ...

    @property
    def halls(self) -> list[OpenHall]:
        """All of the hall's processes."""
        ...

    async def open(self) -> None:
        """Begin on nothing."""
        ...

    async def close(self) -> None:
        """End everything."""
        ...

    def choose(self) -> Life:
        """Return the process that somebody comes to."""
        ...

    async def answer(self, call: Call) -> Reply | None:
        """Answer a call; None if the process died before the caller heard."""
        ...

    async def run_job(self, name: str) -> bool:
        """Run a job; False if it was cut short by a fault."""
        ...

    async def restart(self, life: Life, chance: Random) -> None:
        """End a process in good order and begin it again; sometimes a fault comes between."""
        ...

    async def threaten(self, chance: Random) -> str:
        """Let a fault happen in what comes next; return which."""
        ...

    async def pass_turn(self, *, may_strike: bool) -> None:
        """Let a moment go by; a fault that is to come in such a moment may come now."""
        ...

    async def strike(self) -> None:
        """Let the fault happen now, if it has not yet."""
        ...

    async def calm(self) -> None:
        """Let no fault happen any more."""
        ...

    @property
    def has_died(self) -> bool:
        """Whether a process is dead, and :meth:`rise` must come next."""
        ...

    async def rise(self) -> None:
        """Begin anew what died."""
        ...

    async def quiet(self) -> None:
        """Return when all that was begun has ended, also what nobody waits for."""
        ...

    async def catch_up(self) -> None:
        """Return when every process knows all that was done."""
        ...


class DiskLife(Life):
    """One process of the hall, with the disk it begins on."""

    def __init__(self, number: int) -> None:
        """Begin; the world opens its hall."""
        super().__init__(number)
        self.disk = SimulatedDisk()


class DiskWorld:
    """What stays when a hall dies: the clock, the disk, and chance. Implements World."""

    engine = "sqlite"
    pause_seconds = 0.0
    told_of_death = ""

    def __init__(self, folder: Path, seed: int, clock: ManualClock) -> None:
        """Keep the disk in ``folder``."""
        self._folder = folder
        self._seed = seed
        self._chance = Random(f"world {seed}")
        self.clock = clock
        self.lives = 0
        self.faults: dict[str, int] = {}
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
        self.life: DiskLife
        self._cut: Cut | None = None
        """The one that is armed."""

    @property
    def hall(self) -> OpenHall:
        """Implement World."""
        return self.life.hall

    @property
    def halls(self) -> list[OpenHall]:
        """Implement World: there is one."""
        return [self.life.hall]

    def choose(self) -> Life:
        """Implement World: there is one."""
        return self.life

    async def open(self) -> None:
        """Begin the next life on what the disk holds."""
        self.lives += 1
        life = DiskLife(self.lives)
        context = open_test_hall(
            self._place(life.number),
            clock=self.clock,
            seed=self._seed * 1_000 + life.number,
            disk=life.disk,
            bounds=self.bounds,
        )
        life.hall = await life.stack.enter_async_context(context)
        life.narrow()
        self.life = life

    async def close(self) -> None:
        """End this life in good order."""
        await self.life.stack.aclose()
        self.life.disk.unregister()

    async def rise(self) -> None:
        """Begin the next life, on what the power cut left or on what the last one closed."""
        await self.close()
        place = self._place(self.life.number)
        if self.life.is_dead:
            shutil.rmtree(place)
        else:
            place.rename(self._place(self.lives + 1))
        await self.open()

    async def restart(self, life: Life, chance: Random) -> None:
        """Stop in good order and start again; sometimes the power fails meanwhile."""
        if chance.random() < 0.3:
            self._arm(Cut.IN_CHECKPOINT, 1)
        await self.rise()

    # --- power cuts ---------------------------------------------------------------------------

    async def threaten(self, chance: Random) -> str:
        """Let the power be cut in what comes next."""
        cut = chance.choice(list(Cut))
        self._arm(cut, chance.randint(1, 3))
        return f"the power will be cut {cut}"

    async def pass_turn(self, *, may_strike: bool) -> None:
        """Let a turn of the loop go by."""
        await asyncio.sleep(0)
        if may_strike and self._cut is Cut.AT_TURN:
            self._strike()

    async def strike(self) -> None:
        """Cut the power now."""
        self._strike()

    async def calm(self) -> None:
        """Let the power be."""
        self._disarm()

    @property
    def has_died(self) -> bool:
        """Whether the power was cut."""
        return self.life.is_dead

    def _arm(self, cut: Cut, count: int) -> None:
        """Let the power be cut at the ``count``-th such moment from now on."""
        disk, left = self.life.disk, count
        self._cut = cut

        def strike(ending: str) -> Callable[[str], None]:
            def look(name: str) -> None:
                nonlocal left
                if name.endswith(ending):
                    left -= 1
                    if left == 0:
                        self._strike()

            return look

        if cut is Cut.BEFORE_SYNC:
            disk.before_sync = strike("-wal")
        elif cut is Cut.AFTER_SYNC:
            disk.after_sync = strike("-wal")
        elif cut is Cut.IN_CHECKPOINT:
            disk.before_sync = strike(".sqlite")

    def _disarm(self) -> None:
        self._cut = None
        self.life.disk.before_sync = self.life.disk.after_sync = lambda _name: None

    def _strike(self) -> None:
        if not self.life.is_dead and self._cut is not None:
            what = f"power cuts {self._cut}"
            self._disarm()
            self.faults[what] = self.faults.get(what, 0) + 1
            self.life.is_dead = True
            self.life.disk.cut_power(self._place(self.lives + 1) / "hall", self._chance)

    # --- calls --------------------------------------------------------------------------------

    async def answer(self, call: Call) -> Reply | None:
        """Answer a call; None if the power was cut before the caller heard."""
        life = self.life
        reply = await life.hall.hall.pipeline.answer(call)
        return None if life.is_dead else reply

    async def run_job(self, name: str) -> bool:
        """Run a job; False if the power was cut meanwhile."""
        await self.life.hall.run_job(name)
        return not self.life.is_dead

    async def quiet(self) -> None:
        """Let what waits for the writer go first."""
        await self.life.hall.hall.database.write(_nothing)

    async def catch_up(self) -> None:
        """Implement World: there is only one process, which knows what it has done."""

    def _place(self, number: int) -> Path:
        return self._folder / f"life-{number}"


async def _nothing(_tx: Transaction) -> None:
    """Do nothing, after all that waits for the writer."""
