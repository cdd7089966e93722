"""What the HTTPS door and a protocol that goes on behind it know of each other.

A request may ask to go on in another protocol on the same connection (RFC 9110, section 7.8).
The HTTPS door reads it, judges who asks, and hands over what stands here; so neither door
imports the other.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from moothall.core.codes import Code
from moothall.core.errors import ActionError, Problem


class UpgradeNeededError(ActionError):
    """This path is for WebSocket, version 13; see the headers of the answer."""

    code = Code.UNIMPLEMENTED


class Upgrade(NamedTuple):
    """A well-formed request to go on, from somebody who may be here."""

    headers: Sequence[tuple[bytes, bytes]]
    """As they came, names in lower case."""
    source: str
    """Address of the client, without port."""
    token: str | None
    """Access token of the request, not looked at yet."""
    render_refusal: Callable[[Problem], bytes]
    """Returns the whole HTTP answer that refuses; the connection ends after it."""
    on_lost: Callable[["UpgradedConnection"], None]
    """To be called with the connection once, when it is gone."""


class UpgradedConnection(Protocol):
    """A connection that goes on in another protocol: an ``asyncio.Protocol``, and its end.

    The HTTPS door sets it on the transport, calls ``connection_made``, and then gives it what
    came behind the request. When the door stops, it calls ``shutdown``, and ends the transport
    of whatever is still open after its time.
    """

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport, /) -> None:
        """Take the connection over and answer the request."""
        ...

    def data_received(self, data: bytes, /) -> None:
        """Take what the client sends."""
        ...

    def connection_lost(self, exc: Exception | None, /) -> None:
        """Let go of everything."""
        ...

    def pause_writing(self) -> None:
        """Learn that the client does not read fast enough."""
        ...

    def resume_writing(self) -> None:
        """Learn that the client has read."""
        ...

    def eof_received(self) -> bool | None:
        """Learn that the client sends no more."""
        ...

    def shutdown(self) -> None:
        """Tell the client that the hall stops, and close."""
        ...


OpenUpgraded = Callable[[Upgrade], UpgradedConnection]
"""Makes the connection that goes on; raises an ActionError to refuse."""
