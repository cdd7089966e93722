"""What the SDK does with a call: keys, tokens, repetitions, time limits."""

import asyncio
from dataclasses import replace

import httpx
import msgspec
import pytest

from moothall.client import (
    CallError,
    CallTimeoutError,
    Hall,
    HallUnreachableError,
    Limits,
    MemoryStore,
    SyncHall,
)
from tests.unit.client.stub_hall import URL, ManualTime, StubHall, problem, tokens

LOST = httpx.ReadError("the connection broke")
NEVER_SENT = httpx.ConnectError("refused")


def connect(hall: StubHall, time: ManualTime | None = None, **options: object) -> Hall:
    time = time or ManualTime()
    return Hall(URL, world=time.world(hall), **options)  # type: ignore[arg-type]


class Standing(msgspec.Struct):
    rank: int


async def test_result_is_decoded_as_asked() -> None:
    hall = StubHall(script=lambda _: httpx.Response(200, json={"rank": 3, "later": 1}))
    async with connect(hall) as client:
        plain = await client.call("leaderboards.get_rank", {"board_id": "7"})
        typed = await client.call("leaderboards.get_rank", {"board_id": "7"}, type=Standing)
        sugar = await client.leaderboards.get_rank(board_id="7")
    assert plain == sugar == {"rank": 3, "later": 1}
    assert typed == Standing(3)
    assert hall.bodies() == [{"board_id": "7"}] * 3
    assert hall.documents == 1


@pytest.mark.requirement("R34")
@pytest.mark.parametrize("fault", [LOST, problem(), problem("deadline_exceeded", retryable=False)])
async def test_write_is_repeated_under_the_same_key(fault: httpx.Response | Exception) -> None:
    hall = StubHall(fault, fault)
    async with connect(hall) as client:
        await client.leaderboards.submit_score(board_id="7", score=1)
        await client.leaderboards.submit_score(board_id="7", score=1)
    assert hall.headers("idempotency-key") == ["key-1"] * 3 + ["key-2"]


@pytest.mark.requirement("R113")
async def test_waits_double_and_are_drawn_from_the_whole_span() -> None:
    time = ManualTime()
    async with connect(StubHall(*[problem()] * 4), time) as client:
        await client.call("leaderboards.get_rank")
    assert time.slept == [0.05, 0.1, 0.2, 0.4]


@pytest.mark.requirement("R113")
async def test_asked_wait_is_kept() -> None:
    time = ManualTime()
    busy = problem("resource_exhausted", status=429, retry_after_ms=1_500)
    async with connect(StubHall(busy), time) as client:
        await client.call("leaderboards.get_rank")
    assert time.slept == [1.55]


@pytest.mark.requirement("R113")
async def test_wait_past_the_time_limit_is_not_begun() -> None:
    time = ManualTime()
    busy = problem("resource_exhausted", status=429, retry_after_ms=60_000)
    async with connect(StubHall(busy), time) as client:
        with pytest.raises(CallError) as caught:
            await client.call("leaderboards.get_rank", timeout_ms=5_000)
    assert caught.value.retry_after_ms == 60_000
    assert time.slept == []


async def test_retries_end() -> None:
    hall = StubHall(script=lambda _: problem())
    async with connect(hall, limits=Limits(retries=2)) as client:
        with pytest.raises(CallError) as caught:
            await client.call("leaderboards.get_rank")
    assert len(hall.requests) == 3
    assert caught.value.error_code == "unavailable"
    assert caught.value.request_id == "r1"


async def test_a_refusal_says_in_one_line_which_field_what_and_what_to_do() -> None:
    wrong = {"reason": "this is a whole number", "field": "tea_id", "remedy": "give text"}
    answers = [problem("invalid_argument", status=400, retryable=False, **wrong), problem()]
    async with connect(StubHall(*answers), limits=Limits(retries=0)) as client:
        with pytest.raises(CallError) as caught:
            await client.call("leaderboards.get_rank")
        assert str(caught.value) == "tea_id: this is a whole number; give text"
        assert caught.value.reason == "this is a whole number"
        with pytest.raises(CallError) as caught:
            await client.call("leaderboards.get_rank")
        assert str(caught.value) == "It is unavailable."


async def test_fields_of_a_method_are_named() -> None:
    hall = StubHall()
    async with connect(hall) as client:
        with pytest.raises(TypeError, match=r"leaderboards\.get_rank: name the fields, as in"):
            await client.leaderboards.get_rank("7")
    assert hall.requests == []


@pytest.mark.parametrize("action", ["mail.send_letter", "unknown.deed"])
@pytest.mark.parametrize("fault", [LOST, problem()])
async def test_what_is_no_write_is_sent_once_and_without_a_key(
    action: str, fault: httpx.Response | Exception
) -> None:
    hall = StubHall(fault)
    async with connect(hall) as client:
        with pytest.raises((CallError, HallUnreachableError)):
            await client.call(action)
    assert hall.headers("idempotency-key") == [None]


async def test_what_was_never_sent_is_sent_again() -> None:
    hall = StubHall(NEVER_SENT, NEVER_SENT)
    async with connect(hall) as client:
        await client.call("mail.send_letter")
    assert len(hall.requests) == 3


async def test_lost_answer_of_a_flow_says_that_its_outcome_is_unknown() -> None:
    async with connect(StubHall(LOST)) as client:
        with pytest.raises(HallUnreachableError) as caught:
            await client.call("mail.send_letter")
    assert caught.value.outcome_unknown


async def test_refusal_is_not_repeated() -> None:
    hall = StubHall(problem("not_found", status=404, retryable=False, name="board_not_found"))
    async with connect(hall) as client:
        with pytest.raises(CallError) as caught:
            await client.call("leaderboards.get_rank")
    assert caught.value.error_name == "board_not_found"
    assert len(hall.requests) == 1


@pytest.mark.requirement("R113")
async def test_time_limit_ends_a_call_that_hangs() -> None:
    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    world = replace(ManualTime().world(StubHall()), transport=httpx.MockTransport(hang))
    client = Hall(URL, world=world)
    async with client:
        with pytest.raises(CallTimeoutError):
            await client.call("mail.send_letter", effect="flow", timeout_ms=30)


async def test_public_action_carries_no_token() -> None:
    hall = StubHall()
    async with connect(hall) as client:
        await client.sign_in("ann", "secret")
        await client.hall.ping()
        await client.leaderboards.get_rank(board_id="7")
    assert hall.headers("authorization") == [None, "Bearer access-1"]


def renewing(hall: StubHall, *, valid: str) -> None:
    """Accept only the token named, and give out the next generation on renewal."""

    def script(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("refresh_session"):
            hall.generation += 1
            return httpx.Response(200, json=tokens(hall.generation, now_ms=hall.now_ms))
        if request.headers.get("authorization") != f"Bearer {valid}":
            return problem("unauthenticated", status=401, retryable=False)
        return httpx.Response(200, json={})

    hall.script = script


def renewals(hall: StubHall) -> int:
    return sum(request.url.path.endswith("refresh_session") for request in hall.requests)


@pytest.mark.requirement("R4")
async def test_parallel_calls_renew_the_token_once() -> None:
    hall, time, store = StubHall(), ManualTime(), MemoryStore()
    renewing(hall, valid="access-2")
    async with connect(hall, time, store=store) as client:
        await client.sign_in("ann", "secret")
        time.seconds = hall.now_ms = 299
        await asyncio.gather(*(client.leaderboards.get_rank(board_id="7") for _ in range(20)))
    assert renewals(hall) == 1
    kept = store.load_session()
    assert kept is not None
    assert kept.refresh_token == "refresh-2"


@pytest.mark.requirement("R4")
async def test_refused_token_is_renewed_once() -> None:
    hall = StubHall()
    renewing(hall, valid="access-2")
    async with connect(hall) as client:
        await client.sign_in("ann", "secret")
        await client.leaderboards.submit_score(board_id="7", score=1)
    assert renewals(hall) == 1
    keys = [one for one in hall.headers("idempotency-key") if one]
    assert keys == ["key-1", "key-1"]


async def test_second_refusal_is_told() -> None:
    hall = StubHall()
    renewing(hall, valid="none")
    async with connect(hall) as client:
        await client.sign_in("ann", "secret")
        with pytest.raises(CallError) as caught:
            await client.leaderboards.get_rank(board_id="7")
    assert caught.value.error_code == "unauthenticated"
    assert renewals(hall) == 1


async def test_wrong_proof_is_no_stale_token() -> None:
    hall = StubHall(
        problem("unauthenticated", status=401, retryable=False, name="wrong_credentials")
    )
    async with connect(hall) as client:
        await client.sign_in("ann", "secret")
        with pytest.raises(CallError):
            await client.call("mail.send_letter")
    assert len(hall.requests) == 1


async def test_ended_session_is_forgotten() -> None:
    store = MemoryStore()
    hall = StubHall(script=lambda _: problem("unauthenticated", status=401, retryable=False))
    async with connect(hall, store=store) as client:
        await client.sign_in("ann", "secret")
        with pytest.raises(CallError):
            await client.leaderboards.get_rank(board_id="7")
    assert store.load_session() is None


async def test_lost_renewal_is_asked_for_again() -> None:
    hall, time = StubHall(), ManualTime()
    renewing(hall, valid="access-2")
    script, lost = hall.script, [LOST]
    assert script is not None

    def lossy(request: httpx.Request) -> httpx.Response | Exception:
        if request.url.path.endswith("refresh_session") and lost:
            return lost.pop()
        return script(request)

    hall.script = lossy
    async with connect(hall, time) as client:
        await client.sign_in("ann", "secret")
        time.seconds = 299
        await client.leaderboards.get_rank(board_id="7")
    assert renewals(hall) == 2
    sent = [body["refresh_token"] for body in hall.bodies() if "refresh_token" in body]
    assert sent == ["refresh-1", "refresh-1"]


@pytest.mark.parametrize("skew_ms", [-3_600_000, 86_400_000])
async def test_wrong_clock_does_no_harm(skew_ms: int) -> None:
    hall, time = StubHall(), ManualTime()
    hall.now_ms = skew_ms
    async with connect(hall, time) as client:
        await client.sign_in("ann", "secret")
        await client.leaderboards.get_rank(board_id="7")
    assert renewals(hall) == 0


async def test_description_is_asked_for_by_its_tag() -> None:
    hall, store = StubHall(), MemoryStore()
    for _ in range(2):
        async with connect(hall, store=store) as client:
            assert "hall.ping" in (await client.catalog()).operations
    assert hall.documents == 2
    kept = store.load_catalog()
    assert kept is not None
    assert kept[0] == '"v1"'


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"paths": 3}'])
async def test_what_is_no_hall_is_told(body: bytes) -> None:
    stub = StubHall()
    world = ManualTime().world(stub)
    object.__setattr__(
        world, "transport", httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    )
    async with Hall(URL, world=world) as client:
        with pytest.raises(HallUnreachableError):
            await client.call("hall.ping")


async def test_answer_of_a_balancer_is_repeated() -> None:
    hall = StubHall(httpx.Response(502, text="Bad Gateway"))
    async with connect(hall) as client:
        await client.leaderboards.get_rank(board_id="7")
    assert len(hall.requests) == 2


async def test_answer_past_the_bound_is_refused() -> None:
    hall = StubHall(httpx.Response(200, content=b"[" + b" " * 200 + b"]"))
    async with connect(hall, limits=Limits(reply_bytes_max=100, retries=0)) as client:
        with pytest.raises(HallUnreachableError):
            await client.call("leaderboards.get_rank", effect="read")


async def test_session_shows_no_token() -> None:
    async with connect(StubHall()) as client:
        session = await client.sign_in("ann", "secret")
    assert "refresh-1" not in repr(session)
    assert "access-1" not in repr(session)


async def test_session_carries_a_label_of_the_device_if_one_is_given() -> None:
    hall, ann = StubHall(), {"name": "ann", "password": "secret"}
    async with connect(hall) as client:
        await client.sign_in("ann", "secret")
        await client.sign_in("ann", "secret", device="ann-laptop (Linux)")
        await client.sign_in_guest()
        await client.sign_in_guest(device="kiosk")
    label = {"device": "ann-laptop (Linux)"}
    assert hall.sign_ins == [ann, {**ann, **label}, {}, {"device": "kiosk"}]


def test_synchronous_face() -> None:
    hall = StubHall()
    with SyncHall(URL, world=ManualTime().world(hall)) as client:
        client.sign_in_guest(device="kiosk")
        client.sign_in("ann", "secret", device="till")
        assert [asked["device"] for asked in hall.sign_ins] == ["kiosk", "till"]
        assert client.leaderboards.get_rank(board_id="7") == {"ok": True}
        assert client.session is not None
    assert hall.headers("authorization") == ["Bearer access-1"]
