"""Addresses of halls: what is a valid one, and which may go without TLS. Pure.

The scheme says by which door calls go: HTTPS, WebSocket or JSON lines.
"""

import ipaddress
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlsplit

from moothall.client.errors import AddressError

REFERENCE_PORT = 8443
NDJSON_PORT = 8444
"""Where JSON lines are usually spoken: the port after that of HTTPS."""

_TLS = frozenset({"https", "wss", "ndjson"})
_PORTS = {
    "https": 443,
    "http": 80,
    "wss": 443,
    "ws": 80,
    "ndjson": NDJSON_PORT,
    "ndjson+plain": NDJSON_PORT,
}
"""The schemes, with the port where none is given."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a hall answers."""

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """The address as text, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The hall's name among servers, whichever door: its HTTPS address, 443 being unsaid.

        See https://www.rfc-editor.org/rfc/rfc6454#section-6.2.
        """
        there = self.at_https()
        return there.url.removesuffix(":443" if there.is_tls else ":80")

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme in _TLS

    @property
    def is_http(self) -> bool:
        """Whether each call is a request of its own."""
        return self.scheme in {"https", "http"}

    @property
    def is_ndjson(self) -> bool:
        """Whether JSON lines are spoken there."""
        return self.scheme.startswith("ndjson")

    def at_https(self, port: int | None = None) -> Self:
        """Return where the same hall answers HTTP requests; ``port`` is told or derived."""
        # The door of JSON lines is on the port after.
        usual = self.port - 1 if self.is_ndjson else self.port
        scheme = "https" if self.is_tls else "http"
        return replace(self, scheme=scheme, port=port or usual)

    def at_feeds(self) -> Self:
        """Return where connections of the same hall stay: its WebSocket, or its JSON lines."""
        if not self.is_http:
            return self
        return replace(self, scheme="wss" if self.is_tls else "ws")

    @property
    def is_loopback(self) -> bool:
        """Whether the hall runs on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(text: str, *, insecure: bool = False) -> Address:
    """Return the address that ``text`` means; without a scheme it is HTTPS on port 8443.

    Schemes are ``https``, ``wss`` (WebSocket) and ``ndjson`` (JSON lines), each with TLS, and
    in plain text ``http``, ``ws`` and ``ndjson+plain``.

    Args:
        text: A URL without path, or a host with an optional port.
        insecure: Allow plain text, which is possible to this machine only.

    Raises:
        AddressError: It is no such address, or would send passwords in plain text.
    """
    has_scheme = "://" in text
    try:
        parts = urlsplit(text if has_scheme else f"https://{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressError(f"{text!r} is no address: {error}", _EXAMPLE) from None
    if parts.scheme not in _PORTS or not host:
        raise AddressError(f"{text!r} is no address of a hall", _EXAMPLE)
    if parts.username is not None or parts.query or parts.fragment or parts.path not in {"", "/"}:
        raise AddressError(f"{text!r} holds more than scheme, host and port", _EXAMPLE)
    default = _PORTS[parts.scheme] if has_scheme else REFERENCE_PORT
    address = Address(parts.scheme, host, port or default)
    if not address.is_tls:
        _check_plain(address, insecure=insecure)
    return address


_EXAMPLE = "give one such as https://hall.example:8443"


def _check_plain(address: Address, *, insecure: bool) -> None:
    if not address.is_loopback:
        raise AddressError(
            f"{address.url} would send passwords in plain text",
            "use https, wss or ndjson; plain text is possible to this machine only",
        )
    if not insecure:
        raise AddressError(
            f"{address.url} is not encrypted", "use https, wss or ndjson, or allow it by --insecure"
        )
