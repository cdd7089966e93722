import pytest

from moothall.core.addresses import network_of, source_of
from moothall.transports.admission import Admission
from moothall.transports.proxies import read_networks


@pytest.mark.parametrize(
    ("address", "source", "network"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::1", "fe80::"),
    ],
)
def test_a_client_is_known_by_its_address(address: str, source: str, network: str) -> None:
    assert source_of(address) == source
    assert network_of(source) == network


async def test_a_seat_is_given_back_once() -> None:
    admission = Admission(10, 2)
    first, second = admission.admit("192.0.2.1"), admission.admit("192.0.2.1")
    assert first is not None
    assert second is not None
    assert admission.admit("192.0.2.1") is None
    assert admission.admit("192.0.2.2") is not None
    first.release()
    first.release()
    assert admission.connections == 2
    assert admission.admit("192.0.2.1") is not None
    assert admission.admit("192.0.2.1") is None
    assert admission.refused == 2


async def test_neighbours_in_one_network_share_their_seats() -> None:
    admission = Admission(10, 1)
    assert admission.admit("2001:db8::1") is not None
    assert admission.admit("2001:db8::2") is None
    assert admission.admit("2001:db8:0:1::1") is not None


async def test_a_full_house_admits_nobody_until_one_leaves() -> None:
    admission = Admission(1, 1)
    seat = admission.admit("192.0.2.1")
    assert seat is not None
    assert admission.admit("192.0.2.2") is None
    assert not admission.empty.is_set()
    seat.release()
    assert admission.empty.is_set()
    assert admission.admit("192.0.2.2") is not None


@pytest.mark.requirement("R30")
async def test_a_proxy_has_only_the_bound_of_the_house() -> None:
    admission = Admission(3, 1, read_networks(["192.0.2.1"]))
    first, second = admission.admit("192.0.2.1"), admission.admit("192.0.2.1")
    assert first is not None
    assert second is not None
    assert first.is_proxy
    other = admission.admit("192.0.2.2")
    assert other is not None
    assert not other.is_proxy
    assert admission.admit("192.0.2.1") is None
    first.release()
    assert admission.admit("192.0.2.2") is None
    assert admission.admit("192.0.2.1") is not None


@pytest.mark.requirement("R30")
async def test_where_only_proxies_may_enter_nobody_else_does() -> None:
    admission = Admission(9, 9, read_networks(["192.0.2.1"]), proxies_only=True)
    assert admission.admit("192.0.2.1") is not None
    assert admission.admit("192.0.2.2") is None
    assert admission.admit("127.0.0.1") is None
