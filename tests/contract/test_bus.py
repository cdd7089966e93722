"""What every bus promises, whatever carries it (``ports/bus.py``)."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from moothall.bus import BusAccess, MemoryBus, open_bus
from moothall.bus.bounds import PAYLOAD_BYTES_MAX, WAITING_BYTES_MAX
from moothall.core.errors import ConfigurationError
from tests.contract.buses import (
    FAILING_NETWORKS,
    NETWORKS,
    Network,
    Node,
    finish_at_once,
    fresh_hall_id,
    joined,
)


@pytest.fixture(params=list(NETWORKS.values()), ids=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    make: Callable[[], Network] = request.param
    made = make()
    yield made
    made.close()


@pytest.fixture(params=list(FAILING_NETWORKS.values()), ids=list(FAILING_NETWORKS))
def failing(request: pytest.FixtureRequest) -> Iterator[Network]:
    make: Callable[[], Network] = request.param
    made = make()
    yield made
    made.close()


async def test_hint_reaches_all_other_nodes_of_the_hall(network: Network) -> None:
    hall_id = fresh_hall_id()
    async with AsyncExitStack() as stack:
        one, two, three = [
            await stack.enter_async_context(joined(network, hall_id, "news")) for _ in range(3)
        ]
        await one.bus.publish("news", b"a")
        assert await two.hear() == ("news", b"a")
        assert await three.hear() == ("news", b"a")
        await two.bus.publish("news", b"b")
        # The first to reach it, so its own was not given back.
        assert await one.hear() == ("news", b"b")
        assert await three.hear() == ("news", b"b")


@pytest.mark.parametrize("payload", [b"", bytes(range(256)), b"\r\nPING\r\n", b"x" * 65_536])
async def test_payload_arrives_as_it_was(network: Network, payload: bytes) -> None:
    hall_id = fresh_hall_id()
    async with joined(network, hall_id) as one, joined(network, hall_id, "news") as two:
        await one.bus.publish("news", payload)
        assert await two.hear() == ("news", payload)


async def test_hints_of_a_node_arrive_in_order(network: Network) -> None:
    hall_id = fresh_hall_id()
    async with joined(network, hall_id) as one, joined(network, hall_id, "a", "b") as two:
        for number in range(500):
            await one.bus.publish("ab"[number % 2], b"%d" % number)
        for number in range(500):
            assert await two.hear() == ("ab"[number % 2], b"%d" % number)
        assert (one.bus.published, one.bus.dropped, two.bus.received) == (500, 0, 500)


async def test_only_what_was_subscribed_to_is_heard(network: Network) -> None:
    hall_id = fresh_hall_id()
    async with joined(network, hall_id) as one, joined(network, hall_id, "news.all") as two:
        for topic in ("news", "news.all.more", "news-all", "other"):
            await one.bus.publish(topic, b"not this")
        await one.bus.publish("news.all", b"this")
        assert await two.hear() == ("news.all", b"this")
        assert two.bus.received == 1


async def test_subscription_of_a_connected_node_counts_at_once(network: Network) -> None:
    hall_id = fresh_hall_id()
    async with joined(network, hall_id) as one, joined(network, hall_id) as two:
        two.listen("late")
        await one.bus.publish("late", b"a")
        assert await two.hear() == ("late", b"a")


async def test_halls_do_not_hear_each_other(network: Network) -> None:
    hall_id = fresh_hall_id()
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(joined(network, hall_id, "news")) for _ in range(2)
        ]
        # Names that would match if subjects were compared by their beginning, or without case.
        for name in (f"{hall_id}0", hall_id[:-1] or "x", hall_id.lower(), hall_id.upper()):
            other = await stack.enter_async_context(joined(network, name, "news"))
            await other.bus.publish("news", b"not this")
            await other.bus.close()
        await one.bus.publish("news", b"this")
        assert await two.hear() == ("news", b"this")
        assert two.bus.received == 1


async def test_all_subscribers_are_told_though_one_fails(network: Network) -> None:
    def fail(_payload: bytes) -> None:
        raise RuntimeError

    hall_id = fresh_hall_id()
    async with joined(network, hall_id) as one, joined(network, hall_id) as two:
        two.bus.subscribe("news", fail)
        two.listen("news")
        two.listen("news")
        with capture_logs() as log:
            await one.bus.publish("news", b"a")
            await one.bus.publish("news", b"b")
            assert [await two.hear() for _ in range(4)] == [
                ("news", b"a"),
                ("news", b"a"),
                ("news", b"b"),
                ("news", b"b"),
            ]
        failures = [entry for entry in log if entry["event"] == "a subscriber failed"]
        assert [entry["topic"] for entry in failures] == ["news", "news"]


async def test_publishing_never_waits(network: Network) -> None:
    hall_id = fresh_hall_id()
    async with joined(network, hall_id) as one, joined(network, hall_id, "news"):
        # Without a turn of the loop nothing leaves, so all of it would have to be kept.
        many = 4 * WAITING_BYTES_MAX // PAYLOAD_BYTES_MAX
        for _ in range(many):
            finish_at_once(one.bus.publish("news", b"x" * PAYLOAD_BYTES_MAX))
        assert one.bus.published + one.bus.dropped == many


async def test_what_waits_for_the_network_has_a_bound(failing: Network) -> None:
    hall_id = fresh_hall_id()
    async with joined(failing, hall_id) as one, joined(failing, hall_id, "news") as two:
        sent = 4 * WAITING_BYTES_MAX // PAYLOAD_BYTES_MAX
        for _ in range(sent):
            finish_at_once(one.bus.publish("news", b"x" * PAYLOAD_BYTES_MAX))
        two.listen("end")
        # All that waited has a turn of the loop to leave before this is published.
        await asyncio.sleep(0)
        heard = 0
        while True:
            await one.bus.publish("end", b"")
            topic, _payload = await two.hear()
            if topic == "end":
                break
            heard += 1
        assert 0 < heard * PAYLOAD_BYTES_MAX <= WAITING_BYTES_MAX


@pytest.mark.parametrize(
    "topic", ["", "a b", "a\r\nPUB x 0", "A", "*", ">", "a.", ".a", "a..b", "ä", "x" * 65, "$x"]
)
async def test_strange_topics_are_refused(network: Network, topic: str) -> None:
    async with joined(network, fresh_hall_id()) as one:
        with pytest.raises(ValueError, match="words of a-z"):
            await one.bus.publish(topic, b"")
        with pytest.raises(ValueError, match="words of a-z"):
            one.bus.subscribe(topic, print)


async def test_long_payloads_are_refused(network: Network) -> None:
    async with joined(network, fresh_hall_id()) as one:
        with pytest.raises(ValueError, match="65536 at most"):
            await one.bus.publish("news", b"x" * 65_537)
        assert one.bus.published == one.bus.dropped == 0


@pytest.mark.parametrize("hall_id", ["", "a.b", "a b", "*", ">", "a\n", "ä", "x" * 65])
async def test_strange_halls_are_refused(network: Network, hall_id: str) -> None:
    with pytest.raises(ConfigurationError, match="the hall's id"):
        await network.open(hall_id)


async def test_outage_drops_hints_and_ends_by_itself(failing: Network) -> None:
    hall_id = fresh_hall_id()
    async with joined(failing, hall_id) as one, joined(failing, hall_id, "news") as two:
        failing.cut()
        await one.be_cut_off()
        await two.be_cut_off()
        for _ in range(100):
            finish_at_once(one.bus.publish("news", b"lost"))
        assert (one.bus.published, one.bus.dropped) == (0, 100)
        assert one.restored.empty()

        failing.restore()
        await one.be_restored()
        await two.be_restored()
        assert one.bus.is_connected
        assert one.bus.reconnections == two.bus.reconnections == 1
        await one.bus.publish("news", b"new")
        assert await two.hear() == ("news", b"new")
        assert (one.bus.published, one.bus.dropped, two.bus.received) == (1, 100, 1)


async def test_each_outage_is_told_once(failing: Network) -> None:
    async with joined(failing, fresh_hall_id()) as one:
        for number in (1, 2):
            failing.cut()
            await one.be_cut_off()
            failing.restore()
            await one.be_restored()
            assert one.bus.reconnections == number
        assert one.restored.empty()


async def test_all_are_told_of_a_connection_though_one_fails(failing: Network) -> None:
    def fail() -> None:
        raise RuntimeError

    bus = await failing.open(fresh_hall_id())
    bus.on_restored(fail)
    node = Node(bus)
    await node.connect()
    with capture_logs() as log:
        failing.cut()
        await node.be_cut_off()
        failing.restore()
        await node.be_restored()
    await bus.close()
    assert "a callback for a restored bus failed" in [entry["event"] for entry in log]


async def test_closed_bus_is_silent(network: Network) -> None:
    hall_id = fresh_hall_id()
    async with AsyncExitStack() as stack:
        one, two, three = [
            await stack.enter_async_context(joined(network, hall_id, "news")) for _ in range(3)
        ]
        await two.bus.close()
        await two.bus.close()
        assert not two.bus.is_connected
        await two.bus.publish("news", b"lost")
        assert two.bus.dropped == 1
        await one.bus.publish("news", b"a")
        assert await three.hear() == ("news", b"a")
        assert two.heard.empty()


async def test_what_was_published_before_the_end_is_sent(network: Network) -> None:
    hall_id = fresh_hall_id()
    async with joined(network, hall_id) as one, joined(network, hall_id, "news") as two:
        for number in range(10):
            await one.bus.publish("news", b"%d" % number)
        await one.bus.close()
        assert [await two.hear() for _ in range(10)] == [("news", b"%d" % n) for n in range(10)]


async def test_hall_of_one_node_needs_no_server() -> None:
    for url in (None, ""):
        bus = await open_bus(url, "hall")
        assert isinstance(bus, MemoryBus)
        assert bus.is_connected
        await bus.publish("news", b"")
        await bus.close()


async def test_access_without_an_address_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="give bus too"):
        await open_bus(None, "hall", BusAccess(token_file="token"))
