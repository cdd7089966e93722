"""Guesses that are under way: reserved and not answered yet, and whoever waits for an answer.

A reserved guess counts as wrong until it is answered, so several right sign-ins of one account
in the same moment use up all its guesses at once. Whoever comes next finds a lock that one of
the answers may lift, and waits for it here. The rows alone decide who is let in: this is only
about when to ask them again.

It knows nothing of guesses at other nodes of the hall. So who meets a lock that another node has
just set asks again for a moment, which is longer than a password is looked at.
"""

import asyncio
from collections import Counter, deque
from contextlib import suppress

from moothall.core.units import SECOND_MS
from moothall.services.identity.model import LockoutSettings

ELSEWHERE_SECONDS = 0.5
"""For how long after it was first met here a lock that another node has set may soon be lifted."""

ASK_AGAIN_SECONDS = 0.1

LOCKS_MET_MAX = 10_000


class _Name:
    """Guesses under way of one account, or of one name that nobody has."""

    __slots__ = ("under_way", "waiting")

    def __init__(self) -> None:
        self.under_way = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class GuessesUnderWay:
    """Counts the guesses under way in this process, and wakes who waits for their answers."""

    def __init__(self, settings: LockoutSettings, *, is_shared: bool = False) -> None:
        """Begin with none; with ``is_shared`` there may be other nodes."""
        self._settings = settings
        self._is_shared = is_shared
        self._names: dict[str, _Name] = {}
        self._waiting = 0
        self._elsewhere: Counter[str] = Counter()
        """How many wait for what comes of guesses at other nodes, by account or name."""
        self._met: dict[str, float] = {}
        """Until when locks that were met, by their series, may be lifted from elsewhere."""
        self._answered: dict[str, float] = {}
        """When the last of several guesses was answered, by account or name."""

    def __len__(self) -> int:
        """Return of how many names guesses are under way."""
        return len(self._names)

    @property
    def waiting(self) -> int:
        """How many sign-ins wait for an answer."""
        return self._waiting

    def begin(self, key: str) -> None:
        """Count a guess that is reserved."""
        self._names.setdefault(key, _Name()).under_way += 1

    def end(self, key: str) -> None:
        """Count a guess as answered, however that went.

        The first who waits asks again. After the last answer all do, so that nobody waits for
        nothing: whoever was woken and gave up at the same time has woken nobody else.
        """
        name = self._names[key]
        name.under_way -= 1
        if name.under_way == 0:
            del self._names[key]
            if self._is_shared:
                _keep(self._answered, key, asyncio.get_running_loop().time())
        while name.waiting:
            future = name.waiting.popleft()
            if not future.done():
                future.set_result(None)
                if name.under_way:
                    break

    def note_own(self, series: str) -> None:
        """Note a lock that a guess at this node has set: its answer comes here."""
        self._meet(series, 0.0)

    async def wait(self, key: str, series: str, asked_s: float, until_s: float) -> bool:
        """Wait for an answer; False if none is to come, too many wait, or it takes too long.

        Args:
            key: Of the account or name.
            series: Of the guesses that set the lock.
            asked_s: When the lock was asked for, by the clock of the running loop. What came
                while the server answered may have lifted it.
            until_s: By the same clock.
        """
        name, settings = self._names.get(key), self._settings
        if self._waiting >= settings.waiting_max:
            return False
        if name is None and self._answered.get(key, 0.0) >= asked_s:
            return True
        if name is None:
            return self._is_shared and await self._wait_elsewhere(key, series, until_s)
        if len(name.waiting) >= settings.waiting_per_account_max:
            return False
        future = asyncio.get_running_loop().create_future()
        name.waiting.append(future)
        self._waiting += 1
        try:
            async with asyncio.timeout_at(until_s):
                await future
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
            with suppress(ValueError):  # Whoever was woken is not in the row any more.
                name.waiting.remove(future)
        return True

    async def _wait_elsewhere(self, key: str, series: str, until_s: float) -> bool:
        """Wait for a moment, if another node has just set the lock."""
        if self._elsewhere[key] >= self._settings.waiting_per_account_max:
            return False
        now_s = asyncio.get_running_loop().time()
        ends_s = min(self._meet(series, now_s + ELSEWHERE_SECONDS), until_s)
        if now_s >= ends_s:
            return False
        self._waiting += 1
        self._elsewhere[key] += 1
        try:
            await asyncio.sleep(min(ASK_AGAIN_SECONDS, ends_s - now_s))
        finally:
            self._waiting -= 1
            self._elsewhere[key] -= 1
            if not self._elsewhere[key]:
                del self._elsewhere[key]
        return True

    def _meet(self, series: str, until_s: float) -> float:
        """Return until when a lock may be lifted from elsewhere; ``until_s`` if it is new here."""
        return _keep(self._met, series, self._met.get(series, until_s))


def _keep(times: dict[str, float], key: str, time_s: float) -> float:
    """Remember a time, and forget the older half when there are too many; return it."""
    if len(times) >= LOCKS_MET_MAX and key not in times:
        for old in list(times)[: LOCKS_MET_MAX // 2]:
            del times[old]
    times[key] = time_s
    return time_s


class Turn:
    """One call's guess, from its reservation to its answer.

    It may be cut off while the reservation is being made durable; so it begins with the commit
    (:meth:`begin` is a hook), and a turn that is over does not begin any more.
    """

    def __init__(self, guesses: GuessesUnderWay, wait_ms_max: int) -> None:
        """Wait for others until ``wait_ms_max`` from now, if that must be."""
        self._guesses = guesses
        self._asked_s = asyncio.get_running_loop().time()
        self._until_s = self._asked_s + wait_ms_max / SECOND_MS
        self._key: str | None = None
        self._is_over = False

    def begin(self, key: str) -> None:
        """Count the guess, now that it is reserved."""
        if not self._is_over:
            self._key = key
            self._guesses.begin(key)

    def note_lock(self, series: str) -> None:
        """Note that the guess has locked its account, now that this is durable."""
        self._guesses.note_own(series)

    async def wait(self, key: str, series: str) -> bool:
        """Wait for the answer to another guess; False if it is no use to ask again."""
        is_of_use = await self._guesses.wait(key, series, self._asked_s, self._until_s)
        self._asked_s = asyncio.get_running_loop().time()
        return is_of_use

    def end(self) -> None:
        """Count the guess as answered, if it was ever reserved."""
        self._is_over = True
        if self._key is not None:
            self._guesses.end(self._key)
