"""Whom a request comes from, when it comes through a proxy or a balancer. Pure, no I/O.

A proxy that is trusted says whom it speaks for, in ``X-Forwarded-For``; from anybody else the
header is not even read, because whoever could write it would choose the address that limits
and the audit trail know. A balancer that passes TCP through cannot write headers; it says the
same at the beginning of a connection (``proxy_protocol.py``). ``Forwarded`` (RFC 7239) is not read:
two headers that may disagree are one way too many to say it.
"""

import ipaddress
from collections.abc import Iterable, Sequence

from moothall.core.addresses import Address, unmapped
from moothall.core.errors import ConfigurationError, InvalidArgumentError

HEADER = "X-Forwarded-For"
NETWORKS_MAX = 64
ADDRESSES_MAX = 32
"""In one request, what its client wrote included: more is no way that a request takes."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Networks = tuple[Network, ...]


def read_networks(texts: Iterable[str]) -> Networks:
    """Return the networks of trusted proxies as an operator writes them.

    Args:
        texts: Addresses (``192.0.2.7``, ``2001:db8::7``) or networks (``10.0.0.0/8``).

    Raises:
        ConfigurationError: One of them is neither, is everybody, or is IPv4 written as IPv6;
            or there are more than 64.
    """
    networks = tuple(map(_read_network, texts))
    if len(networks) > NETWORKS_MAX:
        raise ConfigurationError(f"settings: trusted_proxies: {NETWORKS_MAX} networks are the most")
    return networks


def _read_network(text: str) -> Network:
    prefix = f"settings: trusted_proxies: {text!r}"
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise ConfigurationError(
            f"{prefix}: {error}; write an address or a network, as in 10.0.0.0/8"
        ) from None
    if network.prefixlen == 0:
        raise ConfigurationError(
            f"{prefix} is everybody, and whoever is trusted names any address as its client's; "
            "name the networks of your proxies"
        )
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped:
        raise ConfigurationError(f"{prefix} is IPv4 in the clothes of IPv6; write it as IPv4")
    return network


def is_trusted(source: str, networks: Networks) -> bool:
    """Tell whether an address, as ``admission.source_of`` writes it, is a trusted proxy's."""
    return bool(networks) and _is_within(ipaddress.ip_address(source), networks)


def find_source(peer: str, forwarded_for: Sequence[bytes], networks: Networks) -> str:
    """Return the address of the client that a trusted proxy speaks for.

    Each proxy on the way appends whom it heard from, so the list is read from its end: the
    first address that is no trusted proxy is the client; what stands before it, the client
    may have written. If all are trusted, the first of the list is the client.

    Args:
        peer: The trusted proxy at the other end of the connection.
        forwarded_for: Values of all ``X-Forwarded-For`` headers, in their order; none means
            that the proxy speaks for itself (a look at ``/healthz``).
        networks: The trusted proxies.

    Returns:
        The address in its canonical form: IPv4 where it is IPv4 in IPv6, no zone.

    Raises:
        InvalidArgumentError: An entry is no address, wherever it stands, or there are more
            than 32; nothing is guessed.
    """
    if not forwarded_for:
        return peer
    entries = b",".join(forwarded_for).split(b",")
    if len(entries) > ADDRESSES_MAX:
        raise InvalidArgumentError(HEADER, f"it names more than {ADDRESSES_MAX} addresses")
    addresses = [_read_address(entry) for entry in entries]
    for address in reversed(addresses):
        if not _is_within(address, networks):
            return str(address)
    return str(addresses[0])


def _read_address(entry: bytes) -> Address:
    try:
        address = ipaddress.ip_address(entry.strip(b" \t").decode("ascii").partition("%")[0])
    except ValueError:
        raise InvalidArgumentError(
            HEADER,
            "an entry is no IP address",
            "let the proxy append the address of its client, without a port, and nothing else",
        ) from None
    return unmapped(address)


def _is_within(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)
