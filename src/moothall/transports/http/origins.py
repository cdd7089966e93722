"""Which web pages may use the hall: origins, and what browsers are told. Pure, no I/O.

A browser sends with every call of a page the origin that the page came from (RFC 6454), and no
page can change that. A call from an origin that is not listed is refused before anything is
done, not only hidden from the page: a page that cannot read the answer could still have made
guests or wrong passwords, from the address of whoever looks at it. So none of this rests on a
browser asking first (a preflight), and a call without ``Origin`` comes from no page.

Sources: Fetch (https://fetch.spec.whatwg.org/#http-cors-protocol), RFC 6454 (origins).
"""

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from moothall.core.errors import ConfigurationError, PermissionDeniedError

ORIGINS_MAX = 64
PREFLIGHT_S = 7_200
"""How long a browser may remember what it was told; Chromium takes no more."""

Origins = frozenset[str]
HeaderList = list[tuple[bytes, bytes]]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
_USUAL_PORTS = {"http": 80, "https": 443}

_PREFLIGHT_HEADERS: HeaderList = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, idempotency-key, last-event-id, deadline-ms, range",
    ),
    (b"access-control-max-age", b"%d" % PREFLIGHT_S),
]


def read_origins(texts: Iterable[str]) -> Origins:
    """Return the origins as an operator writes them: exactly as browsers send them.

    Raises:
        ConfigurationError: One of them is no origin, is a pattern, or could be anybody's, or
            there are more than 64.
    """
    origins = frozenset(map(_read_origin, texts))
    if len(origins) > ORIGINS_MAX:
        raise ConfigurationError(f"settings: web.origins: {ORIGINS_MAX} origins are the most")
    return origins


def _read_origin(text: str) -> str:
    """Return ``text`` if a browser would send exactly this."""
    if "*" in text:
        raise _unusable(
            text,
            "a call carries its member's token, and pages of anybody would be let in",
            "list each origin",
        )
    if text == "null":
        raise _unusable(text, "it stands for pages that nobody vouches for", "leave it out")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _unusable(text, str(error), "write https://app.example") from None
    host = f"[{host}]" if ":" in host else host
    if not (_SCHEME.fullmatch(parts.scheme) and _HOST.fullmatch(host)):
        remedy = "write https://app.example; a name beyond ASCII as browsers send it (xn--...)"
        raise _unusable(text, "it is not scheme://host", remedy)
    usual = f"{parts.scheme}://{host}"
    if port is not None and port != _USUAL_PORTS.get(parts.scheme):
        usual += f":{port}"
    if text != usual:
        raise _unusable(text, "browsers do not write it so", f"write {usual}")
    if parts.scheme == "http" and not _is_loopback(host):
        reason = "whoever is between could change the page and take the tokens"
        raise _unusable(text, reason, "serve the page by https; http is for loopback only")
    return text


def _unusable(text: str, reason: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(f"settings: web.origins: {text!r}: {reason}; {remedy}")


def is_origin_allowed(origin: str, host: str, *, is_tls: bool, origins: Origins) -> bool:
    """Tell whether a page may use the hall.

    Listed origins may, and the hall's own: the one whose host is where the request was sent.
    Without TLS that proves nothing, because any name may be made to lead here (DNS rebinding),
    so the own origin then counts at loopback names only.

    Args:
        origin: The header ``Origin``.
        host: The header ``Host``; empty if there is none.
        is_tls: Whether this very connection is TLS.
        origins: From :func:`read_origins`.
    """
    if origin in origins:
        return True
    host = host.lower()
    if not host:
        return False
    if is_tls:
        return origin == f"https://{host}"
    return origin == f"http://{host}" and _is_loopback(host)


def check_origin(origin: str, host: str, *, is_tls: bool, origins: Origins) -> None:
    """Refuse a request from a page that may not use the hall.

    Raises:
        PermissionDeniedError: It comes from such a page.
    """
    if not is_origin_allowed(origin, host, is_tls=is_tls, origins=origins):
        raise PermissionDeniedError(
            "pages of this origin may not use this hall",
            field="Origin",
            origin=origin,
            remedy="the operator lists the origin in web.origins",
        )


def reading_headers(origin: str | None, origins: Origins) -> HeaderList:
    """Return the headers that let the pages of a listed origin read an answer.

    Where any origin is listed, every answer says that it depends on ``Origin``; a cache would
    otherwise hand the answer for one page to another.
    """
    if not origins:
        return []
    headers = [(b"vary", b"Origin")]
    if origin in origins:
        headers += [
            (b"access-control-allow-origin", origin.encode("ascii")),
            (b"access-control-expose-headers", b"request-id, retry-after, etag, content-range"),
        ]
    return headers


def preflight_headers() -> HeaderList:
    """Return what else a browser learns that asks before it sends a call."""
    return [*_PREFLIGHT_HEADERS]


def _is_loopback(host: str) -> bool:
    """Tell whether a host, with or without port, is this machine's in every browser."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
