"""Behind a balancer: whose address a call has, and who may say so."""

import asyncio
from pathlib import Path

import pytest

from moothall.action.call import Call, Reply
from moothall.core.errors import ConfigurationError
from moothall.transports.http import HttpServer
from moothall.transports.listener import Endpoint
from tests.conformance.http_wire import (
    DOCUMENT_MAKERS,
    ask_both_ways,
    connect,
    echo,
    get,
    make_backend,
    make_tls,
    on_both_loops,
    open_door,
    post,
    until,
)

# The door decides, not what the rows lie on.
pytestmark = [pytest.mark.requirement("R30"), pytest.mark.sqlite]

# We come from 127.0.0.1, so this trusts us, and the other does not.
US = ["127.0.0.0/30", "2001:db8:1::/48"]
OTHERS = ["10.0.0.0/8"]
ANYWHERE = "0.0.0.0"  # noqa: S104 - what is tested is who may come in


def forwarded(*values: str) -> bytes:
    return post("hall.ping", b"{}", *(f"X-Forwarded-For: {value}" for value in values))


@pytest.mark.parametrize(
    ("values", "source"),
    [
        ([], "127.0.0.1"),
        (["198.51.100.7"], "198.51.100.7"),
        (["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        (["203.0.113.9", "198.51.100.7, 127.0.0.2"], "198.51.100.7"),
        (["::ffff:198.51.100.7"], "198.51.100.7"),
        (["2001:DB8::0007"], "2001:db8::7"),
    ],
)
@on_both_loops
async def test_a_trusted_proxy_is_believed(tmp_path: Path, values: list[str], source: str) -> None:
    tls = make_tls(tmp_path)
    async with open_door(context=tls.server, trusted_proxies=US) as door:
        answer = await ask_both_ways(door, tls, forwarded(*values))
        assert (answer.status, answer.json["source"]) == (200, source)


@pytest.mark.parametrize("trusted", [[], OTHERS])
@on_both_loops
async def test_nobody_else_chooses_an_address(tmp_path: Path, trusted: list[str]) -> None:
    tls = make_tls(tmp_path)
    async with open_door(context=tls.server, trusted_proxies=trusted) as door:
        for value in ("198.51.100.7", "10.0.0.1", "nonsense"):
            answer = await ask_both_ways(door, tls, forwarded(value))
            assert (answer.status, answer.json["source"]) == (200, "127.0.0.1")


@on_both_loops
async def test_other_headers_of_proxies_are_not_read(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    lies = ("Forwarded: for=198.51.100.7", "X-Real-IP: 198.51.100.7", "X-Forwarded-Proto: http")
    async with open_door(context=tls.server, trusted_proxies=US) as door:
        answer = await ask_both_ways(door, tls, post("hall.ping", b"{}", *lies))
        assert answer.json["source"] == "127.0.0.1"


@pytest.mark.parametrize("value", ["unknown", "", "198.51.100.7:443", "198.51.100.7, x", "x, ::1"])
@on_both_loops
async def test_what_is_no_address_is_not_guessed(tmp_path: Path, value: str) -> None:
    called = asyncio.Event()

    async def answer_call(call: Call) -> Reply:
        called.set()
        return await echo(call)

    tls = make_tls(tmp_path)
    async with open_door(answer_call, context=tls.server, trusted_proxies=US) as door:
        answer = await ask_both_ways(door, tls, forwarded(value))
        assert (answer.status, answer.field) == (400, "X-Forwarded-For")
    assert not called.is_set()


@on_both_loops
async def test_each_call_of_a_connection_has_its_own_client(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    clients = [f"198.51.100.{number}" for number in range(10)]
    async with (
        open_door(context=tls.server, trusted_proxies=US) as door,
        connect(door, tls.client) as wire,
    ):
        wire.send(b"".join(map(forwarded, clients)))
        assert [(await wire.read_answer()).json["source"] for _ in clients] == clients


@pytest.mark.requirement("R35")
@on_both_loops
async def test_a_proxy_is_not_held_to_the_connections_of_one_source() -> None:
    async with (
        open_door(trusted_proxies=US, connections_per_source_max=1, connections_max=2) as door,
        connect(door) as first,
        connect(door) as second,
    ):
        assert (await first.ask(post())).status == 200
        assert (await second.ask(post())).status == 200
        async with connect(door) as third:
            third.send(post())
            assert await third.read_end() == b""


@on_both_loops
async def test_plain_text_beyond_loopback_is_for_trusted_proxies() -> None:
    async with open_door(host=ANYWHERE, trusted_proxies=US) as door, connect(door) as wire:
        await wire.send_pieces(forwarded("198.51.100.7"))
        assert (await wire.read_answer()).json["source"] == "198.51.100.7"


@pytest.mark.parametrize("host", [ANYWHERE, "127.0.0.1"])
@on_both_loops
async def test_plain_text_for_proxies_is_for_nobody_else(host: str) -> None:
    async with open_door(host=host, trusted_proxies=OTHERS) as door, connect(door) as wire:
        wire.send(get("/healthz"))
        assert await wire.read_end() == b""
        await until(lambda: door.connections == 0)


async def test_plain_text_beyond_loopback_without_proxies_is_refused() -> None:
    door = HttpServer(
        make_backend(echo),
        Endpoint(host=ANYWHERE, port=0, context=None, insecure=True),
        DOCUMENT_MAKERS,
    )
    with pytest.raises(ConfigurationError, match="trusted_proxies"):
        await door.start()


@on_both_loops
async def test_an_unencrypted_door_knows_no_own_origin_behind_a_proxy() -> None:
    """What the proxy calls the hall proves nothing here; such pages are listed."""
    page = "https://hall.example"
    call = post("hall.ping", b"{}", f"Origin: {page}").replace(b"localhost", b"hall.example")
    for origins, status in ([], 403), ([page], 200):
        async with open_door(trusted_proxies=US, origins=origins) as door, connect(door) as wire:
            assert (await wire.ask(call)).status == status
