"""Which requests may go on in another protocol: WebSocket, at one path. Pure, no I/O.

Anything else that asks for it is refused when its head is complete, because its sender would
send bytes behind it that two readers can understand differently.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from moothall.core.errors import ActionError, InvalidArgumentError
from moothall.transports.upgrade import OpenUpgraded

SOCKET_PATH = b"/v1/socket"


class Upgrades(NamedTuple):
    """How the door upgrades."""

    read: Callable[[Mapping[str, Any]], tuple[str | None, str]]
    """Returns token and source of a request, or raises the ActionError that refuses it."""
    open: OpenUpgraded


def is_for_socket(method: bytes, url: bytes) -> bool:
    """Tell whether a request goes where WebSockets are opened."""
    return url.startswith(SOCKET_PATH) and method == b"GET" and _path_of(url) == SOCKET_PATH


def find_upgrade_fault(
    method: bytes, url: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]
) -> ActionError | None:
    """Return why a request may not go on in another protocol.

    Args:
        method: As it came.
        url: The request target, query included.
        version: Of HTTP.
        headers: Names in lower case.
    """
    headers = list(headers)
    wanted = [value.lower() for name, value in headers if name == b"upgrade"]
    if wanted != [b"websocket"] or version != "1.1" or not is_for_socket(method, url):
        return InvalidArgumentError("Upgrade", "there is no other protocol here")
    for name, value in headers:
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return InvalidArgumentError("body", "a request to upgrade has no body")
    return None


def _path_of(url: bytes) -> bytes:
    return url.partition(b"?")[0]
