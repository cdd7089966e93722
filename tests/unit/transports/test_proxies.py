import pytest

from moothall.core.errors import ConfigurationError, InvalidArgumentError
from moothall.transports.proxies import (
    ADDRESSES_MAX,
    NETWORKS_MAX,
    find_source,
    is_trusted,
    read_networks,
)

pytestmark = pytest.mark.requirement("R30")

NETWORKS = read_networks(["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.7"])
PEER = "10.0.0.1"


def test_addresses_and_networks_are_read() -> None:
    assert [str(network) for network in NETWORKS] == [
        "10.0.0.0/8",
        "2001:db8:1::/48",
        "192.0.2.7/32",
    ]
    assert read_networks([" 10.0.0.0/8 "]) == NETWORKS[:1]
    assert read_networks([]) == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "write an address or a network"),
        ("balancer.example", "write an address or a network"),
        ("10.0.0.1/8", "has host bits set"),
        ("10.0.0.0/33", "write an address or a network"),
        ("0.0.0.0/0", "is everybody"),
        ("::/0", "is everybody"),
        ("::ffff:10.0.0.1", "write it as IPv4"),
        ("::ffff:10.0.0.0/104", "write it as IPv4"),
    ],
)
def test_what_names_no_proxy_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        read_networks(["192.0.2.1", text])


def test_networks_are_bounded() -> None:
    texts = [f"10.0.0.{number}" for number in range(NETWORKS_MAX)]
    assert len(read_networks(texts)) == NETWORKS_MAX
    with pytest.raises(ConfigurationError, match="the most"):
        read_networks([*texts, "10.1.0.0"])


@pytest.mark.parametrize(
    ("source", "trusted"),
    [
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8:1:ffff::1", True),
        ("2001:db8:2::1", False),
    ],
)
def test_who_is_trusted(*, source: str, trusted: bool) -> None:
    assert is_trusted(source, NETWORKS) is trusted
    assert not is_trusted(source, ())


@pytest.mark.parametrize(
    ("values", "source"),
    [
        # Nothing is said: the proxy itself looks whether the hall is well.
        ([], PEER),
        ([b"198.51.100.7"], "198.51.100.7"),
        # What the client wrote stands on the left and is not believed.
        ([b"203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ([b"10.9.9.9, 198.51.100.7"], "198.51.100.7"),
        ([b"203.0.113.9,198.51.100.7,\t10.0.0.3 , 192.0.2.7"], "198.51.100.7"),
        # Two headers are one list (RFC 9110, section 5.3).
        ([b"203.0.113.9", b"198.51.100.7"], "198.51.100.7"),
        ([b"198.51.100.7", b"10.0.0.3"], "198.51.100.7"),
        # The client is in a trusted network itself.
        ([b"10.0.0.9, 10.0.0.3"], "10.0.0.9"),
        # One client has one spelling, whatever its proxy writes.
        ([b"2001:DB8:0:0::0007"], "2001:db8::7"),
        ([b"::ffff:198.51.100.7"], "198.51.100.7"),
        ([b"198.51.100.7, ::ffff:10.0.0.3"], "198.51.100.7"),
        ([b"fe80::1%eth0"], "fe80::1"),
    ],
)
def test_client_is_the_last_address_that_is_no_proxy(values: list[bytes], source: str) -> None:
    assert find_source(PEER, values, NETWORKS) == source


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b",",
        b"198.51.100.7,",
        b"unknown, 198.51.100.7",
        b"198.51.100.7:443",
        b"[2001:db8::1]",
        b"198.51.100.007",
        b"198.51.100",
        b"3325256711",
        b"\xff, 198.51.100.7",
        b"198.51.100.7 10.0.0.1",
        b"10.0.0.0/8",
    ],
)
def test_nothing_is_guessed(value: bytes) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        find_source(PEER, [value], NETWORKS)
    assert refused.value.details["field"] == "X-Forwarded-For"


def test_addresses_of_one_request_are_bounded() -> None:
    at_most = b",".join([b"198.51.100.7"] * ADDRESSES_MAX)
    assert find_source(PEER, [at_most], NETWORKS) == "198.51.100.7"
    with pytest.raises(InvalidArgumentError, match="more than 32"):
        find_source(PEER, [at_most, b"198.51.100.7"], NETWORKS)
