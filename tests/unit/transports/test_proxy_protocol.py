"""Headers of the PROXY protocol: what each says, and that nothing else is taken for one."""

import ipaddress
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moothall.transports.proxy_protocol import (
    HEADER_SIZE_BYTES_MAX,
    LINE_SIZE_BYTES_MAX,
    ProxyHeader,
    ProxyHeaderError,
    find_header,
)

pytestmark = pytest.mark.requirement("R30")

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
IPV4 = bytes([198, 51, 100, 7, 203, 0, 113, 9]) + struct.pack("!HH", 40_000, 443)
IPV6 = (
    ipaddress.ip_address("2001:db8::7").packed
    + ipaddress.ip_address("2001:db8::1").packed
    + struct.pack("!HH", 0, 443)
)
MAPPED = ipaddress.ip_address("::ffff:198.51.100.7").packed + IPV6[16:]
LOCAL, PROXY = 0x20, 0x21
TCP4, TCP6 = 0x11, 0x21


def binary(command: int, family: int, rest: bytes, length: int | None = None) -> bytes:
    length = len(rest) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, family, length) + rest


def line(text: str) -> bytes:
    return f"PROXY {text}\r\n".encode("latin-1")


@pytest.mark.parametrize(
    ("header", "source"),
    [
        (line("TCP4 198.51.100.7 203.0.113.9 40000 443"), "198.51.100.7"),
        (line("TCP4 198.51.100.7 203.0.113.9 0 0"), "198.51.100.7"),
        (line("TCP4 255.255.255.255 255.255.255.255 65535 65535"), "255.255.255.255"),
        (line("TCP6 2001:DB8:0:0::0007 ::1 40000 443"), "2001:db8::7"),
        (line("TCP6 ::ffff:198.51.100.7 ::1 40000 443"), "198.51.100.7"),
        (
            line("TCP6 " + " ".join(["ffff:" * 7 + "ffff"] * 2) + " 65535 65535"),
            "ffff:" * 7 + "ffff",
        ),
        (line("UNKNOWN"), None),
        (line("UNKNOWN " + " ".join(["ffff:" * 7 + "ffff"] * 2) + " 65535 65535"), None),
        (line("UNKNOWN \xff\r x"), None),
        (binary(PROXY, TCP4, IPV4), "198.51.100.7"),
        (binary(PROXY, TCP6, IPV6), "2001:db8::7"),
        (binary(PROXY, TCP6, MAPPED), "198.51.100.7"),
        (binary(PROXY, TCP4, IPV4 + b"\x04\0\x02ab"), "198.51.100.7"),
        (binary(PROXY, TCP4, IPV4.ljust(HEADER_SIZE_BYTES_MAX - 16, b"\0")), "198.51.100.7"),
        # No IP address of a client: UNSPEC, UDP, UNIX.
        (binary(PROXY, 0x00, b""), None),
        (binary(PROXY, 0x00, IPV4), None),
        (binary(PROXY, 0x12, IPV4), None),
        (binary(PROXY, 0x22, IPV6), None),
        (binary(PROXY, 0x31, bytes(216)), None),
        (binary(PROXY, 0x32, bytes(216)), None),
        # LOCAL: whatever it holds is skipped by its length.
        (binary(LOCAL, 0x00, b""), None),
        (binary(LOCAL, TCP4, IPV4), None),
        (binary(LOCAL, TCP4, b"short"), None),
        (binary(LOCAL, 0xFF, b""), None),
    ],
)
def test_a_header_ends_where_it_says_and_names_its_client(
    header: bytes, source: str | None
) -> None:
    found = ProxyHeader(len(header), source)
    for behind in (b"", b"\x16\x03\x01\0\0", b"\r\n", header):
        assert find_header(header + behind) == found
    for size in range(len(header)):
        assert find_header(header[:size]) is None, f"told from its first {size} bytes"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\x16\x03\x01", "does not begin"),
        (b"GET / HTTP/1.1\r\n", "does not begin"),
        (b"POST /v1/hall.ping HTTP/1.1\r\n", "does not begin"),
        (b'{"jsonrpc"', "does not begin"),
        (b"proxy TCP4", "does not begin"),
        (b"PROXY\tTCP4", "does not begin"),
        (b" PROXY TCP4", "does not begin"),
        (SIGNATURE[:11] + b"\r", "does not begin"),
        (b"PROXY " + b"x" * LINE_SIZE_BYTES_MAX, "more than 107 bytes"),
        (line("UNKNOWN " + "x" * 100), "more than 107 bytes"),
        (line(""), "family"),
        (line("TCP5 198.51.100.7 203.0.113.9 1 1"), "family"),
        (line("tcp4 198.51.100.7 203.0.113.9 1 1"), "family"),
        (line("UNKNOWNS"), "family"),
        (line(" TCP4 198.51.100.7 203.0.113.9 1 1"), "family"),
        (line("TCP4"), "two addresses"),
        (line("TCP4 198.51.100.7 203.0.113.9 1"), "two addresses"),
        (line("TCP4 198.51.100.7 203.0.113.9 1 1 1"), "two addresses"),
        (line("TCP4 198.51.100.7 203.0.113.9 1 1 "), "two addresses"),
        (line("TCP4 198.51.100.7  203.0.113.9 1 1"), "two addresses"),
        (line("TCP4 198.51.100.7 203.0.113.9 65536 1"), "0 to 65535"),
        (line("TCP4 198.51.100.7 203.0.113.9 1 -1"), "0 to 65535"),
        (line("TCP4 198.51.100.7 203.0.113.9 01 1"), "0 to 65535"),
        (line("TCP4 198.51.100.7 203.0.113.9 1 1\n"), "0 to 65535"),
        (line("TCP4 198.51.100.007 203.0.113.9 1 1"), "none of TCP4"),
        (line("TCP4 198.51.100 203.0.113.9 1 1"), "none of TCP4"),
        (line("TCP4 3325256711 203.0.113.9 1 1"), "none of TCP4"),
        (line("TCP4 198.51.100.7 nowhere 1 1"), "none of TCP4"),
        (line("TCP4 ::1 ::1 1 1"), "none of TCP4"),
        (line("TCP6 198.51.100.7 203.0.113.9 1 1"), "none of TCP6"),
        (line("TCP6 fe80::1%eth0 ::1 1 1"), "none of TCP6"),
        (line("TCP4 \xb9.51.100.7 203.0.113.9 1 1"), "none of TCP4"),
        (binary(0x11, TCP4, IPV4), "version"),
        (binary(0x31, TCP4, IPV4), "version"),
        (binary(0x22, TCP4, IPV4), "LOCAL nor PROXY"),
        (binary(PROXY, 0x41, IPV4), "family or transport"),
        (binary(PROXY, 0x13, IPV4), "family or transport"),
        (binary(PROXY, 0x10, IPV4), "family or transport"),
        (binary(PROXY, TCP4, IPV4[:-1]), "too short"),
        (binary(PROXY, TCP4, b""), "too short"),
        (binary(PROXY, TCP6, IPV4), "too short"),
        (binary(PROXY, 0x31, bytes(215)), "too short"),
        # A length that is no good is refused before anything of it has come.
        (binary(PROXY, TCP4, b"", HEADER_SIZE_BYTES_MAX - 15), "more than 536 bytes"),
        (binary(PROXY, TCP4, b"", 65_535), "more than 536 bytes"),
        (binary(LOCAL, 0x00, b"", 65_535), "more than 536 bytes"),
    ],
)
def test_what_is_no_header_is_refused_without_its_bytes(data: bytes, told: str) -> None:
    with pytest.raises(ProxyHeaderError, match=told) as refused:
        find_header(data)
    # Nobody writes into the log of the hall what they like.
    assert str(refused.value).isprintable()


def outcome(data: bytes) -> ProxyHeader | str | None:
    try:
        return find_header(data)
    except ProxyHeaderError as error:
        return str(error)


def headers() -> st.SearchStrategy[bytes]:
    """Bytes that are a header, nearly one, or nothing of the kind, and what comes behind."""
    addresses = ["198.51.100.7", "::ffff:1.2.3.4", "2001:db8::7"]
    words = st.sampled_from(["TCP4", "TCP6", "UNKNOWN", *addresses, "0", "65535", ""])
    lines = st.lists(words, max_size=7).map(" ".join).map(line)
    blocks = st.one_of(st.sampled_from([IPV4, IPV6, MAPPED, bytes(216)]), st.binary(max_size=600))
    commands = st.one_of(st.sampled_from([LOCAL, PROXY]), st.integers(0, 255))
    families = st.one_of(st.sampled_from([0, TCP4, TCP6, 0x12, 0x31]), st.integers(0, 255))
    lengths = st.one_of(st.none(), st.integers(0, 65_535))
    made = st.one_of(lines, st.builds(binary, commands, families, blocks, lengths), st.binary())
    return st.tuples(made, st.binary(max_size=40)).map(b"".join)


@given(headers())
@example(binary(PROXY, TCP4, IPV4) * 2)
@example(line("UNKNOWN") * 2)
def test_pieces_tell_the_same_as_the_whole(data: bytes) -> None:
    """While nothing is told the bytes are all header; once something is, nothing changes it."""
    told: ProxyHeader | str | None = None
    for size in range(len(data) + 1):
        now = outcome(data[:size])
        if told is not None:
            assert now == told
        elif isinstance(now, ProxyHeader):
            assert now.size_bytes == size
        told = now
        if told is None:
            assert size < HEADER_SIZE_BYTES_MAX
    if isinstance(told, ProxyHeader):
        assert 1 <= told.size_bytes <= HEADER_SIZE_BYTES_MAX
        assert told.source is None or str(ipaddress.ip_address(told.source)) == told.source


@given(
    st.ip_addresses(), st.ip_addresses(), st.tuples(st.integers(0, 65_535), st.integers(0, 65_535))
)
def test_every_address_is_read_as_both_versions_write_it(
    source: ipaddress.IPv4Address | ipaddress.IPv6Address,
    destination: ipaddress.IPv4Address | ipaddress.IPv6Address,
    ports: tuple[int, int],
) -> None:
    if source.version != destination.version:
        destination = source
    mapped = source.ipv4_mapped if isinstance(source, ipaddress.IPv6Address) else None
    expected = str(mapped or source)
    text = line(f"TCP{source.version} {source} {destination} {ports[0]} {ports[1]}")
    family = TCP4 if source.version == 4 else TCP6
    packed = binary(PROXY, family, source.packed + destination.packed + struct.pack("!HH", *ports))
    assert find_header(text) == ProxyHeader(len(text), expected)
    assert find_header(packed) == ProxyHeader(len(packed), expected)
