"""The opening of a WebSocket: RFC 6455, section 4.2, as far as HTTP has not said it. Pure.

No subprotocol is chosen and no extension agreed: compressed together, what an attacker can
place in a message tells him about the secrets beside it.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable

from moothall.core.errors import InvalidArgumentError
from moothall.transports.upgrade import UpgradeNeededError

VERSION = b"13"
KEY_SIZE_BYTES = 16

_KEY_HEADER, _VERSION_HEADER = b"sec-websocket-key", b"sec-websocket-version"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def read_handshake(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the key of a handshake.

    Args:
        headers: Of a GET request that upgrades to ``websocket``; names in lower case.

    Raises:
        UpgradeNeededError: unimplemented. Another version of the protocol.
        InvalidArgumentError: The key is not there once, or is not 16 bytes in base64.
    """
    versions, keys = list[bytes](), list[bytes]()
    for name, value in headers:
        if name == _VERSION_HEADER:
            versions.append(value)
        elif name == _KEY_HEADER:
            keys.append(value)
    if versions != [VERSION]:
        raise UpgradeNeededError("this door speaks version 13 of WebSocket (RFC 6455)")
    if len(keys) != 1 or not _is_key(keys[0]):
        reason = f"the key of a handshake is {KEY_SIZE_BYTES} bytes in base64, sent once"
        raise InvalidArgumentError("Sec-WebSocket-Key", reason, "let a WebSocket library open it")
    return keys[0]


def render_acceptance(key: bytes) -> bytes:
    """Return the answer that opens the WebSocket (section 4.2.2)."""
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        b"sec-websocket-accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == KEY_SIZE_BYTES
    except binascii.Error:
        return False
