"""Calls by a connection that stays, against a hall that behaves badly."""

import asyncio
from typing import Any

import httpx
import pytest

from moothall.client import (
    CallError,
    CallTimeoutError,
    CertificateChangedError,
    Hall,
    HallUnreachableError,
    Limits,
)
from moothall.client.trust import fingerprint_of
from tests.unit.client.line_hall import PIN, URLS, WRONG, LineHall, Talk
from tests.unit.client.stub_hall import problem

DOORS = pytest.mark.parametrize("url", list(URLS.values()), ids=list(URLS))


def body_of(response: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = response.json()
    return found


@DOORS
async def test_calls_go_by_one_connection_that_is_signed_in_once(url: str) -> None:
    async with LineHall() as hall, hall.client(url) as client:
        for _ in range(3):
            assert await client.leaderboards.get_rank(board_id="7") == {"ok": True}
        await client.leaderboards.submit_score(board_id="7", score=1)
    assert len(hall.talks) == 1
    signed_in, *calls = hall.messages
    assert signed_in["params"] == {"token": "access-0"}
    assert [one["method"] for one in calls] == ["leaderboards.get_rank"] * 3 + [
        "leaderboards.submit_score"
    ]
    assert calls[0]["params"] == {"board_id": "7"}
    assert "idempotency_key" not in calls[0]["meta"]
    assert calls[3]["meta"] == {"idempotency_key": "key-1", "deadline_ms": 10_000}


@pytest.mark.requirement("R31")
@DOORS
async def test_answers_out_of_order_find_their_calls(url: str) -> None:
    waiting: list[dict[str, Any]] = []

    def script(talk: Talk, message: dict[str, Any]) -> None:
        waiting.append(message)
        if len(waiting) == 20:
            for one in reversed(waiting):
                talk.answer(one, one["params"]["board_id"])

    async with LineHall(script) as hall, hall.client(url) as client:
        calls = [client.leaderboards.get_rank(board_id=str(one)) for one in range(20)]
        assert await asyncio.gather(*calls) == [str(one) for one in range(20)]


@DOORS
async def test_no_more_calls_than_the_bound_are_in_flight(url: str) -> None:
    waiting: list[dict[str, Any]] = []

    def script(talk: Talk, message: dict[str, Any]) -> None:
        waiting.append(message)

    bounds = Limits(calls_max=4)
    async with LineHall(script) as hall, hall.client(url, limits=bounds) as client:
        calls = [client.leaderboards.get_rank(board_id="7") for _ in range(12)]
        everything = asyncio.gather(*calls)
        for count in (4, 8, 12):
            await hall.until(lambda: len(waiting) >= 4)
            for _ in range(100):
                await asyncio.sleep(0)  # One too many would come now.
            assert len(waiting) == 4
            assert len(hall.named("leaderboards.get_rank")) == count
            while waiting:
                hall.talks[0].answer(waiting.pop(), {})
        await everything


@pytest.mark.requirement("R34")
@DOORS
@pytest.mark.parametrize("action", ["leaderboards.get_rank", "leaderboards.submit_score"])
async def test_reads_and_writes_survive_a_connection_that_breaks(url: str, action: str) -> None:
    def script(talk: Talk, message: dict[str, Any]) -> None:
        if len(hall.named(action)) < 3:
            talk.drop()
        else:
            talk.answer(message, {"ok": True})

    async with LineHall(script) as hall, hall.client(url) as client:
        assert await client.call(action, {"board_id": "7"}) == {"ok": True}
        metas = [one["meta"] for one in hall.named(action)]
    assert len({meta.get("idempotency_key") for meta in metas}) == 1
    assert len(hall.talks) == 3


@pytest.mark.requirement("R34")
@DOORS
@pytest.mark.parametrize("action", ["mail.send_letter", "unknown.deed"])
async def test_what_may_do_harm_is_never_repeated(url: str, action: str) -> None:
    async with LineHall(lambda talk, _: talk.drop()) as hall, hall.client(url) as client:
        with pytest.raises(HallUnreachableError) as caught:
            await client.call(action)
        assert caught.value.outcome_unknown
        assert len(hall.named(action)) == 1


@DOORS
async def test_half_an_answer_is_no_answer(url: str) -> None:
    def script(talk: Talk, message: dict[str, Any]) -> None:
        if len(hall.named(message["method"])) == 1:
            talk.write(talk.frame(b'{"jsonrpc":"2.0","id":2,"result":{"half":tr'[:30])[:-4])
            talk.finish()
        else:
            talk.answer(message, {"whole": True})

    async with LineHall(script) as hall, hall.client(url) as client:
        assert await client.leaderboards.get_rank(board_id="7") == {"whole": True}


@DOORS
@pytest.mark.parametrize(
    "nonsense", [b"not json", b"[]", b"{}", b'{"id":1}', b"\xff\xfe", b"[" * 100_000]
)
async def test_nonsense_ends_the_connection_and_is_told(url: str, nonsense: bytes) -> None:
    def script(talk: Talk, _: dict[str, Any]) -> None:
        talk.write(talk.frame(nonsense))

    async with LineHall(script) as hall, hall.client(url) as client:
        with pytest.raises(HallUnreachableError) as caught:
            await client.call("mail.send_letter")
        assert caught.value.outcome_unknown


@DOORS
async def test_problem_of_the_hall_is_told_as_it_is(url: str) -> None:
    refusal = body_of(problem("not_found", status=404, retryable=False, name="board_not_found"))

    hall = LineHall(lambda talk, message: talk.refuse(message, refusal))
    async with hall, hall.client(url) as client:
        with pytest.raises(CallError) as caught:
            await client.leaderboards.get_rank(board_id="7")
    assert caught.value.error_name == "board_not_found"
    assert caught.value.answer.status == 404
    assert caught.value.request_id == "r1"


@DOORS
async def test_refused_frame_without_id_reaches_the_call_that_was_too_large(url: str) -> None:
    refusal = body_of(
        problem("invalid_argument", status=400, retryable=False, size_bytes_max=1_000)
    )

    def script(talk: Talk, message: dict[str, Any]) -> None:
        if "text" in message["params"]:
            talk.send({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "data": refusal}})

    async with LineHall(script) as hall, hall.client(url) as client:
        small = asyncio.ensure_future(client.call("mail.send_letter"))
        await hall.until(lambda: hall.named("mail.send_letter"))
        with pytest.raises(CallError) as caught:
            await client.call("mail.send_letter", {"text": "x" * 2_000})
        assert caught.value.error_code == "invalid_argument"
        assert not small.done()
        small.cancel()


@DOORS
async def test_token_is_renewed_in_place(url: str) -> None:
    async with LineHall() as hall, hall.client(url) as client:
        for _ in range(7):
            await client.leaderboards.get_rank(board_id="7")
            hall.time.advance(40)
        await hall.until(lambda: len(hall.named("identity.authenticate")) == 2)
        await client.leaderboards.get_rank(board_id="7")
        assert len(hall.talks) == 1
        tokens = [one["params"]["token"] for one in hall.named("identity.authenticate")]
        assert tokens == ["access-0", "access-1"]


@pytest.mark.requirement("R4")
@DOORS
async def test_refused_token_is_renewed_once(url: str) -> None:
    stale = body_of(problem("unauthenticated", status=401, retryable=False))

    def script(talk: Talk, message: dict[str, Any]) -> None:
        if len(hall.named(message["method"])) == 1:
            talk.refuse(message, stale)
        else:
            talk.answer(message, {"ok": True})

    async with LineHall(script) as hall, hall.client(url) as client:
        assert await client.call("mail.send_letter") == {"ok": True}
        assert len(hall.named("identity.refresh_session")) == 1


@DOORS
async def test_signing_in_works_at_this_door_alone(url: str) -> None:
    async with LineHall() as hall, hall.client(url, is_signed=False) as client:
        opened = await client.sign_in("ann", "secret", device="desk")
        assert opened.access_lifetime_ms == 300_000
        await client.leaderboards.get_rank(board_id="7")
        assert hall.documents.sign_ins == []
        asked = hall.named("identity.open_session")[0]["params"]
        assert asked == {"name": "ann", "password": "secret", "device": "desk"}


@DOORS
async def test_who_signs_out_leaves_the_connection(url: str) -> None:
    async with LineHall() as hall, hall.client(url) as client:
        await client.leaderboards.get_rank(board_id="7")
        await client.sign_out()
        await client.leaderboards.get_rank(board_id="7")
        assert len(hall.talks) == 2
        assert [one["method"] for one in hall.talks[1].received] == ["leaderboards.get_rank"]


@pytest.mark.requirement("R15")
@DOORS
async def test_nothing_is_sent_to_a_hall_with_another_certificate(url: str) -> None:
    async with LineHall(certificate=WRONG) as hall, hall.client(url) as client:
        with pytest.raises(CertificateChangedError) as caught:
            await client.call("mail.send_letter", effect="flow")
        assert caught.value.details["shown"] == fingerprint_of(
            WRONG.cert_chain_pems[0].bytes().decode()
        )
        assert hall.messages == []


@pytest.mark.requirement("R15")
@DOORS
async def test_fingerprint_is_enough(url: str) -> None:
    hall = LineHall()
    client = hall.client(url, certificate_pem=None, fingerprint=fingerprint_of(PIN))
    async with hall, client:
        assert await client.leaderboards.get_rank(board_id="7") == {"ok": True}


@DOORS
async def test_silent_connection_is_dropped(url: str) -> None:
    async with LineHall(lambda _talk, _message: None) as hall, hall.client(url) as client:
        call = asyncio.ensure_future(client.call("mail.send_letter"))
        await hall.until(lambda: hall.named("mail.send_letter"))
        hall.time.advance(44.9)
        await asyncio.sleep(0)
        assert not call.done()
        hall.time.advance(0.1)
        with pytest.raises(HallUnreachableError, match="45 s") as caught:
            await call
        assert caught.value.outcome_unknown


async def test_heartbeat_is_answered_and_its_answer_is_nobodys() -> None:
    async with LineHall() as hall, hall.client(URLS["ndjson"]) as client:
        await client.leaderboards.get_rank(board_id="7")
        hall.talks[0].notify("heartbeat")
        await hall.until(lambda: hall.named("hall.ping"))
        assert await client.leaderboards.get_rank(board_id="7") == {"ok": True}


async def test_ping_of_a_websocket_is_answered() -> None:
    async with LineHall() as hall, hall.client(URLS["wss"]) as client:
        await client.leaderboards.get_rank(board_id="7")
        hall.talks[0].ping()
        await hall.until(lambda: hall.talks[0].pongs)


@DOORS
async def test_replies_that_follow_the_closing_word_are_taken(url: str) -> None:
    def script(talk: Talk, message: dict[str, Any]) -> None:
        if len(hall.talks) == 1:
            talk.notify("closing", reason="shutdown", message="the hall stops")
        talk.answer(message, {"talk": len(hall.talks)})

    async with LineHall(script) as hall, hall.client(url) as client:
        assert await client.call("mail.send_letter") == {"talk": 1}
        # Nothing more is sent where the end was told.
        assert await client.call("mail.send_letter") == {"talk": 2}


@DOORS
async def test_time_limit_says_that_the_outcome_is_unknown(url: str) -> None:
    arrived = asyncio.Event()
    async with LineHall(lambda _talk, _message: arrived.set()) as hall, hall.client(url) as client:
        with pytest.raises(CallTimeoutError) as caught:
            await client.call("mail.send_letter", timeout_ms=50)
        assert caught.value.outcome_unknown
        await arrived.wait()  # a busy machine may read it after the time was up
        (sent,) = hall.named("mail.send_letter")
        assert 0 < sent["meta"]["deadline_ms"] <= 50


async def test_hall_that_is_away_was_sent_nothing() -> None:
    async with LineHall() as hall, hall.client(URLS["ndjson"]) as client:
        hall.is_away = True
        with pytest.raises(HallUnreachableError) as caught:
            await client.call("mail.send_letter", effect="flow")
        assert not caught.value.outcome_unknown
        hall.is_away = False
        assert await client.call("mail.send_letter") == {"ok": True}


async def test_description_is_read_by_the_port_before() -> None:
    hall = LineHall()
    client = hall.client(URLS["ndjson"])
    async with hall, client:
        await client.catalog()
    assert client.address.at_https().url == "https://hall.example:8443"
    assert Hall("ndjson://hall.example").address.port == 8444


async def test_without_a_description_it_is_said_what_helps() -> None:
    hall = LineHall()
    hall.documents.are_there = False
    async with hall, hall.client(URLS["ndjson"]) as client:
        with pytest.raises(HallUnreachableError) as caught:
            await client.call("mail.send_letter")
        assert "https_port" in caught.value.remedy
        assert await client.call("mail.send_letter", effect="flow") == {"ok": True}
