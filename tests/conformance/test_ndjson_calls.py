"""Calls at the NDJSON door over TLS: whole, joined, in pieces, and what is none."""

import asyncio

import pytest

from moothall.action.push import Push
from moothall.transports.jsonrpc import ConversationBounds
from tests.conformance.http_wire import on_both_loops, until
from tests.conformance.ndjson_wire import call, connect, open_site


@on_both_loops
@pytest.mark.requirement("R30")
@pytest.mark.requirement("R31")
async def test_call_is_answered_over_tls() -> None:
    async with open_site() as site, connect(site) as wire:
        told = await wire.ask(call("a", params={"n": 1}))
        assert (told["jsonrpc"], told["id"]) == ("2.0", "a")
        assert told["result"] == {"body": '{"n":1}', "source": "127.0.0.1", "token": None}
        assert wire.writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        site.only.token = "bound"
        assert (await wire.ask(call()))["result"]["token"] == "bound"
        assert site.only.door == "ndjson"


@on_both_loops
@pytest.mark.requirement("R30")
async def test_plain_text_is_not_understood_by_a_door_with_tls() -> None:
    async with open_site() as site:
        site.trusting = None
        async with connect(site) as wire:
            wire.send(call())
            wire.writer.write_eof()
            with pytest.raises((UnicodeDecodeError, ValueError, AssertionError)):
                assert await wire.read_rest() == [{"jsonrpc": "2.0"}]
        await until(lambda: site.door.connections == 0)
        assert site.pipeline.begun == 0


@on_both_loops
@pytest.mark.requirement("R31")
async def test_plain_text_on_loopback_gives_the_same_answers() -> None:
    async with open_site(insecure=True) as site, connect(site) as wire:
        told = await wire.ask(call(7))
        assert (told["id"], told["result"]["source"]) == (7, "127.0.0.1")


@on_both_loops
@pytest.mark.requirement("R32")
async def test_joined_calls_are_all_answered() -> None:
    async with open_site() as site, connect(site) as wire:
        wire.send(b"\n\r\n".join(call(number) for number in range(200)))
        ids = [(await wire.read())["id"] for _ in range(200)]
        assert sorted(ids) == [*range(200)]


@on_both_loops
@pytest.mark.requirement("R32")
async def test_calls_in_small_pieces_are_all_answered() -> None:
    async with open_site() as site, connect(site) as wire:
        data = b"".join(call(number, params={"x": "é" * 20}) for number in range(20))
        await wire.send_pieces(data.replace(b"\n", b"\r\n"))
        for number in range(20):
            told = await wire.read()
            assert (told["id"], told["result"]["body"]) == (number, '{"x":"%s"}' % ("é" * 20))


@on_both_loops
@pytest.mark.requirement("R31")
async def test_replies_come_as_calls_end_and_carry_their_id() -> None:
    async with open_site() as site, connect(site) as wire:
        wire.send(call("slow", "hall.hold") + call("fast"))
        assert (await wire.read())["id"] == "fast"
        site.pipeline.go_on.set()
        assert (await wire.read())["id"] == "slow"


@on_both_loops
@pytest.mark.requirement("R31")
async def test_event_between_replies_is_no_reply() -> None:
    async with open_site() as site, connect(site) as wire:
        await wire.ask(call())
        sink = site.only.sink
        sink.send(sink.encode(Push("s", 1, 9, "happened", 5, '{"a":1}'), "feed"))
        sink.beat()
        wire.send(call(2))
        told = [await wire.read() for _ in range(3)]
        by_kind = {message.get("method", message.get("id")): message for message in told}
        assert set(by_kind) == {"event", "heartbeat", 2}
        assert by_kind["event"]["params"]["cursor"] == "epoch.9"
        assert not [message for message in told if "method" in message and "id" in message]


@on_both_loops
@pytest.mark.requirement("R32")
async def test_unknown_action_is_told_what_was_meant() -> None:
    async with open_site() as site, connect(site) as wire:
        told = await wire.ask(call(1, "hall.pin"))
        assert (told["id"], told["error"]["code"]) == (1, -32601)
        assert told["error"]["data"]["details"]["near"] == ["hall.ping"]


@on_both_loops
@pytest.mark.requirement("R32")
async def test_what_is_no_call_is_answered_and_the_next_one_is_taken() -> None:
    bad = {
        b"hello": -32700,
        b'{"jsonrpc":"2.0","id":1,"method":"\xff"}': -32700,
        b'{"jsonrpc":"2.0","id":1,"method":"a","params":' + b"[" * 100_000 + b"}": -32700,
        b'{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}': -32600,
        b"[" + call().strip() + b"]": -32600,
        b'{"jsonrpc":"2.0","method":"hall.ping"}': -32600,
        b'{"jsonrpc":"2.0","method":"hall.ping","id":"%b"}' % (b"x" * 65): -32600,
    }
    async with open_site() as site, connect(site) as wire:
        for line, code in bad.items():
            wire.send(line + b"\n" + call("next"))
            refusal, reply = await wire.read(), await wire.read()
            assert refusal["error"]["code"] == code, line[:80]
            data = refusal["error"]["data"]
            assert (data["code"], data["request_id"]) == ("invalid_argument", "request-of-the-door")
            assert data["details"]["field"]
            assert data["details"]["remedy"]
            assert reply["id"] == "next"
        assert site.pipeline.begun == len(bad)


@on_both_loops
@pytest.mark.requirement("R32")
async def test_line_may_have_its_size_and_not_a_byte_more() -> None:
    async with open_site(line_size_bytes_max=1_000) as site, connect(site) as wire:
        bare = len(call(params={"x": ""})) - 1
        most = call(params={"x": "x" * (1_000 - bare)})
        assert len(most) == 1_001
        assert "result" in await wire.ask(most)
        assert "result" in await wire.ask(most.replace(b"\n", b"\r\n"))
        wire.send(call(2) + most.replace(b"xx", b"xxx", 1) + call(3))
        told = await wire.read_rest()
        reply = told.pop(next(at for at, it in enumerate(told) if it.get("id") == 2))
        assert "result" in reply
        refusal, closing = told
        assert (refusal["id"], refusal["error"]["code"]) == (None, -32600)
        assert refusal["error"]["data"]["details"]["size_bytes_max"] == 1_000
        assert closing["params"]["reason"] == "protocol_error"


@on_both_loops
@pytest.mark.requirement("R32")
@pytest.mark.parametrize("insecure", [False, True], ids=["tls", "plain"])
async def test_line_without_end_is_refused_and_the_refusal_is_read(
    insecure: bool,  # noqa: FBT001 - given by pytest
) -> None:
    async with open_site(insecure=insecure) as site, connect(site) as wire:
        # Far more than any socket holds: the client still sends when the door has seen enough.
        wire.send(b"x" * 8_000_000)
        refusal, closing = await wire.read(), await wire.read()
        assert refusal["error"]["data"]["details"]["size_bytes_max"] == 1_048_576
        assert closing["params"]["reason"] == "protocol_error"


@on_both_loops
@pytest.mark.requirement("R32")
async def test_too_many_bad_lines_are_the_end() -> None:
    async with open_site() as site, connect(site) as wire:
        wire.send(b"hello\n" * 100)
        *refusals, closing = await wire.read_rest()
        assert [told["error"]["code"] for told in refusals] == [-32700] * 16
        assert closing["params"]["reason"] == "protocol_error"


@on_both_loops
@pytest.mark.requirement("R32")
async def test_empty_lines_are_a_sign_of_life_but_not_a_flood() -> None:
    async with open_site(empty_lines_max=100) as site, connect(site) as wire:
        await wire.ask(call())
        site.clock.advance(1_000)
        wire.send(b"\r\n")
        await until(lambda: site.only.heard_at == site.clock.monotonic())
        wire.send(b"\n" * 98)
        assert "result" in await wire.ask(call())
        wire.send(b"\n" * 101)
        (closing,) = await wire.read_rest()
        assert closing["params"]["reason"] == "protocol_error"


@on_both_loops
@pytest.mark.requirement("R32")
async def test_only_so_many_calls_are_in_flight() -> None:
    async with open_site() as site, connect(site) as wire:
        wire.send(b"".join(call(number, "hall.hold") for number in range(70)))
        await until(lambda: site.pipeline.begun == 64)
        # Reading has paused, so the client's own system keeps what comes now.
        rest = b"".join(call(number, params={"x": "x" * 500_000}) for number in range(70, 100))
        sending = asyncio.ensure_future(wire.send_pieces(rest, 50_000))
        await asyncio.sleep(0.1)
        assert not sending.done()
        assert site.pipeline.begun == 64
        site.pipeline.go_on.set()
        ids = [(await wire.read())["id"] for _ in range(100)]
        assert sorted(ids) == [*range(100)]


@on_both_loops
@pytest.mark.requirement("R32")
async def test_slow_call_does_not_keep_the_next_line_from_its_time() -> None:
    loop, line_s = asyncio.get_running_loop(), 0.1
    bounds = ConversationBounds(calls_max=1)
    for _ in range(20):
        async with (
            open_site(line_timeout_ms=int(line_s * 1_000), conversation=bounds) as site,
            connect(site) as wire,
        ):
            # The line has begun, and the door itself does not read on.
            wire.send(call(1, "hall.hold") + call(2)[:10])
            await until(lambda: site.pipeline.begun == 1)
            await asyncio.sleep(1.9 * line_s)
            resumed = loop.time()
            site.pipeline.go_on.set()
            assert (await wire.read())["id"] == 1
            await asyncio.sleep(0.5 * line_s)
            told = await wire.ask(call(2)[10:])
            if "result" in told:
                assert told["id"] == 2
                return
            # It had its time if the machine stood still meanwhile. Then nothing is shown.
            assert loop.time() - resumed > 0.9 * line_s, told
    pytest.fail("the machine stood still each time")
