"""Tally: how calls ended, how long they took, and which limits refused some.

Whoever edits this file: :meth:`CallTally.count` is paid by every call.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from moothall.action.declare import Action, Effect
from moothall.core.errors import Problem
from moothall.core.histogram import SECONDS, Histogram

OK = "ok"
"""Stands for the code of a call that succeeded."""

UNKNOWN = "unknown"
"""Stands for every name that is no action: a caller must not be able to make up metrics."""

LIMITS = ("source", "action", "member")
"""What refuses who calls too often: the limit of a client's address over all calls, the one that
an action has for an address, and the one that it has for a member."""


class _OfAction:
    """The counts of one action."""

    __slots__ = ("codes", "seconds")

    def __init__(self, seconds: Histogram) -> None:
        self.codes: dict[str, int] = {}
        self.seconds = seconds


class CallTally:
    """Counts of the calls that were answered since the start.

    Attributes:
        seconds: How long calls took, from their decoding to their reply, by effect; the wait
            for the body and for the turn of a source at the door is not in it.
        refusals: How often each of :data:`LIMITS` refused a call.
    """

    def __init__(self, actions: Iterable[Action[Any, Any]]) -> None:
        """Count calls of ``actions``, and all others together."""
        self.seconds = {effect: Histogram(SECONDS) for effect in Effect}
        self.refusals = dict.fromkeys(LIMITS, 0)
        self._of_action = {one.name: _OfAction(self.seconds[one.effect]) for one in actions}
        self._unknown = _OfAction(Histogram(SECONDS))

    def count(self, name: str, problem: Problem | None, seconds: float) -> None:
        """Count one call of the action ``name``."""
        found = self._of_action.get(name, self._unknown)
        code = OK if problem is None else problem.code
        found.codes[code] = found.codes.get(code, 0) + 1
        found.seconds.observe(seconds)

    def outcomes(self) -> Iterator[tuple[str, str, int]]:
        """Yield action, code and number of what was called at least once."""
        for name, found in (*self._of_action.items(), (UNKNOWN, self._unknown)):
            for code, number in found.codes.items():
                yield name, code, number
