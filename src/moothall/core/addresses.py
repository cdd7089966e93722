"""Addresses of clients: how they are written, and by what they are counted."""

import ipaddress
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_MAPPED = "::ffff:"


def source_of(address: str) -> str:
    """Return a client's address as limits and the audit trail know it.

    An IPv4 client of an IPv6 socket is the IPv4 address it is; a zone index is cut off.
    """
    if address.startswith(_MAPPED) and "." in address:
        return address.removeprefix(_MAPPED)
    return address.partition("%")[0]


def unmapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for (``::ffff:192.0.2.7``), or itself."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def network_of(source: str) -> str:
    """Return by what a client is counted: its IPv4 address, or the /64 network of an IPv6 one.

    One IPv6 client has a whole /64 and may change its address within it as often as it likes.
    """
    return source if ":" not in source else _network_of(source)


@lru_cache(4_096)
def _network_of(source: str) -> str:
    try:
        address = ipaddress.IPv6Address(source.partition("%")[0])
    except ValueError:
        return source
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)
