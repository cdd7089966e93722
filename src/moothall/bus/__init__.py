"""Buses: how the nodes of one hall hear of each other's changes at once. Each implements ``Bus``.

A bus carries hints and the database the truth: a hint says that there is something new, and may be
lost. So what a hall does is right without a bus, only later.
"""

from moothall.bus.access import BusAccess
from moothall.bus.memory import MemoryBus, MemoryNetwork
from moothall.core.errors import ConfigurationError
from moothall.ports.bus import Bus

__all__ = ["BusAccess", "MemoryBus", "MemoryNetwork", "open_bus"]


async def open_bus(url: str | None, hall_id: str, access: BusAccess | None = None) -> Bus:
    """Return the bus that an address stands for; it connects by itself, now or later.

    Args:
        url: ``nats://host[:port]`` or ``tls://host[:port]``; None or empty: a hall of one node.
        hall_id: 1 to 64 characters of ``A-Z a-z 0-9 _ -``; the same on all nodes of a hall.
        access: How to sign in to the server; None: not at all.

    Raises:
        ConfigurationError: One of these cannot be used, or a file cannot be read.
    """
    if not url:
        if access is not None and access != BusAccess():
            msg = "bus: bus_user, bus_*_file and bus_authority belong to an address; give bus too"
            raise ConfigurationError(msg)
        return MemoryBus(hall_id)
    # Its library takes a tenth of a second to load, which a hall of one node does not need.
    from moothall.bus.nats import NatsBus  # noqa: PLC0415 - as said above

    return await NatsBus.open(url, hall_id, access)
