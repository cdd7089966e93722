"""The test kit: a real hall in a temporary folder, with a clock that you turn yourself.

For Moothall's own tests and for those of your rooms; ``docs/how-to/test-your-own-room.md``
shows how. Whoever edits it: users build on it, so what is exported here changes with a
changelog fragment.
"""

from moothall.testing.clock import ManualClock
from moothall.testing.connection import OpenConnection
from moothall.testing.disk import SimulatedDisk
from moothall.testing.entropy import SeededEntropy
from moothall.testing.hall import OpenHall, ProblemError, RecordedEvent, Visitor, open_test_hall
from moothall.testing.issuer import NearIssuer

__all__ = [
    "ManualClock",
    "NearIssuer",
    "OpenConnection",
    "OpenHall",
    "ProblemError",
    "RecordedEvent",
    "SeededEntropy",
    "SimulatedDisk",
    "Visitor",
    "open_test_hall",
]
