"""The header of the PROXY protocol, versions 1 and 2, read from its bytes. Pure, no I/O.

A balancer that passes TCP through says in it, before the first byte of its client, whom the
connection is from (HAProxy's ``proxy-protocol.txt``, sections 2.1 and 2.2). Only the address
of the client counts here; ports are read to see that the header is whole, and the extensions
of version 2 (TLV) are skipped.

The header is followed by bytes of the client, so whoever edits this keeps two promises: the
size of a header depends on nothing that comes behind it, and what can no longer become a header
is refused at once, because a connection is not held open for garbage.
"""

import ipaddress
import re
import struct
from collections.abc import Mapping
from typing import NamedTuple

from moothall.core.addresses import unmapped

HEADER_SIZE_BYTES_MAX = 536
"""Of a header with all extensions: what fits into one TCP segment on any network."""
LINE_SIZE_BYTES_MAX = 107
"""Of version 1, its CRLF included (section 2.1)."""

_LINE_START = b"PROXY "
_UNKNOWN = b"UNKNOWN"
_FAMILIES: Mapping[bytes, type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]] = {
    b"TCP4": ipaddress.IPv4Address,
    b"TCP6": ipaddress.IPv6Address,
}
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_PORT_MAX = 65_535

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_PREFIX = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESS_SIZES = {0x00: 0, _TCP4: 12, 0x12: 12, _TCP6: 36, 0x22: 36, 0x31: 216, 0x32: 216}
"""Bytes of both addresses, by family and transport; of UDP, UNIX and UNSPEC nothing is read."""


class ProxyHeaderError(Exception):
    """These bytes are no header of the PROXY protocol; the message says why, without them."""


class ProxyHeader(NamedTuple):
    """A whole header."""

    size_bytes: int
    """1 to 536; what comes behind is the client's."""
    source: str | None
    """Address of the client in its canonical form; None where the proxy speaks for itself (LOCAL)
    or does not know an IP address (UNKNOWN, UNSPEC, UNIX)."""


def find_header(data: bytes) -> ProxyHeader | None:
    """Return the header that stands at the beginning, or None where more bytes could make one.

    Args:
        data: What has come since the connection began; it may hold more than the header.

    Raises:
        ProxyHeaderError: Whatever follows, this is no header, or one of more than 536 bytes.
    """
    if _LINE_START.startswith(data[: len(_LINE_START)]):
        return _find_line(data)
    if _SIGNATURE.startswith(data[: len(_SIGNATURE)]):
        return _find_binary(data)
    raise ProxyHeaderError("it does not begin with a header of the PROXY protocol")


def _find_line(data: bytes) -> ProxyHeader | None:
    """Read version 1: ``PROXY TCP4 <source> <destination> <port> <port>`` and CRLF."""
    end = data.find(b"\r\n", 0, LINE_SIZE_BYTES_MAX)
    if end < 0:
        if len(data) >= LINE_SIZE_BYTES_MAX:
            raise ProxyHeaderError(f"its line has more than {LINE_SIZE_BYTES_MAX} bytes")
        return None
    family, *fields = data[len(_LINE_START) : end].split(b" ")
    if family == _UNKNOWN:
        # Section 2.1: whatever else stands on the line is not looked at.
        return ProxyHeader(end + 2, None)
    if family not in _FAMILIES:
        raise ProxyHeaderError("its family is none of TCP4, TCP6 and UNKNOWN")
    if len(fields) != 4:  # noqa: PLR2004 - two addresses and their ports
        raise ProxyHeaderError("its line has not two addresses and two ports")
    source, destination, *ports = fields
    if not all(_PORT.fullmatch(port) and int(port) <= _PORT_MAX for port in ports):
        raise ProxyHeaderError("one of its ports is no number from 0 to 65535")
    _read_text(destination, family)
    return ProxyHeader(end + 2, _read_text(source, family))


def _read_text(text: bytes, family: bytes) -> str:
    """Return an address of version 1 in its canonical form; a zone is no part of it."""
    try:
        if b"%" not in text:
            return str(unmapped(_FAMILIES[family](text.decode("ascii"))))
    except ValueError:
        pass
    raise ProxyHeaderError(f"one of its addresses is none of {family.decode()}") from None


def _find_binary(data: bytes) -> ProxyHeader | None:
    """Read version 2: a prefix of 16 bytes, both addresses and ports, extensions."""
    if len(data) < _PREFIX.size:
        return None
    _, command, family, length = _PREFIX.unpack_from(data)
    size_bytes = _PREFIX.size + length
    if command not in {_LOCAL, _PROXY}:
        raise ProxyHeaderError("its version is not 2, or its command neither LOCAL nor PROXY")
    if size_bytes > HEADER_SIZE_BYTES_MAX:
        raise ProxyHeaderError(f"it has more than {HEADER_SIZE_BYTES_MAX} bytes")
    if command == _PROXY:
        if family not in _ADDRESS_SIZES:
            raise ProxyHeaderError("its family or transport is none of the protocol")
        if length < _ADDRESS_SIZES[family]:
            raise ProxyHeaderError("it is too short for its addresses")
    if len(data) < size_bytes:
        return None
    source = None
    if command == _PROXY and family in {_TCP4, _TCP6}:
        source_size = 4 if family == _TCP4 else 16
        packed = data[_PREFIX.size : _PREFIX.size + source_size]
        source = str(unmapped(ipaddress.ip_address(packed)))
    return ProxyHeader(size_bytes, source)
