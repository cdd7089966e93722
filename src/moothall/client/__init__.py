"""The client: SDK, wallet of servers, command line. Imports `core` only.

A program says::

    async with Hall("https://hall.example:8443", fingerprint="sha256:...") as hall:
        await hall.sign_in("ann", password)
        standing = await hall.leaderboards.submit_score(board_id="kart", score=128.99)

The names below are loaded when first asked for: the command line needs few of them, and
`moothall --help` should not wait for an HTTP library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moothall.client.device import describe_device
    from moothall.client.errors import (
        AddressError,
        BusyError,
        CallError,
        CallTimeoutError,
        CertificateChangedError,
        CertificateUntrustedError,
        ClientError,
        FeedEndedError,
        HallUnreachableError,
        SessionEndedError,
        WalletDamagedError,
        WalletError,
    )
    from moothall.client.feed import Event, Feed
    from moothall.client.hall import Hall
    from moothall.client.retry import Effect, Limits
    from moothall.client.store import MemoryStore, Session, Store
    from moothall.client.sync import Pending, SyncFeed, SyncHall
    from moothall.client.wallet import Wallet
    from moothall.client.world import World

__all__ = [
    "AddressError",
    "BusyError",
    "CallError",
    "CallTimeoutError",
    "CertificateChangedError",
    "CertificateUntrustedError",
    "ClientError",
    "Effect",
    "Event",
    "Feed",
    "FeedEndedError",
    "Hall",
    "HallUnreachableError",
    "Limits",
    "MemoryStore",
    "Pending",
    "Session",
    "SessionEndedError",
    "Store",
    "SyncFeed",
    "SyncHall",
    "Wallet",
    "WalletDamagedError",
    "WalletError",
    "World",
    "describe_device",
]

_HOMES = {
    "Effect": "retry",
    "Event": "feed",
    "Feed": "feed",
    "Hall": "hall",
    "Limits": "retry",
    "MemoryStore": "store",
    "Pending": "sync",
    "Session": "store",
    "Store": "store",
    "SyncFeed": "sync",
    "SyncHall": "sync",
    "Wallet": "wallet",
    "World": "world",
    "describe_device": "device",
}
"""In which module a name lives; all others are errors."""


def __getattr__(name: str) -> Any:
    """Load the module behind a name that is asked for the first time."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    module = import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
    return getattr(module, name)
