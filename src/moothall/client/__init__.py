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
    from moothall.client.description import Description
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
        FileDamagedError,
        FileTakenError,
        HallUnreachableError,
        ServerUntrustedError,
        SessionElsewhereError,
        SessionEndedError,
        WalletDamagedError,
        WalletError,
    )
    from moothall.client.feed import Event, Feed
    from moothall.client.hall import Hall
    from moothall.client.retry import Effect, Limits
    from moothall.client.store import IssuedToken, MemoryStore, Session, Store, TokenShelf
    from moothall.client.sync import Pending, SyncFeed, SyncHall
    from moothall.client.tokens import IssuedTokens, TokenSource
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
    "Description",
    "Effect",
    "Event",
    "Feed",
    "FeedEndedError",
    "FileDamagedError",
    "FileTakenError",
    "Hall",
    "HallUnreachableError",
    "IssuedToken",
    "IssuedTokens",
    "Limits",
    "MemoryStore",
    "Pending",
    "ServerUntrustedError",
    "Session",
    "SessionElsewhereError",
    "SessionEndedError",
    "Store",
    "SyncFeed",
    "SyncHall",
    "TokenShelf",
    "TokenSource",
    "Wallet",
    "WalletDamagedError",
    "WalletError",
    "World",
    "describe_device",
]

_HOMES = {
    "Description": "description",
    "Effect": "retry",
    "Event": "feed",
    "Feed": "feed",
    "Hall": "hall",
    "IssuedToken": "store",
    "IssuedTokens": "tokens",
    "Limits": "retry",
    "MemoryStore": "store",
    "Pending": "sync",
    "Session": "store",
    "Store": "store",
    "SyncFeed": "sync",
    "SyncHall": "sync",
    "TokenShelf": "store",
    "TokenSource": "tokens",
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
