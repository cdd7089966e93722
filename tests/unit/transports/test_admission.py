from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.core.addresses import network_of, source_of
from moothall.transports.admission import Admission, Turns
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


@pytest.mark.requirement("R30")
async def test_a_seat_goes_from_a_proxy_to_its_client() -> None:
    admission = Admission(9, 1, read_networks(["192.0.2.1"]), proxies_only=True)
    first, second, other = (admission.admit("192.0.2.1") for _ in range(3))
    assert first is not None
    assert second is not None
    assert other is not None
    assert first.name_client("198.51.100.7")
    assert (first.source, first.network, first.is_proxy) == ("198.51.100.7",) * 2 + (False,)
    assert not second.name_client("198.51.100.7"), "this client has all its seats"
    assert other.name_client("2001:db8::7")
    assert (other.source, other.network) == ("2001:db8::7", "2001:db8::")
    assert admission.connections == 3
    second.release()
    first.release()
    assert admission.connections == 1
    third = admission.admit("192.0.2.1")
    assert third is not None
    assert third.name_client("198.51.100.7")


@pytest.mark.requirement("R30")
async def test_a_proxy_that_names_nobody_or_a_proxy_has_no_bound_of_a_source() -> None:
    admission = Admission(9, 1, read_networks(["192.0.2.0/30"]))
    for named, source, is_proxy in (
        (None, "192.0.2.1", False),
        ("192.0.2.2", "192.0.2.2", True),
    ) * 2:
        seat = admission.admit("192.0.2.1")
        assert seat is not None
        assert seat.name_client(named)
        assert (seat.source, seat.is_proxy) == (source, is_proxy)
    assert admission.connections == 4


@pytest.mark.requirement("R30")
async def test_seats_of_a_proxy_are_not_those_of_its_neighbours() -> None:
    """Both are in one /64; the proxy speaks for many and the neighbour for itself."""
    admission = Admission(9, 1, read_networks(["2001:db8::1"]))
    proxies = [admission.admit("2001:db8::1") for _ in range(3)]
    assert None not in proxies
    assert admission.admit("2001:db8::2") is not None
    assert admission.admit("2001:db8::3") is None
    for seat in proxies:
        assert seat is not None
        seat.release()
    assert admission.connections == 1
    assert admission.admit("2001:db8::3") is None


@given(st.lists(st.sampled_from(["a", "b", "c", "d", None]), max_size=60))
def test_every_item_has_its_turn_once_and_no_source_two_while_another_waits(
    steps: list[str | None],
) -> None:
    """A step adds an item of a source, or takes one; what is left is taken in the end."""
    turns: Turns[tuple[str, int]] = Turns()
    waiting: list[tuple[str, int]] = []
    taken: list[tuple[str, int]] = []
    passed_over: Counter[tuple[str, str]] = Counter()

    def take() -> None:
        item = turns.take()
        assert item is not None
        source = item[0]
        assert item == next(one for one in waiting if one[0] == source), "not the oldest"
        waiting.remove(item)
        taken.append(item)
        for other in {one[0] for one in waiting} - {source}:
            passed_over[other, source] += 1
            assert passed_over[other, source] <= 1, "two turns while another source waits"
        for pair in [pair for pair in passed_over if pair[0] == source]:
            del passed_over[pair]

    for number, source in enumerate(steps):
        if source is not None:
            turns.add(source, (source, number))
            waiting.append((source, number))
        elif waiting:
            take()
        assert len(turns) == len(waiting)
    while waiting:
        take()
    assert turns.take() is None
    assert sorted(taken) == sorted(
        (source, number) for number, source in enumerate(steps) if source is not None
    )


def test_a_crowd_delays_another_source_by_one_turn() -> None:
    turns: Turns[str] = Turns()
    for number in range(256):
        turns.add("crowd", f"crowd {number}")
    assert turns.take() == "crowd 0"
    turns.add("other", "other")
    assert [turns.take(), turns.take(), turns.take()] == ["crowd 1", "other", "crowd 2"]


def test_who_is_drained_waits_no_more() -> None:
    turns: Turns[int] = Turns()
    for number in range(6):
        turns.add(f"source {number % 2}", number)
    assert sorted(turns.drain()) == list(range(6))
    assert len(turns) == 0
    assert turns.take() is None
    assert turns.drain() == []
